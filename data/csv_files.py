"""Reader of tables as text: comma, semicolon or tab, with or without a row of column names, gzipped or not."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabit.data.arrays import Part
from metabit.data.errors import DataError

LABELS = ("label", "class", "target", "y")
"""Column names that mean the label, in this order (y last: x, y, z are axes). Without any of them it is the last column."""

DELIMITERS = ",;\t"

SNIFFED = 20
"""Rows that decide the delimiter, and which columns hold numbers."""

COUNTED = 10
"""Fewest samples of which a counting column is taken for a row index."""

_NUMERIC = frozenset("0123456789+-.eE")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_UNNAMED = re.compile(r"|unnamed: ?\d+", re.IGNORECASE)

Rows = list[tuple[int, list[str]]]
"""(line of the file, its cells without blanks around them)"""


@dataclass(frozen=True)
class Layout:
    """The meaning of the columns of a table.

    Args:
        names: of all columns; "column 1" ... where the file has none.
        header: whether the file has a row of column names.
        features: numbers of the feature columns, in order.
        label: number of the label column.
        task: number of the column named task, or None.
    """

    names: tuple[str, ...]
    header: bool
    features: tuple[int, ...]
    label: int
    task: int | None


def read_csv(
    path: Path, *, label: str = "", index: str = "drop", header: str = "", like: Layout | None = None
) -> tuple[Part, Layout, list[str]]:
    """A table: a sample a row. UTF-8, with or without a byte order mark, any line ends.

    The delimiter is the one of comma, semicolon and tab by which most cells are numbers. With semicolons, a comma may be
    the decimal mark. The label is the column ``label``, else the one named label, class, target or y, else the last; its
    cells may be words. A column named task splits the table into a sequence of tasks. Features whose cells all are
    written without a decimal mark are integers, else floats.

    Args:
        label: name of the label column, or its number from 1.
        index: "drop" leaves out a column that is a row index, with a note; "keep" takes it as a feature. A row index has
            no name, is named "Unnamed: 0", or holds every whole number from 0 to n-1 (or 1 to n) once.
        header: "yes" or "no" says whether the first row names the columns; "" tells it from the cells.
        like: the columns of the training table, when this is its test table. They must be there.

    Returns:
        samples; what the columns are; notes about what was chosen.

    Raises:
        DataError: the file is missing, empty, ragged or no UTF-8, lacks a column, or a feature is no number; the message
            names line and column.
    """
    rows, decimal_comma = _rows(path)
    named, notes = _has_header(rows, decimal_comma) if header == "" else (header == "yes", [])
    names = tuple(rows[0][1] if named else [f"column {i + 1}" for i in range(len(rows[0][1]))]) if rows else ()
    rows = rows[1:] if named else rows
    if not rows or len(names) < 2:
        raise DataError(f"{path} has {len(rows)} samples and {len(names)} columns: features and a label are needed")
    for line, cells in rows:
        if len(cells) != len(names):
            raise DataError(f"{path}, line {line}, has {len(cells)} cells: the first row has {len(names)}")
    columns = list(zip(*(cells for _, cells in rows), strict=True))
    layout = _layout(path, names, named, label) if like is None else _same_layout(path, names, named, like)
    if index == "drop" and like is None:
        left_out = [i for i in layout.features if _is_index(names[i] if named else None, columns[i])]
        kept = tuple(i for i in layout.features if i not in left_out)
        for i in left_out:
            column = f"column {names[i]!r}" if named and names[i] else f"the unnamed column {i + 1}"
            notes.append(f"{column} is a row index and was left out; {path},index=keep keeps it")
        if not kept:
            raise DataError(f"{path} has no feature besides a row index: give features, or {path},index=keep")
        layout = Layout(names, named, kept, layout.label, layout.task)
    x = _features(path, rows, columns, layout, decimal_comma)
    lines = [line for line, _ in rows]

    def cell(row: int, column: int) -> str:
        return f"{path}, line {lines[row]}, {names[layout.features[column]]}"

    task = None if layout.task is None else np.array(columns[layout.task])
    labels = _labels(path, rows, columns, layout, decimal_comma)
    titles = tuple(names[i] for i in layout.features) if named else ()
    return Part(x, labels, task, cell, titles), layout, notes


def _rows(path: Path) -> tuple[Rows, bool]:
    """All rows that are not empty, and whether the decimal mark is a comma."""
    if not path.is_file():
        raise DataError(f"{path} does not exist or is not a file: give the path of a .csv file with a label column")
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
        delimiter = max(DELIMITERS, key=lambda one: _numeric_cells(text, one))
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        way_out = "save it as UTF-8 text, separated by comma, semicolon or tab"
        raise DataError(f"{path} is no readable CSV ({error}): {way_out}") from None
    while rows and all(len(cells) == len(rows[0][1]) and cells[-1:] == [""] for _, cells in rows):
        rows = [(line, cells[:-1]) for line, cells in rows]  # every row ends with a delimiter
    return rows, delimiter == ";"


def _numeric_cells(text: str, delimiter: str) -> tuple[int, int]:
    """How many cells of the first rows are numbers if this is the delimiter, and how many cells there are."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    cells = [cell.strip() for _, row in zip(range(SNIFFED), reader, strict=False) for cell in row]
    return sum(is_number(cell, delimiter == ";") for cell in cells), len(cells)


def is_number(cell: str, decimal_comma: bool = False) -> bool:
    """True for a finite decimal number in ASCII: "1e-3", ".5", "-7", not "1_0", "nan", "0x1"."""
    if decimal_comma and "." not in cell:
        cell = cell.replace(",", ".", 1)
    return _NUMBER.fullmatch(cell) is not None


def _has_header(rows: Rows, decimal_comma: bool) -> tuple[bool, list[str]]:
    """True if the first row names the columns, and a note where that is not plain.

    A first row names the columns if at least half of the columns that hold numbers below it have something else in it, or
    if it counts the columns from 0 or 1, as pandas writes a table without column names.
    """
    if not rows:
        return False, []
    first, rest = rows[0][1], [cells for _, cells in rows[1:] if len(cells) == len(rows[0][1])]
    if not rest:
        return not all(is_number(cell, decimal_comma) for cell in first), []
    numeric = [
        i for i, column in enumerate(zip(*rest[:SNIFFED], strict=True))
        if 2 * sum(is_number(cell, decimal_comma) for cell in column) >= len(column)
    ]  # fmt: skip
    words = [i for i in numeric if not is_number(first[i], decimal_comma)]
    if words and 2 * len(words) >= len(numeric):
        return True, []
    if any(cells[i] == first[i] for i in range(len(first)) if i not in numeric for cells in rest):
        return False, []  # a word that occurs again below is a label
    counted = [first[i] for i in range(len(first)) if i not in words and is_number(first[i], decimal_comma)]
    if len(counted) + bool(words) > 2 and any(
        counted == [str(i) for i in range(start, start + len(counted))] for start in (0, 1)
    ):
        note = f"the first row counts from {counted[0]} to {counted[-1]} and was taken for the names of the columns"
        return True, [f"{note}; header=no after the file's name reads it as a sample"]
    return False, []


def _layout(path: Path, names: tuple[str, ...], header: bool, label: str) -> Layout:
    folded = [name.lower() for name in names]
    if label and label not in names and not (label.isdecimal() and 1 <= int(label) <= len(names)):
        raise DataError(f"{path} has no column {label!r} for the label: there are {', '.join(names)}")
    if label:
        at = names.index(label) if label in names else int(label) - 1
    else:
        at = next((folded.index(name) for name in LABELS if name in folded), len(names) - 1)
    task = folded.index("task") if header and "task" in folded and folded.index("task") != at else None
    return Layout(names, header, tuple(i for i in range(len(names)) if i not in (at, task)), at, task)


def _same_layout(path: Path, names: tuple[str, ...], header: bool, like: Layout) -> Layout:
    """The columns of the training table, found by their names, or by their places if one of the tables has no names."""
    wanted = [*like.features, like.label, *(() if like.task is None else (like.task,))]
    if not (header and like.header):
        if len(names) != len(like.names):
            found = f"{path} has {len(names)} columns and the training table {len(like.names)}"
            raise DataError(f"{found}: they must agree")
        return Layout(names, header, like.features, like.label, like.task)
    for i in wanted:
        if like.names[i] not in names:
            raise DataError(f"{path} has no column {like.names[i]!r}: the training table has it, they must agree")
    place = {i: names.index(like.names[i]) for i in wanted}
    unknown = [name for name in names if name not in like.names and not _UNNAMED.fullmatch(name)]
    if unknown:
        raise DataError(f"{path} has a column {unknown[0]!r}: the training table has no such column, they must agree")
    task = None if like.task is None else place[like.task]
    return Layout(names, header, tuple(place[i] for i in like.features), place[like.label], task)


def _is_index(name: str | None, column: Sequence[str]) -> bool:
    if name is not None and _UNNAMED.fullmatch(name):
        return True
    if len(column) < COUNTED or not all(cell.isdecimal() and cell.isascii() for cell in column):
        return False
    numbers = sorted(map(int, column))
    return numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _features(
    path: Path, rows: Rows, columns: Sequence[Sequence[str]], layout: Layout, decimal_comma: bool
) -> NDArray[np.int64] | NDArray[np.float64]:
    """(n, F): int64 if no cell has a decimal mark or an exponent, else float64."""
    whole = True
    found = np.empty((len(layout.features), len(rows)))
    for at, i in enumerate(layout.features):
        column, marks = columns[i], set("".join(columns[i]))
        if decimal_comma and "," in marks:
            if "." in marks:
                row = next(row for row, cell in enumerate(column) if "." in cell)
                way_out = "write it with a decimal comma as the others, and no thousands mark"
                raise _no_number(path, rows, layout, row, i, way_out)
            column, marks = [cell.replace(",", ".", 1) for cell in column], marks - {","} | {"."}
        try:
            if not marks <= _NUMERIC:  # float() takes more than these: "1_0", "nan"
                raise ValueError
            found[at] = list(map(float, column))
        except ValueError:
            row = next(row for row, cell in enumerate(column) if not is_number(cell))
            raise _no_number(path, rows, layout, row, i, "fill gaps, and give words numbers") from None
        whole = whole and not marks & set(".eE")
    x = np.ascontiguousarray(found.T)
    return x.astype(np.int64) if whole and np.abs(x).max() < 2**53 else x


def _no_number(path: Path, rows: Rows, layout: Layout, row: int, column: int, remedy: str) -> DataError:
    line, cells = rows[row]
    return DataError(f"{path}, line {line}, {layout.names[column]}: {cells[column]!r} is no number: {remedy}")


def _labels(
    path: Path, rows: Rows, columns: Sequence[Sequence[str]], layout: Layout, decimal_comma: bool
) -> NDArray[np.str_] | NDArray[np.float64]:
    """Words, or float64 if all cells are numbers that are not written as whole ones."""
    column = columns[layout.label]
    for (line, _), cell in zip(rows, column, strict=True):
        if not cell:
            where = f"{path}, line {line}, {layout.names[layout.label]}"
            raise DataError(f"{where}: the label is empty, give each sample one")
    if any("." in cell or "," in cell for cell in column) and all(is_number(cell, decimal_comma) for cell in column):
        return np.array([float(cell.replace(",", ".")) for cell in column])
    return np.array(column)
