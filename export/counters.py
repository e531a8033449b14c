"""What the counters of a layer start from and how wide they are (runtime/FORMAT.md, "fold")."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.frozen import Layer

PLANES = {False: (6, 20), True: (12, 24)}
"""Fewest and most counter planes of a layer on bits, and of one on uint8."""


def fold_constants(layer: Layer) -> tuple[NDArray[np.int64], int, int]:
    """Per-unit constants (N,), the counter planes they need, and the window in V (docs/learning-rule.md, "Sums")."""
    theta, most = layer.theta.astype(np.int64), layer.inputs * (255 if layer.uint8 else 1)
    if layer.graded is not None:
        most *= layer.graded.planes
    if layer.kind == "output":
        theta = np.full(layer.units, 0 if layer.on_off else layer.inputs & 1, np.int64)
    if layer.on_off:
        fold, window = -theta, layer.window
        reach = most + int(np.abs(theta).max())
    else:
        theta = theta + ((theta - layer.inputs) & 1)  # the parity of the accumulator
        fold, window = -(layer.weights.sum(1, dtype=np.int64) + theta) // 2, layer.window // 2
        reach = (layer.inputs + int(np.abs(theta).max())) // 2 + layer.inputs  # plus room for fold alone
    low, high = PLANES[layer.uint8]
    planes = max(low, (reach + window + 1).bit_length() + 1)
    if planes > high:
        raise ExportError(f"a layer needs {planes} counter planes, the format holds {high}: fewer inputs")
    return fold, planes, window
