"""The frozen network: integers only, the one thing every writer receives.

Shapes use the letters of the whole project: P thermometer planes, F features, N units (outputs) of a layer, K its inputs,
k hidden bits. Bit 1 means +1 for weights and hidden activations, "on" for encoded inputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MAX_UNITS = 16384
MAX_LAYERS = 16
CERTAIN = 65535
"""A table entry meaning "always"; any other entry t means probability t / 65536."""


@dataclass(frozen=True)
class Encode:
    """Thermometer code: bit ``p * F + f`` of the input is ``features[f] >= thresholds[p, f]``.

    thresholds: uint8 (P, F), 1 <= P <= 8.
    """

    thresholds: NDArray[np.uint8]

    @property
    def planes(self) -> int:
        return int(self.thresholds.shape[0])

    @property
    def features(self) -> int:
        return int(self.thresholds.shape[1])


@dataclass(frozen=True)
class Rule:
    """What one layer needs to learn on the device (docs/learning-rule.md).

    strengthen, weaken: uint16 (2**(k-1),), probability of a move away from / toward zero at magnitude r.
    dose: 1..2**20-1, synapse visits per eligible input of a wholly wrong sample, in 1/4096.
    """

    strengthen: NDArray[np.uint16]
    weaken: NDArray[np.uint16]
    dose: int


@dataclass(frozen=True)
class Layer:
    """A dense layer, hidden or output.

    hidden: int8 (N, K), levels in [-2**(k-1), 2**(k-1) - 1]; the weight is +1 iff the level is >= 0. k = 1 means frozen.
    on_off: inputs are 1/0 (after `Encode`, or packed input bits); otherwise they are +1/-1.
    theta: int32 (N,), a hidden unit is +1 iff accumulator >= theta. Unused (zeros) for the output layer.
    window: straight-through window: errors pass where |accumulator - theta| <= window. Unused for the output layer.
    mul, add: int32 (N,), the output layer's scores are accumulator * mul + add. Ones and zeros for a hidden layer.
    """

    kind: Literal["dense", "output"]
    hidden: NDArray[np.int8]
    bits: int
    on_off: bool
    theta: NDArray[np.int32]
    window: int
    mul: NDArray[np.int32]
    add: NDArray[np.int32]
    rule: Rule | None = None

    @property
    def units(self) -> int:
        return int(self.hidden.shape[0])

    @property
    def inputs(self) -> int:
        return int(self.hidden.shape[1])

    @property
    def weights(self) -> NDArray[np.int8]:
        """int8 (N, K), +1 or -1."""
        return np.where(self.hidden >= 0, 1, -1).astype(np.int8)

    @property
    def learns(self) -> bool:
        return self.rule is not None


@dataclass(frozen=True)
class Counters:
    """Device history, all modulo 2**32: learning steps, levels moved, weights flipped."""

    steps: int = 0
    moved: int = 0
    flipped: int = 0


@dataclass(frozen=True)
class Frozen:
    """A whole network as integers. Layers run first to last: dense*, output.

    temperature: 1..65535, exp-table index per unit of score difference, in 1/4096 (docs/learning-rule.md).
    margin: 0..4096, a sample whose error on the true class is below margin / 4096 teaches nothing.
    generator: state of the xorshift32 generator, 1..2**32-1.
    """

    layers: tuple[Layer, ...]
    encode: Encode | None
    temperature: int
    margin: int
    generator: int
    counters: Counters = field(default_factory=Counters)

    @property
    def classes(self) -> int:
        return self.layers[-1].units

    @property
    def input_bits(self) -> int:
        return self.layers[0].inputs

    @property
    def input_bytes(self) -> int:
        """Bytes of one input: a uint8 per feature, or packed bits padded to whole bytes."""
        return self.encode.features if self.encode else (self.input_bits + 7) // 8
