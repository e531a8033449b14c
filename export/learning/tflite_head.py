"""The head's step in TFLite's operators (docs/learning-rule.md, "The head" and "Rows of a class").

All of it is int32; the page proves that each product and sum fits. A sweep is one loop over the H weights, in which the row of the
sample and the row in turn move side by side: they share the covariance and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from metabit.export.frozen import COUNT_FLOOR, COUNT_LIMIT, FREE, HeadLayer
from metabit.export.learning.tflite_values import Code, Value
from metabit.export.oracle.head import DITHER, NEW_ROW_SWEEPS, RESIDUAL_LIMIT, natural_log, triangle
from metabit.export.oracle.rows import NAT

NOWHERE = -(2**30)
"""Below every score of a row that has samples."""


def derived(code: Code, layer: HeadLayer, state: Mapping[str, Value]) -> tuple[Value, Value]:
    """Offsets and priors of the rows, int32 (R,). state: what the head's variables hold, as int32, by name."""
    weights, means, counts = (state[name] for name in ("weights", "means", "counts"))
    offsets = 0 - ((weights * means).sum(1) >> 4)
    priors = code.number(8192 * layer.inputs) // counts.at_least(1)
    if layer.settings.prior:
        logarithms = code.table([0, *(natural_log(n) for n in range(1, COUNT_LIMIT))])
        priors = priors + logarithms.take(counts.at_least(counts.max() >> 2))
    return offsets, code.where(counts > 0, priors, 0)


def row_of(
    code: Code, layer: HeadLayer, state: Mapping[str, Value], scores: Value, label: Value
) -> tuple[Value, Value, Value]:
    """The row (1,) that learns a sample of class label (1,), the doubts (C,) after it, and bool (1,): no row is left for it.

    scores: of the rows (R,).
    """
    owners, doubts, rows, classes = state["owners"], state["doubts"], layer.rows, code.table(np.arange(layer.classes))
    own, free = owners.equals(label), owners.equals(FREE)
    others = ~(own | free)
    has, frees, first_free = own.wide().sum(), free.wide().sum(), free.wide().argmax()
    own_scores = code.where(own, scores, NOWHERE)
    apart = code.where(others, scores, NOWHERE).max() - own_scores.max()
    doubted = (others.wide().sum() > 0) & (apart > rows.far * NAT)
    doubt = doubts.take(label)
    doubt = code.where(doubted, (doubt + 1).at_most(rows.doubt_limit), (doubt - 1).at_least(0))
    owned = owners.reshape(*owners.shape, 1).equals(classes.reshape(1, layer.classes))
    without = layer.classes - owned.wide().max().sum()
    opens = (doubt >= rows.doubt_limit) & ~(has >= rows.per_class) & (frees > without)
    first = has.equals(0)
    row = code.where(first | opens, first_free, own_scores.argmax())
    after = code.where(classes.equals(label) & ~first, code.where(opens, 0, doubt), doubts)
    return row, after, first & frees.equals(0)


def learn(
    code: Code, layer: HeadLayer, state: Mapping[str, Value], x: Value, row: Value, step: Value
) -> dict[str, Value]:
    """The variables after a step on values x (H,) of a sample that this row (1,) learns. step: (1,), this one included."""
    settings, size, rows = layer.settings, layer.inputs, len(layer.hidden)
    means, weights, counts, dither = (state[name] for name in ("means", "weights", "counts", "dither"))
    after = dict(state)
    here = code.table(np.arange(rows)).equals(row)
    mean, count = means.take(row).reshape(size), counts.take(row)
    new, drawn = count.equals(0), 0
    if settings.covariance_memory:
        seen = (state["seen"] + 1).at_most(settings.covariance_memory)
        rate = code.number(65536) // seen.at_least(COUNT_FLOOR)
        rate = rate - rate // (count + 1)
        rate = rate - rate % 4
        residual = (x - (mean >> 8)).clip(-RESIDUAL_LIMIT, RESIDUAL_LIMIT)
        p, q = (code.array(side.astype(np.uint8)).wide() for side in triangle(size))
        z = _dithers(code, dither, 0, size)
        moved = state["covariance"] * (65536 - rate) + residual.take(p) * residual.take(q) * (rate * 4) + z.take(p)
        after["covariance"] = code.where(new, state["covariance"], moved >> 16)
        after["seen"] = code.where(new, state["seen"], seen)
        drawn = size
    z = _dithers(code, dither, drawn, size)
    rate = code.number(65536) // (count.at_most(settings.memory) + 1)
    told = x * 256
    mean = code.where(new, told, mean + (((told - mean) * rate + z) >> 16))
    after["means"] = code.where(here.reshape(rows, 1), mean.reshape(1, size), means)
    after["dither"] = code.where(new, dither, (dither + DITHER * (drawn + size)) % 65536)
    counts = counts + here.wide()
    halved = ((counts + 1) >> 1).at_least(counts.at_most(COUNT_FLOOR))
    counts = after["counts"] = code.where(counts.max() >= COUNT_LIMIT, halved, counts)
    solved = new | (step % settings.sweep_every).equals(0)
    turn = state["turn"]
    after["turn"] = code.where(solved, (turn + 1) % rows, turn)
    passes = code.where(new, NEW_ROW_SWEEPS, solved.wide())
    both = solved & ~turn.equals(row) & (counts.take(turn) > 0)
    swept = _sweeps(code, layer, after, code.join([row, turn]), passes, both.wide())
    weights = code.where(here.reshape(rows, 1), swept.cut([0, 0], [1, size]), weights)
    beside = code.table(np.arange(rows)).equals(turn) & both
    after["weights"] = code.where(beside.reshape(rows, 1), swept.cut([1, 0], [1, size]), weights)
    return after


def _dithers(code: Code, dither: Value, first: int, count: int) -> Value:
    """The values of z after the first ones, int32 (count,)."""
    return (dither + code.table(DITHER * (first + np.arange(1, count + 1)))) % 65536


def _sweeps(code: Code, layer: HeadLayer, state: Mapping[str, Value], pair: Value, passes: Value, both: Value) -> Value:
    """Weights int32 (2, H) of the pair of rows after so many sweeps (1,) of the first, and one of the second if both (1,) is 1."""
    size, model = layer.inputs, code.subgraph.model
    starts = [int(start) for start in np.flatnonzero(triangle(size)[1] == 0)]
    p = np.arange(size)
    higher, lower = (code.table(side) for side in (p[:, None], p[None]))
    covariance = state["covariance"].take(code.table(starts).take(higher.at_least(lower)) + higher.at_most(lower))
    weights, targets = (state[name].take(pair) for name in ("weights", "means"))
    before = [code.number(0), passes * size, both, weights.transpose(), (targets * 8).transpose(), covariance]

    def inside(name: str) -> tuple[Code, list[Value]]:
        part = Code(model.subgraph(name))
        return part, [part.input(f"{name}{i}", value.shape, value.dtype) for i, value in enumerate(before)]

    condition, given = inside("sweep_goes_on")
    condition.close(given, [given[1] > given[0]])
    body, given = inside("sweep")
    step, end, other, w, target, full = given
    at = step % size
    line = full.take(at)
    old, variance = w.take(at), line.reshape(size).take(at)
    divisor = (variance + layer.settings.ridge).at_least(1)
    off = target.take(at) - (line.reshape(size, 1) * w).sum().reshape(1, 2) + (variance - divisor) * old
    moves = ((off.abs() - (divisor >> 1) + divisor - 1) // divisor).at_least(0)
    moved = (old + body.where(off >= 0, moves, 0 - moves)).clip(-127, 127)
    taken = body.join([body.number(1), other * (body.number(size) > step).wide()]).reshape(1, 2)
    chosen = body.table(p[:, None]).equals(at) & (taken > 0)
    body.close(given, [step + 1, end, other, body.where(chosen, moved, w), target, full])
    return code.loop(before, condition, body)[3].transpose()
