"""The layers of a frozen network, and the thermometer code below them. `metabit.export.frozen` has them all, with those of gates.

Letters of the shapes: P thermometer planes, F features, N units of a layer, K weights of a unit, k bits of a level.
Bit 1 stands for +1 in weights and hidden activations, and for "on" in encoded inputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

MAX_VOTES = 3
"""Votes of one unit for one sample, at most."""
BATCHES = range(32, 257, 32)
PASSES = (4, 8)
MAX_IMAGE = 1 << 18
"""Values of an image of pixels, H * W * C, that goes into or comes out of a convolution, at most."""
CERTAIN = 65535
"""The table entry for probability 1. Any other entry t stands for probability t / 65536."""

Takes = Literal["bits", "signs", "bytes", "grades", "levels", "values", "features"]
"""Values that a layer receives: bits 0 or 1, signs -1 or +1, bytes 0..255, grades -8..8; levels -8..8 of gates, which a head takes
with their sums; values -127..127; features, uint8 or int16 integers."""


@dataclass(frozen=True)
class Encode:
    """Thermometer code: an input bit is ``features[f] >= thresholds[p, f]``, in the order (pixel, p, channel).

    thresholds: uint8 (P, F), 1 <= P <= 8.
    channels: features of one pixel, a divisor of F. 0 treats all features as one pixel, so that bit ``p * F + f`` belongs to
        feature f. Only a convolution may follow an encoder with channels.
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
class Rule:
    """Learning parameters of one layer on the device (docs/learning-rule.md).

    strengthen, weaken: uint16 (2**(k-1),), probability of a move away from zero and toward it, by the level's magnitude.
    dose: 1..2**20-1, visits of each eligible input after a completely wrong sample, in 1/4096, summed over the units. With
        `Votes`: units that vote after such a sample, divided by 3, in 1/4096.
    """

    strengthen: NDArray[np.uint16]
    weaken: NDArray[np.uint16]
    dose: int


@dataclass(frozen=True)
class LevelsRule:
    """Learning parameters of an output of levels above gates (docs/learning-rule.md).

    dose: 1..2**20-1.
    weaken: uint16 (2**(k-1),), 0..256, by the level's magnitude, in 1/256.
    """

    dose: int
    weaken: NDArray[np.uint16]


@dataclass(frozen=True)
class Votes(Rule):
    """Learning parameters of a graded layer (docs/learning-rule.md, "Graded units and votes").

    votes_needed: uint16 (3 * batch * P + 1,), never falling. Entry n is the majority among n votes that must be exceeded
        before a synapse is visited, in 1/16 vote.
    chance_per_vote: 1..65535, probability of a visit for each vote above that majority, in 1/65536.
    passes: 4 or 8 forward passes with unsure weights drawn anew; the error of a step is their mean.
    batch: 32, 64, ... 256 samples are kept until every input has counted their votes.
    """

    votes_needed: NDArray[np.uint16]
    chance_per_vote: int
    passes: int
    batch: int


@dataclass(frozen=True)
class Kept:
    """The last samples in which some unit of a graded layer voted, at most a batch; not every input has counted their votes.

    slot: 0..batch-1, the slot that the next sample takes.
    bits: bool (batch, P * K), the input bits of the sample in each slot.
    votes: int8 (batch, N), 1..3 votes up, -1..-3 votes down, 0 for a unit that does not vote; all 0 in an empty slot.
    """

    slot: int
    bits: NDArray[np.bool_]
    votes: NDArray[np.int8]


@dataclass(frozen=True)
class ConvGeometry:
    """Sizes of a convolution (docs/learning-rule.md, "Images").

    height, width, channels: of the incoming image, (H, W, C) with C fastest.
    kernel, stride: of the square kernel window, in pixels.
    same: the image is surrounded by +1 (bits: on; bytes: 255) so that stride 1 keeps its size. Otherwise there is no padding.
    pool: side of the squares whose bits are combined by OR; 1 is no pooling. An incomplete square is dropped.
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
        """Rows or columns of padding before and after an image side of `size` pixels."""
        total = max(0, (self.side(size) - 1) * self.stride + self.kernel - size) if self.same else 0
        return total // 2, total - total // 2

    @property
    def convolved(self) -> tuple[int, int]:
        """Height and width before pooling."""
        return self.side(self.height), self.side(self.width)

    @property
    def pooled(self) -> tuple[int, int]:
        """Height and width after pooling."""
        height, width = self.convolved
        return height // self.pool, width // self.pool

    @property
    def values(self) -> int:
        """Values of the incoming image, H * W * C."""
        return self.height * self.width * self.channels


@dataclass(frozen=True)
class Layer:
    """A layer with weights. Every layer is a `ConvLayer`, a `DenseLayer`, a `GradedLayer` or an `OutputLayer`, or one of
    `metabit.export.frozen_gates`.

    hidden: int8 (N, K), levels in [-2**(k-1), 2**(k-1) - 1]. The weight is +1 where the level is >= 0, else -1; only in a
        `LevelsLayer` and a `HeadLayer` the levels are the weights.
    bits: k, 1..8. A layer of 1 bit cannot learn.
    takes: the values that come in.
    """

    hidden: NDArray[np.int8]
    bits: int
    takes: Takes

    kind: ClassVar[Literal["conv", "dense", "graded", "output", "gates", "levels", "head", "triples"]]
    gives: ClassVar[Literal["signs", "grades", "levels", "values", "scores"]] = "signs"

    @property
    def rule(self) -> Rule | LevelsRule | None:
        """Learning parameters; None for a layer that does not learn."""
        return None

    @property
    def learns(self) -> bool:
        return self.rule is not None

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
    def values(self) -> int:
        """Number of values that come in."""
        return self.inputs

    @property
    def outputs(self) -> int:
        """Number of values that go out."""
        return self.units


@dataclass(frozen=True)
class ConvLayer(Layer):
    """A convolution of sign units. It never learns on the device. K = kernel * kernel * C, in the order (row, column, channel).

    takes: bits or bytes as the first layer, else signs.
    theta: int32 (N,), a unit gives +1 where its accumulator is >= theta, else -1.
    """

    theta: NDArray[np.int32]
    geometry: ConvGeometry

    kind = "conv"

    @property
    def values(self) -> int:
        return self.geometry.values

    @property
    def outputs(self) -> int:
        return math.prod(self.geometry.pooled) * self.units


@dataclass(frozen=True)
class DenseLayer(Layer):
    """A fully connected layer of sign units.

    takes: bits or bytes as the first layer, else signs. A layer that takes bytes never learns on the device.
    theta: int32 (N,), a unit gives +1 where its accumulator is >= theta, else -1.
    ste_window: 0..32767, an error passes a unit where |accumulator - theta| <= ste_window (straight-through estimator).
    ternary: errors go on to the layer below as signs drawn at random (docs/learning-rule.md, "Backward").
    """

    theta: NDArray[np.int32]
    ste_window: int = 0
    rule: Rule | None = None
    ternary: bool = False

    kind = "dense"


@dataclass(frozen=True)
class GradedLayer(Layer):
    """The layer of graded units, which learns by votes. Only the output may follow it, and no other layer learns beside it.

    takes: always bits. P * K bits come in, and bit ``p * K + j`` belongs to input j: the planes share their weights.
    theta: int32 (N,), subtracted twice from the doubled accumulator (docs/learning-rule.md, "Graded layer").
    low, high: 0 <= low < high <= 2047, in 1/256 of the layer's mean |V|. A unit's grade is 8 up to low and -8 from high on.
    planes: P, 1..8.
    kept: samples whose votes are still to be counted; None without one. Only a layer that learns keeps samples.
    """

    takes: Takes = field(default="bits", init=False)
    theta: NDArray[np.int32]
    low: int
    high: int
    planes: int
    rule: Votes | None = None
    kept: Kept | None = None

    kind = "graded"
    gives = "grades"

    @property
    def values(self) -> int:
        return self.planes * self.inputs


@dataclass(frozen=True)
class OutputLayer(Layer):
    """The last layer: one unit for each class.

    takes: grades after a graded layer, where it has 1 bit and does not learn; signs after any other; bits as the only layer.
    mul, add: int32 (N,), the score of a class is accumulator * mul + add.
    """

    mul: NDArray[np.int32]
    add: NDArray[np.int32]
    rule: Rule | None = None

    kind = "output"
    gives = "scores"
