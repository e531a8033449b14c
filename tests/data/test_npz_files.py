from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabit.data import DataError, load
from metabit.data.npz_files import read_arrays

X = np.arange(120, dtype=np.uint8).reshape(40, 3)
Y = np.arange(40) % 4


def header(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    """The first bytes of a .npy file that declares this shape."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_with_and_without_a_test_part(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    task = load(tmp_path / "a.npz").whole()
    assert len(task.x_train) == 32 and len(task.x_test) == 8
    np.savez_compressed(tmp_path / "b.npz", x=np.asfortranarray(X), y=Y, x_test=X[:4], y_test=Y[:4])
    task = load(str(tmp_path / "b.npz")).task(0)
    assert np.array_equal(task.x_train, X) and np.array_equal(task.y_test, Y[:4])
    assert task.held_out == "the data's own test part"


@pytest.mark.parametrize("prefix", ["", "file:"])
def test_an_array_task_makes_a_sequence(tmp_path: Path, prefix: str) -> None:
    path = f"{tmp_path}/my.npz"
    np.savez(path, x=X, y=Y, task=np.repeat([10, 9], 20))
    row = load(prefix + path)
    assert (row.count, row.classes) == (2, 4)
    assert [task.name for task in row] == [f"{path}:9", f"{path}:10"]
    assert row.task(0).x_train.min() == 60 and row.first(1).count == 1
    one = load(f"{path}:10")
    assert one.count == 1 and one.task(0).x_train.max() < 60 and one.whole().name == f"{path}:10"
    with pytest.raises(DataError, match="my.npz has no task 3: there are 9, 10"):
        load(f"{path}:3")
    np.savez(path, x=X, y=Y)
    assert load(path).count == 1
    with pytest.raises(DataError, match=r"tasks=2: .*my.npz has 1 to 1"):
        load(path, tasks=2)
    with pytest.raises(DataError, match="has no task 2: it has no column or array named task"):
        load(f"{path}:2")


def test_all_tasks_share_one_scale_and_one_numbering(tmp_path: Path) -> None:
    """A task of dark pictures is not brightened, and a task without class 0 keeps its classes."""
    x = np.array([[0.0, 1.0]] * 10 + [[0.0, 200.0]] * 10)
    y = np.repeat([0, 1, 2, 3], 5)
    np.savez(tmp_path / "a.npz", x=x, y=y, task=np.repeat([1, 2], 10))
    first, second = load(tmp_path / "a.npz")
    assert first.x_train.max() == 1 and set(second.y_train) == {2, 3} and second.x_train.max() == 200


def test_tasks_of_the_test_part(tmp_path: Path) -> None:
    ids = np.array(["a"] * 16 + ["b"] * 24)
    np.savez(tmp_path / "s.npz", x=X, y=Y, task=ids, x_test=X, y_test=Y, task_test=ids)
    task = load(f"{tmp_path}/s.npz:b").task(0)
    assert np.array_equal(task.x_train, X[16:]) and np.array_equal(task.y_test, Y[16:])
    np.savez(tmp_path / "n.npz", x=X, y=Y, task=ids, x_test=X, y_test=Y)
    with pytest.raises(DataError, match="none for its test part: add the array task_test"):
        load(f"{tmp_path}/n.npz").task(0)
    np.savez(tmp_path / "m.npz", x=X, y=Y, task=ids, x_test=X, y_test=Y, task_test=ids[[0] * 40])
    with pytest.raises(DataError, match="has no task b in its test part"):
        load(f"{tmp_path}/m.npz").task(1)
    np.savez(tmp_path / "l.npz", x=X, y=Y, task=ids[:5])
    with pytest.raises(DataError, match="task must be an integer or a name for each row of x and y"):
        load(f"{tmp_path}/l.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "labels": Y}, r"has no array y \(it has labels, x\)"),
        ({"x": np.array([{}, []], dtype=object), "y": Y}, "a.npz is no readable .npz .array x holds Python objects"),
        ({"x": X, "y": Y, "x_test": X}, "only one of x_test and y_test"),
        ({"x": X, "y": Y, "x_test": X[:, :2], "y_test": Y}, "x_test has 2 features and x has 3"),
    ],
)
def test_wrong_contents_are_named(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "a.npz")


def test_files_that_are_no_archive_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.npz does not exist"):
        load(tmp_path / "none.npz")
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04 but not really")
    with pytest.raises(DataError, match="b.npz is no readable .npz"):
        load(tmp_path / "b.npz")
    with open(tmp_path / "d.npz", "wb") as file:
        np.save(file, X)
    with pytest.raises(DataError, match="d.npz is no readable .npz"):
        load(tmp_path / "d.npz")


def test_an_archive_cut_anywhere_is_one_sentence(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=X, y=Y)
    whole = (tmp_path / "a.npz").read_bytes()
    for at in range(0, len(whole), 13):
        (tmp_path / "b.npz").write_bytes(whole[:at])
        with pytest.raises(DataError, match="b.npz is no readable .npz"):
            load(tmp_path / "b.npz")


def test_a_changed_byte_is_one_sentence_or_changes_nothing(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=X, y=Y)
    whole = (tmp_path / "a.npz").read_bytes()
    for at in range(0, len(whole), 7):
        (tmp_path / "b.npz").write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        try:
            task = load(tmp_path / "b.npz").task(0)
        except DataError:
            continue
        assert np.array_equal(task.x_train, load(tmp_path / "a.npz").task(0).x_train)


@pytest.mark.parametrize("lying", ["array", "archive too"])
def test_a_declared_size_is_not_allocated(tmp_path: Path, lying: str) -> None:
    """58 TiB in the array's header, and perhaps in the archive's directory: 100 bytes are there."""
    member = header((64_000_000_000_000,)) + b"\0" * 100
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", member)
        archive.writestr("y.npy", header((3,)) + b"\0\1\0")
    if lying == "archive too":
        declared = len(member) - 100 + 0xF000_0000
        data = path.read_bytes().replace(len(member).to_bytes(4, "little"), declared.to_bytes(4, "little"))
        data = data.replace(header((64_000_000_000_000,)), header((0xF000_0000,)))
        path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(DataError, match="a.npz is no readable .npz"):
        load(path)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_only_the_arrays_asked_for_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y, z=np.array([{}], dtype=object))
    assert set(read_arrays(tmp_path / "a.npz", ("x", "y"))) == {"x", "y"}
