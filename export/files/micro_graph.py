"""Parts of model.micro.tflite that every kind of layer has: integer tensors of one sample, and operators of TFLite Micro on them.

TFLite Micro has no shift, no sum over int32 and no largest int32, and its FULLY_CONNECTED returns int8 or int16 as it was given.
The methods make these of what it has, so that every integer is the oracle's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.files.tflite_graph import Builder
from metabit.export.files.tflite_schema import ABSENT, Op, Unit, type_number
from metabit.export.frozen import Frozen, Layer

ONES: Unit = (1.0, 0)
"""Unit of a tensor whose integers are the values themselves."""
MOST = 32767
"""Largest sum that FULLY_CONNECTED on int16 returns; a larger one would be limited to it."""


@dataclass(frozen=True)
class Signal:
    """An int8 tensor [1, width] between layers: a value is ``base + integer - zero``, and its unit in the file is (scale, zero).

    TFLite pads a convolution with the integer `zero`, so with the value `base`.
    """

    tensor: int
    width: int
    scale: float
    zero: int
    base: int

    @property
    def unit(self) -> Unit:
        return self.scale, self.zero

    def moved(self, tensor: int, width: int) -> Signal:
        return Signal(tensor, width, self.scale, self.zero, self.base)


class MicroGraph(Builder):
    """A subgraph that is built. Constants of equal content are one tensor."""

    def constant(self, value: NDArray[Any], unit: Unit | None = None) -> int:
        return self.subgraph.shared(value, unit)

    def reshape(
        self, x: int, name: str, shape: Sequence[int], dtype: type[np.generic], unit: Unit | None = None
    ) -> int:
        return self.apply(Op.RESHAPE, [x, self.constant(np.array(shape, np.int32))], name, shape, dtype, unit)

    def slice(
        self,
        x: int,
        name: str,
        begin: Sequence[int],
        shape: Sequence[int],
        dtype: type[np.generic] = np.int32,
        unit: Unit | None = None,
    ) -> int:
        ends = [self.constant(np.array(side, np.int32)) for side in (begin, shape)]
        return self.apply(Op.SLICE, [x, *ends], name, shape, dtype, unit)

    def each(self, op: Op, x: int, other: int | NDArray[Any], name: str, width: int) -> int:
        """int32 [1, width], op(x, other) of each element. other: a tensor, or numbers for each or for all."""
        return self.apply(op, [x, other if isinstance(other, int) else self.numbers(other)], name, [1, width])

    def numbers(self, value: NDArray[Any] | int) -> int:
        """An int32 constant [1, ...], one number where all are equal."""
        wide = np.atleast_1d(np.asarray(value, np.int64))
        return self.constant((wide[:1] if (wide == wide[0]).all() else wide[None]).astype(np.int32))

    def linear(self, x: int, mul: NDArray[Any], add: NDArray[Any], name: str, width: int) -> int:
        """int32 x * mul + add. The network's checks keep both below 2^31."""
        return self.each(Op.ADD, self.each(Op.MUL, x, mul, f"{name}.product", width), add, name, width)

    def within(self, x: int, low: NDArray[Any], high: NDArray[Any], name: str, width: int) -> int:
        """int32 clip(x, low, high)."""
        return self.each(Op.MAXIMUM, self.each(Op.MINIMUM, x, high, f"{name}.high", width), low, name, width)

    def floor_clip(
        self, x: int, shift: int, low: NDArray[Any] | int, high: NDArray[Any] | int, name: str, width: int
    ) -> int:
        """int32 clip(x >> shift, low, high). (max(high) - min(low) + 1) << shift must be below 2^31.

        DIV rounds toward 0, so the limits come first, then a multiple of 2^shift that leaves no negative number.
        """
        bottom, top = np.asarray(low, np.int64), np.asarray(high, np.int64)
        least = int(bottom.min())
        limited = self.within(x, bottom << shift, (top << shift) + (1 << shift) - 1, f"{name}.limited", width)
        lifted = self.each(Op.ADD, limited, np.array(-least << shift), f"{name}.lifted", width)
        steps = self.each(Op.DIV, lifted, np.array(1 << shift), f"{name}.steps", width)
        return self.each(Op.ADD, steps, np.array(least), name, width)

    def fold(self, op: Op, x: int, width: int, name: str) -> int:
        """int32 [1, width] -> [1, 1], all elements joined by ADD or MAXIMUM, in log2(width) rounds of halves."""
        odd: list[int] = []  # an element that a round of ADD left over
        while width > 1:
            half, left = width // 2, width % 2
            if left and op is Op.MAXIMUM:  # the halves overlap: an element may take part twice
                half, left = half + 1, 0
            first = self.slice(x, f"{name}{width}.first", [0, 0], [1, half])
            second = self.slice(x, f"{name}{width}.second", [0, width - left - half], [1, half])
            if left:
                odd.append(self.slice(x, f"{name}{width}.left", [0, width - 1], [1, 1]))
            x, width = self.apply(op, [first, second], f"{name}{width}", [1, half]), half
        for i, more in enumerate(odd):
            x = self.apply(op, [x, more], f"{name}.odd{i}", [1, 1])
        return x

    def products(self, x: int, weights: NDArray[np.int8], most: int, name: str) -> int:
        """int32 [1, N], sums of weights int8 (N, K) times int32 [1, K] of magnitudes up to `most`.

        FULLY_CONNECTED on int16 is exact up to 32767, so the columns are cut where a row's sum could exceed it.
        """
        units, inputs = weights.shape
        short = self.cast(x, f"{name}.int16", [1, inputs], np.int32, np.int16, ONES)
        sums = None
        for begin, end in _parts(weights, most):
            part, at = short, f"{name}.{begin}"
            if end - begin < inputs:
                part = self.slice(short, f"{at}.inputs", [0, begin], [1, end - begin], np.int16, ONES)
            found = self.connected(part, weights[:, begin:end], None, at)
            sums = found if sums is None else self.each(Op.ADD, sums, found, f"{at}.together", units)
        assert sums is not None
        return sums

    def connected(self, x: int, weights: NDArray[np.int8], bias: NDArray[Any] | None, name: str) -> int:
        """int32 [1, N], FULLY_CONNECTED of int16 [1, K] and weights int8 (N, K) plus a bias."""
        units = len(weights)
        inputs = [x, self.constant(np.ascontiguousarray(weights), ONES)]
        inputs.append(ABSENT if bias is None or not bias.any() else self.constant(bias.astype(np.int64), ONES))
        sums = self.apply(Op.FULLY_CONNECTED, inputs, f"{name}.sums16", [1, units], np.int16, ONES)
        return self.cast(sums, f"{name}.sums", [1, units], np.int16, np.int32)

    def features(self, frozen: Frozen) -> int:
        """The input tensor of uint8 features, stored minus 128, or of int16 features."""
        if frozen.integers == "int16":
            return self.subgraph.tensor("features", [1, frozen.features], np.int16, unit=ONES)
        return self.subgraph.tensor("features", [1, frozen.features], np.int8, unit=(1.0, -128))

    def accumulators(self, name: str, layer: Layer, signal: Signal) -> int:
        """int32 [1, N], sums of weights +1 or -1 times signs or bits: at most 16384, so int16 holds them."""
        short = self.cast(signal.tensor, f"{name}.int16", [1, signal.width], np.int8, np.int16, ONES)
        weights = layer.weights
        return self.connected(short, weights, (signal.base - signal.zero) * weights.astype(np.int64).sum(1), name)

    def answer(self, scores: int, classes: int) -> tuple[int, int]:
        """The scores int32 [1, classes] and the first index of the largest, int32 [1].

        ARG_MAX takes no int32, and float32 would round: the largest score is found first, then the first that equals it.
        """
        largest = self.fold(Op.MAXIMUM, scores, classes, "largest")
        equal = self.apply(Op.EQUAL, [scores, largest], "is_largest", [1, classes], np.bool_)
        found = self.cast(equal, "found", [1, classes], np.bool_, np.int8, ONES)
        axis = self.constant(np.array([1], np.int32))
        return scores, self.apply(Op.ARG_MAX, [found, axis], "label", [1], np.int32, None, {0: type_number(np.int32)})


def _parts(weights: NDArray[np.int8], most: int) -> list[tuple[int, int]]:
    """The fewest runs of columns whose sums of magnitudes times `most` stay within int16 in every row."""
    sizes = np.abs(weights.astype(np.int64)) * most
    parts, begin, total = [], 0, np.zeros(len(weights), np.int64)
    for column in range(weights.shape[1]):
        total = total + sizes[:, column]
        if total.max() > MOST:
            parts.append((begin, column))
            begin, total = column, sizes[:, column]
    return [*parts, (begin, weights.shape[1])]
