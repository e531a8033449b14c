"""A network from nothing: it learns by the head, it is an image, and every wrong argument is a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from frozen_reference import assert_same
from numpy.typing import NDArray

from metabit.export import (
    ExportError,
    Frozen,
    HeadRows,
    Oracle,
    VoteOptions,
    fresh,
    fresh_votes,
    read_image,
    sample_of_ranges,
    write_image,
)
from metabit.export.freeze.triples import device_integers

SAMPLE = np.random.default_rng(0).normal(5, 2, (64, 6))


def blobs(rng: np.random.Generator, n: int, classes: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Classes around centres of their own, in 4 features of scales 0.01..100."""
    scale, centres = np.array([0.01, 1, 10, 100]), np.random.default_rng(1).normal(0, 3, (classes, 4))
    y = rng.integers(0, classes, n)
    return (centres[y] + rng.normal(size=(n, 4))) * scale, y


@pytest.mark.parametrize("order", ["shuffled", "sorted"])
def test_it_learns_from_its_first_sample(order: str) -> None:
    rng = np.random.default_rng(2)
    x, y = blobs(rng, 500, 4)
    frozen = fresh(x[:64], 4, units=24)
    oracle, q = Oracle(frozen), device_integers(x, frozen.integers, frozen.scale)
    learnt = np.arange(200) if order == "shuffled" else np.argsort(y[:200], kind="stable")
    for row in learnt:
        oracle.learn(q[row], int(y[row]))
    assert np.mean([oracle.predict(one) == label for one, label in zip(q[200:], y[200:], strict=True)]) > 0.9


def test_a_class_beyond_is_learnt_when_it_comes() -> None:
    x, y = blobs(np.random.default_rng(2), 300, 3)
    frozen = fresh(
        x[:64], 2, units=16, spare_classes=1, class_names=("idle", "run"), feature_names=("a", "b", "c", "d")
    )
    assert frozen.classes == 3 and frozen.notes is not None and frozen.notes.classes == ("idle", "run")
    oracle, q = Oracle(frozen), device_integers(x, frozen.integers, frozen.scale)
    for row in np.argsort(y[:200], kind="stable"):
        assert y[row] == 2 or oracle.predict(q[row]) != 2
        oracle.learn(q[row], int(y[row]))
    assert np.mean([oracle.predict(one) == label for one, label in zip(q[200:], y[200:], strict=True)]) > 0.9


def images() -> dict[str, Frozen]:
    whole = np.random.default_rng(0).integers(0, 256, (64, 5))
    return {
        "floats": fresh(SAMPLE, 3),
        "uint8": fresh(whole.astype(np.uint8), 2, units=8),
        "int16": fresh(whole * 100 - 9, 2, units=128),
        "one feature": fresh(SAMPLE[:, :1], 2, units=2),
        "ranges": fresh(sample_of_ranges(np.array([[0, 1], [20, 40]])), 5, units=16, takes="float"),
        "names": fresh(SAMPLE, 3, class_names=("a", "b", "c"), feature_names=tuple("uvwxyz")),
        "rows": fresh(SAMPLE, 3, units=8, rows=HeadRows(2, 5, 3), spare_classes=2),
    }


@pytest.mark.parametrize("name", images())
def test_it_is_an_image(name: str) -> None:
    frozen = images()[name]
    found = read_image(write_image(frozen))
    assert_same(found, frozen)
    assert found.integers == ("uint8" if name == "uint8" else "int16") and (found.scale is None) == name.startswith(
        ("uint", "int")
    )
    assert found.input_bytes == found.features * (1 if name == "uint8" else 2)


def test_the_state_is_the_head_of_its_formula() -> None:
    units, classes = 64, 6
    image = write_image(fresh(SAMPLE, classes, units=units))
    size = int.from_bytes(image[32:36], "little")
    state = units * (units + 1) + classes * (3 * units + 6) + 6  # issue's formula; then padding and kept terms
    assert state < size - 16 <= state + units + 4 * classes + 2


def test_equal_seeds_give_equal_networks() -> None:
    made = [write_image(fresh(SAMPLE, 3, seed=seed)) for seed in (3, 3, 4)]
    assert made[0] == made[1] != made[2]


def test_the_older_form_still_makes_the_network_of_votes() -> None:
    with pytest.warns(
        DeprecationWarning, match=r"fresh\(features, hidden, classes\) is metabit.export.fresh_votes now"
    ):
        found = fresh(40, 24, 5, VoteOptions(seed=3))
    assert write_image(found) == write_image(fresh_votes(40, 24, 5, VoteOptions(seed=3)))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"classes": 1}, "classes=1: must be a whole number from 2 to 128"),
        ({"classes": 129}, "classes=129: must be a whole number from 2 to 128"),
        (
            {"classes": 100, "spare_classes": 29},
            "spare_classes=29: must be a whole number from 0 to 28 beside 100 classes",
        ),
        ({"units": 63}, "units=63: must be an even number from 2 to 128"),
        ({"seed": -1}, "seed=-1: must be a whole number from 0 to 4294967295"),
        ({"class_names": tuple("abcd")}, "4 names for 3 classes: give one for each that is known"),
        ({"feature_names": tuple("abcd")}, "4 names for 6 features: give one for each, or none"),
        ({"rows": HeadRows(9, 5, 3)}, "9 rows a class, the format holds 1..8"),
    ],
)
def test_a_wrong_argument_is_a_sentence(options: dict[str, Any], sentence: str) -> None:
    given = {"classes": 3, **options}
    with pytest.raises(ExportError, match=sentence):
        fresh(SAMPLE, **given)


def test_a_fourth_size_is_a_sentence() -> None:
    with pytest.raises(ExportError, match="5 is a third argument of fresh: give settings by name, as units=64"):
        fresh(SAMPLE, 3, 5)
