"""Windows of a time series and simple features of each: the integers that `metabit_features.h` computes on a device.

    how = Windows(window=128, hop=64, features=("mean", "deviation", "change"), edges=octaves(128, 5))
    x = how.of(recording)                    # int16 (windows, F) of samples int16 (n, channels)
    how.names(("ax", "ay", "az"))            # ("ax mean", "ax deviation", "ax change", "ax 1/128-1/128", ...)
    Path("gesture_windows.h").write_text(how.c_table("gesture", channels=3))

A model that is trained with x, int16, takes what `mb_series_features` writes, as it is. Windows overlap where hop < window: split
recordings into training and test before they are cut, not the windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.errors import DataError

FEATURES = ("mean", "deviation", "minimum", "maximum", "range", "crossings", "change")
"""In the order of a window's features, which is that of the bits MB_MEAN ... MB_CHANGE."""
MAX_CHANNELS, MAX_WINDOW, MAX_BANDS = 32, 4096, 64
BAND_WINDOWS = (64, 128, 256, 512)

Shorts = NDArray[np.int16]
Longs = NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """How a series is cut, and which features a window has.

    Args:
        window: samples, 2..4096; with edges one of 64, 128, 256, 512.
        hop: samples from the start of a window to the start of the next, 1..window.
        features: names in `FEATURES`, in that order.
        edges: of bands of the Fourier transform, rising, from 1 to window/2: band b holds the bins edges[b] to
            edges[b + 1] - 1. () for no bands.

    Raises:
        DataError: a value out of its range.
    """

    window: int
    hop: int
    features: tuple[str, ...] = FEATURES
    edges: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 2 <= self.window <= MAX_WINDOW:
            raise DataError(f"window={self.window}: must be from 2 to {MAX_WINDOW} samples")
        if not 1 <= self.hop <= self.window:
            raise DataError(f"hop={self.hop}: must be from 1 to the window, {self.window} samples")
        if tuple(name for name in FEATURES if name in self.features) != tuple(self.features):
            raise DataError(
                f"features={self.features}: must be some of {', '.join(FEATURES)}, once each, in this order"
            )
        if not self.features and not self.edges:
            raise DataError("a window has no feature: give features, edges of bands, or both")
        if self.edges:
            if self.window not in BAND_WINDOWS:
                raise DataError(f"window={self.window}: with bands it must be one of {BAND_WINDOWS}")
            if not 2 <= len(self.edges) <= MAX_BANDS + 1 or list(self.edges) != sorted(set(self.edges)):
                raise DataError(f"edges={self.edges}: 2 to {MAX_BANDS + 1} rising bins are needed")
            if self.edges[0] < 1 or self.edges[-1] > self.window // 2:
                raise DataError(f"edges={self.edges}: must lie from 1 to {self.window // 2}, half of the window")

    @property
    def bands(self) -> int:
        return max(0, len(self.edges) - 1)

    def names(self, channels: Sequence[str]) -> tuple[str, ...]:
        """The name of each feature of a window; a band by its first and last bin, in cycles in so many samples."""
        bins = [f"{low}-{high - 1}/{self.window}" for low, high in zip(self.edges[:-1], self.edges[1:], strict=True)]
        return tuple(f"{channel} {feature}" for channel in channels for feature in (*self.features, *bins))

    def of(self, samples: NDArray[Any]) -> Shorts:
        """Features int16 (windows, F) of the windows of one recording without gaps, the first one from its first sample.

        samples: whole numbers of int16 (n, channels), or (n,) for one channel, in time order; the end that fills no window is
        left out. Raises DataError: another shape, or a value that int16 does not hold.
        """
        x = np.asarray(samples)
        x = x[:, None] if x.ndim == 1 else x
        if x.ndim != 2 or not 1 <= x.shape[1] <= MAX_CHANNELS:
            raise DataError(f"samples have shape {x.shape}: must be (n, channels) with 1 to {MAX_CHANNELS} channels")
        with np.errstate(invalid="ignore"):
            whole = x.astype(np.int16)
        if (whole != x).any():
            raise DataError(
                f"sample {x[whole != x][0]} is no int16: scale and round the samples as the sensor of the device does"
            )
        count = max(0, (len(x) - self.window) // self.hop + 1)
        if not count:
            return np.empty((0, len(self.names([""] * x.shape[1]))), np.int16)
        rows = self.hop * np.arange(count)[:, None] + np.arange(self.window)
        cut: Longs = whole.astype(np.int64).T[:, rows].reshape(-1, self.window)  # (channels * windows, window)
        mean, simple = _simple(cut)
        parts = [simple[:, [FEATURES.index(name) for name in self.features]]]
        if self.edges:
            parts.append(_bands(cut - mean[:, None], self.edges))
        each = np.concatenate(parts, axis=1).reshape(x.shape[1], count, -1)
        return np.ascontiguousarray(each.transpose(1, 0, 2).reshape(count, -1), np.int16)

    def c_table(self, name: str, channels: int, windows: int = 1) -> str:
        """The header NAME_windows.h: these numbers as the constant `NAME_windows` of `metabit_features.h`, and sizes.

        Include it behind NAME_image.h of `metabit sources --name NAME`: then it compares the number of features. windows: how
        many windows, one behind the other, are one input of the model.
        """
        start, count = name.upper(), len(self.names([""] * channels))
        which = " | ".join(f"MB_{feature.upper()}" for feature in self.features) or "0"
        edges = ", ".join(map(str, self.edges))
        table = [f"static const uint16_t {name}_edges[{len(self.edges)}] = {{{edges}}};"] if self.edges else []
        return "\n".join(
            [
                f"/* Windows of {name}, as in training: written by metabit.data.features.Windows.c_table. */",
                f"#ifndef {start}_WINDOWS_H",
                f"#define {start}_WINDOWS_H",
                "",
                '#include "metabit_features.h"',
                "",
                f"#define {start}_CHANNELS {channels}",
                f"#define {start}_WINDOWS {windows} /* of one input of the model */",
                f"#define {start}_WINDOW_FEATURES {count}",
                f"#define {start}_RING {channels * self.window} /* int16 of the ring */",
                f"#define {start}_WORK {self.window if self.edges else 1} /* int16 of the transform's scratch */",
                "",
                f"#if defined({start}_INPUT_BYTES) && {start}_INPUT_BYTES != 2 * {start}_WINDOWS * {start}_WINDOW_FEATURES",
                f'#error "the image {name} takes other features than {name}_windows gives: write both by one training"',
                "#endif",
                "",
                *table,
                f"static const mb_windows {name}_windows = {{{channels}, {self.window}, {self.hop}, {which}, {self.bands}, "
                f"{f'{name}_edges' if self.edges else 'NULL'}}};",
                "",
                "#endif",
                "",
            ]
        )


def octaves(window: int, bands: int) -> tuple[int, ...]:
    """Edges of bands that double in width towards higher bins, as hearing does: the last one ends at half of the window.

    Raises DataError: more bands than octaves.
    """
    edges = [window >> 1 + bands - band for band in range(bands + 1)]
    if bands < 1 or edges[0] < 1:
        raise DataError(f"bands={bands}: a window of {window} samples has {window.bit_length() - 2} octaves")
    return tuple(edges)


def even(window: int, bands: int) -> tuple[int, ...]:
    """Edges of bands of equal width, as far as whole bins allow, from bin 1 to half of the window.

    Raises DataError: more bands than bins.
    """
    if not 1 <= bands < window // 2:
        raise DataError(f"bands={bands}: a window of {window} samples has {window // 2 - 1} bins")
    return tuple(1 + band * (window // 2 - 1) // bands for band in range(bands + 1))


def _simple(x: Longs) -> tuple[Longs, Longs]:
    """Windows (m, n) -> their means, rounded, (m,), and all features of `FEATURES` (m, 7)."""
    n = x.shape[1]
    total, least, most = x.sum(1), x.min(1), x.max(1)
    mean = (total + 32768 * n + n // 2) // n - 32768
    above = x * n >= total[:, None]
    found = [
        mean, square_root(n * (x * x).sum(1) - total * total) // n, least, most, np.minimum(most - least, 32767),
        (above[:, 1:] != above[:, :-1]).sum(1), np.minimum(np.abs(np.diff(x)).sum(1) // (n - 1), 32767),
    ]  # fmt: skip
    return mean, np.stack(found, axis=1)


def square_root(x: Longs) -> Longs:
    """The largest integer whose square is at most x, for 0 <= x < 2**54: the root in float64 is off by one at most."""
    root = np.sqrt(x.astype(np.float64)).astype(np.int64)
    root -= root * root > x
    found: Longs = root + ((root + 1) * (root + 1) <= x)
    return found


# Bands, as runtime/field/features.c

_TURN = 512
_SINE = np.rint(32767 * np.sin(2 * np.pi * np.arange(_TURN) / _TURN)).astype(np.int64)


def _cosine(k: Longs) -> Longs:
    cosine: Longs = _SINE[(k + _TURN // 4) % _TURN]
    return cosine


def _scaled(work: Longs, most: int) -> tuple[Longs, Longs]:
    """Halves each row until it has no number beyond `most`; the rows, and how often each."""
    peak, shift = np.abs(work).max(1), np.zeros(len(work), np.int64)
    while (over := peak > most).any():
        peak = np.where(over, (peak + 1) // 2, peak)
        shift += over
        work = np.where(over[:, None], (work + 1) >> 1, work)
    return work, shift


def _bands(x: Longs, edges: Sequence[int]) -> Longs:
    """Windows less their means (m, n) -> logarithms of the energy of each band (m, bands)."""
    n = x.shape[1]
    peak = np.abs(x).max(1)
    up = np.zeros(len(x), np.int64)
    for _ in range(14):
        up += (peak << up <= 16383) & (peak > 0)
    large = (peak > 32767)[:, None]
    whole = np.where(large, x >> 1, x << up[:, None])
    hann = (32767 - _cosine(np.arange(n) * (_TURN // n))) >> 1
    loaded = (whole * hann + 16384) >> 15
    bits = n.bit_length() - 2
    order = np.array([int(f"{i:0{bits}b}"[::-1], 2) for i in range(n // 2)])
    work = loaded.reshape(len(x), n // 2, 2)[:, order]
    exponent = large[:, 0] - up
    half = 1
    while half < n // 2:
        flat, grown = _scaled(work.reshape(len(x), n), 13572)
        exponent += grown
        work = flat.reshape(len(x), -1, 2, half, 2)
        turn = np.arange(half) * (_TURN // 2 // half)
        a, (tr, ti) = work[:, :, 0], _turned(work[:, :, 1, :, 0], work[:, :, 1, :, 1], turn)
        t = np.stack([tr, ti], axis=-1)
        work = np.stack([a + t, a - t], axis=2)
        half *= 2
    flat, grown = _scaled(work.reshape(len(x), n), 11584)
    exponent += grown
    z = flat.reshape(len(x), n // 2, 2)[:, 1:]  # bins 1 .. n/2 - 1
    a_r, a_i, b_r, b_i = z[..., 0], z[..., 1], z[:, ::-1, 0], z[:, ::-1, 1]
    tr, ti = _turned(a_i + b_i, b_r - a_r, np.arange(1, n // 2) * (_TURN // n))
    re, im = a_r + b_r + tr, a_i - b_i + ti
    power = np.concatenate([np.zeros((len(x), 1), np.int64), re * re + im * im], axis=1)
    energy = np.stack([power[:, low:high].sum(1) for low, high in zip(edges[:-1], edges[1:], strict=True)], axis=1)
    return _logarithm(energy, 2 * exponent[:, None])


def _turned(re: Longs, im: Longs, turn: Longs) -> tuple[Longs, Longs]:
    wr, wi = _cosine(turn), -_SINE[turn % _TURN]
    return (wr * re - wi * im + 16384) >> 15, (wr * im + wi * re + 16384) >> 15


def _logarithm(energy: Longs, twice: Longs) -> Longs:
    top = np.zeros_like(energy)
    for _ in range(40):
        top += energy >> top > 1
    mantissa = np.where(top <= 8, energy << np.maximum(8 - top, 0), energy >> np.maximum(top - 8, 0))
    log = 256 * (top + twice - 2) + mantissa - 256
    found: Longs = np.where(energy > 0, np.maximum(log, 0), 0)
    return found
