"""A stranger's reader of .mbit images: written from the words of runtime/FORMAT.md alone, in plain integers, nothing of export/.

If it and export.read_image disagree about an image, one of the two, or the page, is wrong.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabit.export import ConvLayer, DenseLayer, GradedLayer, OutputLayer, Votes, read_image
from metabit.runtime import Model

VECTORS = sorted((Path(__file__).parents[1] / "vectors").glob("*.mbit"))
KINDS = {1: "encode", 2: "dense", 3: "output", 4: "conv", 5: "graded", 6: "ternary"}


class Reader:
    """One image: fields by name, arrays as nested lists."""

    def __init__(self, image: bytes) -> None:
        self.image = image
        assert image[:4] == b"MBIT" and self.number(4, 2) == 1
        size, header_crc = self.number(8, 4), self.number(12, 4)
        self.constants, self.state = ([self.number(at + 4 * i, 4) for i in range(3)] for at in (16, 28))
        count = self.number(40, 2)
        self.input_size, self.classes = self.number(42, 2), self.number(44, 2)
        self.temperature, self.margin = self.number(48, 2), self.number(50, 2)
        records_end = 64 + 64 * count
        assert 1 <= count <= 16 and size % 4 == 0 and size <= len(image)
        assert zlib.crc32(image[:12] + bytes(4) + image[16:records_end]) == header_crc
        for offset, length, crc in (self.constants, self.state):
            assert zlib.crc32(image[offset : offset + length]) == crc
        constants_end = self.constants[0] + self.constants[1]
        assert self.constants[0] == records_end and self.state[0] == -(-constants_end // 4) * 4
        assert self.state[0] + self.state[1] == size and self.state[1] >= 16
        assert not any(image[46:48] + image[52:64] + image[constants_end : self.state[0]])
        self.generator, self.steps, self.moved, self.flipped = self.words(self.state[0], 4, 4)
        self.free = {"constants": self.constants[0], "state": self.state[0] + 16}  # where the next array may begin
        self.layers = [self.layer(64 + 64 * i) for i in range(count)]

    # Numbers and arrays

    def number(self, at: int, size: int, signed: bool = False) -> int:
        return int.from_bytes(self.image[at : at + size], "little", signed=signed)

    def words(self, at: int, count: int, size: int, signed: bool = False) -> list[int]:
        return [self.number(at + size * i, size, signed) for i in range(count)]

    def array(self, home: str, at: int, count: int, size: int, signed: bool = False) -> list[int]:
        """An array where it should be: aligned, in its section, behind the one before."""
        end = (self.constants if home == "constants" else self.state)[:2]
        assert at % 4 == 0 and self.free[home] <= at and at + count * size <= sum(end)
        self.free[home] = at + count * size
        return self.words(at, count, size, signed)

    # Records

    def layer(self, at: int) -> dict[str, Any]:
        byte = self.image[at : at + 64]
        kind, inputs, units = KINDS[byte[0]], self.number(at + 4, 2), self.number(at + 6, 2)
        offsets = self.words(at + 16, 6, 4)
        if kind == "encode":
            thresholds = self.array("constants", offsets[5], units, 1)
            assert units == byte[2] * inputs and not any(byte[8:36] + byte[40:44] + byte[46:])
            rows = [thresholds[p * inputs : (p + 1) * inputs] for p in range(byte[2])]
            return {"kind": kind, "thresholds": rows, "channels": self.number(at + 44, 2)}
        found: dict[str, Any] = {
            "kind": kind, "input": byte[1], "bits": byte[2], "planes": byte[3], "learns": byte[9],
            "window": self.number(at + 10, 2), "dose": self.number(at + 12, 4),
        }  # fmt: skip
        if kind == "conv":
            names = ("height", "width", "channels")
            found |= dict(zip(names, self.words(at + 40, 3, 2), strict=True))
            found |= dict(zip(("kernel", "stride", "pool", "padding"), byte[46:50], strict=True))
        if kind == "graded":
            found |= dict(zip(("lo", "hi", "gain"), self.words(at + 40, 3, 2), strict=True))
            found |= {"depth": byte[46], "draws": byte[47], "batch": 32 * byte[48]}
        assert not any(byte[{"conv": 50, "graded": 49}.get(kind, 40) :])
        self.arrays(found, inputs, units, byte[8], offsets)
        return found

    def arrays(self, f: dict[str, Any], inputs: int, units: int, lanes: int, offsets: list[int]) -> None:
        """sign, levels, fold, tables, scores, need, in this order."""
        k, size, rows = f["bits"], lanes // 8, -(-units // lanes)
        assert lanes == (16 if f["kind"] == "output" and units <= 16 else 32)
        home = "state" if f["learns"] else "constants"

        sign = self.array(home, offsets[0], rows * (inputs + 1), size)
        assert not any(sign[inputs :: inputs + 1])
        levels = self.array(home, offsets[1], rows * inputs * (k - 1), size) if k > 1 else []
        f["hidden"] = [[0] * inputs for _ in range(units)]
        for unit in range(units):
            r, i = divmod(unit, lanes)
            for j in range(inputs):
                positive = sign[r * (inputs + 1) + j] >> i & 1
                low = 0
                for word in levels[(r * inputs + j) * (k - 1) :][: k - 1]:
                    low = low << 1 | word >> i & 1
                f["hidden"][unit][j] = low if positive else low - 2 ** (k - 1)
        for words, each in ((sign, inputs + 1), (levels, inputs * (k - 1))):  # no bit of a unit that is not there
            assert all(word >> (units - (rows - 1) * lanes) == 0 for word in words[(rows - 1) * each :])

        f["fold"] = []
        if f["input"] != 3:
            where = "state" if f["learns"] and f["input"] == 1 else "constants"
            planes = f["planes"]
            fold = self.array(where, offsets[2], -(-units // 32) * planes, 4)
            for unit in range(units):
                value = sum((fold[unit // 32 * planes + p] >> unit % 32 & 1) << p for p in range(planes))
                f["fold"].append(value - (value >> (planes - 1) << planes))
        f["tables"] = self.array("constants", offsets[3], 2 * 2 ** (k - 1), 2) if f["learns"] else []
        f["scores"] = self.array("constants", offsets[4], 2 * units, 4, True) if f["kind"] == "output" else []
        votes = f["kind"] == "graded" and f["learns"]
        f["need"] = self.array("constants", offsets[5], 3 * f["batch"] * f["depth"] + 1, 2) if votes else []
        absent = (k == 1, f["input"] == 3, not f["learns"], f["kind"] != "output", not votes)
        assert all(offset == 0 for offset, none in zip(offsets[1:], absent, strict=True) if none)


def theta(f: dict[str, Any]) -> list[int]:
    """Thresholds, out of the folded constants: -theta, or -(S + theta) / 2 for inputs of +-1."""
    sums = [sum(1 if h >= 0 else -1 for h in row) for row in f["hidden"]]
    return [-2 * v - s if f["input"] == 1 else -v for v, s in zip(f["fold"], sums, strict=True)]


def learned(path: Path) -> bytes:
    """The image after it learnt a little: other levels, flipped weights, counters."""
    model, rng = Model.open(path), np.random.default_rng(0)
    x = rng.integers(0, 256, (100, model.input_size)).astype(np.uint8)
    model.learn_many(x, rng.integers(0, model.classes, 100))
    return model.image()


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
@pytest.mark.parametrize("read", [Path.read_bytes, learned], ids=["as exported", "learned"])
def test_a_reader_of_the_page_sees_what_the_exporter_sees(path: Path, read: Any) -> None:
    image = read(path)
    mine, theirs = Reader(image), read_image(image)
    assert (mine.input_size, mine.classes) == (theirs.input_bytes, theirs.classes)
    assert (mine.temperature, mine.margin, mine.generator) == (theirs.temperature, theirs.skip_below, theirs.generator)
    assert (mine.steps, mine.moved, mine.flipped) == tuple(vars(theirs.counters).values())
    assert mine.steps == (100 if read is learned else 0)
    layers = list(mine.layers)
    if theirs.encode is not None:
        first = layers.pop(0)
        assert first["thresholds"] == theirs.encode.thresholds.tolist() and first["channels"] == theirs.encode.channels
    for f, layer in zip(layers, theirs.layers, strict=True):
        assert f["kind"] == ("ternary" if isinstance(layer, DenseLayer) and layer.ternary else layer.kind)
        assert (f["bits"], f["learns"]) == (layer.bits, layer.learns)
        assert f["input"] == ["bits", "signs", "bytes", "grades"].index(layer.takes)
        assert f["hidden"] == layer.hidden.tolist()
        assert f["window"] * (2 if layer.takes == "signs" else 1) == (
            layer.ste_window if isinstance(layer, DenseLayer) else 0
        )
        if isinstance(layer, OutputLayer):
            assert f["scores"] == layer.mul.tolist() + layer.add.tolist()
            assert f["input"] == 3 or theta(f) == [layer.inputs % 2 if f["input"] == 1 else 0] * layer.units
        else:
            assert theta(f) == layer.theta.tolist()
        if isinstance(layer, ConvLayer):
            c = layer.geometry
            assert [f[n] for n in ("height", "width", "channels", "kernel", "stride", "pool", "padding")] == [
                c.height, c.width, c.channels, c.kernel, c.stride, c.pool, c.same
            ]  # fmt: skip
        if isinstance(layer, GradedLayer):
            assert (f["lo"], f["hi"], f["depth"]) == (layer.low, layer.high, layer.planes)
        rule = layer.rule
        assert (f["dose"], f["tables"]) == ((rule.dose, [*rule.strengthen, *rule.weaken]) if rule else (0, []))
        if isinstance(rule, Votes):
            found = (rule.votes_needed.tolist(), rule.chance_per_vote, rule.passes, rule.batch)
            assert (f["need"], f["gain"], f["draws"], f["batch"]) == found


def test_the_vectors_have_every_kind_and_input() -> None:
    layers = [layer for path in VECTORS for layer in Reader(path.read_bytes()).layers]
    assert {layer["kind"] for layer in layers} == set(KINDS.values())
    assert {layer["input"] for layer in layers if "input" in layer} == {0, 1, 2, 3}
