"""Units from nothing in integers: each takes up to three features and gives one value to the head (docs/learning-rule.md).

Plain and slow. It needs no product of more than 32 bits and no division, so a C implementation needs none.

The device takes an integer q of each feature, uint8 or int16. Each feature is standardised, 256 a deviation, and limited
to four deviations::

    t = clip((feature_mul·q + feature_add) >> feature_shift, -1024, 1024)

Unit j sums three of them with weights w in -2..2, |a| <= 6144, and gives an int8 with 32 a deviation::

    v = mul·a + add
    gates, the first half of the units:  x = clip((top - |v|) >> 14, low, high)
    steps, the others:                   x = clip(v >> 14,           low, high)

Half of the last bit that a shift drops is part of feature_add, add (steps) and top (gates).

Bounds in int32: 0 <= feature_mul < 2^15 and |q| <= 2^15, so |feature_mul·q| <= 2^30 - 2^15; |feature_add| <= 2^30, so
the sum is below 2^31. |mul| <= 2^17 and |a| <= 6144, so |mul·a| < 2^30; |add| <= 2^30, so |v| < 2^31;
0 <= top <= 2^30, so top - |v| is above -2^31.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.frozen import TriplesLayer

DEVIATION = 256
"""One deviation of a feature, in units of t."""
REACH = 4 * DEVIATION
"""A feature further from its mean is limited to this distance."""
UNIT_SHIFT = 14


def standardised(layer: TriplesLayer, q: NDArray[Any]) -> NDArray[np.int64]:
    """Integers (..., F) of the device -> t (..., F), -1024..1024."""
    scaled = (q.astype(np.int64) * layer.feature_mul + layer.feature_add) >> layer.feature_shift
    return np.clip(scaled, -REACH, REACH)


def sums(layer: TriplesLayer, q: NDArray[Any]) -> NDArray[np.int64]:
    """Integers (..., F) of the device -> a (..., H), -6144..6144."""
    a: NDArray[np.int64] = (standardised(layer, q)[..., layer.index] * layer.hidden.astype(np.int64)).sum(-1)
    return a


def values(layer: TriplesLayer, q: NDArray[Any]) -> NDArray[np.int8]:
    """Integers (..., F) of the device -> values of the head, int8 (..., H)."""
    v = sums(layer, q) * layer.mul + layer.add
    half = len(layer.top)
    v[..., :half] = layer.top - np.abs(v[..., :half])
    x: NDArray[np.int8] = np.clip(v >> UNIT_SHIFT, layer.low, layer.high).astype(np.int8)
    return x
