"""Layout of the `.mbit` image: the structs, numbers and header that runtime/FORMAT.md specifies, with its names."""

from __future__ import annotations

import struct
import zlib
from collections import namedtuple

import numpy as np

from metabit.export.bits import Lanes
from metabit.export.errors import ExportError
from metabit.export.frozen import Integers, Takes

MAGIC = b"MBIT"
MAJOR, MINOR = 1, 6
HEADER = struct.Struct("<4sHHIIIIIIIIHHHHHHII4x")
RECORD = struct.Struct("<BBBBHHBBHIIIIIIIHHHBBBBBBB11x")
STATE = struct.Struct("<IIII")
MINOR_OF_WORDS = 5
"""First minor version whose checksums are of words, not CRC-32."""
MINOR_OF_KEPT = 6
"""First minor version in which the samples of a batch lie in the state."""
ENCODE, DENSE, OUTPUT, CONV, GRADED, TERNARY = 1, 2, 3, 4, 5, 6
CUTS, GATES, LEVELS, HEAD, TRIPLES = 7, 8, 9, 10, 11
KINDS = {"dense": DENSE, "output": OUTPUT, "conv": CONV, "graded": GRADED}
INPUTS: tuple[Takes, ...] = ("bits", "signs", "bytes", "grades", "levels", "values")
"""The field `input` of a record is an index into this."""
INTEGERS: tuple[Integers, ...] = ("uint8", "int16")
"""The field `input` of cuts and triples is an index into this."""
RESERVED = {
    ENCODE: (1, 3, *range(8, 36), *range(40, 44), 46, 47, *range(48, 64)),
    CONV: range(50, 64),
    GRADED: range(49, 64),
    CUTS: (3, *range(8, 32), *range(40, 46), *range(47, 64)),
    GATES: (*range(9, 16), *range(20, 24), *range(32, 46), *range(47, 64)),
    LEVELS: (3, 8, 10, 11, *range(16, 20), *range(24, 28), *range(32, 64)),
    HEAD: (3, 8, *range(10, 20), *range(32, 40), *range(53, 64)),
    TRIPLES: (3, *range(8, 16), *range(20, 24), *range(40, 64)),
}
"""Bytes of a record that must be zero. For a kind that is not listed: all from 40 on."""


def checksum(data: bytes, minor: int) -> int:
    """Checksum of bytes, uint32, by the rule of an image's minor version (runtime/FORMAT.md, "Checksums")."""
    if minor < MINOR_OF_WORDS:
        return zlib.crc32(data)
    total = 0xFFFFFFFF
    for word in np.frombuffer(data + bytes(-len(data) % 4), "<u4").tolist():
        total ^= word
        part = total >> 9
        total ^= part ^ part << 5
        part = total << 23 & 0xFFFFFFFF
        total ^= part ^ part >> 8
    return total ^ 0xFFFFFFFF


def header_checksum(head: bytes, minor: int) -> int:
    """Checksum of header and records, whose own field counts as zero."""
    return checksum(head[:12] + bytes(4) + head[16:], minor)


def lanes_of(output: bool, units: int) -> Lanes:
    """Units in a word of weights: an output of at most 16 units has words of 16 bits, which need less padding."""
    return 16 if output and units <= 16 else 32


_Fields = namedtuple(
    "_Fields",
    "magic major minor size header_sum const_offset const_size const_sum state_offset state_size state_sum layers input_size "
    "classes reserved temperature margin notes_offset notes_size",
)


class Header(_Fields):
    """The header's fields, after a check of sizes, version and checksums."""

    @classmethod
    def read(cls, image: bytes) -> Header:
        again = "copy the whole file, or export it again"
        if len(image) >= len(MAGIC) and image[: len(MAGIC)] != MAGIC:
            start = bytes(image[: len(MAGIC)])
            raise ExportError(f"not a metabit image: it starts with {start!r}, not {MAGIC!r}: give a .mbit file")
        if len(image) < HEADER.size:
            raise ExportError(
                f"the image is truncated: {len(image)} bytes, the header alone has {HEADER.size}: {again}"
            )
        h = cls(*HEADER.unpack_from(image))
        if h.major != MAJOR:
            raise ExportError(f"image format {h.major}.{h.minor}; this metabit reads {MAJOR}.x: export it again")
        records_end = HEADER.size + RECORD.size * h.layers
        if h.size > len(image) or records_end > h.size:
            raise ExportError(f"the image is truncated: {len(image)} of {max(h.size, records_end)} bytes: {again}")
        if header_checksum(image[:records_end], h.minor) != h.header_sum:
            raise ExportError(f"the image's header or layer records are damaged (checksum mismatch): {again}")
        for name, at, size, least, first, last in (
            ("constant", h.const_offset, h.const_size, 0, records_end, h.state_offset),
            ("state", h.state_offset, h.state_size, STATE.size, -(-(h.const_offset + h.const_size) // 4) * 4, h.size),
        ):
            if at != first or -(-(at + size) // 4) * 4 != last or size < least:
                raise ExportError(
                    f"the image's {name} section has {size} bytes at {at}: it must fill bytes {first}..{last}, and hold at least "
                    f"{least}: {again}"
                )
            if checksum(image[at : at + size], h.minor) != (h.const_sum if name == "constant" else h.state_sum):
                raise ExportError(f"the image's {name} section is damaged (checksum mismatch): {again}")
        return h
