"""The step of the visit rule as ONNX nodes: docs/learning-rule.md, "Sums", "Backward" and "Update".

The device makes its visits one after the other. No synapse is visited twice in a step, and the draws are known in advance
(`metabit.export.learning.onnx_draws`), so the graph makes all visits of a layer at once, with the same draws.
"""

from __future__ import annotations

import numpy as np

from metabit.export import frozen as f
from metabit.export.learning.onnx_draws import Stream
from metabit.export.learning.onnx_error import error_of
from metabit.export.learning.onnx_graph import Graph, Value
from metabit.export.learning.onnx_planes import levels_in, planes_out
from metabit.export.learning.onnx_rule import Carried, Learnt, Rule

TOO_LARGE = 14
"""Bits of an error of a hidden layer, at most."""
POINT = 65536


class VisitsStep(Rule):
    """Dense layers from the lowest that learns up to the output. It carries the generator and the levels, int32 (N, K)."""

    def __init__(self, g: Graph, frozen: f.Frozen) -> None:
        self.g, self.frozen = g, frozen
        self.lowest = next(i for i, layer in enumerate(frozen.layers) if layer.learns)
        self.last = len(frozen.layers) - 1
        self.layers = dict(enumerate(frozen.layers[self.lowest :], self.lowest))
        self.still = {i: levels_in(g, i, layer) for i, layer in self.layers.items() if not layer.learns}
        self.table: dict[int, tuple[Value, Value]] = {}

    def enter(self) -> Carried:
        learning = {str(i): levels_in(self.g, i, layer) for i, layer in self.layers.items() if layer.learns}
        return {"generator": self.g.named("generator").cast(np.int64), **learning}

    def leave(self, s: Carried) -> Carried:
        found = {"generator": s["generator"]}
        for i, layer in self.layers.items():
            if layer.learns:
                found |= planes_out(self.g, i, layer, s[str(i)])
        return found

    def weights(self, s: Carried, i: int) -> Value:
        """int32 (N, K), ±1."""
        levels = s[str(i)] if self.layers[i].learns else self.still[i]
        return self.g.where(levels >= 0, self.g.constant(1, np.int32), -1)

    def forward(self, s: Carried, x: Value) -> tuple[dict[int, Value], dict[int, Value], Value]:
        """Inputs int32 (K,) of each layer, masks (N,) of the hidden ones, and scores int64 (C,)."""
        inputs, masks = {self.lowest: x.cast(np.int32)}, dict[int, Value]()
        for i, layer in self.layers.items():
            a = (self.weights(s, i) @ inputs[i]).cast(np.int64)
            if i == self.last:
                mul, add = (self.g.named(f"layer{i}.{name}").cast(np.int64) for name in ("mul", "add"))
                return inputs, masks, a * mul + add
            assert isinstance(layer, f.DenseLayer)
            theta, window = self.g.named(f"layer{i}.threshold").cast(np.int64), layer.ste_window
            if layer.takes == "signs":
                theta = theta + ((theta - layer.inputs) & 1)
                v, window = (a - theta) // 2, window // 2  # an even number
            else:
                v = a - theta
            inputs[i + 1] = self.g.where(v >= 0, self.g.constant(1, np.int32), -1)
            masks[i] = ~(v.abs() > window)
        raise AssertionError("the last layer is an output")

    def scores(self, s: Carried, x: Value) -> Value:
        return self.forward(s, x)[2]

    def learn(self, s: Carried, x: Value, scores: Value, label: Value, steps: Value) -> Learnt:
        g, names = self.g, list(s)
        error, true_error, taught = error_of(g, self.frozen, scores, label)
        none = [g.constant(0)] * 3

        def step() -> list[Value]:
            after, counts = self.all_layers(dict(s), x, error, true_error)
            return [*(after[name] for name in names), *counts]

        found = g.choose(taught, step, lambda: [*s.values(), *none])
        return Learnt(dict(zip(names, found, strict=False)), taught, *found[len(names) :])

    def all_layers(self, s: Carried, x: Value, error: Value, true_error: Value) -> tuple[Carried, list[Value]]:
        """The state after the updates of all layers, and the synapses visited, moved and flipped."""
        inputs, masks, _ = self.forward(s, x)
        done = [self.g.constant(0)] * 3
        for i in range(self.last, self.lowest - 1, -1):
            layer, below = self.layers[i], error
            if i > self.lowest:
                goes_on, mask = error, masks[i - 1]
                if isinstance(layer, f.DenseLayer) and layer.ternary:
                    if i == self.lowest + 1:
                        mask, s = self.half(s, inputs[self.lowest], mask, true_error)
                    goes_on, s = self.drawn(s, error)
                below = self.backward(s, i, goes_on, mask)
            if layer.learns:
                s, counts = self.update(s, i, error, inputs[i], true_error)
                done = [a + b for a, b in zip(done, counts, strict=True)]
            error = below
        return s, done

    def backward(self, s: Carried, i: int, error: Value, mask: Value) -> Value:
        """The error (K,) of the layer below. |w e| sums to less than 2^14 · 2^14, so int32 holds it."""
        g = self.g
        below = g.where(mask, (error.cast(np.int32) @ self.weights(s, i)).cast(np.int64), 0)
        size = below.abs()
        limits = g.constant([1 << b for b in range(TOO_LARGE, 31)])
        shift = (size.max(0) >= limits).cast(np.int64).sum(0)
        return size // g.constant([1 << b for b in range(32)]).take(shift) * below.sign()

    def half(self, s: Carried, x: Value, mask: Value, true_error: Value) -> tuple[Value, Carried]:
        """Mask of the lowest learning layer, thinned by one half if its visits need no more units than that."""
        g, layer = self.g, self.layers[self.lowest]
        assert isinstance(layer.rule, f.Rule)
        visits = (((true_error * layer.rule.dose) >> 14) * self.eligible(layer, x).length()) >> 10
        thin = mask.cast(np.int64).sum(0) >= visits.at_least(32) * 2
        words = -(-layer.units // 32)
        stream = Stream(g, s["generator"], words, words)
        kept = stream.bits.slice(1, 1 + words).reshape(-1).slice(0, layer.units).cast(np.bool_)
        after = s | {"generator": g.where(thin, stream.state(words), s["generator"])}
        return mask & (kept | ~thin), after

    def drawn(self, s: Carried, error: Value) -> tuple[Value, Carried]:
        """Signs -1, 0 or 1 (N,) that stand for the error (N,) of a ternary layer of so many units."""
        g, size = self.g, error.abs()
        some = size.sign()
        used = some.sum(0)
        stream = Stream(g, s["generator"], used, max(layer.units for layer in self.layers.values()))
        share = (size * (2**30 // size.max(0).at_least(1))) >> 14
        taken = (stream.draws().take(some.cumsum()) < share).cast(np.int64)
        return error.sign() * taken, s | {"generator": stream.state(used)}

    def eligible(self, layer: f.Layer, x: Value) -> Value:
        """int64 (n,), the inputs that a step may visit."""
        if layer.takes == "signs":
            return self.g.constant(np.arange(layer.inputs))
        return self.g.op("NonZero", x, dtype=np.int64).reshape(-1)

    def rates(self, error: Value, dose: int, true_error: Value) -> tuple[Value, Value]:
        """Visit probability of each unit, int64 (N,), in 1/65536, and whether there are visits to distribute."""
        g, size = self.g, error.abs()
        d, total = size.sum(0), (true_error * dose) >> 8
        powers = g.constant([1 << b for b in range(33)])
        unit = powers.take(32 - (total >= powers).cast(np.int64).sum(0))
        some = (d > 0) & (total > 0)
        found = ((total * unit // d.at_least(1) * size) // unit).at_most(POINT - 1)
        return g.where(some, found, found * 0), some

    def update(self, s: Carried, i: int, error: Value, x: Value, true_error: Value) -> tuple[Carried, list[Value]]:
        """The state after the update of layer i, and the synapses visited, moved and flipped."""
        g, layer = self.g, self.layers[i]
        assert isinstance(layer.rule, f.Rule)
        rates, some = self.rates(error, layer.rule.dose, true_error)
        eligible = self.eligible(layer, x)
        lengths = rates * eligible.length()
        ends = lengths.cumsum()
        total = ends.take(layer.units - 1)
        most = min(layer.rule.dose * layer.inputs // 4096 + 1, layer.hidden.size) + 2
        stream = Stream(g, s["generator"], total // POINT + 2, most)
        draws = stream.draws()
        start = draws.take(1)
        visits = (total - start + POINT - 1) // POINT  # at least 0, as start < POINT
        before = (ends - start + POINT - 1) // POINT  # visits before the end of each unit
        ones = g.constant(np.ones(layer.units), np.int64)
        marks = g.op("ScatterElements", g.numbers(visits + 1) * 0, before, ones, axis=0, reduction="add")
        number = g.numbers(visits)
        unit = marks.cumsum().take(number)
        point = number * POINT + start - (ends - lengths).take(unit)
        j = eligible.take(point // rates.take(unit))
        place = g.concat(unit.reshape(-1, 1), j.reshape(-1, 1), axis=1)
        h = g.op("GatherND", s[str(i)], place)
        after, made, flips = self.visit(
            layer, layer.rule, h, error.take(unit) * x.cast(np.int64).take(j) < 0, draws.slice(2, visits + 2)
        )
        state = {
            "generator": g.where(some, stream.state(visits + 1), s["generator"]),
            str(i): g.op("ScatterND", s[str(i)], place, after),
        }  # fmt: skip
        return s | state, [visits, made, flips]

    def visit(self, layer: f.Layer, rule: f.Rule, h: Value, up: Value, u: Value) -> tuple[Value, Value, Value]:
        """Levels after their visits int32 (V,), and how many moved and flipped. up: wanted directions; u: draws."""
        g = self.g
        positive = h >= 0
        outward = ~g.op("Xor", up, positive)
        r = g.where(positive, h, -1 - h).cast(np.int64)
        tables = [g.constant(table).take(r) for table in (rule.strengthen, rule.weaken)]
        t = g.where(outward, *tables)
        full = outward & r.equals(2 ** (layer.bits - 1) - 1)
        made = (t > u) | t.equals(f.CERTAIN)
        made = made & ~full
        step = g.where(up, g.constant(1, np.int32), -1)
        flips = made & ~outward & r.equals(0)
        moved, flipped = (which.cast(np.int64).sum(0) for which in (made, flips))
        return h + step * made.cast(np.int32), moved, flipped
