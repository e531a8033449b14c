"""One kind of damage for each error code of metabit.h: crafted, sealed again, and refused under that code and no other."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from compilers import WARNINGS, run
from networks import network, seal, ternary, voting, windowed

from metabit.export.files.image import HEADER, RECORD, write_image
from metabit.export.frozen import Frozen
from metabit.runtime import Model, ModelError, include_dir, sources

HERE = Path(__file__).parent
FROZEN = network(1, (20, 33, 18, 5), k=3, planes=2)  # encode, dense on/off, dense +-1, output with 16 lanes
IMAGE = write_image(FROZEN)
CONST_AT, CONST_SIZE, STATE_AT, STATE_SIZE = (struct.unpack_from("<I", IMAGE, at)[0] for at in (16, 20, 28, 32))
ENCODE, FIRST, SECOND, OUTPUT = (HEADER.size + RECORD.size * i for i in range(4))
# conv on uint8, conv on +-1, dense, output; then the same from thermometer planes, with an encoder of three channels
CONVS = ({"units": 33, "kernel": 3, "same": True, "pool": 2}, {"units": 5, "kernel": 2, "stride": 2})
CONV = write_image(windowed(1, (8, 7, 3), CONVS, (9, 4), "uint8", 3))
CODED = write_image(windowed(1, (8, 7, 3), CONVS, (9, 4), "2", 3))
FLAT = write_image(network(1, (12, 3), k=3, planes=1))  # encode, output
DENSE = write_image(windowed(1, (1, 1, 20), (), (33, 4), "uint8", 3))
TERNARY = write_image(ternary(FROZEN))
FRAME = {"bits": (2, "B"), "planes": (3, "B"), "inputs": (4, "H"), "units": (6, "H"), "lanes": (8, "B"),
         "learns": (9, "B"), "window": (10, "H"), "dose": (12, "I"), "sign": (16, "I"), "levels": (20, "I"),
         "fold": (24, "I"), "tables": (28, "I"), "scores": (32, "I"), "thresholds": (36, "I"), "height": (40, "H"),
         "width": (42, "H"), "channels": (44, "H"), "kernel": (46, "B"), "stride": (47, "B"), "pool": (48, "B"),
         "padding": (49, "B"), "need": (36, "I"), "lo": (40, "H"), "hi": (42, "H"), "gain": (44, "H"), "depth": (46, "B"),
         "draws": (47, "B"), "batch": (48, "B")}  # fmt: skip


def unchecked(frozen: Frozen) -> bytes:
    """An image that no writer of this project would write."""
    with patch("metabit.export.files.image.check_limits"):
        return write_image(frozen)


def beside(learns: bool, *dense: bool) -> bytes:
    """A graded layer, and dense layers below it, that learn or not."""
    below = network(2, (9, *(12 for _ in dense), 3), planes=1, learns=(*dense, False))
    return unchecked(voting(2, planes=2, learns=learns, below=below))


# encode, graded with 40 units on 2 planes of 20 inputs, output with 16 lanes; without learning; on packed bits; on a dense layer
VOTING = voting(1, 20, 2, 40, 10)
VOTES, STILL = write_image(VOTING), write_image(voting(1, 20, 2, 40, 10, learns=False))
PACKED = write_image(voting(1, 20, 2, 40, 10, source="bits"))
STACKED = write_image(voting(1, planes=2, below=network(2, (9, 12, 3), planes=1, learns=(False, False))))
TALLER = unchecked(replace(VOTING, layers=VOTING.layers + VOTING.layers[-1:]))  # two outputs
GRADED, AFTER = FIRST, SECOND
(VOTES_STATE,) = struct.unpack_from("<I", VOTES, 28)
(KEPT,) = struct.unpack_from("<I", VOTES, GRADED + 32)
VOTED = KEPT + 4 * (1 + 32 * 2)  # 40 input bits are two words; then [32][2][3] words of votes


def put(at: int, form: str, value: int, image: bytes = IMAGE) -> bytes:
    data = bytearray(image)
    struct.pack_into(f"<{form}", data, at, value)
    return bytes(data)


def lie(at: int, form: str, value: int, image: bytes = IMAGE) -> bytes:
    """`put`, with correct checksums."""
    return seal(put(at, form, value, image))


def field(record: int, name: str, value: int, image: bytes = IMAGE) -> bytes:
    """A lie in one field of a record."""
    at, form = FRAME[name]
    return lie(record + at, form, value, image)


def fields(image: bytes, record: int, **values: int) -> bytes:
    """Several lies in one record."""
    for name, value in values.items():
        image = field(record, name, value, image)
    return image


def look(record: int, name: str, image: bytes = IMAGE) -> int:
    at, form = FRAME[name]
    return int(struct.unpack_from(f"<{form}", image, record + at)[0])


def with_records(order: list[int], image: bytes = IMAGE) -> bytes:
    """The image with its records replaced by these of its own, sections moved to fit."""
    records = b"".join(image[at : at + RECORD.size] for at in order)
    header = bytearray(image[: HEADER.size])
    const_at = HEADER.size + len(records)
    was_at, state_at = (struct.unpack_from("<I", image, at)[0] for at in (16, 28))
    shift = const_at - was_at
    for at, value in ((8, len(image) + shift), (16, const_at), (28, state_at + shift)):
        struct.pack_into("<I", header, at, value)
    struct.pack_into("<H", header, 40, len(order))
    return seal(bytes(header) + records + image[was_at:])


def with_state(change: Callable[[bytearray], None]) -> bytes:
    data = bytearray(IMAGE)
    change(data)
    return seal(data)


def sections(const_at: int, const_size: int, state_at: int, state_size: int) -> bytes:
    image = IMAGE
    for at, value in ((16, const_at), (20, const_size), (28, state_at), (32, state_size)):
        image = put(at, "I", value, image)
    return seal(image)


def set_bit(at: int, bit: int, image: bytes = IMAGE) -> bytes:
    return lie(at + bit // 8, "B", image[at + bit // 8] | 1 << bit % 8, image)


def packed(**values: int) -> bytes:
    """PACKED with lies in its graded layer, and the input size that follows from them."""
    image = fields(PACKED, 64, **values)
    return lie(42, "H", -(-look(64, "inputs", image) * look(64, "depth", image) // 8), image)


def asks(n: int, votes: int) -> bytes:
    """VOTES where of n votes another number must agree."""
    return lie(look(GRADED, "need", VOTES) + 2 * n, "H", votes, VOTES)


def reach(mul: int, add: int) -> bytes:
    """VOTES with another first score."""
    at = look(AFTER, "scores", VOTES)
    return lie(at + 4 * 10, "i", add, lie(at, "i", mul, VOTES))


# The last word of the first row of signs; a lane beyond the 33rd unit, in the second row; the same in a plane of levels
TAIL_OF_A_ROW = look(FIRST, "sign") + 4 * 40
SECOND_ROW = look(FIRST, "sign") + 4 * 41
SECOND_LEVELS = look(FIRST, "levels") + 4 * 40 * 2

# code: (the sentence, then images that must be refused with it)
DAMAGES: dict[str, tuple[str, list[bytes]]] = {
    "TRUNCATED": (
        "the image is truncated",
        [b"", IMAGE[:63], IMAGE[:64], IMAGE[:-1], put(8, "I", len(IMAGE) + 1), put(8, "I", CONST_AT - 1),
         put(40, "H", 65535)],
    ),
    "MAGIC": (
        'not a metabit image (it does not start with "MBIT")',
        [bytes(64), b"TFL3" + IMAGE[4:], IMAGE[1:], b"mbit" + IMAGE[4:]],
    ),
    "VERSION": (
        "the image has another major format version than this library reads",
        [lie(4, "H", 0), lie(4, "H", 2), lie(4, "H", 257)],
    ),
    "HEADER_CRC": (
        "the image's header or layer records are damaged (checksum mismatch)",
        [put(6, "H", 1), put(12, "I", 0), put(24, "I", 0), put(50, "H", 7), put(ENCODE, "B", 9), put(CONST_AT - 1, "B", 1)],
    ),
    "CONST_CRC": (
        "the image's constant section is damaged (checksum mismatch)",
        [put(CONST_AT, "B", IMAGE[CONST_AT] ^ 1), put(STATE_AT - 1, "B", IMAGE[STATE_AT - 1] ^ 128)],
    ),
    "STATE_CRC": (
        "the image's state section is damaged (checksum mismatch)",
        [put(STATE_AT, "B", IMAGE[STATE_AT] ^ 1), put(len(IMAGE) - 1, "B", IMAGE[-1] ^ 128)],
    ),
    "SECTION": (
        "the image's sections overlap or are misplaced",
        [
            sections(CONST_AT + 4, CONST_SIZE - 4, STATE_AT, STATE_SIZE),
            sections(CONST_AT - 4, CONST_SIZE + 4, STATE_AT, STATE_SIZE),
            sections(CONST_AT, CONST_SIZE + 4, STATE_AT, STATE_SIZE),
            sections(CONST_AT, CONST_SIZE - 4, STATE_AT, STATE_SIZE),
            sections(CONST_AT, CONST_SIZE, STATE_AT, STATE_SIZE - 4),
            sections(CONST_AT, CONST_SIZE, STATE_AT + 2, STATE_SIZE - 2),
            sections(CONST_AT, CONST_SIZE, STATE_AT, 2**32 - 4),
            sections(CONST_AT, 0, CONST_AT - 4, STATE_SIZE),
            sections(CONST_AT, STATE_AT + STATE_SIZE - 12 - CONST_AT, STATE_AT + STATE_SIZE - 12, 12),
        ],
    ),
    "LAYERS": (
        "the layers are in an order that FORMAT.md does not have, for example without an output",
        [
            with_records([]),
            with_records([ENCODE, FIRST] + [SECOND] * 14 + [OUTPUT]),
            with_records([ENCODE]),
            with_records([ENCODE, ENCODE, FIRST, OUTPUT]),
            with_records([OUTPUT, OUTPUT]),
            lie(SECOND, "B", 3), lie(OUTPUT, "B", 2), lie(OUTPUT, "B", 4), lie(SECOND, "B", 4),
            lie(OUTPUT, "B", 5), lie(OUTPUT, "B", 6), lie(AFTER, "B", 5, VOTES),  # graded last
            with_records([ENCODE, GRADED], VOTES), with_records([ENCODE, AFTER, GRADED], VOTES),
            lie(SECOND, "B", 1), *(lie(AFTER, "B", kind, TALLER) for kind in (1, 2, 3, 4, 5, 6)),
        ],
    ),
    "KIND": (
        "a layer is of a kind this library does not know",
        [
            lie(ENCODE, "B", 0), lie(FIRST, "B", 7), lie(OUTPUT, "B", 255),
            lie(64, "B", 6, DENSE), lie(SECOND + 40, "B", 1, TERNARY), lie(SECOND + 1, "B", 2, TERNARY),  # ternary: not on bytes
            lie(FIRST + 1, "B", 2), lie(SECOND + 1, "B", 2), lie(64 + 1, "B", 3, CONV), lie(64 + 1, "B", 1, CONV),
            lie(64 + 64 + 1, "B", 2, CONV), lie(64 + 64 + 1, "B", 0, CONV),
            lie(64 + 1, "B", 2, write_image(network(0, (3, 2), planes=0))),  # an output cannot take bytes
            lie(64 + 50, "B", 1, CONV), lie(64 + 63, "B", 1, CONV), lie(64 + 40, "B", 1, DENSE), lie(64 + 49, "B", 1, DENSE),
            lie(ENCODE + 40, "B", 1, CODED), lie(ENCODE + 43, "B", 1, CODED), lie(ENCODE + 46, "B", 1, CODED),
            lie(ENCODE + 63, "B", 1, CODED), lie(SECOND + 44, "B", 1),
            lie(FIRST + 1, "B", 1), lie(SECOND + 1, "B", 0), lie(OUTPUT + 1, "B", 2), lie(FIRST + 40, "B", 1),
            lie(OUTPUT + 63, "B", 1), lie(ENCODE + 1, "B", 1), lie(ENCODE + 3, "B", 6),
            field(ENCODE, "lanes", 32), field(ENCODE, "learns", 1), field(ENCODE, "scores", CONST_AT),
            lie(GRADED, "B", 7, VOTES), lie(GRADED, "B", 2, VOTES), lie(GRADED, "B", 6, VOTES), lie(GRADED, "B", 3, VOTES),
            *(lie(GRADED + 1, "B", source, VOTES) for source in (1, 2, 3, 255)),
            *(lie(64 + 1, "B", source, PACKED) for source in (1, 2, 3)),
            *(lie(SECOND + 1, "B", source, STACKED) for source in (1, 2, 3)),
            *(lie(AFTER + 1, "B", source, VOTES) for source in (0, 1, 2, 4)),
            lie(OUTPUT + 1, "B", 3), lie(SECOND + 1, "B", 3), lie(FIRST + 1, "B", 3), lie(128 + 1, "B", 3, FLAT),
            *(lie(GRADED + at, "B", 1, VOTES) for at in (49, 50, 63)), *(lie(AFTER + at, "B", 1, VOTES) for at in (40, 46, 48, 63)),
        ],
    ),
    "SHAPE": (
        "a layer is empty, too large (FORMAT.md has the limits), or does not fit the one before it",
        [
            field(ENCODE, "units", 41), field(ENCODE, "inputs", 0), field(FIRST, "inputs", 39), field(FIRST, "units", 0),
            field(FIRST, "units", 16385), field(FIRST, "lanes", 16), field(OUTPUT, "lanes", 32), field(OUTPUT, "lanes", 0),
            field(SECOND, "inputs", 0), field(OUTPUT, "inputs", 17), lie(42, "H", 40), lie(44, "H", 4), lie(44, "H", 0),
            field(ENCODE, "channels", 5, CODED), field(ENCODE, "channels", 65535, CODED), field(ENCODE, "channels", 3),
            field(ENCODE, "channels", 5), field(ENCODE, "channels", 20), field(ENCODE, "channels", 4, FLAT),  # no convolution
            lie(42, "H", 167, CONV), lie(42, "H", 21, CONV), fields(CONV, 64, height=7, width=8),
            fields(CONV, 64 + 64, height=3, width=4), field(64, "units", 32, CONV), field(64 + 64 * 2, "inputs", 11, CONV),
            field(64, "inputs", 19, DENSE), lie(42, "H", 3, DENSE), field(64, "lanes", 16, CONV),
            field(GRADED, "units", 0, VOTES), field(GRADED, "units", 41, VOTES), field(GRADED, "units", 1025, VOTES),
            field(GRADED, "inputs", 0, VOTES), field(GRADED, "inputs", 40, VOTES), field(GRADED, "depth", 1, VOTES),
            field(GRADED, "lanes", 16, VOTES), field(AFTER, "lanes", 32, VOTES), field(AFTER, "inputs", 20, VOTES),
            field(GRADED, "depth", 0, VOTES), field(GRADED, "depth", 255, VOTES), lie(42, "H", 6, PACKED), lie(42, "H", 3, PACKED),
            packed(depth=0), packed(depth=9), packed(depth=255), packed(inputs=0), packed(inputs=8193), packed(units=1025),
            packed(inputs=2049, depth=8), packed(inputs=16385, depth=1), packed(inputs=65535, depth=8),
            field(SECOND, "depth", 1, STACKED), field(ENCODE, "channels", 4, VOTES), lie(44, "H", 9, VOTES),
        ],
    ),
    "WINDOW": (
        "a convolution's window, stride, padding or pool does not fit its image, or the image is too large",
        [
            *(field(64, name, 0, CONV) for name in ("height", "width", "channels", "kernel", "stride", "pool")),
            *(field(64, name, 32, CONV) for name in ("kernel", "stride", "pool")),
            field(64, "padding", 2, CONV), field(64, "padding", 255, CONV), field(64, "pool", 8, CONV),
            field(64, "inputs", 26, CONV), field(64, "kernel", 2, CONV), field(64, "channels", 4, CONV),
            field(64 + 64, "height", 1, CONV), field(64 + 64, "width", 1, CONV),
            fields(CONV, 64, height=65535, width=65535), fields(CONV, 64, height=512, width=513),
            fields(CONV, 64, height=1, width=65535, channels=5, kernel=1, inputs=5),
            fields(CONV, 64, channels=65535, kernel=255, inputs=65535),
            fields(CONV, 64, height=512, width=512, channels=1, kernel=3, inputs=9, pool=1),  # 33 units make it too large
            fields(CONV, 64, height=32, width=32, pool=1, units=16384),
        ],
    ),
    "LEARNS": (
        "a convolution, a layer on 8-bit inputs or one beside a graded layer is marked as learning, or a head is not",
        [fields(CONV, 64, learns=1, bits=2, dose=9), fields(CONV, 64 + 64, learns=1, bits=8, dose=9),
         fields(CODED, 64 + 64, learns=1, bits=2, dose=9), fields(DENSE, 64, learns=1, bits=3, dose=9),
         *(beside(learns, *dense) for learns in (False, True) for dense in ((True,), (True, False))),
         fields(VOTES, AFTER, learns=1, bits=2, dose=9), field(AFTER, "learns", 1, STILL)],
    ),
    "BITS": (
        "a layer has more or fewer bits than its kind can have, or learns with fewer than 2",
        [field(ENCODE, "bits", 0), field(ENCODE, "bits", 9), field(FIRST, "bits", 0), field(SECOND, "bits", 9),
         field(OUTPUT, "bits", 1), field(FIRST, "learns", 2), *(field(GRADED, "bits", bits, VOTES) for bits in (0, 1, 9)),
         field(GRADED, "learns", 2, VOTES), *(field(AFTER, "bits", bits, VOTES) for bits in (0, 2, 9))],
    ),
    "PLANES": (
        "a layer has too few or too many counter planes for its sums",
        [field(FIRST, "planes", 6), field(FIRST, "planes", 21), field(OUTPUT, "planes", 5), field(OUTPUT, "planes", 0),
         field(FIRST, "window", 2 ** (look(FIRST, "planes") - 1)), field(64, "planes", 11, CONV),
         field(64, "planes", 25, CONV), field(64, "planes", 11, DENSE), field(64, "planes", 13, DENSE),
         field(64 + 64, "planes", 5, CONV), field(64 + 64, "planes", 21, CONV),
         *(field(GRADED, "planes", planes, VOTES) for planes in (0, 5, 6, 21)), field(AFTER, "planes", 6, VOTES),
         field(GRADED, "window", 2 ** (look(GRADED, "planes", VOTES) - 1), VOTES)],
    ),
    "OFFSET": (
        "an offset points outside its section or is misaligned",
        [
            lie(52, "I", CONST_AT), lie(52, "I", STATE_AT - 4), lie(56, "I", 4), lie(52, "B", 1),  # notes
            field(FIRST, "levels", look(FIRST, "sign")), field(SECOND, "sign", look(FIRST, "levels")),  # overlaps
            field(ENCODE, "thresholds", CONST_AT - 4), field(ENCODE, "thresholds", CONST_AT + 2),
            field(FIRST, "sign", look(FIRST, "sign") + 2), field(FIRST, "sign", STATE_AT + 12),
            field(FIRST, "sign", CONST_AT), field(FIRST, "sign", len(IMAGE)), field(FIRST, "sign", 2**32 - 4),
            field(SECOND, "levels", 0), field(SECOND, "levels", len(IMAGE) - 4), field(FIRST, "fold", STATE_AT + 16),
            field(SECOND, "fold", CONST_AT), field(FIRST, "tables", 0), field(OUTPUT, "tables", STATE_AT + 16),
            field(FIRST, "scores", CONST_AT), field(OUTPUT, "scores", STATE_AT - 4),
            field(OUTPUT, "thresholds", CONST_AT), field(64, "scores", 64 + 64 * 4, CONV), field(64, "tables", 64 + 64 * 4, CONV),
            field(64, "sign", len(CONV) - 4, CONV), field(64 + 64, "fold", 2**32 - 4, CONV),
            *(field(GRADED, "need", at, VOTES) for at in (
                0, look(GRADED, "need", VOTES) + 2, look(GRADED, "tables", VOTES), look(GRADED, "need", VOTES) - 4, 2**32 - 4,
                VOTES_STATE, VOTES_STATE - 64, len(VOTES) - 4,
            )),
            field(AFTER, "sign", look(GRADED, "need", VOTES), VOTES), field(AFTER, "sign", look(AFTER, "sign", VOTES) - 4, VOTES),
            *(field(GRADED, name, 0, VOTES) for name in ("sign", "levels", "fold", "tables")),
            *(field(GRADED, "scores", at, VOTES) for at in (KEPT + 2, KEPT + 4, KEPT - 4, VOTES_STATE + 16, len(VOTES), 2**32 - 4)),
            field(GRADED, "scores", look(AFTER, "scores", STILL), STILL),
            field(GRADED, "fold", look(GRADED, "levels", VOTES), VOTES), field(GRADED, "sign", look(GRADED, "fold", VOTES), VOTES),
            *(field(GRADED, name, look(AFTER, "sign", VOTES), VOTES) for name in ("tables", "scores")),
            *(field(GRADED, name, look(AFTER, "sign", STILL), STILL) for name in ("tables", "scores", "need")),
            *(field(AFTER, name, look(AFTER, "scores", VOTES), VOTES) for name in ("levels", "fold", "tables", "need")),
            field(AFTER, "scores", 0, VOTES), field(AFTER, "scores", look(AFTER, "scores", VOTES) + 4, VOTES),
        ],
    ),
    "RULE": (
        "a parameter, or a field of a head's state, is outside its range",
        [lie(48, "H", 0), lie(50, "H", 4097), lie(46, "H", 1), lie(60, "B", 1), lie(63, "B", 1),
         field(FIRST, "dose", 0), field(OUTPUT, "dose", 2**20), field(64, "window", 1, CONV), field(64 + 64, "window", 1, CONV),
         field(64, "window", 1, DENSE), field(64, "dose", 1, CONV),
         field(GRADED, "window", 1, VOTES), field(GRADED, "window", 1, STILL), field(AFTER, "window", 1, VOTES),
         field(GRADED, "window", 2 ** (look(GRADED, "planes", VOTES) - 1) - 1, VOTES), field(AFTER, "window", 65535, VOTES),
         field(GRADED, "dose", 0, VOTES), field(GRADED, "dose", 2**20, VOTES), field(AFTER, "dose", 1, VOTES),
         *(fields(VOTES, GRADED, lo=lo, hi=hi) for lo, hi in ((0, 0), (7, 7), (8, 7), (0, 2048), (65535, 2047), (2047, 2047))),
         fields(STILL, GRADED, lo=7, hi=7), fields(STILL, GRADED, lo=0, hi=65535), field(GRADED, "gain", 0, VOTES),
         *(field(GRADED, "draws", draws, VOTES) for draws in (0, 1, 3, 5, 9, 255)),
         lie(KEPT, "I", 32, VOTES), lie(KEPT, "I", 2**32 - 1, VOTES),
         *(field(GRADED, "batch", batch, VOTES) for batch in (0, 9, 31, 128, 255)),
         *(unchecked(voting(1, batch=batch)) for batch in (16, 288, 512)),
         *(field(GRADED, name, 32, STILL) for name in ("gain", "draws", "batch", "dose")), field(GRADED, "draws", 1, STILL),
         asks(0, 65535), asks(192, 0), asks(31, 0), asks(32, 65535)],
    ),
    "SCORES": (
        "a score could overflow 32 bits",
        [lie(look(OUTPUT, "scores"), "i", 2**31 - 1), lie(look(OUTPUT, "scores") + 4, "i", -(2**31)),
         lie(look(OUTPUT, "scores") + 4 * 5, "i", 2**31 - 1), lie(look(OUTPUT, "scores") + 4 * 9, "i", -(2**31)),
         reach(335544, 103), reach(-335544, -103), reach(335545, 0), reach(-(2**31), 0), reach(0, -(2**31)), reach(2**31 - 1, 0),
         reach(0, 107374183)],
    ),
    "GENERATOR": ("the generator state is zero", [lie(STATE_AT, "I", 0)]),
    "PADDING": (
        "a padding bit is not zero",
        [set_bit(TAIL_OF_A_ROW, 0), set_bit(TAIL_OF_A_ROW, 31), set_bit(TAIL_OF_A_ROW + 4 * 41, 0), set_bit(SECOND_ROW, 1),
         set_bit(SECOND_ROW + 4 * 39, 31), set_bit(SECOND_LEVELS, 1), set_bit(SECOND_LEVELS + 4 * 79, 31),
         set_bit(look(OUTPUT, "sign"), 5), set_bit(look(OUTPUT, "sign") + 2 * 18, 0), set_bit(look(OUTPUT, "levels"), 15),
         lie(look(64, "sign", CONV) + 4 * 27, "B", 1, CONV), lie(look(64, "sign", CONV) + 4 * 28 + 1, "B", 1, CONV),
         *(set_bit(look(GRADED, "sign", VOTES) + 4 * word, bit, VOTES) for word, bit in ((20, 0), (41, 7), (21, 8), (40, 31))),
         *(set_bit(look(GRADED, "levels", VOTES) + 4 * word, bit, VOTES) for word, bit in ((60, 8), (119, 31))),
         *(set_bit(look(AFTER, "sign", VOTES) + 2 * word, bit, VOTES) for word, bit in ((0, 10), (39, 15), (40, 0))),
         *(set_bit(KEPT + 4 + 8 * sample + 4, bit, VOTES) for sample, bit in ((0, 8), (7, 31), (31, 8))),  # behind 40 inputs
         *(set_bit(VOTED + 24 * sample + 12 + 4 * part, bit, VOTES) for sample, part, bit in ((0, 1, 8), (31, 2, 31))),
         *(set_bit(VOTED + 24 * sample + 12 * row, bit, VOTES) for sample, row, bit in ((0, 0, 0), (31, 1, 7)))],  # down, no vote
    ),
}  # fmt: skip

# Errors that no damaged image can cause; tests/runtime/status.c causes each.
C_ONLY = {"NULL", "GRADED", "ALIGN", "STATE_SIZE", "ARENA_SIZE", "DETACHED", "LABEL", "FROZEN", "SAME"}

# Errors of the parts around the core, and of tickets: the tests of these cause them.
FIELD = {"STORE", "STORE_SIZE", "NO_SNAPSHOT", "IDENTITY", "GUARD", "FRAME", "TICKET"}


def codes() -> dict[str, int]:
    """Name -> number of every error of metabit.h."""
    header = (include_dir() / "metabit.h").read_text()
    return {name: int(number) for name, number in re.findall(r"\bMB_E_(\w+) = (-\d+)", header)}


@pytest.mark.parametrize(
    ("name", "image"),
    [
        pytest.param(name, image, id=f"{name}-{i}")
        for name, (_, damaged) in DAMAGES.items()
        for i, image in enumerate(damaged)
    ],
)
def test_damage_is_refused_by_name(name: str, image: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        Model(image)
    assert str(caught.value) == DAMAGES[name][0]
    assert caught.value.code == codes()[name]


def test_the_image_under_the_knife_is_sound() -> None:
    """Resealing, moving the sections and every field at its present value change nothing."""
    assert seal(IMAGE) == with_records([ENCODE, FIRST, SECOND, OUTPUT]) == IMAGE
    assert sections(CONST_AT, CONST_SIZE, STATE_AT, STATE_SIZE) == IMAGE
    for record in (ENCODE, FIRST, SECOND, OUTPUT):
        for image in (IMAGE, CONV, CODED):
            for name in FRAME:
                assert field(record, name, look(record, name, image), image) == image
    assert [Model(image).classes for image in (CONV, CODED, DENSE)] == [4, 4, 4]
    assert with_records([ENCODE, GRADED, AFTER], VOTES) == VOTES and packed() == PACKED
    assert [Model(image).classes for image in (VOTES, STILL, PACKED)] == [10, 10, 10] and Model(STACKED).classes == 10
    assert Model(IMAGE).classes == 5


def test_what_is_allowed_opens() -> None:
    assert Model(IMAGE + bytes(7)).image_size == len(IMAGE)  # a longer buffer is fine
    assert Model(lie(6, "H", 65535)).classes == 5  # any minor version
    assert Model(lie(50, "H", 4096)).classes == 5
    assert Model(lie(6, "H", 0, CONV)).classes == 4  # kinds tell, not the number
    assert Model(lie(64 + 50, "B", 1, lie(6, "H", 7, CONV))).classes == 4
    assert lie(FIRST, "B", 6, lie(SECOND, "B", 6)) == TERNARY and Model(TERNARY).classes == 5
    assert Model(lie(SECOND, "B", 2, TERNARY)).classes == 5  # kinds tell, not the number
    for pool in (2, 3):  # what does not fill a square is dropped
        assert Model(fields(write_image(windowed(1, (5, 5, 1), ({"units": 2, "kernel": 3, "same": True, "pool": 5},), (4,))),
                            64, pool=pool + 1)).classes == 4  # fmt: skip
    assert Model(field(FIRST, "dose", 2**20 - 1)).classes == 5
    assert Model(field(FIRST, "window", 2 ** (look(FIRST, "planes") - 1) - 1)).classes == 5
    for values in ({"lo": 0, "hi": 2047}, {"lo": 2046, "hi": 2047}, {"gain": 1, "draws": 4, "dose": 1},
                   {"gain": 65535, "draws": 8, "dose": 2**20 - 1}, {"planes": 7}):  # fmt: skip
        assert Model(fields(VOTES, GRADED, **values)).classes == 10
    assert Model(lie(GRADED + 49, "B", 1, lie(6, "H", 7, VOTES))).classes == 10
    assert Model(lie(6, "H", 0, VOTES)).classes == 10
    assert Model(lie(KEPT, "I", 31, VOTES)).classes == 10
    for image in (reach(335544, 102), reach(-335544, -102), reach(0, 107374182), asks(192, 65535), asks(0, 0)):
        assert Model(image).classes == 10


def test_a_state_of_half_a_word_is_refused() -> None:
    """Half-word planes are touched as whole words: two bytes fewer would be read beyond the end."""
    image = write_image(network(0, (3, 2), k=2, planes=0))
    assert Model(image).state_size % 4 == 0
    short = put(8, "I", len(image) - 2, image[:-2])
    with pytest.raises(ModelError) as caught:
        Model(seal(put(32, "I", Model(image).state_size - 2, short)))
    assert caught.value.code == codes()["SECTION"]


def test_every_code_is_tested_somewhere() -> None:
    assert set(codes()) == set(DAMAGES) | C_ONLY | FIELD | {"ABSENT"}  # tests/runtime/test_parts.py
    assert not set(DAMAGES) & C_ONLY
    assert sorted(codes().values(), reverse=True) == list(range(-1, -len(codes()) - 1, -1))
    in_c = (HERE / "status.c").read_text()
    assert {name for name in C_ONLY if f"MB_E_{name}" not in in_c} == set()


def test_the_codes_that_only_c_can_cause(tmp_path: Path) -> None:
    run("gcc", "-std=c99", *WARNINGS, f"-I{include_dir()}", "-o", tmp_path / "status", HERE / "status.c", *sources())
    for name in ("all-4bit", "single-3bit", "votes-3bit", "words-visits", "words-head"):
        run(tmp_path / "status", HERE.parent / "vectors" / f"{name}.mbit")
