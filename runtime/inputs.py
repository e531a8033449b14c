"""Numbers of a user -> the integers that the device takes: scale, range and names of an image, from its header and first record.

The first record holds thresholds (kind 7) or units from nothing (kind 11); then the device takes one uint8 or int16 for
each feature. Where the record has a scale, numbers of any dtype become those integers as in training: low and steps of each
feature, in float32, in an order that no fused multiply-add can change. Without a scale they are the integers already.
Other images take uint8 features or packed bits. runtime/FORMAT.md specifies the fields.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_INPUT_SIZE, LAYERS, _NOTES, RECORD, RECORD_SIZE = 42, 40, 52, 64, 64
_CUTS, _GRADED, _LEVELS, _HEAD, _TRIPLES = 7, 5, 9, 10, 11
_DTYPES = (np.dtype("u1"), np.dtype("<i2"))
_SPAN = {1: 255, 2: 65535}


class InputError(ValueError):
    """The model cannot take this input or label."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """The input of one image.

    Args:
        size: bytes of one input.
        values: numbers of one input: features, or bytes of packed bits.
        dtype: of those numbers on the device, uint8 or int16.
        scale: float32 (2, F), low and steps, or None.
        constant: bool (F,), features that had one value where the model was made: it does not look at them, and their range says
            nothing. None where the image has neither thresholds of each feature nor units from nothing.
        features: names of the features, () without names.
        classes: names of the classes that have one, () without names.
    """

    size: int
    values: int
    dtype: np.dtype[Any]
    scale: NDArray[np.float32] | None = None
    constant: NDArray[np.bool_] | None = None
    features: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    @staticmethod
    def of(image: bytes) -> Inputs:
        """Reads an image that the runtime has checked."""
        (size,) = struct.unpack_from("<H", image, _INPUT_SIZE)
        notes = _notes(image)
        kind, source = image[RECORD : RECORD + 2]
        if kind not in (_CUTS, _TRIPLES):
            return Inputs(size, size, _DTYPES[0], None, None, *notes)
        planes = image[RECORD + 2]
        (values,) = struct.unpack_from("<H", image, RECORD + 4)
        scale_at, cuts_at = struct.unpack_from("<II", image, RECORD + 32)
        dtype = _DTYPES[source]
        scale = np.frombuffer(image, "<f4", 2 * values, scale_at).reshape(2, values) if scale_at else None
        constant = np.zeros(values, np.bool_)
        if kind == _CUTS and not image[RECORD + 46]:
            cuts = np.frombuffer(image, dtype, planes * values, cuts_at).reshape(planes, values)
            constant = cuts[0] == np.iinfo(dtype).max
        if kind == _TRIPLES:  # features that did not vary have the factor 0
            constant = np.frombuffer(image, "<i2", values, cuts_at + 4 * values) == 0
        return Inputs(size, values, dtype, scale, constant, *notes)

    def device(self, x: ArrayLike) -> NDArray[np.uint8]:
        """Numbers (n, values), or the device's bytes uint8 (n, size), -> the device's bytes uint8 (n, size).

        Raises InputError: another shape, int16 where a scale makes int16 of numbers, or numbers that the device cannot take; the
        message names sample and feature.
        """
        a = np.asarray(x)
        bytes_differ = self.size != self.values or self.scale is not None  # from the numbers of a user
        if bytes_differ and a.ndim == 2 and a.shape[1] == self.size and a.dtype == np.uint8:
            return np.ascontiguousarray(a)
        return self.quantise(a).view(np.uint8)

    def quantise(self, x: ArrayLike) -> NDArray[Any]:
        """Numbers (n, values) -> integers uint8 or int16 (n, values), as `device`."""
        a = self._checked(np.asarray(x))
        if self.scale is not None:
            return self._scaled(a.astype(np.float32))
        if a.dtype == self.dtype or a.dtype == np.bool_:
            return np.ascontiguousarray(a, self.dtype)
        least, most = np.iinfo(self.dtype).min, np.iinfo(self.dtype).max
        bad = ~((a >= least) & (a <= most) & (a == np.floor(a)))  # NaN compares false and so is bad
        if bad.any():
            row, column = np.argwhere(bad)[0].tolist()
            limit = f"whole numbers {least}..{most}, limit it or train with such values"
            raise InputError(f"{self._name(row, column)} is {a[row, column]}: this model takes {limit}")
        return np.ascontiguousarray(a, self.dtype)

    def clipped(self, x: ArrayLike) -> NDArray[np.int64]:
        """How many values of each feature, int64 (values,), are limited because they lie outside its range, as `device`.

        A feature that was constant in training counts 0, and so does every feature of an image without a scale.
        """
        a = self._checked(np.asarray(x))
        if self.scale is None or self.constant is None:
            return np.zeros(self.values, np.int64)
        low, steps = self.scale.astype(np.float64)
        place = (a.astype(np.float32).astype(np.float64) - low) * steps
        outside = (place < -0.5) | (place >= _SPAN[self.dtype.itemsize] + 0.5)
        return np.where(self.constant, 0, outside.sum(0)).astype(np.int64)

    def _scaled(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """floor(v + 1/2) is computed as (int(2v) + 1) >> 1, as `metabit.data.encoder` does."""
        assert self.scale is not None
        low, steps = self.scale
        with np.errstate(over="ignore"):
            twice = np.maximum(x - low, np.float32(0)) * (2 * steps)
        halves = np.minimum(twice, np.float32(2 * _SPAN[self.dtype.itemsize])).astype(np.int32)
        lowest = int(np.iinfo(self.dtype).min)
        return np.ascontiguousarray(((halves + 1) >> 1) + lowest, self.dtype)

    def _checked(self, a: NDArray[Any]) -> NDArray[Any]:
        if a.ndim != 2:
            raise InputError(f"inputs have shape {a.shape}, they must be (samples, {self.values}): x[None] for one")
        if a.shape[1] != self.values:
            raise InputError(f"an input has {a.shape[1]} values, this model takes {self.values}")
        if a.dtype.kind not in "biuf":
            raise InputError(f"inputs are {a.dtype}, they must be numbers")
        if self.scale is not None:
            if self.dtype.itemsize == 2 and a.dtype.kind == "i" and a.dtype.itemsize == 2:
                raise InputError(
                    "inputs are int16, the integers that quantise gives, and this model would scale them a second time: give the "
                    "numbers of training, as float32 if they are whole, or the bytes of Model.device_bytes"
                )
            with np.errstate(over="ignore"):
                finite = np.isfinite(a.astype(np.float32))
            if not finite.all():
                row, column = np.argwhere(~finite)[0].tolist()
                limit = "must be a finite float32, fill or drop it"
                raise InputError(f"{self._name(row, column)} is {a[row, column]}: {limit}")
        return a

    def _name(self, row: int, column: int) -> str:
        feature = self.features[column] if len(self.features) == self.values else f"feature {column}"
        return f"{feature} of sample {row}"


def learner(image: bytes) -> str:
    """The learner of an image that the runtime has checked: "head", "levels", "votes", "visits" or "none"."""
    (count,) = struct.unpack_from("<H", image, LAYERS)
    records = [image[RECORD + RECORD_SIZE * i :][:RECORD_SIZE] for i in range(count)]
    kinds = {record[0] for record in records if record[9]}
    for kind, name in ((_HEAD, "head"), (_LEVELS, "levels"), (_GRADED, "votes")):
        if kind in kinds:
            return name
    return "visits" if kinds - {1, _CUTS, _TRIPLES} else "none"


def _notes(image: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of features and of classes. Notes that are no such JSON are no names, and no reason to refuse the image."""
    at, size = struct.unpack_from("<II", image, _NOTES)
    try:
        told = json.loads(image[at : at + size]) if size else {}
        features, classes = (tuple(map(str, told.get(key, ()))) for key in ("features", "classes"))
        "".join(features + classes).encode()
    except (ValueError, AttributeError, TypeError, RecursionError):
        return (), ()
    return features, classes


def as_uint8(a: NDArray[Any]) -> NDArray[np.uint8]:
    """Converts whole numbers 0..255 of any dtype, the device's bytes, to contiguous uint8. Raises InputError for another value."""
    if a.dtype == np.uint8 or a.dtype == np.bool_:
        return np.ascontiguousarray(a, np.uint8)
    if a.dtype.kind not in "iuf":
        raise InputError(f"inputs are {a.dtype}, they must be numbers 0..255")
    bad = ~((a >= 0) & (a <= 255) & (a == np.floor(a)))  # NaN compares false and so is bad
    if bad.any():
        value = a[bad][0]
        raise InputError(f"input value {value} is not a whole number 0..255: give Model.quantise's integers as uint8")
    return np.ascontiguousarray(a, np.uint8)
