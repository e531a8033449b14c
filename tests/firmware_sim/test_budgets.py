import dataclasses
from pathlib import Path

import pytest
import sample_report

from metabit.firmware_sim import BoardError, breaches, build, check, load_board, load_budgets
from metabit.firmware_sim.board import boards
from metabit.firmware_sim.build.elf import Program

VALID = "[emulator]\ninstructions_per_call = 1\n[default]\nstack_bytes = 8\n"


def test_every_board_has_a_budget_that_fits_it() -> None:
    budgets = load_budgets()
    for name in boards():
        board, budget = load_board(name), budgets.of(name)
        assert budget.ram_bytes is not None and budget.stack_bytes < budget.ram_bytes <= board.ram.size
        assert budget.flash_bytes is not None and budget.flash_bytes <= board.flash.usable
    assert budgets.of("somebody else's").ram_bytes is None


def test_a_breach_names_the_budget_the_value_and_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "tight.toml"
    file.write_text(
        "[emulator]\ninstructions_per_call = 1_000\n[default]\nstack_bytes = 512\n"
        "[nrf52840]\nstack_bytes = 736\nram_bytes = 95_271\nlearn_ms = 3.25\n"
    )
    checks = check(sample_report.measurement(), load_budgets(file))
    assert [c.budget for c in checks] == ["ram_bytes", "stack_bytes", "learn_ms"]
    assert [str(c) for c in breaches(checks)] == [
        "nrf52840: ram_bytes = 95,272 exceeds the budget of 95,271 bytes",
        "nrf52840: learn_ms = 3.3 exceeds the budget of 3.25 ms",
    ]


def test_what_was_not_measured_is_not_checked() -> None:
    measurement = dataclasses.replace(sample_report.measurement(), learn=None)
    assert "learn_ms" not in [c.budget for c in check(measurement)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[emulator]\ninstructions_per_call = 1\n", "table 'default' is missing"),
        ("[default]\nstack_bytes = 512\n", "field 'emulator' is missing"),
        ("[emulator]\ninstructions_per_call = 1\n[default]\n", "field 'stack_bytes' is missing"),
        (
            "[emulator]\ninstructions_per_call = 1\n[default]\nstack_bytes = 8\nlearn_us = 1\n",
            "unknown field 'learn_us'",
        ),
        (VALID + "learn_ms = -1\n", "learn_ms = -1 must be at least 0"),
        (VALID + "learn_ms = nan\n", "learn_ms = nan must be a finite number"),
        (VALID + "learn_ms = inf\n", "learn_ms = inf must be a finite number"),
        (VALID + f"learn_ms = {2**70}\n", "must be at most 4,294,967,296"),
        (VALID + "learn_ms = 1e300\n", "must be at most 4,294,967,296"),
        (VALID + f"flash_bytes = {2**70}\n", "flash_bytes = 1.18059e\\+21 must be at most 4,294,967,296"),
        (VALID.replace("= 8", f"= {2**70}"), "stack_bytes = 1.18059e\\+21 must be at most"),
        (VALID.replace("= 1\n", f"= {2**70}\n"), "instructions_per_call = 1.18059e\\+21 must be at most"),
    ],
)
def test_a_budget_file_that_is_wrong_says_where(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(BoardError, match=message):
        load_budgets(file)


def test_a_stack_larger_than_the_ram_is_refused_before_anything_is_compiled(image: Path) -> None:
    board = load_board("rp2040")
    with pytest.raises(
        BoardError, match=r"a stack of 270,337 bytes is more than the 270,336 bytes of RAM of board rp2040: lower"
    ):
        build(image, board, stack_size=board.ram.size + 1)


def test_the_firmware_reserves_the_stack_of_the_budget(image: Path) -> None:
    assert Program.read(build(image, load_board("rp2040"), stack_size=1536)).sizes.stack == 1536
