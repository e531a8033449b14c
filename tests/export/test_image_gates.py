"""Networks of gates in an image: what is written comes back, and what cannot be written or read is a sentence."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from frozen_reference import assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import gates_network, network, seal, voting

from metabit.export.errors import ExportError
from metabit.export.files.image import HEADER, RECORD, read_image, sections, write_image
from metabit.export.freeze.head import head_layer
from metabit.export.frozen import (
    Counters,
    Cuts,
    Encode,
    Frozen,
    HeadLayer,
    HeadRows,
    HeadScale,
    HeadSettings,
    LevelsLayer,
    LevelsRule,
    Notes,
)

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@st.composite
def of_gates(draw: st.DrawFn) -> Frozen:
    """Every corner of the format: cuts of either kind or packed bits, levels or a head, spare classes, rows, names."""
    last = draw(st.sampled_from(["levels", "head"]))
    features, planes = draw(st.integers(1, 40)), draw(st.integers(0, 16))
    units, classes = draw(st.integers(1, 70 if last == "levels" else 64)), draw(st.integers(2, 20))
    several = draw(st.booleans())
    rows = HeadRows(draw(st.integers(2, 8)), draw(st.integers(1, 63)), draw(st.integers(1, 255))) if several else None
    cm = draw(st.sampled_from([0, 64, 100, 8192]))
    frozen = gates_network(
        draw(st.integers(0, 2**32 - 1)), features, planes, units, classes, last, draw(st.sampled_from(["uint8", "int16"])),
        draw(st.integers(2, 8)), draw(st.booleans()), draw(st.integers(0, classes - 1)), rows,
        draw(st.integers(classes, 128)), draw(st.sampled_from([0, 1, 7, 60])), draw(st.booleans()), draw(st.booleans()),
        HeadSettings(draw(st.integers(1, 1023)), cm, draw(st.integers(1, 32767)), draw(st.booleans()),
                     draw(st.sampled_from([1, 2, 128]))),
    )  # fmt: skip
    counters = Counters(*draw(st.tuples(*[st.integers(0, 2**32 - 1)] * 3)))
    named = Notes(
        tuple(draw(st.lists(NAMES, max_size=classes))),
        tuple(draw(st.one_of(st.just([]), st.lists(NAMES, min_size=features, max_size=features)))),
    )
    return replace(frozen, counters=counters, notes=draw(st.sampled_from([None, named])))


@settings(max_examples=150, deadline=None)
@given(of_gates())
def test_what_is_written_comes_back(frozen: Frozen) -> None:
    image = write_image(frozen)
    again = read_image(image)
    assert image[4:8] == struct.pack("<HH", 1, 5) and write_image(frozen, crc32=True)[6] == 4
    assert write_image(again) == image
    assert_same(again, frozen)
    (_, _), (at, size) = sections(image)
    assert at + size == len(image) and len(image) % 4 == 0


@pytest.mark.parametrize("old", [network(3, (9, 4), planes=2), voting(4, source="bits")], ids=["visits", "votes"])
def test_names_and_cuts_are_for_every_network(old: Frozen) -> None:
    named = replace(old, notes=Notes(("a", "ß")))
    assert write_image(old, crc32=True)[6] < 4 == write_image(named, crc32=True)[6]
    assert_same(read_image(write_image(named)), named)
    if old.encode is not None:
        cuts = Cuts("int16", np.arange(-9, 9, dtype=np.int16).reshape(2, 9), np.ones((2, 9), np.float32))
        other = replace(old, encode=cuts)
        assert write_image(other, crc32=True)[6] == 4 and other.input_bytes == 18
        assert_same(read_image(write_image(other)), other)


def test_the_head_state_is_as_large_as_the_formula_says() -> None:
    """H (H + 2) for the covariance, C (3 H + 10) for the rows and 6, beside the 16 bytes of every state."""
    for units, classes in ((32, 6), (64, 6), (8, 100)):
        (_, _), (_, size) = sections(write_image(gates_network(1, units=units, classes=classes)))
        h = 2 * units
        assert size == 16 + -(-(h * (h + 2) + classes * (3 * h + 10) + 6) // 4) * 4


# Refused by every writer

HEAD = gates_network(5, units=6, classes=3)
ROWS = gates_network(6, units=6, classes=3, rows=HeadRows(2, 3, 4), row_count=5, spare=1)
LEVELS = gates_network(7, units=6, classes=3, last="levels", k=4, learns=True)
VALUES = replace(HEAD, layers=(HEAD.layers[0], replace(HEAD.layers[1], takes="values", scale=None)))
SCALE = HEAD.layers[1].scale  # type: ignore[attr-defined]
WIDE = gates_network(8, units=65, classes=3, last="levels", k=4)


def head(**change: Any) -> Frozen:
    return replace(HEAD, layers=(HEAD.layers[0], replace(HEAD.layers[1], **change)))


def rows(**change: Any) -> Frozen:
    return replace(ROWS, layers=(ROWS.layers[0], replace(ROWS.layers[1], **change)))


def levels(**change: Any) -> Frozen:
    return replace(LEVELS, layers=(LEVELS.layers[0], replace(LEVELS.layers[1], **change)))


def gates(**change: Any) -> Frozen:
    return replace(HEAD, layers=(replace(HEAD.layers[0], **change), HEAD.layers[1]))


def cuts(**change: Any) -> Frozen:
    return replace(HEAD, encode=replace(HEAD.encode, **change))  # type: ignore[type-var]


def scale(**change: Any) -> Frozen:
    return head(scale=HeadScale(**(vars(SCALE) | change)))


def edited(array: Any, index: Any, value: int) -> Any:
    array = array.copy()
    array[index] = value
    return array


def wide_head() -> Frozen:
    rng, first = np.random.default_rng(0), WIDE.layers[0]
    values = rng.integers(-90, 90, (9, 130)).astype(np.int8)
    made = HeadScale(*(np.zeros(65, dtype) for dtype in (np.int16, np.int16, np.int16, np.int32)), z_shift=10)
    blank = head_layer(values[:, :128], np.arange(9) % 3, 3, made)
    big = replace(blank, hidden=np.zeros((3, 130), np.int8), means=np.zeros((3, 130), np.int16))
    return replace(WIDE, layers=(first, big))


FIRST, LAST = HEAD.layers
assert isinstance(LAST, HeadLayer) and isinstance(LEVELS.layers[1], LevelsLayer) and LEVELS.layers[1].rule is not None
TOLD = LEVELS.layers[1].rule
WRONG: dict[str, tuple[Frozen, str]] = {
    "order": (replace(HEAD, layers=HEAD.layers[::-1]), "above triples stands a head; not ['head', 'gates']"),
    "alone": (replace(HEAD, layers=HEAD.layers[:1]), "not ['gates']"),
    "two heads": (replace(HEAD, layers=(*HEAD.layers, LAST)), "not ['gates', 'head', 'head']"),
    "below an output": (replace(HEAD, layers=(FIRST, network(1, (6, 3), planes=0).layers[0])), "not ['gates', 'output']"),
    "values of gates": (VALUES, "layer 1 takes values, but layer 0 gives levels"),
    "another width": (
        gates(hidden=FIRST.hidden[:5], mul=FIRST.mul[:5], add=FIRST.add[:5]), "layer 1 takes 6 inputs, layer 0 gives 5",
    ),
    "an old encoder": (replace(HEAD, encode=Encode(np.zeros((3, 13), np.uint8))), "an Encode stands before gates: use Cuts"),
    "another kind": (cuts(kind="int16"), "cuts are uint8 (3, 13): must be int16 (planes, features), or (planes, 1) if shared"),
    "no kind": (cuts(kind="int8"), "cuts on 'int8': must be uint8 or int16"),
    "cuts shared by some": (cuts(shared=13), "must be uint8 (planes, features), or (planes, 1) if shared"),
    "planes": (cuts(cuts=np.zeros((17, 13), np.uint8)), "17 thresholds a feature, the format holds 1..16"),
    "many bits": (cuts(cuts=np.zeros((16, 1), np.uint8), shared=1025), "the encoder makes 16400 bits, the format holds 1..16384"),
    "other bits": (cuts(cuts=np.zeros((2, 13), np.uint8)), "the encoder makes 26 bits, the first layer takes 39"),
    "steps": (cuts(scale=np.zeros((2, 13), np.float32)), "low and steps of the scale must be finite, and steps above 0"),
    "a scale of others": (cuts(scale=np.ones((2, 12), np.float32)), "the scale has shape (2, 12): must be (2, 13)"),
    "names of features": (replace(HEAD, notes=Notes((), ("a",))), "1 names for 13 features: give one for each, or none"),
    "names of classes": (replace(HEAD, notes=Notes(("a",) * 4)), "4 names for 3 classes"),
    "no character": (replace(HEAD, notes=Notes(("\ud800",))), "a name holds '\\ud800', which is no character"),
    "levels of gates": (gates(hidden=FIRST.hidden + np.int8(1)), "layer 0 has levels other than 0 and -1"),
    "add": (gates(add=np.full(6, 2**30 + 1, np.int32)), "layer 0 has add up to 1073741825, the format holds at most 1073741824"),
    "mul of 32 bits": (gates(mul=np.zeros(6, np.int32)), "layer 0: mul is int32 (6,), must be int16 (6,)"),
    "shift": (gates(shift=9), "layer 0 has shift 9, outside 10..20"),
    "level": (levels(hidden=edited(LEVELS.layers[1].hidden, (0, 0), -8)), "above gates 4 bits hold -7..7"),
    "bits": (levels(bits=9), "layer 1 has 9 bits a level, the format holds 2..8"),
    "dose": (levels(rule=LevelsRule(2**20, TOLD.weaken)), "layer 1 has dose 1048576, outside 1..1048575"),
    "weaken": (levels(rule=LevelsRule(1, edited(TOLD.weaken, 0, 257))), "layer 1 has weaken up to 257, the format holds at most"),
    "table": (levels(rule=LevelsRule(1, TOLD.weaken[:4])), "layer 1: weaken is uint16 (4,), must be uint16 (8,)"),
    "many gates": (wide_head(), "layer 1 has 130 values, a head has an even number from 2 to 128: fewer gates"),
    "one row": (head(classes=2, hidden=LAST.hidden[:1]), "layer 1 has 1 rows, a head has from 2 to 128"),
    "classes": (head(classes=4), "layer 1 has 4 classes in 3 rows"),
    "fewer classes": (head(classes=2), "layer 1 has 2 classes and 3 rows: with one row a class there are as many"),
    "means": (head(means=LAST.means[:, :4]), "layer 1: means is int16 (3, 4), must be int16 (3, 12)"),
    "counts": (head(counts=np.full(3, 1024, np.uint16)), "layer 1 has counts up to 1024, the format holds at most 1023"),
    "seen": (head(seen=2049), "layer 1 has seen 2049 samples, outside 0..2048"),
    "turn": (head(turn=3), "layer 1 has dither 1 and turn 3: must be below 65536 and 3"),
    "no scale": (head(scale=None), "layer 1 takes levels without a scale"),
    "gate_mul": (scale(gate_mul=np.full(6, 2561, np.int16)), "layer 1 has gate_mul up to 2561, the format holds at most 2560"),
    "gate_add": (scale(gate_add=np.full(6, -20497, np.int16)), "layer 1 has gate_add up to 20497, the format holds at most 20496"),
    "z_add": (scale(z_add=np.full(6, -(2**30) - 1, np.int32)), "layer 1 has z_add up to 1073741825"),
    "z_shift": (scale(z_shift=21), "layer 1 has z_shift 21, outside 10..20"),
    "far alone": (head(rows=HeadRows(1, 2, 0)), "layer 1 has one row a class: leave far, doubt_limit, owners and doubts out"),
    "many rows": (rows(rows=HeadRows(9, 3, 4)), "layer 1 has 9 rows a class, the format holds 1..8"),
    "far": (rows(rows=HeadRows(2, 64, 4)), "layer 1 has far 64, outside 1..63 nats"),
    "doubt": (rows(rows=HeadRows(2, 3, 0)), "layer 1 has doubt_limit 0, outside 1..255"),
    "owner of none": (rows(owners=np.array([0, 1, 2, 255, 255], np.uint8)), "layer 1 has owners [0, 1, 2, 255, 255]"),
    "owner too high": (rows(owners=np.array([0, 3, 255, 255, 255], np.uint8)), "the class of every row with samples"),
    "no owner": (rows(owners=np.array([0, 255, 255, 255, 255], np.uint8)), "the class of every row with samples"),
    "greedy": (
        rows(owners=np.array([0, 0, 0, 255, 255], np.uint8), counts=np.array([1, 1, 1, 0, 0], np.uint16)),
        "layer 1 has a class with 3 rows, at most 2 are set",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("frozen", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_what_the_format_cannot_hold_is_a_sentence(frozen: Frozen, sentence: str) -> None:
    with pytest.raises(ExportError) as caught:
        write_image(frozen)
    assert sentence in str(caught.value)


def test_the_networks_that_were_changed_can_be_written() -> None:
    for frozen in (HEAD, ROWS, LEVELS, WIDE):
        write_image(frozen)


# Refused by the reader


def at(record: int, offset: int) -> int:
    return HEADER.size + RECORD.size * record + offset


def byte(place: int, value: int) -> Callable[[bytearray], None]:
    def change(image: bytearray) -> None:
        image[place] = value

    return change


def word(record: int, slot: int, entry: int, form: str, value: int) -> Callable[[bytearray], None]:
    """Changes a number of the array whose offset stands in a record's slot."""

    def change(image: bytearray) -> None:
        (place,) = struct.unpack_from("<I", image, at(record, slot))
        struct.pack_into(form, image, place + entry, value)

    return change


def notes(text: bytes) -> Callable[[bytearray], None]:
    def change(image: bytearray) -> None:
        place, size = struct.unpack_from("<II", image, 52)
        image[place : place + size] = text.ljust(size)

    return change


def cuts_again(image: bytearray) -> None:
    image[at(1, 0) : at(2, 0)] = image[at(0, 0) : at(1, 0)]


NAMED = replace(HEAD, notes=Notes(("first", "second")))
LIES: dict[str, tuple[Frozen, Callable[[bytearray], None], str]] = {
    "cuts second": (HEAD, cuts_again, "record 1: cuts come first"),
    "cuts on grades": (HEAD, byte(at(0, 1), 3), "cuts come first, on uint8 or int16"),
    "shared 2": (HEAD, byte(at(0, 46), 2), "cuts come first"),
    "lanes of cuts": (HEAD, byte(at(0, 8), 32), "byte 8 of record 0 is 32, this format reserves it as 0"),
    "gates on signs": (HEAD, byte(at(1, 1), 1), "record 1: gates have input 0, 1 bit and 32 lanes, not (1, 1, 32)"),
    "few planes": (HEAD, byte(at(1, 3), 6), "record 1 has 6 counter planes, too few or too many for its sums"),
    "many planes": (HEAD, byte(at(1, 3), 21), "record 1 has 21 counter planes"),
    "gates that learn": (HEAD, byte(at(1, 9), 1), "byte 9 of record 1 is 1"),
    "shift": (HEAD, byte(at(1, 46), 21), "shift 21, outside 10..20"),
    "padding of weights": (HEAD, word(1, 16, 0, "<I", 2**31), "record 1 has weights in the padding of its rows"),
    "levels on bits": (LEVELS, byte(at(2, 1), 0), "record 2: levels have input 4, 2..8 bits"),
    "levels of 1 bit": (LEVELS, byte(at(2, 2), 1), "record 2: levels have input 4, 2..8 bits"),
    "padding of levels": (LEVELS, word(2, 20, 11, "<B", 0x80), "record 2 has levels in the padding of its last word"),
    "lowest level": (LEVELS, word(2, 20, 0, "<B", 0x88), "above gates 4 bits hold -7..7"),
    "head on bits": (HEAD, byte(at(2, 1), 0), "record 2: a head has input 4 or 5, 8 bits, learns 1 and prior 0 or 1"),
    "head of 7 bits": (HEAD, byte(at(2, 2), 7), "record 2: a head has input 4 or 5, 8 bits"),
    "a still head": (HEAD, byte(at(2, 9), 0), "learns 1 and prior 0 or 1"),
    "prior 2": (HEAD, byte(at(2, 46), 2), "learns 1 and prior 0 or 1"),
    "memory 0": (HEAD, lambda image: struct.pack_into("<H", image, at(2, 40), 0), "memory=0: must be from 1 to 1023"),
    "ridge 0": (HEAD, lambda image: struct.pack_into("<H", image, at(2, 44), 0), "ridge=0: must be from 1 to 32767"),
    "rows 1": (HEAD, byte(at(2, 48), 1), "a head has 1 rows: must be from 2 to 128"),
    "far alone": (HEAD, byte(at(2, 50), 1), "one row a class: leave far"),
    "sweep_every": (HEAD, byte(at(2, 52), 8), "sweeps every 2^8 steps"),
    "byte 53": (HEAD, byte(at(2, 53), 1), "byte 53 of record 2 is 1"),
    "offset": (HEAD, word(2, 20, 0, "<i", 77777777), "offsets or priors that do not follow"),
    "prior": (HEAD, word(2, 20, 12, "<i", 1), "offsets or priors that do not follow"),
    "z_shift 9": (HEAD, byte(at(2, 47), 9), "z_shift 9, outside 10..20"),
    "notes outside": (NAMED, lambda image: struct.pack_into("<I", image, 52, 64), "outside"),
    "notes without size": (NAMED, lambda image: struct.pack_into("<I", image, 56, 0), "an array without entries has offset"),
    "notes too long": (NAMED, lambda image: struct.pack_into("<I", image, 56, 9999), "outside"),
    "no JSON": (NAMED, notes(b"{"), "the image's notes are no lists of class and feature names"),
    "no UTF-8": (NAMED, notes(b"\xff"), "the image's notes are no lists"),
    "no lists": (NAMED, notes(b'{"classes":"ab","features":[]}'), "something else than lists of names"),
    "numbers": (NAMED, notes(b'{"classes":[1],"features":[]}'), "something else than lists of names"),
    "no features": (NAMED, notes(b'{"classes":[]}'), "the image's notes are no lists"),
    "byte 60": (HEAD, byte(60, 1), "byte 60 of the header is 1"),
}  # fmt: skip


@pytest.mark.parametrize(("frozen", "lie", "sentence"), LIES.values(), ids=LIES.keys())
def test_a_lie_is_found(frozen: Frozen, lie: Callable[[bytearray], None], sentence: str) -> None:
    image = bytearray(write_image(frozen))
    lie(image)
    with pytest.raises(ExportError) as caught:
        read_image(seal(image))
    assert sentence in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([HEAD, ROWS, LEVELS, NAMED]), st.data())
def test_any_damage_is_an_error_or_another_network(frozen: Frozen, data: st.DataObject) -> None:
    image = bytearray(write_image(frozen))
    for _ in range(data.draw(st.integers(1, 3))):
        image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    try:
        again = read_image(seal(image))
    except ExportError:
        return
    write_image(again)
