"""A graded layer in TFLite's operators (docs/learning-rule.md, "Graded layer"), in int32 after the sums.

A weight counts 2 where it is sure and 1 where it is unsure. It is sure where its level's two highest planes are equal. With A the
sum over the signs, B the sum over the plane below and both less θ, V = (3 A + B) / 2. At most 2^10 units have |V| of at most 2^20,
so their sum is at most 2^30, their mean in sixteenths at most 2^24, and its remainder times an end of the ramp below 2^23.
"""

from __future__ import annotations

import numpy as np

from metabit.export.files.tflite_integers import Integers
from metabit.export.files.tflite_layers import Layers
from metabit.export.files.tflite_schema import ANY, KEEP_AXES, Op
from metabit.export.frozen import GradedLayer

MEAN = 4096
"""The ramp's ends are products with the mean, in 1/4096."""


def grades(graph: Layers, name: str, layer: GradedLayer, signal: int, signs: bool) -> int:
    """Grades float32 [n, N] of a signal. signs: the layer below gives signs."""
    at, one = Integers(graph, name, layer.units), Integers(graph, name, 1)
    counts, theta = graph.planes_on(name, layer, signal, signs), at.array("threshold")
    above = at.apply(Op.SUB, graph.accumulate(name, layer, counts), theta, "above")
    if layer.bits > 1:
        second = at.apply(Op.SUB, graph.accumulate(name, layer, counts, second=True), theta, "second_above")
        thrice = at.apply(Op.MUL, above, at.number(3, "three"), "thrice")
        v = at.shifted(at.apply(Op.ADD, thrice, second, "four_times"), 1, "v")
    else:
        v = at.apply(Op.MUL, above, at.number(2, "two"), "v")
    size = at.apply(Op.MAXIMUM, v, at.opposite(v, "opposite"), "size")
    mean = _mean(graph, one, layer.units, size)
    first, last = _end(one, mean, layer.low, "first"), _end(one, mean, layer.high, "last")
    width = one.apply(Op.MAXIMUM, one.apply(Op.SUB, last, first, "span"), one.number(1, "least"), "width")
    past = at.apply(Op.MAXIMUM, at.apply(Op.SUB, size, first, "past"), at.number(0, "zero"), "past_first")
    rise = at.apply(Op.MINIMUM, past, width, "rise")
    scale = one.apply(Op.FLOOR_DIV, one.number(2**20, "whole"), width, "scale")
    fall = at.shifted(at.linear(rise, scale, at.number(2**15, "half"), "scaled"), 16, "fall")
    grade = at.apply(Op.SUB, at.number(8, "highest"), fall, "grades")
    return graph.cast(grade, f"{name}.signal", [ANY, layer.units], np.int32, np.float32)


def _mean(graph: Layers, one: Integers, units: int, size: int) -> int:
    """16 * sum // N, without a product of more than 32 bits."""
    axis = one.constant(np.array([1]), "unit_axis")
    total = graph.apply(Op.SUM, [size, axis], f"{one.name}.total", one.shape, options=KEEP_AXES)
    return _times_over(one, total, 16, units, "mean")


def _end(one: Integers, mean: int, part: int, name: str) -> int:
    """mean * part >> 12."""
    return _times_over(one, mean, part, MEAN, name)


def _times_over(one: Integers, x: int, times: int, over: int, name: str) -> int:
    """x * times // over, of quotient and remainder by themselves."""
    divisor, factor = one.number(over, f"{name}.over"), one.number(times, f"{name}.times")
    whole = one.apply(Op.MUL, one.apply(Op.FLOOR_DIV, x, divisor, f"{name}.quotient"), factor, f"{name}.whole")
    left = one.apply(Op.MUL, one.apply(Op.FLOOR_MOD, x, divisor, f"{name}.remainder"), factor, f"{name}.left")
    return one.apply(Op.ADD, whole, one.apply(Op.FLOOR_DIV, left, divisor, f"{name}.part"), name)
