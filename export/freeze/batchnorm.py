"""Normalisation -> integers: thresholds, straight-through windows and scores (docs/learning-rule.md, "From the trained float")."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.validate import MAX_STE_WINDOW
from metabit.train.checkpoint import Checkpoint
from metabit.train.network.spec import NORM_EPS

Floats = NDArray[np.float64]

SCORE_STEPS = 1024
"""Score units for each unit of the float score, at most: finer than the table of exponentials can tell apart."""


def affine(checkpoint: Checkpoint, i: int, inputs: int) -> tuple[Floats, Floats, Floats]:
    """Normalisation of layer i as gain, centre and offset, each (N,): gain * (a - centre), or offset where the gain is 0."""
    units = checkpoint.spec.shapes[i][0]
    if f"layers.{i}.norm.weight" not in checkpoint.tensors:
        return np.full(units, 1 / np.sqrt(inputs)), np.zeros(units), np.zeros(units)
    weight, bias, mean, var = (
        np.asarray(checkpoint.tensors[f"layers.{i}.norm.{part}"], np.float64)
        for part in ("weight", "bias", "mean", "var")
    )
    sigma = np.sqrt(var + NORM_EPS)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = mean - np.where(bias == 0, 0.0, bias * sigma / weight)  # exactly the mean where there is no bias
    return weight / sigma, np.where(weight == 0, 0.0, centre), bias


def thresholds(
    hidden: NDArray[np.int8], gain: Floats, centre: Floats, offset: Floats, most: int
) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """Levels (N, K) and theta (N,) so that a >= theta says what gain * (a - centre) >= 0 says, for |a| <= most.

    A negative gain flips the levels of its unit, so that the comparison stays >=.
    """
    flipped = np.where((gain < 0)[:, None], -1 - hidden, hidden).astype(np.int8)
    theta = np.ceil(np.where(gain < 0, -centre, centre))
    theta = np.where(gain == 0, np.where(offset >= 0, -most, most + 1), theta)
    return flipped, np.clip(theta, -most, most + 1).astype(np.int32)


def ste_window(gain: Floats, factor: float) -> int:
    """The straight-through window |norm(a)| <= factor in accumulator units: the median over the units of a layer."""
    slopes = np.abs(gain[gain != 0])
    return 0 if len(slopes) == 0 else int(np.clip(round(factor / float(np.median(slopes))), 0, MAX_STE_WINDOW))


def scores(gain: Floats, centre: Floats, offset: Floats) -> tuple[NDArray[np.int32], NDArray[np.int32], float]:
    """Integers mul and add (C,), and the score units for each unit of the float score.

    Each is rounded once, so that a score is at most (|a| + 1) / 2 units from the float. Equal gains without an offset need no
    rounding: mul is 1.
    """
    largest = float(np.abs(gain).max())
    if largest == 0:
        raise ExportError("every output gain is zero: the network scores all classes alike, train again")
    shift = np.where(gain == 0, offset, -gain * centre)
    if np.ptp(gain) == 0 and not shift.any():
        return np.ones(len(gain), np.int32), np.zeros(len(gain), np.int32), 1 / largest
    scale = SCORE_STEPS if largest * SCORE_STEPS >= 1 else 1 / largest
    mul, add = np.round(gain * scale), np.round(shift * scale)
    most = max(float(np.abs(mul).max()), float(np.abs(add).max()))
    if most >= 2**31:
        raise ExportError(f"the output normalisation reaches {most:.3g} score units, beyond 32 bits: train again")
    return mul.astype(np.int32), add.astype(np.int32), scale
