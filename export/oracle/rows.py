"""The head's classes and their rows: docs/learning-rule.md, "The head" and "Rows of a class"."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.frozen import FREE, HeadLayer
from metabit.export.oracle.head import UNKNOWN, Head

NAT = 2**14


class ClassHead:
    """A head of C classes. ``owners``: (R,), the class of each row or 255; ``doubts``: (C,)."""

    def __init__(self, layer: HeadLayer) -> None:
        self.layer, self.head = layer, Head.of(layer)
        several = layer.rows.per_class > 1
        self.owners = layer.owners.astype(np.int64) if several else np.arange(len(layer.hidden))
        self.doubts = layer.doubts.astype(np.int64) if several else np.zeros(layer.classes, np.int64)

    def scores(self, x: NDArray[np.int8]) -> NDArray[np.int64]:
        """Scores int32 (C,) of values int8 (H,): the highest of the rows of each class, `UNKNOWN` for a class without one."""
        rows, owned = self.head.scores(x), self.owners != FREE
        found = np.full(self.layer.classes, UNKNOWN)
        np.maximum.at(found, self.owners[owned], rows[owned])
        return found

    def learn(self, x: NDArray[np.int8], label: int, step: int = 0) -> None:
        """One step on values int8 (H,) of a sample of class label. step: number of steps, this one included.

        Raises ExportError if the class has no row and none is free.
        """
        row = label if self.layer.rows.per_class == 1 else self._row(x, label)
        self.head.learn(x, row, step)
        self.owners[row] = label

    def frozen(self) -> HeadLayer:
        """The layer with the state of now."""
        layer = self.head.frozen(self.layer)
        if layer.rows.per_class == 1:
            return layer
        return replace(layer, owners=self.owners.astype(np.uint8), doubts=self.doubts.astype(np.uint8))

    def _row(self, x: NDArray[np.int8], label: int) -> int:
        """The row that learns the sample; counts the doubts of its class."""
        free, owned = np.flatnonzero(self.owners == FREE), self.owners == label
        if not owned.any():
            if not len(free):
                raise ExportError(
                    f"class {label} has no row, and all {len(self.owners)} rows are taken: make more rows"
                )
            return int(free[0])
        scores, rows = self.head.scores(x), self.layer.rows
        own = int(np.where(owned, scores, UNKNOWN).argmax())
        rivals = scores[~owned & (self.owners != FREE)]
        if len(rivals) and rivals.max() - scores[own] > rows.far * NAT:
            self.doubts[label] = min(self.doubts[label] + 1, rows.doubt_limit)
        else:
            self.doubts[label] = max(self.doubts[label] - 1, 0)
        without = self.layer.classes - len(set(self.owners.tolist()) - {FREE})
        if self.doubts[label] < rows.doubt_limit or owned.sum() >= rows.per_class or len(free) <= without:
            return own
        self.doubts[label] = 0
        return int(free[0])
