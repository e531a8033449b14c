"""The output of k-bit levels that learns on: docs/learning-rule.md, "Output levels", in plain NumPy integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.frozen import LevelsRule
from metabit.export.oracle.gates import LEVELS

SMALLEST_ERROR = 16
"""A class with a smaller error, in 1/4096, does not learn."""


def learn_levels(
    levels: NDArray[np.int8],
    bits: int,
    rule: LevelsRule,
    x: NDArray[Any],
    error: NDArray[np.int64],
    draw: Callable[[], int],
) -> tuple[int, int]:
    """Moves levels against the error of one sample, in place.

    Args:
        levels: int8 (C, K + 1), |h| <= 2^(k-1) - 1, the offset last in each row.
        bits: k.
        rule: dose and table.
        x: levels of the gates (K,), -8..8.
        error: (C,), in 1/4096.
        draw: gives the next 16 random bits.

    Returns:
        Numbers of visits, and of levels that changed.
    """
    inputs, largest = np.append(x.astype(np.int64), LEVELS), 2 ** (bits - 1) - 1
    at, moved = np.flatnonzero(inputs), 0
    taught = np.flatnonzero(np.abs(error) >= SMALLEST_ERROR)
    for c in taught:
        step = (rule.dose * abs(int(error[c])) + 2048) >> 12
        wanted, before = -np.sign(error[c]) * step * inputs[at], levels[c, at].astype(np.int64)
        weakened = (wanted * rule.weaken[np.abs(before)].astype(np.int64)) >> 8
        wanted = np.where(wanted * before < 0, weakened, wanted)
        drawn = np.array([draw() for _ in at], dtype=np.int64)
        after = np.clip(before + ((wanted + drawn) >> 16), -largest, largest)
        levels[c, at] = after
        moved += int((after != before).sum())
    return len(taught) * len(at), moved
