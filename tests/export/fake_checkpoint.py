"""What `freeze` reads of a checkpoint, without torch or a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class FakeSpec:
    norm: str
    thresholds: NDArray[np.uint8] | None
    shapes: tuple[tuple[int, int], ...]
    trained: int
    input: str = "bits"
    statistics: str = "running"
    images: tuple[tuple[int, int, int], ...] = ()
    conv: tuple[Any, ...] = ()
    units: str = "sign"
    ramp: tuple[int, int] = (77, 563)


@dataclass
class FakeCheckpoint:
    """What `freeze` reads of a real one, without torch or a file."""

    spec: FakeSpec
    tensors: dict[str, NDArray[Any]]
    m: Sequence[float] = field(default=())


def checkpoint(
    sizes: tuple[int, ...] = (12, 20, 9, 3), norm: str = "batch", code: bool = False, planes: int = 0, seed: int = 0
) -> FakeCheckpoint:
    """Random tensors of plausible size. sizes: input bits (features, with planes), units of each layer, classes last."""
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
            tensors |= {f"layers.{i}.norm.{name}": part.astype(np.float32) for name, part in parts.items()}
    thresholds = random.integers(0, 256, (planes, sizes[0])).astype(np.uint8) if planes else None
    return FakeCheckpoint(FakeSpec(norm, thresholds, shapes, trained), tensors, (0.5,) * trained)
