"""Command `metabit sweep`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from metabit.cli.removed import refusing
from metabit.experiments import show


def command(
    scenario: Annotated[str, Argument(help="As for metabit train.")],
    table: Annotated[Path, Option("-o", "--output", help="A table of JSON lines; a .csv beside it.")] = Path("out/sweep.jsonl"),
    m: Annotated[list[float] | None, Option(help="Metaplasticity; repeat for more values.")] = None,
    width: Annotated[list[int] | None, Option(help="Units of every hidden layer; repeat.")] = None,
    layers: Annotated[int, Option(help="Hidden layers of a --width.", min=1)] = 1,
    seed: Annotated[list[int] | None, Option(help="Equal seeds give equal results; repeat.", min=0)] = None,
    tasks: Annotated[int | None, Option(help="Number of tasks.", min=1)] = None,
    epochs: Annotated[int | None, Option(help="Passes over each task.", min=1)] = None,
    workers: Annotated[int | None, Option(help="Processes at once, by default one a core; 0: this one.", min=0)] = None,
    json: show.Json = False,
) -> None:  # fmt: skip
    """Train one scenario with every combination of settings, in parallel, into one table.

    Combinations whose row is in the table are not run again: repeat the command after a crash, or with more values.

    Example: [bold]metabit sweep rotated-digits --m 0 --m 25 --seed 0 --seed 1 -o out/sweep.jsonl[/]
    """
    from metabit.experiments.sweep import cells, run_cell, sweep, to_csv

    axes: dict[str, list[Any]] = {
        "hidden": [[units] * layers for units in width] if width else [],
        "m": list(m or []),
        "seed": list(seed or [0]),
    }
    fixed = {name: value for name, value in (("tasks", tasks), ("epochs", epochs)) if value is not None}
    axes = {name: values for name, values in axes.items() if values}
    todo = cells(axes, scenario=scenario, **fixed)
    table.parent.mkdir(parents=True, exist_ok=True)
    work = partial(run_cell, folder=str(table.parent.resolve() / f".{table.stem}"))
    with show.bar(f"sweeping {scenario}", len(todo)) as bar:
        rows = sweep(work, todo, table, workers=workers, progress=lambda row: bar.step())
    to_csv(table, table.with_suffix(".csv"))
    if json:
        show.emit(rows)
        return
    show.table(
        f"{table}: {scenario}",
        [*axes, "mean accuracy", "forgetting"],
        [
            (*(_plain(row[name]) for name in axes), *(_share(row, name) for name in ("mean_accuracy", "forgetting")))
            for row in rows
        ],
    )


def _plain(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else f"{value:g}"


def _share(row: dict[str, Any], name: str) -> str:
    if "error" in row:
        return str(row["error"])
    return "" if row[name] is None else show.percent(row[name])


REMOVED = {"--grid-bits": "was removed: train in floats and choose the bits of a level with metabit export --bits"}

app = typer.Typer(rich_markup_mode="rich", add_completion=False)
app.command("sweep", cls=refusing(REMOVED))(command)
