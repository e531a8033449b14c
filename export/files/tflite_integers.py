"""Operators on int32 tensors in TFLite. FLOOR_DIV is the shift of signed integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.files.tflite_graph import Graph
from metabit.export.files.tflite_schema import ANY, Op


class Integers:
    """Operators on int32 tensors [n, width], each under a name of its own."""

    def __init__(self, graph: Graph, name: str, width: int) -> None:
        self.graph, self.name, self.shape = graph, name, [ANY, width]

    def apply(self, op: Op, a: int, b: int, name: str) -> int:
        return self.graph.apply(op, [a, b], f"{self.name}.{name}", self.shape)

    def number(self, value: int, name: str) -> int:
        return self.graph.subgraph.constant(f"{self.name}.{name}", np.array([value], np.int32))

    def array(self, name: str) -> int:
        """A stored array, as int32."""
        full = f"{self.name}.{name}"
        stored, old = self.graph.constant(full), self.graph.arrays[full].dtype.type
        return (
            stored
            if old is np.int32
            else self.graph.cast(stored, f"{full}.wide", [*self.graph.arrays[full].shape], old, np.int32)
        )

    def constant(self, value: NDArray[Any], name: str) -> int:
        return self.graph.subgraph.constant(f"{self.name}.{name}", value.astype(np.int32))

    def linear(self, x: int, mul: int, add: int, name: str) -> int:
        return self.apply(Op.ADD, self.apply(Op.MUL, x, mul, f"{name}.product"), add, name)

    def floor_clip(self, x: int, shift: int, most: int, name: str) -> int:
        """clip(x >> shift, -most, most)."""
        return self.clip(self.shifted(x, shift, f"{name}.steps"), -most, most, name)

    def shifted(self, x: int, shift: int, name: str) -> int:
        """x >> shift."""
        return self.apply(Op.FLOOR_DIV, x, self.number(2**shift, f"{name}.step"), name)

    def clip(self, x: int, least: int, most: int, name: str) -> int:
        below = self.apply(Op.MINIMUM, x, self.number(most, f"{name}.most"), f"{name}.below")
        return self.apply(Op.MAXIMUM, below, self.number(least, f"{name}.least"), name)

    def opposite(self, x: int, name: str) -> int:
        return self.apply(Op.MUL, x, self.number(-1, f"{name}.minus_one"), name)
