from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from metabit.export.errors import ExportError
from metabit.export.oracle.gates import GateLayer, HeadValues, gate_layer, head_values, scores
from metabit.train.network.normed_gates import gate
from metabit.train.recipe import Trained, fit_recipe

Doubles = NDArray[np.float64]
UNITS = 5
signed = st.floats(-8, 8)
SLOPES = hnp.arrays(np.float64, UNITS, elements=signed)
DEVIATIONS = hnp.arrays(np.float64, UNITS, elements=st.floats(0.003, 500))


def constants(trained: Trained) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    norm = trained.network.norm
    assert norm.running_mean is not None and norm.running_var is not None
    deviation = (norm.running_var.double() + norm.eps).sqrt()
    parts = norm.weight, norm.bias, norm.running_mean, deviation
    gamma, beta, mean, spread = (a.detach().double().numpy() for a in parts)
    return gamma, beta, mean, spread


def sums(trained: Trained, x: Doubles) -> NDArray[np.int64]:
    """By a product of integers, not by torch."""
    weight = np.where(trained.network.linear.hidden.detach().numpy() >= 0, 1, -1)
    return trained.encoder.to_bits(x).astype(np.int64) @ weight.T


def within_int32(layer: GateLayer | HeadValues, a: NDArray[np.int64]) -> bool:
    if isinstance(layer, GateLayer):
        product = a * layer.mul
        total = product + layer.add
        steps = (product, total, layer.top - np.abs(total))
    else:
        steps = (a * layer.z_mul, a * layer.z_mul + layer.z_add)
    return all(np.abs(step).max() < 2**31 for step in steps)


@given(SLOPES, SLOPES, hnp.arrays(np.float64, UNITS, elements=st.floats(-1, 1)), DEVIATIONS, st.integers(1, 16384))
@example(  # mul is -3 for -2.63: the middle of the first unit moves from 7,517 to 5,648
    np.array([-0.03125, 2, 2, 2, 2]), np.array([3.0, 0, 0, 0, 0]), np.full(UNITS, -1.0), np.array([156.0, 1, 1, 1, 1]), 7459
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_levels_follow_the_formula_within_int32(
    gamma: Doubles, beta: Doubles, share: Doubles, deviation: Doubles, inputs: int
) -> None:
    mean = share * inputs
    layer = gate_layer(gamma, beta, mean, deviation, inputs)
    a = np.unique(np.linspace(-inputs, inputs, 400).astype(np.int64))[:, None] + np.zeros(UNITS, np.int64)
    assert within_int32(layer, a) and 10 <= layer.shift <= 20
    assert (np.abs(layer.mul.astype(np.int64)) * inputs <= 2**29).all()
    levels = layer.levels(a)
    slope = np.clip(gamma / deviation, -2.5, 2.5)
    z = slope * (a - mean) + beta
    exact = np.clip(12.8 - 12.8 * np.abs(z), -8, 8)
    # half a level, and what mul was rounded by
    allowed = 0.5 + np.abs(a - mean) * 2.0 ** -(layer.shift + 1) + 2.0**-layer.shift
    assert (np.abs(levels - exact) <= allowed + 1e-9).all()
    # the middle of a gate in integers is the formula's, up to what mul and add were rounded by, unless add was limited
    steepest = 32767 / 2**10 / 12.8
    slope = np.clip(gamma / deviation, -steepest, steepest)
    middle = mean - beta / np.where(np.abs(slope) < 1e-9, 1, slope)
    off = np.abs(middle * layer.mul + layer.add)
    free = (np.abs(layer.add.astype(np.int64)) < 2**30) & (np.abs(slope) >= 1e-9)
    assert (off <= 0.5 * np.abs(middle - mean) + 0.5 + 1e-9 * (1 + np.abs(middle * layer.mul)))[free].all()
    # away from it the level never rises
    for unit in range(UNITS):
        side = a[:, unit] * int(layer.mul[unit]) + int(layer.add[unit])
        outward = levels[np.argsort(np.abs(side), kind="stable"), unit].astype(int)
        assert (np.diff(outward) <= 0).all()


@given(SLOPES, DEVIATIONS, st.integers(1, 16384), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_values_of_the_head_follow_the_formula_within_int32(
    gamma: Doubles, deviation: Doubles, inputs: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    spread = rng.uniform(0, inputs, UNITS)
    a = np.clip(np.rint(rng.normal(size=(60, UNITS)) * spread), -inputs, inputs).astype(np.int64)
    layer = gate_layer(gamma, np.zeros(UNITS), a.mean(0), deviation, inputs)
    head = head_values(layer, gamma, deviation, a)
    everywhere = np.linspace(-inputs, inputs, 99).astype(np.int64)[:, None] + np.zeros(UNITS, np.int64)
    assert within_int32(head, everywhere)
    levels = layer.levels(a)
    values = head.values(a, levels)
    assert values.shape == (60, 2 * UNITS) and values.dtype == np.int8 and values.min() >= -127
    g = levels / 8
    exact = np.clip(32 * (g - g.mean(0)) / np.maximum(g.std(0), 0.05), -127, 127)
    assert np.abs(values[:, :UNITS] - exact).max() <= 0.5 + 8 / 64 + 1 / 64 + 1e-9
    slope = gamma / deviation
    rate = 32 * slope / np.maximum(np.abs(slope) * a.std(0), 0.05)
    expected = np.clip(rate * (a - a.mean(0)), -127, 127)
    gentle = np.abs(rate) < 32
    assert np.abs(values[:, UNITS:] - expected)[:, gentle].max(initial=0) <= 0.5 + inputs * 2.0**-(head.z_shift)
    monotone = head.values(everywhere, layer.levels(everywhere))[:, UNITS:].astype(int)
    assert (np.diff(monotone, axis=0) * np.sign(gamma) >= 0).all()


@given(
    hnp.arrays(np.int8, (7, 6), elements=st.integers(-8, 8)),
    hnp.arrays(np.int8, (3, 7), elements=st.integers(-127, 127)),
)
def test_scores(levels: NDArray[np.int8], output: NDArray[np.int8]) -> None:
    found = scores(levels, output)
    constant = np.full((7, 4), 8)
    inputs = np.concatenate([levels.astype(int), constant], axis=1)
    weight = np.concatenate([output[:, :-1].astype(int), np.repeat(output[:, -1:].astype(int), 4, axis=1)], axis=1)
    assert found.dtype == np.int32 and np.array_equal(found, inputs @ weight.T)


def test_a_unit_that_never_varies_keeps_its_level() -> None:
    """Normalisation divides by √(0 + 1e-5); its slope is limited, its z at the mean is not changed by that."""
    beta = np.array([0.0, 0.5, -1.0, 1.4, 3.0])
    layer = gate_layer(np.full(5, 1.3), beta, np.full(5, 700.0), np.full(5, 1e-5**0.5), 1024)
    assert layer.levels(np.full((1, 5), 700)).tolist() == [[8, 6, 0, -5, -8]]
    assert (layer.levels(np.full((1, 5), 703))[0, :3] == -8).all()


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer, load_digits])
@pytest.mark.parametrize("bits", [5, 8])
def test_integers_predict_what_floats_predict(load: object, bits: int) -> None:
    x, y = load(return_X_y=True)  # type: ignore[operator]
    half = len(y) // 2
    trained = fit_recipe(x[:half:2] + 0.0, y[:half:2], classes=int(y.max()) + 1, units=32, bits=bits, steps=60)
    gamma, beta, mean, deviation = constants(trained)
    a = sums(trained, x)
    layer = gate_layer(gamma, beta, mean, deviation, trained.encoder.bits)
    levels = layer.levels(a)
    with torch.no_grad():
        floats = 8 * gate(trained.network.norm(torch.from_numpy(a.astype(np.float32)))).numpy()
    assert (levels == floats).mean() > 0.9999
    labels = scores(levels, trained.network.output.levels().numpy()).argmax(1)
    assert (labels == trained.predict(x)).mean() >= 0.999


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": 16385}, "16385 inputs of a gate: must be from 1 to 16384"),
        ({"deviation": np.zeros(2)}, "deviation is 0.0: must be above 0"),
        ({"beta": np.array([0, np.nan])}, "not finite"),
        ({"gamma": np.ones(3)}, "not finite"),
    ],
)
def test_what_is_refused(change: dict[str, object], message: str) -> None:
    good = {"gamma": np.ones(2), "beta": np.zeros(2), "mean": np.zeros(2), "deviation": np.ones(2), "inputs": 9}
    gate_layer(**good)  # type: ignore[arg-type]
    with pytest.raises(ExportError, match=message):
        gate_layer(**good | change)  # type: ignore[arg-type]
