"""The learning rule in plain NumPy: the oracle that the C runtime must equal in every bit.

Written from docs/learning-rule.md, section by section, and from nothing else; slow and short on purpose. It takes any object
shaped like ``metabit.export.frozen.Frozen`` (see the protocols), so this room depends on no other.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

EXP: Ints = np.round(32767 * np.exp(-np.arange(256) / 16)).astype(np.int64)
ONE = 4096


class RuleLike(Protocol):
    @property
    def strengthen(self) -> NDArray[np.uint16]: ...
    @property
    def weaken(self) -> NDArray[np.uint16]: ...
    @property
    def dose(self) -> int: ...


class WindowLike(Protocol):
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def kernel(self) -> int: ...
    @property
    def stride(self) -> int: ...
    @property
    def same(self) -> bool: ...
    @property
    def pool(self) -> int: ...


class LayerLike(Protocol):
    @property
    def hidden(self) -> NDArray[np.int8]: ...
    @property
    def bits(self) -> int: ...
    @property
    def on_off(self) -> bool: ...
    @property
    def theta(self) -> NDArray[np.int32]: ...
    @property
    def window(self) -> int: ...
    @property
    def mul(self) -> NDArray[np.int32]: ...
    @property
    def add(self) -> NDArray[np.int32]: ...
    @property
    def rule(self) -> RuleLike | None: ...
    @property
    def uint8(self) -> bool: ...
    @property
    def conv(self) -> WindowLike | None: ...


class EncodeLike(Protocol):
    @property
    def thresholds(self) -> NDArray[np.uint8]: ...
    @property
    def channels(self) -> int: ...


class CountersLike(Protocol):
    @property
    def steps(self) -> int: ...
    @property
    def moved(self) -> int: ...
    @property
    def flipped(self) -> int: ...


class FrozenLike(Protocol):
    @property
    def layers(self) -> tuple[LayerLike, ...]: ...
    @property
    def encode(self) -> EncodeLike | None: ...
    @property
    def temperature(self) -> int: ...
    @property
    def margin(self) -> int: ...
    @property
    def generator(self) -> int: ...
    @property
    def counters(self) -> CountersLike: ...


class Step(NamedTuple):
    """What one learning step did (the runtime's ``mb_learn_info``)."""

    predicted: int
    skipped: bool
    visited: int
    moved: int
    flipped: int


class DeviceRule:
    """A network that predicts and learns exactly as the device does.

    ``levels[l]`` int8 (N, K), ``generator`` and ``steps``/``moved``/``flipped`` are the whole state.
    """

    def __init__(self, frozen: FrozenLike) -> None:
        self.net = frozen
        self.levels = [layer.hidden.copy() for layer in frozen.layers]
        self.generator = frozen.generator
        self.steps = frozen.counters.steps
        self.moved = frozen.counters.moved
        self.flipped = frozen.counters.flipped

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
        a = seen @ np.where(levels >= 0, 1, -1).astype(np.int64).T
        columns = -(-c.width // c.stride) if c.same else (c.width - c.kernel) // c.stride + 1
        return self.pooled(np.where(a >= layer.theta, 1, -1), c, columns)

    def forward(self, features: NDArray[np.uint8]) -> tuple[list[Ints], list[NDArray[np.bool_]], Ints]:
        """Inputs of every layer, straight-through masks of the hidden ones, and the scores int64 (C,).

        A convolution's mask is empty: no error reaches it.
        """
        inputs, masks = [self.encode(features)], []
        for layer, levels in zip(self.net.layers[:-1], self.levels[:-1], strict=True):
            if layer.conv is not None:
                inputs.append(self.convolve(layer, levels, inputs[-1]))
                masks.append(np.zeros(0, np.bool_))
                continue
            a = np.where(levels >= 0, 1, -1).astype(np.int64) @ inputs[-1]
            theta = layer.theta.astype(np.int64)
            if layer.on_off:
                v = a - theta
                masks.append(np.abs(v) <= layer.window)
            else:
                theta = theta + ((theta - levels.shape[1]) & 1)  # a has the parity of K: raise theta to it
                v = (a - theta) // 2
                masks.append(np.abs(v) <= layer.window // 2)
            inputs.append(np.where(v >= 0, 1, -1).astype(np.int64))
        last = self.net.layers[-1]
        a = np.where(self.levels[-1] >= 0, 1, -1).astype(np.int64) @ inputs[-1]
        return inputs, masks, a * last.mul + last.add

    def scores(self, features: NDArray[np.uint8]) -> Ints:
        """int64 (C,) scores of one input."""
        return self.forward(features)[2]

    def predict(self, features: NDArray[np.uint8]) -> int:
        return int(np.argmax(self.scores(features)))

    # Error

    def output_error(self, scores: Ints, label: int) -> Ints:
        below = np.minimum(65535, scores.max() - scores)
        q = EXP[np.minimum(255, (below * self.net.temperature) >> 12)]
        total = int(q.sum())
        error = (q * ONE + total // 2) // total
        error[label] -= ONE
        return np.asarray(error, dtype=np.int64)

    # Backward

    @staticmethod
    def backward(levels: NDArray[np.int8], error: Ints, mask: NDArray[np.bool_]) -> Ints:
        below = np.where(mask, np.where(levels >= 0, 1, -1).astype(np.int64).T @ error, 0)
        shift = 0
        while int(np.abs(below).max(initial=0)) >> shift >= 1 << 14:
            shift += 1
        return np.asarray(np.sign(below) * (np.abs(below) >> shift), dtype=np.int64)

    # Update

    def draw(self) -> int:
        z = self.generator
        z ^= (z << 13) & 0xFFFFFFFF
        z ^= z >> 17
        z ^= (z << 5) & 0xFFFFFFFF
        self.generator = z
        return z >> 16

    def update(self, index: int, error: Ints, x: Ints, true_error: int) -> tuple[int, int, int]:
        """One layer's update; returns visited, moved, flipped."""
        layer, h = self.net.layers[index], self.levels[index]
        assert layer.rule is not None
        d, total = int(np.abs(error).sum()), (layer.rule.dose * true_error) >> 8
        if d == 0 or total == 0:
            return 0, 0, 0
        s = 32 - total.bit_length()
        rates = np.minimum(65535, ((total << s) // d * np.abs(error)) >> s)
        eligible = np.flatnonzero(x == 1) if layer.on_off else np.arange(len(x))
        top = 2 ** (layer.bits - 1) - 1
        visited = moved = flipped = 0
        point = self.draw()
        for i, rate in enumerate(int(r) for r in rates):
            while point < rate * len(eligible):
                j = int(eligible[point // rate])
                level = int(h[i, j])
                up = error[i] * x[j] < 0
                r = level if level >= 0 else -1 - level
                outward = up == (level >= 0)
                u, t = self.draw(), int((layer.rule.strengthen if outward else layer.rule.weaken)[r])
                visited += 1
                if not (outward and r == top) and (u < t or t == 65535):
                    h[i, j] = level + (1 if up else -1)
                    moved += 1
                    flipped += not outward and r == 0
                point += 65536
            point -= rate * len(eligible)
        return visited, moved, flipped

    def learn(self, features: NDArray[np.uint8], label: int) -> Step:
        """One learning step on one sample, in place."""
        inputs, masks, scores = self.forward(features)
        error = self.output_error(scores, label)
        true_error = max(0, -int(error[label]))
        self.steps = (self.steps + 1) % 2**32
        predicted = int(np.argmax(scores))
        if true_error == 0 or true_error < self.net.margin:
            return Step(predicted, True, 0, 0, 0)
        learning = [i for i, layer in enumerate(self.net.layers) if layer.rule is not None]
        done = np.zeros(3, dtype=np.int64)
        for i in range(len(self.net.layers) - 1, learning[0] - 1, -1):
            below = self.backward(self.levels[i], error, masks[i - 1]) if i > learning[0] else error
            if i in learning:
                done += self.update(i, error, inputs[i], true_error)
            error = below
        visited, moved, flipped = (int(n) for n in done)
        self.moved = (self.moved + moved) % 2**32
        self.flipped = (self.flipped + flipped) % 2**32
        return Step(predicted, False, visited, moved, flipped)
