"""Gates, output levels, the head, units from nothing and graded units in TFLite Micro's integers (docs/learning-rule.md)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabit.export.files.micro_graph import MicroGraph, Signal
from metabit.export.files.tflite_schema import Op
from metabit.export.frozen import Frozen, GatesLayer, GradedLayer, HeadLayer, LevelsLayer, TriplesLayer
from metabit.export.oracle.forward import unsure
from metabit.export.oracle.gates import GATE_SHIFT, LEVELS, OFFSET_INPUTS, GateLayer
from metabit.export.oracle.head import UNKNOWN, Head
from metabit.export.oracle.triples import REACH, UNIT_SHIFT

VALUE = 127
"""Largest magnitude of a value of the head."""
SCORE_UNIT = 32
OFFSET = OFFSET_INPUTS * LEVELS
GRADE_STEPS = 20
"""A ramp is divided into 2^20 steps for a rise of 16 grades, 2^16 each."""


def gates(graph: MicroGraph, frozen: Frozen, first: GatesLayer, signal: Signal) -> int:
    """Scores of gates and the layer above them."""
    units, last = first.units, frozen.layers[1]
    sums = graph.accumulators("layer0", first, signal)
    place = graph.linear(sums, first.mul, first.add, "place", units)
    top = np.array(GateLayer(first.inputs, first.mul, first.add, first.shift).top)
    left = graph.each(Op.ADD, _minus_size(graph, place, "place", units), top, "left", units)
    levels = graph.floor_clip(left, first.shift, -LEVELS, LEVELS, "levels", units)
    if isinstance(last, LevelsLayer):
        found = graph.products(levels, last.hidden[:, :-1], LEVELS, "layer1")
        return graph.each(Op.ADD, found, OFFSET * last.hidden[:, -1].astype(np.int64), "scores", last.units)
    assert isinstance(last, HeadLayer) and last.scale is not None
    scale = last.scale
    gate = graph.linear(levels, scale.gate_mul, scale.gate_add, "gate_place", units)
    z = graph.linear(sums, scale.z_mul, scale.z_add, "z_place", units)
    parts = [
        graph.floor_clip(gate, GATE_SHIFT, -VALUE, VALUE, "gate", units),
        graph.floor_clip(z, scale.z_shift, -VALUE, VALUE, "z", units),
    ]
    values = graph.apply(Op.CONCATENATION, parts, "values", [1, 2 * units], options={0: np.int32(1)})
    return _head(graph, last, values)


def triples(graph: MicroGraph, frozen: Frozen, layer: TriplesLayer) -> tuple[int, int]:
    """The input tensor, and the scores of units from nothing and the head above them."""
    count, units, half = layer.inputs, layer.units, layer.units // 2
    source, small = graph.features(frozen), layer.integers == "uint8"
    whole = graph.cast(source, "integers", [1, count], np.int8 if small else np.int16, np.int32)
    mul = layer.feature_mul.astype(np.int64)
    place = graph.linear(whole, mul, layer.feature_add + 128 * mul * small, "feature_place", count)
    steps = _floor_divide(graph, place, 1 << layer.feature_shift.astype(np.int64), count)
    t = graph.within(steps, np.array(-REACH), np.array(REACH), "t", count)
    # GATHER has no int32: float32 holds these integers, and is only copied
    floats = graph.reshape(graph.cast(t, "t_floats", [1, count], np.int32, np.float32), "t_row", [count], np.float32)
    index = graph.constant(np.ascontiguousarray(layer.index.T.astype(np.int32)))
    inputs = layer.index.shape[1]
    seen = graph.apply(Op.GATHER, [floats, index], "seen_floats", [inputs, units], np.float32)
    whole = graph.cast(seen, "seen", [inputs, units], np.float32, np.int32)
    weights = graph.constant(np.ascontiguousarray(layer.hidden.T.astype(np.int32)))
    weighted = graph.apply(Op.MUL, [whole, weights], "weighted", [inputs, units])
    sums = graph.slice(weighted, "part0", [0, 0], [1, units])
    for i in range(1, inputs):
        sums = graph.each(Op.ADD, sums, graph.slice(weighted, f"part{i}", [i, 0], [1, units]), f"sums{i}", units)
    v = graph.linear(sums, layer.mul, layer.add, "v", units)
    gate = graph.slice(v, "gate_v", [0, 0], [1, half])
    left = graph.each(Op.ADD, _minus_size(graph, gate, "gate_v", half), layer.top, "left", half)
    parts = [left, graph.slice(v, "step_v", [0, half], [1, half])]
    both = graph.apply(Op.CONCATENATION, parts, "raised", [1, units], options={0: np.int32(1)})
    values = graph.floor_clip(both, UNIT_SHIFT, layer.low, layer.high, "values", units)
    last = frozen.layers[1]
    assert isinstance(last, HeadLayer)
    return source, _head(graph, last, values)


def graded(graph: MicroGraph, name: str, layer: GradedLayer, signal: Signal) -> int:
    """Grades int32 [1, N] of the bits or signs that come in."""
    inputs, planes, units = layer.inputs, layer.planes, layer.units
    whole = graph.cast(signal.tensor, f"{name}.integers", [1, layer.values], np.int8, np.int32)
    value = graph.each(Op.ADD, whole, np.array(signal.base - signal.zero), f"{name}.signal", layer.values)
    on = graph.each(Op.MAXIMUM, value, np.array(0), f"{name}.on", layer.values)
    count = on
    for plane in range(planes if planes > 1 else 0):
        bits = graph.slice(on, f"{name}.plane{plane}", [0, plane * inputs], [1, inputs])
        count = bits if plane == 0 else graph.each(Op.ADD, count, bits, f"{name}.on{plane}", inputs)
    levels = layer.hidden.astype(np.int64)
    weights = (np.where(levels >= 0, 1, -1) * (2 - unsure(levels, layer.bits))).astype(np.int8)
    sums = graph.products(count, weights, planes, name)
    v = graph.each(Op.SUB, sums, 2 * layer.theta.astype(np.int64), f"{name}.v", units)
    size = graph.each(Op.MUL, _minus_size(graph, v, f"{name}.v", units), np.array(-1), f"{name}.size", units)
    total = graph.fold(Op.ADD, size, units, f"{name}.total")
    mean = _share(graph, total, 16, units, f"{name}.mean")
    first = _share(graph, mean, layer.low, 4096, f"{name}.first")
    last = _share(graph, mean, layer.high, 4096, f"{name}.last")
    width = graph.each(Op.SUB, last, first, f"{name}.span", 1)
    width = graph.each(Op.MAXIMUM, width, np.array(1), f"{name}.width", 1)
    beyond = graph.each(Op.SUB, size, first, f"{name}.beyond", units)
    rise = graph.each(Op.MINIMUM, beyond, width, f"{name}.until", units)
    rise = graph.each(Op.MAXIMUM, rise, np.array(0), f"{name}.rise", units)
    step = graph.each(Op.DIV, graph.numbers(1 << GRADE_STEPS), width, f"{name}.step", 1)
    fall = graph.each(Op.MUL, rise, step, f"{name}.fall", units)
    fall = graph.each(Op.ADD, fall, np.array(1 << 15), f"{name}.rounded", units)
    fall = graph.each(Op.DIV, fall, np.array(1 << 16), f"{name}.grades_lost", units)
    return graph.each(Op.SUB, graph.numbers(LEVELS), fall, f"{name}.grades", units)


def _share(graph: MicroGraph, x: int, times: int, by: int, name: str) -> int:
    """int32 x * times / by, rounded down, for x >= 0: quotient and rest of x / by apart, as the product may exceed 2^31."""
    whole = graph.each(Op.DIV, x, np.array(by), f"{name}.whole", 1)
    rest = graph.each(Op.SUB, x, graph.each(Op.MUL, whole, np.array(by), f"{name}.down", 1), f"{name}.rest", 1)
    part = graph.each(Op.MUL, rest, np.array(times), f"{name}.rest_times", 1)
    part = graph.each(Op.DIV, part, np.array(by), f"{name}.part", 1)
    return graph.each(Op.ADD, graph.each(Op.MUL, whole, np.array(times), f"{name}.times", 1), part, name, 1)


def _minus_size(graph: MicroGraph, x: int, name: str, width: int) -> int:
    """int32 -abs(x)."""
    return graph.each(
        Op.MINIMUM, x, graph.each(Op.MUL, x, np.array(-1), f"{name}.opposite", width), f"{name}.minus_size", width
    )


def _floor_divide(graph: MicroGraph, x: int, by: NDArray[np.int64], width: int) -> int:
    """int32 floor(x / by): DIV rounds toward 0, and is 1 too high where it leaves a negative remainder."""
    near = graph.each(Op.DIV, x, by, "near", width)
    left = graph.each(Op.SUB, x, graph.each(Op.MUL, near, by, "near_product", width), "remainder", width)
    below = graph.within(left, np.array(-1), np.array(0), "below", width)
    return graph.each(Op.ADD, near, below, "floored", width)


def _head(graph: MicroGraph, layer: HeadLayer, values: int) -> int:
    """Scores int32 [1, C] from values int32 [1, H]. Rows of a class lie one group behind the other, and the largest counts."""
    head = Head.of(layer)
    rows, known = len(layer.hidden), layer.counts > 0
    add = np.where(known, head.offsets + head.priors(), UNKNOWN)
    weights = np.where(known[:, None], layer.hidden, 0)
    owners = layer.owners if layer.rows.per_class > 1 else np.arange(rows)
    mine = [np.flatnonzero(known & (owners == c)) for c in range(layer.classes)]
    groups = max(1, *(len(found) for found in mine))
    scores = None
    for group in range(groups):
        place = [int(found[group]) if group < len(found) else rows for found in mine]
        some = np.concatenate([weights, np.zeros_like(weights[:1])])[place].astype(np.int64)
        more = np.concatenate([add, [UNKNOWN]])[place]
        name = f"layer1.{group}"
        sums, best = _wide(graph, values, some, name), "scores" if group == groups - 1 else f"{name}.best"
        told = graph.linear(sums, np.array(SCORE_UNIT), more, f"{name}.told" if group else best, layer.classes)
        scores = told if scores is None else graph.each(Op.MAXIMUM, scores, told, best, layer.classes)
    assert scores is not None
    return scores


def _wide(graph: MicroGraph, values: int, weights: NDArray[np.int64], name: str) -> int:
    """int32 [1, N], products of values and weights of 8 bits: in two digits of the weights, 16 * high + low, as sums of whole
    products would need a FULLY_CONNECTED for every two columns."""
    low = ((weights + 8) & 15) - 8
    high = (weights - low) >> 4
    if not high.any():
        return graph.products(values, low.astype(np.int8), VALUE, name)
    units = len(weights)
    both = graph.products(values, np.concatenate([high, low]).astype(np.int8), VALUE, name)
    first = graph.slice(both, f"{name}.high", [0, 0], [1, units])
    second = graph.slice(both, f"{name}.low", [0, units], [1, units])
    return graph.each(
        Op.ADD, graph.each(Op.MUL, first, np.array(16), f"{name}.high16", units), second, f"{name}.wide", units
    )
