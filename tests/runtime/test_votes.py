"""Graded layers that learn by votes: the C runtime against the NumPy oracle, step by step, over many countings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from agreement import agree_while_learning
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import conv, inputs, inputs_of_density, oracle_input, voting, windowed

from metabit.export.frozen import CERTAIN, Frozen
from metabit.export.image import write_image
from metabit.runtime import Model
from metabit.train.device_rule import DeviceRule

SIDES = st.sampled_from([1, 2, 31, 32, 33, 65])


@st.composite
def any_voting(draw: st.DrawFn) -> Frozen:
    """Every corner of a graded layer: odd sizes, any number of planes, hidden bits, draws, samples in a batch."""
    frozen = voting(
        draw(st.integers(0, 2**32 - 1)),
        draw(SIDES),
        draw(st.integers(1, 8)),
        draw(SIDES),
        draw(st.sampled_from([2, 3, 10, 16, 17, 40])),
        draw(st.integers(2, 8)),
        draws=draw(st.integers(1, 8)),
        batch=draw(st.sampled_from([32, 64, 96, 128])),
        source=draw(st.sampled_from(["encode", "bits"])),
    )
    graded = frozen.layers[-2]
    assert graded.rule is not None and graded.rule.votes is not None
    table = draw(st.sampled_from([graded.rule.weaken, np.full_like(graded.rule.weaken, CERTAIN)]))
    need = draw(st.sampled_from([graded.rule.votes.need, np.zeros_like(graded.rule.votes.need)]))
    rule = replace(graded.rule, weaken=table, votes=replace(graded.rule.votes, need=need))
    return replace(frozen, layers=(replace(graded, rule=rule), frozen.layers[-1]))


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


def test_features_below_stay_and_the_graded_layer_learns() -> None:
    below = windowed(5, (6, 5, 2), (conv(9, 3, 2, True),), (6,), "2", 3, (False,))
    frozen = voting(5, planes=3, below=below, batch=32)
    x = inputs(frozen, 80, 3)
    agree_while_learning(frozen, x, np.arange(80) % frozen.classes)


def test_prediction_of_a_frozen_graded_layer() -> None:
    frozen = voting(9, units=40, learns=False)
    model, oracle, x = Model(write_image(frozen)), DeviceRule(frozen), inputs(frozen, 60, 2)
    expected = [oracle.scores(oracle_input(frozen, row)) for row in x]
    np.testing.assert_array_equal(model.scores(x), expected)


def test_samples_not_yet_counted_are_lost_with_the_arena_and_nothing_else_is() -> None:
    frozen = voting(2, batch=32)
    x, labels = taught(frozen, 40, 2)
    model = Model(write_image(frozen))
    model.learn_many(x, labels)
    again = Model(model.image())
    assert again.state() == model.state()
    np.testing.assert_array_equal(again.scores(x), model.scores(x))
