"""The part of a TFLite graph that every kind of layer shares."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from metabit.export.bits import SIGNS_OF_BYTE
from metabit.export.files.flatbuffer import Table
from metabit.export.files.interchange import Tensors
from metabit.export.files.tflite_schema import ABSENT, ANY, Op, Subgraph, Unit, type_number
from metabit.export.frozen import Layer


class Builder:
    """A subgraph that is built, operator by operator."""

    def __init__(self, subgraph: Subgraph) -> None:
        self.subgraph = subgraph

    def apply(
        self, op: Op, inputs: Sequence[int], name: str, shape: Sequence[int], dtype: type[np.generic] = np.int32,
        unit: Unit | None = None, options: Table | None = None,
    ) -> int:  # fmt: skip
        """The output of an operator, a tensor of this name, shape and dtype."""
        return self.subgraph.apply(op, inputs, self.subgraph.tensor(name, shape, dtype, unit=unit), options)

    def cast(
        self,
        x: int,
        name: str,
        shape: Sequence[int],
        old: type[np.generic],
        new: type[np.generic],
        unit: Unit | None = None,
    ) -> int:
        return self.apply(Op.CAST, [x], name, shape, new, unit, {0: type_number(old), 1: type_number(new)})


class Graph(Builder):
    """A subgraph that is built, and the arrays of its network by their names."""

    def __init__(self, subgraph: Subgraph, arrays: Tensors) -> None:
        super().__init__(subgraph)
        self.arrays = arrays

    @cached_property
    def signs_of_byte(self) -> int:
        """float32 [256, 8]."""
        return self.subgraph.constant("signs_of_byte", SIGNS_OF_BYTE.astype(np.float32))

    @cached_property
    def plus_and_minus(self) -> list[int]:
        numbers = {"plus": 1, "minus": -1}
        return [self.subgraph.constant(name, np.array([one], np.float32)) for name, one in numbers.items()]

    def accumulate(self, name: str, layer: Layer, signal: int, second: bool = False) -> int:
        """int32 sums [n, N] of weight times signal. second: the weights are the bits of the level plane below the signs."""
        units, octets = self.arrays[f"{name}.sign_plane"].shape
        plane = self.second_plane(name) if second else self.constant(f"{name}.sign_plane")
        name = f"{name}.second" if second else name
        weights = self.weights(name, plane, units, octets)
        padding = 8 * octets - layer.inputs
        if padding:  # rows end in whole bytes: the padding, looked up as -1, is multiplied by zeros
            end = self.subgraph.constant(f"{name}.padding", np.array([[0, 0], [0, padding]], np.int32))
            signal = self.apply(Op.PAD, [signal, end], f"{name}.padded", [ANY, 8 * octets], np.float32)
        return self.products(name, signal, weights, units)

    def products(self, name: str, signal: int, weights: int, units: int) -> int:
        """int32 [n, N], sums of products of float32 [n, K] and [N, K]."""
        sums = self.apply(Op.FULLY_CONNECTED, [signal, weights, ABSENT], f"{name}.sums", [ANY, units], np.float32)
        return self.cast(sums, f"{name}.integer_sums", [ANY, units], np.float32, np.int32)

    def weights(self, name: str, plane: int, units: int, octets: int) -> int:
        """float32 [N, 8 * ceil(K / 8)] of +1 / -1, from a plane uint8 [N, ceil(K / 8)]."""
        index = self.cast(plane, f"{name}.index", [units, octets], np.uint8, np.int32)
        looked_up = self.subgraph.tensor(f"{name}.octets", [units, octets, 8], np.float32)
        self.subgraph.apply(Op.GATHER, [self.signs_of_byte, index], looked_up)
        return self.reshape(looked_up, f"{name}.weights", [units, 8 * octets], np.float32)

    def second_plane(self, name: str) -> int:
        """uint8 [N, ceil(K / 8)], the highest level plane below the sign plane."""
        constant, (planes, *shape) = self.subgraph.constant, self.arrays[f"{name}.hidden_planes"].shape
        begin = constant(f"{name}.second.begin", np.array([planes - 1, 0, 0], np.int32))
        size = constant(f"{name}.second.size", np.array([1, *shape], np.int32))
        found = self.subgraph.tensor(f"{name}.second.plane", [1, *shape], np.uint8)
        self.subgraph.apply(Op.SLICE, [self.constant(f"{name}.hidden_planes"), begin, size], found)
        return self.reshape(found, f"{name}.second_plane", shape, np.uint8)

    def label(self, scores: int) -> int:
        """int32 [n], the first index of the largest score."""
        axis = self.subgraph.constant("class_axis", np.array(1, np.int32))
        return self.apply(Op.ARG_MAX, [scores, axis], "label", [ANY], options={0: type_number(np.int32)})

    def plus_one(self, x: int, name: str, shape: list[int]) -> int:
        """float32 x + 1."""
        one = self.subgraph.constant(f"{name}.one", np.array([1], np.float32))
        return self.apply(Op.ADD, [x, one], name, shape, np.float32)

    def constant(self, name: str) -> int:
        return self.subgraph.constant(name, self.arrays[name])

    def signs(self, positive: int, name: str, shape: list[int]) -> int:
        output = self.subgraph.tensor(name, [ANY, *shape], np.float32)
        return self.subgraph.apply(Op.SELECT_V2, [positive, *self.plus_and_minus], output)

    def reshape(self, x: int, name: str, shape: list[int], dtype: type[np.generic]) -> int:
        to = self.subgraph.constant(f"{name}.shape", np.array(shape, np.int32))
        return self.apply(Op.RESHAPE, [x, to], name, shape, dtype)
