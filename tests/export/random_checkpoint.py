"""Checkpoints with random tensors, made without torch or training."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.train.checkpoint import Checkpoint, Rule
from metabit.train.network.spec import Spec


def checkpoint(
    sizes: tuple[int, ...] = (12, 20, 9, 3), norm: Any = "batch", code: bool = False, planes: int = 0, seed: int = 0
) -> Checkpoint:
    """Tensors of plausible size. sizes: input bits (features, with planes), units of each layer, classes last."""
    random = np.random.default_rng(seed)
    bits = (sizes[0] * (planes or 1), *sizes[1:])
    shapes = tuple(zip(bits[1:], bits[:-1], strict=True))
    trained = len(shapes) - code
    tensors: dict[str, NDArray[Any]] = {}
    for i, (units, inputs) in enumerate(shapes):
        if i < trained:
            tensors[f"layers.{i}.hidden"] = random.normal(0, 0.1, (units, inputs)).astype(np.float32)
        else:
            tensors[f"layers.{i}.code"] = random.choice([-1, 1], (units, inputs)).astype(np.int8)
        if norm == "batch":
            parts = {
                "weight": random.normal(0, 1, units),
                "bias": random.normal(0, 1, units),
                "mean": random.normal(0, inputs**0.5, units),
                "var": random.uniform(0, 2 * inputs, units),
            }
            if i < trained:
                tensors |= {f"layers.{i}.norm.{name}": part.astype(np.float32) for name, part in parts.items()}
    thresholds = random.integers(0, 256, (planes, sizes[0])).astype(np.uint8) if planes else None
    if thresholds is not None:
        tensors["encode.thresholds"] = thresholds
    spec = Spec(sizes[0], sizes[1:-1], sizes[-1], thresholds, norm, "code" if code else "learned")
    return Checkpoint(spec, tensors, Rule.of(spec, 0.5))
