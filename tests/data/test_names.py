from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metabit.data import DataError, load

RNG = np.random.default_rng(0)
X, Y = RNG.integers(0, 256, (40, 3)), np.arange(40) % 4


def table(path: Path, columns: str, rows: np.ndarray) -> Path:
    path.write_text(columns + "\n" + "\n".join(",".join(map(str, row)) for row in rows.tolist()) + "\n")
    return path


def test_a_training_table_and_a_test_table(tmp_path: Path) -> None:
    a = table(tmp_path / "a.csv", "x,y,z,label", np.column_stack([X, Y]))
    b = table(tmp_path / "b.csv", "label,z,x,y", np.column_stack([Y, X[:, 2], X[:, :2]])[:8])
    task = load(f"{a},{b}").whole()
    assert np.array_equal(task.x_train, X) and np.array_equal(task.x_test, X[:8])
    assert np.array_equal(task.y_train, Y) and np.array_equal(task.y_test, Y[:8])
    assert task.held_out == "the data's own test part"


def test_the_test_table_leaves_out_what_the_training_table_does(tmp_path: Path) -> None:
    """The test table's row numbers do not begin at 0, so that they alone would look like a feature."""
    a = table(tmp_path / "a.csv", "id,x,y,z,label", np.column_stack([np.arange(40), X, Y]))
    b = table(tmp_path / "b.csv", "id,x,y,z,label", np.column_stack([np.arange(40, 48), X[:8], Y[:8]]))
    notes: list[str] = []
    task = load(f"{a},{b}", warn=notes.append).whole()
    assert task.features == 3 and np.array_equal(task.x_test, X[:8]) and len(notes) == 1
    kept = load(f"{a},{b},index=keep", warn=notes.append).whole()
    assert kept.features == 4 and kept.x_test[0, 0] == 40 and len(notes) == 1


def test_a_pair_has_one_dtype_and_one_numbering(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X * 1.0, y=np.array(["a", "b", "c", "d"])[Y])
    np.savez(tmp_path / "b.npz", x=np.zeros((2, 3)), y=np.array(["d", "b"]))
    task = load(f"{tmp_path}/a.npz,{tmp_path}/b.npz", warn=lambda note: None).whole()
    assert task.y_test.tolist() == [3, 1] and task.x_train.max() > 1 and task.x_test.dtype == np.uint8


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("x,y,label", "has no column 'z': the training table has it"),
        ("x,y,z,w,label", "has a column 'w': the training table has no such column"),
    ],
)
def test_tables_that_do_not_agree_are_named(tmp_path: Path, second: str, message: str) -> None:
    a = table(tmp_path / "a.csv", "x,y,z,label", np.column_stack([X, Y]))
    width = second.count(",")
    b = table(tmp_path / "b.csv", second, np.column_stack([np.resize(X, (8, width)), Y[:8]]))
    with pytest.raises(DataError, match=message):
        load(f"{a},{b}")


def test_tables_without_names_are_matched_by_place(tmp_path: Path) -> None:
    for name, rows in (("a.csv", 40), ("b.csv", 8)):
        np.savetxt(tmp_path / name, np.column_stack([X, Y])[:rows], fmt="%d", delimiter=",")
    task = load(f"{tmp_path}/a.csv,{tmp_path}/b.csv").whole()
    assert np.array_equal(task.x_test, X[:8])
    np.savetxt(tmp_path / "b.csv", np.column_stack([X[:, :2], Y]), fmt="%d", delimiter=",")
    with pytest.raises(DataError, match="has 3 columns and the training table 4"):
        load(f"{tmp_path}/a.csv,{tmp_path}/b.csv")


def test_classes_in_an_order_of_ones_own(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=np.array(["c", "a", "b", "c"])[Y])
    found = load(f"{tmp_path}/a.npz,classes=c/b/a/d")
    assert found.class_names == ("c", "b", "a", "d") and found.classes == 4
    assert set(found.whole().y_train) == {0, 1, 2}
    with pytest.raises(DataError, match="has a label 'b' that classes=c/a does not name"):
        load(f"{tmp_path}/a.npz,classes=c/a")
    with pytest.raises(DataError, match="a name stands twice"):
        load(f"{tmp_path}/a.npz,classes=a/b/c/a")


def test_a_recording_with_fewer_classes_than_the_model(tmp_path: Path) -> None:
    """Labels must never be numbered anew by what happens to be in a later file."""
    path = tmp_path / "a.npz"
    notes: list[str] = []
    np.savez(path, x=X, y=np.array(["run", "walk"])[Y % 2])
    with pytest.raises(
        DataError, match="has 2 labels .run, walk. and the model has 3 classes: say which label is which"
    ):
        load(path, outputs=3)
    assert set(load(f"{path},classes=idle/run/walk", outputs=3).whole().y_train) == {1, 2}
    np.savez(path, x=X, y=1 + Y % 2)
    assert set(load(path, outputs=3, warn=notes.append).whole().y_train) == {1, 2}
    assert len(notes) == 1 and "no sample has label 0: the labels are taken for the model's classes" in notes[0]
    np.savez(path, x=X, y=Y % 2)
    assert load(path, outputs=3, warn=notes.append).whole().classes == 2 and len(notes) == 1
    np.savez(path, x=X, y=5 * (Y % 3))
    assert load(path, outputs=3, warn=notes.append).whole().class_names == ("0", "5", "10")


def test_wrong_names_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    np.savez(tmp_path / "t.npz", x=X, y=Y, x_test=X, y_test=Y)
    table(tmp_path / "a.csv", "x,y,z,label", np.column_stack([X, Y]))
    a = tmp_path / "a.npz"
    for name, message in (
        ("mnst", "unknown data 'mnst': use one of permuted-mnist, .*or the path of an .npz or .csv file"),
        ("", "unknown data ''"),
        (tmp_path / "none.npz", "none.npz does not exist"),
        (tmp_path / "none.csv", "none.csv does not exist"),
        (f"{a},mnst", "unknown data 'mnst'"),
        (f"{a},{a},{a}", "names 3 files: give one, or train,test"),
        (f"{a},{tmp_path}/a.csv", "are of two kinds"),
        (f"{tmp_path}/t.npz,{a}", "t.npz has a test part of its own"),
        (f"{a},index=maybe", r"index=maybe must be index=keep\|drop"),
        (f"{a},header=no", "header= is an option of .csv files"),
        (f"{a},classes=", "classes= must be classes=VALUE"),
    ):
        with pytest.raises(DataError, match=message):
            load(name)


def test_a_path_with_commas_and_colons_is_a_path(tmp_path: Path) -> None:
    odd = tmp_path / "a,b=c:2.npz"
    np.savez(odd, x=X, y=Y)
    assert len(load(odd).whole().y_train) == 32
    assert len(load(f"file:{odd}").whole().y_train) == 32
