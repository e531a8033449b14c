"""The only place in Python that packs and unpacks bits.

Bit 1 stands for +1 or "on". Words are little-endian, the least significant bit comes first, and the bits that pad a row to whole
words are zero. There are two layouts:

* row-major, for ONNX and TFLite: the K weights of one unit side by side in bytes, for Larq Compute Engine in words, inverted;
* input-major, for the device image: the weights of ``lanes`` units for one input side by side in a word. Unit
  ``lanes * r + i`` is bit i of group r.

Shapes: N units, K inputs, k hidden bits, R = ceil(N / lanes) groups.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError

Lanes = Literal[16, 32]
Bits = NDArray[np.bool_]
Words = NDArray[np.uint16] | NDArray[np.uint32]

_WORD = {8: "u1", 16: "<u2", 32: "<u4"}


def _pack(bits: Bits, lanes: int) -> NDArray[Any]:
    """(..., n) -> words (..., ceil(n / lanes))."""
    *front, n = bits.shape
    padded = np.zeros((*front, n + -n % lanes), np.bool_)
    padded[..., :n] = bits
    return np.packbits(padded, axis=-1, bitorder="little").view(_WORD[lanes])


def _unpack(words: NDArray[Any], n: int) -> Bits:
    """words (..., ceil(n / lanes)) -> (..., n)."""
    lanes = 8 * words.dtype.itemsize
    if words.shape[-1] != -(-n // lanes):
        raise ExportError(f"{words.shape[-1]} words of {lanes} bits do not hold a row of {n} bits")
    octets = np.ascontiguousarray(words, _WORD[lanes]).view(np.uint8)
    return np.unpackbits(octets, axis=-1, count=n, bitorder="little").astype(np.bool_)


def pack_rows(bits: Bits) -> NDArray[np.uint8]:
    """bool (..., K) -> uint8 (..., ceil(K / 8))."""
    return _pack(bits, 8)


def unpack_rows(packed: NDArray[np.uint8], inputs: int) -> Bits:
    """uint8 (..., ceil(K / 8)) -> bool (..., K), K = inputs. Raises ExportError if the width does not fit."""
    return _unpack(packed, inputs)


SIGNS_OF_BYTE = np.where(unpack_rows(np.arange(256, dtype=np.uint8)[:, None], 8), 1, -1).astype(np.int8)
"""int8 (256, 8): +1 or -1 for each bit of a byte."""


def pack_minus(positive: Bits) -> NDArray[np.int32]:
    """bool (..., C) -> int32 (..., ceil(C / 32)) of Larq Compute Engine, whose bit 1 stands for -1."""
    return np.asarray(_pack(~positive, 32).view("<i4"), np.int32)


def unpack_minus(words: NDArray[np.int32], channels: int) -> Bits:
    """Inverse of `pack_minus`: int32 (..., ceil(C / 32)) -> bool (..., C). Raises ExportError if the width does not fit."""
    return ~_unpack(np.ascontiguousarray(words).view(np.uint32), channels)


def hidden_planes(levels: NDArray[np.int8], k: int) -> NDArray[np.uint8]:
    """Levels int8 (N, K) -> planes uint8 (k, N, ceil(K / 8)), least significant first.

    Plane p holds bit p of ``level + 2**(k-1)``: the two's complement bits with the top one inverted, so that plane k-1
    is the sign plane that inference reads (1 = +1). Raises ExportError for a level that k bits cannot hold.
    """
    _check_levels(levels, k)
    offset = levels.astype(np.int16) + (1 << (k - 1))
    return pack_rows(_bits_of(offset, np.arange(k)[:, None, None]))


def levels_from_planes(planes: NDArray[np.uint8], inputs: int) -> NDArray[np.int8]:
    """Inverse of `hidden_planes`: uint8 (k, N, ceil(K / 8)) -> int8 (N, K), K = inputs."""
    k = len(planes)
    place = (1 << np.arange(k, dtype=np.int16))[:, None, None]
    offset = (unpack_rows(planes, inputs) * place).sum(axis=0, dtype=np.int16)
    return np.asarray(offset - (1 << (k - 1)), np.int8)


def pack_columns(bits: Bits, lanes: Lanes) -> Words:
    """bool (N, K) -> words (R, K): bit i of word [r, j] is ``bits[lanes * r + i, j]``."""
    return np.ascontiguousarray(_pack(bits.T, lanes).T)


def unpack_columns(words: Words, units: int) -> Bits:
    """Inverse of `pack_columns`: words (R, K) -> bool (N, K), N = units."""
    return np.ascontiguousarray(_unpack(words.T, units).T)


def pack_level_columns(levels: NDArray[np.int8], k: int, lanes: Lanes) -> Words:
    """Levels int8 (N, K) -> words (R, K, k-1): the two's complement bits below the sign, most significant first.

    Index 0 holds bit k-2. The sign is not included; it is ``pack_columns(levels >= 0, lanes)``.
    Raises ExportError for a level that k bits cannot hold.
    """
    _check_levels(levels, k)
    units, inputs = levels.shape
    below_sign = _bits_of(levels[:, :, None], np.arange(k - 2, -1, -1))
    words = pack_columns(below_sign.reshape(units, inputs * (k - 1)), lanes)
    return words.reshape(len(words), inputs, k - 1)


def unpack_level_columns(words: Words, signs: Words, units: int) -> NDArray[np.int8]:
    """Inverse of `pack_level_columns`: words (R, K, k-1) and the sign plane (R, K) -> levels int8 (N, K)."""
    groups, inputs, low = words.shape
    place = 1 << np.arange(low - 1, -1, -1)
    below_sign = unpack_columns(words.reshape(groups, inputs * low), units).reshape(units, inputs, low)
    negative = ~unpack_columns(signs, units)
    return np.asarray((below_sign * place).sum(axis=2) - (negative << low), np.int8)


def slice_planes(values: NDArray[Any], planes: int, lanes: Lanes) -> Words:
    """Bit-slice signed integers: values (N,) -> words (R, planes), plane p = two's complement bit p.

    Raises ExportError for a value that ``planes`` bits cannot hold.
    """
    wide = values.astype(np.int64)
    _check_range(wide, planes, "value")
    return pack_columns(_bits_of(wide[:, None], np.arange(planes)), lanes)


def unslice_planes(words: Words, units: int) -> NDArray[np.int64]:
    """Inverse of `slice_planes`: words (R, planes) -> int64 (N,), N = units."""
    place = 1 << np.arange(words.shape[1], dtype=np.int64)
    place[-1] *= -1
    return np.asarray((unpack_columns(words, units) * place).sum(axis=1), np.int64)


def pack_stream(levels: NDArray[np.int8], k: int) -> NDArray[np.uint32]:
    """Levels int8 (...) -> uint32 words: the two's complement of level i, in stored order, in bits i * k .. i * k + k - 1.

    Raises ExportError for a level that k bits cannot hold.
    """
    _check_levels(levels, k)
    return np.asarray(_pack(_bits_of(levels.reshape(-1, 1), np.arange(k)).reshape(-1), 32), np.uint32)


def unpack_stream(words: NDArray[np.uint32], count: int, k: int) -> NDArray[np.int8]:
    """Inverse of `pack_stream`: uint32 words -> levels int8 (count,)."""
    place = 1 << np.arange(k)
    place[-1] *= -1
    return np.asarray((_unpack(words, count * k).reshape(count, k) * place).sum(axis=1), np.int8)


def _bits_of(values: NDArray[Any], place: NDArray[Any]) -> Bits:
    return np.asarray(values >> place & 1, np.bool_)


def _check_levels(levels: NDArray[np.int8], k: int) -> None:
    if not 1 <= k <= 8:
        raise ExportError(f"a hidden level has 1 to 8 bits, not {k}")
    _check_range(levels, k, "hidden level")


def _check_range(values: NDArray[Any], bits: int, what: str) -> None:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if values.size and not (low <= values.min() and values.max() <= high):
        raise ExportError(f"{what}s {values.min()}..{values.max()} do not fit {bits} bits ({low}..{high})")
