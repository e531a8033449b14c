from __future__ import annotations

import os

import numpy as np
import pytest

from metabit.data.errors import DataError
from metabit.experiments.development_problems import PROBLEMS, problem
from metabit.experiments.development_sets import DATA_SETS, DataSet, data_set

PUBLIC_SETS = ("wine", "iris", "cancer", "heavy", "blobs8", "digits")
PUBLIC_PROBLEMS = ("digits", "cancer", "wine")
have_data = bool(os.environ.get("METABIT_DATA_DIR"))
needs_data = pytest.mark.skipif(not have_data, reason="METABIT_DATA_DIR is not set")


def sets(names: tuple[str, ...], everything: object) -> list[object]:
    return [name if name in names else pytest.param(name, marks=needs_data) for name in everything]  # type: ignore[attr-defined]


def check(data: DataSet) -> None:
    assert data.x.dtype == data.x_test.dtype == np.float64 and data.x.shape[1] == data.x_test.shape[1]
    assert np.isfinite(data.x).all() and np.isfinite(data.x_test).all()
    assert data.y.dtype == data.y_test.dtype == np.int64 and len(data.y) == len(data.x) > 0
    assert 0 <= data.y.min() and max(data.y.max(), data.y_test.max()) < data.classes


def rows(x: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in x}


@pytest.mark.parametrize("name", sets(PUBLIC_SETS, DATA_SETS))
def test_a_data_set_is_fixed_by_its_split(name: str) -> None:
    first, again, other = data_set(name, 0), data_set(name, 0), data_set(name, 1)
    check(first)
    assert np.array_equal(first.x, again.x) and np.array_equal(first.y_test, again.y_test)
    assert name == "mnist1d" or not np.array_equal(first.x[:50], other.x[:50])
    assert set(first.y) == set(range(first.classes))
    if name not in ("iris", "cancer", "wisdm", "usps"):  # these hold equal rows themselves
        assert not rows(first.x) & rows(first.x_test)


@pytest.mark.parametrize("name", sets(PUBLIC_PROBLEMS, PROBLEMS))
def test_a_problem_is_fixed_by_its_seed_and_sorting_changes_the_order_only(name: str) -> None:
    mixed, again, by_class = problem(name, 0), problem(name, 0), problem(name, 0, "sorted")
    for part in (mixed.old, *mixed.parts):
        check(part)
    assert np.array_equal(mixed.old.x, again.old.x) and np.array_equal(mixed.old.x, by_class.old.x)
    for one, same, sorted_ in zip(mixed.parts, again.parts, by_class.parts, strict=True):
        assert np.array_equal(one.x, same.x) and np.array_equal(one.x_test, sorted_.x_test)
        assert rows(one.x) == rows(sorted_.x)
        assert (np.diff(sorted_.y) != 0).sum() == len(np.unique(one.y)) - 1
        label = dict(zip([row.tobytes() for row in one.x], one.y, strict=True))
        assert np.mean([label[row.tobytes()] == y for row, y in zip(sorted_.x, sorted_.y, strict=True)]) > 0.99
    x, y = mixed.new_test()
    assert len(x) == len(y) == sum(len(part.y_test) for part in mixed.parts)
    assert not np.array_equal(mixed.old.x[:9], problem(name, 1).old.x[:9])


def test_turned_digits() -> None:
    found = problem("digits", 0)
    (side,) = found.parts
    turned = np.rot90(found.old.x_test.reshape(-1, 8, 8), axes=(1, 2)).reshape(-1, 64)
    assert np.array_equal(side.x_test, turned) and np.array_equal(side.y_test, found.old.y_test)


@needs_data
def test_people_of_the_new_task_are_not_in_the_old_one() -> None:
    for name, parts, classes in (("wisdm", 12, 6), ("watch", 5, 7)):
        found = problem(name, 1)
        assert found.old.classes == classes and 10 <= len(found.parts) <= parts or len(found.parts) == parts
        known = rows(found.old.x)
        for part in found.parts:
            shared = rows(part.x) & known
            assert len(shared) < 0.02 * len(part.x)


def test_unknown_names() -> None:
    with pytest.raises(DataError, match="unknown data set 'x': there are wine"):
        data_set("x", 0)
    with pytest.raises(DataError, match="unknown problem 'x': there are wisdm"):
        problem("x", 0)


def test_a_file_without_a_public_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METABIT_DATA_DIR", raising=False)
    with pytest.raises(DataError, match="set METABIT_DATA_DIR"):
        data_set("mnist1d", 0)
