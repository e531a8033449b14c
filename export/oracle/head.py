"""The head in plain NumPy: class means with a streamed covariance, in integers (docs/learning-rule.md, "The head").

A linear classifier on H values of one sample, each an int8 that had mean 0 and standard deviation 32 before deployment. A row
holds one class mean. All rows share one covariance of the values within a class. Row weights solve
(S + EPS) w = mean, one Gauss-Seidel sweep at a time. The rule follows linear discriminant analysis on a stream (Hayes and Kanan,
"Lifelong Machine Learning with Deep Streaming Linear Discriminant Analysis", CVPR Workshops 2020); its integer form is our own.

Shapes: H values, R rows. Row p of the covariance keeps the entries q = 0..p|1, so that all rows have an even length.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.frozen import COUNT_FLOOR, COUNT_LIMIT, HeadLayer, HeadSettings

__all__ = ["COUNT_FLOOR", "COUNT_LIMIT", "UNKNOWN", "Head", "HeadSettings", "natural_log", "triangle"]

MAX_VALUES = 128
MAX_ROWS = 128
DITHER = 40503
RESIDUAL_LIMIT = 90
UNIT_VARIANCE = 4096
"""One variance of a value before deployment, in units of S."""
NEW_ROW_SWEEPS = 3
LEAST_SEEN = 2
"""Samples, for each value, that a covariance fitted before deployment counts for at least."""
UNKNOWN = -(2**31)
"""Score of a row that has no samples."""


@functools.cache
def triangle(values: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of each stored entry of S, in stored order: row p holds columns 0..p|1.

    values: H. Raises ExportError if it is odd or out of range.
    """
    if values % 2 or not 2 <= values <= MAX_VALUES:
        raise ExportError(f"a head has {values} values: must be even, from 2 to {MAX_VALUES}")
    p, q = np.indices((values, values))
    rows, columns = np.nonzero(q <= p | 1)
    return rows, columns


def natural_log(n: int) -> int:
    """ln(n) in units of 2**-14, linear between powers of two; n >= 1."""
    exponent = n.bit_length() - 1
    return (((exponent << 10) + (((n << 10) >> exponent) - 1024)) * 11357) >> 10


@dataclass(eq=False)  # == on arrays has no one answer
class Head:
    """The state of a head and its rule.

    Args:
        settings: the constants.
        covariance: S, int16 (H, H) in use up to the diagonal and one entry beyond it in even rows; 4096 is one variance.
        means: M, int16 (R, H), 256 a unit of a value.
        weights: W, int8 (R, H).
        counts: n, int (R,), 0..1023; 0 is a row without a class mean.
        seen: T, samples in the covariance, 0..covariance_memory.
        dither: z, 0..65535.
        turn: the row that is swept next besides the sample's own, 0..R-1.
    """

    settings: HeadSettings
    covariance: NDArray[np.int64]
    means: NDArray[np.int64]
    weights: NDArray[np.int64]
    counts: NDArray[np.int64]
    seen: int = COUNT_FLOOR
    dither: int = 1
    turn: int = 0
    offsets: NDArray[np.int64] = field(init=False)
    """b, int32 (R,), 2**14 a nat. Follows from weights and means."""

    def __post_init__(self) -> None:
        rows = len(self.means)
        if not 2 <= rows <= MAX_ROWS:
            raise ExportError(f"a head has {rows} rows: must be from 2 to {MAX_ROWS}")
        self.offsets = np.zeros(rows, np.int64)
        for row in range(rows):
            self._set_offset(row)

    @staticmethod
    def empty(values: int, rows: int, settings: HeadSettings | None = None, dither: int = 1) -> Head:
        """A head that knows no class: unit variances, no covariances."""
        rows_of, columns = triangle(values)
        covariance = np.zeros((values, values), np.int64)
        covariance[rows_of, columns] = np.where(rows_of == columns, UNIT_VARIANCE, 0)
        zeros = np.zeros((rows, values), np.int64)
        return Head(
            settings or HeadSettings(), covariance, zeros, zeros.copy(), np.zeros(rows, np.int64), COUNT_FLOOR, dither
        )

    @staticmethod
    def of(layer: HeadLayer) -> Head:
        """The head of a frozen network."""
        covariance = np.zeros((layer.inputs, layer.inputs), np.int64)
        covariance[triangle(layer.inputs)] = layer.covariance
        means, weights, counts = (a.astype(np.int64) for a in (layer.means, layer.hidden, layer.counts))
        return Head(layer.settings, covariance, means, weights, counts, layer.seen, layer.dither, layer.turn)

    def frozen(self, layer: HeadLayer) -> HeadLayer:
        """The layer with the state that this head has now."""
        return replace(
            layer,
            hidden=self.weights.astype(np.int8), covariance=self.covariance[triangle(layer.inputs)].astype(np.int16),
            means=self.means.astype(np.int16), counts=self.counts.astype(np.uint16),
            seen=self.seen, dither=self.dither, turn=self.turn,
        )  # fmt: skip

    @staticmethod
    def fitted(
        x: NDArray[np.int8], y: NDArray[np.int64], rows: int, settings: HeadSettings | None = None, dither: int = 1
    ) -> Head:
        """A head fitted before deployment on values int8 (n, H) and labels (n,) in 0..rows-1.

        Means are exact, residuals are clipped at ±90, the covariance is shrunk toward its mean diagonal by
        1 / (1 + H / 4n), counts are scaled so that the largest is at most 1000, and 30 sweeps solve all rows. The covariance
        counts for 2 H samples at least: that of fewer would follow the next samples so fast that wrong labels spoil it.
        """
        head = Head.empty(x.shape[1], rows, settings, dither)
        values = x.astype(np.float64)
        found = np.bincount(y, minlength=rows)
        residuals = values.copy()
        for row in np.flatnonzero(found):
            mean = values[y == row].mean(0)
            head.means[row] = np.rint(mean * 256)
            residuals[y == row] -= mean
        residuals = np.clip(residuals, -RESIDUAL_LIMIT, RESIDUAL_LIMIT)
        kept = len(x) / (len(x) + x.shape[1] / 4)
        full = 4 * residuals.T @ residuals / max(len(x) - np.count_nonzero(found), 1)
        full = kept * full + (1 - kept) * np.trace(full) / x.shape[1] * np.eye(x.shape[1])
        at = triangle(x.shape[1])
        head.covariance[at] = np.rint(full)[at]
        scale = min(1.0, 1000 / found.max())
        head.counts[:] = np.maximum(np.rint(found * scale), found > 0)
        seen = max(len(x), LEAST_SEEN * x.shape[1], COUNT_FLOOR)
        head.seen = min(seen, max(head.settings.covariance_memory, COUNT_FLOOR))
        for row in np.flatnonzero(found):
            head._sweep(row, 30)
        return head

    # Predicting

    def scores(self, x: NDArray[np.int8]) -> NDArray[np.int64]:
        """Scores int32 (R,) of values int8 (H,), 2**14 a nat; `UNKNOWN` for a row without samples."""
        told = self.offsets + 32 * (self.weights @ x.astype(np.int64)) + self.priors()
        return np.where(self.counts > 0, told, UNKNOWN)

    def predict(self, x: NDArray[np.int8]) -> int:
        """The row with the highest score, the lowest on a tie; 0 if no row has samples."""
        return int(self.scores(x).argmax())

    def priors(self) -> NDArray[np.int64]:
        """int32 (R,), 2**14 a nat, the part of each score that follows from the counts; 0 for a row without samples."""
        least = int(self.counts.max()) >> 2
        return np.array([self._prior(count, least) if count else 0 for count in self.counts.tolist()])

    def _prior(self, count: int, least: int) -> int:
        """ln of the count, if the prior is on, and H / 2n nats for the uncertainty of a mean of n samples."""
        prior = natural_log(max(count, least)) if self.settings.prior else 0
        return prior + 8192 * self.means.shape[1] // count

    # Learning

    def learn(self, x: NDArray[np.int8], row: int, step: int = 0) -> None:
        """One step on values int8 (H,) of a sample whose class has this row. step: number of steps, this one included."""
        count = int(self.counts[row])
        values = x.astype(np.int64)
        if count:
            if self.settings.covariance_memory:
                self._learn_covariance(values, row, count)
            self._learn_mean(values, row, count)
        else:
            self.means[row] = 256 * values
        self._count(row)
        if count and step % self.settings.sweep_every:
            self._set_offset(row)
            return
        self._sweep(row, 1 if count else NEW_ROW_SWEEPS)
        other, self.turn = self.turn, (self.turn + 1) % len(self.counts)
        if other != row and self.counts[other]:
            self._sweep(other, 1)

    def _learn_covariance(self, x: NDArray[np.int64], row: int, count: int) -> None:
        """S moves by A/65536 of the way to 4 r rᵀ; A is a multiple of 4, and one dither serves a row of S.

        |S| <= 32767 and |4 r r| <= 32400, so |S (65536 - A) + 4 A r r + z| < 2**31.
        """
        self.seen = min(self.seen + 1, self.settings.covariance_memory)
        rate = 65536 // max(self.seen, COUNT_FLOOR)
        rate -= rate // (count + 1)
        rate -= rate % 4
        residual = np.clip(x - (self.means[row] >> 8), -RESIDUAL_LIMIT, RESIDUAL_LIMIT)
        p, q = triangle(len(x))
        moved = self.covariance[p, q] * (65536 - rate) + 4 * rate * residual[p] * residual[q] + self._dithers(len(x))[p]
        self.covariance[p, q] = moved >> 16

    def _learn_mean(self, x: NDArray[np.int64], row: int, count: int) -> None:
        """M moves by a/65536 of the way to the sample. |256 x - M| < 65536 and a <= 32768, so products fit 32 bits."""
        rate = 65536 // (min(count, self.settings.memory) + 1)
        self.means[row] += ((256 * x - self.means[row]) * rate + self._dithers(len(x))) >> 16

    def _dithers(self, n: int) -> NDArray[np.int64]:
        """The next n values of z."""
        found = (self.dither + DITHER * np.arange(1, n + 1)) % 65536
        self.dither = int(found[-1])
        return found

    def _count(self, row: int) -> None:
        self.counts[row] += 1
        if self.counts[row] >= COUNT_LIMIT:
            halved = (self.counts + 1) >> 1
            self.counts[:] = np.maximum(halved, np.minimum(self.counts, COUNT_FLOOR))

    def _sweep(self, row: int, sweeps: int) -> None:
        """Gauss-Seidel sweeps of one row of (S + EPS) W = 8 M, and the offset that follows from it.

        |8 M - sum of S W| <= 8 * 32768 + 127 * 32768 * 127 < 2**30.
        """
        w = self.weights[row]
        full = np.tril(self.covariance) + np.tril(self.covariance, -1).T
        variances, targets = full.diagonal().tolist(), (8 * self.means[row]).tolist()
        for _ in range(sweeps):
            before = w.copy()
            for i, variance in enumerate(variances):
                old = int(w[i])
                target = targets[i] - int(full[i] @ w) + variance * old
                w[i] = _nearest(target, max(1, variance + self.settings.ridge), old)
            if np.array_equal(w, before):
                break  # and so would every further sweep leave it
        self._set_offset(row)

    def _set_offset(self, row: int) -> None:
        self.offsets[row] = -(int(self.weights[row] @ self.means[row]) >> 4)


def _nearest(target: int, step: int, old: int) -> int:
    """The weight nearest to target / step, clipped to ±127; of two that are equally near, the one on the old weight's side."""
    off, half = target - step * old, step >> 1
    if off > half:
        old += -(-(off - half) // step)
    elif off < -half:
        old -= -(-(-off - half) // step)
    return min(127, max(-127, old))
