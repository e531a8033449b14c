"""Gates, output levels and the head in TFLite's operators (docs/learning-rule.md, "Gates" and "The head").

Sums of products are exact in float32: below 2^21. Everything else is int32; FLOOR_DIV is the shift of signed integers.
"""

from __future__ import annotations

import numpy as np

from metabit.export.files.tflite_graph import Graph
from metabit.export.files.tflite_schema import ABSENT, ANY, Op, type_number
from metabit.export.frozen import Frozen, GatesLayer, HeadLayer, LevelsLayer
from metabit.export.oracle.gates import GateLayer
from metabit.export.oracle.head import UNKNOWN


class _Integers:
    """Operators on int32 tensors [n, width], each under a name of its own."""

    def __init__(self, graph: Graph, name: str, width: int) -> None:
        self.graph, self.name, self.shape = graph, name, [ANY, width]

    def apply(self, op: Op, a: int, b: int, name: str) -> int:
        target = self.graph.subgraph.tensor(f"{self.name}.{name}", self.shape, np.int32)
        return self.graph.subgraph.apply(op, [a, b], target)

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

    def linear(self, x: int, mul: int, add: int, name: str) -> int:
        return self.apply(Op.ADD, self.apply(Op.MUL, x, mul, f"{name}.product"), add, name)

    def floor_clip(self, x: int, shift: int, most: int, name: str) -> int:
        """clip(x >> shift, -most, most)."""
        steps = self.apply(Op.FLOOR_DIV, x, self.number(2**shift, f"{name}.step"), f"{name}.steps")
        high = self.apply(Op.MINIMUM, steps, self.number(most, f"{name}.most"), f"{name}.high")
        return self.apply(Op.MAXIMUM, high, self.number(-most, f"{name}.least"), name)


def network(graph: Graph, frozen: Frozen, signal: int) -> tuple[int, int]:
    """Scores and label from the bits."""
    first, last = frozen.layers
    assert isinstance(first, GatesLayer)
    sums, at = graph.accumulate("layer0", first, signal), _Integers(graph, "layer0", first.units)
    place = at.linear(sums, at.array("mul"), at.array("add"), "place")
    opposite = at.apply(Op.MUL, place, at.number(-1, "minus_one"), "opposite")
    below = at.apply(Op.MINIMUM, place, opposite, "minus_distance")
    left = at.apply(
        Op.ADD, below, at.number(GateLayer(first.inputs, first.mul, first.add, first.shift).top, "top"), "left"
    )
    levels = at.floor_clip(left, first.shift, 8, "levels")
    if isinstance(last, LevelsLayer):
        scores = _level_scores(graph, last, levels)
    else:
        assert isinstance(last, HeadLayer)
        scores = _head_scores(graph, last, sums, levels)
    axis = graph.subgraph.constant("class_axis", np.array(1, np.int32))
    label = graph.subgraph.tensor("label", [ANY], np.int32)
    graph.subgraph.apply(Op.ARG_MAX, [scores, axis], label, {0: type_number(np.int32)})
    return scores, label


def _products(graph: Graph, x: int, width: int, weights: int, units: int, name: str) -> int:
    """int32 [n, units], sums of products of int32 [n, width] and float32 weights [units, width]."""
    given = graph.cast(x, f"{name}.given", [ANY, width], np.int32, np.float32)
    sums = graph.subgraph.tensor(f"{name}.float_sums", [ANY, units], np.float32)
    graph.subgraph.apply(Op.FULLY_CONNECTED, [given, weights, ABSENT], sums)
    return graph.cast(sums, f"{name}.sums", [ANY, units], np.float32, np.int32)


def _level_scores(graph: Graph, layer: LevelsLayer, levels: int) -> int:
    apply, tensor, constant = graph.subgraph.apply, graph.subgraph.tensor, graph.subgraph.constant
    classes, units = layer.units, layer.inputs
    stored = graph.cast(graph.constant("layer1.levels"), "layer1.whole", [classes, units + 1], np.int8, np.float32)

    def columns(name: str, begin: int, count: int) -> int:
        start = constant(f"{name}.begin", np.array([0, begin], np.int32))
        size = constant(f"{name}.size", np.array([classes, count], np.int32))
        return apply(Op.SLICE, [stored, start, size], tensor(name, [classes, count], np.float32))

    sums = _products(graph, levels, units, columns("layer1.weights", 0, units), classes, "layer1")
    offset = graph.reshape(columns("layer1.column", units, 1), "layer1.row", [classes], np.float32)
    whole = graph.cast(offset, "layer1.offset", [classes], np.float32, np.int32)
    inputs = constant("layer1.inputs", np.array([32], np.int32))
    offsets = apply(Op.MUL, [whole, inputs], tensor("layer1.offsets", [classes], np.int32))
    return apply(Op.ADD, [sums, offsets], tensor("scores", [ANY, classes], np.int32))


def _head_scores(graph: Graph, layer: HeadLayer, sums: int, levels: int) -> int:
    apply, tensor, constant = graph.subgraph.apply, graph.subgraph.tensor, graph.subgraph.constant
    (rows, width), scale = layer.hidden.shape, layer.scale
    assert scale is not None
    at = _Integers(graph, "layer1", width // 2)
    gate = at.floor_clip(at.linear(levels, at.array("gate_mul"), at.array("gate_add"), "gate_place"), 5, 127, "gate")
    z = at.floor_clip(at.linear(sums, at.array("z_mul"), at.array("z_add"), "z_place"), scale.z_shift, 127, "z")
    values = apply(Op.CONCATENATION, [gate, z], tensor("layer1.values", [ANY, width], np.int32), {0: np.int32(1)})
    weights = graph.cast(graph.constant("layer1.weights"), "layer1.float_weights", [rows, width], np.int8, np.float32)
    at = _Integers(graph, "layer1", rows)
    scaled = at.apply(Op.MUL, _products(graph, values, width, weights, rows, "layer1"), at.number(32, "unit"), "scaled")
    told = at.apply(Op.ADD, at.apply(Op.ADD, scaled, at.array("offsets"), "with_offsets"), at.array("priors"), "told")
    known = tensor("layer1.known", [rows], np.bool_)
    apply(Op.GREATER_EQUAL, [at.array("counts"), at.number(1, "one")], known)
    unknown, several = at.number(UNKNOWN, "unknown"), layer.rows.per_class > 1
    found = apply(
        Op.SELECT_V2, [known, told, unknown], tensor("layer1.rows" if several else "scores", [ANY, rows], np.int32)
    )
    if not several:
        return found
    classes = layer.classes
    numbers = constant("layer1.numbers", np.arange(classes, dtype=np.int32)[:, None])
    owned = apply(Op.EQUAL, [numbers, at.array("owners")], tensor("layer1.owned", [classes, rows], np.bool_))
    column = graph.reshape(found, "layer1.column", [ANY, 1, rows], np.int32)
    choices = apply(Op.SELECT_V2, [owned, column, unknown], tensor("layer1.choices", [ANY, classes, rows], np.int32))
    axis = constant("layer1.row_axis", np.array([2], np.int32))
    return apply(Op.REDUCE_MAX, [choices, axis], tensor("scores", [ANY, classes], np.int32))
