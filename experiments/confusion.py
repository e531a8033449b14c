"""Accuracy, recall by class, balanced accuracy and the confusion matrix of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)  # arrays have no single answer to ==
class Confusion:
    """Predictions on a test part.

    Args:
        counts: int64 (C, C): row, the true class; column, the predicted class.
        names: name of each class.
        surer_half: accuracy, 0..1, on the half of the samples with the largest margins.
    """

    counts: NDArray[np.int64]
    names: Sequence[str]
    surer_half: float

    @classmethod
    def of(cls, scores: NDArray[np.integer[Any]], y: NDArray[np.int64], names: Sequence[str]) -> Confusion:
        """The confusion of scores, int (n, C), with true classes, int64 (n,). On a tie the lowest class is predicted."""
        predicted = scores.argmax(1)
        best_two = np.sort(scores.astype(np.int64), axis=1)[:, -2:]
        size = max(scores.shape[1], len(names))
        counts = np.bincount(y * size + predicted, minlength=size * size).reshape(size, size)
        named = [*names, *(f"class {i}" if str(i) in names else str(i) for i in range(len(names), size))]
        return cls(counts, named, surer_half(predicted, best_two[:, -1] - best_two[:, 0], y))

    @property
    def accuracy(self) -> float:
        """Share of samples that are predicted correctly, 0..1."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def recall(self) -> dict[str, float | None]:
        """Share of each class's samples that are predicted correctly, 0..1; None for a class without samples."""
        totals = self.counts.sum(1).tolist()
        right = np.diag(self.counts).tolist()
        return {name: r / n if n else None for name, r, n in zip(self.names, right, totals, strict=True)}

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the recall over the classes that have samples, 0..1."""
        return float(np.mean([share for share in self.recall.values() if share is not None]))

    def facts(self) -> dict[str, Any]:
        """All of it but the surer half, JSON-ready."""
        found = {name: getattr(self, name) for name in ("accuracy", "balanced_accuracy", "recall")}
        return found | {"confusion": self.counts.tolist()}


def surer_half(labels: NDArray[np.generic], margins: NDArray[np.int64], y: NDArray[np.int64]) -> float:
    """Accuracy, 0..1, on the half of the samples with the largest margins, the middle one included."""
    surest = np.argsort(-margins, kind="stable")[: (len(y) + 1) // 2]
    return float((labels[surest] == y[surest]).mean())
