"""One lie for each rule that FORMAT.md has for cuts, gates, levels, heads and notes: sealed again, and refused under its code."""

from __future__ import annotations

import re
import struct
from dataclasses import replace

import numpy as np
import pytest
from networks import gates_network, network, seal

from metabit.export.files.image import write_image
from metabit.export.frozen import Cuts, Encode, HeadRows, Notes
from metabit.runtime import Model, ModelError, _core, include_dir

HEAD_NET = gates_network(1, features=7, planes=3, units=9, classes=4, spare=1, scaled=True)
SEVERAL_NET = gates_network(2, 7, 3, 9, 4, spare=1, rows=HeadRows(2, 1, 2), row_count=8)
HEAD = write_image(replace(HEAD_NET, notes=Notes(("a", "b", "c"))))  # cuts on uint8 with a scale, gates, head
SEVERAL = write_image(SEVERAL_NET)
LEVELS = write_image(gates_network(3, 7, 3, 9, 3, "levels", "int16", 5, True, shared=True))
STILL = write_image(gates_network(3, 7, 3, 9, 3, "levels", "int16", 5, False))
WIDE = write_image(gates_network(5, units=65, last="levels"))
PACKED = write_image(gates_network(4, 20, 0, 9, 3))  # gates on 20 bits, head
CUTS, GATES, LAST = 64, 128, 192
STATE_AT = struct.unpack_from("<I", HEAD, 28)[0]
CODES = {
    name: int(code) for name, code in re.findall(r"\bMB_E_(\w+) = (-\d+)", (include_dir() / "metabit.h").read_text())
}


def lie(image: bytes, *lies: tuple[int, str, int]) -> bytes:
    data = bytearray(image)
    for at, form, value in lies:
        struct.pack_into(f"<{form}", data, at, value)
    return seal(data)


def number(image: bytes, at: int, form: str = "I") -> int:
    return int(struct.unpack_from(f"<{form}", image, at)[0])


def at(image: bytes, record: int, slot: int) -> int:
    """Offset of the array whose offset lies at `slot` of a record."""
    return number(image, record + slot)


def records(image: bytes, *order: int) -> bytes:
    """The image with these of its records, sections moved to fit."""
    was = number(image, 16)
    shift, body = 64 + 64 * len(order) - was, b""
    for record in order:
        words = bytearray(image[record : record + 64])
        for slot in range(16, 40, 4):
            if offset := number(image, record + slot):
                struct.pack_into("<I", words, slot, offset + shift)
        body += words
    header = bytearray(image[:64])
    for place in (8, 16, 28):
        struct.pack_into("<I", header, place, number(image, place) + shift)
    struct.pack_into("<H", header, 40, len(order))
    return seal(bytes(header) + body + image[was:])


# The head's state: 4 rows and 18 values; 8 rows
STATE = at(HEAD, LAST, 20)
COUNTS = STATE + 8 * 4 + 18 * 20 + 2 * 4 * 18
SEEN, TURN = COUNTS + 8, COUNTS + 12
WEIGHTS = COUNTS + 14
ROWS = at(SEVERAL, LAST, 20)
ROW_COUNTS = ROWS + 8 * 8 + 18 * 20 + 2 * 8 * 18
OWNER = ROW_COUNTS + 16 + 6 + 8 * 18
STREAM = at(LEVELS, LAST, 20)  # 3 classes of 10 levels of 5 bits: 150 bits in five words

LIES: dict[str, list[bytes]] = {
    "LAYERS": [
        records(HEAD, CUTS), records(HEAD, CUTS, GATES), records(HEAD, CUTS, CUTS, GATES, LAST),
        lie(records(HEAD, GATES, CUTS, GATES, LAST), (42, "H", 3)), records(HEAD, CUTS, GATES, GATES, LAST),
        records(HEAD, CUTS, LAST),
        records(HEAD, CUTS, GATES, LAST, LAST), records(HEAD, LAST), records(LEVELS, CUTS, LAST),
        records(LEVELS, CUTS, GATES, LAST, LAST), records(PACKED, CUTS),
    ],
    "KIND": [
        *(lie(HEAD, (CUTS + place, "B", 1)) for place in (3, 8, 9, 10, 12, 16, 20, 24, 28, 40, 45, 47, 63)),
        *(lie(HEAD, (GATES + place, "B", 1)) for place in (9, 10, 12, 20, 32, 36, 40, 47, 63)),
        *(lie(HEAD, (LAST + place, "B", 1)) for place in (3, 8, 10, 12, 16, 32, 36, 53, 63)),
        *(lie(LEVELS, (LAST + place, "B", 1)) for place in (3, 8, 10, 16, 24, 32, 36, 40, 46, 63)),
        *(lie(HEAD, (CUTS + 1, "B", source)) for source in (2, 255)),
        *(lie(HEAD, (GATES + 1, "B", source)) for source in (1, 2, 4)),
        *(lie(HEAD, (LAST + 1, "B", source)) for source in (0, 3, 5)),
        *(lie(LEVELS, (LAST + 1, "B", source)) for source in (0, 3, 5)),
        *(lie(HEAD, (LAST, "B", kind)) for kind in (0, 12, 255)),
    ],
    "SHAPE": [
        lie(HEAD, (42, "H", 8)), lie(HEAD, (CUTS + 1, "B", 1)), lie(LEVELS, (42, "H", 7)),
        lie(LEVELS, (CUTS + 1, "B", 0)), lie(HEAD, (CUTS + 4, "H", 0)), lie(HEAD, (CUTS + 6, "H", 20)),
        lie(HEAD, (CUTS + 2, "B", 4)), lie(HEAD, (CUTS + 6, "H", 16385)), lie(HEAD, (GATES + 4, "H", 20)),
        lie(HEAD, (GATES + 4, "H", 0)), lie(HEAD, (GATES + 6, "H", 0)), lie(HEAD, (GATES + 6, "H", 1025)),
        lie(HEAD, (GATES + 8, "B", 16)), lie(PACKED, (42, "H", 20)), lie(PACKED, (CUTS + 4, "H", 25)),
        lie(PACKED, (42, "H", 2)), lie(HEAD, (LAST + 4, "H", 8)), lie(HEAD, (LAST + 4, "H", 0)),
        lie(WIDE, (LAST, "B", 10)), lie(HEAD, (LAST + 6, "H", 1)), lie(HEAD, (LAST + 6, "H", 3)),
        lie(HEAD, (LAST + 48, "B", 5)), lie(HEAD, (LAST + 48, "B", 1)),
        lie(HEAD, (LAST + 48, "B", 129), (LAST + 6, "H", 129)), lie(SEVERAL, (LAST + 6, "H", 9)),
        lie(SEVERAL, (LAST + 48, "B", 3)), lie(LEVELS, (LAST + 4, "H", 10)), lie(LEVELS, (LAST + 6, "H", 1)),
        lie(LEVELS, (LAST + 6, "H", 1025)), lie(HEAD, (44, "H", 5)),
    ],
    "BITS": [
       
        lie(HEAD, (CUTS + 2, "B", 0), (CUTS + 6, "H", 0)), lie(HEAD, (CUTS + 2, "B", 17), (CUTS + 6, "H", 119)),
        *(lie(HEAD, (GATES + 2, "B", bits)) for bits in (0, 2)),
        *(lie(HEAD, (LAST + 2, "B", bits)) for bits in (0, 7, 9)),
        *(lie(LEVELS, (LAST + 2, "B", bits)) for bits in (0, 1, 9)),
    ],
    "LEARNS": [lie(HEAD, (LAST + 9, "B", 0)), lie(HEAD, (LAST + 9, "B", 2)), lie(LEVELS, (LAST + 9, "B", 2))],
    "PLANES": [lie(HEAD, (GATES + 3, "B", planes)) for planes in (0, 5, 21)] + [lie(PACKED, (CUTS + 3, "B", 5))],
    "RULE": [
        lie(HEAD, (CUTS + 46, "B", 2)), *(lie(HEAD, (GATES + 46, "B", shift)) for shift in (0, 9, 21)),
        *(lie(HEAD, (at(HEAD, GATES, 24) + 4 * 8, "i", add)) for add in (2**30 + 1, -(2**30) - 1, -(2**31))),
        lie(LEVELS, (LAST + 12, "I", 0)), lie(LEVELS, (LAST + 12, "I", 2**20)), lie(STILL, (LAST + 12, "I", 1)),
        lie(LEVELS, (at(LEVELS, LAST, 28) + 2 * 15, "H", 257)), lie(LEVELS, (STREAM, "B", 0x10)),
        lie(STILL, (at(STILL, LAST, 20), "B", 0x10)), *(lie(HEAD, (LAST + 40, "H", memory)) for memory in (0, 1024)),
        *(lie(HEAD, (LAST + 42, "H", memory)) for memory in (1, 63, 8193)),
        *(lie(HEAD, (LAST + 44, "H", ridge)) for ridge in (0, 32768)), lie(HEAD, (LAST + 46, "B", 2)),
        *(lie(HEAD, (LAST + 47, "B", shift)) for shift in (0, 9, 21)), lie(HEAD, (LAST + 49, "B", 0)),
        lie(SEVERAL, (LAST + 49, "B", 9)), lie(HEAD, (LAST + 50, "B", 1)), lie(HEAD, (LAST + 51, "B", 1)),
        *(lie(SEVERAL, (LAST + 50, "B", far)) for far in (0, 64)), lie(SEVERAL, (LAST + 51, "B", 0)),
        *(lie(HEAD, (at(HEAD, LAST, 28) + 2 * 8, "h", mul)) for mul in (2561, -2561)),
        *(lie(HEAD, (at(HEAD, LAST, 28) + 2 * 17, "h", add)) for add in (20497, -20497)),
        *(lie(HEAD, (at(HEAD, LAST, 24) + 4 * 8, "i", add)) for add in (2**30 + 1, -(2**30) - 1)),
        lie(HEAD, (COUNTS, "H", 1024)), lie(HEAD, (COUNTS + 6, "H", 65535)), lie(HEAD, (SEEN, "H", 2049)),
        lie(HEAD, (TURN, "H", 4)),
        *(lie(HEAD, (STATE + 4 * r, "i", number(HEAD, STATE + 4 * r, "i") + 1)) for r in (0, 3, 4, 7)),
        lie(HEAD, (COUNTS, "H", number(HEAD, COUNTS, "H") + 1)),
        lie(HEAD, (WEIGHTS + 1, "b", number(HEAD, WEIGHTS + 1, "b") ^ 64)), lie(SEVERAL, (OWNER, "B", 255)),
        lie(SEVERAL, (OWNER, "B", 4)), lie(SEVERAL, (OWNER + 7, "B", 0)),
        lie(SEVERAL, (OWNER, "B", 0), (OWNER + 1, "B", 0), (OWNER + 2, "B", 0)),
    ],
    "OFFSET": [
        *(lie(HEAD, (CUTS + slot, "I", at(HEAD, CUTS, slot) + 2)) for slot in (32, 36)),
        lie(HEAD, (CUTS + 36, "I", 0)), lie(HEAD, (CUTS + 32, "I", at(HEAD, CUTS, 36))),
        lie(HEAD, (CUTS + 36, "I", at(HEAD, CUTS, 32))), lie(HEAD, (CUTS + 36, "I", STATE_AT)),
        *(lie(HEAD, (GATES + slot, "I", 0)) for slot in (16, 24, 28)),
        *(lie(HEAD, (LAST + slot, "I", 0)) for slot in (20, 24, 28)), lie(HEAD, (LAST + 20, "I", STATE_AT + 12)),
        lie(HEAD, (LAST + 20, "I", STATE + 4)), lie(HEAD, (LAST + 20, "I", at(HEAD, LAST, 24))),
        lie(HEAD, (LAST + 48, "B", 128), (LAST + 6, "H", 128), (44, "H", 128)), lie(LEVELS, (LAST + 28, "I", 0)),
        lie(LEVELS, (LAST + 20, "I", at(LEVELS, LAST, 28))), lie(STILL, (LAST + 28, "I", 64)),
        lie(STILL, (LAST + 20, "I", len(STILL) - 16)), lie(LEVELS, (LAST + 6, "H", 1024), (44, "H", 1024)),
        *(lie(HEAD, (52, "I", where)) for where in (0, 64, at(HEAD, LAST, 28), number(HEAD, 52) + 1, STATE_AT, 2**32 - 4)),
        lie(HEAD, (56, "I", 0)), lie(HEAD, (56, "I", 2**32 - 1)), lie(HEAD, (56, "I", number(HEAD, 56) + 4)),
    ],
    "PADDING": [
        lie(HEAD, (at(HEAD, GATES, 16) + 4 * 21, "I", 1)), lie(HEAD, (at(HEAD, GATES, 16) + 1, "B", 0xFE)),
        lie(LEVELS, (STREAM + 19, "B", number(LEVELS, STREAM + 19, "B") | 0x80)),
        lie(LEVELS, (STREAM + 18, "B", number(LEVELS, STREAM + 18, "B") | 0x40)),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "image"),
    [pytest.param(name, image, id=f"{name}-{i}") for name in LIES for i, image in enumerate(LIES[name])],
)
def test_a_lie_is_refused_by_name(name: str, image: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        Model(image)
    assert caught.value.code == CODES[name]


def test_what_is_allowed_opens() -> None:
    for image in (HEAD, SEVERAL, LEVELS, STILL, PACKED):
        assert seal(image) == image and Model(image).classes >= 3
    for values in ((LAST + 40, "H", 1), (LAST + 40, "H", 1023), (LAST + 44, "H", 1), (LAST + 44, "H", 32767), (SEEN, "H", 0),
                   (TURN, "H", 3), (GATES + 46, "B", 20), (LAST + 47, "B", 10), (GATES + 3, "B", 20),
                   (at(HEAD, LAST, 28), "h", -2560)):  # fmt: skip
        assert Model(lie(HEAD, values)).classes == 4
    assert Model(lie(HEAD, (6, "H", 3))).classes == 4  # kinds tell, not the number
    assert Model(lie(HEAD, (6, "H", 7), (LAST + 53, "B", 1), (GATES + 63, "B", 1), (CUTS + 40, "B", 1))).classes == 4
    assert Model(lie(HEAD, (LAST + 42, "H", 0), (SEEN, "H", 64))).classes == 4
    assert Model(lie(HEAD, (52, "I", 0), (56, "I", 0))).classes == 4  # without notes
    assert Model(lie(HEAD, (CUTS + 32, "I", 0))).classes == 4  # without a scale


@pytest.mark.parametrize("vectors", _core.VECTORS_HERE)
@pytest.mark.parametrize("features", [20, 300])
def test_cuts_stand_where_an_encoder_does(features: int, vectors: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a dense layer: a cut is one lower than a threshold. The library without vectors lists 600 inputs in parts."""
    monkeypatch.setenv("METABIT_VECTORS", vectors)
    coded = network(1, (features, 33, 18, 5), k=3, planes=2)
    assert isinstance(coded.encode, Encode)
    thresholds = np.maximum(coded.encode.thresholds, 1).astype(np.uint8)
    cut = replace(coded, encode=Cuts("uint8", thresholds - 1))
    one, other = (Model(write_image(frozen)) for frozen in (replace(coded, encode=Encode(thresholds)), cut))
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (40, features)).astype(np.uint8), rng.integers(0, 5, 40)
    x[0] = 255
    assert (one.scores(x) == other.scores(x)).all()
    one.learn_many(x, y)
    other.learn_many(x, y)
    assert one.state() == other.state()
