"""A network that has learnt nothing: its integers are those of the options, and every wrong option is a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from frozen_reference import assert_same

from metabit import export
from metabit.export import ExportError, FreshOptions, fresh, read_image, write_image
from metabit.export.freeze.visits import generator_state
from metabit.export.frozen import Frozen
from metabit.export.oracle.device_rule import DeviceRule


def graded(frozen: Frozen) -> Any:
    return frozen.layers[0]


def test_the_integers_of_the_defaults() -> None:
    frozen = fresh(40, 24, 5)
    layer, output = frozen.layers
    assert (layer.kind, layer.hidden.shape, layer.bits, layer.on_off, layer.window) == ("graded", (24, 40), 4, True, 0)
    assert set(np.unique(layer.hidden)) == {-1, 0} and not layer.theta.any()
    assert (layer.graded.lo, layer.graded.hi, layer.graded.planes) == (77, 563, 2)
    assert np.array_equal(frozen.encode.thresholds, np.tile([[40], [150]], 40))
    r = np.arange(8)
    f = np.round(65536 * (1 - np.tanh(0.15 * (r + 0.5)) ** 2))
    assert np.array_equal(layer.rule.strengthen, f) and np.array_equal(layer.rule.weaken, f)
    votes = layer.rule.votes
    assert (layer.rule.dose, votes.gain, votes.draws, votes.batch) == (round(0.6 * 24 * 4096), 13107, 4, 128)
    assert votes.need.shape == (769,) and votes.need[[0, 1, 4, 256]].tolist() == [0, 64, 128, 1024]
    assert (output.kind, output.bits, output.on_off, output.graded_input, output.learns) == (
        "output",
        1,
        False,
        True,
        False,
    )
    assert np.array_equal(output.weights.sum(0), np.full(24, -1))  # two classes for, three against
    assert (output.weights == 1).any(axis=1).all()
    assert np.array_equal(output.mul, np.ones(5)) and not output.add.any()
    assert (frozen.temperature, frozen.margin, frozen.generator) == (64, 1229, generator_state(0))
    assert frozen.input_bytes == 40 and frozen.classes == 5 and not frozen.packed


def test_low_is_in_units_of_the_mean() -> None:
    """Of units with |V| = 10 each, low=0.5 opens the ramp at 5 and high=1.5 ends it at 15."""
    layer = graded(fresh(8, 4, 3, FreshOptions(low=0.5, high=1.5)))
    gates, ramp, closed = DeviceRule.gates(layer.graded, np.array([5, -5, 15, 15]))
    assert gates.tolist() == [8, 8, -8, -8] and not ramp.any() and closed.tolist() == [False, False, True, True]


def test_what_is_beyond_the_format_is_clipped() -> None:
    assert graded(fresh(4, 1024, 2, FreshOptions(asks=1.0))).rule.dose == 2**20 - 1
    assert graded(fresh(4, 1, 2, FreshOptions(asks=1e-9))).rule.dose == 1
    assert graded(fresh(4, 1, 2, FreshOptions(gain=1.0))).rule.votes.gain == 65535
    assert fresh(4, 1, 1024, FreshOptions(scale=1e9)).temperature == 65535
    assert fresh(4, 1, 2, FreshOptions(scale=1e-9)).temperature == 1


def test_heads_on_features_are_gone_and_say_so() -> None:
    for name in ("HEAD", "fresh_head"):
        with pytest.raises(AttributeError, match=f"{name} is gone: use FreshOptions with fresh, on the data itself"):
            getattr(export, name)


def test_seeds_differ_and_repeat() -> None:
    images = [write_image(fresh(20, 16, 4, FreshOptions(seed=seed))) for seed in (3, 3, 4)]
    assert images[0] == images[1] != images[2]


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ((40, 24, 5), FreshOptions()),
        ((1, 1, 2), FreshOptions(bits=2, thresholds=(0,), draws=4, batch=32, deviations=0)),
        ((2048, 2, 2), FreshOptions(bits=8, thresholds=tuple(range(8)), draws=8, batch=96, deviations=100, delta=0)),
        ((16, 1024, 20), FreshOptions(low=0, high=7.99, margin=1.0, seed=2**32 - 1)),
    ],
    ids=["defaults", "smallest", "most planes", "most units"],
)
def test_it_is_an_image(sizes: tuple[int, int, int], options: FreshOptions) -> None:
    frozen = fresh(*sizes, options)
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
        ({"asks": 0}, "asks=0: must be above 0 and at most 1"),
        ({"deviations": 101}, "deviations=101: must be from 0 to 100"),
        ({"gain": float("nan")}, "gain=nan: must be above 0 and at most 1"),
        ({"draws": 9}, "draws=9: must be 4 or 8"),
        ({"draws": 4.0}, "draws=4.0: must be 4 or 8"),
        ({"batch": 33}, "batch=33: must be a multiple of 32 from 32 to 256"),
        ({"scale": 0}, "scale=0: must be a finite number above 0"),
        ({"margin": 1.1}, "margin=1.1: must be from 0 to 1"),
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
        FreshOptions(**option)
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
        fresh(*sizes)
    assert sentence in str(caught.value)
