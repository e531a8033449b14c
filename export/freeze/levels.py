"""Hidden weights -> levels, metaplasticity -> probability tables, seed -> generator (docs/learning-rule.md, "Tables")."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.frozen import CERTAIN
from metabit.export.validate import MAX_DOSE
from metabit.train.checkpoint import Checkpoint

FULL_SCALE = 0.98
"""Share of the |hidden weights| that lie below the highest level."""


def quantise(weights: NDArray[np.float64], k: int, delta: float | None = None) -> tuple[NDArray[np.int8], float]:
    """Hidden weights float (N, K) -> levels int8 (N, K), floor(W / delta) clamped to k bits, and the level width delta.

    delta: if not given, the FULL_SCALE quantile of |W| gets the highest level.
    """
    top = 2 ** (k - 1)
    delta = delta or float(np.quantile(np.abs(weights), FULL_SCALE)) / top or 1.0
    return np.clip(np.floor(weights / delta), -top, top - 1).astype(np.int8), delta


def code_levels(checkpoint: Checkpoint, i: int) -> NDArray[np.int8]:
    """Levels 0 and -1, int8 (C, N), of an output code: layer i of a checkpoint."""
    return np.where(np.asarray(checkpoint.tensors[f"layers.{i}.code"], np.int64) >= 0, 0, -1).astype(np.int8)


def tables(m: float, delta: float, k: int, strengthen: str) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Tables strengthen and weaken, uint16 (2**(k-1),): f(r) = 1 - tanh²(m Δ (r + ½)), eq. (3) of arXiv:2003.03533.

    strengthen: "certain" makes every move away from zero certain; "same" uses f in both directions.
    """
    r = np.arange(2 ** (k - 1))
    f = np.minimum(CERTAIN, np.round(65536 * (1 - np.tanh(m * delta * (r + 0.5)) ** 2))).astype(np.uint16)
    return (f if strengthen == "same" else np.full_like(f, CERTAIN)), f


def dose_of(rate: float, units: int) -> int:
    """A visit rate or vote rate as the integer of a layer's rule: rate * units in 1/4096, within the format's range."""
    return max(1, min(MAX_DOSE, round(rate * units * 4096)))


def generator_state(seed: int) -> int:
    """A well mixed, non-zero xorshift32 state, so that neighbouring seeds give unrelated streams."""
    z = (seed + 0x9E3779B9) & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        z = ((z ^ (z >> shift)) * factor) & 0xFFFFFFFF
    return (z ^ (z >> 16)) or 1


def check_finite(tensors: dict[str, NDArray[Any]]) -> None:
    """Raises ExportError if a tensor holds NaN or infinity."""
    for name, tensor in tensors.items():
        if not np.isfinite(np.asarray(tensor, np.float64)).all():
            raise ExportError(f"tensor {name} holds NaN or infinity: the training diverged, train again")
