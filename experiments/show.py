"""Output of the commands: tables for people, JSON for programs, a progress bar, warnings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

out = Console()
err = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Seed = Annotated[
    int, typer.Option(help="Seed of all random numbers. Equal seeds give equal results.", min=0, max=2**32 - 1)
]


def emit(data: Any) -> None:
    """Prints JSON on standard output. A command prints nothing else there."""
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str | None = None) -> None:
    """Prints a table: the first column to the left, the others to the right. Cells are plain text; a Text keeps its style."""
    note = Text(caption, style="dim") if caption else None
    view = Table(title=Text(title), title_justify="left", caption=note, caption_justify="left", header_style="bold")
    for i, name in enumerate(columns):
        view.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        view.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    out.print(view)


def say(text: str) -> None:
    """Prints a line of plain text. It is not wrapped, so that paths can be copied."""
    out.print(text, soft_wrap=True, markup=False, highlight=False)


def warn(text: str) -> None:
    """Prints a line on standard error, in the form of an error."""
    err.print(f"metabit: {text}", soft_wrap=True, markup=False, highlight=False)


class Bar:
    """A progress bar. `step` advances it."""

    def __init__(self, progress: Progress, total: int, text: str) -> None:
        self._progress, self._task = progress, progress.add_task(text, total=total)

    def step(self, by: int = 1, text: str | None = None) -> None:
        self._progress.update(self._task, advance=by, description=text)


@contextmanager
def bar(text: str, total: int) -> Iterator[Bar]:
    """Shows a progress bar on standard error while the block runs. It shows nothing if standard error is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        yield Bar(progress, total, text)


def percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def size(count: float) -> str:
    return f"{count / 1024:,.1f} KiB"


def command_line() -> str:
    """The command line as the user typed it, without the path of the program."""
    return " ".join(["metabit", *sys.argv[1:]])
