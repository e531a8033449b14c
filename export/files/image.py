"""Frozen <-> the `.mbit` device image. runtime/FORMAT.md is the specification; the names here are its names."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export import bits
from metabit.export.counters import fold_constants
from metabit.export.errors import ExportError
from metabit.export.files.image_layout import (
    ENCODE,
    HEADER,
    INPUTS,
    KINDS,
    MAGIC,
    MAJOR,
    MINOR,
    RECORD,
    STATE,
    TERNARY,
    Header,
    lanes_of,
)
from metabit.export.files.image_reader import read_image
from metabit.export.frozen import (
    ConvLayer,
    Counters,
    DenseLayer,
    Encode,
    Frozen,
    GradedLayer,
    Layer,
    OutputLayer,
    Votes,
)
from metabit.export.validate import check_limits

__all__ = ["HEADER", "RECORD", "STATE", "read_image", "sections", "with_state", "write_image"]


def sections(image: bytes) -> tuple[tuple[int, int], tuple[int, int]]:
    """(offset, size) in bytes of the constant and of the state section. Raises ExportError for what is not an image."""
    h = Header.read(image)
    return (h.const_offset, h.const_size), (h.state_offset, h.state_size)


# Writing


def write_image(frozen: Frozen) -> bytes:
    """The device image of a network. Raises ExportError if a layer exceeds a limit of the format."""
    check_limits(frozen)
    count = len(frozen.layers) + (frozen.encode is not None)
    const_offset = HEADER.size + RECORD.size * count
    constants = _Section()
    state = _Section(STATE.pack(frozen.generator, *_counters(frozen.counters)))
    plans = []
    if frozen.encode is not None:
        plans.append(_encode_plan(frozen.encode, constants))
    plans += [_layer_plan(layer, constants, state) for layer in frozen.layers]

    const = constants.bytes()
    state_offset = const_offset + len(const)
    records = b"".join(plan.record(const_offset, state_offset) for plan in plans)
    tail = state.bytes()

    def header(crc: int) -> bytes:
        return HEADER.pack(
            MAGIC, MAJOR, _minor(frozen), state_offset + len(tail), crc,
            const_offset, len(const), zlib.crc32(const), state_offset, len(tail), zlib.crc32(tail),
            count, frozen.input_bytes, frozen.classes, 0, frozen.temperature, frozen.skip_below,
        )  # fmt: skip

    return header(zlib.crc32(header(0) + records)) + records + const + tail


def _minor(frozen: Frozen) -> int:
    """The lowest minor version that holds the network, so that the oldest possible reader accepts it."""
    if any(_ternary(layer) for layer in frozen.layers):
        return MINOR
    if any(layer.kind == "graded" for layer in frozen.layers):
        return 2
    channels = frozen.encode is not None and frozen.encode.channels != 0
    return int(channels or any(layer.kind == "conv" or layer.takes == "bytes" for layer in frozen.layers))


def _ternary(layer: Layer) -> bool:
    return isinstance(layer, DenseLayer) and layer.ternary


class _Section:
    """Bytes of a section, to which 4-byte aligned arrays are appended."""

    def __init__(self, head: bytes = b"") -> None:
        self._data = bytearray(head)

    def add(self, array: NDArray[Any]) -> int:
        """Appends an array and returns its offset in the section."""
        at = len(self._data)
        data = np.ascontiguousarray(array).tobytes()
        self._data += data + bytes(-len(data) % 4)
        return at

    def bytes(self) -> bytes:
        return bytes(self._data)


@dataclass
class _Plan:
    """A layer record whose offsets count from the start of their section: (section, offset), or None for no array."""

    head: tuple[int, ...]
    constants: _Section
    offsets: tuple[tuple[_Section, int] | None, ...]
    tail: tuple[int, ...] = (0,) * 7
    """height, width, channels, kernel, stride, pool, padding; for a graded layer lo, hi, gain, depth, draws, batch / 32, 0"""

    def record(self, const_offset: int, state_offset: int) -> bytes:
        place = [
            0 if at is None else at[1] + (const_offset if at[0] is self.constants else state_offset)
            for at in self.offsets
        ]
        return RECORD.pack(*self.head, *place, *self.tail)


def _encode_plan(encode: Encode, constants: _Section) -> _Plan:
    planes, features = encode.thresholds.shape
    head = (ENCODE, 0, planes, 0, features, planes * features, 0, 0, 0, 0)
    offsets = (None,) * 5 + ((constants, constants.add(encode.thresholds)),)
    return _Plan(head, constants, offsets, (0, 0, encode.channels, 0, 0, 0, 0))


def _layer_plan(layer: Layer, constants: _Section, state: _Section) -> _Plan:
    lanes, rule = lanes_of(layer.kind == "output", layer.units), layer.rule
    planes = window = 0
    home = state if layer.learns else constants
    fold_home = state if layer.learns and layer.takes == "signs" else constants
    sign = bits.pack_columns(layer.hidden >= 0, lanes)
    padded = np.zeros((sign.shape[0], sign.shape[1] + 1), sign.dtype)  # each row ends in a zero word
    padded[:, :-1] = sign
    offsets: list[tuple[_Section, int] | None] = [(home, home.add(padded)), *[None] * 5]
    if layer.bits > 1:
        offsets[1] = (home, home.add(bits.pack_level_columns(layer.hidden, layer.bits, lanes)))
    if layer.takes != "grades":
        fold, planes, window = fold_constants(layer)
        offsets[2] = (fold_home, fold_home.add(bits.slice_planes(fold, planes, 32)))
    if rule is not None:
        offsets[3] = (constants, constants.add(np.stack([rule.strengthen, rule.weaken]).astype("<u2")))
    if isinstance(layer, OutputLayer):
        offsets[4] = (constants, constants.add(np.stack([layer.mul, layer.add]).astype("<i4")))
    if isinstance(rule, Votes):
        offsets[5] = (constants, constants.add(rule.votes_needed.astype("<u2")))
    head = (
        TERNARY if _ternary(layer) else KINDS[layer.kind], INPUTS.index(layer.takes), layer.bits, planes,
        layer.inputs, layer.units, lanes, int(layer.learns), window, rule.dose if rule else 0,
    )  # fmt: skip
    return _Plan(head, constants, tuple(offsets), _tail(layer))


def _tail(layer: Layer) -> tuple[int, ...]:
    """The end of the record: the geometry of a convolution, the ramp and votes of a graded layer."""
    if isinstance(layer, ConvLayer):
        g = layer.geometry
        return g.height, g.width, g.channels, g.kernel, g.stride, g.pool, int(g.same)
    if isinstance(layer, GradedLayer):
        v = layer.rule
        chance, passes, batch = (v.chance_per_vote, v.passes, v.batch // 32) if v else (0, 0, 0)
        return layer.low, layer.high, chance, layer.planes, passes, batch, 0
    return (0,) * 7


def _counters(c: Counters) -> tuple[int, int, int]:
    return c.steps, c.moved, c.flipped


def with_state(image: bytes, state: bytes) -> bytes:
    """The image with another state section, as a device that holds that state would save it. Raises ExportError."""
    h = Header.read(image)
    if len(state) != h.state_size:
        raise ExportError(f"the state has {len(state)} bytes, this image takes {h.state_size}")
    out = bytearray(image[: h.size])
    out[h.state_offset :] = state
    struct.pack_into("<I", out, 36, zlib.crc32(state))
    struct.pack_into("<I", out, 12, zlib.crc32(out[:12] + bytes(4) + out[16 : h.const_offset]))
    return bytes(out)
