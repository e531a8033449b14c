"""Numbers of other tools -> gains, and the integers of a device: thresholds of hidden units, and scores of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError

Array = NDArray[Any]
Floats = NDArray[np.float64]
NEAR = 1e-9
"""A threshold this near to an integer, relative to it, is that integer: float32, in which the tools compute, cannot tell them
apart."""
LEARNING_STEPS, FROZEN_STEPS = 8192, 65536
"""Score units for each unit of the file's numbers. The table of exponentials counts differences up to 65,535 score units, which
are 8 nats where the network learns; without learning nothing limits them but the format."""


def finite(name: str, *arrays: Array) -> None:
    """Refuses NaN and infinity."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise ExportError(f"layer {name!r} holds NaN or infinity: the training diverged, train it again")


def normalisation(
    name: str, mean: Array, variance: Array, epsilon: float, gamma: Array | None, beta: Array | None
) -> tuple[Floats, Floats]:
    """Gain and offset, float64 (N,), of gamma * (number - mean) / sqrt(variance + epsilon) + beta; without them gamma 1, beta 0."""
    spread = np.asarray(variance, np.float64) + epsilon
    if (spread <= 0).any():
        raise ExportError(
            f"layer {name!r} divides by the root of {spread.min():.3g}, variance and epsilon: train it again"
        )
    gain = np.asarray(1 if gamma is None else gamma, np.float64) / np.sqrt(spread)
    return gain, np.asarray(0 if beta is None else beta, np.float64) - np.asarray(mean, np.float64) * gain


def first_reaching(gain: Floats, offset: Floats) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where gain * a + offset >= 0 begins and ends, for integers a: theta int64 (N,) and falling bool (N,).

    Not falling: it holds for a >= theta. Falling (a negative gain): it holds for a < theta. A gain of 0 gives a theta beyond
    all sums.
    """
    beyond = 2**40
    with np.errstate(divide="ignore", invalid="ignore"):
        zero = np.where(gain == 0, 0.0, -offset / gain)
    zero = np.clip(zero, -beyond, beyond)
    whole = np.round(zero)
    near = np.abs(zero - whole) <= NEAR * np.maximum(1.0, np.abs(zero))
    falling = np.asarray(gain < 0)
    theta = np.where(near, whole + falling, np.ceil(zero))  # a number of exactly 0 counts as +1
    theta = np.where(gain == 0, np.where(offset >= 0, -beyond, beyond), theta)
    return theta.astype(np.int64), falling


def scores(
    gain: Floats, offset: Floats, inputs: int, learns: bool
) -> tuple[NDArray[np.int32], NDArray[np.int32], float]:
    """Integers mul and add (C,), and the score units for each unit of gain * a + offset; gain >= 0.

    Where every class has the same gain and the offsets are whole or half multiples of it, scores are exact. Otherwise a score
    differs from the number times the units by at most (|a| + 1) / 2.
    """
    largest = float(gain.max())
    if largest == 0:
        raise ExportError("every gain of the last layer is zero: the network scores all classes alike, train it again")
    if np.ptp(gain) == 0:
        for mul in (1, 2):
            add = mul * offset / largest
            if (np.abs(add - np.round(add)) < NEAR * np.maximum(1.0, np.abs(add))).all() and np.abs(add).max() < 2**24:
                return np.full(len(gain), mul, np.int32), np.round(add).astype(np.int32), mul / largest
    scale = max(float(LEARNING_STEPS if learns else FROZEN_STEPS), 64 / largest)
    reach = largest * (6 * inputs + 130) + float(
        np.abs(offset).max()
    )  # at most: the counters are as wide as planes of bits
    scale = min(scale, 2e9 / reach)
    return np.round(gain * scale).astype(np.int32), np.round(offset * scale).astype(np.int32), scale
