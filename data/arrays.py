"""Arrays of any sensible dtype -> tasks of features and class numbers. Values are kept; classes are those of a whole file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.errors import DataError, DataWarning
from metabit.data.labels import as_labels, classes
from metabit.data.oddities import coarse
from metabit.data.task import Numbers, Scenario, Task, held_out, split

Warn = Callable[[str], None]
OWN = "your own data"
"""Summary of every scenario that was read from a user's file."""


def tell(notes: Sequence[str], warn: Warn | None) -> None:
    """Passes each note to ``warn``; without it, each becomes a DataWarning at the line that called the caller."""
    for note in notes:
        if warn is None:
            warnings.warn(note, DataWarning, stacklevel=3)
        else:
            warn(note)


@dataclass(frozen=True, eq=False)
class Part:
    """Samples as a file has them.

    Args:
        x: (n, F), numbers of any dtype.
        y: (n,), whole numbers or words.
        task: str (n,), the task of each sample, or None.
        cell: (row, column) -> where this feature stands in the file, for messages.
        names: of the F features, or () where the file has none.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    task: NDArray[np.str_] | None = None
    cell: Callable[[int, int], str] | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Raw:
    """A file as it was read: a training part and perhaps a test part.

    Args:
        shape: (H, W, C) of pictures, else None.
        notes: what the reader chose, for the user to know.
    """

    train: Part
    test: Part | None = None
    shape: tuple[int, int, int] | None = None
    notes: Sequence[str] = field(default_factory=tuple)


def from_arrays(
    name: str,
    x: NDArray[Any],
    y: NDArray[Any],
    x_test: NDArray[Any] | None = None,
    y_test: NDArray[Any] | None = None,
    *,
    features: Sequence[str] = (),
    seed: int = 0,
    warn: Warn | None = None,
) -> Task:
    """A task from arrays.

    Features keep their values, whatever their scale: whole numbers become uint8, int16 or int32, the first that holds
    those of both parts, and other numbers float32. The encoder of a network is fitted on them (`metabit.data.encoder`).

    Labels are whole numbers or words. Labels other than 0..C-1 are sorted and numbered anew, with a warning.

    Args:
        x, x_test: (n, F).
        y, y_test: (n,). Without a test part, 20 % of every class become one.
        features: names of the F features, or ().
        seed: of that split.
        warn: receives each warning, one sentence; by default it becomes a `DataWarning`.

    Raises:
        DataError: wrong number of dimensions, no samples, lengths that differ, values that float32 does not hold, NaN
            among them, fewer than two classes.
    """
    if (x_test is None) != (y_test is None):
        raise DataError(f"task {name!r} has only one of x_test and y_test: give both, or neither for a random split")
    test = None if x_test is None else Part(np.asarray(x_test), np.asarray(y_test))
    found, notes = scenario_of(name, Raw(Part(np.asarray(x), np.asarray(y), names=tuple(features)), test))
    tell(notes, warn)
    return found.task(0, seed)


def scenario_of(
    name: str, raw: Raw, *, order: Sequence[str] = (), outputs: int | None = None, known: Sequence[str] = ()
) -> tuple[Scenario, list[str]]:
    """A file's arrays as a scenario, and notes about what was changed.

    The scenario has one task, or one for each value of the file's ``task``, numbers in order, then names.

    Args:
        order, outputs, known: as `labels.classes` takes them.

    Raises:
        DataError: as `from_arrays`; a task without a test part where the others have one.
    """
    parts = [("", raw.train)] if raw.test is None else [("", raw.train), ("_test", raw.test)]
    kept = _features([(f"x{suffix}", part) for suffix, part in parts])
    labels = []
    notes = list(raw.notes)
    for (suffix, part), x in zip(parts, kept, strict=True):
        checked, said = as_labels(f"y{suffix}", part.y, len(x))
        labels.append(checked)
        notes += said
    numbered, names, said = classes(name, labels, order=order, outputs=outputs, known=known)
    count = len(names) or max(int(part.max()) for part in numbered) + 1
    ids, features = task_names(raw.train), raw.train.names

    def make(i: int, seed: int) -> Task:
        chosen = [_rows(part, ids[i] if ids else None, name) for _, part in parts]
        arrays = [(x[rows], y[rows]) for x, y, rows in zip(kept, numbered, chosen, strict=True)]
        title, about = f"{name}:{ids[i]}" if ids else name, Task.held_out
        if raw.test is None:
            (x, y), about = arrays[0], held_out(seed)
            arrays = [(x[rows], y[rows]) for rows in split(y, seed)]
        return Task(title, *arrays[0], *arrays[1], raw.shape, names, about, features)

    notes += coarse(raw.train.x, features)
    found = Scenario(
        name, "your own data", max(1, len(ids)), count, make, max(1, len(ids)), names, feature_names=features
    )
    return found, [f"{name}: {note}" for note in (*notes, *said)]


def task_names(part: Part) -> list[str]:
    """Values of ``task``, numbers in their order, then names; [] without it."""
    if part.task is None:
        return []
    found = np.unique(part.task).tolist()
    return sorted(found, key=lambda word: (not word.isdecimal(), int(word) if word.isdecimal() else 0, word))


def _rows(part: Part, task: str | None, name: str) -> NDArray[np.bool_] | slice:
    """Rows of one task; all of them for None."""
    if task is None:
        return slice(None)
    if part.task is None:
        raise DataError(
            f"{name} has a task for each sample to learn and none for its test part: add the array task_test"
        )
    rows: NDArray[np.bool_] = part.task == task
    if not rows.any():
        raise DataError(f"{name} has no task {task} in its test part: give each task samples to test on")
    return rows


def _features(parts: Sequence[tuple[str, Part]]) -> list[Numbers]:
    """All parts (n, F) in one dtype that keeps their values."""
    for name, part in parts:
        _check(name, part)
    widths = [part.x.shape[1] for _, part in parts]
    if len(set(widths)) > 1:
        raise DataError(f"x_test has {widths[1]} features and x has {widths[0]}: they must agree")
    if (names := parts[0][1].names) and len(names) != widths[0]:
        raise DataError(f"there are {len(names)} feature names for {widths[0]} features: give one for each")
    dtype = _dtype([part.x for _, part in parts])
    return [part.x.astype(dtype) for _, part in parts]


def _dtype(arrays: Sequence[NDArray[Any]]) -> type[np.generic]:
    if all(array.dtype in (np.uint8, np.bool_) for array in arrays):
        return np.uint8
    if all(array.dtype.kind in "biu" or (array == np.floor(array)).all() for array in arrays):
        least, most = min(int(array.min()) for array in arrays), max(int(array.max()) for array in arrays)
        for dtype in (np.uint8, np.int16, np.int32):
            if np.iinfo(dtype).min <= least and most <= np.iinfo(dtype).max:
                return dtype
    return np.float32


def _check(name: str, part: Part) -> None:
    array = part.x
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} has dtype {array.dtype}: features must be numbers")
    if array.ndim != 2:
        raise DataError(f"{name} has shape {array.shape}: must be (samples, features), as by reshape(len({name}), -1)")
    if array.size == 0:
        raise DataError(f"{name} has shape {array.shape}: at least one sample and one feature are needed")
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            finite = np.isfinite(array.astype(np.float32))
        if not finite.all():
            row, column = np.argwhere(~finite)[0].tolist()
            raise DataError(f"{_cell(name, part, row, column)}: features must be finite in float32, fill such values")


def _cell(name: str, part: Part, row: int, column: int) -> str:
    where = f"{name}[{row}, {column}]" if part.cell is None else part.cell(row, column)
    return f"{where} is {part.x[row, column]}"
