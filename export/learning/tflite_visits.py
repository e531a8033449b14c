"""The visits of one layer in TFLite's operators (docs/learning-rule.md, "Update"), with the device's own draws.

The device walks over the visits of a step one by one. They are all different pairs, and their number is known before the first, so
here they are computed side by side, up to 1,024 in one pass of a loop, each with the number that it would have drawn. A point of
the line is kept as two numbers, its quotient and remainder by 65536, so that nothing exceeds int32.

Levels stay packed: a visit reads the k bits of one synapse, and adds to their bytes what changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metabit.export.frozen import CERTAIN, Layer, Rule
from metabit.export.learning.tflite_draws import states, upper
from metabit.export.learning.tflite_error import product
from metabit.export.learning.tflite_values import Code, Value

POINT = 65536
MOST_IN_A_PASS = 1024


@dataclass(frozen=True)
class Line:
    """The line of a step's visits.

    rates: (N,). quotients, remainders: of the point where each unit begins (N,). first: number of the first visit of each unit, or
    of a later one (N,). count: of all visits (1,).
    """

    rates: Value
    quotients: Value
    remainders: Value
    first: Value
    count: Value


def visits_of(dose: int, true_error: Value) -> Value:
    """(R * E) >> 8, below 2^24."""
    return product(true_error, dose, 0, 8)


def rates_of(code: Code, error: Value, total: Value) -> tuple[Value, Value]:
    """Visit probability of each unit (N,) in 1/65536, and bool (1,): there are visits to distribute. total: `visits_of`."""
    sizes = error.abs()
    d = sizes.sum()
    goes = (d > 0) & (total > 0)
    d, total = d.at_least(1), total.at_least(1)
    powers = code.table(1 << np.arange(17))
    s = 32 - (total.reshape(1, 1) >= code.table(1 << np.arange(25)[None])).wide().sum(1)  # 8..31
    left, right = (s - 16).at_least(0), (16 - s).at_least(0)
    # the upper and lower half of total << s, which is below 2^32; then a long division by four bits at a time
    high = (total >> right) * powers.take(left)
    low = (total % powers.take(right)) * powers.take(s.at_most(16))
    share, rest = high // d, high % d
    share_low = code.number(0)
    for place in (12, 8, 4, 0):
        rest = rest * 16 + (low >> place) % 16
        share_low = share_low * 16 + rest // d
        rest = rest % d
    tail = sizes * share_low
    above = sizes * share + (tail >> 16)  # (share * size) >> 16, below 2^16
    rates = ((above * powers.take(right)) >> left) + ((tail % POINT) >> s)
    return rates.at_most(CERTAIN), goes


def line_of(code: Code, rates: Value, eligible: Value, start: Value) -> Line:
    """The line of units with these rates (N,), each over so many eligible inputs (1,), visited from start (1,), 0..65535."""
    lengths = rates * eligible  # below 2^30
    quotient, remainder = (lengths >> 16).cumsum(), (lengths % POINT).cumsum()
    quotient, remainder = quotient + (remainder >> 16), remainder % POINT
    before = quotient + (remainder > start).wide()  # visits before the end of each unit
    units = rates.shape[0]
    zero = code.table([0])

    def shifted(ends: Value) -> Value:
        return code.join([zero, ends]).cut([0], [units])

    return Line(rates, shifted(quotient), shifted(remainder), shifted(before), before.cut([units - 1], [1]))


def most_visits(layer: Layer) -> int:
    """Visits of a completely wrong sample at most."""
    assert isinstance(layer.rule, Rule)
    return min(layer.units, layer.rule.dose // 4096 + 1) * layer.inputs


def visit(
    code: Code, name: str, layer: Layer, planes: Value, line: Line, start: Value, error: Value, x: Value, at: Value,
    generator: Value,
) -> tuple[Value, Value, Value, Value]:  # fmt: skip
    """Level planes uint8 (k * N * ceil(K / 8),) and the generator's state (1,) after the visits, moves (1,) and flips (1,).

    planes: the sign plane last. x: inputs (K,), -1 where they are, else 1. at: the eligible inputs (K,), ascending.
    """
    size = 1 << min(MOST_IN_A_PASS - 1, most_visits(layer) - 1).bit_length()
    given = [
        code.number(0), line.count, generator, planes, code.number(0), code.number(0),
        start, line.first, line.quotients, line.remainders, line.rates, error, x, at,
    ]  # fmt: skip

    def inside(part: str) -> tuple[Code, list[Value]]:
        inner = Code(code.subgraph.model.subgraph(f"{name}.{part}"))
        return inner, [inner.input(f"{part}{i}", value.shape, value.dtype) for i, value in enumerate(given)]

    condition, taken = inside("visits_left")
    condition.close(taken, [taken[1] > taken[0]])
    body, taken = inside("visits")
    body.close(taken, [*_pass(body, layer, size, *taken[:6], *taken[6:]), *taken[6:]])
    after = code.loop(given, condition, body)
    return after[3], after[2], after[4], after[5]


def _pass(
    code: Code, layer: Layer, size: int, done: Value, count: Value, generator: Value, planes: Value, moves: Value, flips: Value,
    start: Value, first: Value, quotients: Value, remainders: Value, rates: Value, error: Value, x: Value, eligible: Value,
) -> list[Value]:  # fmt: skip
    """The next visits, at most so many: what the loop carries on."""
    rule, bits, (units, inputs) = layer.rule, layer.bits, layer.hidden.shape
    assert isinstance(rule, Rule)
    half, octets = 1 << (bits - 1), -(-inputs // 8)
    number = done + code.table(np.arange(size))
    live = count > number
    begun = code.scatter((first - done).clip(0, size), code.table(np.ones(units)), size + 1)
    unit = (begun.cumsum().cut([0], [size]) - 1).clip(0, units - 1)
    offset = (number - quotients.take(unit)) * POINT + start - remainders.take(unit)
    place = code.where(live, offset, 0) // rates.take(unit).at_least(1)
    j = eligible.take(place.clip(0, inputs - 1)).clip(0, inputs - 1)
    up = code.number(0) > error.take(unit) * x.take(j)
    # the k bits of the synapse, an offset above the lowest level
    plane = code.table(np.arange(bits)[:, None])
    octet = plane * (units * octets) + (unit * octets + (j >> 3)).reshape(1, size)
    bit = j % 8
    old = (planes.take(octet).wide() >> bit.reshape(1, size)) % 2
    level = (old * code.table(1 << np.arange(bits)[:, None])).sum(0)
    positive = level >= half
    r = code.where(positive, level - half, (half - 1) - level)
    outward = up.equals(positive)
    found = states(code, generator, size)
    t = code.where(outward, code.table(rule.strengthen).take(r), code.table(rule.weaken).take(r))
    made = (t > upper(found.cut([1], [size]))) | t.equals(CERTAIN)
    made = live & made & ~(outward & r.equals(half - 1))
    level = level + made.wide() * (up.wide() * 2 - 1)
    new = (level.reshape(1, size) >> plane) % 2
    change = (new - old) * code.table(1 << np.arange(8)).take(bit).reshape(1, size)
    changes = code.scatter(octet.reshape(bits * size), change.reshape(bits * size), bits * units * octets)
    after = (planes.wide() + changes).cast(np.uint8)
    flipped = made & ~outward & r.equals(0)
    passed = (count - done).at_most(size)
    return [
        done + size, count, found.take(passed), after, moves + made.wide().sum(), flips + flipped.wide().sum(),
    ]  # fmt: skip
