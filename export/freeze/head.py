"""A fitted head as a layer: values of the training part -> rows that know its classes, and rows for classes to come."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabit.export.frozen import FREE, HeadLayer, HeadRows, HeadScale, HeadSettings
from metabit.export.oracle.head import Head


def head_layer(
    values: NDArray[np.int8],
    labels: NDArray[np.int64],
    classes: int,
    scale: HeadScale | None,
    settings: HeadSettings | None = None,
    rows: HeadRows | None = None,
    row_count: int | None = None,
    dither: int = 1,
) -> HeadLayer:
    """The head of C classes, fitted on values int8 (n, H) of samples and their labels, n = 0 for a head that knows no class.

    scale: of the gates below; None if the values come as they are. A class without a sample is a spare class.
    row_count: R >= C, with more than one row a class; None for as many rows as the classes may take, at most 128.

    Raises ExportError for sizes that no head has.
    """
    rows = rows or HeadRows()
    several = rows.per_class > 1
    count = (row_count or min(128, classes * rows.per_class)) if several else classes
    empty = not len(labels)
    head = (
        Head.empty(values.shape[1], count, settings, dither)
        if empty
        else Head.fitted(values, labels, count, settings, dither)
    )
    owners = np.where(head.counts > 0, np.arange(count), FREE).astype(np.uint8) if several else np.zeros(0, np.uint8)
    doubts = np.zeros(classes if several else 0, np.uint8)
    blank = np.zeros((count, values.shape[1]), np.int8)
    layer = HeadLayer(
        blank, "values" if scale is None else "levels", classes, head.settings, scale, np.zeros(0, np.int16), np.zeros(0, np.int16),
        np.zeros(0, np.uint16), 0, 0, 0, rows, owners, doubts,
    )  # fmt: skip
    return head.frozen(layer)
