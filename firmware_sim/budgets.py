"""Budgets: limits on memory and time for each board, and the comparison of a measurement with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabit.firmware_sim.toml_files import Table, read_table

if TYPE_CHECKING:
    from metabit.firmware_sim.report.measure import Measurement

_FILE = Path(__file__).parent / "budgets.toml"
_MOST_INSTRUCTIONS = 1 << 53
"""Far from an overflow of the emulator's 64-bit counters."""


@dataclass(frozen=True)
class Budget:
    """Limits of one board in bytes and milliseconds; times are those of the worst call.

    stack_bytes: also the stack that the firmware reserves. None: no limit but the memory of the board.
    """

    stack_bytes: int
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    boot_ms: float | None = None
    predict_ms: float | None = None
    learn_ms: float | None = None


@dataclass(frozen=True)
class Budgets:
    """A budget file. instructions_per_call: after so many the emulator stops a call as an endless loop."""

    instructions_per_call: int
    boards: dict[str, Budget]

    def of(self, board: str) -> Budget:
        """Return the budget of a board by its name, or the default one."""
        return self.boards.get(board, self.boards["default"])


@dataclass(frozen=True)
class Check:
    """A limit and the value measured for it."""

    board: str
    budget: str
    value: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.value <= self.limit

    @property
    def unit(self) -> str:
        return self.budget.rpartition("_")[2]

    def __str__(self) -> str:
        verdict = "is within" if self.passed else "exceeds"
        return f"{self.board}: {self.budget} = {self.value:,.6g} {verdict} the budget of {self.limit:,.6g} {self.unit}"


def load_budgets(path: Path | None = None) -> Budgets:
    """Read a budget file, by default budgets.toml of this package. Raises BoardError."""
    table = read_table(path or _FILE)
    boards = {name: _budget(table.table(name)) for name in table if name != "emulator"}
    if "default" not in boards:
        table.refuse("table 'default' is missing: boards without a table of their own use it")
    emulator = table.table("emulator")
    emulator.only(("instructions_per_call",))
    return Budgets(emulator.integer("instructions_per_call", least=1, most=_MOST_INSTRUCTIONS), boards)


def check(measurement: Measurement, budgets: Budgets | None = None) -> list[Check]:
    """Compare every limit of the measured board with its value. A call that was not measured is not checked."""
    budget = (budgets or load_budgets()).of(measurement.board)
    values = {
        "flash_bytes": measurement.flash.total,
        "ram_bytes": measurement.ram.total,
        "stack_bytes": measurement.stack_high_water,
        "boot_ms": measurement.boot.ms_max,
        "predict_ms": measurement.predict.ms_max,
        "learn_ms": measurement.learn.ms_max if measurement.learn else None,
    }
    limits = {name: getattr(budget, name) for name in values}
    return [
        Check(measurement.board, name, value, limits[name])
        for name, value in values.items()
        if value is not None and limits[name] is not None
    ]


def breaches(checks: Sequence[Check]) -> list[Check]:
    """Return the checks that failed."""
    return [c for c in checks if not c.passed]


def _budget(table: Table) -> Budget:
    names = [field.name for field in fields(Budget)]
    table.only(names)
    limits: dict[str, Any] = {
        name: table.number(name) if name.endswith("_ms") else table.integer(name) for name in names[1:] if name in table
    }
    return Budget(table.integer("stack_bytes", least=8), **limits)
