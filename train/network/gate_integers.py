"""Normalisation of a gate -> integer constants of the device, and the levels that these give. It needs NumPy only.

`metabit.export.oracle.gates` explains the arithmetic and its bounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

SLOPE = 12.8
"""Levels that a gate falls per unit of |z|, and its value at z = 0 before clipping: 1.6 in eighths."""
MAX_SHIFT = 20
MAX_MUL = 32767
_STEEPEST = (
    MAX_MUL / 2**10
)  # a step of one in a that moves a gate by 32 levels, or z by 32, is as good as any steeper one


def fixed_point(
    slope: Doubles, at_mean: Doubles, mean: Doubles, half: float
) -> tuple[NDArray[np.int16], NDArray[np.int32], int]:
    """mul, add and the largest shift so that (mul·a + add)/2^shift = slope·(a - mean) + at_mean + half.

    The value at the mean is exact to 1/2^shift whatever rounding did to mul. A shift of 10 fits any slope below 32, as
    mul is an int16.
    """
    slope = np.clip(slope, -_STEEPEST, _STEEPEST)
    steepest = float(np.abs(slope).max(initial=0.0))
    shift = next(s for s in range(MAX_SHIFT, 9, -1) if steepest * 2**s <= MAX_MUL)
    mul = np.rint(slope * 2**shift)
    add = np.rint((at_mean + half) * 2**shift - mul * mean)
    return mul.astype(np.int16), np.clip(add, -(2**30), 2**30).astype(np.int32), shift
