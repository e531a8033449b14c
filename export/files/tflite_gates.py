"""Gates, output levels and the head in TFLite's operators (docs/learning-rule.md, "Gates" and "The head").

Sums of products are exact in float32: below 2^21. Everything else is int32.
"""

from __future__ import annotations

import numpy as np

from metabit.export.files.tflite_graph import Graph
from metabit.export.files.tflite_integers import Integers
from metabit.export.files.tflite_schema import ANY, Op
from metabit.export.frozen import Frozen, GatesLayer, HeadLayer, LevelsLayer
from metabit.export.oracle.gates import GateLayer
from metabit.export.oracle.head import UNKNOWN


def network(graph: Graph, frozen: Frozen, signal: int) -> tuple[int, int]:
    """Scores and label from the bits."""
    first, last = frozen.layers
    assert isinstance(first, GatesLayer)
    sums, at = graph.accumulate("layer0", first, signal), Integers(graph, "layer0", first.units)
    place = at.linear(sums, at.array("mul"), at.array("add"), "place")
    top = at.number(GateLayer(first.inputs, first.mul, first.add, first.shift).top, "top")
    left = at.apply(Op.ADD, at.apply(Op.MINIMUM, place, at.opposite(place, "opposite"), "minus_distance"), top, "left")
    levels = at.floor_clip(left, first.shift, 8, "levels")
    if isinstance(last, LevelsLayer):
        scores = _level_scores(graph, last, levels)
    else:
        assert isinstance(last, HeadLayer)
        scores = head_scores(graph, last, _head_values(graph, last, sums, levels))
    return scores, graph.label(scores)


def _products(graph: Graph, x: int, width: int, weights: int, units: int, name: str) -> int:
    """int32 [n, units], sums of products of int32 [n, width] and float32 weights [units, width]."""
    given = graph.cast(x, f"{name}.given", [ANY, width], np.int32, np.float32)
    return graph.products(name, given, weights, units)


def _level_scores(graph: Graph, layer: LevelsLayer, levels: int) -> int:
    constant = graph.subgraph.constant
    classes, units = layer.units, layer.inputs
    stored = graph.cast(graph.constant("layer1.levels"), "layer1.whole", [classes, units + 1], np.int8, np.float32)

    def columns(name: str, begin: int, count: int) -> int:
        start = constant(f"{name}.begin", np.array([0, begin], np.int32))
        size = constant(f"{name}.size", np.array([classes, count], np.int32))
        return graph.apply(Op.SLICE, [stored, start, size], name, [classes, count], np.float32)

    sums = _products(graph, levels, units, columns("layer1.weights", 0, units), classes, "layer1")
    offset = graph.reshape(columns("layer1.column", units, 1), "layer1.row", [classes], np.float32)
    whole = graph.cast(offset, "layer1.offset", [classes], np.float32, np.int32)
    inputs = constant("layer1.inputs", np.array([32], np.int32))
    offsets = graph.apply(Op.MUL, [whole, inputs], "layer1.offsets", [classes])
    return graph.apply(Op.ADD, [sums, offsets], "scores", [ANY, classes])


def _head_values(graph: Graph, layer: HeadLayer, sums: int, levels: int) -> int:
    """int32 [n, 2N], the gates of all units, then z of all units."""
    width, scale = layer.inputs, layer.scale
    assert scale is not None
    at = Integers(graph, "layer1", width // 2)
    gate = at.floor_clip(at.linear(levels, at.array("gate_mul"), at.array("gate_add"), "gate_place"), 5, 127, "gate")
    z = at.floor_clip(at.linear(sums, at.array("z_mul"), at.array("z_add"), "z_place"), scale.z_shift, 127, "z")
    return graph.apply(Op.CONCATENATION, [gate, z], "layer1.values", [ANY, width], options={0: np.int32(1)})


def head_scores(graph: Graph, layer: HeadLayer, values: int) -> int:
    """Scores int32 [n, C] of values int32 [n, H]."""
    rows, width = layer.hidden.shape
    weights = graph.cast(graph.constant("layer1.weights"), "layer1.float_weights", [rows, width], np.int8, np.float32)
    at = Integers(graph, "layer1", rows)
    scaled = at.apply(Op.MUL, _products(graph, values, width, weights, rows, "layer1"), at.number(32, "unit"), "scaled")
    told = at.apply(Op.ADD, at.apply(Op.ADD, scaled, at.array("offsets"), "with_offsets"), at.array("priors"), "told")
    known = graph.subgraph.tensor("layer1.known", [rows], np.bool_)
    graph.subgraph.apply(Op.GREATER_EQUAL, [at.array("counts"), at.number(1, "one")], known)
    unknown, several = at.number(UNKNOWN, "unknown"), layer.rows.per_class > 1
    found = graph.apply(Op.SELECT_V2, [known, told, unknown], "layer1.rows" if several else "scores", [ANY, rows])
    if not several:
        return found
    classes = layer.classes
    numbers = at.constant(np.arange(classes)[:, None], "numbers")
    owned = graph.apply(Op.EQUAL, [numbers, at.array("owners")], "layer1.owned", [classes, rows], np.bool_)
    column = graph.reshape(found, "layer1.column", [ANY, 1, rows], np.int32)
    choices = graph.apply(Op.SELECT_V2, [owned, column, unknown], "layer1.choices", [ANY, classes, rows])
    return graph.apply(Op.REDUCE_MAX, [choices, at.number(2, "row_axis")], "scores", [ANY, classes])
