"""Builds that leave parts out (metabit.h, "Build"): the rest is the same library, and an image that needs more is refused."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from compilers import shared

from metabit.export import read_image
from metabit.runtime import Model, include_dir, left_out, sources
from metabit.runtime.inputs import Inputs

VECTORS = sorted((Path(__file__).parents[1] / "vectors").glob("*.mbit"))
PARTS = (
    "MB_WITHOUT_CONV",
    "MB_WITHOUT_BYTES",
    "MB_WITHOUT_GRADED",
    "MB_WITHOUT_GATES",
    "MB_WITHOUT_VISITS",
    "MB_WITHOUT_TERNARY",
    "MB_WITHOUT_DENSE",
    "MB_WITHOUT_LEVELS",
    "MB_WITHOUT_HEAD",
    "MB_WITHOUT_ROWS",
    "MB_WITHOUT_TRIPLES",
)
OF_GATES = PARTS[7:]
BUILDS = [(part,) for part in PARTS]
REFUSED = set(PARTS) - {"MB_WITHOUT_VISITS"}  # layers that learn by visits still predict
MOST = (*PARTS[:6], *OF_GATES)  # MB_WITHOUT_GATES and MB_WITHOUT_DENSE together leave no layer
BUILDS += [
    MOST,
    ("MB_WITHOUT_LEARN",),
    (*MOST, "MB_WITHOUT_LEARN"),
    ("MB_WITHOUT_CHECKS",),
    ("MB_WITHOUT_CHECKS", "MB_WITHOUT_LEARN"),
    ("MB_WITHOUT_DENSE", "MB_WITHOUT_LEVELS", "MB_WITHOUT_ROWS", "MB_WITHOUT_TRIPLES"),
]
ABSENT, FROZEN = -29, -24


@pytest.fixture(scope="module", params=BUILDS, ids=" ".join)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], ctypes.CDLL]:
    """-O0: what is left out must not be missed by code that only an optimiser would drop."""
    target = tmp_path_factory.mktemp("parts") / "metabit.so"
    macros = (f"-D{name}" for name in request.param)
    options = ("-O0", "-Wl,--no-undefined", *macros, f"-I{include_dir()}")
    return set(request.param), shared(target, *sources(), options=options)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_an_image_is_refused_or_predicts_the_same(library: tuple[set[str], ctypes.CDLL], path: Path) -> None:
    without, c = library
    image = path.read_bytes()
    needed = set(PARTS) - set(left_out(image, "infer" if "MB_WITHOUT_LEARN" in without else "learn"))
    blob = (ctypes.c_uint32 * (len(image) // 4)).from_buffer_copy(image)
    model = (ctypes.c_uint64 * 16)()
    status = c.mb_open(model, blob, ctypes.c_size_t(len(image)))
    still = "MB_WITHOUT_VISITS" in needed & without
    if needed & without & REFUSED - ({"MB_WITHOUT_TERNARY"} if still else set()):
        assert status == ABSENT
        return
    assert status == 0
    c.mb_arena_size.restype = ctypes.c_size_t
    mode = 0 if "MB_WITHOUT_LEARN" in without else 1
    frozen, host = read_image(image), Model(image)
    arena = (ctypes.c_uint32 * (c.mb_arena_size(model, mode) // 4))()
    state = (ctypes.c_uint32 * (host.state_size // 4))()
    sizes = ctypes.c_size_t(ctypes.sizeof(state)), ctypes.c_size_t(ctypes.sizeof(arena))
    assert c.mb_attach(model, state, sizes[0], arena, sizes[1]) == 0
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (20, host.input_size)).astype(np.uint8)
    y = rng.integers(0, host.classes, 20)
    given = Inputs.of(image).device(x)
    label = ctypes.c_uint16()
    for sample, device, right in zip(x, given, y, strict=True):
        assert c.mb_predict(model, device.ctypes.data_as(ctypes.c_void_p), None, ctypes.byref(label)) == 0
        assert label.value == host.predict_one(sample)
        if mode and still:
            assert (
                c.mb_learn(model, device.ctypes.data_as(ctypes.c_void_p), ctypes.c_uint16(int(right)), None) == FROZEN
            )
        elif mode and any(layer.learns for layer in frozen.layers):
            host.learn_one(sample, int(right))
            assert c.mb_learn(model, device.ctypes.data_as(ctypes.c_void_p), ctypes.c_uint16(int(right)), None) == 0
            assert bytes(state) == host.state()


def test_without_checks_checksums_are_still_compared(library: tuple[set[str], ctypes.CDLL]) -> None:
    image = bytearray(VECTORS[0].read_bytes())
    image[len(image) - 8] ^= 1
    blob = (ctypes.c_uint32 * (len(image) // 4)).from_buffer_copy(image)
    assert library[1].mb_open((ctypes.c_uint64 * 16)(), blob, ctypes.c_size_t(len(image))) == -8


def test_a_build_without_learning_has_no_such_function(library: tuple[set[str], ctypes.CDLL]) -> None:
    assert hasattr(library[1], "mb_learn") == ("MB_WITHOUT_LEARN" not in library[0])


def test_what_an_image_can_do_without() -> None:
    by_name = {path.stem: path.read_bytes() for path in VECTORS}
    assert left_out(by_name["all-4bit"]) == (*PARTS[:4], PARTS[5], *OF_GATES)
    assert left_out(by_name["all-4bit"], "infer") == ("MB_WITHOUT_LEARN", *PARTS[:6], *OF_GATES)
    assert left_out(by_name["votes-3bit"]) == (*PARTS[:2], *PARTS[3:6], *OF_GATES)
    assert left_out(by_name["conv-uint8"]) == (*PARTS[2:4], PARTS[5], *OF_GATES)
    assert left_out(by_name["ternary-4bit"]) == (*PARTS[:4], *OF_GATES)
    gates = (*PARTS[:3], *PARTS[4:7])
    for name, own in (("gates-head", "HEAD"), ("gates-levels", "LEVELS")):
        assert left_out(by_name[name]) == (*gates, *(part for part in OF_GATES if not part.endswith(own)))
    assert left_out(by_name["fresh-head"]) == (*gates, "MB_WITHOUT_LEVELS", "MB_WITHOUT_ROWS")
    assert left_out(by_name["gates-head-rows"]) == (*gates, "MB_WITHOUT_LEVELS", "MB_WITHOUT_TRIPLES")
    still = by_name["gates-none"]
    assert left_out(still) == ("MB_WITHOUT_LEARN", *gates, *(part for part in OF_GATES if not part.endswith("LEVELS")))
