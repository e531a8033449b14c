import dataclasses
from pathlib import Path

import pytest
import sample_report

from metabit.firmware_sim import BoardError, breaches, check, load_board, load_budgets
from metabit.firmware_sim.board import boards


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
        ("[emulator]\ninstructions_per_call = 1\n[default]\nstack_bytes = 8\nlearn_ms = -1\n", "must not be negative"),
    ],
)
def test_a_budget_file_that_is_wrong_says_where(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(BoardError, match=message):
        load_budgets(file)
