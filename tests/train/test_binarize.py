from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metabit.train.errors import TrainError
from metabit.train.network.binarize import (
    BinaryLinear,
    binarize_activation,
    binarize_weight,
    binary_linear,
    sign,
)
from metabit.train.network.products import gradient_products, set_gradient_products

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


def examples(kind: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    integers = torch.randint(0, 256, (9, 784), generator=generator)
    return {
        "pixels": integers.float(),
        "pixels as uint8": integers.to(torch.uint8),
        "signs": sign(integers.float() - 128),
        "signs in bfloat16": sign(integers.bfloat16() - 128),
        "levels": integers.float() - 128,
        "sums": integers.float() * 300,
        "floats": integers.float() / 255,
    }[kind]


@pytest.mark.parametrize(
    "kind", ["pixels", "pixels as uint8", "signs", "signs in bfloat16", "levels", "sums", "floats"]
)
def test_products_and_gradients_agree_with_torchs(kind: str) -> None:
    x = examples(kind)
    hidden = BinaryLinear(784, 33, torch.Generator().manual_seed(2)).hidden
    if x.is_floating_point():
        x.requires_grad_()
    y = binary_linear(x, hidden)
    plain, weights = x.detach().double().requires_grad_(), sign(hidden.detach()).double().requires_grad_()
    expected = plain @ weights.T
    assert y.dtype == torch.float32
    if kind == "floats":
        torch.testing.assert_close(y, expected.float(), rtol=1e-5, atol=1e-4)
    else:
        assert torch.equal(y.double(), expected)
    g = torch.randn(9, 33, generator=torch.Generator().manual_seed(5))
    y.backward(g)  # type: ignore[no-untyped-call]
    expected.backward(g.double())  # type: ignore[no-untyped-call]
    assert hidden.grad is not None and weights.grad is not None and plain.grad is not None
    torch.testing.assert_close(hidden.grad, weights.grad.float(), rtol=1e-4, atol=1e-4 * float(x.detach().abs().max()))
    if x.is_floating_point():
        assert x.grad is not None and x.grad.dtype == x.dtype
        torch.testing.assert_close(x.grad.float(), plain.grad.float(), rtol=1e-2 if "bf" in kind else 1e-4, atol=1e-3)


def test_bfloat16_gradients_keep_their_eight_bits() -> None:
    x, hidden = examples("signs"), BinaryLinear(784, 33, torch.Generator().manual_seed(2)).hidden
    gradients = {}
    assert gradient_products() == torch.float32  # the default, on every processor
    for dtype in (torch.bfloat16, torch.float32):
        set_gradient_products(dtype)
        g = torch.randn(9, 33, generator=torch.Generator().manual_seed(5))
        (gradients[dtype],) = torch.autograd.grad(binary_linear(x, hidden), hidden, g)
    error = (gradients[torch.bfloat16] - gradients[torch.float32]).norm() / gradients[torch.float32].norm()
    assert 0 < error < 2**-8


def test_gradient_products_are_chosen_by_name() -> None:
    for dtype in (torch.float16, None):
        with pytest.raises(TrainError, match="must be torch.float32 or torch.bfloat16"):
            set_gradient_products(dtype)  # type: ignore[arg-type]


def test_linear_takes_any_leading_dimensions_and_follows_float64() -> None:
    linear = BinaryLinear(12, 5, torch.Generator().manual_seed(1))
    x = sign(torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(linear(x), torch.nn.functional.linear(x, sign(linear.hidden)))
    assert linear(x[0, 0]).shape == (5,)
    assert linear(x[:0]).shape == (0, 3, 5)
    double = linear.double()(x.double().requires_grad_())
    double.sum().backward()
    assert double.dtype == linear.hidden.grad.dtype == torch.float64  # type: ignore[union-attr]


def test_signs_are_never_stale() -> None:
    """Whatever changes a hidden weight, an optimizer that goes past autograd's counter included."""
    linear = BinaryLinear(3, 1)
    x = torch.ones(1, 3)
    linear.hidden.data.fill_(0.1)
    assert linear(x).item() == 3
    linear.hidden.data.neg_()
    assert linear(x).item() == -3
    with torch.no_grad():
        linear.hidden.numpy()[:] = 1
    assert linear(x).item() == 3
