from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabit.experiments.confusion import Confusion, surer_half

SCORES = np.array([[3, 1, 0], [2, 2, 0], [0, 5, 1], [9, 0, 8], [0, 0, 7]])
TRUE = np.array([0, 1, 1, 2, 2])


def test_by_hand() -> None:
    found = Confusion.of(SCORES, TRUE, ("a", "b", "c"))
    assert found.counts.tolist() == [[1, 0, 0], [1, 1, 0], [1, 0, 1]]  # the tie goes to the lower class
    assert found.accuracy == 3 / 5 and found.recall == {"a": 1.0, "b": 0.5, "c": 0.5}
    assert found.balanced_accuracy == pytest.approx(2 / 3)
    assert found.surer_half == 1.0  # margins 2, 0, 4, 1, 7: the three surest are right


def test_a_class_without_samples_has_no_recall_and_no_part_in_the_mean() -> None:
    found = Confusion.of(SCORES[:3], TRUE[:3], ("a", "b"))
    assert found.recall == {"a": 1.0, "b": 0.5, "2": None} and found.balanced_accuracy == 0.75
    assert found.facts()["recall"]["2"] is None


def test_the_surer_half() -> None:
    labels, y, margins = np.array([1, 1, 0, 2, 0]), np.array([1, 0, 0, 2, 1]), np.array([9, 1, 7, 8, 2])
    assert surer_half(labels, margins, y) == 1.0  # the three surest are right, the others wrong
    assert surer_half(labels, -margins, y) == 1 / 3


@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 99))
def test_sums(classes: int, samples: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, y = rng.integers(-9, 9, (samples, classes)), rng.integers(0, classes, samples)
    found = Confusion.of(scores, y, tuple(map(str, range(classes))))
    assert found.counts.sum() == samples and (found.counts.sum(1) == np.bincount(y, minlength=classes)).all()
    assert found.accuracy == pytest.approx((scores.argmax(1) == y).mean())
