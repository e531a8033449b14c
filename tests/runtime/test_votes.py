"""Graded layers that learn by votes: the C runtime against the NumPy oracle, step by step, over many countings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from agreement import agree_while_learning
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import conv, inputs, inputs_of_density, oracle_input, voting, windowed

from metabit.export.files.image import read_image, write_image
from metabit.export.frozen import CERTAIN, Frozen, GradedLayer
from metabit.export.oracle import Oracle
from metabit.export.vectors import state_of
from metabit.runtime import Model, ModelError

SIDES = st.sampled_from([1, 2, 31, 32, 33, 65])


@st.composite
def any_voting(draw: st.DrawFn) -> Frozen:
    """Every corner of a graded layer: odd sizes, any number of planes, bits, passes, samples in a batch."""
    frozen = voting(
        draw(st.integers(0, 2**32 - 1)),
        draw(SIDES),
        draw(st.integers(1, 8)),
        draw(SIDES),
        draw(st.sampled_from([2, 3, 10, 16, 17, 40])),
        draw(st.integers(2, 8)),
        passes=draw(st.sampled_from([4, 8])),
        batch=draw(st.sampled_from([32, 64, 96, 128, 256])),
        source=draw(st.sampled_from(["encode", "bits"])),
    )
    graded = graded_of(frozen)
    table = draw(st.sampled_from([graded.rule.weaken, np.full_like(graded.rule.weaken, CERTAIN)]))
    needed = draw(st.sampled_from([graded.rule.votes_needed, np.zeros_like(graded.rule.votes_needed)]))
    rule = replace(graded.rule, weaken=table, votes_needed=needed)
    return replace(frozen, layers=(replace(graded, rule=rule), frozen.layers[-1]))


def graded_of(frozen: Frozen) -> GradedLayer:
    layer = frozen.layers[-2]
    assert isinstance(layer, GradedLayer)
    return layer


def eager(frozen: Frozen) -> Frozen:
    """The network with settings by which every wrong sample votes and one vote is enough to visit a synapse."""
    graded = graded_of(frozen)
    needed = np.zeros_like(graded.rule.votes_needed)
    rule = replace(graded.rule, dose=2**20 - 1, votes_needed=needed, chance_per_vote=65535)
    layer = replace(graded, low=77, high=563, rule=rule)
    return replace(frozen, layers=(*frozen.layers[:-2], layer, frozen.layers[-1]), skip_below=0)


def taught(frozen: Frozen, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs that say what their label is, so that votes agree."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, frozen.classes, n)
    faces = inputs_of_density(frozen, 0.3, frozen.classes, seed)
    return faces[labels], labels


@settings(max_examples=25, deadline=None)
@given(any_voting(), st.integers(0, 2**32 - 1))
def test_any_voting_network_learns_as_the_oracle(frozen: Frozen, seed: int) -> None:
    x, labels = taught(frozen, 12, seed)
    agree_while_learning(frozen, x, labels)


@pytest.mark.parametrize("seed", range(4))
def test_votes_are_counted_as_the_oracle_counts_them(seed: int) -> None:
    frozen = voting(seed, planes=1 + seed % 3, units=33, k=2 + 2 * (seed % 4 > 0), batch=32)
    x, labels = taught(frozen, 150, seed)
    _, model = agree_while_learning(frozen, x, labels)
    assert model.state() != Model(write_image(frozen)).state()


@pytest.mark.parametrize(("batch", "planes"), [(32, 2), (64, 1), (96, 1), (128, 2), (256, 1)])
def test_slots_wrap_and_inputs_beyond_a_batch_are_counted(
    batch: int, planes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K = batch + 7: in the first seven slots two inputs are counted, and every slot is filled more than twice."""
    frozen = eager(voting(batch, batch + 7, planes, 35, 6, passes=4, batch=batch))
    x = inputs_of_density(frozen, 0.3, 2 * batch + 30, batch)
    labels = np.random.default_rng(batch).integers(0, frozen.classes, len(x))
    counted, count = [], Oracle.count
    monkeypatch.setattr(Oracle, "count", lambda *given: (counted.append(given[2].tolist()), count(*given)))
    oracle, _ = agree_while_learning(frozen, x, labels)
    assert len(counted) > 2 * batch + 7 and counted[batch] == [0, batch] and counted[2 * batch + 6] == [6, batch + 6]
    assert oracle.votes.any(1).all()
    changed = (oracle.levels[-2] != frozen.layers[-2].hidden).any(0)  # by input
    assert changed[:batch].any() and changed[batch:].any()


def test_two_classes_learn_for_long() -> None:
    """The error of two scores keeps their common size: another branch of the rule, through many countings."""
    frozen = eager(voting(7, 20, 2, 35, 2, 3, batch=32))
    x = inputs_of_density(frozen, 0.5, 200, 7)
    labels = np.random.default_rng(7).integers(0, 2, len(x))
    oracle, _ = agree_while_learning(frozen, x, labels)
    assert oracle.steps == 200 and oracle.moved > 0 and oracle.flipped > 0 and oracle.votes.any(1).all()


def test_features_below_stay_and_the_graded_layer_learns() -> None:
    below = windowed(5, (6, 5, 2), (conv(9, 3, 2, True),), (6,), "2", 3, (False,))
    frozen = voting(5, planes=3, below=below, batch=32)
    x = inputs(frozen, 80, 3)
    agree_while_learning(frozen, x, np.arange(80) % frozen.classes)


def test_prediction_of_a_frozen_graded_layer() -> None:
    frozen = voting(9, units=40, learns=False)
    model, oracle, x = Model(write_image(frozen)), Oracle(frozen), inputs(frozen, 60, 2)
    expected = [oracle.scores(oracle_input(frozen, row)) for row in x]
    np.testing.assert_array_equal(model.scores(x), expected)


def test_novelty_was_taken_out_and_names_what_replaces_it() -> None:
    with pytest.raises(ModelError, match="taken out: rank predictions by Model.margins"):
        Model(write_image(voting(0))).novelties(np.zeros((1, 1), np.uint8))


def test_before_1_6_samples_not_yet_counted_are_lost_with_the_arena_and_nothing_else_is() -> None:
    """Opened again, a model goes on as the oracle does from the same levels with no samples; one left running does not."""
    frozen = eager(voting(2, batch=32))
    x, labels = taught(frozen, 120, 2)
    model = Model(write_image(frozen, crc32=True))
    model.learn_many(x[:40], labels[:40])
    saved = model.image()
    again, oracle = Model(saved), Oracle(read_image(saved))
    assert again.state() == model.state() == state_of(frozen, oracle, crc32=True) and oracle.steps == 40
    np.testing.assert_array_equal(again.scores(x), model.scores(x))
    for row, label in zip(x[40:], labels[40:], strict=True):
        assert again.learn_one(row, int(label)) == oracle.learn(oracle_input(frozen, row), int(label))
        assert again.state() == state_of(frozen, oracle, crc32=True)
    model.learn_many(x[40:], labels[40:])
    assert oracle.kept() is not None and again.state() != model.state()


def test_where_the_samples_lie_changes_no_integer() -> None:
    """The arena of an image before 1.6 holds what the state of 1.6 holds, in as many bytes."""
    frozen = eager(voting(4, batch=32))
    x, labels = taught(frozen, 100, 4)
    old, new = Model(write_image(frozen, crc32=True)), Model(write_image(frozen))
    assert (
        old.state_size + old.arena_size() == new.state_size + new.arena_size() and old.arena_size() > new.arena_size()
    )
    steps = zip(*(model.learn_many(x, labels) for model in (old, new)), strict=True)
    assert all(np.array_equal(*both) for both in steps) and new.state().startswith(old.state())
