from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metabit import data
from metabit.data import DataError, DataWarning, Task, from_arrays, load, thermometer

X = np.arange(40, dtype=np.uint8).reshape(10, 4)
Y = np.array([0, 1] * 5)


def test_digits_and_sideways_share_their_split() -> None:
    upright, sideways = load("digits").whole(), load("digits:sideways").whole()
    assert (upright.features, upright.classes) == (64, 10)
    assert len(upright.x_train) == 1438 and len(upright.x_test) == 359
    assert upright.x_train.dtype == np.uint8 and upright.y_train.dtype == np.int64
    assert upright.x_train.max() == 16
    assert np.array_equal(upright.y_train, sideways.y_train)
    turned = np.rot90(upright.x_test.reshape(-1, 8, 8), axes=(1, 2)).reshape(-1, 64)
    assert np.array_equal(turned, sideways.x_test)


def test_the_split_is_stratified_and_seeded() -> None:
    first, again, other = (load("digits", seed=s).whole() for s in (1, 1, 2))
    assert np.array_equal(first.x_test, again.x_test)
    assert not np.array_equal(first.y_test, other.y_test) or not np.array_equal(first.x_test, other.x_test)
    share = np.bincount(first.y_test) / (np.bincount(first.y_test) + np.bincount(first.y_train))
    assert (np.abs(share - 0.2) < 0.01).all()


@pytest.mark.parametrize(
    ("row", "dtype"),
    [
        ([0.0, 0.5, 1.0], np.float32),
        ([0.0, 3.0, 255.0], np.uint8),
        ([0.0, 1.0], np.uint8),
        ([True, False], np.uint8),
        ([7, 256], np.int16),
        ([-1, 32767], np.int16),
        ([-32768.0, 5.0], np.int16),
        ([-32769, 5], np.int32),
        ([2**31, 5], np.float32),
        ([1e30, -1e30], np.float32),
    ],
)
def test_features_keep_their_values_in_the_first_dtype_that_holds_them(row: list[Any], dtype: Any) -> None:
    task = from_arrays("t", np.repeat(np.array([row]), 10, axis=0), Y)
    assert task.x_train.dtype == task.x_test.dtype == dtype
    assert task.x_train[0].tolist() == np.array(row, dtype).tolist()


def test_both_parts_have_one_dtype_and_no_part_is_scaled_by_its_own_largest_value() -> None:
    x = np.repeat([[0.0, 200.0]], 10, axis=0)
    task = from_arrays("t", x, Y, x_test=np.array([[0.0, 1.0]]), y_test=np.array([0]))
    assert task.x_train.dtype == task.x_test.dtype == np.uint8 and task.x_test.tolist() == [[0, 1]]
    task = from_arrays("t", x, Y, x_test=np.array([[0.0, 0.5]]), y_test=np.array([0]))
    assert task.x_train.dtype == np.float32 and task.x_train[0].tolist() == [0, 200]


def test_features_may_have_names() -> None:
    task = from_arrays("t", X, Y, features=("a", "b", "c", "d"))
    assert task.feature_names == ("a", "b", "c", "d")
    with pytest.raises(DataError, match="3 feature names for 4 features: give one for each"):
        from_arrays("t", X, Y, features=("a", "b", "c"))


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
        ({"x": X * 1e38}, r"x\[1, 0\] is 4e\+38: features must be finite in float32"),
        ({"x": X.astype(str)}, "x has dtype <U3: features must be numbers"),
        ({"y": Y[:9]}, "y has 9 labels for 10 samples"),
        ({"y": np.eye(10)}, r"y has shape \(10, 10\): must be \(samples,\), from one-hot rows take argmax"),
        ({"y": Y + 0.5}, r"y\[0\] is 0.5: labels must be whole numbers or words"),
        ({"y": np.where(Y == 1, np.nan, 0)}, r"y\[1\] is nan: "),
        ({"y": Y * 0 + 7}, r"t has one class only \(7\): at least two are needed"),
        ({"y": np.where(Y == 1, "walk", "")}, r"y\[0\] is empty: every sample needs a label"),
        ({"x_test": X}, "only one of x_test and y_test"),
        ({"x_test": X[:, :3], "y_test": Y}, "x_test has 3 features and x has 4"),
        ({"x_test": X, "y_test": Y[:2]}, "y_test has 2 labels for 10 samples"),
        ({"x": X[:2], "y": Y[:2]}, "2 samples are too few to keep 20 % of a class apart"),
    ],
)
def test_wrong_arrays_are_named(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_arrays("t", **{"x": X, "y": Y, **arrays})


def warned(*arguments: Any, **more: Any) -> tuple[Task, list[str]]:
    notes: list[str] = []
    return from_arrays(*arguments, **more, warn=notes.append), notes


def test_labels_that_are_words_become_classes_with_names() -> None:
    words = np.array(["walk", "idle", "run", "idle", "run"] * 3)
    task, notes = warned("t", np.tile(X[:5], (3, 1)), words)
    assert task.class_names == task.labels == ("idle", "run", "walk") and task.classes == 3
    assert set(task.y_train) | set(task.y_test) == {0, 1, 2}
    assert notes == ["t: labels are words: idle, run, walk are classes 0 to 2 in this order"]
    assert task.facts()["classes"] == {"idle": 6, "run": 6, "walk": 3}


@pytest.mark.parametrize("labels", [(0, 1000, 5000), (1, 2, 3), (-1, 0, 1), (7, 8, 16383), (0.0, 2.0, 4.0)])
def test_labels_with_gaps_are_numbered_anew_and_said(labels: tuple[float, ...]) -> None:
    y = np.array(labels)[np.arange(30) % 3]
    task, notes = warned("t", np.tile(X, (3, 1)), y)
    assert task.classes == 3 and task.class_names == tuple(str(int(label)) for label in labels)
    assert len(notes) == 1 and "are classes 0 to 2 in this order" in notes[0]
    y_all = np.concatenate([task.y_train, task.y_test])
    x_all = np.concatenate([task.x_train, task.x_test])
    for row, label in zip(x_all, y_all, strict=True):
        assert labels[label] in y[(np.tile(X, (3, 1)) == row).all(1)]


def test_labels_without_a_gap_are_left_as_they_are() -> None:
    task, notes = warned("t", X, Y)
    assert (task.class_names, task.labels, notes) == ((), ("0", "1"), [])


def test_a_column_of_labels_is_raveled_and_said() -> None:
    task, notes = warned("t", X, Y[:, None])
    plain = from_arrays("t", X, Y)
    assert np.array_equal(task.y_train, plain.y_train) and notes == ["t: y has shape (10, 1) and was raveled to (10,)"]


def test_a_label_only_of_the_test_part_is_a_class() -> None:
    task = from_arrays("t", X, Y, X[:3], np.array([0, 1, 2]))
    assert task.classes == 3 and task.facts()["classes"] == {"0": 6, "1": 6, "2": 1}


def test_in_python_a_note_is_a_warning() -> None:
    with pytest.warns(DataWarning, match="labels are words: a, b are classes 0 to 1"):
        from_arrays("t", X, np.where(Y == 1, "a", "b"))


def test_old_names_still_work_and_name_their_replacement() -> None:
    with pytest.warns(DeprecationWarning, match=r"metabit.data.load_task is metabit.data.load\(name\).whole\(\) now"):
        old = data.load_task
    assert np.array_equal(old("digits", seed=2).x_test, load("digits", seed=2).whole().x_test)
    with pytest.warns(DeprecationWarning, match=r"metabit.data.scenario is metabit.data.load\(name\) now"):
        assert data.scenario("rotated-digits", 2).count == 2
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        data.lod  # noqa: B018


def test_what_was_read_is_one_line() -> None:
    line = load("digits").task(0).line()
    assert line.startswith("digits: 1,797 samples of 64 features; 10 classes (0: 178, 1: 182,") and "\n" not in line
    assert "1,438 to learn, 359 to test (20 % of every class, drawn with seed 0; both parts in file order)" in line
    assert "4 features (float32);" in from_arrays("t", X / 255, np.arange(10) % 2).line()
    many = from_arrays("t", np.tile(X, (10, 1)), np.arange(100) % 20).line()
    assert "11: 5, and 8 more)" in many


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
    with pytest.raises(DataError, match="features are float32: a thermometer code takes uint8; .* any numbers"):
        thermometer(np.ones((2, 2), np.float32), 1)  # type: ignore[arg-type]
