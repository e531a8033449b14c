from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from metabit.data import DataError, Task, load

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (40, 4))
Y = np.arange(40) % 4
NAMES = ["f0", "f1", "f2", "f3"]


def text(rows: Any, first: list[str] | None = None, by: str = ",") -> str:
    return "\n".join(by.join(map(str, row)) for row in ([first] if first else []) + [list(row) for row in rows]) + "\n"


def read(path: Path, contents: str | bytes, options: str = "") -> tuple[Task, list[str]]:
    path.write_bytes(contents.encode() if isinstance(contents, str) else contents)
    notes: list[str] = []
    return load(f"{path}{options}", warn=notes.append).whole(), notes


def same(one: Task, other: Task) -> bool:
    names = ("x_train", "y_train", "x_test", "y_test")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@pytest.fixture
def plain(tmp_path: Path) -> Task:
    """The table that all others of this file are to be read like."""
    task, notes = read(tmp_path / "plain.csv", text(np.column_stack([X, Y])))
    assert notes == [] and task.features == 4 and task.classes == 4
    return task


LABEL_FIRST = text(np.column_stack([Y, X]), ["label", *NAMES])


def test_a_byte_order_mark_and_line_ends_change_nothing(tmp_path: Path, plain: Task) -> None:
    for contents in (
        LABEL_FIRST.encode(),
        b"\xef\xbb\xbf" + LABEL_FIRST.encode(),
        b"\xef\xbb\xbf" + LABEL_FIRST.replace("\n", "\r\n").encode(),
        LABEL_FIRST.replace("\n", "\r").encode(),
        ("\n\n" + LABEL_FIRST.replace("\n", "\n\n") + " \n,,,,\n").encode(),
    ):
        task, notes = read(tmp_path / "a.csv", contents)
        assert same(task, plain) and notes == []


def test_gzip(tmp_path: Path, plain: Task) -> None:
    task, _ = read(tmp_path / "a.csv.gz", gzip.compress(b"\xef\xbb\xbf" + LABEL_FIRST.encode()))
    assert same(task, plain)
    with pytest.raises(DataError, match="a.csv.gz is no readable CSV"):
        read(tmp_path / "a.csv.gz", gzip.compress(LABEL_FIRST.encode())[:-20])


@pytest.mark.parametrize("by", [",", ";", "\t"])
@pytest.mark.parametrize("named", [True, False])
def test_the_delimiter_is_found(tmp_path: Path, plain: Task, by: str, named: bool) -> None:
    for rows in (np.column_stack([X, Y]), np.column_stack([X, np.array(["a", "b", "c", "d"])[Y]])):
        task, _ = read(tmp_path / "a.csv", text(rows, [*NAMES, "label"] if named else None, by))
        assert same(task, plain)


def test_a_decimal_comma_between_semicolons(tmp_path: Path) -> None:
    rows = [[f"{value / 256:.4f}" for value in row] for row in X]
    by_point, _ = read(tmp_path / "a.csv", text([[*row, y] for row, y in zip(rows, Y, strict=True)], by=";"))
    european = text([[*(cell.replace(".", ",") for cell in row), y] for row, y in zip(rows, Y, strict=True)], by=";")
    by_comma, _ = read(tmp_path / "a.csv", european)
    assert same(by_comma, by_point) and by_comma.x_train.dtype == np.float32
    with pytest.raises(DataError, match="line 1, column 1: '1.000' is no number: write it with a decimal comma"):
        read(tmp_path / "a.csv", "1.000" + european[european.index(";") :])


def test_a_decimal_mark_changes_no_value(tmp_path: Path) -> None:
    bits = X % 2
    whole, _ = read(tmp_path / "a.csv", text(np.column_stack([bits, Y])))
    floats, _ = read(tmp_path / "a.csv", text([[*map(float, row), y] for row, y in zip(bits, Y, strict=True)]))
    assert same(whole, floats) and whole.x_train.max() == 1


def test_features_have_the_names_of_the_header(tmp_path: Path) -> None:
    named, _ = read(tmp_path / "a.csv", text(np.column_stack([Y, X]), ["label", *NAMES]))
    assert named.feature_names == tuple(NAMES)
    assert read(tmp_path / "a.csv", text(np.column_stack([X, Y])))[0].feature_names == ()


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "unnamed: 3"])
def test_a_row_index_without_a_name_is_left_out_and_said(tmp_path: Path, plain: Task, name: str) -> None:
    number = RNG.permutation(1000)[:40]
    contents = text(np.column_stack([number, X, Y]), [name, *NAMES, "label"])
    task, notes = read(tmp_path / "a.csv", contents)
    assert same(task, plain)
    column = f"column {name!r}" if name else "the unnamed column 1"
    assert len(notes) == 1 and f"{column} is a row index and was left out" in notes[0]


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("named", [True, False])
def test_a_counting_column_is_left_out_unless_it_is_wanted(
    tmp_path: Path, plain: Task, start: int, named: bool
) -> None:
    number = RNG.permutation(40) + start
    contents = text(np.column_stack([X[:, 0], number, X[:, 1:], Y]), ["a", "id", "b", "c", "d", "y"] if named else None)
    task, notes = read(tmp_path / "a.csv", contents)
    assert (
        same(task, plain)
        and ("column 'id'" if named else "unnamed column 2") in notes[0]
        and "index=keep keeps it" in notes[0]
    )
    kept, notes = read(tmp_path / "a.csv", contents, ",index=keep")
    assert kept.features == 5 and notes == []


def test_a_header_that_counts_is_no_sample(tmp_path: Path, plain: Task) -> None:
    task, notes = read(tmp_path / "a.csv", text(np.column_stack([X, Y]), ["0", "1", "2", "3", "4"]))
    assert same(task, plain) and "the first row counts from 0 to 4 and was taken for the names" in notes[0]
    as_sample, notes = read(tmp_path / "a.csv", (tmp_path / "a.csv").read_text(), ",header=no")
    assert len(as_sample.y_train) + len(as_sample.y_test) == 41 and "numbered anew" not in notes
    both, notes = read(tmp_path / "a.csv", text(np.column_stack([np.arange(40), X, Y]), ["", "0", "1", "2", "3", "4"]))
    assert same(both, plain) and len(notes) == 2


def test_a_first_row_with_a_word_for_a_label_is_a_sample(tmp_path: Path) -> None:
    words = np.array(["idle", "run", "walk", "sit"])[Y]
    task, notes = read(tmp_path / "a.csv", text(np.column_stack([X, words])))
    assert len(task.y_train) + len(task.y_test) == 40 and task.class_names == ("idle", "run", "sit", "walk")
    assert notes[0].endswith("labels are words: idle, run, sit, walk are classes 0 to 3 in this order")
    counting = np.array([[0, 1, 2, 3], *X[1:]])  # a sample that looks like numbers of columns
    task, _ = read(tmp_path / "a.csv", text(np.column_stack([counting, words])))
    assert len(task.y_train) + len(task.y_test) == 40
    named, _ = read(tmp_path / "a.csv", text(np.column_stack([X, words]), ["a", "b", "c", "d", "class"]))
    assert len(named.y_train) + len(named.y_test) == 40


def test_header_yes_takes_any_first_row_for_names(tmp_path: Path, plain: Task) -> None:
    task, _ = read(tmp_path / "a.csv", text(np.column_stack([X, Y]), ["7", "9", "3", "1", "2"]), ",header=yes")
    assert same(task, plain)


def test_the_label_column(tmp_path: Path, plain: Task) -> None:
    contents = text(np.column_stack([X[:, :2], Y, X[:, 2:]]), ["a", "b", "quality", "c", "d"])
    for option in (",label=quality", ",label=3"):
        task, _ = read(tmp_path / "a.csv", contents, option)
        assert same(task, plain)
    with pytest.raises(DataError, match="has no column 'kind' for the label: there are a, b, quality, c, d"):
        read(tmp_path / "a.csv", contents, ",label=kind")


def test_axes_named_x_y_z_are_features(tmp_path: Path, plain: Task) -> None:
    task, _ = read(tmp_path / "a.csv", text(np.column_stack([X, Y]), ["x", "y", "z", "w", "Label"]))
    assert same(task, plain)
    task, _ = read(tmp_path / "a.csv", text(np.column_stack([Y, X]), ["Y", "a", "b", "c", "d"]))
    assert same(task, plain)


def test_a_task_column_makes_a_sequence(tmp_path: Path) -> None:
    side = np.where(np.arange(40) < 20, "left", "right")
    path = tmp_path / "my.csv"
    path.write_text(text(np.column_stack([Y, X[:, 0], side, X[:, 1]]), ["label", "a", "task", "b"]))
    row = load(path)
    assert (row.count, row.classes) == (2, 4) and row.task(1).name == f"{path}:right"
    assert set(map(tuple, row.task(0).x_train)) <= set(map(tuple, X[:20, :2]))
    assert np.array_equal(load(f"{path}:right").task(0).x_train, row.task(1).x_train)
    assert load(path).whole().name.endswith("2 tasks in order")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("", "has 0 samples"),
        ("a,b\n", "has 0 samples and 2 columns"),
        ("1\n2\n", "has 2 samples and 1 columns: features and a label are needed"),
        ("1,2\n3\n", "line 2, has 1 cells: the first row has 2"),
        ("a,y\n1,0\n?,1\n", r"line 3, a: '\?' is no number: fill gaps"),
        ("a,y\n1,0\n,1\n", r"line 3, a: '' is no number: fill gaps"),
        ("a,y\n1,0\n\n1_0,1\n", r"line 4, a: '1_0' is no number"),
        ("a,y\n1,0\nnan,1\n", r"line 3, a: 'nan' is no number"),
        ("?,3,0\n1,2,1\n5,6,0\n", r"line 1, column 1: '\?' is no number"),
        ("a,y\n1,cat\n2,\n", "line 3, y: the label is empty"),
        ("a,y\n1,cat\n2,cat\n", r"has one class only \(cat\)"),
        ("a,y\n1e39,0\n2.5,1\n", r"a.csv, line 2, a is 1e\+39: features must be finite in float32"),
        ("a,y\n1e400,0\n2,1\n", r"a.csv, line 2, a is inf: features must be finite"),
        ("a,y\n1,0.5\n2,1.0\n", r"y\[0\] is 0.5: labels must be whole numbers or words"),
        ('a,y\n"1,0\n2,1\n', "line 3, has 1 cells"),
        (b"\xff\xfea\0,\0y\0", "a.csv is no readable CSV .*save it as UTF-8"),
    ],
)
def test_wrong_tables_are_named(tmp_path: Path, contents: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.csv", contents)


def test_a_huge_label_is_said_and_quick(tmp_path: Path) -> None:
    task, notes = read(tmp_path / "a.csv", text(np.column_stack([X, np.where(Y == 3, 16383, Y)])))
    assert task.classes == 4 and task.class_names[-1] == "16383" and "0, 1, 2, 16383 are classes 0 to 3" in notes[0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    by=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
    names=st.booleans(),
    index=st.booleans(),
    seed=st.integers(0, 99),
)
def test_however_a_table_is_written_the_same_is_learnt(
    tmp_path: Path, by: str, end: str, mark: bool, names: bool, index: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (30, int(rng.integers(1, 6))))
    y = rng.permutation(30) % 3
    np.savez(tmp_path / "a.npz", x=x, y=y)
    rows, first = np.column_stack([x, y]), [*(f"f{i}" for i in range(x.shape[1])), "label"]
    if index:
        rows, first = np.column_stack([np.arange(30), rows]), ["", *first]
    assume(names or rows[0].tolist() not in (list(range(len(rows[0]))), list(range(1, len(rows[0]) + 1))))  # a header
    contents = ("\ufeff" if mark else "") + text(rows, first if names else None, by).replace("\n", end)
    task, notes = read(tmp_path / "a.csv", contents)
    assert same(task, load(tmp_path / "a.npz").whole()) and len(notes) == index


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(
            st.text(st.sampled_from("019.,;-_eE\t \"aé'"), max_size=5) | st.sampled_from(["1", "", "y", "task", "nan"]),
            max_size=4,
        ),
        max_size=12,
    ),
    st.sampled_from(",;\t"),
    st.sampled_from(["", ",index=keep", ",header=yes", ",header=no", ",label=1"]),
)
def test_any_text_is_a_table_or_one_sentence(tmp_path: Path, rows: list[list[str]], by: str, options: str) -> None:
    try:
        task, _ = read(tmp_path / "a.csv", "\n".join(by.join(row) for row in rows), options)
    except DataError as error:
        assert "\n" not in str(error).replace(repr("\n"), "")
    else:
        assert task.x_train.dtype == np.uint8 and task.y_train.max() < task.classes
