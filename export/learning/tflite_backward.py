"""The step of sign units in TFLite's operators (docs/learning-rule.md, "Backward" and "Update"), from the output down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metabit.export.files.tflite_schema import Op
from metabit.export.frozen import DenseLayer, Frozen, Layer, Rule
from metabit.export.learning.tflite_draws import states, upper
from metabit.export.learning.tflite_values import Code, Value
from metabit.export.learning.tflite_visits import line_of, rates_of, visit, visits_of

Layered = dict[int, Value]
"""A value of each layer, by the number of the layer."""
LARGEST = 14
"""Errors of hidden units stay below 2^14."""


@dataclass
class Step:
    """The work of a step so far: the generator's state, and numbers of visits, moves and flips; all (1,)."""

    generator: Value
    visited: Value
    moved: Value
    flipped: Value


class _Draws:
    """Draws of one layer before its visits, of which fewer than there are may be taken."""

    def __init__(self, code: Code, generator: Value, most: int) -> None:
        self.code, self.states, self.used = code, states(code, generator, most), code.number(0)

    def next(self, places: Value) -> Value:
        """States (n,) of the draws with these numbers (n,) from here, 0 for the next."""
        return self.states.take((self.used + 1 + places).clip(0, self.states.shape[0] - 1))

    def generator(self) -> Value:
        return self.states.take(self.used)


def learn(
    code: Code, frozen: Frozen, signals: Layered, sums: Layered, weights: Layered, planes: Layered,
    error: Value, true_error: Value, taught: Value, generator: Value,
) -> tuple[Layered, Step]:  # fmt: skip
    """Level planes of each layer that learns, and what the step did.

    signals, for the lowest layer that learns and all above it: inputs int32 (K,), 0 and 1, or signs. sums: accumulators of a hidden
    layer, int32 (N,). weights: float32 (N, 8 ceil(K / 8)). planes: uint8 (k * N * ceil(K / 8),) where it learns. taught: bool (1,).
    """
    step = Step(generator, *(code.number(0) for _ in range(3)))
    after: Layered = {}
    lowest = next(i for i, layer in enumerate(frozen.layers) if layer.learns)
    for i in range(len(frozen.layers) - 1, lowest - 1, -1):
        layer, below = frozen.layers[i], error
        ternary = isinstance(layer, DenseLayer) and layer.ternary and i > lowest
        draws = _Draws(code, step.generator, (layer.units + -(-layer.inputs // 32) if ternary else 0) + 1)
        if i > lowest:
            goes_on, mask = error, _open(code, frozen.layers[i - 1], sums[i - 1])
            if ternary:
                if i == lowest + 1:
                    mask = _half(code, frozen.layers[lowest], signals[lowest], mask, true_error, taught, draws)
                goes_on = _drawn(code, error, taught, draws)
            below = _below(code, layer, weights[i], goes_on, mask)
        step.generator = draws.generator()
        if layer.learns:
            after[i] = _update(code, i, layer, planes[i], error, signals[i], true_error, taught, step, draws)
        error = below
    return after, step


def _open(code: Code, layer: Layer, sums: Value) -> Value:
    """Bool (N,): errors pass."""
    assert isinstance(layer, DenseLayer)
    theta, window = layer.theta.astype(np.int64), layer.ste_window
    if layer.takes == "signs":
        theta, window = theta + ((theta - layer.inputs) & 1), window // 2 * 2
    return code.number(window) >= (sums - code.table(theta)).abs()


def _half(code: Code, layer: Layer, x: Value, mask: Value, true_error: Value, taught: Value, draws: _Draws) -> Value:
    """The mask, thinned by one half if the visits of this layer need no more units than that."""
    assert isinstance(layer.rule, Rule)
    visits = visits_of(layer.rule.dose, true_error) >> 6
    eligible = code.number(layer.inputs) if layer.takes == "signs" else x.sum()
    visits = (visits >> 10) * eligible + (((visits % 1024) * eligible) >> 10)
    thins = (mask.wide().sum() >= visits.at_least(32) * 2) & taught
    place = np.arange(layer.units)
    kept = ((draws.next(code.table(place // 32)) >> code.table(place % 32)) % 2).equals(1)
    draws.used = draws.used + thins.wide() * -(-layer.units // 32)
    return mask & (kept | ~thins)


def _drawn(code: Code, error: Value, taught: Value, draws: _Draws) -> Value:
    """Signs -1, 0 or 1 (N,) that stand for the error (N,)."""
    sizes, some = error.abs(), ~error.equals(0)
    chance = (sizes * (code.number(1 << 30) // sizes.max().at_least(1))) >> 14
    drawn = upper(draws.next(some.wide().cumsum(exclusive=True)))
    draws.used = draws.used + (some.wide().sum() * taught.wide())
    sign = code.where(error > 0, 1, -1)
    return code.where(some & (chance > drawn), sign, 0)


def _below(code: Code, layer: Layer, weights: Value, error: Value, mask: Value) -> Value:
    """Error of the layer below (K,), below 2^14. The sums are exact in float32: of the error's upper and lower 7 bits apart."""
    parts = code.join([(error >> 7).reshape(1, layer.units), (error % 128).reshape(1, layer.units)])
    shape = (2, weights.shape[1])
    sums = code.apply(Op.FULLY_CONNECTED, [parts.cast(np.float32), weights.transpose()], shape, np.float32).wide()
    both = sums.cut([0, 0], [2, layer.inputs])
    below = code.where(mask, (both * code.table(np.array([[128], [1]]))).sum(0), 0)
    sizes = below.abs()
    limits = code.table(1 << np.arange(LARGEST, 31)[None])
    kept = sizes >> (sizes.max().reshape(1, 1) >= limits).wide().sum(1)
    return code.where(below >= 0, kept, 0 - kept)


def _update(
    code: Code, i: int, layer: Layer, planes: Value, error: Value, x: Value, true_error: Value, taught: Value, step: Step,
    draws: _Draws,
) -> Value:  # fmt: skip
    """Level planes after the update of layer i."""
    assert isinstance(layer.rule, Rule)
    rates, goes = rates_of(code, error, visits_of(layer.rule.dose, true_error))
    goes = goes & taught
    start = upper(draws.next(code.number(0)))
    draws.used = draws.used + goes.wide()
    count, at, sign = code.number(layer.inputs), code.table(np.arange(layer.inputs)), x
    if layer.takes != "signs":
        count, sign = x.sum(), code.table(np.ones(layer.inputs))
        # the n-th input that is on, at place n; an input that is off goes behind the last place
        places = code.where(x.equals(1), x.cumsum(exclusive=True), layer.inputs)
        at = code.scatter(places, at, layer.inputs + 1).cut([0], [layer.inputs])
    line = line_of(code, rates * goes.wide(), count, start)
    planes, generator, moved, flipped = visit(code, f"layer{i}", layer, planes, line, start, error, sign, at,
                                              draws.generator())  # fmt: skip
    step.generator, step.visited = generator, step.visited + line.count
    step.moved, step.flipped = step.moved + moved, step.flipped + flipped
    return planes
