"""Output of the commands: tables for people, JSON for programs, a progress bar, warnings."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Annotated, Any

import typer
from rich.cells import cell_len
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
    """Print a table: the first column to the left, the others to the right. Cells hold no markup; a Text keeps its style.

    No word is cut: on a terminal too narrow for the longest words, every row becomes a list of "column: value".
    """
    cells = [[cell if isinstance(cell, Text) else Text(str(cell)) for cell in row] for row in rows]
    note = Text(caption, style="dim") if caption else None
    widths = _widths(columns, cells, out.width)
    if widths is None:
        out.print(Text(title, style="italic"))
        for first, *rest in cells:
            out.print(Text.assemble((f"{columns[0]}: " if columns[0] else "", "bold"), first))
            for name, cell in zip(columns[1:], rest, strict=True):
                if cell.plain:
                    out.print(Text.assemble(f"  {name}: " if name else "  ", cell))
        out.print(note or "")
        return
    view = Table(title=Text(title), title_justify="left", caption=note, caption_justify="left", header_style="bold")
    for i, (name, width) in enumerate(zip(columns, widths, strict=True)):
        view.add_column(name, justify="left" if i == 0 else "right", width=width)
    for row in cells:
        view.add_row(*row)
    out.print(view)


def _widths(columns: Sequence[str], cells: Sequence[Sequence[Text]], available: int) -> list[int] | None:
    """Return column widths that fit into `available` and cut no word, None if there are none."""
    texts = [[name, *(row[i].plain for row in cells)] for i, name in enumerate(columns)]
    words = re.compile(r"^\s*\S+|\S+")  # an indent stays with its word
    least = [max(cell_len(word) for text in column for word in [*words.findall(text), ""]) for column in texts]
    widths = [max(cell_len(text) for text in column) for column in texts]
    room = available - 3 * len(columns) - 1
    if sum(least) > room:
        return None
    while sum(widths) > room:
        widest = max(range(len(widths)), key=lambda i: (widths[i] > least[i], widths[i]))
        widths[widest] -= 1
    return widths


def say(text: str) -> None:
    """Prints a line of plain text. It is not wrapped, so that paths can be copied."""
    out.print(text, soft_wrap=True, markup=False, highlight=False)


def warn(text: str) -> None:
    """Prints a line on standard error, in the form of an error."""
    err.print(f"metabit: {text}", soft_wrap=True, markup=False, highlight=False)


class Bar:
    """A progress bar. `step` advances it, and shows it once the block has run for `after` seconds."""

    def __init__(self, progress: Progress, total: int, text: str, after: float) -> None:
        self._progress, self._task = progress, progress.add_task(text, total=total)
        self._from, self.shown = monotonic() + after, after == 0
        if self.shown:
            progress.start()

    def step(self, by: int = 1, text: str | None = None) -> None:
        self._progress.update(self._task, advance=by, description=text)
        if not self.shown and monotonic() >= self._from:
            self.shown = True
            self._progress.start()

    def stop(self) -> None:
        if self.shown:
            self._progress.stop()


@contextmanager
def bar(text: str, total: int, after: float = 0.0) -> Iterator[Bar]:
    """Shows a progress bar on standard error while the block runs. It shows nothing if standard error is no terminal.

    after: seconds of the block without a bar, so that a short one shows none.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = Bar(Progress(*columns, console=err, transient=True, disable=not err.is_terminal), total, text, after)
    try:
        yield shown
    finally:
        shown.stop()


def percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def size(count: float) -> str:
    return f"{count / 1024:,.1f} KiB"


def command_line() -> str:
    """The command line as the user typed it, without the path of the program."""
    return " ".join(["metabit", *sys.argv[1:]])
