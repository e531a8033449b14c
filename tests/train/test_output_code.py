from __future__ import annotations

import numpy as np
import pytest

from metabit.train.network.output_code import output_code


@pytest.mark.parametrize(("classes", "units"), [(2, 5), (3, 7), (10, 100), (11, 64)])
def test_every_unit_votes_for_half_of_the_classes(classes: int, units: int) -> None:
    code = output_code(classes, units, seed=0)
    assert code.shape == (classes, units) and code.dtype == np.int8
    assert set(np.unique(code)) == {-1, 1}
    positive = (code == 1).sum(axis=0)
    assert set(positive) <= {classes // 2, (classes + 1) // 2}
    assert (positive == (classes + np.arange(units) % 2) // 2).all()


def test_classes_are_far_apart_and_the_seed_decides() -> None:
    code = output_code(10, 512, seed=0)
    distances = (512 - code.astype(int) @ code.T) // 2
    closest = distances[~np.eye(10, dtype=bool)].min()
    assert closest >= 260  # a random pair is at 512 * 5/9 = 284 on average; the closest of 45 pairs usually near 255
    assert np.array_equal(code, output_code(10, 512, seed=0))
    assert not np.array_equal(code, output_code(10, 512, seed=1))
