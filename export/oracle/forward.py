"""Prediction: docs/learning-rule.md, "Input", "Sums", "Images" and "Graded layer"."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.frozen import ConvGeometry, ConvLayer, Cuts, DenseLayer, Encode, Frozen, GradedLayer, OutputLayer

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def signs(levels: NDArray[np.signedinteger[Any]]) -> Ints:
    """Weights +1 or -1 of levels."""
    return np.where(levels >= 0, 1, -1).astype(np.int64)


def unsure(h: Ints, bits: int) -> Bools:
    """True for the weights that a pass may draw as their opposite: magnitude in the lower half, of 2 or more bits."""
    return np.asarray(2 * np.where(h >= 0, h, -1 - h) < 2 ** (bits - 1) if bits > 1 else np.zeros_like(h, np.bool_))


def encode(code: Encode | Cuts | None, features: NDArray[Any]) -> Ints:
    """Features uint8 or int16 (F,) -> input bits (P * F,). Without an encoder the input is returned as it is."""
    if code is None:
        return features.astype(np.int64)
    on = (features[None, :] >= code.thresholds).astype(np.int64)
    pixels = on.reshape(len(on), -1, code.channels or on.shape[1])  # (P, pixel, channel)
    return pixels.transpose(1, 0, 2).reshape(-1)


def kernel_windows(x: Ints, g: ConvGeometry, outside: int) -> Ints:
    """An image (H * W * C,) -> the pixels under the kernel at each place, (H' * W', K). outside: the value of the padding."""
    image = x.reshape(g.height, g.width, g.channels)
    if g.same:
        totals = [max(0, (-(-size // g.stride) - 1) * g.stride + g.kernel - size) for size in (g.height, g.width)]
        image = np.pad(image, [*((t // 2, t - t // 2) for t in totals), (0, 0)], constant_values=outside)
    rows, columns = ((size - g.kernel) // g.stride + 1 for size in image.shape[:2])
    seen = [
        image[row * g.stride :, column * g.stride :][: g.kernel, : g.kernel].reshape(-1)
        for row in range(rows)
        for column in range(columns)
    ]
    return np.array(seen)


def pooled(y: Ints, pool: int, columns: int) -> Ints:
    """Signs (H' * W', N) -> the maximum of each complete square of side `pool`, flattened with N fastest."""
    image = y.reshape(-1, columns, y.shape[1])
    height, width = image.shape[0] // pool, image.shape[1] // pool
    squares = image[: height * pool, : width * pool].reshape(height, pool, width, pool, -1)
    return np.asarray(squares.max(axis=(1, 3)).reshape(-1), dtype=np.int64)


def convolve(layer: ConvLayer, levels: NDArray[np.int8], x: Ints) -> Ints:
    """Signs that a convolution gives, (H'' * W'' * N,)."""
    g = layer.geometry
    a = kernel_windows(x, g, 255 if layer.takes == "bytes" else 1) @ signs(levels).T
    columns = -(-g.width // g.stride) if g.same else (g.width - g.kernel) // g.stride + 1
    return pooled(np.where(a >= layer.theta, 1, -1), g.pool, columns)


def planes_on(layer: GradedLayer, x: Ints) -> Ints:
    """Incoming bits 0 and 1, or signs (P * K,) -> number of planes that are on for each input, (K,)."""
    return np.asarray((x > 0).astype(np.int64).reshape(layer.planes, -1).sum(0))


def grades(low: int, high: int, v: Ints) -> tuple[Ints, Bools, Bools]:
    """Sums V (N,) -> grades -8..8; which units lie on the ramp, where errors pass; which lie beyond it.

    low, high: ends of the ramp in 1/256 of the mean |V|.
    """
    size = np.abs(v)
    mean = 16 * int(size.sum()) // len(v)
    first, last = (mean * low) >> 12, (mean * high) >> 12
    width = max(1, last - first)
    rise = np.minimum(np.maximum(size - first, 0), width)
    grade = 8 - ((rise * (2**20 // width) + 2**15) >> 16)
    return grade, (first < size) & (size < last), (first < size) & (size >= last)


class Forward:
    """A network that predicts. ``levels[i]``: int8 (N, K) of layer i, which learning changes."""

    def __init__(self, frozen: Frozen) -> None:
        self.net = frozen
        self.levels = [layer.hidden.copy() for layer in frozen.layers]

    def forward(self, features: NDArray[Any]) -> tuple[list[Ints], list[Bools], Ints]:
        """Inputs of every layer, straight-through masks of the hidden layers, and the scores int64 (C,).

        features: uint8 or int16 (F,), or bits 0 and 1 (K,) for a network that takes bits. The masks of convolutions and of a
        graded layer are empty: no error reaches the former, and the error of the latter comes from other passes.
        """
        inputs, masks = [encode(self.net.encode, features)], []
        for layer, levels in zip(self.net.layers[:-1], self.levels[:-1], strict=True):
            mask = np.zeros(0, np.bool_)
            if isinstance(layer, ConvLayer):
                y = convolve(layer, levels, inputs[-1])
            elif isinstance(layer, GradedLayer):
                h = levels.astype(np.int64)
                u = signs(h) * (2 - unsure(h, layer.bits))
                y = grades(layer.low, layer.high, u @ planes_on(layer, inputs[-1]) - 2 * layer.theta.astype(np.int64))[
                    0
                ]
            else:
                assert isinstance(layer, DenseLayer)
                v, ste_window = signs(levels) @ inputs[-1], layer.ste_window
                theta = layer.theta.astype(np.int64)
                if layer.takes == "signs":
                    theta = theta + ((theta - levels.shape[1]) & 1)  # v has the parity of K: raise theta to it
                    v, ste_window = (v - theta) // 2, ste_window // 2
                else:
                    v = v - theta
                y, mask = np.where(v >= 0, 1, -1).astype(np.int64), np.abs(v) <= ste_window
            inputs.append(y)
            masks.append(mask)
        return inputs, masks, self.scored(inputs[-1])

    def scored(self, x: Ints) -> Ints:
        """Scores int64 (C,) of the output's inputs."""
        last = self.net.layers[-1]
        assert isinstance(last, OutputLayer)
        return np.asarray(signs(self.levels[-1]) @ x * last.mul + last.add, dtype=np.int64)

    def scores(self, features: NDArray[Any]) -> Ints:
        """Scores int64 (C,) of one input."""
        return self.forward(features)[2]

    def predict(self, features: NDArray[Any]) -> int:
        """The class with the highest score, the lowest index on a tie."""
        return int(np.argmax(self.scores(features)))
