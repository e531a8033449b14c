"""The step of a head as ONNX nodes: docs/learning-rule.md, "The head" and "Rows of a class", formula by formula.

Inside a step every array is int64. The two rows that a step sweeps do not touch each other, so one sweep moves both side by side.
"""

from __future__ import annotations

import numpy as np

from metabit.export import frozen as f
from metabit.export.frozen import COUNT_FLOOR, COUNT_LIMIT, FREE
from metabit.export.learning.onnx_graph import Graph, Value
from metabit.export.learning.onnx_rule import Carried, Learnt, Rule
from metabit.export.learning.state import HEAD, ROWS
from metabit.export.oracle.head import DITHER, NEW_ROW_SWEEPS, RESIDUAL_LIMIT, UNKNOWN, natural_log, triangle
from metabit.export.oracle.rows import NAT


class HeadStep(Rule):
    """Layer 1, a head. It carries the arrays of its state, int64."""

    def __init__(self, g: Graph, layer: f.HeadLayer) -> None:
        self.g, self.layer, self.settings = g, layer, layer.settings
        self.rows, self.values = layer.hidden.shape
        self.several = layer.rows.per_class > 1

    def enter(self) -> Carried:
        names = HEAD + (ROWS if self.several else ())
        return {name: self.g.named(f"layer1.{name}").cast(np.int64) for name in names}

    def leave(self, s: Carried) -> Carried:
        return {f"layer1.{name}": value for name, value in s.items()}

    def scores(self, s: Carried, x: Value) -> Value:
        rows = self.row_scores(s, x)
        if not self.several:
            return rows
        classes = self.g.constant(np.arange(self.layer.classes)[:, None])
        return self.g.where(classes.equals(s["owners"]), rows, UNKNOWN).max(1)

    def accepts(self, s: Carried, label: Value) -> Value | None:
        """Computes whether the class has a row, or one is free, bool ()."""
        if not self.several:
            return None
        has = s["owners"].equals(label) | s["owners"].equals(FREE)
        return has.cast(np.int64).sum(0) > 0

    def learn(self, s: Carried, x: Value, scores: Value, label: Value, steps: Value) -> Learnt:
        row = label
        if self.several:
            row, s = self.chosen_row(s, self.row_scores(s, x), label)
        none = self.g.constant(0)
        return Learnt(self.step(s, x, row, label, steps), self.g.constant(True, np.bool_), none, none, none)

    def row_scores(self, s: Carried, x: Value) -> Value:
        """Scores int64 (R,) of values (H,); `UNKNOWN` for a row without samples."""
        counts, sums = s["counts"], (s["weights"] * x).sum(1)
        offsets = -((s["weights"] * s["means"]).sum(1) >> 4)
        told = offsets + sums * 32 + 8192 * self.values // counts.at_least(1)
        if self.settings.prior:
            logarithms = self.g.constant([natural_log(max(n, 1)) for n in range(COUNT_LIMIT)])
            told = told + logarithms.take(counts.at_least(counts.max(0) >> 2))
        return self.g.where(counts > 0, told, UNKNOWN)

    def chosen_row(self, s: Carried, scores: Value, label: Value) -> tuple[Value, Carried]:
        """The row that learns the sample, and the state with the doubts of its class counted. There is such a row."""
        g, rule = self.g, self.layer.rows
        owned, free = s["owners"].equals(label), s["owners"].equals(FREE)
        mine, spare = owned.cast(np.int64).sum(0), free.cast(np.int64).sum(0)
        own = g.where(owned, scores, UNKNOWN)
        rivals = ~(owned | free)
        far = g.where(rivals, scores, UNKNOWN).max(0) - own.max(0) > rule.far * NAT
        doubt = s["doubts"].take(label)
        doubt = g.where(
            far & (rivals.cast(np.int64).sum(0) > 0), (doubt + 1).at_most(rule.doubt_limit), (doubt - 1).at_least(0)
        )
        classes = g.constant(np.arange(self.layer.classes))
        with_row = classes.reshape(-1, 1).equals(s["owners"]).cast(np.int64).max(1).sum(0)
        room = (spare > self.layer.classes - with_row) & (mine < rule.per_class)
        opens = room & (doubt >= rule.doubt_limit)
        new, known = g.where(opens, g.constant(0), doubt), mine > 0
        doubts = g.where(classes.equals(label) & known, new, s["doubts"])
        row = g.where(known & ~opens, own.cast(np.int32).argmax(), free.cast(np.int32).argmax())
        return row, s | {"doubts": doubts}

    def step(self, s: Carried, x: Value, row: Value, label: Value, steps: Value) -> Carried:
        """The state after a step of this row."""
        g, count = self.g, s["counts"].take(row)
        known = count > 0
        here = g.constant(np.arange(self.rows)).equals(row)
        mean = s["means"].take(row)
        seen, covariance, dither = s["seen"], s["covariance"], s["dither"]
        if self.settings.covariance_memory:
            seen, covariance, dither = self._covariance(s, x, mean, count)
        near, last = self._mean(x, mean, count, dither)
        learnt = {"seen": seen, "covariance": covariance, "dither": last}
        s = s | {name: g.where(known, value, s[name]) for name, value in learnt.items()}
        means = g.where(here.reshape(-1, 1), g.where(known, near, x * 256), s["means"])
        counts = s["counts"] + here.cast(np.int64)
        halved = ((counts + 1) >> 1).at_least(counts.at_most(COUNT_FLOOR))
        s = s | {"means": means, "counts": g.where(counts.max(0) >= COUNT_LIMIT, halved, counts)}
        if self.several:
            s["owners"] = g.where(here, label, s["owners"])
        due = (steps & (self.settings.sweep_every - 1)).equals(0)
        sweeps = g.where(known, due.cast(np.int64), NEW_ROW_SWEEPS)
        return self._swept(s, row, sweeps)

    def _covariance(self, s: Carried, x: Value, mean: Value, count: Value) -> tuple[Value, Value, Value]:
        """T, S and z after a sample, of a row that has a mean."""
        g, (p, q) = self.g, triangle(self.values)
        seen = (s["seen"] + 1).at_most(self.settings.covariance_memory)
        rate = 65536 // seen.at_least(COUNT_FLOOR)
        rate = rate - rate // (count + 1)
        rate = rate - (rate & 3)
        residual = (x - (mean >> 8)).clip(-RESIDUAL_LIMIT, RESIDUAL_LIMIT)
        dithers, last = self._dithers(s["dither"])
        product = residual.take(g.constant(p)) * residual.take(g.constant(q)) * (rate * 4)
        moved = s["covariance"] * (65536 - rate) + product + dithers.take(g.constant(p))
        return seen, moved >> 16, last

    def _mean(self, x: Value, mean: Value, count: Value, dither: Value) -> tuple[Value, Value]:
        """M of the row (H,), and z, after a sample, of a row that has a mean."""
        rate = 65536 // (count.at_most(self.settings.memory) + 1)
        dithers, last = self._dithers(dither)
        return mean + (((x * 256 - mean) * rate + dithers) >> 16), last

    def _dithers(self, dither: Value) -> tuple[Value, Value]:
        """The next H values of z, and the last of them."""
        found = (dither + DITHER * np.arange(1, self.values + 1)) & 65535
        return found, found.take(self.values - 1)

    def _swept(self, s: Carried, row: Value, sweeps: Value) -> Carried:
        """Sweeps of the sample's row, and in the first of them one of the row in turn.

        With u = 8 M - Σ_{j≠i} S_ij W_j and d = max(S_ii + EPS, 1), the rows of `full` have d in place of S_ii, so that u - d W_i is
        8 M_i - full_i · W. The weight moves by ⌈(|u - d W_i| - ⌊d/2⌋) / d⌉ toward u/d where that is positive.
        """
        g, h = self.g, self.values
        any_sweep, turn = sweeps > 0, s["turn"]
        p, q = triangle(h)
        place = np.zeros((h, h), np.int64)
        place[p, q] = np.arange(len(p))
        lower = np.tril(place)
        square = s["covariance"].take(g.constant(lower + np.tril(place, -1).T))
        eye = np.eye(h, dtype=np.int64)
        step = (s["covariance"].take(g.constant(place.diagonal())) + self.settings.ridge).at_least(1)
        full = g.where(g.constant(eye, np.bool_), step, square)
        up = step - 1 - (step >> 1)  # |off| + up >= 0, below step where |off| <= half
        both = g.concat(row.reshape(1), turn.reshape(1))
        targets = (s["means"].take(both) * 8).transpose(1, 0)
        given = [
            full.reshape(h, h, 1), targets.reshape(h, 2, 1), step.reshape(h, 1, 1), up.reshape(h, 1, 1), g.constant(eye[:, None]),
        ]  # fmt: skip

        def one(w: Value, now: list[Value]) -> Value:
            columns, target, step, up, place = now
            off = target - w @ columns
            return (w + (off.abs() + up) // step * off.sign() * place).clip(-127, 127)

        def sweep(number: Value, state: list[Value]) -> tuple[list[Value], list[Value]]:
            moves = g.concat(g.constant([True], np.bool_), number.equals(0).reshape(1)).reshape(2, 1)
            swept = g.scan(state[0], (2, h), given, one)
            return [g.where(moves, swept, state[0])], []

        (w,), _ = g.loop(sweeps, [s["weights"].take(both)], sweep)
        rows = g.constant(np.arange(self.rows)[:, None])
        other = any_sweep & ~turn.equals(row) & (s["counts"].take(turn) > 0)
        weights = g.where(rows.equals(turn) & other, w.take(1), s["weights"])
        weights = g.where(rows.equals(row), w.take(0), weights)
        following = turn + 1
        following = g.where(following.equals(self.rows), g.constant(0), following)
        return s | {"weights": weights, "turn": g.where(any_sweep, following, turn)}
