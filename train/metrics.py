"""Measures of continual learning: functions of the accuracy matrix, the history and the hidden weights.

The accuracy matrix R is float (T, T): R[i, j] is the test accuracy, 0..1, on task j after task i was finished, with the
tasks in the order in which they were learnt. NaN marks a value that was not evaluated.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabit.data.rows import write_whole
from metabit.train.errors import TrainError

Floats = NDArray[np.float64]


def accuracy_matrix(history: Sequence[Mapping[str, Any]]) -> Floats:
    """Return R from the rows of a run: the last row of each task.

    Args:
        history: rows in order, with ``task`` (int, 0..T-1) and ``accuracy`` (of tasks 0, 1, ...; None is unknown).

    Returns:
        float64 (T, T); T is one more than the highest task or evaluated task.

    Raises:
        TrainError: the history is empty.
    """
    if not history:
        raise TrainError("the history is empty: there is nothing to measure yet")
    count = max(max(int(row["task"]) + 1, len(row["accuracy"])) for row in history)
    matrix = np.full((count, count), math.nan)
    for row in history:
        values = [math.nan if value is None else float(value) for value in row["accuracy"]]
        matrix[int(row["task"]), : len(values)] = values
    return matrix


def mean_accuracy(matrix: ArrayLike) -> float:
    """Return ACC = 1/T Σ_j R[T-1, j], the mean over all tasks after the last (Lopez-Paz, Ranzato, arXiv:1706.08840)."""
    return float(_square(matrix)[-1].mean())


def forgetting(matrix: ArrayLike) -> float:
    """Return F = 1/(T-1) Σ_{j<T-1} max_{i<T-1} R[i, j] - R[T-1, j] (Chaudhry et al., arXiv:1801.10112).

    F is in -1..1: the mean fall of each task from its best accuracy, over all tasks but the last. It is 0 for a single
    task. The maximum ignores values that were not evaluated.
    """
    r = _square(matrix)
    if len(r) == 1:
        return 0.0
    return float((np.fmax.reduce(r[:-1, :-1]) - r[-1, :-1]).mean())


def backward_transfer(matrix: ArrayLike) -> float:
    """Return BWT = 1/(T-1) Σ_{j<T-1} R[T-1, j] - R[j, j] (arXiv:1706.08840).

    BWT is in -1..1. It is negative if later tasks lowered the accuracy on earlier ones, and 0 for a single task.
    """
    r = _square(matrix)
    return float((r[-1] - r.diagonal())[:-1].mean()) if len(r) > 1 else 0.0


def forward_transfer(matrix: ArrayLike, baseline: ArrayLike) -> float:
    """Return FWT = 1/(T-1) Σ_{j>0} R[j-1, j] - b[j] (arXiv:1706.08840).

    FWT is in -1..1. It is positive if earlier tasks raised the accuracy on a task before that task was learnt, and 0 for
    a single task. It needs the values above the diagonal.

    Args:
        baseline: float (T,), accuracy of the initial network on each task.
    """
    r, b = _square(matrix), np.asarray(baseline, dtype=np.float64)
    if b.shape != (len(r),):
        raise TrainError(f"baseline has shape {b.shape}: must be ({len(r)},), one accuracy for each task")
    return float((r.diagonal(1) - b[1:]).mean()) if len(r) > 1 else 0.0


def hidden_histograms(
    tensors: Mapping[str, ArrayLike], bins: int = 101, limit: float | None = None
) -> dict[str, tuple[NDArray[np.int64], Floats]]:
    """Return a histogram of the hidden weights of each layer, as in the paper's Fig. 2g and 2h.

    Args:
        tensors: of `Network.tensors` or a checkpoint; only those named ``….hidden`` are used.
        bins: >= 1; an odd number has one bin across zero.
        limit: the range is ±limit, and the outermost bins count all values beyond it. None is the largest magnitude of
            each layer.

    Returns:
        layer name (without ``.hidden``) -> (counts int64 (bins,), edges float64 (bins + 1,)).
    """
    if bins < 1 or (limit is not None and not 0 < limit < math.inf):
        raise TrainError(f"bins={bins}, limit={limit}: bins must be at least 1 and limit above 0")
    found = {}
    for name, tensor in tensors.items():
        if name.rpartition(".")[2] == "hidden":
            values = np.asarray(tensor, dtype=np.float64).ravel()
            reach = limit if limit is not None else max(float(np.abs(values).max()), 1e-12)
            counts, edges = np.histogram(values.clip(-reach, reach), bins=bins, range=(-reach, reach))
            found[name.removesuffix(".hidden")] = (counts.astype(np.int64), edges)
    if not found:
        raise TrainError("no tensor is named hidden: this network has no hidden weights")
    return found


def summary(matrix: ArrayLike, baseline: ArrayLike | None = None) -> dict[str, Any]:
    """Return all measures of a matrix as one JSON-ready object; None marks a value that was not evaluated."""
    r = _square(matrix)
    values = {
        "mean_accuracy": mean_accuracy(r),
        "forgetting": forgetting(r),
        "backward_transfer": backward_transfer(r),
        "forward_transfer": math.nan if baseline is None else forward_transfer(r, baseline),
    }
    return {
        **{name: None if math.isnan(value) else value for name, value in values.items()},
        "final_accuracy": _plain(r[-1]),
        "accuracy_matrix": [_plain(row) for row in r],
    }


def write_json(path: str | Path, history: Sequence[Mapping[str, Any]], baseline: ArrayLike | None = None) -> None:
    """Write ``{"history": [...], "summary": {...}}``, whole or not at all.

    Raises:
        DataError: the file cannot be written.
        TrainError: the history is empty or not plain JSON.
    """
    content = {"summary": summary(accuracy_matrix(history), baseline), "history": list(history)}
    try:
        text = json.dumps(content, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TrainError(f"the history must be plain JSON: {error}") from None
    write_whole(path, text + "\n")


def write_csv(path: str | Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Write one line for each epoch, with one column ``accuracy_j`` for each task; a field without a value is empty.

    Raises:
        DataError: the file cannot be written.
        TrainError: the history is empty.
    """
    tasks = len(accuracy_matrix(history))
    scalars = [key for key in history[0] if key != "accuracy"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*scalars, *(f"accuracy_{j}" for j in range(tasks))])
    for row in history:
        accuracy = [*row["accuracy"], *[None] * (tasks - len(row["accuracy"]))]
        writer.writerow([*(row.get(key) for key in scalars), *accuracy])
    write_whole(path, text.getvalue())


def _square(matrix: ArrayLike) -> Floats:
    r = np.asarray(matrix, dtype=np.float64)
    if r.ndim != 2 or r.shape[0] != r.shape[1] or r.size == 0:
        raise TrainError(f"the accuracy matrix has shape {r.shape}: must be (tasks, tasks)")
    return r


def _plain(values: Floats) -> list[float | None]:
    return [None if math.isnan(value) else float(value) for value in values]
