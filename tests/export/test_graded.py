"""Graded layers in files: the image holds them whole, what it cannot hold is a sentence, and no other file pretends to."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frozen_reference import assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import conv, network, rule, seal, ternary, voting, windowed

from metabit.export import bits, export_all
from metabit.export.counters import fold_constants
from metabit.export.errors import ExportError
from metabit.export.files.image import HEADER, RECORD, read_image, sections, write_image
from metabit.export.frozen import DenseLayer, Frozen, GradedLayer, Kept, OutputLayer
from metabit.export.oracle import Oracle

NETWORK = voting(1, inputs=6, planes=2, units=5, classes=3, k=3)
GRADED, OUTPUT = NETWORK.layers
assert isinstance(GRADED, GradedLayer) and GRADED.rule is not None and isinstance(OUTPUT, OutputLayer)
IMAGE = write_image(NETWORK)
RECORD_AT = HEADER.size + RECORD.size  # after the encoder's


def below() -> dict[str, Frozen]:
    """Networks with each layer that may come before a graded one."""
    return {
        "dense": network(2, (9, 12, 3), planes=1, learns=(False, False)),
        "convolution": windowed(3, (4, 6, 1), (conv(3, 3, same=True),), (5,), "bits", learns=(False,)),
        "uint8": windowed(4, (1, 1, 9), (), (8, 3), "uint8", learns=(False, False)),
    }


# There and back


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 8), st.integers(1, 70), st.integers(2, 40),
    st.integers(2, 8), st.booleans(), st.sampled_from(["encode", "bits"]), st.sampled_from([32, 64, 96, 128]),
)  # fmt: skip
def test_what_is_written_comes_back(
    seed: int, inputs: int, planes: int, units: int, classes: int, k: int, learns: bool, source: str, batch: int
) -> None:
    frozen = voting(seed, inputs, planes, units, classes, k, learns, 8 if batch > 64 else 4, batch, source)
    if learns:
        rng = np.random.default_rng(seed)
        on, votes = rng.random((batch, planes * inputs)) < 0.5, rng.integers(-3, 4, (batch, units)).astype(np.int8)
        layer = replace(frozen.layers[0], kept=Kept(int(rng.integers(batch)), on, votes))
        frozen = replace(frozen, layers=(layer, frozen.layers[1]))
    image = write_image(frozen)
    assert image[4:8] == bytes([1, 0, 6 if learns else 5, 0])
    again = read_image(image)
    assert write_image(again) == image
    assert_same(again, frozen)


@pytest.mark.parametrize("name", below())
def test_so_do_the_layers_below(name: str) -> None:
    frozen = voting(5, planes=2, below=below()[name])
    assert [layer.kind for layer in frozen.layers[-2:]] == ["graded", "output"]
    image = write_image(frozen)
    assert write_image(read_image(image)) == image
    oracle = Oracle(read_image(image))
    x = np.zeros(frozen.input_bits if frozen.packed else frozen.input_bytes, np.uint8)
    assert np.array_equal(oracle.scores(x), Oracle(frozen).scores(x))


def test_a_frozen_one_bit_graded_layer_comes_back() -> None:
    frozen = voting(6, k=1, learns=False, planes=3)
    assert frozen.layers[0].bits == 1
    assert_same(read_image(write_image(frozen)), frozen)


def test_networks_without_one_stay_as_old_as_they_were() -> None:
    """For readers before 1.5, with crc32."""
    by_age = (network(1), below()["convolution"], voting(6), ternary(network(1)))
    assert [write_image(frozen, crc32=True)[6:8] for frozen in by_age] == [bytes([minor, 0]) for minor in range(4)]
    assert [write_image(frozen)[6:8] for frozen in by_age] == [bytes([minor, 0]) for minor in (5, 5, 6, 5)]


def test_packed_bits_are_those_of_all_planes() -> None:
    frozen = voting(7, inputs=7, planes=3, source="bits")
    assert frozen.packed and frozen.input_bits == 21 and frozen.input_bytes == 3
    assert struct.unpack_from("<H", write_image(frozen), 42) == (3,)


# FORMAT.md, byte by byte


def test_the_record_of_a_graded_layer() -> None:
    rule = GRADED.rule
    (kind, source, k, planes, inputs, units, lanes, learns, window, dose,
     sign, levels, fold, tables, scores, need, lo, hi, gain, depth, draws, batch, *reserved) = RECORD.unpack_from(
         IMAGE, RECORD_AT)  # fmt: skip
    assert (kind, source, k, inputs, units, lanes, learns, window) == (5, 0, 3, 6, 5, 32, 1, 0)
    assert planes == fold_constants(GRADED)[1] >= (2 * 6).bit_length() + 1
    assert (dose, gain, draws, batch) == (rule.dose, rule.chance_per_vote, rule.passes, rule.batch // 32)
    assert not any(reserved)
    assert (lo, hi, depth) == (GRADED.low, GRADED.high, 2)
    (_, _), (state, _) = sections(IMAGE)
    assert state <= sign < levels and fold < tables < need < state
    assert scores == levels + 4 * 6 * 2 and len(IMAGE) == scores + 4 * (
        1 + 32 * (1 + 3)
    )  # 12 bits and 5 units: one word each
    assert np.array_equal(np.frombuffer(IMAGE, "<u2", 193, need), rule.votes_needed)
    fold_words = np.frombuffer(IMAGE, "<u4", planes, fold).reshape(1, planes)
    assert np.array_equal(bits.unslice_planes(fold_words, 5), -GRADED.theta.astype(np.int64))


def test_the_record_of_the_output_after_it() -> None:
    (kind, source, k, planes, inputs, units, lanes, learns, window, dose,
     sign, levels, fold, tables, scores, need, *rest) = RECORD.unpack_from(IMAGE, RECORD_AT + RECORD.size)  # fmt: skip
    assert (kind, source, k, planes, inputs, units, lanes) == (3, 3, 1, 0, 5, 3, 16)
    assert not any((learns, window, dose, levels, fold, tables, need, *rest))
    assert 0 < sign < scores


# Networks that cannot be written


def graded(**change: Any) -> Frozen:
    return replace(NETWORK, layers=(replace(GRADED, **change), OUTPUT))


def output(**change: Any) -> Frozen:
    return replace(NETWORK, layers=(GRADED, replace(OUTPUT, **change)))


def votes(**change: Any) -> Frozen:
    return graded(rule=replace(GRADED.rule, **change))


def dense() -> DenseLayer:
    layer = network(1, (12, 6, 3), learns=(False, False), planes=1).layers[0]
    assert isinstance(layer, DenseLayer)
    return layer


ORDER = "a graded layer is the last before the output"
REFUSED: dict[str, tuple[Frozen, str]] = {
    "twice": (replace(NETWORK, layers=(GRADED, GRADED, OUTPUT)), ORDER),
    "below a dense layer": (replace(NETWORK, layers=(GRADED, dense(), OUTPUT)), ORDER),
    "without an output": (replace(NETWORK, layers=(GRADED,)), ORDER),
    "last": (replace(NETWORK, layers=(OUTPUT, GRADED)), ORDER),
    "no planes": (graded(planes=0), "layer 0 has 0 planes, outside 1..8"),
    "nine planes": (graded(planes=9), "layer 0 has 9 planes, outside 1..8"),
    "other planes": (graded(planes=1), "the encoder makes 12 bits, the first layer takes 6"),
    "output on signs": (output(takes="signs"), "layer 1 takes signs, but layer 0 gives grades"),
    "output on bits": (output(takes="bits"), "layer 1 takes bits, but layer 0 gives grades"),
    "grades elsewhere": (
        replace(NETWORK, layers=(dense(), replace(OUTPUT, hidden=np.zeros((3, 6), np.int8)))),
        "layer 1 takes grades, but layer 0 gives signs",
    ),
    "output that learns": (
        output(bits=3, rule=rule(3, np.random.default_rng(0))),
        "layer 1 learns, but nothing else learns beside the graded layer 0",
    ),
    "dense layer that learns": (
        voting(1, planes=2, below=network(2, (9, 12, 3), planes=1, learns=(True, False))),
        "layer 0 learns, but nothing else learns beside the graded layer 1",
    ),
}  # fmt: skip
LIMITS: dict[str, tuple[Frozen, str]] = {
    "too many units": (voting(1, inputs=2, units=1025), "layer 0 has 1025 graded units, the format holds 1..1024: fewer units"),
    "too many bits": (
        voting(1, inputs=2049, planes=8, units=2, source="bits"),
        "layer 0 takes 16392 bits, the format holds 16384: fewer planes or inputs",
    ),
    "flat ramp": (graded(low=7, high=7), "layer 0 has a ramp from 7 to 7, the format holds one that rises within 0..2047"),
    "ramp below nothing": (graded(low=-1), "layer 0 has a ramp from -1 to"),
    "ramp too far": (graded(high=2048), "to 2048, the format holds one that rises within 0..2047"),
    "dose": (graded(rule=replace(GRADED.rule, dose=2**20)), "layer 0 has dose 1048576, outside 1..1048575"),
    "one bit that learns": (
        graded(bits=1, hidden=np.zeros_like(GRADED.hidden)), "layer 0 learns and so needs at least 2 bits a level, not 1",
    ),
    "batch": (votes(batch=48), "layer 0 counts 48 samples, the format holds a multiple of 32 from 32 to 256"),
    "need": (votes(batch=64), "layer 0: votes_needed has shape (193,), 64 samples of 2 planes need (385,)"),
    "need that falls": (
        votes(votes_needed=np.append(np.arange(192), 62).astype(np.uint16)),
        "layer 0: votes_needed falls after 191 votes, the format holds one",
    ),
    "no gain": (votes(chance_per_vote=0), "layer 0 has chance_per_vote 0, outside 1..65535"),
    "gain": (votes(chance_per_vote=65536), "layer 0 has chance_per_vote 65536, outside 1..65535"),
    "no draws": (votes(passes=0), "layer 0 has 0 passes, the format holds 4 or 8"),
    "draws": (votes(passes=6), "layer 0 has 6 passes, the format holds 4 or 8"),
    "levels above": (output(bits=2), "layer 1 has 2 bits a level, above a graded layer the format holds 1"),
    "scores": (  # 2 N (8 K |mul| + |add|), 2 * 3 * (40 * 8947848 + 22): one less would be within 32 bits
        output(mul=np.full(3, -8947848, np.int32), add=np.full(3, 22, np.int32)),
        "could reach 2147483652, beyond 32 bits: smaller mul or add",
    ),
    "counters": (graded(theta=np.full(5, 2**20, np.int32)), "a layer needs 22 counter planes, the format holds 20"),
}  # fmt: skip


@pytest.mark.parametrize(("frozen", "sentence"), [*REFUSED.values(), *LIMITS.values()], ids=[*REFUSED, *LIMITS])
def test_what_the_format_cannot_hold_is_a_sentence(frozen: Frozen, sentence: str) -> None:
    with pytest.raises(ExportError) as caught:
        write_image(frozen)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "frozen",
    [
        voting(1, inputs=2, units=1024),
        voting(1, inputs=2048, planes=8, units=2, source="bits"),
        graded(low=0, high=2047),
        votes(chance_per_vote=65535, passes=8),
        voting(1, batch=128, planes=8),
        output(mul=np.full(3, -8947848, np.int32), add=np.full(3, 21, np.int32)),
    ],
    ids=["units", "bits", "ramp", "votes", "asks", "scores"],
)
def test_the_limits_themselves_can_be_written(frozen: Frozen) -> None:
    assert_same(read_image(write_image(frozen)), frozen)


# Images that cannot be read


@pytest.mark.parametrize(
    ("at", "form", "value"),
    [
        (1, "B", 1), (1, "B", 3), (44, "H", 0), (46, "B", 0), (46, "B", 3), (47, "B", 0), (48, "B", 33), (49, "B", 1),
        (40, "H", 3000),
        (10, "H", 5), (RECORD.size + 1, "B", 1), (RECORD.size + 1, "B", 0), (RECORD.size + 2, "B", 2),
    ],
)  # fmt: skip
def test_a_sealed_lie_is_refused(at: int, form: str, value: int) -> None:
    data = bytearray(IMAGE)
    struct.pack_into(f"<{form}", data, RECORD_AT + at, value)
    with pytest.raises(ExportError):
        read_image(seal(data))


# Other files


def test_a_bundle_of_it_is_its_image_and_vectors(tmp_path: Path) -> None:
    graded = NETWORK.layers[0]
    rule = replace(graded.rule, votes_needed=np.zeros_like(graded.rule.votes_needed))  # one vote is enough
    network = replace(NETWORK, layers=(replace(graded, rule=rule), NETWORK.layers[1]))
    written = export_all(network, tmp_path, formats=["mbit"], inputs=20, steps=80)
    assert set(written.files) == {"model.mbit", "vectors.npz", "manifest.json"}
    with np.load(io.BytesIO((tmp_path / "vectors.npz").read_bytes())) as v:
        assert v["layer0"].shape == (20, 5) and np.abs(v["layer0"]).max() <= 8
        states, info = np.bitwise_xor.accumulate(v["state_changes"]), v["learn_info"]
        assert info[:, 2].any()
        oracle = Oracle(network)
        for s, label in enumerate(v["learn_labels"]):
            assert tuple(info[s]) == oracle.learn(v["features"][s % 20], int(label))
        assert struct.unpack_from("<IIII", states[-1].tobytes()) == (oracle.generator, 80, oracle.moved, oracle.flipped)
