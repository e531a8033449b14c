"""The learning rule in plain NumPy: the oracle that the C runtime must equal in every bit.

Written from docs/learning-rule.md, section by section, and from nothing else; slow and short on purpose. It takes any object
shaped like ``metabit.export.frozen.Frozen`` (see device_shapes.py), so this room depends on no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metabit.export.oracle.device_shapes import FrozenLike, GradedLike, LayerLike, WindowLike

Ints = NDArray[np.int64]

EXP: Ints = np.round(32767 * np.exp(-np.arange(256) / 16)).astype(np.int64)
ONE = 4096


def signs(levels: NDArray[np.signedinteger[Any]]) -> Ints:
    """Weights ±1 of levels."""
    return np.where(levels >= 0, 1, -1).astype(np.int64)


class Step(NamedTuple):
    """What one learning step did (the runtime's ``mb_learn_info``)."""

    predicted: int
    skipped: bool
    visited: int
    moved: int
    flipped: int


@dataclass
class Done:
    """What one learning step has done so far."""

    visited: int = 0
    moved: int = 0
    flipped: int = 0


class Kept(NamedTuple):
    """A sample that waits to be counted."""

    on: Ints
    """(K,), 0..P planes on for each input of the graded layer."""
    asks: Ints
    """(N,), votes: 1..3 up, -1..-3 down, 0 for not asking."""


class DeviceRule:
    """A network that predicts and learns exactly as the device does.

    ``levels[l]`` int8 (N, K), ``generator`` and ``steps``/``moved``/``flipped`` are the whole state that an image holds;
    ``kept`` are the last samples that asked, at most a batch; ``asked`` is the number of all that did, modulo the batch.
    """

    def __init__(self, frozen: FrozenLike) -> None:
        self.net = frozen
        self.levels = [layer.hidden.copy() for layer in frozen.layers]
        self.generator = frozen.generator
        self.steps = frozen.counters.steps
        self.moved = frozen.counters.moved
        self.flipped = frozen.counters.flipped
        self.kept: list[Kept] = []
        self.asked = 0

    # Input

    def encode(self, features: NDArray[np.uint8]) -> Ints:
        """uint8 (F,) features -> 0/1 (K,). Without an encoder the input is already what the first layer takes."""
        if self.net.encode is None:
            return features.astype(np.int64)
        on = (features[None, :] >= self.net.encode.thresholds).astype(np.int64)
        pixels = on.reshape(len(on), -1, self.net.encode.channels or on.shape[1])  # (P, pixel, channel)
        return pixels.transpose(1, 0, 2).reshape(-1)

    # Sums

    @staticmethod
    def windows(x: Ints, c: WindowLike, outside: int) -> Ints:
        """An image (H * W * C,) -> what each place of the window sees, (H' * W', K)."""
        image = x.reshape(c.height, c.width, c.channels)
        if c.same:
            totals = [max(0, (-(-size // c.stride) - 1) * c.stride + c.kernel - size) for size in (c.height, c.width)]
            image = np.pad(image, [*((t // 2, t - t // 2) for t in totals), (0, 0)], constant_values=outside)
        rows, columns = ((size - c.kernel) // c.stride + 1 for size in image.shape[:2])
        seen = [
            image[row * c.stride :, column * c.stride :][: c.kernel, : c.kernel].reshape(-1)
            for row in range(rows)
            for column in range(columns)
        ]
        return np.array(seen)

    @staticmethod
    def pooled(y: Ints, c: WindowLike, columns: int) -> Ints:
        """±1 (H' * W', N) -> the largest of each full square, flattened with N fastest."""
        image = y.reshape(-1, columns, y.shape[1])
        height, width = image.shape[0] // c.pool, image.shape[1] // c.pool
        squares = image[: height * c.pool, : width * c.pool].reshape(height, c.pool, width, c.pool, -1)
        return np.asarray(squares.max(axis=(1, 3)).reshape(-1), dtype=np.int64)

    def convolve(self, layer: LayerLike, levels: NDArray[np.int8], x: Ints) -> Ints:
        """Activations of a convolution."""
        c = layer.conv
        assert c is not None
        seen = self.windows(x, c, 255 if layer.uint8 else 1)
        a = seen @ signs(levels).T
        columns = -(-c.width // c.stride) if c.same else (c.width - c.kernel) // c.stride + 1
        return self.pooled(np.where(a >= layer.theta, 1, -1), c, columns)

    def forward(self, features: NDArray[np.uint8]) -> tuple[list[Ints], list[NDArray[np.bool_]], Ints]:
        """Inputs of every layer, straight-through masks of the hidden ones, and the scores int64 (C,).

        The mask of a convolution is empty, as no error reaches it, and that of a graded layer, whose error is of other passes.
        """
        inputs, masks = [self.encode(features)], []
        for layer, levels in zip(self.net.layers[:-1], self.levels[:-1], strict=True):
            if layer.conv is not None:
                inputs.append(self.convolve(layer, levels, inputs[-1]))
                masks.append(np.zeros(0, np.bool_))
                continue
            if layer.graded is not None:
                on = self.planes_on(layer.graded, inputs[-1]).sum(0)
                h = levels.astype(np.int64)
                v = (signs(h) * (2 - self.unsure(h, layer.bits))) @ on - 2 * layer.theta.astype(np.int64)
                inputs.append(self.gates(layer.graded, v)[0])
                masks.append(np.zeros(0, np.bool_))
                continue
            a = signs(levels) @ inputs[-1]
            theta = layer.theta.astype(np.int64)
            if layer.on_off:
                v = a - theta
                masks.append(np.abs(v) <= layer.window)
            else:
                theta = theta + ((theta - levels.shape[1]) & 1)  # a has the parity of K: raise theta to it
                v = (a - theta) // 2
                masks.append(np.abs(v) <= layer.window // 2)
            inputs.append(np.where(v >= 0, 1, -1).astype(np.int64))
        return inputs, masks, self.scored(inputs[-1])

    def scored(self, x: Ints) -> Ints:
        """Scores int64 (C,) of what the output takes."""
        last = self.net.layers[-1]
        return np.asarray(signs(self.levels[-1]) @ x * last.mul + last.add, dtype=np.int64)

    def scores(self, features: NDArray[np.uint8]) -> Ints:
        """int64 (C,) scores of one input."""
        return self.forward(features)[2]

    def predict(self, features: NDArray[np.uint8]) -> int:
        return int(np.argmax(self.scores(features)))

    # Error

    def output_error(self, scores: Ints, label: int) -> Ints:
        below = np.minimum(65535, scores.max() - scores)
        return self.softmax_error((below * self.net.temperature) >> 12, label)

    @staticmethod
    def softmax_error(n: Ints, label: int) -> Ints:
        q = EXP[np.minimum(255, n)]
        total = int(q.sum())
        error = (q * ONE + total // 2) // total
        error[label] -= ONE
        return np.asarray(error, dtype=np.int64)

    # Backward

    @staticmethod
    def backward(levels: NDArray[np.int8], error: Ints, mask: NDArray[np.bool_]) -> Ints:
        below = np.where(mask, signs(levels).T @ error, 0)
        shift = 0
        while int(np.abs(below).max(initial=0)) >> shift >= 1 << 14:
            shift += 1
        return np.asarray(np.sign(below) * (np.abs(below) >> shift), dtype=np.int64)

    def half(self, lowest: int, x: Ints, mask: NDArray[np.bool_], true_error: int) -> NDArray[np.bool_]:
        """The open units (N,) of the lowest layer that learns to which the error of a ternary one goes on."""
        layer = self.net.layers[lowest]
        assert layer.rule is not None
        eligible = int((x == 1).sum()) if layer.on_off else len(x)
        visits = (((layer.rule.dose * true_error) >> 14) * eligible) >> 10
        if mask.sum() < 2 * max(visits, 32):
            return mask
        bits = [self.draw32() >> np.arange(32) & 1 for _ in range(-(-len(mask) // 32))]
        return np.asarray(mask & (np.concatenate(bits)[: len(mask)] == 1))

    def drawn(self, error: Ints) -> Ints:
        """The signs that a ternary layer's error (N,) goes on as."""
        largest, t = int(np.abs(error).max()), np.zeros_like(error)
        for i in np.flatnonzero(error):
            if self.draw() < (abs(int(error[i])) * (2**30 // largest)) >> 14:
                t[i] = np.sign(error[i])
        return t

    # Update

    def draw32(self) -> int:
        z = self.generator
        z ^= (z << 13) & 0xFFFFFFFF
        z ^= z >> 17
        z ^= (z << 5) & 0xFFFFFFFF
        self.generator = z
        return z

    def draw(self) -> int:
        return self.draw32() >> 16

    def visit(self, index: int, i: int, j: int, up: bool, share: int | None, done: Done) -> None:
        """Moves a level by one in the wanted direction, or not. share: of its table entry, in 1/65536; None for all of it."""
        layer, h = self.net.layers[index], self.levels[index]
        assert layer.rule is not None
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
        """Chances of each unit, in 1/65536; None if there are no visits to share."""
        d, total = int(np.abs(error).sum()), (dose * true_error) >> 8
        if d == 0 or total == 0:
            return None
        s = 32 - total.bit_length()
        return np.minimum(65535, ((total << s) // d * np.abs(error)) >> s)

    def update(self, index: int, error: Ints, x: Ints, true_error: int, done: Done) -> None:
        """One layer's update."""
        layer = self.net.layers[index]
        assert layer.rule is not None
        rates = self.rates(error, layer.rule.dose, true_error)
        if rates is None:
            return
        eligible = np.flatnonzero(x == 1) if layer.on_off else np.arange(len(x))
        point = self.draw()
        for i, rate in enumerate(int(r) for r in rates):
            while point < rate * len(eligible):
                j = int(eligible[point // rate])
                self.visit(index, i, j, bool(error[i] * x[j] < 0), None, done)
                point += 65536
            point -= rate * len(eligible)

    # Graded units and votes

    @staticmethod
    def planes_on(graded: GradedLike, x: Ints) -> Ints:
        """What comes in, 0/1 or ±1 (P * K,) -> 0/1 (P, K)."""
        return (x > 0).astype(np.int64).reshape(graded.planes, -1)

    @staticmethod
    def unsure(h: Ints, bits: int) -> NDArray[np.bool_]:
        """Which weights may be drawn as their opposite: the lower half of the magnitudes."""
        return np.asarray(2 * np.where(h >= 0, h, -1 - h) < 2 ** (bits - 1) if bits > 1 else np.zeros_like(h, np.bool_))

    @staticmethod
    def gates(graded: GradedLike, v: Ints) -> tuple[Ints, NDArray[np.bool_], NDArray[np.bool_]]:
        """V (N,) -> what the units give, -8..8; which are on the ramp, where errors pass; and which are closed beyond it."""
        size = np.abs(v)
        mean = 16 * int(size.sum()) // len(v)
        low, high = (mean * graded.lo) >> 12, (mean * graded.hi) >> 12
        width = max(1, high - low)
        rise = np.minimum(np.maximum(size - low, 0), width)
        return (
            8 - ((rise * (2**20 // width) + 2**15) >> 16),
            (low < size) & (size < high),
            (low < size) & (size >= high),
        )

    def drawn_sums(self, index: int, x: Ints) -> Ints:
        """V (4, N) of the graded layer, four times with weights drawn anew."""
        layer, h = self.net.layers[index], self.levels[index].astype(np.int64)
        on = np.flatnonzero(x > 0)
        words = np.array([[self.draw32() for _ in on] for _ in range(-(-len(h) // 32))], dtype=np.int64)
        unit = np.arange(len(h))
        one, other = (
            (z[unit // 32] >> (unit % 32)[:, None]) & 1 for z in (words, words << 13 | words >> 19)
        )  # (N, bits on)
        turned = np.stack([one & other, one & (1 - other), (1 - one) & other, (1 - one) & (1 - other)])
        taken = on % h.shape[1]
        w = signs(h)[:, taken] * (1 - 2 * turned * self.unsure(h, layer.bits)[:, taken])
        return np.asarray(2 * w.sum(2) - 2 * layer.theta, dtype=np.int64)

    def vote_error(self, scores: Ints, label: int) -> tuple[Ints, int]:
        """The output's error of one pass, (C,), and the true error before the common size is taken out of it."""
        d = len(scores) * scores - scores.sum()
        shift = 10 - int(np.abs(d).max()).bit_length()
        d = d << shift if shift >= 0 else np.sign(d) * (np.abs(d) >> -shift)
        e = self.softmax_error((d.max() - d) * self.net.temperature // max(1, int(np.abs(d).sum())), label)
        p = int((e * d).sum())
        f = abs(p) // max(1, int((d * d).sum()) >> 8) if len(d) > 2 else 0
        return e - np.sign(p) * np.sign(d) * ((np.abs(d) * f + 128) >> 8), max(0, -int(e[label]))

    def vote(self, index: int, x: Ints, label: int, done: Done) -> bool:
        """A sample asks for what it wants; then the inputs whose turn it is count their votes. False if it taught nothing."""
        layer = self.net.layers[index]
        assert layer.graded is not None and layer.rule is not None and layer.rule.votes is not None
        votes, error, wrong = layer.rule.votes, np.zeros(len(self.levels[index]), dtype=np.int64), 0
        for v in (v for _ in range(votes.draws // 4) for v in self.drawn_sums(index, x)):
            gates, ramp, closed = self.gates(layer.graded, v)
            e, one = self.vote_error(self.scored(gates), label)
            wrong += one
            back = signs(self.levels[-1]).T @ e
            opens = -(np.maximum(-back, 0) >> 2)
            error -= np.sign(v) * np.where(ramp, back, np.where(closed, opens, 0))
        wrong //= votes.draws
        rates = None if wrong < self.net.margin else self.rates(error, layer.rule.dose, wrong)
        if rates is None:  # as it is for no error at all
            return False
        asks = np.zeros_like(error)
        for i in np.flatnonzero(error):
            asks[i] = -np.sign(error[i]) * ((3 * int(rates[i]) + self.draw()) >> 16)
        if asks.any():
            self.kept = [*self.kept, Kept(self.planes_on(layer.graded, x).sum(0), asks)][-votes.batch :]
            self.count(index, np.arange(self.asked, layer.hidden.shape[1], votes.batch), done)
            self.asked = (self.asked + 1) % votes.batch
        return True

    def count(self, index: int, inputs: Ints, done: Done) -> None:
        """Counts the votes of the samples kept for these inputs, ascending."""
        layer = self.net.layers[index]
        assert layer.rule is not None and layer.rule.votes is not None
        votes = layer.rule.votes
        on, asks = (np.array(part) for part in zip(*self.kept, strict=True))  # (kept, K), (kept, N)
        voted, up = np.abs(asks).T @ on[:, inputs], asks.T @ on[:, inputs]
        beyond = np.minimum(16 * np.abs(up) - votes.need[voted], 65535)
        for first in range(0, len(beyond), 32):
            for place, lane in np.argwhere(beyond[first : first + 32].T > 0):
                i = first + int(lane)
                share = min(65535, (int(beyond[i, place]) * votes.gain) >> 4)
                self.visit(index, i, int(inputs[place]), bool(up[i, place] > 0), share, done)

    def learn(self, features: NDArray[np.uint8], label: int) -> Step:
        """One learning step on one sample, in place."""
        inputs, masks, scores = self.forward(features)
        self.steps = (self.steps + 1) % 2**32
        predicted = int(np.argmax(scores))
        done = Done()
        learning = [i for i, layer in enumerate(self.net.layers) if layer.rule is not None]
        if any(self.net.layers[i].graded for i in learning):  # then no other layer learns
            taught = self.vote(learning[0], inputs[learning[0]], label, done)
            return self.step(predicted, not taught, done)
        error = self.output_error(scores, label)
        true_error = max(0, -int(error[label]))
        if true_error == 0 or true_error < self.net.margin:
            return Step(predicted, True, 0, 0, 0)
        for i in range(len(self.net.layers) - 1, learning[0] - 1, -1):
            below = error
            if i > learning[0]:
                goes_on, open_ = error, masks[i - 1]
                if self.net.layers[i].ternary and i == learning[0] + 1:
                    open_ = self.half(i - 1, inputs[i - 1], open_, true_error)
                if self.net.layers[i].ternary:
                    goes_on = self.drawn(error)
                below = self.backward(self.levels[i], goes_on, open_)
            if i in learning:
                self.update(i, error, inputs[i], true_error, done)
            error = below
        return self.step(predicted, False, done)

    def step(self, predicted: int, skipped: bool, done: Done) -> Step:
        """The report of a step, once its moves and flips are in the counters."""
        self.moved = (self.moved + done.moved) % 2**32
        self.flipped = (self.flipped + done.flipped) % 2**32
        return Step(predicted, skipped, done.visited, done.moved, done.flipped)
