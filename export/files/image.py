"""Frozen <-> the `.mbit` device image. runtime/FORMAT.md is the specification; the names here are its names."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metabit.export import bits
from metabit.export.counters import fold_constants
from metabit.export.errors import ExportError
from metabit.export.frozen import MAX_VOTES, Counters, Encode, Frozen, Graded, Layer, Rule, Votes, Window
from metabit.export.limits import check_limits

MAGIC = b"MBIT"
MAJOR, MINOR = 1, 3
HEADER = struct.Struct("<4sHHIIIIIIIIHHHHHH12x")
RECORD = struct.Struct("<BBBBHHBBHIIIIIIIHHHBBBB14x")
STATE = struct.Struct("<IIII")
ENCODE, DENSE, OUTPUT, CONV, GRADED, TERNARY = 1, 2, 3, 4, 5, 6
NAMES: dict[int, Literal["conv", "dense", "graded", "output"]] = {
    DENSE: "dense", OUTPUT: "output", CONV: "conv", GRADED: "graded", TERNARY: "dense",
}  # fmt: skip
KINDS = {"dense": DENSE, "output": OUTPUT, "conv": CONV, "graded": GRADED}
ON_OFF, PLUS_MINUS, BYTES, GATES = 0, 1, 2, 3


def sections(image: bytes) -> tuple[tuple[int, int], tuple[int, int]]:
    """(offset, size) of the constant and of the state section. Raises ExportError for what is not an image."""
    h = _Header.read(image)
    return (h.const_offset, h.const_size), (h.state_offset, h.state_size)


# Writing


def write_image(frozen: Frozen) -> bytes:
    """The device image of a network. Raises ExportError if a layer breaks a limit of the format."""
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
            count, frozen.input_bytes, frozen.classes, 0, frozen.temperature, frozen.margin,
        )  # fmt: skip

    return header(zlib.crc32(header(0) + records)) + records + const + tail


def _minor(frozen: Frozen) -> int:
    """The lowest minor version that holds the network: what older readers can run stays theirs."""
    if any(layer.ternary for layer in frozen.layers):
        return MINOR
    if any(layer.graded for layer in frozen.layers):
        return 2
    newer = frozen.encode is not None and frozen.encode.channels != 0
    return int(newer or any(layer.conv or layer.uint8 for layer in frozen.layers))


class _Section:
    """Bytes that grow by 4-byte aligned arrays."""

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
    """A layer record whose offsets still count from their section: (section, offset), or None for absent."""

    head: tuple[int, ...]
    constants: _Section
    offsets: tuple[tuple[_Section, int] | None, ...]
    image: tuple[int, ...] = (0,) * 7
    """height, width, channels, kernel, stride, pool, padding; of a graded layer lo, hi, gain, depth, draws, batch, 0"""

    def record(self, const_offset: int, state_offset: int) -> bytes:
        place = [
            0 if at is None else at[1] + (const_offset if at[0] is self.constants else state_offset)
            for at in self.offsets
        ]
        return RECORD.pack(*self.head, *place, *self.image)


def _encode_plan(encode: Encode, constants: _Section) -> _Plan:
    planes, features = encode.thresholds.shape
    head = (ENCODE, 0, planes, 0, features, planes * features, 0, 0, 0, 0)
    offsets = (None,) * 5 + ((constants, constants.add(encode.thresholds)),)
    return _Plan(head, constants, offsets, (0, 0, encode.channels, 0, 0, 0, 0))


def _layer_plan(layer: Layer, constants: _Section, state: _Section) -> _Plan:
    lanes = lanes_of(layer)
    planes = window = 0
    home = state if layer.learns else constants
    fold_home = state if layer.learns and not layer.on_off else constants

    sign = bits.pack_columns(layer.hidden >= 0, lanes)
    padded = np.zeros((sign.shape[0], sign.shape[1] + 1), sign.dtype)  # the zero word that pads lists of active inputs
    padded[:, :-1] = sign
    offsets: list[tuple[_Section, int] | None] = [(home, home.add(padded))]
    offsets.append(
        (home, home.add(bits.pack_level_columns(layer.hidden, layer.bits, lanes))) if layer.bits > 1 else None
    )
    if layer.graded_input:
        offsets.append(None)
    else:
        fold, planes, window = fold_constants(layer)
        offsets.append((fold_home, fold_home.add(bits.slice_planes(fold, planes, 32))))
    if layer.rule is not None:
        tables = np.stack([layer.rule.strengthen, layer.rule.weaken]).astype("<u2")
        offsets.append((constants, constants.add(tables)))
    else:
        offsets.append(None)
    if layer.kind == "output":
        offsets.append((constants, constants.add(np.stack([layer.mul, layer.add]).astype("<i4"))))
    else:
        offsets.append(None)
    votes = layer.rule.votes if layer.rule else None
    offsets.append((constants, constants.add(votes.need.astype("<u2"))) if votes else None)
    head = (
        TERNARY if layer.ternary else KINDS[layer.kind], _source(layer), layer.bits, planes,
        layer.inputs, layer.units, lanes, int(layer.learns), window, layer.rule.dose if layer.rule else 0,
    )  # fmt: skip
    return _Plan(head, constants, tuple(offsets), _image(layer))


def _source(layer: Layer) -> int:
    if layer.graded_input:
        return GATES
    return BYTES if layer.uint8 else ON_OFF if layer.on_off else PLUS_MINUS


def _image(layer: Layer) -> tuple[int, ...]:
    """The end of the record: a convolution's image and window, a graded layer's ramp and votes."""
    if layer.conv is not None:
        c = layer.conv
        return c.height, c.width, c.channels, c.kernel, c.stride, c.pool, int(c.same)
    if layer.graded is not None:
        g, votes = layer.graded, layer.rule.votes if layer.rule else None
        gain, draws, batch = (votes.gain, votes.draws, votes.batch) if votes else (0, 0, 0)
        return g.lo, g.hi, gain, g.planes, draws, batch // 32, 0
    return (0,) * 7


def lanes_of(layer: Layer) -> bits.Lanes:
    """Units per word: a small output layer uses half words, so that its padding costs less."""
    return 16 if layer.kind == "output" and layer.units <= 16 else 32


def _counters(c: Counters) -> tuple[int, int, int]:
    return c.steps, c.moved, c.flipped


# Reading


@dataclass
class _Header:
    magic: bytes
    major: int
    minor: int
    size: int
    crc: int
    const_offset: int
    const_size: int
    const_crc: int
    state_offset: int
    state_size: int
    state_crc: int
    layers: int
    input_size: int
    classes: int
    reserved: int
    temperature: int
    margin: int

    @classmethod
    def read(cls, image: bytes) -> _Header:
        if len(image) < HEADER.size:
            raise ExportError(f"the image is truncated: {len(image)} bytes, the header alone has {HEADER.size}")
        h = cls(*HEADER.unpack_from(image))
        if h.magic != MAGIC:
            raise ExportError(f"not a metabit image: it starts with {h.magic!r}, not {MAGIC!r}")
        if h.major != MAJOR:
            raise ExportError(f"image format {h.major}.{h.minor}; this metabit reads {MAJOR}.x: export it again")
        if h.size > len(image):
            raise ExportError(f"the image is truncated: {len(image)} of {h.size} bytes")
        records_end = HEADER.size + RECORD.size * h.layers
        if zlib.crc32(image[:12] + bytes(4) + image[16:records_end]) != h.crc:
            raise ExportError("the image's header or layer records are damaged (checksum mismatch)")
        for name, at, size, crc in (
            ("constant", h.const_offset, h.const_size, h.const_crc),
            ("state", h.state_offset, h.state_size, h.state_crc),
        ):
            if at + size > h.size or (name == "state" and size < STATE.size):
                raise ExportError(f"the image's {name} section lies outside the image or is too small")
            if zlib.crc32(image[at : at + size]) != crc:
                raise ExportError(f"the image's {name} section is damaged (checksum mismatch)")
        return h


def read_image(image: bytes) -> Frozen:
    """The network inside an image, learned state included. Raises ExportError if the image is damaged.

    Everything comes back as written, except a theta of the wrong parity and an odd window, which come back as what they mean.
    """
    h = _Header.read(image)
    generator, *counters = STATE.unpack_from(image, h.state_offset)
    encode: Encode | None = None
    layers: list[Layer] = []
    try:
        for i in range(h.layers):
            record = RECORD.unpack_from(image, HEADER.size + RECORD.size * i)
            if record[0] == ENCODE:
                planes, features, at = record[2], record[4], record[15]
                encode = Encode(_array(image, at, "u1", (planes, features)), record[18])
            else:
                layers.append(_read_layer(image, record))
        frozen = Frozen(tuple(layers), encode, h.temperature, h.margin, generator, Counters(*counters))
        check_limits(frozen)
    except (ValueError, IndexError, TypeError, ArithmeticError, struct.error) as wrong:
        raise ExportError(f"the image's records contradict each other: {wrong}") from wrong
    return frozen


def _array(image: bytes, at: int, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    return np.frombuffer(image, dtype, int(np.prod(shape)), at).reshape(shape).copy()


def _read_layer(image: bytes, record: tuple[int, ...]) -> Layer:
    (kind, source, k, planes, inputs, units, lanes, learns, window, dose,
     sign_at, levels_at, fold_at, tables_at, scores_at, need_at, *shape) = record  # fmt: skip
    word, rows, on_off = f"<u{lanes // 8}", -(-units // lanes), source in (ON_OFF, BYTES)
    height, width, channels, kernel, stride, pool, padding = shape
    lo, hi, gain, depth, draws, slots, _ = shape  # the same bytes of a graded layer
    if kind not in NAMES or source not in (ON_OFF, PLUS_MINUS, BYTES, GATES) or padding > (kind == CONV):
        raise ExportError(f"kind {kind}, input {source} or padding {padding} is unknown: a newer metabit wrote it")
    sign = _array(image, sign_at, word, (rows, inputs + 1))[:, :-1]
    if k > 1:
        hidden = bits.unpack_level_columns(_array(image, levels_at, word, (rows, inputs, k - 1)), sign, units)
    else:
        hidden = np.where(bits.unpack_columns(sign, units), 0, -1).astype(np.int8)
    ones, zeros = np.ones(units, np.int32), np.zeros(units, np.int32)
    theta = zeros
    if kind != OUTPUT:
        fold = bits.unslice_planes(_array(image, fold_at, "<u4", (-(-units // 32), planes)), units)
        theta = (-fold if on_off else -2 * fold - np.where(hidden >= 0, 1, -1).sum(1, dtype=np.int64)).astype(np.int32)
    rule = None
    if learns:
        strengthen, weaken = _array(image, tables_at, "<u2", (2, 2 ** (k - 1)))
        votes = (
            Votes(_array(image, need_at, "<u2", (MAX_VOTES * 32 * slots * depth + 1,)), gain, draws, 32 * slots)
            if kind == GRADED
            else None
        )
        rule = Rule(strengthen, weaken, dose, votes)
    mul, add = _array(image, scores_at, "<i4", (2, units)) if kind == OUTPUT else (ones, zeros)
    return Layer(
        kind=NAMES[kind], hidden=hidden, bits=k, on_off=on_off,
        theta=theta, window=window if on_off else 2 * window,
        mul=mul, add=add, rule=rule, uint8=source == BYTES,
        conv=Window(height, width, channels, kernel, stride, bool(padding), pool) if kind == CONV else None,
        graded=Graded(lo, hi, depth) if kind == GRADED else None, graded_input=source == GATES,
        ternary=kind == TERNARY,
    )  # fmt: skip


def with_state(image: bytes, state: bytes) -> bytes:
    """The image with another state section, as a device that holds that state would save it. Raises ExportError."""
    h = _Header.read(image)
    if len(state) != h.state_size:
        raise ExportError(f"the state has {len(state)} bytes, this image takes {h.state_size}")
    out = bytearray(image[: h.size])
    out[h.state_offset :] = state
    struct.pack_into("<I", out, 36, zlib.crc32(state))
    struct.pack_into("<I", out, 12, zlib.crc32(out[:12] + bytes(4) + out[16 : h.const_offset]))
    return bytes(out)
