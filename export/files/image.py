"""Frozen <-> the `.mbit` device image. runtime/FORMAT.md is the specification; the names here are its names."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export import bits
from metabit.export.counters import fold_constants
from metabit.export.errors import ExportError
from metabit.export.files import image_layout as layout
from metabit.export.files.image_reader import read_image
from metabit.export.frozen import ConvLayer, DenseLayer, Encode, Frozen, GradedLayer, Layer, OutputLayer, Votes
from metabit.export.validate import check_limits

HEADER, RECORD, STATE = layout.HEADER, layout.RECORD, layout.STATE

__all__ = ["HEADER", "RECORD", "STATE", "read_image", "sections", "with_state", "write_image"]


def sections(image: bytes) -> tuple[tuple[int, int], tuple[int, int]]:
    """(offset, size) in bytes of the constant and of the state section. Raises ExportError for what is not an image."""
    h = layout.Header.read(image)
    return (h.const_offset, h.const_size), (h.state_offset, h.state_size)


def write_image(frozen: Frozen) -> bytes:
    """The device image of a network. Raises ExportError if a layer exceeds a limit of the format."""
    check_limits(frozen)
    count, c = len(frozen.layers) + (frozen.encode is not None), frozen.counters
    constants = _Section(HEADER.size + RECORD.size * count)
    state = _Section(0, STATE.pack(frozen.generator, c.steps, c.moved, c.flipped))
    records = [] if frozen.encode is None else [_encode_record(frozen.encode, constants)]
    records += [_layer_record(layer, constants, state) for layer in frozen.layers]

    const, tail, state_offset = bytes(constants.data), bytes(state.data), constants.begin + len(constants.data)
    packed = b"".join(
        RECORD.pack(*head, *(at + state_offset * learned for at, learned in places), *end)
        for head, places, end in records
    )

    def header(crc: int) -> bytes:
        return HEADER.pack(
            layout.MAGIC, layout.MAJOR, _minor(frozen), state_offset + len(tail), crc,
            constants.begin, len(const), zlib.crc32(const), state_offset, len(tail), zlib.crc32(tail),
            count, frozen.input_bytes, frozen.classes, 0, frozen.temperature, frozen.skip_below,
        )  # fmt: skip

    return header(zlib.crc32(header(0) + packed)) + packed + const + tail


def _minor(frozen: Frozen) -> int:
    """The lowest minor version that holds the network, so that the oldest possible reader accepts it."""
    if any(_ternary(layer) for layer in frozen.layers):
        return layout.MINOR
    if any(layer.kind == "graded" for layer in frozen.layers):
        return 2
    channels = frozen.encode is not None and frozen.encode.channels != 0
    return int(channels or any(layer.kind == "conv" or layer.takes == "bytes" for layer in frozen.layers))


def _ternary(layer: Layer) -> bool:
    return isinstance(layer, DenseLayer) and layer.ternary


Place = tuple[int, bool]
"""Offset of an array, and True if it counts from the start of the state section, whose place is not known yet."""
ABSENT: Place = (0, False)
Record = tuple[tuple[int, ...], list[Place], tuple[int, ...]]
"""Fields before the six offsets, the offsets, fields after them."""


class _Section:
    """Bytes of a section, to which 4-byte aligned arrays are appended. begin: of the constants in the image; 0 for the state."""

    def __init__(self, begin: int, head: bytes = b"") -> None:
        self.begin, self.data = begin, bytearray(head)

    def add(self, array: NDArray[Any]) -> Place:
        """Appends an array and returns its place."""
        at, data = self.begin + len(self.data), np.ascontiguousarray(array).tobytes()
        self.data += data + bytes(-len(data) % 4)
        return at, self.begin == 0


def _encode_record(encode: Encode, constants: _Section) -> Record:
    planes, features = encode.thresholds.shape
    head = (layout.ENCODE, 0, planes, 0, features, planes * features, 0, 0, 0, 0)
    return head, [*[ABSENT] * 5, constants.add(encode.thresholds)], (0, 0, encode.channels, 0, 0, 0, 0)


def _layer_record(layer: Layer, constants: _Section, state: _Section) -> Record:
    lanes, rule = layout.lanes_of(layer.kind == "output", layer.units), layer.rule
    planes = window = 0
    home = state if layer.learns else constants
    sign = bits.pack_columns(layer.hidden >= 0, lanes)
    padded = np.zeros((sign.shape[0], sign.shape[1] + 1), sign.dtype)  # each row ends in a zero word
    padded[:, :-1] = sign
    places = [home.add(padded), *[ABSENT] * 5]
    if layer.bits > 1:
        places[1] = home.add(bits.pack_level_columns(layer.hidden, layer.bits, lanes))
    if layer.takes != "grades":
        fold, planes, window = fold_constants(layer)
        places[2] = (home if layer.takes == "signs" else constants).add(bits.slice_planes(fold, planes, 32))
    if rule is not None:
        places[3] = constants.add(np.stack([rule.strengthen, rule.weaken]).astype("<u2"))
    if isinstance(layer, OutputLayer):
        places[4] = constants.add(np.stack([layer.mul, layer.add]).astype("<i4"))
    if isinstance(rule, Votes):
        places[5] = constants.add(rule.votes_needed.astype("<u2"))
    head = (
        layout.TERNARY if _ternary(layer) else layout.KINDS[layer.kind], layout.INPUTS.index(layer.takes), layer.bits, planes,
        layer.inputs, layer.units, lanes, int(layer.learns), window, rule.dose if rule else 0,
    )  # fmt: skip
    return head, places, _tail(layer)


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


def with_state(image: bytes, state: bytes) -> bytes:
    """The image with another state section, as a device that holds that state would save it. Raises ExportError."""
    h = layout.Header.read(image)
    if len(state) != h.state_size:
        raise ExportError(f"the state has {len(state)} bytes, this image takes {h.state_size}")
    out = bytearray(image[: h.size])
    out[h.state_offset :] = state
    struct.pack_into("<I", out, 36, zlib.crc32(state))
    struct.pack_into("<I", out, 12, zlib.crc32(out[:12] + bytes(4) + out[16 : h.const_offset]))
    return bytes(out)
