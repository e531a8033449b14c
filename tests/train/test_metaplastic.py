from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from metabit.train.errors import TrainError
from metabit.train.rule.metaplastic import MetaplasticAdam, consolidation

Floats = NDArray[np.float64]


def reference(
    w: Floats,
    gradients: list[Floats],
    lr: float,
    m: float,
    decay: float,
    eps: float = 1e-8,
    b1: float = 0.9,
    b2: float = 0.999,
) -> Floats:
    """The paper's formula, one synapse after the other."""
    w = w.copy()
    first, second = np.zeros_like(w), np.zeros_like(w)
    for t, gradient in enumerate(gradients, start=1):
        for i in np.ndindex(w.shape):
            g = gradient[i] + decay * w[i]
            first[i] = b1 * first[i] + (1 - b1) * g
            second[i] = b2 * second[i] + (1 - b2) * g * g
            step = lr * math.sqrt(1 - b2**t) / (1 - b1**t) * first[i] / (math.sqrt(second[i]) + eps)
            toward_zero = (w[i] > 0 and first[i] > 0) or (w[i] < 0 and first[i] < 0)
            if toward_zero and w.ndim > 1:
                step *= 1 - math.tanh(m * abs(w[i])) ** 2
            w[i] -= step
    return w


def run(w: Floats, gradients: list[Floats], **settings: Any) -> tuple[Floats, MetaplasticAdam]:
    parameter = torch.nn.Parameter(torch.from_numpy(w.copy()))
    optimizer = MetaplasticAdam([parameter], **settings)
    for gradient in gradients:
        parameter.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
    return parameter.detach().numpy(), optimizer


def problem(seed: int, shape: tuple[int, ...] = (3, 4), steps: int = 8) -> tuple[Floats, list[Floats]]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=shape), [generator.normal(size=shape) for _ in range(steps)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 5), st.floats(1e-4, 0.5), st.sampled_from([0.0, 1e-7, 0.1]))
def test_equals_the_formula(seed: int, m: float, lr: float, decay: float) -> None:
    w, gradients = problem(seed)
    ours, _ = run(w, gradients, lr=lr, m=m, weight_decay=decay)
    np.testing.assert_allclose(ours, reference(w, gradients, lr, m, decay), rtol=1e-9, atol=1e-12)


def test_without_metaplasticity_it_is_adam() -> None:
    # torch adds eps after the bias correction of the second moment, so compare where eps does nothing.
    w, gradients = problem(1)
    ours, _ = run(w, gradients, lr=0.01, m=0.0, weight_decay=0.01, eps=0.0)
    parameter = torch.nn.Parameter(torch.from_numpy(w.copy()))
    adam = torch.optim.Adam([parameter], lr=0.01, weight_decay=0.01, eps=0.0)
    for gradient in gradients:
        parameter.grad = torch.from_numpy(gradient)
        adam.step()
    np.testing.assert_allclose(ours, parameter.detach().numpy(), rtol=1e-10)


def test_the_gate_asks_the_first_moment_not_the_gradient() -> None:
    # Ten gradients away from zero, then one toward it: the moment still points away, so nothing is held back.
    w, gradients = np.full((1, 1), 1.0), [np.full((1, 1), -1.0)] * 10 + [np.full((1, 1), 1.0)]
    assert run(w, gradients, m=5.0)[0] == run(w, gradients, m=0.0)[0]


def test_only_steps_toward_zero_are_held_back() -> None:
    w, toward, away = np.array([[1.0, -1.0]]), [np.array([[1.0, -1.0]])], [np.array([[-1.0, 1.0]])]
    assert (run(w, away, m=5.0)[0] == run(w, away, m=0.0)[0]).all()
    held = np.abs(run(w, toward, m=1.0)[0] - w) / np.abs(run(w, toward, m=0.0)[0] - w)
    np.testing.assert_allclose(held, 1 - math.tanh(1) ** 2, rtol=1e-9)


def test_zero_weights_and_normalisation_parameters_are_never_held_back() -> None:
    zero = np.zeros((2, 2))
    gradients = [np.ones((2, 2))]
    assert (run(zero, gradients, m=50.0)[0] == run(zero, gradients, m=0.0)[0]).all()
    gain, steps = problem(3, shape=(5,))
    assert (run(gain, steps, m=50.0)[0] == run(gain, steps, m=0.0)[0]).all()


def test_a_tiny_moment_does_not_open_the_gate() -> None:
    parameter = torch.nn.Parameter(torch.full((1, 1), 1e-20))
    optimizer = MetaplasticAdam([parameter], m=1e22, eps=0.0)
    parameter.grad = torch.full((1, 1), 1e-18)  # moment 1e-19; times the weight it vanishes in float32
    optimizer.step()
    assert parameter.item() == pytest.approx(1e-20)


@settings(deadline=None)
@given(st.floats(0, 20), st.floats(-5, 5))
def test_consolidation(m: float, w: float) -> None:
    value = consolidation(m, torch.tensor(w, dtype=torch.float64)).item()
    assert 0 <= value <= 1
    assert value == pytest.approx(1 - math.tanh(m * abs(w)) ** 2, abs=1e-12)


def test_each_group_has_its_own_m() -> None:
    soft, hard = (torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    optimizer = MetaplasticAdam([{"params": [soft], "m": 0.0}, {"params": [hard], "m": 3.0}])
    for parameter in (soft, hard):
        parameter.grad = torch.ones(2, 2)
    optimizer.step()
    assert (hard > soft).all()


def test_closure_and_missing_gradients() -> None:
    parameter, idle = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2, 2))
    optimizer = MetaplasticAdam([parameter, idle])

    def closure() -> float:
        optimizer.zero_grad()
        loss = (parameter**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    assert optimizer.step(closure) == 4.0
    assert (parameter < 1).all() and (idle == 1).all()
    assert optimizer.step() is None


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("lr", -1.0),
        ("lr", math.nan),
        ("m", -0.1),
        ("m", math.inf),
        ("eps", -1e-9),
        ("weight_decay", -1.0),
        ("betas", (0.9, 1.0)),
    ],
)
def test_settings_out_of_range_are_named(setting: str, value: Any) -> None:
    parameter = torch.nn.Parameter(torch.ones(2, 2))
    with pytest.raises(TrainError, match=f"{setting}="):
        MetaplasticAdam([parameter], **{setting: value})
    with pytest.raises(TrainError, match=f"{setting}="):
        MetaplasticAdam([{"params": [parameter], setting: value}])


def test_sparse_gradients_are_refused() -> None:
    embedding = torch.nn.Embedding(4, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(TrainError, match="sparse"):
        MetaplasticAdam(embedding.parameters()).step()


def test_resumes_bit_exactly_through_json() -> None:
    """Float32 weights, moments as tensors and everything else as JSON: the content of a state file."""
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(33, 65, generator=generator) for _ in range(10)]

    def advance(parameter: torch.nn.Parameter, optimizer: torch.optim.Optimizer, part: list[torch.Tensor]) -> None:
        for gradient in part:
            parameter.grad = gradient.clone()
            optimizer.step()

    start = torch.rand(33, 65, generator=generator) - 0.5
    whole, half = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    options = {"lr": 0.01, "m": 3.0}
    advance(whole, MetaplasticAdam([whole], **options), gradients)
    first = MetaplasticAdam([half], **options)
    advance(half, first, gradients[:5])

    saved = first.state_dict()
    written = json.loads(json.dumps(saved["param_groups"]))
    resumed = torch.nn.Parameter(half.detach().clone())
    second = MetaplasticAdam([resumed], lr=1.0)
    second.load_state_dict({"state": saved["state"], "param_groups": written})
    advance(resumed, second, gradients[5:])
    assert torch.equal(resumed, whole)


@pytest.mark.parametrize("number", [float, np.float64, np.float32], ids=lambda kind: kind.__name__)
def test_its_state_loads_without_unpickling(number: Any, tmp_path: Path) -> None:
    """`torch.load(weights_only=True)` refuses NumPy numbers, so the settings are kept as floats."""

    def made() -> tuple[torch.nn.Linear, MetaplasticAdam]:
        torch.manual_seed(3)
        layer = torch.nn.Linear(5, 4)
        return layer, MetaplasticAdam(
            layer.parameters(), lr=number(0.25), m=number(1.5), betas=(number(0.5), number(0.75))
        )

    def steps(layer: torch.nn.Linear, optimizer: MetaplasticAdam, seeds: range) -> None:
        for seed in seeds:
            optimizer.zero_grad()
            layer(torch.randn(6, 5, generator=torch.Generator().manual_seed(seed))).square().sum().backward()
            optimizer.step()

    (stayed, first), (back, second) = made(), made()
    steps(stayed, first, range(4))
    torch.save({"layer": stayed.state_dict(), "optimizer": first.state_dict()}, tmp_path / "state.pt")
    found = torch.load(tmp_path / "state.pt", weights_only=True)
    back.load_state_dict(found["layer"])
    second.load_state_dict(found["optimizer"])
    steps(stayed, first, range(4, 8))
    steps(back, second, range(4, 8))
    assert torch.equal(stayed.weight, back.weight) and torch.equal(stayed.bias, back.bias)
