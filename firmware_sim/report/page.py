"""The report of a simulation: report.json for programs, report.html for people."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metabit.firmware_sim.budgets import Check, breaches
from metabit.firmware_sim.build.cache import write_whole
from metabit.firmware_sim.errors import require
from metabit.firmware_sim.report import charts
from metabit.firmware_sim.report.measure import Measurement

_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:%|ms|KiB|MiB|B|MHz)(?!\w))")
"""The space between a number and its unit, where no line may end."""
_TEMPLATE = Path(__file__).parent / "report.html.jinja"


@dataclass(frozen=True)
class Deployment:
    """A deployment: an image on a device that learnt a stream.

    datasets: names of the datasets it is tested on. Accuracies are fractions 0..1 in the same order.
    curve: (samples learnt, accuracy on each dataset); the first row is before learning, the last after it.
    visited, moved, flipped: synapses per sample, mean over the stream. synapses: number of synapses that learn.
    levels_before, levels_after: number of synapses at each level.
    prequential: (samples learnt, prequential accuracy since the row before), empty if it was not recorded.
    """

    name: str
    description: str
    datasets: tuple[str, ...]
    curve: Sequence[tuple[int, tuple[float, ...]]]
    visited: float
    moved: float
    flipped: float
    synapses: int
    levels_before: Mapping[int, int]
    levels_after: Mapping[int, int]
    prequential: Sequence[tuple[int, float]] = ()

    @property
    def before(self) -> tuple[float, ...]:
        return self.curve[0][1]

    @property
    def after(self) -> tuple[float, ...]:
        return self.curve[-1][1]

    @property
    def samples(self) -> int:
        return self.curve[-1][0]

    @property
    def prequential_curve(self) -> list[tuple[int, tuple[float, ...]]]:
        """`prequential` in the form of `curve`."""
        return [(samples, (share,)) for samples, share in self.prequential]


@dataclass(frozen=True)
class Line:
    """One learner of a comparison.

    state: bytes that it keeps and that learning changes. before, after: accuracy, 0..1, on the test part of each dataset.
    prequential: share of the stream that it predicted correctly before it learnt it, None if that was not recorded.
    """

    name: str
    state: int
    before: tuple[float, ...]
    after: tuple[float, ...]
    prequential: float | None = None


@dataclass(frozen=True)
class Comparison:
    """The model of a report beside rivals that learnt the same stream in the same order.

    datasets: names of the datasets that all were tested on; the first one is the stream. known: names of the datasets that were
    learnt before the stream. lines: the first one is the model. began: what the rivals knew before the stream, in words.
    verdicts: sentences that name what is better. taught: further datasets whose classes the stream taught.
    """

    datasets: tuple[str, ...]
    known: tuple[str, ...]
    lines: Sequence[Line]
    began: str
    verdicts: Sequence[str] = ()
    taught: tuple[str, ...] = ()

    @property
    def counted(self) -> list[str]:
        """The datasets that somebody learnt: the stream, what else it taught, and what was known before it."""
        return [name for name in self.datasets if name in (self.datasets[0], *self.known, *self.taught)]

    def mean(self, line: Line) -> float:
        """Mean accuracy of a line at the end, 0..1, over `counted`."""
        found = [share for name, share in zip(self.datasets, line.after, strict=True) if name in self.counted]
        return sum(found) / len(found)


@dataclass(frozen=True)
class Chapter:
    """Deployments that belong together, all tested on the same datasets, and rivals that learnt the same streams.

    text: a sentence or more below the title. comparisons: by name of what was compared, "" for the only one.
    """

    title: str
    text: str
    deployments: Sequence[Deployment]
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """The command, seed, date and versions that are needed to make the report again; nothing else about the computer."""

    command: str
    seed: int
    date: str
    versions: Mapping[str, str]

    @classmethod
    def now(cls, command: str, seed: int, *, compiler: str) -> Provenance:
        """Return the provenance of a report made today. compiler: from `toolchain.compiler_version`."""
        versions = {"metabit": _version("metabit"), "compiler": compiler}
        versions |= {name: _version(name) for name in ("unicorn", "capstone", "numpy")}
        return cls(command, seed, datetime.datetime.now(datetime.timezone.utc).date().isoformat(), versions)


@dataclass(frozen=True)
class Report:
    """Content of a report. summary: one paragraph. notes: sentences that a reader must know before quoting a number.

    chapters: what was learnt; empty if nothing was.
    """

    title: str
    summary: str
    network: str
    chapters: Sequence[Chapter]
    boards: Sequence[Measurement]
    checks: Sequence[Check]
    provenance: Provenance
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def breaches(self) -> list[Check]:
        return breaches(self.checks)

    def checks_of(self, board: str) -> list[Check]:
        return [check for check in self.checks if check.board == board]


def write_report(report: Report, folder: str | Path) -> tuple[Path, Path]:
    """Write report.json and report.html into a folder, each in one step, and return their paths. Raises FirmwareError."""
    data, page = Path(folder) / "report.json", Path(folder) / "report.html"
    text, html = json.dumps(as_json(report), indent=2) + "\n", as_html(report)
    write_whole(data, text.encode())
    write_whole(page, html.encode())
    return data, page


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON values, with `passed` for every check and for all of them."""
    data = dataclasses.asdict(report)
    for entry, check in zip(data["checks"], report.checks, strict=True):
        entry["passed"] = check.passed
    data["passed"] = not report.breaches
    return data


def as_html(report: Report) -> str:
    """Return the report as one HTML page without scripts or external files. Raises MissingExtra without jinja2."""
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
    return _BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", page)


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
    return f"{time:.3f} ms" if time < 0.1 else f"{time:.2f} ms" if time < 10 else f"{time:,.1f} ms"


def _thousands(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:,.1f}"
