"""The vote rule, and the learning step of either rule: docs/learning-rule.md, "Graded units and votes"."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.frozen import Frozen, GradedLayer, Kept
from metabit.export.oracle.forward import Ints, grades, signs, unsure
from metabit.export.oracle.network import Gates
from metabit.export.oracle.visits import Done, softmax_error


class Step(NamedTuple):
    """Report of one learning step (the runtime's ``mb_learn_info``)."""

    predicted: int
    skipped: bool
    visited: int
    moved: int
    flipped: int


class Oracle(Gates):
    """A network that predicts and learns exactly as the device does, by whatever rule it has.

    ``slot``, ``bits`` and ``votes`` are those of `Kept`, bool (0, 0) and int8 (0, 0) where no layer learns by votes.
    """

    def __init__(self, frozen: Frozen) -> None:
        super().__init__(frozen)
        self.slot, self.bits, self.votes = 0, np.zeros((0, 0), np.bool_), np.zeros((0, 0), np.int8)
        for layer in frozen.layers:
            if isinstance(layer, GradedLayer) and layer.rule is not None:
                batch, kept = layer.rule.batch, layer.kept
                self.slot = kept.slot if kept else 0
                self.bits = kept.bits.copy() if kept else np.zeros((batch, layer.values), np.bool_)
                self.votes = kept.votes.copy() if kept else np.zeros((batch, layer.units), np.int8)

    def kept(self) -> Kept | None:
        """The samples whose votes are still to be counted; None without one."""
        some = self.slot or self.votes.any() or self.bits.any()
        return Kept(self.slot, self.bits.copy(), self.votes.copy()) if some else None

    def learn(self, features: NDArray[Any], label: int) -> Step:
        """Learns one sample, in place. features: as `forward`; label: 0..C-1.

        Raises ExportError if the network does not learn, or if its head has no row left for the label; nothing changes then.
        """
        if not any(layer.learns for layer in self.net.layers):
            raise ExportError("this network does not learn: export it with a learner")
        inputs, masks, scores = self.forward(features)
        if self.head is not None:
            self.head.learn(inputs[-1].astype(np.int8), label, (self.steps + 1) % 2**32)
        self.steps = (self.steps + 1) % 2**32
        done = Done()
        graded = next((i for i, layer in enumerate(self.net.layers) if layer.kind == "graded"), None)
        if self.head is not None:
            taught = True
        elif self.net.layers[-1].kind == "levels":
            taught = self.learn_by_levels(inputs[-1], scores, label, done)
        elif graded is not None:
            taught = self.learn_by_votes(graded, inputs[graded], label, done)
        else:
            taught = self.learn_by_visits(inputs, masks, scores, label, done)
        self.moved = (self.moved + done.moved) % 2**32
        self.flipped = (self.flipped + done.flipped) % 2**32
        return Step(int(np.argmax(scores)), not taught, done.visited, done.moved, done.flipped)

    def drawn_sums(self, index: int, x: Ints) -> Ints:
        """V (4, N) of the graded layer in four passes with weights drawn anew."""
        layer, h = self.net.layers[index], self.levels[index].astype(np.int64)
        assert isinstance(layer, GradedLayer)
        on = np.flatnonzero(x > 0)
        words = np.array([[self.draw32() for _ in on] for _ in range(-(-len(h) // 32))], dtype=np.int64)
        unit = np.arange(len(h))
        one, other = (
            (z[unit // 32] >> (unit % 32)[:, None]) & 1 for z in (words, words << 13 | words >> 19)
        )  # (N, bits on)
        turned = np.stack([one & other, one & (1 - other), (1 - one) & other, (1 - one) & (1 - other)])
        taken = on % h.shape[1]
        w = signs(h)[:, taken] * (1 - 2 * turned * unsure(h, layer.bits)[:, taken])
        return np.asarray(2 * w.sum(2) - 2 * layer.theta, dtype=np.int64)

    def vote_error(self, scores: Ints, label: int) -> tuple[Ints, int]:
        """Error of one pass (C,), and the error of the true class before the common size of the scores is taken out."""
        d = len(scores) * scores - scores.sum()
        shift = 10 - int(np.abs(d).max()).bit_length()
        d = d << shift if shift >= 0 else np.sign(d) * (np.abs(d) >> -shift)
        e = softmax_error((d.max() - d) * self.net.temperature // max(1, int(np.abs(d).sum())), label)
        p = int((e * d).sum())
        f = abs(p) // max(1, int((d * d).sum()) >> 8) if len(d) > 2 else 0
        return e - np.sign(p) * np.sign(d) * ((np.abs(d) * f + 128) >> 8), max(0, -int(e[label]))

    def learn_by_votes(self, index: int, x: Ints, label: int, done: Done) -> bool:
        """The rest of a learning step: the units of graded layer `index` vote, then one slice of the inputs is counted.

        x: what the layer takes, (P * K,). False if the sample is skipped.
        """
        layer = self.net.layers[index]
        assert isinstance(layer, GradedLayer) and layer.rule is not None
        rule, error, wrong = layer.rule, np.zeros(layer.units, dtype=np.int64), 0
        for v in (v for _ in range(rule.passes // 4) for v in self.drawn_sums(index, x)):
            grade, ramp, beyond = grades(layer.low, layer.high, v)
            e, one = self.vote_error(self.scored(grade), label)
            wrong += one
            back = signs(self.levels[-1]).T @ e
            opens = -(np.maximum(-back, 0) >> 2)
            error -= np.sign(v) * np.where(ramp, back, np.where(beyond, opens, 0))
        wrong //= rule.passes
        rates = None if wrong < self.net.skip_below else self.rates(error, rule.dose, wrong)
        if rates is None:  # also where there is no error at all
            return False
        votes = np.zeros_like(error)
        for i in np.flatnonzero(error):
            votes[i] = -np.sign(error[i]) * ((3 * int(rates[i]) + self.draw()) >> 16)
        if votes.any():
            self.bits[self.slot], self.votes[self.slot] = x > 0, votes
            self.count(index, np.arange(self.slot, layer.inputs, rule.batch), done)
            self.slot = (self.slot + 1) % rule.batch
        return True

    def count(self, index: int, inputs: Ints, done: Done) -> None:
        """Counts the votes of all kept samples for these inputs, ascending, and visits synapses."""
        layer = self.net.layers[index]
        assert isinstance(layer, GradedLayer) and layer.rule is not None
        some = self.votes.any(1)  # slots with a sample
        on = self.bits[some].reshape(-1, layer.planes, layer.inputs).sum(1, dtype=np.int64)  # (samples, K)
        votes = self.votes[some].astype(np.int64)  # (samples, N)
        number, up = np.abs(votes).T @ on[:, inputs], votes.T @ on[:, inputs]
        beyond = np.minimum(16 * np.abs(up) - layer.rule.votes_needed[number], 65535)
        for first in range(0, len(beyond), 32):
            for place, lane in np.argwhere(beyond[first : first + 32].T > 0):
                i = first + int(lane)
                share = min(65535, (int(beyond[i, place]) * layer.rule.chance_per_vote) >> 4)
                self.visit(index, i, int(inputs[place]), bool(up[i, place] > 0), share, done)
