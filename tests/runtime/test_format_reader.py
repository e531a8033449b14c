"""A stranger's reader of .mbit images: written from the words of runtime/FORMAT.md alone, in plain integers, nothing of export/.

If it and export.read_image disagree about an image, one of the two, or the page, is wrong.
"""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabit.export import (
    ConvLayer,
    Cuts,
    DenseLayer,
    GatesLayer,
    GradedLayer,
    HeadLayer,
    Layer,
    LevelsLayer,
    OutputLayer,
    TriplesLayer,
    Votes,
    read_image,
)
from metabit.runtime import Model

VECTORS = sorted((Path(__file__).parents[1] / "vectors").glob("*.mbit"))
KINDS = {
    1: "encode", 2: "dense", 3: "output", 4: "conv", 5: "graded", 6: "ternary", 7: "cuts", 8: "gates", 9: "levels", 10: "head",
    11: "triples",
}  # fmt: skip
OF_1_4 = ("cuts", "gates", "levels", "head", "triples")
TRIPLES = ("low", "high", "mul", "add", "top", "index", "feature_add", "feature_mul", "feature_shift")


class Reader:
    """One image: fields by name, arrays as nested lists."""

    def __init__(self, image: bytes) -> None:
        self.image = image
        assert image[:4] == b"MBIT" and self.number(4, 2) == 1
        size, header_sum = self.number(8, 4), self.number(12, 4)
        self.constants, self.state = ([self.number(at + 4 * i, 4) for i in range(3)] for at in (16, 28))
        count = self.number(40, 2)
        self.input_size, self.classes = self.number(42, 2), self.number(44, 2)
        self.temperature, self.margin = self.number(48, 2), self.number(50, 2)
        records_end = 64 + 64 * count
        assert 1 <= count <= 16 and size % 4 == 0 and size <= len(image)
        assert self.checksum(image[:12] + bytes(4) + image[16:records_end]) == header_sum
        for offset, length, found in (self.constants, self.state):
            assert self.checksum(image[offset : offset + length]) == found
        constants_end = self.constants[0] + self.constants[1]
        assert self.constants[0] == records_end and self.state[0] == -(-constants_end // 4) * 4
        assert self.state[0] + self.state[1] == size and self.state[1] >= 16
        assert not any(image[46:48] + image[60:64] + image[constants_end : self.state[0]])
        self.generator, self.steps, self.moved, self.flipped = self.words(self.state[0], 4, 4)
        self.free = {"constants": self.constants[0], "state": self.state[0] + 16}  # where the next array may begin
        self.layers = [self.layer(64 + 64 * i) for i in range(count)]
        at, size = self.words(52, 2, 4)
        assert (at == 0) == (size == 0)
        self.notes = json.loads(bytes(self.array("constants", at, size, 1))) if size else None

    # Numbers and arrays

    def number(self, at: int, size: int, signed: bool = False) -> int:
        return int.from_bytes(self.image[at : at + size], "little", signed=signed)

    def checksum(self, data: bytes) -> int:
        if self.number(6, 2) < 5:
            return zlib.crc32(data)
        data += bytes(-len(data) % 4)
        s = 2**32 - 1
        for i in range(0, len(data), 4):
            s = s ^ int.from_bytes(data[i : i + 4], "little")
            right = s // 2**9
            s = s ^ right ^ right * 2**5
            left = s * 2**23 % 2**32
            s = s ^ left ^ left // 2**8
        return 2**32 - 1 - s

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
        if kind in OF_1_4:
            return getattr(self, kind)(at, byte, inputs, units, offsets)
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

    # The kinds of 1.4

    def cuts(self, at: int, byte: bytes, features: int, units: int, offsets: list[int]) -> dict[str, Any]:
        planes, size, shared = byte[2], 1 + byte[1], byte[46]
        assert byte[1] <= 1 and 1 <= planes <= 16 and units == planes * features <= 16384 and shared <= 1
        assert not any(byte[3:4] + byte[8:32] + byte[40:46] + byte[47:])
        scale = self.array("constants", offsets[4], 2 * features, 4) if offsets[4] else []
        cuts = self.array("constants", offsets[5], planes * (1 if shared else features), size, size == 2)
        rows = [
            cuts[p : p + 1] * features if shared else cuts[p * features : (p + 1) * features] for p in range(planes)
        ]
        return {"kind": "cuts", "input": byte[1], "cuts": rows, "scale": floats(scale)}

    def triples(self, at: int, byte: bytes, features: int, units: int, offsets: list[int]) -> dict[str, Any]:
        assert byte[1] <= 1 and byte[2] == 8 and 1 <= features <= 16384 and units % 2 == 0 and 2 <= units <= 128
        assert not any(byte[3:4] + byte[8:16] + byte[20:24] + byte[40:])
        small = self.array("constants", offsets[0], 5 * units, 1, True)
        large = self.array("constants", offsets[2], 5 * units // 2, 4, True)
        index = self.array("constants", offsets[3], 3 * units, 2)
        scale = self.array("constants", offsets[4], 2 * features, 4) if offsets[4] else []
        self.array("constants", offsets[5], 7 * features, 1)
        place = offsets[5]
        return {
            "kind": "triples", "input": byte[1], "weights": small[: 3 * units], "low": small[3 * units : 4 * units],
            "high": small[4 * units :], "mul": large[:units], "add": large[units : 2 * units], "top": large[2 * units :],
            "index": index, "scale": floats(scale), "feature_add": self.words(place, features, 4, True),
            "feature_mul": self.words(place + 4 * features, features, 2, True),
            "feature_shift": self.words(place + 6 * features, features, 1),
        }  # fmt: skip

    def gates(self, at: int, byte: bytes, inputs: int, units: int, offsets: list[int]) -> dict[str, Any]:
        assert byte[1:3] == b"\0\1" and inputs.bit_length() + 1 <= byte[3] <= 20 and byte[3] >= 6 and byte[8] == 32
        assert 1 <= units <= 1024 and not any(byte[9:16] + byte[20:24] + byte[32:46] + byte[47:])
        rows = -(-units // 32)
        sign = self.array("constants", offsets[0], rows * (inputs + 1), 4)
        assert not any(sign[inputs :: inputs + 1])
        assert all(word >> (units - 32 * (rows - 1)) == 0 for word in sign[(rows - 1) * (inputs + 1) :])
        weights = [[sign[i // 32 * (inputs + 1) + j] >> i % 32 & 1 for j in range(inputs)] for i in range(units)]
        add = self.array("constants", offsets[2], units, 4, True)
        mul = self.array("constants", offsets[3], units, 2, True)
        assert all(abs(one) <= 2**30 for one in add) and 10 <= byte[46] <= 20
        return {"kind": "gates", "weights": weights, "add": add, "mul": mul, "shift": byte[46]}

    def levels(self, at: int, byte: bytes, inputs: int, units: int, offsets: list[int]) -> dict[str, Any]:
        k, learns, count = byte[2], byte[9], units * (inputs + 1)
        assert (
            byte[1] == 4
            and 2 <= k <= 8
            and not any(byte[3:4] + byte[8:9] + byte[10:12] + byte[16:20] + byte[24:28] + byte[32:])
        )
        words = self.array("state" if learns else "constants", offsets[1], -(-count * k // 32), 4)
        stream = sum(word << 32 * i for i, word in enumerate(words))
        assert stream >> count * k == 0
        found = [(stream >> i * k) % 2**k for i in range(count)]
        found = [level - (level >> k - 1 << k) for level in found]
        assert min(found) > -(2 ** (k - 1))
        weaken = self.array("constants", offsets[3], 2 ** (k - 1), 2) if learns else []
        levels = [found[c * (inputs + 1) : (c + 1) * (inputs + 1)] for c in range(units)]
        dose = self.number(at + 12, 4)
        return {"kind": "levels", "bits": k, "learns": learns, "dose": dose, "levels": levels, "weaken": weaken}

    def head(self, at: int, byte: bytes, inputs: int, units: int, offsets: list[int]) -> dict[str, Any]:
        gates, rows, several = byte[1] == 4, byte[48], byte[49] > 1
        values = 2 * inputs if gates else inputs
        assert byte[1] in (4, 5) and byte[2] == 8 and byte[9] == 1 and values % 2 == 0 and 2 <= values <= 128
        assert not any(byte[3:4] + byte[8:9] + byte[10:20] + byte[32:40] + byte[53:]) and byte[52] <= 7
        f: dict[str, Any] = {
            "kind": "head", "input": byte[1], "prior": byte[46], "z_shift": byte[47], "rows": rows, "rows_per_class": byte[49],
            "far": byte[50], "doubt_limit": byte[51], "sweep_every": 1 << byte[52],
        }  # fmt: skip
        f |= dict(zip(("memory", "covariance_memory", "ridge"), self.words(at + 40, 3, 2), strict=True))
        entries = values * (values + 2) // 2
        fields = [
            ("offsets", rows, 4), ("priors", rows, 4), ("covariance", entries, 2), ("means", rows * values, 2), ("counts", rows, 2),
            ("counters", 3, 2), ("weights", rows * values, 1), ("owner", rows * several, 1), ("doubt", units * several, 1),
        ]  # fmt: skip
        place = offsets[1]
        self.array("state", place, sum(count * size for _, count, size in fields), 1)
        for name, count, size in fields:
            f[name] = self.words(place, count, size, name not in ("counts", "counters", "owner", "doubt"))
            place += count * size
        z_add = self.array("constants", offsets[2], inputs, 4, True) if gates else []
        scale = self.array("constants", offsets[3], 3 * inputs, 2, True) if gates else []
        return f | {"classes": units, "z_add": z_add, "scale": scale}

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
        f["kept"] = self.kept(offsets[4], f["batch"], f["depth"] * inputs, units) if votes and offsets[4] else None
        f["need"] = self.array("constants", offsets[5], 3 * f["batch"] * f["depth"] + 1, 2) if votes else []
        absent = (k == 1, f["input"] == 3, not f["learns"], f["kind"] != "output" and f["kept"] is None, not votes)
        assert all(offset == 0 for offset, none in zip(offsets[1:], absent, strict=True) if none)

    def kept(self, at: int, batch: int, values: int, units: int) -> tuple[int, list[list[int]], list[list[int]]]:
        """The slot that is next, and input bits and votes of the sample in each slot. Only from 1.6 on."""
        words, rows = -(-values // 32), -(-units // 32)
        found = self.array("state", at, 1 + batch * (words + 3 * rows), 4)
        assert self.number(6, 2) >= 6 and found[0] < batch
        bits, votes = [], []
        for b in range(batch):
            row = sum(word << 32 * w for w, word in enumerate(found[1 + b * words :][:words]))
            assert row >> values == 0
            bits.append([row >> j & 1 for j in range(values)])
            drawn = found[1 + batch * words + 3 * rows * b :][: 3 * rows]
            down, one, two = (sum(drawn[3 * r + part] << 32 * r for r in range(rows)) for part in range(3))
            assert (one | two) >> units == 0 and down & ~(one | two) == 0
            number = [(one >> i & 1) + 2 * (two >> i & 1) for i in range(units)]
            votes.append([-n if down >> i & 1 else n for i, n in enumerate(number)])
        return found[0], bits, votes


def floats(words: list[int]) -> list[float]:
    """Numbers of 32 bits that were read as integers."""
    return [struct.unpack("<f", word.to_bytes(4, "little"))[0] for word in words]


def theta(f: dict[str, Any]) -> list[int]:
    """Thresholds, out of the folded constants: -theta, or -(S + theta) / 2 for inputs of +-1."""
    sums = [sum(1 if h >= 0 else -1 for h in row) for row in f["hidden"]]
    return [-2 * v - s if f["input"] == 1 else -v for v, s in zip(f["fold"], sums, strict=True)]


def assert_same_gates(f: dict[str, Any], layer: Layer) -> None:
    assert f["kind"] == layer.kind
    if isinstance(layer, GatesLayer):
        assert f["weights"] == (layer.hidden + 1).tolist()
        assert (f["add"], f["mul"], f["shift"]) == (layer.add.tolist(), layer.mul.tolist(), layer.shift)
    elif isinstance(layer, TriplesLayer):
        assert f["input"] == (layer.integers == "int16")
        arrays = {"weights": layer.hidden} | {name: getattr(layer, name) for name in TRIPLES}
        assert {name: f[name] for name in arrays} == {name: array.ravel().tolist() for name, array in arrays.items()}
        assert f["scale"] == ([] if layer.scale is None else layer.scale.ravel().tolist())
    elif isinstance(layer, LevelsLayer):
        assert (f["bits"], f["levels"], f["learns"]) == (layer.bits, layer.hidden.tolist(), layer.learns)
        assert (f["dose"], f["weaken"]) == ((layer.rule.dose, layer.rule.weaken.tolist()) if layer.rule else (0, []))
    else:
        assert isinstance(layer, HeadLayer)
        assert (f["classes"], f["rows"], f["input"]) == (
            layer.classes,
            len(layer.hidden),
            4 if layer.takes == "levels" else 5,
        )
        assert (f["rows_per_class"], f["far"], f["doubt_limit"]) == tuple(vars(layer.rows).values())
        assert [f[name] for name in ("memory", "covariance_memory", "ridge", "prior", "sweep_every")] == [
            *vars(layer.settings).values()
        ]
        arrays = (layer.hidden, layer.covariance, layer.means, layer.counts, layer.owners, layer.doubts)
        assert [f[name] for name in ("weights", "covariance", "means", "counts", "owner", "doubt")] == [
            a.ravel().tolist() for a in arrays
        ]
        assert f["counters"] == [layer.seen, layer.dither, layer.turn]
        assert f["offsets"] == [
            -(int(w @ m) >> 4) for w, m in zip(layer.hidden.astype(int), layer.means.astype(int), strict=True)
        ]
        assert [prior > 0 for prior in f["priors"]] == [count > 0 for count in f["counts"]]
        scale = layer.scale
        told = [] if scale is None else [*scale.gate_mul.tolist(), *scale.gate_add.tolist(), *scale.z_mul.tolist()]
        assert (f["scale"], f["z_add"], f["z_shift"]) == (
            told,
            *((scale.z_add.tolist(), scale.z_shift) if scale else ([], 0)),
        )


def learned(path: Path) -> bytes:
    """The image after it learnt a little: other levels, flipped weights, counters."""
    model, rng = Model.open(path), np.random.default_rng(0)
    x = rng.integers(0, 256, (100, model.input_size)).astype(np.uint8)
    if any(layer.learns for layer in read_image(path.read_bytes()).layers):
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
    began = 40 if path.stem == "votes-kept" else 0  # tests/vectors/make.py
    assert mine.steps == began + (100 if read is learned and any(layer.learns for layer in theirs.layers) else 0)
    layers = list(mine.layers)
    if isinstance(theirs.encode, Cuts):
        first = layers.pop(0)
        assert first["cuts"] == (theirs.encode.thresholds - 1).tolist() and first["input"] == (
            theirs.encode.kind == "int16"
        )
        assert first["scale"] == ([] if theirs.encode.scale is None else theirs.encode.scale.ravel().tolist())
    elif theirs.encode is not None:
        first = layers.pop(0)
        assert first["thresholds"] == theirs.encode.thresholds.tolist() and first["channels"] == theirs.encode.channels
    assert mine.notes == (
        None if theirs.notes is None else {name: list(names) for name, names in vars(theirs.notes).items()}
    )
    for f, layer in zip(layers, theirs.layers, strict=True):
        if isinstance(layer, GatesLayer | LevelsLayer | HeadLayer | TriplesLayer):
            assert_same_gates(f, layer)
            continue
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
            if layer.kept is not None:
                assert f["kept"] == (layer.kept.slot, layer.kept.bits.tolist(), layer.kept.votes.tolist())
            else:
                assert f["kept"] is None or not (f["kept"][0] or np.any(f["kept"][1]) or np.any(f["kept"][2]))
        rule = layer.rule
        assert (f["dose"], f["tables"]) == ((rule.dose, [*rule.strengthen, *rule.weaken]) if rule else (0, []))
        if isinstance(rule, Votes):
            found = (rule.votes_needed.tolist(), rule.chance_per_vote, rule.passes, rule.batch)
            assert (f["need"], f["gain"], f["draws"], f["batch"]) == found


def test_the_vectors_have_every_kind_and_input() -> None:
    layers = [layer for path in VECTORS for layer in Reader(path.read_bytes()).layers]
    assert {layer["kind"] for layer in layers} == set(KINDS.values())
    weights = [layer for layer in layers if layer["kind"] not in OF_1_4]
    assert {layer["input"] for layer in weights if "input" in layer} == {0, 1, 2, 3}
    assert any(layer.get("kept") for layer in layers) and any(
        "batch" in layer and not layer["kept"] for layer in layers
    )
    for kind, inputs in (("cuts", {0, 1}), ("triples", {0, 1}), ("head", {4, 5})):
        assert {layer["input"] for layer in layers if layer["kind"] == kind} == inputs
