"""The skeleton that all benchmarks share: cells to measure, rows that are kept, pages and pictures made from the rows.

A *cell* is a JSON object that decides one measurement: its experiment, variant and seed, and whatever else must be equal for two
measurements to mean the same. A *row* is one line of ``results/{benchmark}.jsonl``: the cell, the figures measured, and where and
when. A cell that has a row is not measured again, so a benchmark may be stopped at any time. A benchmark is then a file with its
cells, the function that measures one cell, and the tables of its pages.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from metabit.data.rows import read_rows, write_whole
from metabit.experiments.plots import final_accuracy
from metabit.experiments.sweep import finished, provenance, sweep
from metabit.train.errors import TrainError

__all__ = [
    "Benchmark", "Cell", "Draw", "Row", "bars", "main", "markdown", "means", "page", "places", "provenance", "seeds", "spread",
    "write_pages",
]  # fmt: skip

Cell = dict[str, Any]
Row = dict[str, Any]
"""A cell and its figures in one dict, as `Benchmark.done` gives it."""
Draw = Callable[[Path], None]


@dataclass(frozen=True)
class Benchmark:
    """A family of experiments with one table of rows.

    Args:
        file: ``__file__`` of benchmarks/{name}.py; its rows are in results/{name}.jsonl beside that folder.
        titles: experiment -> title, in the order of the pages.
        cells: experiment -> {variant: cells}; no two cells of an experiment are alike.
        pages: path below the repository -> text, made from the rows alone.
        measure: cell -> figures, JSON-ready. It runs in a worker process with ``--workers``.
        together: in place of ``measure``: cells of one experiment -> the figures of each, measured in turns so that they compare.
        here: False for a cell that this machine cannot measure, such as one for a compiler that is not installed.
        pictures: path below the repository -> function that draws to a path.
        validate: (experiment, variant, changes) -> figures, at a seed of its own on training samples held out: how settings are
            chosen.
    """

    file: str
    titles: Mapping[str, str]
    cells: Callable[[str], Mapping[str, Sequence[Cell]]]
    pages: Callable[[], Mapping[str, str]]
    measure: Callable[[Cell], Mapping[str, Any]] | None = None
    together: Callable[[Sequence[Cell]], Sequence[Mapping[str, Any]]] | None = None
    here: Callable[[Cell], bool] = lambda cell: True
    pictures: Callable[[], Mapping[str, Draw]] = dict
    validate: Callable[[str, str, Cell], Mapping[str, Any]] | None = None

    @property
    def name(self) -> str:
        return Path(self.file).stem

    @property
    def root(self) -> Path:
        """The repository."""
        return Path(self.file).resolve().parents[1]

    @property
    def table(self) -> Path:
        return self.root / "results" / f"{self.name}.jsonl"

    def done(self, experiment: str) -> dict[str, list[Row]]:
        """Variant -> its rows in the order of its cells; a variant without one is left out.

        Raises:
            TrainError: the table has a row without a cell.
        """
        variants = self.cells(experiment)
        found = iter(finished(self.table, [cell for cells in variants.values() for cell in cells]))
        rows = {name: [row for row in [next(found) for _ in cells] if row] for name, cells in variants.items()}
        return {name: some for name, some in rows.items() if some}

    def rows(self, experiment: str) -> list[Row]:
        """All rows of an experiment, variant by variant."""
        return [row for rows in self.done(experiment).values() for row in rows]

    def sections(self, page: str, text: str, table: Callable[[str], str]) -> dict[str, str]:
        """A page by its path: the text and the table of each experiment that has rows."""
        return {page: "\n".join([text, *(table(name) for name in self.titles if self.rows(name))])}

    def command(self, experiment: str = "") -> str:
        """The command that measures an experiment, or any of them, as a page quotes it."""
        return f"`METABIT_DATA_DIR=... python benchmarks/{self.name}.py{' ' * bool(experiment)}{experiment}`"

    def raw(self, page: str) -> str:
        """Link from a page, a path below the repository, to the rows."""
        return f"Raw: [results/{self.table.name}]({'../' * page.count('/')}results/{self.table.name})."


def main(benchmark: Benchmark, arguments: Sequence[str] | None = None) -> None:
    """The command line of a benchmark: list its experiments, or measure what is missing of some and write the pages.

    Raises:
        SystemExit: an unknown experiment, or options that exclude each other; the message names them.
        TrainError: a cell could not be measured, or its row not be written.
    """
    parser = argparse.ArgumentParser(
        prog=f"{benchmark.name}.py",
        description="Without a name: lists the experiments and how many of their rows are there.",
    )
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join([*benchmark.titles, "all"]))
    parser.add_argument("--only", default="", metavar="TEXT", help="only variants whose name contains it")
    parser.add_argument("--seeds", type=int, metavar="N", help="only the first N cells of each variant")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes at once; 0: this one")
    parser.add_argument("--again", action="store_true", help="measure anew what has rows; they are replaced at the end")
    parser.add_argument("--print", action="store_true", help="measure, print the rows and keep nothing")
    parser.add_argument("--validate", metavar="JSON", help="try changed settings on training samples held out")
    asked = parser.parse_args(arguments)
    names = list(benchmark.titles) if asked.names == ["all"] else asked.names
    for name in names:
        if name not in benchmark.titles:
            parser.error(f"unknown experiment {name!r}: choose from {', '.join([*benchmark.titles, 'all'])}")
    if asked.validate is not None and benchmark.validate is None:
        parser.error(f"--validate: {benchmark.name} has no settings to choose")
    if not names:
        for name, title in benchmark.titles.items():
            cells = sum(len(cells) for cells in benchmark.cells(name).values())
            print(f"{name:20} {len(benchmark.rows(name)):3} of {cells:3} rows  {title}")
    for name in names:
        variants = {v: cells[: asked.seeds] for v, cells in benchmark.cells(name).items() if asked.only in v}
        if asked.validate is not None:
            assert benchmark.validate is not None
            for variant in variants:
                _told({"variant": variant, **benchmark.validate(name, variant, json.loads(asked.validate))})
        elif asked.print:
            with tempfile.TemporaryDirectory() as folder:
                _measure(benchmark, variants, Path(folder) / "table.jsonl", asked.workers)
        elif asked.again:
            again = benchmark.root / "build" / "results" / benchmark.table.name
            again.parent.mkdir(parents=True, exist_ok=True)
            _measure(benchmark, variants, again, asked.workers)
            _replace(benchmark.table, again)
        else:
            _measure(benchmark, variants, benchmark.table, asked.workers)
    if names and asked.validate is None and not asked.print:
        for path in write_pages(benchmark):
            print(path)


def _measure(benchmark: Benchmark, variants: Mapping[str, Sequence[Cell]], table: Path, workers: int) -> None:
    """Measure the cells that the table has no row of: all variants of a seed before the next seed."""
    cells = [cell for some in zip_longest(*variants.values()) for cell in some if cell is not None]
    able = [cell for cell in cells if benchmark.here(cell)]
    if len(able) < len(cells):
        unable = [cell for cell in cells if not benchmark.here(cell)]
        print(f"{len(unable)} cells cannot be measured on this machine, the first is {unable[0]}")
    if benchmark.together is None:
        assert benchmark.measure is not None
        rows = sweep(benchmark.measure, able, table, workers=workers, progress=_told)
        if failed := [row for row in rows if "error" in row]:
            raise TrainError(
                f"{len(failed)} of {len(rows)} cells failed, the first is {failed[0]}: correct it and run again"
            )
    elif None in finished(table, able):
        # Figures that were taken in turns compare with each other only: old ones make room for all.
        kept = [row for row in read_rows(table) if row["cell"] not in able]
        new = [{"cell": cell, **figures} for cell, figures in zip(able, benchmark.together(able), strict=True)]
        _write(table, [*kept, *new])
        for row in new:
            _told(row)


def _replace(table: Path, again: Path) -> None:
    """The rows of `again` take the place of the table's rows of the same cells; `again` is removed."""
    new = {json.dumps(row["cell"], sort_keys=True): row for row in read_rows(again)}
    rows = [new.pop(json.dumps(row["cell"], sort_keys=True), row) for row in read_rows(table)]
    _write(table, [*rows, *new.values()])
    again.unlink(missing_ok=True)


def _write(table: Path, rows: Sequence[Row]) -> None:
    write_whole(table, "".join(json.dumps(row, sort_keys=True, allow_nan=False) + "\n" for row in rows))


def _told(row: Mapping[str, Any]) -> None:
    """Print what of a row fits a line."""
    short = {k: v for k, v in row.items() if isinstance(v, str | int | float) or len(str(v)) < 60}
    print(" ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in short.items()))


def write_pages(benchmark: Benchmark) -> list[Path]:
    """Write every page that the rows make. Returns their paths."""
    written = []
    for path, text in benchmark.pages().items():
        written.append(benchmark.root / path)
        written[-1].parent.mkdir(parents=True, exist_ok=True)
        write_whole(written[-1], text)
    return written


# Parts of pages and pictures


def page(title: str, about: str, table: Sequence[str], notes: Sequence[str] = (), level: int = 1) -> str:
    """Markdown of a page: a title, a paragraph, a table by its lines, and notes as a list. level: 2 for a section of a page."""
    lines = [f"{'#' * level} {title}", "", about, "", *table, "", *(f"* {note}" for note in notes)]
    return "\n".join(lines).rstrip() + "\n"


def bars(benchmark: Benchmark, figure: str, names: Mapping[str, Sequence[str]] | None = None) -> dict[str, Draw]:
    """A picture for each experiment that has rows, by its path under build/pictures: one figure of each row, by variant.

    Args:
        figure: key of an accuracy for each task, 0..1, in the rows.
        names: experiment -> names of the tasks; None: task 1, task 2, ...
    """
    found: dict[str, Draw] = {}
    for experiment, title in benchmark.titles.items():
        runs = {variant: [row[figure] for row in rows] for variant, rows in benchmark.done(experiment).items()}
        draw = partial(final_accuracy, runs=runs, title=title, names=names[experiment] if names else None)
        found |= {f"build/pictures/{benchmark.name}/{experiment}.svg": draw} if runs else {}
    return found


def means(rows: Sequence[Row], *names: str) -> list[float]:
    """Mean of each figure over the rows."""
    return [float(np.mean([row[name] for row in rows])) for name in names]


def seeds(rows: Sequence[Row]) -> str:
    return ", ".join(str(row["seed"]) for row in rows)


def places(rows: Sequence[Row]) -> str:
    """Machines, torch versions and days of the rows, in words."""
    torch = [f", torch {row['torch']}" if "torch" in row else "" for row in rows]
    return "; ".join(sorted({f"{row['machine']}{t}, {row['date']}" for row, t in zip(rows, torch, strict=True)}))


def spread(values: Sequence[float], digits: int = 1, scale: float = 100.0) -> str:
    """Mean ± standard deviation over the seeds, of one value the mean alone; per cent of shares unless scale says otherwise."""
    a = scale * np.array(values, dtype=np.float64)
    return f"{a.mean():.{digits}f}" + (f" ± {a.std(ddof=1):.{digits}f}" if len(a) > 1 else "")


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table. A ``|`` in a cell is escaped.

    Raises:
        ValueError: a row has another length than the head.
    """
    if wrong := [row for row in rows if len(row) != len(head)]:
        raise ValueError(f"a row of {len(wrong[0])} cells in a table of {len(head)} columns: {list(wrong[0])}")
    lines = [head, ["---"] * len(head), *rows]
    escaped = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return ["|" + "|".join(c if i == 1 else f" {c} " for c in line) + "|" for i, line in enumerate(escaped)]
