"""The computed cost of saves is what the C store programs."""

from __future__ import annotations

import ctypes
from pathlib import Path

import command_line
import numpy as np
import pytest
from compilers import shared

from metabit.runtime import Model, field_sources, include_dir, sources
from metabit.runtime.flash_life import Cost, Store

VECTORS = Path(__file__).parents[1] / "vectors"
READ = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32)
ERASE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32)


class Driver(ctypes.Structure):
    _fields_ = [
        ("context", ctypes.c_void_p), ("read", READ), ("program", READ), ("erase", ERASE),
        ("page_size", ctypes.c_uint32), ("pages", ctypes.c_uint32), ("program_size", ctypes.c_uint32),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    target = tmp_path_factory.mktemp("store") / "metabit.so"
    return shared(target, *sources(), *field_sources(), options=("-O0", f"-I{include_dir()}"))


@pytest.mark.parametrize("name", ["words-visits", "fresh-head", "gates-levels", "hidden-8bit"])
@pytest.mark.parametrize(("page_size", "pages", "unit"), [(256, 61, 8), (4096, 6, 32), (512, 31, 2)])
def test_the_c_programs_what_python_computes(
    library: ctypes.CDLL, name: str, page_size: int, pages: int, unit: int
) -> None:
    image = (VECTORS / f"{name}.mbit").read_bytes()
    model = Model(image)
    store = Store(model.state_size, page_size, pages, unit)
    flash = bytearray(b"\xaa" * (page_size * pages))
    programmed = erased = 0

    def read(_: int, at: int, to: int, count: int) -> int:
        ctypes.memmove(to, bytes(flash[at : at + count]), count)
        return 0

    def program(_: int, at: int, source: int, count: int) -> int:
        nonlocal programmed
        assert at % unit == count % unit == 0 and flash[at : at + count] == b"\xff" * count
        flash[at : at + count] = ctypes.string_at(source, count)
        programmed += count
        return 0

    def erase(_: int, at: int) -> int:
        nonlocal erased
        flash[at : at + page_size] = b"\xff" * page_size
        erased += 1
        return 0

    driver = Driver(None, READ(read), READ(program), ERASE(erase), page_size, pages, unit)
    blob = (ctypes.c_uint32 * (len(image) // 4)).from_buffer_copy(image)
    m, state = (ctypes.c_uint64 * 16)(), (ctypes.c_uint32 * (model.state_size // 4))()
    arena = (ctypes.c_uint32 * (model.arena_size() // 4))()
    sizes = [ctypes.c_size_t(ctypes.sizeof(one)) for one in (blob, state, arena)]
    assert library.mb_open(m, blob, sizes[0]) == 0
    assert library.mb_attach(m, state, sizes[1], arena, sizes[2]) == 0
    assert library.mb_store_size(m, ctypes.byref(driver)) == store.least_pages * page_size
    rng, before, left, expected = np.random.default_rng(0), b"", 0, 0
    for _ in range(25):
        x = rng.integers(0, 256, model.input_size).astype(np.uint8)
        label = ctypes.c_uint16(int(rng.integers(model.classes)))
        assert library.mb_learn(m, x.ctypes.data_as(ctypes.c_void_p), label, None) == 0
        programmed = 0
        assert library.mb_save(m, ctypes.byref(driver)) == 0
        size = store.entry(before, bytes(state)) if before else 0
        expected = size if 0 < size <= left else store.snapshot
        left = left - size if 0 < size <= left else store.slot - store.snapshot
        assert programmed == expected
        before = bytes(state)
    assert erased > 0


def test_life_follows_from_what_fits_a_slot() -> None:
    store = Store(2000, 4096, 12, 8)
    assert (store.snapshot, store.least_pages, store.slot, store.slots) == (2024, 3, 3 * 4096, 4)
    cost = Cost.of(store, [1000, 1056], 10_000)
    assert cost.saves_a_slot == 1 + (3 * 4096 - 2024) // 1028 and cost.saves == 10_000 * 4 * cost.saves_a_slot
    assert Cost.of(store, [], 10).saves_a_slot == 1
    for wrong in ({"pages": 2}, {"program_size": 3}, {"page_size": 16}, {"page_size": 4100}, {"pages": 1 << 19}):
        with pytest.raises(ValueError):
            Store(2000, **wrong)


def test_the_command_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = str(VECTORS / "fresh-head.mbit")
    assert command_line.run("store", image, "--json") == 0
    out = capsys.readouterr().out
    assert '"pages at least": 3' in out and '"saves measured": 0' in out
    assert command_line.run("store", image, "--pages", "2") != 0
    assert command_line.run("store", str(VECTORS / "gates-none.mbit")) != 0
