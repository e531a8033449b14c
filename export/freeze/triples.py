"""Units from nothing: an unlabelled sample -> integer constants (docs/learning-rule.md, "Units from nothing")."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metabit.data.encoder import quantise_features
from metabit.export.errors import ExportError, need_number
from metabit.export.frozen import LOWEST, Integers, TriplesLayer
from metabit.export.oracle.triples import DEVIATION, REACH, UNIT_SHIFT
from metabit.export.validate_gates import MAX_ADD, MAX_MUL, MAX_VALUES
from metabit.export.validate_triples import HEAVIEST, INPUTS, MAX_SHIFT, STEEPEST
from metabit.train.network.spec import MAX_UNITS

Takes = Literal["auto", "uint8", "int16", "float"]
Doubles = NDArray[np.float64]

_LARGEST = float(np.finfo(np.float32).max)
LEAST_SAMPLES = 16
RANGE_SAMPLES = 1024
"""Samples that `sample_of_ranges` draws."""
OFFSETS = 0.5
"""Standard deviation of the units' offsets, in deviations of their sums."""
VALUE = 32
"""One deviation of a value, which is an int8."""
_SMALLEST_DEVIATION = 0.05  # of a unit's output -1..1; one that hardly varies is not amplified
_SMALLEST_SPREAD = 16.0  # of a unit's sum, 1/16 deviation of a feature
_WIDTH, _FALL, _STEP = 0.8, 1.6, 1.0


def sample_of_ranges(ranges: NDArray[Any], seed: int = 0, whole: bool = False) -> NDArray[np.float32]:
    """An unlabelled sample where there is none: numbers drawn evenly from the range of each feature, float32 (1024, F).

    ranges: (F, 2), the lowest and the highest value of each feature. whole: the numbers are rounded.

    Raises ExportError if a range is not finite, or its end is not above its beginning.
    """
    ends = np.asarray(ranges, dtype=np.float64)
    if ends.ndim != 2 or ends.shape[1] != 2 or not len(ends):
        raise ExportError(
            f"ranges have shape {ends.shape}: must be (features, 2), the lowest and the highest value of each"
        )
    for feature, (low, high) in enumerate(ends):
        if not (np.isfinite([low, high]).all() and low < high):
            raise ExportError(
                f"feature {feature} has the range {low:g}..{high:g}: the second number must be the greater one"
            )
        if not -_LARGEST < low < high < _LARGEST or not np.float32(low) < np.float32(high):
            raise ExportError(
                f"feature {feature} has the range {low:g}..{high:g}: both ends must be float32 numbers that differ, rescale it"
            )
    rng = np.random.default_rng([seed, 0])
    drawn = rng.uniform(ends[:, 0], ends[:, 1], (RANGE_SAMPLES, len(ends)))
    sample: NDArray[np.float32] = (np.rint(drawn) if whole else drawn).astype(np.float32)
    return sample


def fit_triples(sample: NDArray[Any], units: int = 64, takes: Takes = "auto", seed: int = 0) -> TriplesLayer:
    """Units of one, two and three random features in turn, half of them gates and half steps.

    Args:
        sample: unlabelled numbers (n, F) of any dtype, finite; n >= 16. 64 are plenty.
        units: H, even, 2..128.
        takes: what the device is given. ``auto`` takes arrays of uint8 as they are; of other arrays, it keeps features of
            whole numbers -32768..32767 as int16 and gives any other a scale to int16, four deviations either side.
            ``uint8`` and ``int16`` keep all as they are, rounded. ``float`` gives all a scale.
        seed: 0..2**32-1.

    Raises:
        ExportError: no such sample, no feature that varies in it, or an option out of its range.
    """
    x = _checked(sample)
    need_number("units", units, 2, MAX_VALUES, "an even number from 2 to 128", int)
    if units % 2:
        raise ExportError(f"units={units}: must be an even number from 2 to 128, half of them are gates and half steps")
    kind, scale = _scale(x, np.asarray(sample).dtype, takes)
    q = device_integers(x, kind, scale).astype(np.float64)
    varying = np.flatnonzero(q.std(0) > 0)
    if not len(varying):
        raise ExportError("no feature of the sample varies: draw it from all classes, or give ranges")
    feature = _standardise(q)
    index, weight = _draw(varying, units, np.random.default_rng([seed, 1]))
    t = np.clip((q.astype(np.int64) * feature[0] + feature[1]) >> feature[2], -REACH, REACH)
    sums = (t[:, index] * weight).sum(-1).astype(np.float64)
    unit = _units(sums, np.random.default_rng([seed, 2]).normal(0, OFFSETS, units))
    return TriplesLayer(
        weight.astype(np.int8), kind, scale, feature[0].astype(np.int16), feature[1].astype(np.int32), feature[2].astype(np.uint8),
        index.astype(np.uint16), *unit,
    )  # fmt: skip


def device_integers(x: NDArray[Any], kind: Integers, scale: NDArray[np.float32] | None) -> NDArray[Any]:
    """Numbers (n, F) -> what the device takes, uint8 or int16 (n, F); limited to its range.

    scale: float32 (2, F), low and steps, or None if features are the integers they are.
    """
    low, steps = _identity(kind, x.shape[1]) if scale is None else scale
    return quantise_features(x.astype(np.float32), low, steps, kind)


def _checked(sample: NDArray[Any]) -> NDArray[np.float32]:
    x = np.asarray(sample)
    if x.dtype.kind not in "biuf":
        raise ExportError(f"the sample has dtype {x.dtype}: must be numbers")
    if x.ndim != 2 or len(x) < LEAST_SAMPLES or not 1 <= x.shape[1] <= MAX_UNITS:
        limits = f"at least {LEAST_SAMPLES} samples of 1 to {MAX_UNITS} features, or give ranges"
        raise ExportError(f"the sample has shape {x.shape}: must be {limits}")
    with np.errstate(over="ignore"):
        values: NDArray[np.float32] = x.astype(np.float32)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ExportError(
            f"feature {column} of sample {row} is {x[row, column]}: must be a finite float32, drop the row"
        )
    return values


def _scale(x: NDArray[np.float32], dtype: np.dtype[Any], takes: Takes) -> tuple[Integers, NDArray[np.float32] | None]:
    """Dtype that the device takes, and the scale to it."""
    if takes not in ("auto", "uint8", "int16", "float"):
        raise ExportError(f"takes={takes!r}: must be auto, uint8, int16 or float")
    kind: Integers = "uint8" if takes == "uint8" or (takes == "auto" and dtype in (np.uint8, np.bool_)) else "int16"
    least, most = x.min(0), x.max(0)
    lowest, highest = LOWEST[kind], int(np.iinfo(kind).max)
    fits = (least >= lowest) & (most <= highest)
    if takes in ("uint8", "int16"):
        if not fits.all():
            feature = int(np.flatnonzero(~fits)[0])
            found = f"feature {feature} lies in {least[feature]:g}..{most[feature]:g}"
            raise ExportError(f"{found}, and takes={takes!r}: must lie in {lowest}..{highest}, or take float")
        return kind, None
    kept = fits & (x == np.floor(x)).all(0) & (takes == "auto")
    if kept.all():
        return kind, None
    mean, deviation = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    varies = deviation > 1e-6 * np.abs(mean)  # less is what float32 makes of one value
    with np.errstate(divide="ignore"):
        steps = np.where(varies, 65535 / (8 * deviation), 1.0)
    low = np.where(varies, mean - 4 * deviation, mean)
    largest = float(np.finfo(np.float32).max) / 4
    scale = np.stack([np.where(kept, lowest, low), np.where(kept, 1.0, np.minimum(steps, largest))])
    return kind, np.clip(scale, -largest, largest).astype(np.float32)


def _identity(kind: Integers, features: int) -> NDArray[np.float32]:
    """Low and steps of features that are kept."""
    return np.repeat(np.array([[LOWEST[kind]], [1.0]], dtype=np.float32), features, axis=1)


def _standardise(q: Doubles) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """mul, add and shift of each feature: (mul·q + add) >> shift has mean 0 and 256 a deviation. A constant gives 0."""
    deviation = q.std(0)
    varies = deviation > 0
    rate = DEVIATION / np.where(varies, deviation, DEVIATION)
    shift = np.clip(14 - np.floor(np.log2(rate)), 0, MAX_SHIFT).astype(np.int64)  # mul in 2^14 .. 2^15
    mul = np.where(varies, np.minimum(np.rint(rate * 2.0**shift), MAX_MUL), 0).astype(np.int64)
    half = (2.0**shift) / 2
    add = np.where(varies, np.clip(np.rint(half - mul * q.mean(0)), -MAX_ADD, MAX_ADD), 0).astype(np.int64)
    return mul, add, np.where(varies, shift, 0)


def _draw(
    varying: NDArray[np.int64], units: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One, two and three different features of the units in turn, (H, 3), and their weights. An unused place has weight 0."""
    index, weight = np.zeros((units, INPUTS), np.int64), np.zeros((units, INPUTS), np.int64)
    for unit in range(units):
        some = min(1 + unit % INPUTS, len(varying))
        index[unit, :some] = rng.choice(varying, some, replace=False)
        weight[unit, :some] = rng.choice([-1, 1], some) * rng.integers(1, HEAVIEST + 1, some)
    return index, weight


def _units(
    sums: Doubles, offset: Doubles
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int8], NDArray[np.int8]]:
    """mul, add, top, low and high of each unit, from its sums over the sample (n, H).

    With s the standardised sum, a gate is clip(1.6 - 1.6·|0.8·s - offset|, -1, 1) and a step clip(s - offset, -1, 1);
    its value is (output - mean)/deviation·32.
    """
    half = len(offset) // 2
    centre, spread = sums.mean(0), np.maximum(sums.std(0), _SMALLEST_SPREAD)
    s = (sums - centre) / spread
    gates = _FALL - _FALL * np.abs(_WIDTH * s[:, :half] - offset[:half])
    outputs = np.clip(np.concatenate([gates, _STEP * (s[:, half:] - offset[half:])], axis=1), -1, 1)
    mean, deviation = outputs.mean(0), np.maximum(outputs.std(0), _SMALLEST_DEVIATION)
    size = VALUE / deviation
    slope = size * np.repeat([_FALL * _WIDTH, _STEP], half) / spread
    at_centre = size * np.concatenate([-_FALL * offset[:half], -_STEP * offset[half:] - mean[half:]])
    one, rounding = 2**UNIT_SHIFT, 2**UNIT_SHIFT / 2
    mul = np.clip(np.rint(slope * one), -STEEPEST, STEEPEST)
    add = at_centre * one - mul * centre + np.repeat([0.0, rounding], half)
    top = (_FALL - mean[:half]) * size[:half] * one + rounding
    ends = [np.clip(np.rint(size * (end - mean)), -127, 127).astype(np.int8) for end in (-1, 1)]
    add = np.clip(np.rint(add), -MAX_ADD, MAX_ADD)
    return mul.astype(np.int32), add.astype(np.int32), np.rint(top).astype(np.int32), ends[0], ends[1]
