"""Budgets: what a firmware may cost, and the sentence that says it costs more."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from metabit.firmware_sim.errors import BoardError
from metabit.firmware_sim.toml_files import Table, read_table

if TYPE_CHECKING:
    from metabit.firmware_sim.report.measure import Measurement

_FILE = Path(__file__).parent / "budgets.toml"


@dataclass(frozen=True)
class Budget:
    """Limits for one board, in bytes and milliseconds, for the worst sample. None = none but the board's own memory."""

    stack_bytes: int
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    boot_ms: float | None = None
    predict_ms: float | None = None
    learn_ms: float | None = None


@dataclass(frozen=True)
class Budgets:
    """A budget file. instructions_per_call: when the emulator stops believing that a call will end."""

    instructions_per_call: int
    boards: dict[str, Budget]
    source: str

    def of(self, board: str) -> Budget:
        return self.boards.get(board, self.boards["default"])


@dataclass(frozen=True)
class Check:
    """One budget held against one measured value."""

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
    """The room's own limits, or a file of yours in the same form."""
    table = read_table(path or _FILE)
    boards = {name: _budget(table.table(name)) for name in table if name != "emulator"}
    if "default" not in boards:
        raise BoardError(f"{table.place}: table 'default' is missing: boards without a table of their own use it")
    emulator = table.table("emulator")
    emulator.only(("instructions_per_call",))
    return Budgets(emulator.integer("instructions_per_call", least=1), boards, table.place)


def check(measurement: Measurement, budgets: Budgets | None = None) -> list[Check]:
    """Every limit that exists for the measured board, held against its value."""
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


def breaches(checks: list[Check]) -> list[Check]:
    """The ones to fail on."""
    return [c for c in checks if not c.passed]


def _budget(table: Table) -> Budget:
    table.only(field.name for field in fields(Budget))
    return Budget(
        stack_bytes=table.integer("stack_bytes", least=8),  # no default: the firmware reserves exactly this much
        flash_bytes=table.integer("flash_bytes") if "flash_bytes" in table else None,
        ram_bytes=table.integer("ram_bytes") if "ram_bytes" in table else None,
        boot_ms=table.number("boot_ms") if "boot_ms" in table else None,
        predict_ms=table.number("predict_ms") if "predict_ms" in table else None,
        learn_ms=table.number("learn_ms") if "learn_ms" in table else None,
    )
