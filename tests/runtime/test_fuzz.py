"""The runtime refuses any bytes with a sentence or runs them; it never crashes.

fuzz.c does this to the C library under sanitizers, the other tests to the Python class. METABIT_FUZZ_SECONDS sets how long fuzz.c
runs.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import gates_network, inputs, network, seal, voting, windowed

from metabit.export.files.image import write_image
from metabit.export.frozen import HeadRows
from metabit.runtime import InputError, Model, ModelError, field_sources, include_dir, sources

NETWORKS = {
    "all kinds of layers": network(1, (6, 33, 18, 5), k=3, planes=2),
    "one layer": network(2, (9, 3), k=8, planes=0),
    "only the output learns": network(3, (40, 20, 17), k=2, planes=1, learns=(False, True)),
    "nothing learns": network(4, (12, 8, 2), planes=3, learns=(False, False)),
    "convolutions on bytes": windowed(
        5,
        (7, 6, 2),
        ({"units": 33, "kernel": 3, "same": True, "pool": 2}, {"units": 3, "kernel": 2, "stride": 2}),
        (8, 4),
        "uint8",
    ),
    "convolution on planes": windowed(
        6, (6, 5, 3), ({"units": 4, "kernel": 4, "same": True, "pool": 2},), (5,), "2", 3
    ),
    "convolution on bits": windowed(7, (5, 5, 1), ({"units": 5, "kernel": 2},), (3,), "bits", frozen_bits=2),
    "votes": voting(11, inputs=9, units=33, classes=5, k=3),
    "bytes": windowed(8, (1, 1, 19), (), (9, 3), "uint8"),
    "a head": gates_network(12, features=7, units=9, spare=1),
    "a head on packed bits": gates_network(13, features=17, planes=0, units=33, classes=12, samples=90),
    "several rows a class": gates_network(
        14, features=5, units=4, kind="int16", rows=HeadRows(3, 1, 2), row_count=9, spare=1
    ),
    "levels": gates_network(
        15, features=6, planes=2, units=40, last="levels", k=5, learns=True, kind="int16", shared=True
    ),
    "levels that do not learn": gates_network(16, units=31, classes=17, last="levels", k=2),
}
GATED = [name for name in NETWORKS if "head" in name or "rows" in name or "levels" in name]
IMAGES = [write_image(frozen) for frozen in NETWORKS.values()]
TELLING = [0, 1, 2, 3, 8, 15, 16, 17, 31, 32, 33, 63, 64, 127, 128, 255, 256, 4095, 4096, 16383, 16384, 16385, 32767,
           65535, 65536, 2**20, 2**24, 2**31 - 1, 2**31, 2**32 - 4, 2**32 - 1]  # fmt: skip

flips = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 7)), min_size=1, max_size=8)
# where in header and records, width, whether to add to what is there, the number to write or add
values = st.one_of(st.tuples(st.just(False), st.sampled_from(TELLING)), st.tuples(st.just(True), st.integers(-8, 8)))
lies = st.lists(st.tuples(st.integers(0, 400), st.sampled_from("BHI"), values), min_size=1, max_size=4)


def run(data: bytes, outcome: Counter[str]) -> None:
    """Opens, predicts, learns, saves and opens again; only ModelError may say no."""
    try:
        model = Model(data)
    except ModelError as wrong:
        assert str(wrong) and (-19 <= wrong.code <= -3 or wrong.code in (-26, -27))
        outcome["refused"] += 1
        return
    outcome["opened"] += 1
    rng = np.random.default_rng(len(data))
    x = rng.integers(0, 256, (3, model.input_size)).astype(np.uint8)
    assert set(model.predict_many(x)) <= set(range(model.classes))
    assert model.arena_size("learn") >= model.arena_size("infer")
    try:
        model.learn_many(x, rng.integers(0, model.classes, 3))
        outcome["learned"] += 1
    except InputError as frozen:
        assert "nothing to learn" in str(frozen) or "label" in str(frozen)
    again = model.image()
    assert len(again) == model.image_size <= len(data)
    assert again[-model.state_size :] == model.state()


def damage(image: bytes, hits: list[tuple[int, int]]) -> bytes:
    data = bytearray(image)
    for at, bit in hits:
        data[at % len(data)] ^= 1 << bit
    return bytes(data)


def tell(image: bytes, what: list[tuple[int, str, tuple[bool, int]]]) -> bytes:
    data = bytearray(image)
    for place, form, (add, value) in what:
        width = struct.calcsize(form)
        at = place % (64 + 64 * image[40]) // width * width  # image[40]: the number of records
        (old,) = struct.unpack_from(f"<{form}", data, at)
        struct.pack_into(f"<{form}", data, at, (value + old * add) % 2 ** (8 * width))
    return seal(data)


def hammer(test: object, cases: int, outcome: Counter[str]) -> None:
    settings(max_examples=cases, deadline=None, suppress_health_check=list(HealthCheck), database=None)(test)()
    assert (
        sum(outcome[end] for end in ("opened", "refused")) >= cases // 2
    )  # hypothesis stops early if it ran out of cases


def test_truncated_images() -> None:
    """Every length there is."""
    outcome: Counter[str] = Counter()
    for image in IMAGES:
        for length in range(len(image)):
            run(image[:length], outcome)
    assert outcome["refused"] > 2000 and not outcome["opened"]


def test_random_bytes() -> None:
    outcome: Counter[str] = Counter()

    @given(
        st.one_of(
            st.binary(max_size=400), st.binary(min_size=60, max_size=400).map(lambda tail: b"MBIT\1\0\0\0" + tail)
        )
    )
    def test(data: bytes) -> None:
        run(data, outcome)
        run(seal(data) if len(data) >= 64 else data, outcome)

    hammer(test, 600, outcome)
    assert not outcome["opened"]


def test_flipped_bits_never_pass_the_checksums() -> None:
    outcome: Counter[str] = Counter()

    @given(st.sampled_from(IMAGES), flips)
    def test(image: bytes, hits: list[tuple[int, int]]) -> None:
        damaged = damage(image, hits)
        refused = outcome["refused"]
        run(damaged, outcome)
        if damaged != image and len(hits) <= 3:  # the checksum finds any three flips in so short a text
            assert outcome["refused"] == refused + 1

    hammer(test, 600, outcome)


def test_lies_of_header_and_records_sealed_again() -> None:
    outcome: Counter[str] = Counter()

    @given(st.sampled_from(IMAGES), lies, st.one_of(st.just(0), st.integers(0, 200)))
    def test(image: bytes, what: list[tuple[int, str, tuple[bool, int]]], cut: int) -> None:
        run(tell(image, what)[: len(image) - cut], outcome)

    hammer(test, 2000, outcome)
    assert outcome["opened"] > 50 and outcome["refused"] > 500


def test_a_hostile_state_learns_without_leaving_its_bounds() -> None:
    """Any bits in the planes, folded constants and tables: nothing there is checked but padding, nothing may break."""
    outcome: Counter[str] = Counter()
    frozen = NETWORKS["all kinds of layers"]
    image, x = IMAGES[0], inputs(frozen, 4)

    @given(st.integers(0, 2**32 - 1), st.floats(0, 1))
    def test(seed: int, share: float) -> None:
        rng = np.random.default_rng(seed)
        data = np.frombuffer(image, np.uint8).copy()
        for layer in range(1, 4):  # folded constants, then tables, wherever they lie
            record = struct.unpack_from("<BBBBHHBBHIIIIIII", image, 64 + 64 * layer)
            for at, size in ((record[12], -(-record[5] // 32) * record[3] * 4), (record[13], 4 << (record[2] - 1))):
                hit = rng.random(size) < share
                data[at : at + size][hit] = rng.integers(0, 256, int(hit.sum()))
        model = Model(seal(data.tobytes()))
        model.learn_many(x, rng.integers(0, model.classes, len(x)))
        outcome["opened"] += 1

    hammer(test, 300, outcome)


@pytest.mark.parametrize("name", GATED)
def test_a_hostile_state_of_gates_is_refused_or_stays_in_its_bounds(name: str) -> None:
    """Any bits behind the records. The fields of a head that follow from others are wrong then, so most are refused."""
    image, outcome = write_image(NETWORKS[name]), Counter[str]()
    records_end = 64 + 64 * image[40]

    @given(st.integers(0, 2**32 - 1), st.integers(1, 6))
    def test(seed: int, hits: int) -> None:
        rng = np.random.default_rng(seed)
        data = np.frombuffer(image, np.uint8).copy()
        data[rng.integers(records_end, len(image), hits)] = rng.integers(0, 256, hits)
        run(seal(data.tobytes()), outcome)

    hammer(test, 200, outcome)


# The C library


def test_mutated_images_under_sanitizers(tmp_path: Path) -> None:
    """libFuzzer where clang brings it, else gcc and the loop of fuzz.c itself. Both begin with the golden vectors."""
    host = include_dir().parent / "host"
    seconds = int(os.environ.get("METABIT_FUZZ_SECONDS", "6"))
    for name in GATED:
        (tmp_path / f"{name.replace(' ', '-')}.mbit").write_bytes(write_image(NETWORKS[name]))
    golden = sorted((Path(__file__).parents[1] / "vectors").glob("*.mbit"))
    seeds = [str(path) for path in (*sorted(tmp_path.glob("*.mbit")), *golden)]
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    limits = [f"-max_total_time={seconds}", "-max_len=32768", "-rss_limit_mb=2000", f"-seed_inputs={','.join(seeds)}"]
    ways = {
        "clang": (["-fsanitize=fuzzer,address,undefined"], [*limits, str(corpus)]),
        "gcc": (["-fsanitize=address,undefined", "-DOWN_LOOP"], [str(seconds), *seeds]),
    }
    flags = ["-std=gnu11", "-O1", "-g", "-fno-sanitize-recover=all", "-DMB_WIDE", "-Wall", "-Wextra", "-Werror"]
    folders = [f"-I{folder}" for folder in (include_dir(), include_dir().parent / "src", host)]
    files = [
        str(path)
        for path in (*sources(), *field_sources(), *sorted(host.glob("*.c")), Path(__file__).with_name("fuzz.c"))
    ]
    for compiler, (sanitize, words) in ways.items():
        if shutil.which(compiler) is None:
            continue
        built = subprocess.run(
            [compiler, *flags, *sanitize, *folders, *files, "-o", str(tmp_path / "fuzz")],
            capture_output=True,
            text=True,
        )
        if built.returncode != 0 and re.search(r"cannot find .*(asan|ubsan|fuzzer)|unsupported", built.stderr):
            continue  # a compiler without these libraries
        assert built.returncode == 0, built.stderr
        done = subprocess.run([str(tmp_path / "fuzz"), *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]
        found = re.search(r"fuzz: (\d+) opened, (\d+) refused, (\d+) steps learned, (\d+) damaged", done.stderr)
        assert found is not None and min(map(int, found.groups())) > 20, done.stderr[-4000:]
        print(compiler, found[0])
        return
    pytest.skip("no clang or gcc with AddressSanitizer")
