from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabit.data.errors import DataError
from metabit.data.task import from_arrays, load, thermometer

X = np.arange(40, dtype=np.uint8).reshape(10, 4)
Y = np.array([0, 1] * 5)


def test_digits_and_sideways_share_their_split() -> None:
    upright, sideways = load("digits"), load("digits:sideways")
    assert (upright.features, upright.classes) == (64, 10)
    assert len(upright.x_train) == 1438 and len(upright.x_test) == 359
    assert upright.x_train.dtype == np.uint8 and upright.y_train.dtype == np.int64
    assert upright.x_train.max() == 16
    assert np.array_equal(upright.y_train, sideways.y_train)
    turned = np.rot90(upright.x_test.reshape(-1, 8, 8), axes=(1, 2)).reshape(-1, 64)
    assert np.array_equal(turned, sideways.x_test)


def test_the_split_is_stratified_and_seeded() -> None:
    first, again, other = load("digits", seed=1), load("digits", seed=1), load("digits", seed=2)
    assert np.array_equal(first.x_test, again.x_test)
    assert not np.array_equal(first.y_test, other.y_test) or not np.array_equal(first.x_test, other.x_test)
    share = np.bincount(first.y_test) / (np.bincount(first.y_test) + np.bincount(first.y_train))
    assert (np.abs(share - 0.2) < 0.01).all()


def test_npz_with_and_without_a_test_set(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    task = load(tmp_path / "a.npz")
    assert task.name == "a" and len(task.x_train) == 8 and len(task.x_test) == 2
    np.savez(tmp_path / "b.npz", x=X, y=Y, x_test=X[:3], y_test=Y[:3])
    task = load(str(tmp_path / "b.npz"))
    assert np.array_equal(task.x_train, X) and np.array_equal(task.y_test, Y[:3])


def test_npz_with_task_numbers(tmp_path: Path) -> None:
    ids = np.array([1] * 4 + [2] * 6)
    np.savez(tmp_path / "s.npz", x=X, y=Y, task=ids, x_test=X, y_test=Y, task_test=ids)
    task = load(f"{tmp_path}/s.npz:2")
    assert task.name == "s:2" and np.array_equal(task.x_train, X[4:]) and np.array_equal(task.y_test, Y[4:])
    assert len(load(f"{tmp_path}/s.npz").x_train) == 10
    with pytest.raises(DataError, match="has no task 3 in task: there are 1, 2"):
        load(f"{tmp_path}/s.npz:3")
    np.savez(tmp_path / "n.npz", x=X, y=Y, task=ids, x_test=X, y_test=Y)
    with pytest.raises(DataError, match="no array task_test"):
        load(f"{tmp_path}/n.npz:2")
    np.savez(tmp_path / "l.npz", x=X, y=Y, task=ids[:5])
    with pytest.raises(DataError, match="task must be an integer or a name for each row of x and y"):
        load(f"{tmp_path}/l.npz:2")


def test_what_features_may_be() -> None:
    def first_row(x: Any, **more: Any) -> list[int]:
        values: list[int] = from_arrays("t", np.repeat(np.array([x]), 10, axis=0), Y, **more).x_train[0].tolist()
        return values

    assert first_row([0.0, 0.5, 1.0]) == [0, 128, 255]
    assert first_row([0.0, 3.0, 255.0]) == [0, 3, 255]
    assert first_row(np.array([True, False])) == [1, 0]
    assert first_row(np.array([7, 255], dtype=np.int64)) == [7, 255]
    # one scale for both sets: a test set of dark images is not mistaken for 0..1
    assert first_row([0.0, 200.0], x_test=np.array([[0.0, 1.0]]), y_test=[0]) == [0, 200]


def nan_features() -> Any:
    x = X.astype(float)
    x[3, 2] = np.nan
    return x


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X.reshape(10, 2, 2)}, r"x has shape \(10, 2, 2\): must be \(samples, features\)"),
        ({"x": X[:0], "y": Y[:0]}, "at least one sample"),
        ({"x": nan_features()}, r"x\[3, 2\] is nan: features must be finite"),
        ({"x": X - 1.5}, r"x\[0, 0\] is -1.5: features must be whole numbers from 0 to 255, or all floats from 0 to 1"),
        ({"x": X + 0.5}, r"x\[0, 0\] is 0.5: "),
        ({"x": X.astype(int) * 100}, r"x\[0, 3\] is 300: features must be whole numbers from 0 to 255"),
        ({"x": -X.astype(int)}, r"x\[0, 1\] is -1: "),
        ({"x": X.astype(str)}, "x has dtype <U3: features must be numbers"),
        ({"y": Y[:9]}, "y has 9 labels for 10 samples"),
        ({"y": np.eye(10)}, r"y has shape \(10, 10\): must be \(samples,\), from one-hot rows take argmax"),
        ({"y": Y - 1}, r"y\[0\] is -1: labels must be whole numbers from 0 to 16383"),
        ({"y": Y + 0.5}, r"y\[0\] is 0.5: "),
        ({"y": Y * 20000}, r"y\[1\] is 20000: "),
        ({"y": np.where(Y == 1, np.nan, 0)}, r"y\[1\] is nan: "),
        ({"y": Y.astype(str)}, "y has dtype <U21: labels must be whole numbers"),
        ({"x_test": X}, "only one of x_test and y_test"),
        ({"x_test": X[:, :3], "y_test": Y}, "x_test has 3 features and x has 4"),
        ({"x_test": X, "y_test": Y[:2]}, "y_test has 2 labels for 10 samples"),
        ({"x": X[:2], "y": Y[:2]}, "2 samples are too few to keep 20% of a class apart"),
    ],
)
def test_wrong_arrays_are_named(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "t.npz", **{"x": X, "y": Y, **arrays})
    with pytest.raises(DataError, match=message):
        load(tmp_path / "t.npz")


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown task 'mnst'"):
        load("mnst")
    with pytest.raises(DataError, match=r"none.npz does not exist"):
        load(tmp_path / "none.npz")
    np.savez(tmp_path / "a.npz", x=X, labels=Y)
    with pytest.raises(DataError, match=r"has no array y \(it has labels, x\)"):
        load(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04 but not really")
    with pytest.raises(DataError, match="b.npz is no readable .npz"):
        load(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", x=np.array([{}, []], dtype=object), y=Y)
    with pytest.raises(DataError, match="c.npz is no readable .npz"):
        load(tmp_path / "c.npz")
    with open(tmp_path / "d.npz", "wb") as file:
        np.save(file, X)
    with pytest.raises(DataError, match=r"has no array x and no y \(it has nothing\)"):
        load(tmp_path / "d.npz")


def test_a_truncated_npz_is_named(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=X, y=Y)
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="b.npz is no readable .npz"):
        load(tmp_path / "b.npz")


def test_thermometer() -> None:
    digits = np.array([[0, 16, 3]], dtype=np.uint8)
    assert thermometer(digits, 4).tolist() == [[2] * 3, [6] * 3, [10] * 3, [14] * 3]
    assert thermometer(np.array([[0, 1]], dtype=np.uint8), 1).tolist() == [[1, 1]]
    assert thermometer(np.array([[0, 255]], dtype=np.uint8), 2).tolist() == [[64, 64], [192, 192]]
    with pytest.raises(DataError, match="planes=9: must be from 1 to 8"):
        thermometer(digits, 9)
    with pytest.raises(DataError, match="planes=2: must be from 1 to 1 for features of 0 to 1"):
        thermometer(np.array([[0, 1]], dtype=np.uint8), 2)
    with pytest.raises(DataError, match="every feature is 5"):
        thermometer(np.full((2, 2), 5, dtype=np.uint8), 1)
