"""The step of output levels in TFLite's operators (docs/learning-rule.md, "Output levels"), in int32."""

from __future__ import annotations

from metabit.export.frozen import LevelsLayer
from metabit.export.learning.tflite_draws import states, upper
from metabit.export.learning.tflite_error import product
from metabit.export.learning.tflite_values import Code, Value
from metabit.export.oracle.gates import LEVELS
from metabit.export.oracle.levels import SMALLEST_ERROR


def learn(
    code: Code, layer: LevelsLayer, levels: Value, x: Value, error: Value, taught: Value, generator: Value
) -> tuple[Value, Value, Value, Value]:
    """Levels int32 (C, N + 1) and the generator's state (1,) after a step, the number of visits (1,) and of levels that changed.

    x: levels of the gates (N,). error: (C,). taught: bool (1,), false leaves all as it is.
    """
    rule, (classes, inputs), largest = layer.rule, levels.shape, 2 ** (layer.bits - 1) - 1
    assert rule is not None
    x = code.join([x, code.number(LEVELS)])
    there, learns = ~x.equals(0), (error.abs() >= SMALLEST_ERROR) & taught
    each = there.wide().sum()
    visited = learns.wide().sum() * each
    found = states(code, generator, classes * inputs)
    first = learns.wide().cumsum(exclusive=True) * each
    number = first.reshape(classes, 1) + there.wide().cumsum().reshape(1, inputs)
    drawn = upper(found.take(number.at_most(found.shape[0] - 1)))
    step = product(error.abs(), rule.dose, 2048, 12)
    step = code.where(error > 0, 0 - step, step)
    wanted = step.reshape(classes, 1) * x.reshape(1, inputs)
    weakened = (wanted * code.table(rule.weaken).take(levels.abs())) >> 8
    wanted = code.where(code.number(0) > wanted * levels, weakened, wanted)
    moved = (levels + ((wanted + drawn) >> 16)).clip(-largest, largest)
    after = code.where(learns.reshape(classes, 1) & there.reshape(1, inputs), moved, levels)
    changed = (~after.equals(levels)).wide().sum().sum()
    return after, found.take(visited), visited, changed
