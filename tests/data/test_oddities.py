"""Warnings of values that a network would take and learn little from."""

from __future__ import annotations

import numpy as np
import pytest

from metabit.data import from_arrays
from metabit.data.oddities import SHOWN, coarse, spikes, unseen

RNG = np.random.default_rng(4)
Y = np.arange(100) % 2
DATES = 1.7e9 + 0.01 * np.arange(100)


def test_dates_in_seconds_are_named_with_value_step_and_way_out() -> None:
    x = np.column_stack([RNG.normal(size=100), DATES])
    notes: list[str] = []
    from_arrays("t", x, Y, features=("a", "date"), warn=notes.append)
    (said,) = notes
    assert said.startswith("t: date has values such as 1700000000.01, which float32 holds only in steps of 128")
    assert "subtract a constant such as 1700000000 " in said
    moved = np.column_stack([x[:, 0], DATES - 1.7e9])
    assert coarse(moved) == []


@pytest.mark.parametrize(
    "column",
    [
        np.full(100, 1.7e9 + 0.01),  # it does not vary at all
        np.round(1.7e9 + 128 * np.arange(100)),  # float32 holds it
        101325 + RNG.normal(size=100) * 50,  # thousands of steps
        RNG.normal(size=100) * 1e30,
        1000 * np.arange(100),
    ],
)
def test_numbers_that_float32_holds_are_no_reason_for_a_warning(column: np.ndarray) -> None:
    assert coarse(column[:, None]) == []


def test_whole_numbers_beyond_int32_too() -> None:
    (said,) = coarse((10**15 + np.arange(100))[:, None])
    assert said.startswith(
        "feature 0 has values such as 1000000000000000, which float32 holds only in steps of 6.71089e+07"
    )
    assert len(coarse(np.repeat(DATES[:, None], SHOWN + 3, axis=1))) == SHOWN


def test_one_spike_is_named_and_long_tails_are_not() -> None:
    x = np.column_stack([RNG.uniform(0, 1, 64), RNG.lognormal(0, 1, 64), RNG.normal(size=64)])
    assert spikes(x) == []
    x[9, 0] = 1e6
    (said,) = spikes(x, ("a", "b", "c"))
    assert said.startswith("a is 1e+06 in one of the 64 samples that show where it lies and from 0.")
    assert "--ranges" in said
    for value, count in ((30, 0), (60, 1)):  # it widens the deviation about 4 and 7 times
        x[:, 0] = np.resize([-1.0, 1.0], 64)
        x[9, 0] = value
        assert len(spikes(x)) == count
    rare = np.zeros((64, 1))
    rare[3] = 1
    assert spikes(rare) == [], "a bit that is nearly always off"


def test_features_that_vary_where_nothing_was_seen_of_them() -> None:
    x = np.column_stack([np.arange(4), np.ones(4), np.arange(4)])
    assert unseen(x, np.array([True, True, False]), ("a", "b", "c")) == "a"
    assert unseen(x, np.array([False, True, False])) == ""
    assert unseen(np.tile(np.arange(4)[:, None], 9), np.ones(9, bool)).endswith("feature 4, ...")
