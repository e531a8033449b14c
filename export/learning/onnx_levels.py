"""The step of an output of levels as ONNX nodes: docs/learning-rule.md, "Output levels"."""

from __future__ import annotations

import numpy as np

from metabit.export import frozen as f
from metabit.export.learning.onnx_draws import Stream
from metabit.export.learning.onnx_error import error_of
from metabit.export.learning.onnx_graph import Graph, Value
from metabit.export.learning.onnx_rule import Learnt, Rule
from metabit.export.oracle.gates import LEVELS, OFFSET_INPUTS
from metabit.export.oracle.levels import SMALLEST_ERROR


class LevelsStep(Rule):
    """Layer 1, levels above gates. It carries the generator and the levels, int64 (C, K + 1)."""

    def __init__(self, g: Graph, frozen: f.Frozen) -> None:
        layer = frozen.layers[1]
        assert isinstance(layer, f.LevelsLayer) and layer.rule is not None
        self.g, self.frozen, self.layer, self.rule = g, frozen, layer, layer.rule

    def enter(self) -> dict[str, Value]:
        return {name: self.g.named(name).cast(np.int64) for name in ("generator", "layer1.levels")}

    def leave(self, s: dict[str, Value]) -> dict[str, Value]:
        return s

    def scores(self, s: dict[str, Value], x: Value) -> Value:
        return (s["layer1.levels"] * self._inputs(x, OFFSET_INPUTS * LEVELS)).sum(1)

    def _inputs(self, x: Value, offset: int) -> Value:
        """The levels of the gates (K,) and what the offset counts for."""
        return self.g.concat(x, self.g.constant([offset]))

    def learn(self, s: dict[str, Value], x: Value, scores: Value, label: Value, steps: Value) -> Learnt:
        g, h, inputs = self.g, s["layer1.levels"], self._inputs(x, LEVELS)
        error, _, taught = error_of(g, self.frozen, scores, label)
        learns = taught & (error.abs() >= SMALLEST_ERROR)
        visited = learns.reshape(-1, 1) & ~inputs.equals(0)
        number = visited.reshape(-1).cast(np.int64).cumsum()  # of the draw, from 1
        used = visited.cast(np.int64).sum(1).sum(0)
        stream = Stream(g, s["generator"], used, self.layer.hidden.size)
        drawn = stream.draws().take(number.reshape(self.layer.units, -1))
        step = (error.abs() * self.rule.dose + 2048) >> 12
        wanted = (-error.sign() * step).reshape(-1, 1) * inputs
        weaken = g.constant(self.rule.weaken)
        weakened = (wanted * weaken.take(h.abs())) >> 8
        wanted = g.where(wanted.sign() * h.sign() < 0, weakened, wanted)
        top = 2 ** (self.layer.bits - 1) - 1
        after = g.where(visited, (h + ((wanted + drawn) >> 16)).clip(-top, top), h)
        moved = (~after.equals(h)).cast(np.int64).sum(1).sum(0)
        return Learnt({"generator": stream.state(used), "layer1.levels": after}, taught, used, moved, g.constant(0))
