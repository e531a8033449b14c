"""Features of any scale become bits: thresholds of each feature, in the small integers that the device takes.

An `Encoder` is fitted on the training part and belongs to the model. Two steps give the bits:

1. A feature becomes an integer: q = lowest + floor((x - low)·steps + 1/2), limited to the integers of the device. All
   operations are on float32, in an order that no fused multiply-add can change, so C computes the same integers.
2. Bit p of a feature is on where q >= thresholds[p]. Bits are plane-major: bit p·F + f belongs to feature f.

Arrays of whole numbers 0..255 keep them (uint8, low 0, one step a unit). In any other array a feature of whole numbers
-32768..32767 keeps them too (int16), and the range of another feature is [a - (b - a), b + (b - a)], where a and b are
the ends of the range in which its thresholds lie. Values beyond the range are limited to it. No threshold lies there,
so this changes no bit; `Encoder.clipped` counts them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metabit.data.errors import DataError

Kind = Literal["uint8", "int16"]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

MAX_PLANES = 16
"""Thresholds a feature."""
TAIL = 8.0
"""Thresholds lie at quantiles where 96 % of a feature's values span more than so many interquartile ranges."""
_LOWEST = {"uint8": 0, "int16": -32768}
_SPAN = {"uint8": 255, "int16": 65535}
_LARGEST = float(np.finfo(np.float32).max)
_COLUMNS = 64  # of a block in which quantiles are computed: 60,000 samples of it are 30 MB


@dataclass(frozen=True, eq=False)
class Encoder:
    """Integers and thresholds of each feature. Two encoders are equal where all their members are.

    Args:
        kind: dtype of the integers that the device takes.
        low: float32 (F,), the value of each feature that becomes the lowest integer (0, or -32768).
        steps: float32 (F,), integers in one unit of the feature, > 0.
        thresholds: int32 (P, F), from the lowest integer + 1 to the highest + 1; the latter is never reached.
        names: (F,) names of the features for messages, or () for "feature 0", "feature 1" ...

    Raises:
        DataError: shapes that disagree, or a value out of its range.
    """

    kind: Kind
    low: Floats
    steps: Floats
    thresholds: NDArray[np.int32]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in _LOWEST:
            raise DataError(f"an encoder of kind {self.kind!r}: must be uint8 or int16")
        if self.thresholds.ndim != 2 or not 1 <= len(self.thresholds) <= MAX_PLANES or not self.thresholds.shape[1]:
            found = f"thresholds have shape {self.thresholds.shape}"
            raise DataError(f"{found}: must be (planes, features) with 1 to {MAX_PLANES} planes")
        shape = (self.features,)
        if self.low.shape != shape or self.steps.shape != shape or len(self.names) not in (0, self.features):
            found = f"low {self.low.shape}, steps {self.steps.shape}, {len(self.names)} names"
            raise DataError(f"{found}: there must be one of each for {self.features} features")
        if not (np.isfinite(self.low).all() and np.isfinite(self.steps).all() and (self.steps > 0).all()):
            raise DataError("low and steps of an encoder must be finite, and steps above 0: fit it again")
        lowest, never = _LOWEST[self.kind], _LOWEST[self.kind] + _SPAN[self.kind] + 1
        if (self.thresholds <= lowest).any() or (self.thresholds > never).any():
            raise DataError(f"thresholds must be from {lowest + 1} to {never} for {self.kind}: fit the encoder again")

    @classmethod
    def fit(
        cls, x: NDArray[Any], planes: int | None = None, *, names: Sequence[str] = (), shared: bool = False
    ) -> Encoder:
        """Thresholds from training data.

        With q02 and q98 as the quantiles 0.02 and 0.98 of a feature, threshold p of P is
        q02 + (q98 - q02)·(2p + 1)/2P. Other rules hold where

        - q98 - q02 > 8 interquartile ranges > 0: the quantiles (p + 1)/(P + 1);
        - q98 = q02, one value nearly always: the smallest and the largest value in place of q02 and q98;
        - all values are equal: a threshold that is never reached.

        No threshold is reached by all values, or by none, of a feature that varies.

        Args:
            x: numbers (n, F) of any dtype, finite in float32.
            planes: P, 1..16. None gives `default_planes`, and not more than whole numbers have steps.
            names: of the features, for messages.
            shared: all features have the thresholds of their values taken together, as for the pixels of an image.

        Raises:
            DataError: no sample or feature, NaN or infinity (the message names row and feature), planes out of range.
        """
        checked = _floats(x, tuple(names))
        features = checked.shape[1]
        whole = _is_whole(checked)
        kind: Kind = "uint8" if whole.all() and checked.min() >= 0 and checked.max() <= 255 else "int16"
        if planes is None:
            planes = default_planes(features)
            if whole.all():
                planes = int(min(planes, max(1, checked.max() - checked.min())))
        if not 1 <= planes <= MAX_PLANES:
            raise DataError(f"planes={planes}: must be from 1 to {MAX_PLANES}")
        table = checked.reshape(-1, 1) if shared else checked
        whole = whole.all(keepdims=True) if shared else whole
        blocks = [
            _fit_block(table[:, at : at + _COLUMNS], whole[at : at + _COLUMNS], planes, kind)
            for at in range(0, table.shape[1], _COLUMNS)
        ]
        low, steps, thresholds = (np.concatenate(parts, axis=-1) for parts in zip(*blocks, strict=True))
        if shared:
            low, steps, thresholds = (np.repeat(a, features, axis=-1) for a in (low, steps, thresholds))
        return cls(kind, low, steps, thresholds, tuple(names))

    @property
    def features(self) -> int:
        return int(self.thresholds.shape[1])

    @property
    def planes(self) -> int:
        return int(self.thresholds.shape[0])

    @property
    def bits(self) -> int:
        """P·F, the inputs of the first layer."""
        return int(self.thresholds.size)

    @property
    def raw(self) -> bool:
        """True if every feature is taken as the integer it is. The device then needs no low and no steps."""
        return bool((self.steps == 1).all() and (self.low == _LOWEST[self.kind]).all())

    def quantise(self, x: NDArray[Any]) -> NDArray[Any]:
        """Numbers (n, F) of any dtype -> uint8 or int16 (n, F), what the device takes.

        Raises:
            DataError: another number of features, no numbers, NaN or infinity.
        """
        values = _floats(x, self.names, self.features)
        return quantise_features(values, self.low, self.steps, self.kind)

    def to_bits(self, x: NDArray[Any]) -> NDArray[np.uint8]:
        """Numbers (n, F) of any dtype -> 0/1 (n, P·F), plane-major. Raises as `quantise`."""
        return self.compare(self.quantise(x))

    def compare(self, q: NDArray[Any]) -> NDArray[np.uint8]:
        """Integers (n, F) as `quantise` gives them -> 0/1 (n, P·F), plane-major."""
        on = np.empty((len(q), self.planes, self.features), dtype=np.uint8)
        for plane, threshold in enumerate(self.thresholds):
            on[:, plane] = q >= threshold
        return on.reshape(len(q), -1)

    def clipped(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """How many values of each feature are limited because they lie outside its range: int64 (F,).

        A feature that was constant in training counts 0. Raises as `quantise`.
        """
        place = (_floats(x, self.names, self.features).astype(np.float64) - self.low) * self.steps
        outside = (place < -0.5) | (place >= _SPAN[self.kind] + 0.5)
        varies = self.thresholds[0] <= _LOWEST[self.kind] + _SPAN[self.kind]
        return np.where(varies, outside.sum(0), 0).astype(np.int64)

    def ranges(self) -> Doubles:
        """float64 (2, F): the smallest and the largest value of each feature that are not limited."""
        return np.stack([self.low, self.low + _SPAN[self.kind] / self.steps.astype(np.float64)])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` gives an equal encoder."""
        arrays = {name: getattr(self, name).tolist() for name in ("low", "steps", "thresholds")}
        return {"kind": self.kind, **arrays, "names": list(self.names)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Encoder:
        """Inverse of `to_dict`.

        Raises:
            DataError: a field is missing, of another type, or out of its range.
        """
        try:
            low, steps = (np.array(fields[name], dtype=np.float32) for name in ("low", "steps"))
            thresholds = np.array(fields["thresholds"], dtype=np.int32)
            return cls(fields["kind"], low, steps, thresholds, tuple(map(str, fields["names"])))
        except (KeyError, TypeError, OverflowError) as error:
            raise DataError(f"this is no encoder ({error!r}): write it with Encoder.to_dict") from None
        except DataError:
            raise
        except ValueError as error:
            raise DataError(f"this is no encoder ({error}): write it with Encoder.to_dict") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Encoder) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.kind, self.thresholds.tobytes()))


def default_planes(features: int) -> int:
    """1024 // F limited to 1..8; 256 // F, at most 16, where that is more.

    Tables of few features need the finer steps: with 8 thresholds the blobs of `experiments.development_sets` stay four
    points under a perceptron of 64 units.
    """
    return max(1, min(8, 1024 // features), min(MAX_PLANES, 256 // features))


def _floats(x: NDArray[Any], names: tuple[str, ...], features: int | None = None) -> Floats:
    """Checked, as float32, which is what the device is given."""
    x = np.asarray(x)
    if x.dtype.kind not in "biuf":
        raise DataError(f"features have dtype {x.dtype}: must be numbers")
    if x.ndim != 2 or (features is None and not x.size):
        raise DataError(f"features have shape {x.shape}: must be (samples, features), at least one of each")
    if features is not None and x.shape[1] != features:
        raise DataError(f"{x.shape[1]} features: the encoder was fitted on {features}, pass those, in the same order")
    if names and len(names) != x.shape[1]:
        raise DataError(f"{len(names)} names for {x.shape[1]} features: give one for each")
    with np.errstate(over="ignore"):
        values: Floats = x.astype(np.float32)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        name = names[column] if names else f"feature {column}"
        raise DataError(f"{name} of sample {row} is {x[row, column]}: must be a finite float32, fill or drop it")
    return values


def _is_whole(x: Floats) -> NDArray[np.bool_]:
    """(n, F) -> (F,): only whole numbers that int16 holds."""
    whole: NDArray[np.bool_] = (x == np.floor(x)).all(0) & (x.min(0) >= -32768) & (x.max(0) <= 32767)
    return whole


def quantise_features(x: Floats, low: Floats, steps: Floats, kind: str) -> NDArray[Any]:
    """floor(v + 1/2) is computed as (int(2v) + 1) >> 1: a sum after a product could be fused, a conversion cannot."""
    with np.errstate(over="ignore"):
        twice = np.maximum(x - low, np.float32(0)) * (2 * steps)
    halves = np.minimum(twice, np.float32(2 * _SPAN[kind])).astype(np.int32)
    integers: NDArray[Any] = (((halves + 1) >> 1) + _LOWEST[kind]).astype(kind)
    return integers


def _fit_block(x: Floats, whole: NDArray[np.bool_], planes: int, kind: str) -> tuple[Floats, Floats, NDArray[np.int32]]:
    """low (F,), steps (F,) and thresholds (P, F) of some features."""
    values = x.astype(np.float64)
    least, most = values.min(0), values.max(0)
    q02, q25, q75, q98 = np.quantile(values, (0.02, 0.25, 0.75, 0.98), axis=0)
    one_value = q98 <= q02
    a, b = np.where(one_value, least, q02), np.where(one_value, most, q98)
    places = np.arange(planes)[:, None]
    cuts = a + (b - a) * (2 * places + 1) / (2 * planes)
    tail = (b - a > TAIL * (q75 - q25)) & (q75 > q25)
    if tail.any():
        quantiles = np.quantile(values[:, tail], (places[:, 0] + 1) / (planes + 1), axis=0)
        cuts[:, tail] = quantiles
        a[tail] = np.minimum(quantiles[0], q25[tail])
        b[tail] = np.maximum(quantiles[-1], q75[tail])

    lowest, span = _LOWEST[kind], _SPAN[kind]
    width = b - a
    with np.errstate(divide="ignore", over="ignore"):
        rate = np.where(whole, 1.0, span / (3 * width))
    usable = (most > least) & (rate < _LARGEST / 4)  # twice the rate must be a float32
    low = np.where(whole, lowest, np.clip(a - width, -_LARGEST, _LARGEST)).astype(np.float32)
    steps = np.where(usable, rate, 1.0).astype(np.float32)
    levels = np.where(whole, np.ceil(cuts), quantise_features(cuts.astype(np.float32), low, steps, kind)).astype(
        np.int32
    )
    first, last = (
        quantise_features(ends.astype(np.float32)[None], low, steps, kind)[0].astype(np.int32) for ends in (least, most)
    )
    thresholds = np.clip(levels, first + 1, np.maximum(last, first + 1))
    never = lowest + span + 1
    return low, steps, np.where(usable & (last > first), thresholds, never).astype(np.int32)
