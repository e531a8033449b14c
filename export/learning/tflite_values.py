"""Integers of a TFLite graph as Python expressions, so that a learning rule reads as it does in docs/learning-rule.md.

A `Code` appends operators to one subgraph, and a `Value` is one of its tensors: ``(a * b + z) >> 16`` appends three operators.
Values are int32 unless they are named otherwise, and products wrap as they do in int32, so each rule proves that its own fit.
Numbers become constants. Shapes are known, and follow NumPy's broadcasting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.files.flatbuffer import Value as Option
from metabit.export.files.tflite_schema import Op, Subgraph, type_number

Shape = tuple[int, ...]
DType = type[np.generic]


class Code:
    """Appends operators to a subgraph."""

    def __init__(self, subgraph: Subgraph) -> None:
        self.subgraph = subgraph
        self._made = 0

    def new(self, shape: Shape, dtype: DType) -> Value:
        self._made += 1
        return Value(self, self.subgraph.tensor(f"v{self._made}", shape, dtype), shape, dtype)

    def input(self, name: str, shape: Shape, dtype: DType) -> Value:
        return Value(self, self.subgraph.tensor(name, shape, dtype), shape, dtype)

    def known(self, name: str, shape: Shape, dtype: DType = np.int32) -> Value:
        """The tensor that another builder made in this subgraph, as one of this shape."""
        return Value(self, self.subgraph.named(name), shape, dtype)

    def named(self, name: str, value: Value) -> Value:
        """The value as a tensor of this name, for a signature."""
        result = self.input(name, value.shape, value.dtype)
        self.subgraph.apply(Op.RESHAPE, [value.index, self.table(value.shape).index], result.index)
        return result

    def array(self, values: NDArray[Any]) -> Value:
        """A constant, in the dtype that it has; equal ones are one tensor."""
        return Value(self, self.subgraph.shared(values), values.shape, values.dtype.type)

    def table(self, values: Sequence[int] | NDArray[Any]) -> Value:
        """A constant, as int32."""
        return self.array(np.asarray(values, np.int32))

    def number(self, value: int) -> Value:
        """A constant, int32 (1,)."""
        return self.table([value])

    def value(self, given: Value | int) -> Value:
        return given if isinstance(given, Value) else self.number(given)

    def apply(self, op: Op, inputs: Sequence[Value], shape: Shape, dtype: DType = np.int32,
              options: dict[int, Option] | None = None) -> Value:  # fmt: skip
        result = self.new(shape, dtype)
        self.subgraph.apply(op, [one.index for one in inputs], result.index, options)
        return result

    def where(self, condition: Value, a: Value | int, b: Value | int) -> Value:
        a, b = self.value(a), self.value(b)
        shape = np.broadcast_shapes(condition.shape, a.shape, b.shape)
        return self.apply(Op.SELECT_V2, [condition, a, b], shape, a.dtype)

    def join(self, parts: Sequence[Value], axis: int = 0) -> Value:
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        return self.apply(Op.CONCATENATION, parts, tuple(shape), parts[0].dtype, {0: np.int32(axis)})

    def scatter(self, at: Value, values: Value, size: int) -> Value:
        """int32 (size,), the sums of the values (n,) that belong at each place; at: (n,)."""
        count = at.shape[0]
        return self.apply(Op.SCATTER_ND, [at.reshape(count, 1), values.spread(count), self.number(size)], (size,))

    def read(self, name: str, shape: Shape, dtype: DType) -> Value:
        """The variable of this name as it is now."""
        result = self.new(shape, dtype)
        self.subgraph.apply(Op.READ_VARIABLE, [self.subgraph.handle(name)], result.index)
        return result

    def assign(self, name: str, value: Value) -> None:
        self.subgraph.run(Op.ASSIGN_VARIABLE, [self.subgraph.handle(name), value.index], [])

    def loop(self, before: Sequence[Value], condition: Code, body: Code) -> list[Value]:
        """The values after the last pass: `condition` and `body` are closed, and take as many values as are given."""
        after = [self.new(value.shape, value.dtype) for value in before]
        index = self.subgraph.model.index
        options: dict[int, Option] = {0: np.int32(index(condition.subgraph)), 1: np.int32(index(body.subgraph))}
        self.subgraph.run(Op.WHILE, [one.index for one in before], [one.index for one in after], options)
        return after

    def close(self, inputs: Sequence[Value], outputs: Sequence[Value]) -> None:
        self.subgraph.inputs, self.subgraph.outputs = [i.index for i in inputs], [o.index for o in outputs]


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor. Operators take values and numbers."""

    code: Code
    index: int
    shape: Shape
    dtype: DType = np.int32

    def __add__(self, other: Value | int) -> Value:
        return self._with(Op.ADD, other)

    def __sub__(self, other: Value | int) -> Value:
        return self._with(Op.SUB, other)

    def __rsub__(self, other: int) -> Value:
        return self.code.number(other) - self

    def __mul__(self, other: Value | int) -> Value:
        return self._with(Op.MUL, other)

    def __floordiv__(self, other: Value | int) -> Value:
        """The floor of the quotient."""
        return self._with(Op.FLOOR_DIV, other)

    def __mod__(self, other: Value | int) -> Value:
        """The remainder of the floor: never negative for a positive divisor."""
        return self._with(Op.FLOOR_MOD, other)

    def __rshift__(self, other: Value | int) -> Value:
        """The floor of the value divided by 2 to the other."""
        return self._with(Op.RIGHT_SHIFT, other)

    def __xor__(self, other: Value | int) -> Value:
        return self._with(Op.BITWISE_XOR, other)

    def __ge__(self, other: Value | int) -> Value:
        return self._with(Op.GREATER_EQUAL, other, np.bool_)

    def __gt__(self, other: Value | int) -> Value:
        return self._with(Op.GREATER, other, np.bool_)

    def equals(self, other: Value | int) -> Value:
        return self._with(Op.EQUAL, other, np.bool_)

    def __and__(self, other: Value) -> Value:
        return self._with(Op.LOGICAL_AND, other, np.bool_)

    def __or__(self, other: Value) -> Value:
        return self._with(Op.LOGICAL_OR, other, np.bool_)

    def __invert__(self) -> Value:
        return self.code.apply(Op.LOGICAL_NOT, [self], self.shape, np.bool_)

    def at_most(self, other: Value | int) -> Value:
        """The lesser of both, at each place."""
        return self._with(Op.MINIMUM, other)

    def at_least(self, other: Value | int) -> Value:
        """The greater of both, at each place."""
        return self._with(Op.MAXIMUM, other)

    def clip(self, low: int, high: int) -> Value:
        return self.at_most(high).at_least(low)

    def abs(self) -> Value:
        return self.at_least(0 - self)

    def cast(self, dtype: DType) -> Value:
        if dtype is self.dtype:
            return self
        options: dict[int, Option] = {0: type_number(self.dtype), 1: type_number(dtype)}
        return self.code.apply(Op.CAST, [self], self.shape, dtype, options)

    def wide(self) -> Value:
        """As int32; 0 and 1 for false and true."""
        return self.cast(np.int32)

    def reshape(self, *shape: int) -> Value:
        """One -1 takes what is left."""
        if -1 in shape:
            left = math.prod(self.shape) // math.prod(size for size in shape if size != -1)
            shape = tuple(left if size == -1 else size for size in shape)
        return self.code.apply(Op.RESHAPE, [self, self.code.table(shape)], shape, self.dtype)

    def transpose(self) -> Value:
        """The transpose of a matrix."""
        shape = self.shape[::-1]
        return self.code.apply(Op.TRANSPOSE, [self, self.code.table([1, 0])], shape, self.dtype)

    def spread(self, count: int) -> Value:
        """As (count,): a single number is repeated."""
        return self if self.shape == (count,) else self + self.code.table(np.zeros(count))

    def take(self, at: Value | int) -> Value:
        """The entries, or rows, at these places of the first axis."""
        at = self.code.value(at)
        return self.code.apply(Op.GATHER, [self, at], (*at.shape, *self.shape[1:]), self.dtype)

    def cut(self, begin: Sequence[int], size: Sequence[int]) -> Value:
        where = [self.code.table(begin), self.code.table(size)]
        return self.code.apply(Op.SLICE, [self, *where], tuple(size), self.dtype)

    def sum(self, axis: int = 0) -> Value:
        """Sums along an axis; of a row they are (1,)."""
        return self._along(Op.SUM, axis)

    def max(self, axis: int = 0) -> Value:
        return self._along(Op.REDUCE_MAX, axis)

    def argmax(self) -> Value:
        """(1,), the first place in a row (n,) that holds its highest number."""
        row = self.reshape(1, *self.shape)
        axis = self.code.array(np.array(1, np.int32))
        return self.code.apply(Op.ARG_MAX, [row, axis], (1,), options={0: type_number(np.int32)})

    def cumsum(self, exclusive: bool = False) -> Value:
        """Sums of a row up to each place, with it or without."""
        axis = self.code.array(np.array(0, np.int32))
        return self.code.apply(Op.CUMSUM, [self, axis], self.shape, options={0: np.int8(exclusive)})

    def halves(self, axis: int) -> tuple[Value, Value]:
        shape = tuple(size // 2 if i == axis else size for i, size in enumerate(self.shape))
        parts = self.code.new(shape, self.dtype), self.code.new(shape, self.dtype)
        inputs = [self.code.array(np.array(axis, np.int32)).index, self.index]
        self.code.subgraph.run(Op.SPLIT, inputs, [part.index for part in parts], {0: np.int32(2)})
        return parts

    def _with(self, op: Op, other: Value | int, dtype: DType = np.int32) -> Value:
        other = self.code.value(other)
        return self.code.apply(op, [self, other], np.broadcast_shapes(self.shape, other.shape), dtype)

    def _along(self, op: Op, axis: int) -> Value:
        shape = tuple(size for i, size in enumerate(self.shape) if i != axis)
        keep = not shape
        options: dict[int, Option] = {0: np.int8(keep)}
        return self.code.apply(op, [self, self.code.table([axis])], shape or (1,), options=options)
