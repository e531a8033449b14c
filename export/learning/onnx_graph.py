"""Integer expressions as ONNX nodes: what a rule of docs/learning-rule.md says with +, *, >> and where becomes a graph.

Only operators of opset 18 whose kernels onnxruntime 1.18 has: int64 and int32 arithmetic, comparisons, Gather, Scan, Loop, If. A
shift right by s is (x - x mod 2^s) / 2^s, with the remainder by BitwiseAnd, so it is the floor for negative numbers too, and exact
for every int64. `//` truncates like ONNX Div: its operands must not be negative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from metabit.export.errors import require

Shape = Sequence[int | str] | None
_SMALL = (np.uint8, np.int8, np.int16, np.int32)


class Value:
    """A tensor of the graph: its name, its dtype, and its shape where a runtime must be told.

    A Python number or an array beside it becomes a constant of its dtype.
    """

    __slots__ = ("graph", "name", "dtype", "shape")

    def __init__(self, graph: Graph, name: str, dtype: DTypeLike, shape: Shape = None) -> None:
        self.graph, self.name, self.dtype, self.shape = graph, name, np.dtype(dtype), shape

    def _with(self, kind: str, other: Operand, dtype: DTypeLike | None = None, swap: bool = False) -> Value:
        pair = (self, self.graph.like(self, other))
        return self.graph.op(kind, *(pair[::-1] if swap else pair), dtype=dtype or self.dtype)

    def __add__(self, other: Operand) -> Value:
        return self._with("Add", other)

    __radd__ = __add__

    def __sub__(self, other: Operand) -> Value:
        return self._with("Sub", other)

    def __rsub__(self, other: Operand) -> Value:
        return self._with("Sub", other, swap=True)

    def __mul__(self, other: Operand) -> Value:
        return self._with("Mul", other)

    __rmul__ = __mul__

    def __floordiv__(self, other: Operand) -> Value:
        return self._with("Div", other)

    def __rfloordiv__(self, other: Operand) -> Value:
        return self._with("Div", other, swap=True)

    def __neg__(self) -> Value:
        return self.graph.op("Neg", self)

    def __and__(self, other: Operand) -> Value:
        return self._with("And" if self.dtype == np.bool_ else "BitwiseAnd", other)

    def __or__(self, other: Operand) -> Value:
        return self._with("Or" if self.dtype == np.bool_ else "BitwiseOr", other)

    def __invert__(self) -> Value:
        return self.graph.op("Not", self)

    def __rshift__(self, places: int) -> Value:
        """The floor of self / 2^places."""
        return (self - (self & ((1 << places) - 1))) // (1 << places)

    def __lt__(self, other: Operand) -> Value:
        return self._with("Less", other, np.bool_)

    def __gt__(self, other: Operand) -> Value:
        return self._with("Greater", other, np.bool_)

    def __ge__(self, other: Operand) -> Value:
        return self._with("GreaterOrEqual", other, np.bool_)

    def equals(self, other: Operand) -> Value:
        return self._with("Equal", other, np.bool_)

    def at_least(self, other: Operand) -> Value:
        """The larger of both, elementwise."""
        return self._with("Max", other)

    def at_most(self, other: Operand) -> Value:
        """The smaller of both, elementwise."""
        return self._with("Min", other)

    def clip(self, low: Operand, high: Operand) -> Value:
        return self.at_least(low).at_most(high)

    def abs(self) -> Value:
        return self.graph.op("Abs", self)

    def sign(self) -> Value:
        return self.graph.op("Sign", self)

    def cast(self, dtype: DTypeLike) -> Value:
        if self.dtype == np.dtype(dtype):
            return self
        return self.graph.op("Cast", self, dtype=dtype, to=self.graph.type_of(dtype))

    def __matmul__(self, other: Value) -> Value:
        return self.graph.op("MatMul", self, other)

    def sum(self, axis: int, keep: bool = False) -> Value:
        return self._reduced("ReduceSum", axis, keep)

    def max(self, axis: int, keep: bool = False) -> Value:
        return self._reduced("ReduceMax", axis, keep)

    def _reduced(self, kind: str, axis: int, keep: bool) -> Value:
        return self.graph.op(kind, self, self.graph.constant([axis]), keepdims=int(keep))

    def argmax(self) -> Value:
        """int64 (), the lowest index of the largest entry of a vector of int32."""
        return self.graph.op("ArgMax", self, dtype=np.int64, axis=0, keepdims=0)

    def take(self, index: Operand, axis: int = 0) -> Value:
        """The entries, rows or columns at these int64 indices."""
        return self.graph.op("Gather", self, self.graph.int64(index), axis=axis)

    def slice(self, begin: Operand, end: Operand, axis: int = 0) -> Value:
        graph = self.graph
        ends = (graph.int64(end).reshape(1), graph.constant([axis]))
        return graph.op("Slice", self, graph.int64(begin).reshape(1), *ends)

    def reshape(self, *shape: int) -> Value:
        """0 keeps the size that is there, -1 follows from the others; no size gives a scalar."""
        return self.graph.op("Reshape", self, self.graph.constant(np.array(shape, np.int64)))

    def transpose(self, *order: int) -> Value:
        return self.graph.op("Transpose", self, perm=list(order))

    def cumsum(self, exclusive: bool = False) -> Value:
        """Sums of a vector up to each entry, without it if exclusive."""
        return self.graph.op("CumSum", self, self.graph.constant(0), exclusive=int(exclusive))

    def length(self) -> Value:
        """int64 (), the size of the first axis."""
        return self.graph.op("Shape", self, dtype=np.int64, start=0, end=1).reshape()


Operand = Value | int | NDArray[Any] | list[int]
Values = Sequence[Value]


class Graph:
    """Collects the nodes and constants of a model. The bodies of loops see every value that was made before them.

    arrays: the network's, by name. ``used``: names of those that a node reads.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.helper = require("onnx.helper")
        self.arrays, self.used = arrays, set[str]()
        self.nodes: list[Any] = []
        self.first: list[Any] = []  # before all others
        self.constants: dict[str, NDArray[Any]] = {}
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._made = 0

    def type_of(self, dtype: DTypeLike) -> int:
        return int(self.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def new(self, dtype: DTypeLike, shape: Shape = None) -> Value:
        """A value with a name that no other has."""
        self._made += 1
        return Value(self, f"v{self._made}", dtype, shape)

    def constant(self, array: Any, dtype: DTypeLike = np.int64) -> Value:
        """A constant, int64 unless told otherwise; equal ones are stored once, in the smallest integers that hold them."""
        data = np.array(array, dtype)
        key = (data.dtype.str, data.shape, data.tobytes())
        if key not in self._names:
            small = (d for d in _SMALL if np.iinfo(d).min <= data.min() and data.max() <= np.iinfo(d).max)
            stored = data.astype(next(small, data.dtype)) if data.size > 8 and data.itemsize > 1 else data
            name = f"constant{len(self.constants)}"
            self.constants[name] = stored
            self._names[key] = name
            if stored.dtype != data.dtype:
                wide = self._names[key] = f"{name}.wide"
                self.first.append(self.helper.make_node("Cast", [name], [wide], to=self.type_of(data.dtype)))
        return Value(self, self._names[key], data.dtype)

    def named(self, name: str) -> Value:
        """An array of the network or of its state, which `arrays` holds."""
        self.used.add(name)
        return Value(self, name, self.arrays[name].dtype, self.arrays[name].shape)

    def like(self, value: Value, other: Operand) -> Value:
        return other if isinstance(other, Value) else self.constant(other, value.dtype)

    def int64(self, operand: Operand) -> Value:
        return operand if isinstance(operand, Value) else self.constant(operand)

    def op(self, kind: str, *inputs: Value, dtype: DTypeLike | None = None, **attributes: Any) -> Value:
        """A node of one output, whose dtype is that of the first input unless told otherwise."""
        result = self.new(dtype or inputs[0].dtype)
        self._node(kind, inputs, [result], attributes)
        return result

    def _node(self, kind: str, inputs: Values, outputs: Values, attributes: dict[str, Any]) -> None:
        names = [[value.name for value in values] for values in (inputs, outputs)]
        # Each node has a name: onnxruntime 1.18 makes names of its own from them, which must differ.
        self.nodes.append(self.helper.make_node(kind, *names, name=f"{outputs[0].name}.{kind}", **attributes))

    def where(self, condition: Value, yes: Value, no: Operand) -> Value:
        return self.op("Where", condition, yes, self.like(yes, no), dtype=yes.dtype)

    def numbers(self, count: Operand) -> Value:
        """int64 0, 1, .. count - 1."""
        return self.op("Range", self.constant(0), self.int64(count), self.constant(1))

    def concat(self, *values: Value, axis: int = 0) -> Value:
        return self.op("Concat", *values, axis=axis)

    def scan(
        self, state: Value, shape: Sequence[int], given: Values, body: Callable[[Value, list[Value]], Value]
    ) -> Value:
        """Runs body(state, row of each of `given`) -> next state, of this shape, for each row: the last state."""
        start, rows = self.new(state.dtype), [self.new(value.dtype) for value in given]
        graph, (last,) = self._body([start, *rows], lambda: [body(start, rows)], "each_row", shape)
        result = self.new(last.dtype)
        self._node("Scan", [state, *given], [result], {"body": graph, "num_scan_inputs": len(given)})
        return result

    def loop(
        self, count: Value, state: Values, body: Callable[[Value, list[Value]], tuple[Values, Values]]
    ) -> tuple[list[Value], list[Value]]:
        """Runs body(round, state) -> (next state, outputs) `count` times: the last state, and the outputs stacked."""
        go_on = self.constant(True, np.bool_)
        taken = [self.new(np.int64, ()), self.new(np.bool_, ()), *(self.new(value.dtype) for value in state)]

        def rounds() -> Values:
            after, outputs = body(taken[0], taken[2:])
            return [taken[1], *after, *outputs]

        graph, gives = self._body(taken, rounds, "each_round")
        results = [self.new(value.dtype) for value in gives[1:]]
        self._node("Loop", [count, go_on, *state], results, {"body": graph})
        return results[: len(state)], results[len(state) :]

    def choose(self, condition: Value, yes: Callable[[], Values], no: Callable[[], Values]) -> list[Value]:
        """The values of yes() where the condition, a bool (), holds, else those of no(); only one of them is computed."""
        then, gives = self._body([], yes, "yes")
        other, _ = self._body([], no, "no")
        outputs = [self.new(value.dtype) for value in gives]
        self._node("If", [condition], outputs, {"then_branch": then, "else_branch": other})
        return outputs

    def _body(
        self, taken: Values, make: Callable[[], Values], name: str, shape: Shape = None
    ) -> tuple[Any, list[Value]]:
        """A graph inside a node, and what it gives, of this shape. Each output is a value of its own, as ONNX wants it."""
        outside, self.nodes = self.nodes, []
        gives = [self.op("Identity", value) for value in make()]
        inside, self.nodes = self.nodes, outside
        for value in gives:
            value.shape = shape
        return self.helper.make_graph(inside, name, self.infos(taken), self.infos(gives)), gives

    def output(self, name: str, value: Value, shape: Shape) -> Value:
        """The value under a name of its own."""
        result = Value(self, name, value.dtype, shape)
        self._node("Identity", [value], [result], {})
        return result

    def infos(self, values: Values) -> list[Any]:
        """Names, dtypes and shapes as a graph lists its inputs or outputs."""
        make = self.helper.make_tensor_value_info
        return [make(value.name, self.type_of(value.dtype), value.shape) for value in values]
