"""The user's own tables: which tasks an .npz names, and CSV files with a column for the label."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.errors import DataError

LABELS = ("y", "label", "class", "target")
"""Column names that mean the label, in this order; without any of them it is the last column."""


@dataclass(frozen=True, eq=False)  # == on arrays has no one answer
class Table:
    """A CSV file.

    Args:
        x: float64 (n, F), every column but the label and the task, in order.
        y: float64 (n,).
        task: str (n,), or None without a column of that name.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    task: NDArray[np.str_] | None


def task_names(path: Path) -> list[str]:
    """The different entries of an .npz file's array ``task``, numbers in their order, then names; [] without one."""
    try:
        with np.load(path, allow_pickle=False) as file:
            ids = file["task"] if "task" in getattr(file, "files", []) else np.zeros(0, np.int64)
    except (OSError, ValueError, EOFError):
        return []  # whoever reads the samples says what is wrong with the file
    return [str(entry) for entry in np.unique(ids)]


def read_csv(path: Path) -> Table:
    """A file of numbers: a sample a row, with or without a line of column names, gzipped or not.

    The label is the column named y, label, class or target, else the last. A column named task splits the file into a
    sequence of tasks; its entries may be any text.

    Raises:
        DataError: the file is missing, empty or ragged, or a cell is no number; the message names row and column.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist or is not a file: give the path of a .csv file with a label column")
    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", newline="") as stream:
            rows = [[cell.strip() for cell in row] for row in csv.reader(stream) if row]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no readable CSV ({error}): save it as UTF-8 text, comma separated") from None
    names = [f"column {i + 1}" for i in range(len(rows[0]))] if rows else []
    first = 1
    if rows and not all(_is_number(cell) for cell in rows[0]):
        names, rows, first = rows[0], rows[1:], 2
    if not rows or len(names) < 2:
        raise DataError(f"{path} has {len(rows)} samples and {len(names)} columns: features and a label are needed")
    for number, row in enumerate(rows, start=first):
        if len(row) != len(names):
            raise DataError(f"{path}, row {number}, has {len(row)} cells: the first row has {len(names)}")
    folded = [name.lower() for name in names]
    label = next((folded.index(name) for name in LABELS if name in folded), len(names) - 1)
    task = folded.index("task") if "task" in folded else None
    features = [i for i in range(len(names)) if i not in (label, task)]
    values = np.array([[_number(path, number, names[i], row[i]) for i in (*features, label)]
                       for number, row in enumerate(rows, start=first)])  # fmt: skip
    ids = None if task is None else np.array([row[task] for row in rows])
    return Table(values[:, :-1], values[:, -1], ids)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(path: Path, row: int, column: str, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise DataError(
            f"{path}, row {row}, {column}: {cell!r} is no number, number the classes and fill gaps"
        ) from None
