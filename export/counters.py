"""Start values and width of a layer's bit-sliced counters (runtime/FORMAT.md, "fold")."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.frozen import ConvLayer, DenseLayer, GradedLayer, Layer

PLANES = {False: (6, 20), True: (12, 24)}
"""Fewest and most counter planes of a layer; the second pair is for a layer that takes bytes."""


def fold_constants(layer: Layer) -> tuple[NDArray[np.int64], int, int]:
    """Constants int64 (N,), number of counter planes, and straight-through window in V (docs/learning-rule.md, "Sums").

    The layer takes bits, signs or bytes. Raises ExportError if it needs more counter planes than the format holds.
    """
    most = layer.inputs * (255 if layer.takes == "bytes" else 1)
    signs, window = layer.takes == "signs", layer.ste_window if isinstance(layer, DenseLayer) else 0
    if isinstance(layer, GradedLayer):
        most *= layer.planes
    if isinstance(layer, ConvLayer | DenseLayer | GradedLayer):
        theta = layer.theta.astype(np.int64)
    else:
        theta = np.full(layer.units, layer.inputs & 1 if signs else 0, np.int64)
    if signs:
        theta = theta + ((theta - layer.inputs) & 1)  # the parity of the accumulator
        fold, window = -(layer.weights.sum(1, dtype=np.int64) + theta) // 2, window // 2
        reach = (layer.inputs + int(np.abs(theta).max())) // 2 + layer.inputs  # plus room for fold alone
    else:
        fold, reach = -theta, most + int(np.abs(theta).max())
    low, high = PLANES[layer.takes == "bytes"]
    planes = max(low, (reach + window + 1).bit_length() + 1)
    if planes > high:
        raise ExportError(f"a layer needs {planes} counter planes, the format holds {high}: fewer inputs")
    return fold, planes, window
