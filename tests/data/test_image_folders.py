from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metabit.data import DataError, load

Image = pytest.importorskip("PIL.Image", reason="pillow is not installed")


def folder(path: Path, classes: dict[str, int], size: tuple[int, int] = (5, 4), grey: bool = True) -> np.ndarray:
    """So many pictures, height x width = size, of each class; their pixels in the order of classes and files."""
    rng = np.random.default_rng(len(path.name))
    found = []
    for name, count in classes.items():
        (path / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, size if grey else (*size, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(path / name / f"{i:03}.png")
            found.append(pixels.ravel())
    return np.array(found)


def test_a_subfolder_is_a_class(tmp_path: Path) -> None:
    pixels = folder(tmp_path / "pictures", {"cat": 5, "dog": 10})
    (tmp_path / "pictures" / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / "pictures" / "dog" / ".hidden").write_text("not seen")
    notes: list[str] = []
    task = load(tmp_path / "pictures", warn=notes.append).whole()
    assert task.class_names == ("cat", "dog") and task.shape == (5, 4, 1) and task.features == 20
    assert len(task.y_train) == 12 and task.facts()["classes"] == {"cat": 5, "dog": 10}
    assert {tuple(row) for row in task.x_train} < {tuple(row) for row in pixels}
    assert len(notes) == 2 and "1 files that are no pictures were left out" in notes[0] and "cat, dog" in notes[1]


def test_a_training_folder_and_a_test_folder(tmp_path: Path) -> None:
    train, test = (
        folder(tmp_path / "train", {"a": 3, "b": 2}, grey=False),
        folder(tmp_path / "test", {"b": 2}, grey=False),
    )
    task = load(f"{tmp_path}/train,{tmp_path}/test", warn=lambda note: None).whole()
    assert np.array_equal(task.x_train, train) and np.array_equal(task.x_test, test)
    assert task.y_test.tolist() == [1, 1] and task.shape == (5, 4, 3)
    with pytest.raises(DataError, match=f"has no pictures in subfolders .* give {tmp_path}/train,{tmp_path}/test"):
        load(tmp_path)


def test_folders_named_by_numbers_are_in_their_order(tmp_path: Path) -> None:
    folder(tmp_path / "digits", {str(i): 2 for i in range(12)})
    notes: list[str] = []
    task = load(f"{tmp_path}/digits,{tmp_path}/digits", warn=notes.append).whole()
    assert task.y_train.tolist() == [i // 2 for i in range(24)] and notes == []


def test_grey_pictures_among_coloured_ones(tmp_path: Path) -> None:
    grey = folder(tmp_path / "p", {"a": 5})
    folder(tmp_path / "p", {"b": 5}, grey=False)
    task = load(tmp_path / "p", warn=lambda note: None).whole()
    assert task.shape == (5, 4, 3) and set(task.x_train[task.y_train == 0][0][::3]) <= set(grey.ravel())


def test_wrong_folders_are_named(tmp_path: Path) -> None:
    folder(tmp_path / "p", {"a": 2})
    folder(tmp_path / "p", {"b": 1}, size=(5, 6))
    with pytest.raises(DataError, match=r"b/000.png is 6x5 pixels and .*a/000.png is 4x5: make them one size"):
        load(tmp_path / "p")
    (tmp_path / "p" / "b" / "000.png").write_bytes((tmp_path / "p" / "a" / "000.png").read_bytes()[:40])
    with pytest.raises(DataError, match="b/000.png is no readable picture"):
        load(tmp_path / "p")
    Image.fromarray(np.zeros((5, 4), np.uint16)).save(tmp_path / "p" / "b" / "000.png")
    with pytest.raises(DataError, match="b/000.png is no readable picture .it has pixels of mode I"):
        load(tmp_path / "p")
    folder(tmp_path / "q", {"a": 3})
    with pytest.raises(DataError, match=r"q has one class only \(a\)"):
        load(tmp_path / "q")
    with pytest.raises(DataError, match=r"pictures of 5x4x1 and .* of 2x10x1: they must agree"):
        folder(tmp_path / "r", {"a": 1, "b": 1}, size=(2, 10))
        load(f"{tmp_path}/q,{tmp_path}/r")
    with pytest.raises(DataError, match="index= is an option of .csv files"):
        load(f"{tmp_path}/q,index=keep")
