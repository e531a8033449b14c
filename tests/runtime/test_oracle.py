"""The C runtime against the NumPy oracle: the same integers, before and after every learning step."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from agreement import agree_while_learning
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import inputs, inputs_of_density, network, oracle_input, ternary

from metabit.export.files.image import write_image
from metabit.export.frozen import CERTAIN, DenseLayer, Frozen, Layer, OutputLayer, Rule
from metabit.export.oracle import Oracle
from metabit.runtime import Model

EDGES = st.sampled_from([1, 2, 7, 31, 32, 33, 64, 65])


def table(kind: str, k: int, rng: np.random.Generator) -> np.ndarray:
    """strengthen and weaken, uint16 (2, 2**(k-1))."""
    shape = (2, 2 ** (k - 1))
    if kind == "random":
        return rng.integers(0, 65536, shape).astype(np.uint16)
    return np.full(shape, {"certain": CERTAIN, "impossible": 0}[kind], np.uint16)


@st.composite
def any_network(draw: st.DrawFn) -> Frozen:
    """Every corner the format has: odd sizes, any depth, any hidden bits, any subset of layers that learn."""
    depth = draw(st.integers(1, 4))
    sizes = (
        draw(EDGES),
        *(draw(EDGES) for _ in range(depth - 1)),
        draw(st.sampled_from([2, 3, 10, 15, 16, 17, 33, 40])),
    )
    learns = draw(st.sampled_from([flags for flags in product((False, True), repeat=depth) if any(flags)]))
    k, kind = draw(st.integers(2, 8)), draw(st.sampled_from(["random", "random", "certain", "impossible"]))
    seed = draw(st.integers(0, 2**32 - 1))
    frozen = network(seed, sizes, k, draw(st.sampled_from([0, 0, 1, 2, 3, 8])), learns)
    rng = np.random.default_rng(seed)
    dose = draw(st.sampled_from([1, 100, 5000, 2**15, 2**20 - 1]))
    ste_window = draw(st.sampled_from([0, 1, 5, 1000, 32767]))
    reach = draw(st.sampled_from([0, 3, 70, 100_000]))

    def cornered(layer: Layer) -> Layer:
        if isinstance(layer, DenseLayer | OutputLayer) and layer.rule is not None:
            layer = replace(layer, rule=Rule(*table(kind, k, rng), dose))
        if not isinstance(layer, DenseLayer):
            return layer
        theta = rng.integers(-reach, reach + 1, layer.units).astype(np.int32)
        return replace(layer, ste_window=ste_window, theta=theta, ternary=draw(st.booleans()))

    return replace(
        frozen,
        layers=tuple(cornered(layer) for layer in frozen.layers),
        skip_below=draw(st.sampled_from([0, 80, 2000, 4096])),
        temperature=draw(st.sampled_from([1, 300, 4096, 65535])),
    )


@settings(max_examples=250, deadline=None)
@given(any_network(), st.lists(st.sampled_from([0, 0.03, 0.2, 0.5, 0.8, 1]), min_size=8, max_size=8), st.data())
def test_any_network_learns_as_the_oracle_does(frozen: Frozen, densities: list[float], data: st.DataObject) -> None:
    x = np.concatenate([inputs_of_density(frozen, d, 1, seed) for seed, d in enumerate(densities)])
    labels = data.draw(st.lists(st.integers(0, frozen.classes - 1), min_size=len(x), max_size=len(x)))
    agree_while_learning(frozen, x, np.array(labels))


@pytest.mark.parametrize("learns", [flags for flags in product((False, True), repeat=3) if any(flags)])
@pytest.mark.parametrize("k", range(2, 9))
def test_every_subset_of_layers_learns_with_every_number_of_bits(k: int, learns: tuple[bool, ...]) -> None:
    frozen = network(k, (13, 34, 17, 18), k, planes=k % 4, learns=learns)
    oracle, _ = agree_while_learning(frozen, inputs(frozen, 12), np.arange(12) % 18)
    assert oracle.moved > 0


@pytest.mark.parametrize("classes", [2, 3, 5, 6, 10, 11, 15, 16, 17, 31, 32, 33, 40])
def test_every_width_of_the_output(classes: int) -> None:
    frozen = network(classes, (9, 33, classes), k=3, planes=2)
    oracle, _ = agree_while_learning(frozen, inputs(frozen, 12), np.arange(12) % classes)
    assert oracle.flipped > 0


def wide(frozen: Frozen) -> Frozen:
    """The network with straight-through windows that are open everywhere."""
    *hidden, output = frozen.layers
    return replace(frozen, layers=(*(replace(layer, ste_window=32767) for layer in hidden), output))


@pytest.mark.parametrize("units", [1, 31, 33, 255, 256, 257, 300, 512, 1030])
def test_ternary_layers_of_every_width(units: int) -> None:
    """Words of signs come by eights; all open, so that most of them are drawn."""
    frozen = ternary(network(units, (30, 40, units, 70, 6), k=4, dose=9000))
    frozen = wide(frozen)
    oracle, _ = agree_while_learning(frozen, inputs(frozen, 12), np.arange(12) % 6)
    assert oracle.moved > 0


def test_a_ternary_layer_learns_otherwise_and_not_by_itself() -> None:
    """The first sample's update of the layer itself is of the exact error; below it, it is not."""
    exact = network(4, (30, 40, 50, 6), k=4, learns=(False, True, True), dose=9000)
    x, y = inputs(exact, 30), np.arange(30) % 6
    alone = [Model(write_image(frozen)) for frozen in (exact, ternary(exact))]
    steps = [model.learn_many(x, y) for model in alone]
    assert np.array_equal(steps[0].visited, steps[1].visited) and alone[0].state() == alone[1].state()
    deeper = network(4, (30, 40, 50, 6), k=4, dose=9000)
    both = [Model(write_image(frozen)) for frozen in (deeper, ternary(deeper, 0), ternary(deeper, 1))]
    for model in both:
        model.learn_many(x, y)
    assert both[0].state() == both[1].state() != both[2].state()


def test_signs_are_drawn_in_proportion_to_the_error() -> None:
    """The mean of the error below a ternary layer is proportional to the error below an exact one."""
    oracle = Oracle(network(6, (12, 10, 4)))
    error = np.array([0, 16383, -16383, 8192, -4096, 1, 0, -12000])
    drawn = np.array([oracle.drawn(error) for _ in range(4000)])
    assert set(np.unique(drawn)) == {-1, 0, 1} and not drawn[:, [0, 6]].any()
    np.testing.assert_allclose(drawn.mean(0), error / 16383, atol=0.03)
    assert np.abs(drawn[:, 1:3]).min() == 1 or np.abs(drawn[:, 1:3]).mean() > 0.999


def test_no_more_units_are_asked_than_visits_need() -> None:
    """Half of the open units of the lowest layer that learns, if its visits are fewer than these; each as likely as any other."""
    frozen = network(6, (400, 200, 40, 4), planes=0, dose=2000)
    oracle, mask = Oracle(frozen), np.arange(200) % 3 != 0
    x = (np.arange(400) < 100).astype(np.int64)
    visits = 2000 * 4096 * 100 >> 24
    assert visits == 48 and mask.sum() == 133
    just, fewer = np.arange(200) < 96, np.arange(200) < 95
    assert oracle.half(0, x, just, 4096).sum() < 96 and oracle.half(0, x, fewer, 4096).sum() == 95
    asked = np.array([oracle.half(0, x, mask, 4096) for _ in range(2000)])
    assert not asked[:, ~mask].any()
    np.testing.assert_allclose(asked[:, mask].mean(0), 0.5, atol=0.06)
    before = oracle.generator
    assert np.array_equal(oracle.half(0, np.ones(400, np.int64), mask, 4096), mask)  # four times as many visits
    few = mask & (np.arange(200) < 90)
    assert few.sum() == 60 and np.array_equal(oracle.half(0, x, few, 4096), few)
    assert oracle.generator == before


@pytest.mark.parametrize("units", [63, 64, 80, 150])
def test_half_of_the_open_units_where_visits_need_no_more(units: int) -> None:
    """All are open; 40 of 400 inputs are on, so that visits are up to 39."""
    frozen = ternary(network(units, (400, units, 40, 4), planes=0, dose=4000))
    frozen = replace(wide(frozen), skip_below=0)
    agree_while_learning(frozen, inputs_of_density(frozen, 0.1, 40, 1), np.arange(40) % 4)


def test_errors_that_go_further_down_go_to_all_open_units() -> None:
    frozen = ternary(network(6, (60, 150, 150, 150, 4), planes=0, dose=500))
    oracle, below = Oracle(frozen), []
    half = oracle.half

    def noted(lowest: int, *rest: Any) -> Any:
        below.append(lowest)
        return half(lowest, *rest)

    oracle.half = noted  # type: ignore[method-assign]
    oracle.learn(oracle_input(frozen, inputs(frozen, 1)[0]), 1)
    assert below == [0]
    agree_while_learning(frozen, inputs(frozen, 20), np.arange(20) % 4)


def test_half_of_the_open_units_above_a_layer_that_is_frozen() -> None:
    """The lowest that learns sees ±1 inputs, of which all are eligible."""
    frozen = ternary(network(3, (42, 126, 179, 252, 13), planes=0, learns=(False, True, True, True), dose=4000))
    frozen = replace(wide(frozen), skip_below=0)
    agree_while_learning(frozen, inputs(frozen, 30), np.arange(30) % 13)


@pytest.mark.parametrize("below", [0, 175, 176, 177, 178, 255, 256, 65535])
def test_errors_to_the_end_of_the_exponential(below: int) -> None:
    """A thousand classes that far below the best: even 1/32767 each adds up to a step of the best one's error."""
    frozen = network(8, (20, 1000), k=3, planes=0)
    out = frozen.layers[0]
    add = np.full(1000, -below, np.int32)
    add[0] = 0
    frozen = replace(
        frozen, layers=(replace(out, mul=np.zeros(1000, np.int32), add=add),), temperature=4096, skip_below=0
    )
    oracle, _ = agree_while_learning(frozen, inputs(frozen, 3), np.array([0, 1, 999]))
    assert oracle.output_error(oracle.scores(oracle_input(frozen, inputs(frozen, 1)[0])), 1)[0] > 0


def test_a_frozen_layer_may_keep_its_levels() -> None:
    frozen = network(5, (20, 33, 31, 6), k=5)
    frozen = replace(frozen, layers=(frozen.layers[0], replace(frozen.layers[1], rule=None), frozen.layers[2]))
    agree_while_learning(frozen, inputs(frozen, 10), np.arange(10) % 6)


@pytest.mark.parametrize("planes", [0, 1, 8])
@pytest.mark.parametrize("inputs_wide", [1, 15, 16, 17, 127, 128, 129, 1030])
def test_sums_cross_every_power_of_two(inputs_wide: int, planes: int) -> None:
    """All weights +1, all -1, and random ones, on inputs of 0 to 100 %: accumulators run from -K to K."""
    frozen = network(1, (inputs_wide, 70, 64, 20), planes=planes, learns=(False,) * 3)
    for layer in frozen.layers:
        layer.hidden[: layer.units // 3] = 0
        layer.hidden[layer.units // 3 : layer.units // 2] = -1
    x = np.concatenate([inputs_of_density(frozen, d, 1, seed) for seed, d in enumerate(np.linspace(0, 1, 101))])
    oracle = Oracle(frozen)
    want = np.array([oracle.scores(oracle_input(frozen, one)) for one in x])
    model = Model(write_image(frozen))
    np.testing.assert_array_equal(model.scores(x), want)
    np.testing.assert_array_equal(model.predict_many(x), want.argmax(1))


def test_a_long_stream() -> None:
    frozen = network(77, (64, 96, 40, 10), k=5, planes=3)
    oracle, _ = agree_while_learning(frozen, inputs(frozen, 150), np.arange(150) * 7 % 10)
    assert oracle.steps == 150
    assert oracle.flipped > 100


def test_counters_wrap_at_two_to_the_32() -> None:
    frozen = network(3, (10, 20, 4), dose=2**15)
    most = 2**32 - 1
    frozen = replace(frozen, counters=type(frozen.counters)(most, most, most))
    oracle, _ = agree_while_learning(frozen, inputs(frozen, 6), np.arange(6) % 4)
    assert oracle.steps == 5
    assert oracle.moved < most


# Samples that teach nothing


def only_the_step_counter_moved(before: bytes, after: bytes) -> bool:
    count = int.from_bytes(before[4:8], "little") + 1
    return after == before[:4] + count.to_bytes(4, "little") + before[8:]


def test_a_sample_inside_the_margin_leaves_the_generator_alone() -> None:
    frozen = replace(network(2, (30, 40, 5)), skip_below=4096, temperature=1)  # nearly uniform: no error reaches 4096
    model = Model(write_image(frozen))
    for n, x in enumerate(inputs(frozen, 20)):
        before = model.state()
        assert model.learn_one(x, n % 5)[1:] == (True, 0, 0, 0)
        assert only_the_step_counter_moved(before, model.state())
    agree_while_learning(frozen, inputs(frozen, 20), np.arange(20) % 5)


def test_a_sample_without_error_is_skipped_whatever_the_margin() -> None:
    frozen = replace(network(2, (30, 40, 5)), skip_below=0, temperature=65535)
    frozen.layers[-1].mul[:], frozen.layers[-1].add[:] = 1, [0, 9999, 0, 0, 0]
    model, x = Model(write_image(frozen)), inputs(frozen, 1)[0]
    before = model.state()
    step = model.learn_one(x, 1)
    assert (step.predicted, step.skipped, step.visited) == (1, True, 0)
    assert only_the_step_counter_moved(before, model.state())
    assert not model.learn_one(x, 2).skipped


# Tables at their ends


def with_tables(kind: str, k: int) -> Frozen:
    frozen = replace(network(9, (30, 33, 7), k=k, dose=2**14), skip_below=0)
    rng = np.random.default_rng(0)
    return replace(
        frozen,
        layers=tuple(replace(layer, rule=Rule(*table(kind, k, rng), layer.rule.dose)) for layer in frozen.layers),
    )


@pytest.mark.parametrize("k", [2, 5, 8])
def test_without_metaplasticity_every_visited_synapse_moves(k: int) -> None:
    """m = 0: all entries are 65535, so that only a saturated level can stay where it is."""
    frozen = with_tables("certain", k)
    for layer in frozen.layers:
        layer.hidden[:] = np.clip(layer.hidden, -1, 0)  # far from saturation if k is large
    model = Model(write_image(frozen))
    steps = model.learn_many(inputs(frozen, 2), [0, 1])
    assert steps.visited.sum() > 0
    if k == 8:
        np.testing.assert_array_equal(steps.moved, steps.visited)
    agree_while_learning(frozen, inputs(frozen, 10), np.arange(10) % 7)


@pytest.mark.parametrize("k", [2, 5, 8])
def test_impossible_tables_move_nothing_but_the_generator(k: int) -> None:
    frozen = with_tables("impossible", k)
    model = Model(write_image(frozen))
    before = model.state()
    steps = model.learn_many(inputs(frozen, 10), np.arange(10) % 7)
    assert steps.visited.sum() > 0
    assert steps.moved.sum() == steps.flipped.sum() == 0
    assert model.state()[:4] != before[:4]
    assert model.state()[8:] == before[8:]
    agree_while_learning(frozen, inputs(frozen, 10), np.arange(10) % 7)


@pytest.mark.parametrize("k", [2, 3, 8])
def test_levels_saturate_at_both_ends(k: int) -> None:
    """Repeats one sample with certain tables: every eligible level ends at an end, and stays."""
    frozen = replace(with_tables("certain", k), temperature=1)
    half = 2 ** (k - 1)
    for layer in frozen.layers:
        layer.hidden[:, ::2], layer.hidden[:, 1::2] = half - 1, -half
    oracle, _ = agree_while_learning(frozen, np.repeat(inputs(frozen, 1), 20, 0), np.zeros(20, int))
    assert all(level.min() >= -half and level.max() < half for level in map(np.asarray, oracle.levels))
