"""Frozen <-> the `.mbit` device image. runtime/FORMAT.md is the specification; the names here are its names."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from metabit.export import bits
from metabit.export.counters import fold_constants
from metabit.export.errors import ExportError
from metabit.export.files import image_layout as layout
from metabit.export.files.image_gates import cuts_record, gates_record, head_record, levels_record, notes_bytes
from metabit.export.files.image_kept import kept_words
from metabit.export.files.image_parts import ABSENT, Record, Section
from metabit.export.files.image_reader import read_image
from metabit.export.files.image_triples import triples_record
from metabit.export.frozen import (
    ConvLayer,
    Cuts,
    DenseLayer,
    Encode,
    Frozen,
    GatesLayer,
    GradedLayer,
    HeadLayer,
    Layer,
    LevelsLayer,
    OutputLayer,
    Rule,
    TriplesLayer,
    Votes,
)
from metabit.export.validate import check_limits

HEADER, RECORD, STATE = layout.HEADER, layout.RECORD, layout.STATE

__all__ = ["HEADER", "RECORD", "STATE", "layer_bytes", "read_image", "sections", "with_state", "write_image"]


def sections(image: bytes) -> tuple[tuple[int, int], tuple[int, int]]:
    """(offset, size) in bytes of the constant and of the state section. Raises ExportError for what is not an image."""
    h = layout.Header.read(image)
    return (h.const_offset, h.const_size), (h.state_offset, h.state_size)


def write_image(frozen: Frozen, *, crc32: bool = False) -> bytes:
    """The device image of a network. Raises ExportError if a layer exceeds a limit of the format.

    It has version 1.6 if a layer learns by votes, else 1.5.
    crc32: write the lowest version before 1.5 that holds the network, with the checksums that a device of that time can read. It
        has no place for the samples that a graded layer keeps: they are left out.
    """
    check_limits(frozen)
    count, c = len(frozen.layers) + (frozen.encode is not None), frozen.counters
    constants = Section(HEADER.size + RECORD.size * count)
    state = Section(0, STATE.pack(frozen.generator, c.steps, c.moved, c.flipped))
    records = list(_records(frozen, constants, state, keeps=not crc32))
    notes = b"" if frozen.notes is None else notes_bytes(frozen.notes)
    notes_offset = constants.add(np.frombuffer(notes, np.uint8))[0] if notes else 0

    const, tail, state_offset = bytes(constants.data), bytes(state.data), constants.begin + len(constants.data)
    packed = b"".join(
        RECORD.pack(*head, *(at + state_offset * learned for at, learned in places), *end, *(0,) * (10 - len(end)))
        for head, places, end in records
    )

    votes = any(isinstance(layer.rule, Votes) for layer in frozen.layers)
    minor = _oldest_minor(frozen) if crc32 else layout.MINOR_OF_KEPT if votes else layout.MINOR_OF_WORDS

    def header(own_sum: int) -> bytes:
        return HEADER.pack(
            layout.MAGIC, layout.MAJOR, minor, state_offset + len(tail), own_sum,
            constants.begin, len(const), layout.checksum(const, minor), state_offset, len(tail), layout.checksum(tail, minor),
            count, frozen.input_bytes, frozen.classes, 0, frozen.temperature, frozen.skip_below, notes_offset, len(notes),
        )  # fmt: skip

    return header(layout.header_checksum(header(0) + packed, minor)) + packed + const + tail


def layer_bytes(frozen: Frozen) -> list[tuple[int, int]]:
    """(flash, state) in bytes of the encoder, if there is one, and of each layer, in order.

    Flash is the record and the constants. State lies in RAM on a device, and its first copy in the image. Header, names and
    the `STATE` that every network has are `write_image`'s remaining bytes. Raises ExportError as `write_image` does.
    """
    check_limits(frozen)
    constants, state, found, before = Section(HEADER.size), Section(0), [], (0, 0)
    for _ in _records(frozen, constants, state, keeps=True):
        now = len(constants.data), len(state.data)
        found.append((now[0] - before[0] + RECORD.size, now[1] - before[1]))
        before = now
    return found


def _records(frozen: Frozen, constants: Section, state: Section, *, keeps: bool) -> Iterator[Record]:
    """The record of each layer, encoder first, whose arrays it adds to the sections."""
    if isinstance(frozen.encode, Cuts):
        yield cuts_record(frozen.encode, constants)
    elif frozen.encode is not None:
        yield _encode_record(frozen.encode, constants)
    for layer in frozen.layers:
        yield _record(layer, constants, state, keeps=keeps)


def _oldest_minor(frozen: Frozen) -> int:
    """The lowest minor version with CRC-32 that holds the network, so that the oldest possible reader accepts it."""
    kinds = {layer.kind for layer in frozen.layers}
    if isinstance(frozen.encode, Cuts) or kinds & {"gates", "levels", "head", "triples"} or frozen.notes is not None:
        return 4
    if any(_ternary(layer) for layer in frozen.layers):
        return 3
    if "graded" in kinds:
        return 2
    channels = frozen.encode is not None and frozen.encode.channels != 0
    return int(channels or any(layer.kind == "conv" or layer.takes == "bytes" for layer in frozen.layers))


def _ternary(layer: Layer) -> bool:
    return isinstance(layer, DenseLayer) and layer.ternary


def _encode_record(encode: Encode, constants: Section) -> Record:
    planes, features = encode.thresholds.shape
    head = (layout.ENCODE, 0, planes, 0, features, planes * features, 0, 0, 0, 0)
    return head, [*[ABSENT] * 5, constants.add(encode.thresholds)], (0, 0, encode.channels, *[0] * 6)


def _record(layer: Layer, constants: Section, state: Section, *, keeps: bool) -> Record:
    if isinstance(layer, GatesLayer):
        return gates_record(layer, constants)
    if isinstance(layer, LevelsLayer):
        return levels_record(layer, constants, state)
    if isinstance(layer, HeadLayer):
        return head_record(layer, constants, state)
    if isinstance(layer, TriplesLayer):
        return triples_record(layer, constants)
    return _layer_record(layer, constants, state, keeps=keeps)


def _layer_record(layer: Layer, constants: Section, state: Section, *, keeps: bool) -> Record:
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
    if isinstance(rule, Rule):
        places[3] = constants.add(np.stack([rule.strengthen, rule.weaken]).astype("<u2"))
    if isinstance(layer, OutputLayer):
        places[4] = constants.add(np.stack([layer.mul, layer.add]).astype("<i4"))
    if isinstance(layer, GradedLayer) and layer.learns and keeps:
        places[4] = state.add(kept_words(layer))
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
        return layer.low, layer.high, chance, layer.planes, passes, batch
    return ()


def with_state(image: bytes, state: bytes) -> bytes:
    """The image with another state section, as a device that holds that state would save it. Raises ExportError."""
    h = layout.Header.read(image)
    if len(state) != h.state_size:
        raise ExportError(f"the state has {len(state)} bytes, this image takes {h.state_size}")
    out = bytearray(image[: h.size])
    out[h.state_offset :] = state
    struct.pack_into("<I", out, 36, layout.checksum(state, h.minor))
    struct.pack_into("<I", out, 12, layout.header_checksum(bytes(out[: h.const_offset]), h.minor))
    return bytes(out)
