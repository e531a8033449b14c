"""The visit rule: docs/learning-rule.md, "Error", "Backward" and "Update"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metabit.export.frozen import DenseLayer, Frozen, Rule
from metabit.export.oracle.forward import Bools, Forward, Ints, signs

EXP: Ints = np.round(32767 * np.exp(-np.arange(256) / 16)).astype(np.int64)
ONE = 4096


@dataclass
class Done:
    """Visits, moves and flips of the current learning step."""

    visited: int = 0
    moved: int = 0
    flipped: int = 0


def softmax_error(n: Ints, label: int) -> Ints:
    """Error int64 (C,) of the table indices n (C,), in 1/4096."""
    q = EXP[np.minimum(255, n)]
    total = int(q.sum())
    error = (q * ONE + total // 2) // total
    error[label] -= ONE
    return np.asarray(error, dtype=np.int64)


def next_state(z: int) -> int:
    """State of the generator after z, 1..2^32 - 1: xorshift32."""
    z ^= (z << 13) & 0xFFFFFFFF
    z ^= z >> 17
    z ^= (z << 5) & 0xFFFFFFFF
    return z


class Visits(Forward):
    """A network that learns by visits.

    ``levels``, ``generator`` and the counters ``steps``, ``moved`` and ``flipped`` are the whole state that an image holds.
    """

    def __init__(self, frozen: Frozen) -> None:
        super().__init__(frozen)
        self.generator = frozen.generator
        self.steps = frozen.counters.steps
        self.moved = frozen.counters.moved
        self.flipped = frozen.counters.flipped

    def draw32(self) -> int:
        self.generator = next_state(self.generator)
        return self.generator

    def draw(self) -> int:
        return self.draw32() >> 16

    # Error

    def output_error(self, scores: Ints, label: int) -> Ints:
        below = np.minimum(65535, scores.max() - scores)
        return softmax_error((below * self.net.temperature) >> 12, label)

    # Backward

    def backward(self, i: int, error: Ints, mask: Bools) -> Ints:
        """Error of the layer below layer i, (K,); the mask (K,) is open where errors pass."""
        below = np.where(mask, signs(self.levels[i]).T @ error, 0)
        shift = 0
        while int(np.abs(below).max(initial=0)) >> shift >= 1 << 14:
            shift += 1
        return np.asarray(np.sign(below) * (np.abs(below) >> shift), dtype=np.int64)

    def half(self, lowest: int, x: Ints, mask: Bools, true_error: int) -> Bools:
        """Mask (N,) of the lowest learning layer, thinned by one half if its visits need no more units than that."""
        layer = self.net.layers[lowest]
        assert isinstance(layer.rule, Rule)
        eligible = len(x) if layer.takes == "signs" else int((x == 1).sum())
        visits = (((layer.rule.dose * true_error) >> 14) * eligible) >> 10
        if mask.sum() < 2 * max(visits, 32):
            return mask
        bits = [self.draw32() >> np.arange(32) & 1 for _ in range(-(-len(mask) // 32))]
        return np.asarray(mask & (np.concatenate(bits)[: len(mask)] == 1))

    def drawn(self, error: Ints) -> Ints:
        """Signs -1, 0 or 1 (N,) that stand for the error (N,) of a ternary layer."""
        largest, t = int(np.abs(error).max()), np.zeros_like(error)
        for i in np.flatnonzero(error):
            if self.draw() < (abs(int(error[i])) * (2**30 // largest)) >> 14:
                t[i] = np.sign(error[i])
        return t

    # Update

    def visit(self, index: int, i: int, j: int, up: bool, share: int | None, done: Done) -> None:
        """Visits synapse (i, j) of layer `index`, whose level moves by one in the wanted direction, or stays.

        share: factor of the table entry, in 1/65536; None takes the whole entry.
        """
        layer, h = self.net.layers[index], self.levels[index]
        assert isinstance(layer.rule, Rule)
        level = int(h[i, j])
        r = level if level >= 0 else -1 - level
        outward = up == (level >= 0)
        u, t = self.draw(), int((layer.rule.strengthen if outward else layer.rule.weaken)[r])
        made = u < t or t == 65535 if share is None else u < share * (t + 1) >> 16
        done.visited += 1
        if made and not (outward and r == 2 ** (layer.bits - 1) - 1):
            h[i, j] = level + (1 if up else -1)
            done.moved += 1
            done.flipped += not outward and r == 0

    def rates(self, error: Ints, dose: int, true_error: int) -> Ints | None:
        """Visit probability of each unit (N,), in 1/65536; None if there are no visits to distribute."""
        d, total = int(np.abs(error).sum()), (dose * true_error) >> 8
        if d == 0 or total == 0:
            return None
        s = 32 - total.bit_length()
        return np.minimum(65535, ((total << s) // d * np.abs(error)) >> s)

    def update(self, index: int, error: Ints, x: Ints, true_error: int, done: Done) -> None:
        """Update of one layer from its error (N,) and its inputs (K,)."""
        layer = self.net.layers[index]
        assert isinstance(layer.rule, Rule)
        rates = self.rates(error, layer.rule.dose, true_error)
        if rates is None:
            return
        eligible = np.arange(len(x)) if layer.takes == "signs" else np.flatnonzero(x == 1)
        point = self.draw()
        for i, rate in enumerate(int(r) for r in rates):
            while point < rate * len(eligible):
                j = int(eligible[point // rate])
                self.visit(index, i, j, bool(error[i] * x[j] < 0), None, done)
                point += 65536
            point -= rate * len(eligible)

    def learn_by_visits(self, inputs: list[Ints], masks: list[Bools], scores: Ints, label: int, done: Done) -> bool:
        """The rest of a learning step after `forward`. False if the sample is skipped."""
        error = self.output_error(scores, label)
        true_error = max(0, -int(error[label]))
        if true_error == 0 or true_error < self.net.skip_below:
            return False
        lowest = next(i for i, layer in enumerate(self.net.layers) if layer.learns)
        for i in range(len(self.net.layers) - 1, lowest - 1, -1):
            layer, below = self.net.layers[i], error
            if i > lowest:
                goes_on, mask = error, masks[i - 1]
                if isinstance(layer, DenseLayer) and layer.ternary:
                    if i == lowest + 1:
                        mask = self.half(lowest, inputs[lowest], mask, true_error)
                    goes_on = self.drawn(error)
                below = self.backward(i, goes_on, mask)
            if layer.learns:
                self.update(i, error, inputs[i], true_error, done)
            error = below
        return True
