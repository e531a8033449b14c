"""Units from nothing in TFLite's operators (docs/learning-rule.md, "Units from nothing"), in int32 throughout."""

from __future__ import annotations

import numpy as np

from metabit.export.files.tflite_gates import head_scores
from metabit.export.files.tflite_graph import Graph
from metabit.export.files.tflite_integers import Integers
from metabit.export.files.tflite_schema import ANY, Op
from metabit.export.frozen import Frozen, HeadLayer, TriplesLayer
from metabit.export.oracle.triples import REACH, UNIT_SHIFT


def network(graph: Graph, frozen: Frozen) -> tuple[int, tuple[int, int]]:
    """The input tensor, and scores and label."""
    first, last = frozen.layers
    assert isinstance(first, TriplesLayer) and isinstance(last, HeadLayer)
    taken = np.dtype(first.integers).type
    source = graph.subgraph.tensor("features", [ANY, first.inputs], taken)
    wide = graph.cast(source, "layer0.features", [ANY, first.inputs], taken, np.int32)
    scores = head_scores(graph, last, _values(graph, first, _standardised(graph, first, wide)))
    return source, (scores, graph.label(scores))


def _standardised(graph: Graph, layer: TriplesLayer, features: int) -> int:
    """int32 [n, F], features limited to four deviations."""
    at = Integers(graph, "layer0", layer.inputs)
    scaled = at.linear(features, at.array("feature_mul"), at.array("feature_add"), "scaled")
    powers = at.constant(1 << np.arange(int(layer.feature_shift.max()) + 1), "powers")
    steps = graph.subgraph.tensor("layer0.feature_steps", [layer.inputs], np.int32)
    graph.subgraph.apply(Op.GATHER, [powers, at.array("feature_shift")], steps)
    return at.clip(at.apply(Op.FLOOR_DIV, scaled, steps, "shifted"), -REACH, REACH, "standardised")


def _values(graph: Graph, layer: TriplesLayer, standardised: int) -> int:
    """int32 [n, H], the first half gates, the others steps."""
    units, half = len(layer.hidden), len(layer.top)
    at = Integers(graph, "layer0", units)
    three = [ANY, units, 3]
    chosen = graph.subgraph.tensor("layer0.chosen", three, np.int32)
    graph.subgraph.apply(Op.GATHER, [standardised, at.array("index")], chosen, {0: np.int32(1)})
    products = graph.apply(Op.MUL, [chosen, at.array("weights")], "layer0.products", three)
    sums = graph.apply(Op.SUM, [products, at.number(2, "axis")], "layer0.sums", [ANY, units])
    place = at.linear(sums, at.array("mul"), at.array("add"), "place")

    def part(name: str, begin: int) -> int:
        ends = at.constant(np.array([0, begin]), f"{name}.begin"), at.constant(np.array([-1, half]), f"{name}.size")
        return graph.apply(Op.SLICE, [place, *ends], f"layer0.{name}", [ANY, half])

    of_half, gate = Integers(graph, "layer0", half), part("gates", 0)
    below_zero = of_half.apply(Op.MINIMUM, gate, of_half.opposite(gate, "opposite"), "minus_distance")
    gates = of_half.apply(Op.ADD, below_zero, at.array("top"), "left")
    both = graph.subgraph.tensor("layer0.both", [ANY, units], np.int32)
    graph.subgraph.apply(Op.CONCATENATION, [gates, part("steps", half)], both, {0: np.int32(1)})
    below = at.apply(Op.MINIMUM, at.shifted(both, UNIT_SHIFT, "units"), at.array("high"), "below")
    return at.apply(Op.MAXIMUM, below, at.array("low"), "values")
