"""Wait states and cache of code in flash, for a board whose file has them: extra cycles by hand, and never another instruction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from probes import compile_probe
from test_board import GOOD

from metabit.firmware_sim import BoardError, Device, load_board, measure
from metabit.firmware_sim.board import Waits

BOARD = load_board("nrf52840")
LOOP = 0


def cycles(elf: Path, waits: Waits | None, x: np.ndarray) -> list[int]:
    with Device(elf, replace(BOARD, waits=waits)) as device:
        replies = device.predict_many(x)
    return [int(n) for n in replies.cycles]


def test_a_loop_waits_for_its_lines(tmp_path: Path) -> None:
    """n rounds of subs and bne, one aligned word, then bl, the next word (counted.S)."""
    elf = compile_probe(BOARD, "probe.c", "counted.S")
    x = np.array([[LOOP, 10], [LOOP, 10], [LOOP, 3]], np.uint8)
    first, second, third = cycles(elf, None, x)
    assert cycles(elf, Waits(3, 4), x) == [first + 3 * 11, second + 3 * 11, third + 3 * 4]
    assert cycles(elf, Waits(2, 4, 1, 1), x) == [first + 2 * 2, second + 2 * 2, third + 2 * 2]
    assert cycles(elf, Waits(2, 4, 1024, 2), x)[1:] == [second, third]  # it all fits: only the first round waits
    assert cycles(elf, Waits(2, 4, 1024, 2), x)[0] == first + 2 * 2


def test_reports_name_it_and_instructions_stay_exact(image: Path) -> None:
    x = np.random.default_rng(5).integers(0, 256, (3, 15)).astype(np.uint8)
    zero, slow = (
        measure(image, replace(BOARD, waits=waits), x, layers=False) for waits in (None, Waits(2, 16, 128, 2))
    )
    assert slow.predict.insns_mean == zero.predict.insns_mean and slow.boot.insns_max == zero.boot.insns_max
    assert slow.predict.cycles_mean > zero.predict.cycles_mean and slow.boot.cycles_max > zero.boot.cycles_max
    assert zero.model.endswith("zero-wait memory")
    assert slow.model.endswith("±10 %, code in flash waits 2 (cache 128 × 16 bytes), data zero-wait")


WAITS = "\n[flash.waits]\ncycles = 2\nline = 16\nlines = 128\nways = 2\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cycles = 2", "", r"mine.toml.flash.waits: field 'cycles' is missing"),
        ("cycles = 2", "cycles = 0", "cycles = 0 must be at least 1"),
        ("line = 16", "line = 12", "line = 12 must be a power of two"),
        ("lines = 128", "lines = 96", "lines = 96 must be ways = 2 times a power of two"),
        ("ways = 2", "ways = 3", "lines = 128 must be ways = 3 times a power of two"),
        ("ways = 2", "data_lines = 2", "unknown field 'data_lines'"),
    ],
)
def test_a_table_that_is_wrong_says_where(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(GOOD + WAITS)
    assert load_board(file).waits == Waits(2, 16, 128, 2)
    file.write_text(GOOD + WAITS.replace(old, new))
    with pytest.raises(BoardError, match=message):
        load_board(file)
