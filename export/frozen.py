"""The frozen network: integers only, the one thing every writer receives.

Shapes use the letters of the whole project: P thermometer planes, F features, N units (outputs) of a layer, K its inputs,
k hidden bits. Bit 1 means +1 for weights and hidden activations, "on" for encoded inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MAX_UNITS = 16384
MAX_GRADED = 1024
MAX_VOTES = 3
"""Of one unit for one sample."""
BATCHES = range(32, 257, 32)
DRAWS = (4, 8)
MAX_IMAGE = 1 << 18
MAX_LAYERS = 16
CERTAIN = 65535
"""A table entry meaning "always"; any other entry t means probability t / 65536."""


@dataclass(frozen=True)
class Encode:
    """Thermometer code: an input bit is ``features[f] >= thresholds[p, f]``, in the order (pixel, p, channel).

    thresholds: uint8 (P, F), 1 <= P <= 8.
    channels: features of one pixel, a divisor of F; 0 takes all of them for one pixel, so that bit ``p * F + f`` is feature f's.
        0 unless a convolution comes next.
    """

    thresholds: NDArray[np.uint8]
    channels: int = 0

    @property
    def planes(self) -> int:
        return int(self.thresholds.shape[0])

    @property
    def features(self) -> int:
        return int(self.thresholds.shape[1])


@dataclass(frozen=True)
class Votes:
    """How a graded layer learns (docs/learning-rule.md, "Graded units and votes").

    need: uint16 (3 * batch * P + 1,), what the votes of a unit for an input, up less down, must exceed to visit the synapse, in
        1/16, by the number of votes; it never falls. A unit asks with up to 3 votes.
    gain: 1..65535, chance of a visit per vote beyond those needed, in 1/65536.
    draws: S, 4 or 8 passes with weights drawn anew for one sample's error.
    batch: 32, 64, ... 256 samples wait in slots until every input has counted them.
    """

    need: NDArray[np.uint16]
    gain: int
    draws: int
    batch: int


@dataclass(frozen=True)
class Rule:
    """What one layer needs to learn on the device (docs/learning-rule.md).

    strengthen, weaken: uint16 (2**(k-1),), probability of a move away from / toward zero at magnitude r.
    dose: 1..2**20-1, synapse visits per eligible input of a wholly wrong sample, in 1/4096; of a graded layer, units that ask.
    votes: of a graded layer, and only of it.
    """

    strengthen: NDArray[np.uint16]
    weaken: NDArray[np.uint16]
    dose: int
    votes: Votes | None = None


@dataclass(frozen=True)
class Graded:
    """What makes a layer graded: its units are gates that close as |V| grows, by the mean |V| of the layer.

    lo, hi: 0 <= lo < hi <= 2047, ends of the ramp in 1/256 of that mean: a unit gives 8 up to lo, -8 from hi on.
    planes: P, 1..8 input bits share one weight; bit p * K + j belongs to input j.
    """

    lo: int
    hi: int
    planes: int


@dataclass(frozen=True)
class Window:
    """What a convolution looks through (docs/learning-rule.md, "Images").

    height, width, channels: of the image that comes in, (H, W, C) with C fastest.
    kernel, stride: of the square window.
    same: padded with +1 (bits: on; uint8: 255) so that stride 1 keeps the size; otherwise not padded.
    pool: side of the squares whose bits are or-ed; 1 is none. What does not fill a square is dropped.
    """

    height: int
    width: int
    channels: int
    kernel: int
    stride: int = 1
    same: bool = False
    pool: int = 1

    def side(self, size: int) -> int:
        """Height or width after the convolution, before pooling."""
        return -(-size // self.stride) if self.same else (size - self.kernel) // self.stride + 1

    def pads(self, size: int) -> tuple[int, int]:
        """Rows or columns of +1 before and after."""
        total = max(0, (self.side(size) - 1) * self.stride + self.kernel - size) if self.same else 0
        return total // 2, total - total // 2

    @property
    def convolved(self) -> tuple[int, int]:
        """(H', W') before pooling."""
        return self.side(self.height), self.side(self.width)

    @property
    def pooled(self) -> tuple[int, int]:
        """(H'', W'') of what comes out."""
        height, width = self.convolved
        return height // self.pool, width // self.pool

    @property
    def values(self) -> int:
        """H · W · C."""
        return self.height * self.width * self.channels


@dataclass(frozen=True)
class Layer:
    """A layer with weights: convolution, dense, graded, or output. K of a convolution is (row, column, channel) of one window,
    of a graded layer it counts weights: P * K bits come in.

    hidden: int8 (N, K), levels in [-2**(k-1), 2**(k-1) - 1]; the weight is +1 iff the level is >= 0. k = 1 means frozen.
    on_off: inputs are 1/0 (after `Encode`, packed input bits, or whatever a graded layer takes), or with uint8 0..255; otherwise
        they are +1/-1, or with graded_input -8..8.
    theta: int32 (N,), a hidden unit is +1 iff accumulator >= theta. Unused (zeros) for the output layer.
    window: straight-through window: errors pass where |accumulator - theta| <= window. Unused for the output layer; 0 where no
        error comes.
    mul, add: int32 (N,), the output layer's scores are accumulator * mul + add. Ones and zeros for a hidden layer.
    uint8: inputs are the features as they are; first layer only. It and a convolution never learn on the device.
    conv: of a convolution, what it looks through; else None.
    graded: of a graded layer, its ramp and planes; else None.
    graded_input: of the output after a graded layer, and only of it. It has one bit a synapse and does not learn.
    ternary: the errors of its units go on to the layer below as signs drawn, not exactly; of dense layers not on uint8.
    """

    kind: Literal["conv", "dense", "graded", "output"]
    hidden: NDArray[np.int8]
    bits: int
    on_off: bool
    theta: NDArray[np.int32]
    window: int
    mul: NDArray[np.int32]
    add: NDArray[np.int32]
    rule: Rule | None = None
    uint8: bool = False
    conv: Window | None = None
    graded: Graded | None = None
    graded_input: bool = False
    ternary: bool = False

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

    @property
    def values(self) -> int:
        """Values that come in: H · W · C, P · K of a graded layer, or K."""
        if self.conv:
            return self.conv.values
        return self.graded.planes * self.inputs if self.graded else self.inputs

    @property
    def outputs(self) -> int:
        """Values that go out: H'' · W'' · N, or N."""
        return math.prod(self.conv.pooled) * self.units if self.conv else self.units


@dataclass(frozen=True)
class Counters:
    """Device history, all modulo 2**32: learning steps, levels moved, weights flipped."""

    steps: int = 0
    moved: int = 0
    flipped: int = 0


@dataclass(frozen=True)
class Frozen:
    """A whole network as integers. Layers run first to last: conv*, dense*, at most one graded, output.

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
        """Values that the first layer with weights takes: bits, or uint8 features."""
        return self.layers[0].values

    @property
    def packed(self) -> bool:
        """Whether the device takes packed bits: neither an encoder nor a layer on uint8 asks for features."""
        return self.encode is None and not self.layers[0].uint8

    @property
    def input_bytes(self) -> int:
        """Bytes of one input: a uint8 per feature, or packed bits padded to whole bytes."""
        if self.encode:
            return self.encode.features
        return (self.input_bits + 7) // 8 if self.packed else self.input_bits
