"""The frozen network: integers only. Every writer receives one and every reader returns one.

`metabit.export.frozen_layers`, `frozen_gates` and `frozen_triples` define the parts; this module has them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metabit.export.bits import unpack_rows
from metabit.export.frozen_gates import (
    COUNT_FLOOR,
    COUNT_LIMIT,
    FREE,
    LOWEST,
    Cuts,
    GatesLayer,
    HeadLayer,
    HeadRows,
    HeadScale,
    HeadSettings,
    Integers,
    LevelsLayer,
    Notes,
)
from metabit.export.frozen_layers import (
    BATCHES,
    CERTAIN,
    MAX_IMAGE,
    MAX_VOTES,
    PASSES,
    ConvGeometry,
    ConvLayer,
    DenseLayer,
    Encode,
    GradedLayer,
    Kept,
    Layer,
    LevelsRule,
    OutputLayer,
    Rule,
    Takes,
    Votes,
)
from metabit.export.frozen_triples import TriplesLayer

__all__ = [
    "BATCHES", "CERTAIN", "COUNT_FLOOR", "COUNT_LIMIT", "FREE", "LOWEST", "MAX_IMAGE", "MAX_VOTES", "PASSES",
    "ConvGeometry", "ConvLayer", "Counters", "Cuts", "DenseLayer", "Encode", "Frozen", "GatesLayer", "GradedLayer",
    "HeadLayer", "HeadRows", "HeadScale", "HeadSettings", "Integers", "Kept", "Layer", "LevelsLayer", "LevelsRule", "Notes",
    "OutputLayer", "Rule", "Takes", "TriplesLayer", "Votes",
]  # fmt: skip


@dataclass(frozen=True)
class Counters:
    """Counters of the device, each modulo 2**32: learning steps, moves of levels, flips of weights."""

    steps: int = 0
    moved: int = 0
    flipped: int = 0


@dataclass(frozen=True)
class Frozen:
    """A whole network as integers.

    Its layers are, in this order: conv*, dense*, at most one graded, output; or gates, then levels or a
    head; or triples, then a head.

    temperature: 1..65535, index into the table of exponentials for each unit of score difference, in 1/4096.
    skip_below: 0..4096, a sample is skipped where the error of its true class is below skip_below / 4096.
    generator: state of the xorshift32 generator, 1..2**32-1.
    notes: names of classes and features.
    """

    layers: tuple[Layer, ...]
    encode: Encode | Cuts | None
    temperature: int
    skip_below: int
    generator: int
    counters: Counters = field(default_factory=Counters)
    notes: Notes | None = None

    @property
    def classes(self) -> int:
        return self.layers[-1].units

    @property
    def input_bits(self) -> int:
        """Values that the first layer with weights takes: bits or bytes."""
        return self.layers[0].values

    @property
    def features(self) -> int:
        """Numbers of one input: features of the encoder, or values of the first layer."""
        return self.encode.features if self.encode else self.input_bits

    @property
    def packed(self) -> bool:
        """True where one input of the device is packed bits: there is no encoder, and the first layer takes bits."""
        return self.encode is None and self.layers[0].takes not in ("bytes", "features")

    @property
    def input_bytes(self) -> int:
        """Bytes of one input: one or two for each feature, or packed bits padded to whole bytes."""
        if self.packed:
            return (self.input_bits + 7) // 8
        return self.features * np.dtype(self.integers).itemsize

    @property
    def integers(self) -> Integers:
        """Dtype of the features that the device takes; uint8 where it takes packed bits."""
        first = self.layers[0]
        if isinstance(first, TriplesLayer):
            return first.integers
        return self.encode.kind if isinstance(self.encode, Cuts) else "uint8"

    @property
    def scale(self) -> NDArray[np.float32] | None:
        """float32 (2, F), low and steps by which a feature becomes an integer; None where it is the integer it is."""
        first = self.layers[0]
        if isinstance(first, TriplesLayer):
            return first.scale
        return self.encode.scale if isinstance(self.encode, Cuts) else None

    def unpack(self, x: NDArray[np.uint8]) -> NDArray[np.uint8] | NDArray[np.int16]:
        """Device inputs uint8 (..., input bytes) -> features uint8 or int16 (..., F), or 0 and 1 (..., K) of packed bits."""
        if self.packed:
            return unpack_rows(x, self.input_bits).astype(np.uint8)
        return np.ascontiguousarray(x).view("<i2").astype(np.int16) if self.integers == "int16" else x
