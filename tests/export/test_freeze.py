"""Floats end exactly: every sign, threshold, level and table of a checkpoint, against the formulas in exact arithmetic."""

from __future__ import annotations

import copy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from random_checkpoint import checkpoint
from torch_scores import predict_as_torch

from metabit.data import load, thermometer
from metabit.export.errors import ExportError
from metabit.export.files.image import read_image, write_image
from metabit.export.freeze.levels import quantise, tables
from metabit.export.freeze.visits import VisitOptions, freeze
from metabit.export.frozen import CERTAIN, Frozen
from metabit.export.oracle import Oracle
from metabit.runtime import Model
from metabit.train.checkpoint import Checkpoint, Rule
from metabit.train.network.spec import NORM_EPS


def with_norm(inputs: int, weight: Any, bias: Any, mean: Any, var: Any) -> Checkpoint:
    """One hidden layer with these parameters, one value a unit."""
    made = checkpoint((inputs, len(weight), 2))
    for name, values in (("weight", weight), ("bias", bias), ("mean", mean), ("var", var)):
        made.tensors[f"layers.0.norm.{name}"] = np.asarray(values, np.float32)
    return made


def exactly_on(made: Checkpoint, unit: int, a: int) -> bool:
    """weight * (a - mean) / sigma + bias >= 0, times sigma, in fractions. Only sigma's square root is rounded."""
    weight, bias, mean, var = (
        Fraction(float(made.tensors[f"layers.0.norm.{name}"][unit])) for name in ("weight", "bias", "mean", "var")
    )
    sigma = Fraction(float(np.sqrt(np.float64(float(var)) + NORM_EPS)))
    return weight * (a - mean) + bias * sigma >= 0


def assert_folded_exactly(made: Checkpoint) -> None:
    """For every sum a unit can reach, the frozen comparison says what the normalisation says."""
    inputs, frozen = made.spec.shapes[0][1], freeze(made)
    layer = frozen.layers[0]
    for unit in range(layer.units):
        turn = -1 if made.tensors["layers.0.norm.weight"][unit] < 0 else 1  # a turned unit's weights give -a
        for a in range(-inputs, inputs + 1):
            assert (turn * a >= layer.theta[unit]) == exactly_on(made, unit, a), (unit, a, layer.theta[unit])


# Folding

whole = st.integers(-12, 12).map(float)
any_size = st.one_of(whole, st.floats(-30, 30, width=32), st.sampled_from([0.0, 1e-30, -1e-30, 1e6, -1e6, 1e30, -1e30]))
gains = st.one_of(
    st.floats(-3, 3, width=32), st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-38, -1e-38, 1e-6, -1e6, 1e30, -1e30])
)
variances = st.one_of(st.floats(0, 1000, width=32), st.sampled_from([0.0, 1.0, 1e-12, 1e12, 1e30]))


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 25),
    gains,
    st.one_of(st.floats(-30, 30, width=32), any_size),
    st.floats(-30, 30, width=32),
    variances,
)
def test_folding_is_exact(inputs: int, weight: float, bias: float, mean: float, var: float) -> None:
    if bias == 0 and mean == np.round(mean):
        return  # ties: below
    if abs(bias) < 1e-15 * abs(weight) * abs(mean):
        return  # the bias is lost beside the mean in any float arithmetic, torch's included
    assert_folded_exactly(with_norm(inputs, [weight], [bias], [mean], [var]))


@settings(max_examples=200, deadline=None)
@given(gains, whole, variances)
@example(1.0, -12.0, 0.5)
@example(1.0, -3.0, 0.5)
def test_folding_is_exact_where_the_normalised_sum_is_zero(weight: float, mean: float, var: float) -> None:
    """Without a bias, a = mean gives exactly zero, whose sign is +1."""
    assert_folded_exactly(with_norm(12, [weight], [0], [mean], [var]))


def test_many_units_at_once() -> None:
    n, random = 200, np.random.default_rng(1)
    draw = random.normal(0, 3, (3, n))
    made = with_norm(24, draw[0], draw[1], draw[2], random.uniform(0, 60, n))
    assert_folded_exactly(made)
    theta = freeze(made).layers[0].theta
    assert theta.min() >= -24 and theta.max() <= 25


def test_a_gain_of_zero_makes_a_unit_constant() -> None:
    made = with_norm(9, [0, 0, -0.0, 0], [1, -1, 0, -1e-30], [5, 5, -5, 0], [1, 0, 2, 3])
    layer = freeze(made).layers[0]
    assert layer.theta.tolist() == [-9, 10, -9, 10]
    assert_folded_exactly(made)


def test_thresholds_far_away_are_clamped_and_change_no_activation() -> None:
    made = with_norm(9, [1e-30, 1e-30, -1e-30, 1, -1], [1, -1, 1, 1e30, 1e30], [0, 0, 0, 0, 0], [1, 1, 1e30, 1e30, 0])
    assert freeze(made).layers[0].theta.tolist() == [-9, 10, -9, -9, -9]
    assert_folded_exactly(made)


def test_static_norm_folds_to_zero() -> None:
    *hidden, output = freeze(checkpoint(norm="static")).layers
    assert len(hidden) == 2 and not any(layer.theta.any() for layer in hidden)
    assert (output.mul == 1).all() and not output.add.any()


def test_a_negative_gain_turns_the_weights_and_keeps_the_magnitudes() -> None:
    made = checkpoint()
    upright = copy.deepcopy(made)
    for i in range(2):
        upright.tensors[f"layers.{i}.norm.weight"] = np.abs(upright.tensors[f"layers.{i}.norm.weight"])
    turned_units = 0
    for i, (ours, plain) in enumerate(zip(freeze(made).layers[:-1], freeze(upright).layers[:-1], strict=True)):
        turned = made.tensors[f"layers.{i}.norm.weight"] < 0
        turned_units += int(turned.sum())
        np.testing.assert_array_equal(ours.hidden[~turned], plain.hidden[~turned])
        np.testing.assert_array_equal(ours.weights[turned], -plain.weights[turned])
        np.testing.assert_array_equal(magnitude(ours.hidden), magnitude(plain.hidden))
    assert turned_units > 5
    np.testing.assert_array_equal(freeze(made).layers[-1].hidden, freeze(upright).layers[-1].hidden)


def magnitude(hidden: NDArray[np.int8]) -> NDArray[np.int8]:
    return np.where(hidden >= 0, hidden, -1 - hidden)


@pytest.mark.parametrize("norm", ["batch", "static"])
@pytest.mark.parametrize("planes", [0, 3])
def test_the_whole_network_computes_what_the_floats_say(norm: str, planes: int) -> None:
    """Every activation of every layer, from the tensors alone; random reals have no ties."""
    made = checkpoint((13, 30, 21, 5), norm, planes=planes, seed=3)
    frozen = freeze(made)
    random = np.random.default_rng(0)
    for _ in range(50):
        x = random.integers(0, 256 if planes else 2, 13).astype(np.uint8)
        inputs, _, scores = Oracle(frozen).forward(x)
        signal = inputs[0].astype(float)
        for i in range(3):
            a = np.where(made.tensors[f"layers.{i}.hidden"] >= 0, 1, -1) @ signal
            y = a / np.sqrt(len(signal))
            if norm == "batch":
                w, b, mean, var = (
                    made.tensors[f"layers.{i}.norm.{p}"].astype(float) for p in ("weight", "bias", "mean", "var")
                )
                y = w * (a - mean) / np.sqrt(var + NORM_EPS) + b
            if i < 2:
                signal = np.where(y >= 0, 1.0, -1.0)
                np.testing.assert_array_equal(inputs[i + 1], signal)
        if norm == "static":
            np.testing.assert_array_equal(scores, a)
        else:  # 1024 score units to the unit; mul and add are each rounded once
            np.testing.assert_allclose(scores / 1024, y, atol=(np.abs(a).max() + 1) / 2048)


# Levels


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=40), st.integers(1, 8))
def test_levels_fit_their_bits_keep_the_sign_and_the_order(weights: list[float], k: int) -> None:
    w = np.array(weights)[None]
    levels, delta = quantise(w, k)
    half = 2 ** (k - 1)
    assert levels.dtype == np.int8 and delta > 0
    assert levels.min() >= -half and levels.max() < half
    np.testing.assert_array_equal(levels >= 0, w >= 0)  # -0.0 counts as +1, as in training
    assert (np.diff(levels[0][np.argsort(w[0])].astype(int)) >= 0).all()
    if (np.abs(w) < 1e25 * delta).all():
        np.testing.assert_array_equal(levels, np.clip(np.floor(w / delta), -half, half - 1))


def test_the_highest_level_is_where_the_surest_two_percent_begin() -> None:
    w = np.random.default_rng(0).normal(size=(100, 100))
    for k in range(2, 9):
        levels, delta = quantise(w, k)
        half = 2 ** (k - 1)
        assert delta * half == pytest.approx(np.quantile(np.abs(w), 0.98))
        saturated = (np.abs(w) >= delta * half).mean()
        assert saturated == pytest.approx(0.02, abs=0.001)
        assert {-half, half - 1} <= set(levels.ravel().tolist())


def test_hidden_weights_that_are_all_zero() -> None:
    levels, delta = quantise(np.zeros((3, 4)), 5)
    assert not levels.any() and delta == 1.0
    assert not quantise(-np.zeros((3, 4)), 1)[0].any()


# Tables


@pytest.mark.parametrize("k", range(2, 9))
def test_tables_are_the_formula(k: int) -> None:
    for m, delta in ((0.3, 0.02), (2.0, 0.1), (40, 0.01), (1e6, 1.0)):
        strengthen, weaken = tables(m, delta, k, "certain")
        assert strengthen.dtype == weaken.dtype == np.uint16
        assert (strengthen == CERTAIN).all()
        for r in range(2 ** (k - 1)):
            f = 1 - np.tanh(m * delta * (r + 0.5)) ** 2
            assert int(weaken[r]) == min(65535, round(65536 * f))
        assert (np.diff(weaken.astype(int)) <= 0).all()
        both = tables(m, delta, k, "same")
        np.testing.assert_array_equal(both[0], both[1])
        np.testing.assert_array_equal(both[1], weaken)


@pytest.mark.parametrize("strengthen", ["certain", "same"])
def test_without_metaplasticity_every_move_is_certain(strengthen: str) -> None:
    for table in tables(0.0, 0.1, 6, strengthen):
        assert table.shape == (32,) and (table == CERTAIN).all()
    options = VisitOptions(m=0, strengthen=strengthen)  # type: ignore[arg-type]
    for layer in freeze(checkpoint(), options).layers:
        assert (layer.rule.strengthen == CERTAIN).all() and (layer.rule.weaken == CERTAIN).all()


def test_the_layers_keep_the_metaplasticity_they_were_trained_with() -> None:
    made = checkpoint()
    made = replace(made, rule=Rule((0.0, 1.0, 50.0), 0.01, 0.0))
    frozen = freeze(made)
    for i, layer in enumerate(frozen.layers):
        _, delta = quantise(made.tensors[f"layers.{i}.hidden"].astype(float), 5)
        np.testing.assert_array_equal(layer.rule.weaken, tables(made.m[i], delta, 5, "certain")[1])
    assert (frozen.layers[0].rule.weaken == CERTAIN).all()
    assert frozen.layers[2].rule.weaken.min() < 60000
    same = freeze(made, VisitOptions(m=50.0)).layers
    assert same[0].rule.weaken.min() < 60000


# Checkpoints


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["layers.0.hidden", "layers.1.norm.var", "layers.2.norm.bias"])
def test_a_tensor_that_is_not_finite_is_named(name: str, value: float) -> None:
    made = checkpoint()
    made.tensors[name].flat[1] = value
    with pytest.raises(ExportError, match=f"^tensor {name} holds NaN or infinity: the training diverged, train again$"):
        freeze(made)


def test_an_output_without_any_gain_is_refused() -> None:
    made = checkpoint()
    made.tensors["layers.2.norm.weight"][:] = 0
    with pytest.raises(ExportError, match="every output gain is zero"):
        freeze(made)


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_an_output_gain_beyond_32_bits_is_refused() -> None:
    made = checkpoint()
    made.tensors["layers.2.norm.weight"][:] = [1e12, 1, 1]
    with pytest.raises(ExportError):
        freeze(made)


@pytest.mark.parametrize("norm", ["batch", "static"])
def test_a_code_never_learns(norm: str) -> None:
    made = checkpoint(norm=norm, code=True)
    layers = freeze(made, VisitOptions(bits=6)).layers
    assert [layer.learns for layer in layers] == [True, True, False]
    assert [layer.bits for layer in layers] == [6, 6, 1]
    np.testing.assert_array_equal(layers[-1].weights, made.tensors["layers.2.code"])
    model = Model(write_image(freeze(made)))
    model.learn_many(np.full((30, model.input_size), 255, np.uint8), np.arange(30) % 3)
    learned = read_image(model.image())
    np.testing.assert_array_equal(learned.layers[-1].hidden, layers[-1].hidden)
    assert learned.counters.moved > 0


def test_one_bit_is_a_frozen_network() -> None:
    frozen = freeze(checkpoint(), VisitOptions(bits=1))
    assert not any(layer.learns for layer in frozen.layers)
    five = freeze(checkpoint(), VisitOptions(bits=5))
    for one, other in zip(frozen.layers, five.layers, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)


def test_the_same_checkpoint_gives_the_same_bytes_and_is_left_alone() -> None:
    made = checkpoint(planes=2)
    before = copy.deepcopy(made.tensors)
    image = write_image(freeze(made, VisitOptions(seed=3)))
    assert write_image(freeze(made, VisitOptions(seed=3))) == image
    assert write_image(freeze(made, VisitOptions(seed=4))) != image
    for name, tensor in before.items():
        np.testing.assert_array_equal(made.tensors[name], tensor)


# A trained network


@pytest.fixture(scope="module", params=["batch-learned", "batch-code", "static-learned", "static-code"])
def digits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A real network, trained on digits for two epochs, as torch has it and as it came back from its checkpoint."""
    torch = pytest.importorskip("torch")
    from metabit import train

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a network only waits for a second one
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    norm, output = request.param.split("-")
    task = load("digits").whole()
    spec = train.Spec(64, (128, 48), 10, encode=thermometer(task.x_train, 4), norm=norm, output=output, seed=1)
    network = train.Network(spec)
    train.fit(network, task, epochs=2, m=1.0)
    path = Path(tmp_path_factory.mktemp("digits")) / "checkpoint.safetensors"
    train.save(path, network, rule=train.Rule.of(spec, m=1.0))
    return network, task, freeze(train.load_checkpoint(path))


def test_hidden_activations_of_a_trained_network_are_those_of_torch(digits: tuple[Any, Any, Frozen]) -> None:
    import torch

    network, task, frozen = digits
    x = torch.from_numpy(task.x_test)
    with torch.no_grad():
        signal = network.encode(x)
        want = []
        for layer in network.layers()[:-1]:
            signal = torch.where(layer(signal) >= 0, 1.0, -1.0)
            want.append(signal.numpy())
    oracle = Oracle(frozen)
    for n, features in enumerate(task.x_test):
        for i, activation in enumerate(oracle.forward(features)[0][1:]):
            np.testing.assert_array_equal(activation, want[i][n])


def test_predictions_of_a_trained_network_are_those_of_torch(digits: tuple[Any, Any, Frozen]) -> None:
    network, task, frozen = digits
    got = predict_as_torch(network, frozen, task.x_test)
    assert float((got == task.y_test).mean()) > 0.7
