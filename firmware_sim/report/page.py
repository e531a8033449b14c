"""report.json for programs, report.html for people: everything measured, with what it was measured by."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metabit.firmware_sim.errors import require
from metabit.firmware_sim.report import charts
from metabit.firmware_sim.report.budgets import Check
from metabit.firmware_sim.report.measure import Measurement

_TEMPLATE = Path(__file__).parent / "report.html.jinja"


@dataclass(frozen=True)
class Deployment:
    """One device that went on learning in the field.

    worlds: names of what it is tested on, e.g. ("at the factory", "in the field"). Accuracies are fractions 0..1 in that order.
    curve: (samples learned, accuracy per world), the first row before learning, the last after.
    visited, moved, flipped: synapses per sample, mean over the stream. synapses: all that can learn.
    levels_before, levels_after: how many synapses stand at each hidden level.
    """

    name: str
    description: str
    worlds: tuple[str, ...]
    curve: Sequence[tuple[int, tuple[float, ...]]]
    visited: float
    moved: float
    flipped: float
    synapses: int
    levels_before: Mapping[int, int]
    levels_after: Mapping[int, int]

    @property
    def before(self) -> tuple[float, ...]:
        return self.curve[0][1]

    @property
    def after(self) -> tuple[float, ...]:
        return self.curve[-1][1]

    @property
    def samples(self) -> int:
        return self.curve[-1][0]


@dataclass(frozen=True)
class Provenance:
    """Enough to make the report again. Nothing of the machine it was made on."""

    command: str
    seed: int
    date: str
    versions: Mapping[str, str]

    @classmethod
    def now(cls, command: str, seed: int, *, compiler: str) -> Provenance:
        """compiler: from `toolchain.compiler_version`."""
        versions = {"metabit": _version("metabit"), "compiler": compiler}
        versions |= {name: _version(name) for name in ("unicorn", "capstone", "numpy")}
        return cls(command, seed, datetime.datetime.now(datetime.timezone.utc).date().isoformat(), versions)


@dataclass(frozen=True)
class Report:
    """What the demo hands over. summary: one paragraph in plain words. notes: what a reader should know before quoting."""

    title: str
    summary: str
    network: str
    deployments: Sequence[Deployment]
    boards: Sequence[Measurement]
    checks: Sequence[Check]
    provenance: Provenance
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def breaches(self) -> list[Check]:
        return [check for check in self.checks if not check.passed]

    def checks_of(self, board: str) -> list[Check]:
        return [check for check in self.checks if check.board == board]


def write_report(report: Report, folder: str | Path) -> tuple[Path, Path]:
    """Write report.json and report.html into a folder; returns their paths."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    data, page = place / "report.json", place / "report.html"
    data.write_text(json.dumps(as_json(report), indent=2) + "\n", encoding="utf-8")
    page.write_text(as_html(report), encoding="utf-8")
    return data, page


def as_json(report: Report) -> dict[str, Any]:
    """The whole report as JSON values; `passed` is added to every budget check."""
    data = dataclasses.asdict(report)
    for entry, check in zip(data["checks"], report.checks, strict=True):
        entry["passed"] = check.passed
    data["passed"] = not report.breaches
    return data


def as_html(report: Report) -> str:
    """One self-contained page: no script, no external file."""
    jinja2 = require("jinja2")
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"kib": _kib, "percent": _percent, "points": _points, "ms": _ms, "thousands": _thousands}
    page: str = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(report=report, charts=charts)
    return page


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "from a source tree"


def _kib(size: float) -> str:
    return f"{size / 1024:,.1f} KiB" if size < 1 << 20 else f"{size / (1 << 20):,.2f} MiB"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}".replace("-", "−")


def _ms(time: float) -> str:
    return f"{time:.2f} ms" if time < 10 else f"{time:.1f} ms"


def _thousands(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:,.1f}"
