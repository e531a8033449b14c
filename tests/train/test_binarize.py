from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metabit.train.binarize import BinaryLinear, binarize_activation, binarize_weight, sign

NUMBERS = st.floats(-3, 3, width=32)


def test_sign_of_zero_is_plus_one() -> None:
    x = torch.tensor([-2.0, -0.0, 0.0, 1e-30, -1e-30])
    for function in (sign, binarize_activation, binarize_weight):
        assert function(x).tolist() == [-1, 1, 1, 1, -1]


@settings(deadline=None)
@given(NUMBERS, NUMBERS)
def test_activation_passes_the_gradient_inside_the_window_only(value: float, gradient: float) -> None:
    x = torch.tensor([value], requires_grad=True)
    (passed,) = torch.autograd.grad(binarize_activation(x), x, torch.tensor([gradient]))
    assert passed.item() == (gradient if abs(value) <= 1 else 0)


def test_the_window_includes_its_edges() -> None:
    x = torch.tensor([-1.0, 1.0, 1.0001], requires_grad=True)
    (passed,) = torch.autograd.grad(binarize_activation(x), x, torch.ones(3))
    assert passed.tolist() == [1, 1, 0]


@settings(deadline=None)
@given(NUMBERS, NUMBERS)
def test_weight_passes_every_gradient(value: float, gradient: float) -> None:
    hidden = torch.tensor([value], requires_grad=True)
    (passed,) = torch.autograd.grad(binarize_weight(hidden), hidden, torch.tensor([gradient]))
    assert passed.item() == gradient


def test_linear_is_a_sum_of_signs_and_starts_in_its_range() -> None:
    linear = BinaryLinear(300, 7, torch.Generator().manual_seed(1))
    x = torch.randint(0, 2, (5, 300)).float()
    assert torch.equal(linear(x), x @ sign(linear.hidden).T)
    assert linear.hidden.abs().max() <= 0.05
    assert linear.hidden.abs().max() > 0.045
    assert [name for name, _ in linear.named_parameters()] == ["hidden"]
