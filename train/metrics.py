"""What continual learning is measured by: plain functions of the accuracy matrix, the history and the hidden weights.

The accuracy matrix R is float (T, T): R[i, j] is the test accuracy, 0..1, on task j after task i was finished, tasks in
the order they were learnt. NaN marks what was not evaluated.
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
    """R from the rows that a run appends: the last row of each task.

    Args:
        history: ordered rows with ``task`` (int, 0..T-1) and ``accuracy`` (of tasks 0, 1, ...; None or absent: unknown).

    Returns:
        float64 (T, T); T is one more than the highest task or evaluated task. NaN where there is no value.
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
    """ACC = 1/T Σ_j R[T-1, j], the mean over all tasks after the last one (Lopez-Paz and Ranzato, arXiv:1706.08840)."""
    return float(_square(matrix)[-1].mean())


def forgetting(matrix: ArrayLike) -> float:
    """F = 1/(T-1) Σ_{j<T-1} max_{i<T-1} R[i, j] - R[T-1, j] (Chaudhry et al., arXiv:1801.10112).

    In -1..1; how far each task has fallen from its best, over all tasks but the last. 0 for a single task. Values that
    were not evaluated are left out of the maximum.
    """
    r = _square(matrix)
    if len(r) == 1:
        return 0.0
    earlier = np.where(np.isnan(r[:-1, :-1]), -np.inf, r[:-1, :-1])
    best = earlier.max(0)
    return float((np.where(np.isinf(best), math.nan, best) - r[-1, :-1]).mean())


def backward_transfer(matrix: ArrayLike) -> float:
    """BWT = 1/(T-1) Σ_{j<T-1} R[T-1, j] - R[j, j] (arXiv:1706.08840).

    In -1..1; negative: learning later tasks cost the earlier ones. 0 for a single task.
    """
    r = _square(matrix)
    return float((r[-1] - r.diagonal())[:-1].mean()) if len(r) > 1 else 0.0


def forward_transfer(matrix: ArrayLike, baseline: ArrayLike) -> float:
    """FWT = 1/(T-1) Σ_{j>0} R[j-1, j] - b[j] (arXiv:1706.08840).

    In -1..1; positive: earlier tasks helped before the task was seen. 0 for a single task. Needs a matrix evaluated
    above its diagonal.

    Args:
        baseline: float (T,), accuracy of the untrained network, as it was initialised, on each task.
    """
    r, b = _square(matrix), np.asarray(baseline, dtype=np.float64)
    if b.shape != (len(r),):
        raise TrainError(f"baseline has shape {b.shape}: must be ({len(r)},), one accuracy for each task")
    return float((r.diagonal(1) - b[1:]).mean()) if len(r) > 1 else 0.0


def prequential(correct: ArrayLike, fading: float = 1.0) -> Floats:
    """Test-then-train accuracy of a stream with a fading factor (Gama, Sebastião, Rodrigues, Machine Learning 90, 2013).

    P[t] = Σ_{i<=t} a^{t-i} c[i] / Σ_{i<=t} a^{t-i}; a = 1 is the plain running mean, a = 0.99 remembers about 100 samples.

    Args:
        correct: (n,), 1 or True where the prediction made before learning from the sample was right, else 0.
        fading: a, in 0..1 without 0.

    Returns:
        float64 (n,).
    """
    c = np.asarray(correct, dtype=np.float64)
    if c.ndim != 1 or not np.isin(c, (0, 1)).all():
        raise TrainError(f"correct has shape {c.shape} or values other than 0 and 1: give one entry for each sample")
    if not 0 < fading <= 1:
        raise TrainError(f"fading={fading}: must be above 0 and at most 1")
    result, hits, weight = np.empty(len(c)), 0.0, 0.0
    for t, value in enumerate(c):
        hits, weight = fading * hits + value, fading * weight + 1
        result[t] = hits / weight
    return result


def flip_ratio(before: ArrayLike, after: ArrayLike) -> float:
    """Share of weights, 0..1, whose sign differs; sign(0) = +1.

    Hidden weights or signs alike: ``flip_ratio([1, -1], [1, 1])`` is 0.5.
    """
    a, b = np.asarray(before), np.asarray(after)
    if a.shape != b.shape or a.size == 0:
        raise TrainError(f"shapes {a.shape} and {b.shape}: must be equal and not empty")
    return float(((a >= 0) != (b >= 0)).mean())


def hidden_histograms(
    tensors: Mapping[str, ArrayLike], bins: int = 101, limit: float | None = None
) -> dict[str, tuple[NDArray[np.int64], Floats]]:
    """How the hidden weights of each layer are spread: the paper's Fig. 2g, h.

    Args:
        tensors: as `Network.tensors` or a checkpoint gives them; those named ``….hidden`` are taken.
        bins: >= 1; an odd number has one bin across zero.
        limit: the range is ±limit, and what lies outside counts in the outermost bins. None: each layer's own largest
            magnitude.

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
    """All measures of a matrix in one JSON-ready object; None where a value was not evaluated."""
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
    """``{"history": [...], "summary": {...}}``, whole or not at all.

    Raises:
        TrainError: the history is empty or not plain JSON, or the file cannot be written.
    """
    content = {"summary": summary(accuracy_matrix(history), baseline), "history": list(history)}
    try:
        text = json.dumps(content, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TrainError(f"the history must be plain JSON: {error}") from None
    write_whole(path, text + "\n")


def write_csv(path: str | Path, history: Sequence[Mapping[str, Any]]) -> None:
    """One line for each epoch, one column ``accuracy_j`` for each task; empty where there is no value.

    Raises:
        TrainError: the history is empty, or the file cannot be written.
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
