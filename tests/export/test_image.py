"""The device image: what is written comes back, what cannot be written is a sentence, and FORMAT.md says where it all lies."""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frozen_reference import assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import conv, inputs, network, seal, voting, windowed

from metabit.export.errors import ExportError
from metabit.export.files import image as image_module
from metabit.export.files.image import HEADER, RECORD, STATE, read_image, sections, write_image
from metabit.export.frozen import Counters, DenseLayer, Encode, Frozen, Layer
from metabit.runtime import Model, ModelError

FORMAT = (Path(image_module.__file__).parents[2] / "runtime" / "FORMAT.md").read_text()
NETWORK = network(1, (6, 5, 4, 3), k=3, planes=2)
FIRST, MIDDLE, LAST = NETWORK.layers
IMAGE = write_image(NETWORK)


@st.composite
def networks(draw: st.DrawFn) -> Frozen:
    depth = draw(st.integers(1, 4))
    sizes = draw(st.tuples(*[st.integers(1, 70)] * depth, st.integers(2, 40)))
    learns = draw(st.sampled_from(list(product((False, True), repeat=depth))))
    seed = draw(st.integers(0, 2**32 - 1))
    frozen = network(seed, sizes, draw(st.integers(2, 8)), draw(st.integers(0, 4)), learns)
    counters = Counters(*draw(st.tuples(*[st.integers(0, 2**32 - 1)] * 3)))
    return replace(frozen, counters=counters)


def meaning(layer: Layer) -> Layer:
    """A hidden layer after its threshold took the parity of its sums and its window went to V and back."""
    if layer.takes != "signs" or not isinstance(layer, DenseLayer):
        return layer
    theta = layer.theta + (layer.theta - layer.inputs & 1)
    return replace(layer, theta=theta.astype(np.int32), ste_window=layer.ste_window // 2 * 2)


# There and back


@settings(max_examples=150, deadline=None)
@given(networks())
def test_what_is_written_comes_back(frozen: Frozen) -> None:
    image = write_image(frozen)
    again = read_image(image)
    assert write_image(again) == image
    assert_same(again, replace(frozen, layers=tuple(meaning(layer) for layer in frozen.layers)))
    assert Model(image).image() == image


def test_a_learned_image_comes_back() -> None:
    model = Model(IMAGE)
    model.learn_many(inputs(NETWORK, 40), np.arange(40) % 3)
    learned = read_image(model.image())
    assert learned.counters.steps == 40
    assert learned.counters.moved > 0
    assert write_image(learned) == model.image()
    np.testing.assert_array_equal(
        learned.layers[1].theta, meaning(MIDDLE).theta
    )  # folded with weights that have flipped


def test_equal_networks_give_equal_bytes() -> None:
    assert write_image(network(5)) == write_image(network(5)) != write_image(network(6))


# FORMAT.md


def structure(heading: str, table: int = 0) -> list[tuple[int, str, str]]:
    """(offset, struct format, field) of a table of FORMAT.md: its rows that begin with a number, in the table-th table with
    offsets under a heading."""
    kinds = {"u8": "B", "u16": "H", "u32": "I"}
    rows = []
    section = FORMAT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    for line in section.split("| offset | type |")[table + 1].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not cells[0].isdigit() or not cells[1]:
            continue
        kind, _, times = cells[1].partition(" ×")
        if text := re.fullmatch(r"char\[(\d+)\]", kind):
            form = f"{text[1]}s"
        elif spare := re.fullmatch(r"(\d+) bytes", kind):
            form = f"{spare[1]}x"
        else:
            form = "".join(kinds[one.strip()] for one in kind.split(",")) * int(times or 1)
        rows.append((int(cells[0]), form, cells[2]))
    return rows


def each_byte(form: str) -> str:
    """A struct format with one x for each byte of padding."""
    return re.sub(r"(\d+)x", lambda pad: "x" * int(pad[1]), form.lstrip("<"))


@pytest.mark.parametrize(
    ("heading", "table", "ours"),
    [("Header", 0, HEADER), ("Layer record", 0, RECORD), ("Layer record", 1, RECORD), ("State section", 0, STATE)],
)
def test_the_structs_are_those_of_the_specification(heading: str, table: int, ours: struct.Struct) -> None:
    """Byte for byte; only a byte that one kind of record reserves may be a number of another kind."""
    at, forms = 0, ""
    for offset, form, field in structure(heading, table):
        assert offset == at, f"{field}: FORMAT.md says {offset}, the fields before it end at {at}"
        at += struct.calcsize(f"<{form}")
        forms += each_byte(form)
    theirs, mine = forms, each_byte(ours.format)
    assert len(theirs) == len(mine)
    assert all(a == b or (ours is RECORD and (a, b) == ("x", "B")) for a, b in zip(theirs, mine, strict=True)), (
        theirs,
        mine,
    )
    assert at == ours.size == {"Header": 64, "Layer record": 64, "State section": 16}[heading]


def test_fields_lie_where_the_specification_says() -> None:
    where = {name: offset for offset, _, fields in structure("Header") for name in fields.split(", ")}
    want = {"magic": b"MBIT", "image_size": len(IMAGE), "layers": 4, "input_size": 6, "classes": 3,
            "temperature": NETWORK.temperature, "margin": NETWORK.skip_below}  # fmt: skip
    for name, value in want.items():
        form = "4s" if name == "magic" else "I" if name == "image_size" else "H"
        assert struct.unpack_from(f"<{form}", IMAGE, where[name]) == (value,), name
    assert where["const_offset"] == 16 and where["state_offset"] == 28
    record = {name: offset for offset, _, name in structure("Layer record")}
    second = HEADER.size + 2 * RECORD.size
    assert IMAGE[second + record["kind"]] == 2 and IMAGE[second + record["input"]] == 1
    assert struct.unpack_from("<HH", IMAGE, second + record["inputs"]) == (5, 4)
    assert struct.unpack_from("<I", IMAGE, second + record["dose"]) == (MIDDLE.rule.dose,)


def test_every_array_is_aligned_and_the_sections_fill_the_image() -> None:
    for frozen in (NETWORK, network(2, (7, 3), k=2, planes=0), network(3, (33, 17, 17), k=7, planes=1)):
        image = write_image(frozen)
        count = len(frozen.layers) + (frozen.encode is not None)
        (const_at, const_size), (state_at, state_size) = sections(image)
        assert const_at == 64 + 64 * count and const_at + const_size == state_at and state_at + state_size == len(image)
        for i in range(count):
            assert all(at % 4 == 0 for at in RECORD.unpack_from(image, 64 + 64 * i)[10:])


# Networks that cannot be written


def first(**change: Any) -> Frozen:
    return replace(NETWORK, layers=(replace(FIRST, **change), MIDDLE, LAST))


def last(**change: Any) -> Frozen:
    return replace(NETWORK, layers=(FIRST, MIDDLE, replace(LAST, **change)))


def wide(units: int) -> Frozen:
    return network(1, (3, units, 2), k=2, planes=1, learns=(False, False))


def narrow(inputs: int) -> Frozen:
    return network(1, (inputs, 2), k=2, planes=0, learns=(False,))


def signed() -> Frozen:
    """+1/-1 inputs without an encoder, which ONNX and TFLite files take."""
    frozen = network(1, (6, 2), planes=0)
    return replace(frozen, layers=(replace(frozen.layers[0], takes="signs"),))


@pytest.mark.parametrize(
    ("frozen", "sentence"),
    [
        (replace(NETWORK, layers=()), "dense layers and one output layer, in this order, not []"),
        (replace(NETWORK, layers=(FIRST, MIDDLE)), "in this order, not ['dense', 'dense']"),
        (network(1, (2,) * 17, planes=1), "17 layers, the format holds 16: fewer hidden layers"),
        (replace(NETWORK, temperature=0), "temperature 0 is outside 1..65535"),
        (replace(NETWORK, temperature=65536), "temperature 65536 is outside 1..65535"),
        (replace(NETWORK, skip_below=-1), "skip_below -1 is outside 0..4096"),
        (replace(NETWORK, skip_below=4097), "skip_below 4097 is outside 0..4096"),
        (replace(NETWORK, generator=0), "generator 0 is outside 1..4294967295"),
        (replace(NETWORK, generator=2**32), "generator 4294967296 is outside 1..4294967295"),
        (network(1, (6, 5, 1)), "1 class: a classifier needs at least 2"),
        (network(1, (6, 5, 3), planes=9), "9 thermometer planes, the format holds 1..8"),
        (
            replace(NETWORK, encode=Encode(np.zeros((2, 5), np.uint8))),
            "the encoder makes 10 bits, the first layer takes 12",
        ),
        (wide(16385), "layer 0 is 3 -> 16385, the format holds 1..16384: fewer units"),
        (replace(NETWORK, layers=(FIRST, LAST)), "layer 1 takes 4 inputs, layer 0 gives 5"),
        (first(takes="signs"), "layer 0 takes signs, but the encoder gives bits"),
        (signed(), "layer 0 takes signs: in this format a first layer takes bits or bytes"),
        (last(takes="bits"), "layer 2 takes bits, but layer 1 gives signs"),
        (replace(NETWORK, layers=(LAST, MIDDLE, LAST)), "in this order, not ['output', 'dense', 'output']"),
        (narrow(16385), "layer 0 is 16385 -> 2, the format holds 1..16384: fewer inputs"),
        (first(bits=0), "layer 0 has 0 bits a level, the format holds 1..8"),
        (first(bits=9), "layer 0 has 9 bits a level, the format holds 1..8"),
        (first(hidden=np.full_like(FIRST.hidden, 4)), "layer 0 has levels 4..4, 3 bits hold -4..3"),
        (last(hidden=np.full_like(LAST.hidden, -5)), "layer 2 has levels -5..-5, 3 bits hold -4..3"),
        (first(ste_window=-1), "layer 0 has ste_window -1, the format holds 0..32767"),
        (first(ste_window=32768), "layer 0 has ste_window 32768, the format holds 0..32767"),
        (
            first(bits=1, hidden=np.zeros_like(FIRST.hidden)),
            "layer 0 learns and so needs at least 2 bits a level, not 1",
        ),
        (first(rule=replace(FIRST.rule, dose=0)), "layer 0 has dose 0, outside 1..1048575"),
        (first(rule=replace(FIRST.rule, dose=2**20)), "layer 0 has dose 1048576, outside 1..1048575"),
        (
            first(rule=replace(FIRST.rule, weaken=np.zeros(3, np.uint16))),
            "layer 0: weaken has shape (3,), 3 bits a level need (4,)",
        ),
        (
            last(mul=np.full(3, 2**26, np.int32), add=np.zeros(3, np.int32)),
            "scores could reach 4362076160, beyond 32 bits: smaller mul or add",
        ),
        (last(add=np.full(3, -(2**31), np.int32)), "beyond 32 bits: smaller mul or add"),
        (
            first(theta=np.full(5, 2**20, np.int32)),
            "a layer needs 22 counter planes, the format holds 20: fewer inputs",
        ),
    ],
)
def test_what_the_format_cannot_hold_is_a_sentence(frozen: Frozen, sentence: str) -> None:
    with pytest.raises(ExportError) as caught:
        write_image(frozen)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "frozen",
    [
        network(1, (2,) * 16, planes=1),
        replace(NETWORK, temperature=65535, skip_below=4096, generator=2**32 - 1),
        network(1, (6, 5, 3), planes=8),
        wide(16384),
        first(ste_window=32767),
        first(rule=replace(FIRST.rule, dose=2**20 - 1)),
        first(theta=np.full(5, -(2**18), np.int32)),
        network(1, (2, 2), planes=0),
    ],
    ids=["16 layers", "all at their ends", "8 planes", "16384 units", "window", "dose", "theta", "smallest"],
)
def test_the_limits_themselves_can_be_written_and_run(frozen: Frozen) -> None:
    image = write_image(frozen)
    assert write_image(read_image(image)) == image
    assert Model(image).predict_many(inputs(frozen, 2)).shape == (2,)


# Images that cannot be read


def lie(at: int, form: str, value: int) -> bytes:
    data = bytearray(IMAGE)
    struct.pack_into(f"<{form}", data, at, value)
    return seal(data)


def flip(at: int) -> bytes:
    return IMAGE[:at] + bytes([IMAGE[at] ^ 1]) + IMAGE[at + 1 :]


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (b"", "the image is truncated: 0 bytes, the header alone has 64: copy the whole file, or export it again"),
        (IMAGE[:-1], f"the image is truncated: {len(IMAGE) - 1} of {len(IMAGE)} bytes: copy the whole file"),
        (b"TFL3" + IMAGE[4:], "not a metabit image: it starts with b'TFL3', not b'MBIT'"),
        (lie(4, "H", 2), "image format 2.5; this metabit reads 1.x: export it again"),
        (flip(48), "the image's header or layer records are damaged (checksum mismatch)"),
        (flip(70), "the image's header or layer records are damaged (checksum mismatch)"),
        (flip(sections(IMAGE)[0][0]), "the image's constant section is damaged (checksum mismatch)"),
        (flip(len(IMAGE) - 1), "the image's state section is damaged (checksum mismatch)"),
        (lie(20, "I", 2**31), "the image's constant section has 2147483648 bytes at 320: it must fill bytes 320.."),
        (lie(32, "I", len(IMAGE)), f"the image's state section has {len(IMAGE)} bytes at "),
        (
            lie(64 + 64 + 4, "H", 65535),
            "the image's records contradict each other: record 1 has 6 counter planes, too few",
        ),
        (
            lie(128 + 16, "I", 4096),
            "the image's records contradict each other: an array of 52 bytes at 4096 lies outside",
        ),
        (
            lie(46, "H", 1),
            "the image's records contradict each other: byte 46 of the header is 1, this format reserves it",
        ),
    ],
)
def test_a_damaged_image_is_refused_by_name(image: bytes, sentence: str) -> None:
    with pytest.raises(ExportError) as caught:
        read_image(image)
    assert str(caught.value).startswith(sentence)


DENSE_RECORD = HEADER.size + RECORD.size


@pytest.mark.parametrize(
    "image",
    [lie(DENSE_RECORD + 8, "B", 0), lie(DENSE_RECORD + 8, "B", 24), lie(DENSE_RECORD + 8, "B", 16), lie(DENSE_RECORD + 2, "B", 0),
     lie(DENSE_RECORD + 9, "B", 2), lie(40, "H", 0), lie(HEADER.size + 44, "H", 3), 
     seal(IMAGE[:28] + struct.pack("<II", len(IMAGE) - 4, 4) + IMAGE[36:])],
    ids=["lanes 0", "lanes 24", "lanes 16", "bits 0", "learns 2", "no layers", "channels without a convolution",
         "state of 4 bytes"],
)  # fmt: skip
def test_a_sealed_lie_is_refused(image: bytes) -> None:
    with pytest.raises(ExportError):
        read_image(image)


SINGLE = {
    "dense": IMAGE,
    "conv": write_image(windowed(1, (4, 4, 1), (conv(2, 3),), (3,))),
    "votes": write_image(voting(1)),
}


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("value", [0, 1, 255, "flip"])
def test_every_byte_of_the_records_is_refused_here_as_in_c(name: str, value: Any) -> None:
    """Each byte of header and records is changed, with the checksums mended: both readers refuse the image, or neither does.

    Bytes 8 to 39 of the header are left alone, as they say which bytes the checksums cover.
    """
    image, refused = SINGLE[name], 0
    for at in [*range(4, 8), *range(40, HEADER.size + RECORD.size * image[40])]:
        data = bytearray(image)
        data[at] = data[at] ^ 1 if value == "flip" else value
        ours = theirs = None
        try:
            read_image(seal(data))
        except ExportError as sentence:
            ours = sentence
        try:
            Model(seal(data))
        except ModelError as sentence:
            theirs = sentence
        assert (ours is None) == (theirs is None), (at, image[at], data[at], ours, theirs)
        refused += ours is not None
    assert refused > 30


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=4), st.integers(0, 2**20))
def test_accidental_damage_never_ends_in_a_traceback(hits: list[tuple[int, int]], length: int) -> None:
    data = bytearray(IMAGE)
    for at, bits in hits:
        data[at % len(data)] ^= bits
    for damaged in (data, data[: length % len(data)], IMAGE[: length % len(IMAGE)]):
        with suppress(ExportError):
            read_image(bytes(damaged))


def test_sections_need_an_image() -> None:
    with pytest.raises(ExportError, match="not a metabit image: it starts with b'noth'"):
        sections(b"nothing of the kind")
    with pytest.raises(ExportError, match="truncated: 12 bytes"):
        sections(b"MBIT" + bytes(8))
