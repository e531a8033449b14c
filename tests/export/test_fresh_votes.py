"""A network that has learnt nothing: its integers are those of the options, and every wrong option is a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from frozen_reference import assert_same

from metabit import export
from metabit.export import ExportError, VoteOptions, fresh_votes, read_image, write_image
from metabit.export.freeze.levels import generator_state
from metabit.export.frozen import Frozen
from metabit.export.oracle.forward import grades


def graded(frozen: Frozen) -> Any:
    return frozen.layers[0]


def test_the_integers_of_the_defaults() -> None:
    frozen = fresh_votes(40, 24, 5)
    layer, output = frozen.layers
    assert (layer.kind, layer.hidden.shape, layer.bits, layer.takes) == ("graded", (24, 40), 4, "bits")
    assert set(np.unique(layer.hidden)) == {-1, 0} and not layer.theta.any()
    assert (layer.low, layer.high, layer.planes) == (77, 563, 2)
    assert np.array_equal(frozen.encode.thresholds, np.tile([[40], [150]], 40))
    r = np.arange(8)
    f = np.round(65536 * (1 - np.tanh(0.15 * (r + 0.5)) ** 2))
    assert np.array_equal(layer.rule.strengthen, f) and np.array_equal(layer.rule.weaken, f)
    rule = layer.rule
    assert (rule.dose, rule.chance_per_vote, rule.passes, rule.batch) == (round(0.6 * 24 * 4096), 13107, 4, 128)
    assert rule.votes_needed.shape == (769,) and rule.votes_needed[[0, 1, 4, 256]].tolist() == [0, 64, 128, 1024]
    assert (output.kind, output.bits, output.takes, output.learns) == ("output", 1, "grades", False)
    assert np.array_equal(output.weights.sum(0), np.full(24, -1))  # two classes for, three against
    assert (output.weights == 1).any(axis=1).all()
    assert np.array_equal(output.mul, np.ones(5)) and not output.add.any()
    assert (frozen.temperature, frozen.skip_below, frozen.generator) == (64, 1229, generator_state(0))
    assert frozen.input_bytes == 40 and frozen.classes == 5 and not frozen.packed


def test_low_is_in_units_of_the_mean() -> None:
    """With |V| = 10 in every unit, low=0.5 opens the ramp at 5 and high=1.5 ends it at 15."""
    layer = graded(fresh_votes(8, 4, 3, VoteOptions(low=0.5, high=1.5)))
    given, ramp, beyond = grades(layer.low, layer.high, np.array([5, -5, 15, 15]))
    assert given.tolist() == [8, 8, -8, -8] and not ramp.any() and beyond.tolist() == [False, False, True, True]


def test_what_is_beyond_the_format_is_clipped() -> None:
    assert graded(fresh_votes(4, 1024, 2, VoteOptions(vote_rate=1.0))).rule.dose == 2**20 - 1
    assert graded(fresh_votes(4, 1, 2, VoteOptions(vote_rate=1e-9))).rule.dose == 1
    assert graded(fresh_votes(4, 1, 2, VoteOptions(chance_per_vote=1.0))).rule.chance_per_vote == 65535
    assert fresh_votes(4, 1, 1024, VoteOptions(scale=1e9)).temperature == 65535
    assert fresh_votes(4, 1, 2, VoteOptions(scale=1e-9)).temperature == 1


@pytest.mark.parametrize(
    ("name", "instead"), [("HEAD", "use VoteOptions"), ("fresh_head", "use fresh"), ("Graded", "GradedLayer")]
)
def test_names_that_are_gone_say_what_replaces_them(name: str, instead: str) -> None:
    with pytest.raises(AttributeError, match=f"metabit.export.{name} is gone: .*{instead}"):
        getattr(export, name)


@pytest.mark.parametrize(
    ("old", "present"),
    [("Options", "VisitOptions"), ("FreshOptions", "VoteOptions"), ("FIELD", "VOTES_AFTER_TRAINING"),
     ("hand_over", "freeze_graded"), ("space", "tunable_settings")],
)  # fmt: skip
def test_names_that_changed_still_import_with_a_warning(old: str, present: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"metabit.export.{old} is metabit.export.{present} now"):
        assert getattr(export, old) is getattr(export, present)


def test_seeds_differ_and_repeat() -> None:
    images = [write_image(fresh_votes(20, 16, 4, VoteOptions(seed=seed))) for seed in (3, 3, 4)]
    assert images[0] == images[1] != images[2]


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ((40, 24, 5), VoteOptions()),
        ((1, 1, 2), VoteOptions(bits=2, thresholds=(0,), passes=4, batch=32, deviations=0)),
        ((2048, 2, 2), VoteOptions(bits=8, thresholds=tuple(range(8)), passes=8, batch=96, deviations=100, delta=0)),
        ((16, 1024, 20), VoteOptions(low=0, high=7.99, skip_below=1.0, seed=2**32 - 1)),
    ],
    ids=["defaults", "smallest", "most planes", "most units"],
)
def test_it_is_an_image(sizes: tuple[int, int, int], options: VoteOptions) -> None:
    frozen = fresh_votes(*sizes, options)
    assert_same(read_image(write_image(frozen)), frozen)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"bits": 1}, "bits=1: must be a whole number from 2 to 8"),
        ({"bits": 4.0}, "bits=4.0: must be a whole number from 2 to 8"),
        ({"thresholds": ()}, "thresholds=(): must be 1 to 8 whole numbers from 0 to 255, as a tuple"),
        ({"thresholds": tuple(range(9))}, "must be 1 to 8 whole numbers"),
        ({"thresholds": 40}, "thresholds=40: must be 1 to 8 whole numbers"),
        ({"thresholds": (40, 256)}, "thresholds=256: must be whole numbers from 0 to 255"),
        ({"thresholds": (0.5,)}, "thresholds=0.5: must be whole numbers from 0 to 255"),
        ({"delta": -0.1}, "delta=-0.1: must be a finite number >= 0"),
        ({"vote_rate": 0}, "vote_rate=0: must be above 0 and at most 1"),
        ({"deviations": 101}, "deviations=101: must be from 0 to 100"),
        ({"chance_per_vote": float("nan")}, "chance_per_vote=nan: must be above 0 and at most 1"),
        ({"passes": 9}, "passes=9: must be 4 or 8"),
        ({"passes": 4.0}, "passes=4.0: must be 4 or 8"),
        ({"batch": 33}, "batch=33: must be a multiple of 32 from 32 to 256"),
        ({"scale": 0}, "scale=0: must be a finite number above 0"),
        ({"skip_below": 1.1}, "skip_below=1.1: must be from 0 to 1"),
        ({"low": -1}, "low=-1: must be from 0 to 7.99"),
        ({"high": 8}, "high=8: must be from 0 to 7.99"),
        ({"low": 2.2}, "low=2.2: must be at least 1/256 below high=2.2"),
        ({"seed": -1}, "seed=-1: must be a whole number from 0 to 4294967295"),
        ({"seed": True}, "seed=True: must be a whole number"),
    ],
    ids=str,
)
def test_a_wrong_option_is_a_sentence(option: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ExportError) as caught:
        VoteOptions(**option)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ((0, 4, 2), "features=0: must be a whole number from 1 to 8192 with 2 thresholds"),
        ((8193, 4, 2), "features=8193: must be a whole number from 1 to 8192 with 2 thresholds"),
        ((4, 0, 2), "hidden=0: must be a whole number from 1 to 1024"),
        ((4, 1025, 2), "hidden=1025: must be a whole number from 1 to 1024"),
        ((4, 4, 1), "classes=1: must be a whole number from 2 to 1024"),
        ((4, 4.0, 2), "hidden=4.0: must be a whole number"),
    ],
    ids=str,
)
def test_a_wrong_size_is_a_sentence(sizes: tuple[Any, Any, Any], sentence: str) -> None:
    with pytest.raises(ExportError) as caught:
        fresh_votes(*sizes)
    assert sentence in str(caught.value)
