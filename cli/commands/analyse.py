"""Command `metabit analyse`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from metabit.experiments import show
from metabit.experiments.errors import UsageError

Plot = Annotated[Path | None, typer.Option("--plot", help="Also draw the result into this .svg or .png file.")]
Bins = Annotated[int, typer.Option(help="Bins of hidden magnitude.", min=1)]

HELP = """Repeat the paper's analyses: how much the loss rises when signs of one hidden magnitude are switched.

Example: [bold]metabit analyse switches out/checkpoint.safetensors --data digits[/]
"""
app = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode="rich", add_completion=False)


@app.command()
def switches(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint.safetensors")] = Path("out/checkpoint.safetensors"),
    data: Annotated[str, typer.Option("--data", help="Scenario whose first task's training samples are used.")] = "digits",
    bins: Bins = 15,
    count: Annotated[int | None, typer.Option("--switches", help="Signs switched together; default 0.2 % of each layer.")] = None,
    draws: Annotated[int, typer.Option(help="Repetitions for each bin.", min=1)] = 20,
    samples: Annotated[int, typer.Option(help="Largest number of samples.", min=1)] = 5000,
    seed: show.Seed = 0,
    plot: Plot = None,
    json: show.Json = False,
) -> None:  # fmt: skip
    """Measure the loss increase when signs of synapses of one hidden magnitude are switched.

    Example: [bold]metabit analyse switches out/checkpoint.safetensors --data digits --bins 8[/]
    """
    from metabit.data import load
    from metabit.experiments.analyses import switch_signs
    from metabit.train.checkpoint import load_network

    network = load_network(checkpoint, "metabit analyse switches").to_network()
    task = load(data, seed=seed, warn=show.warn).task(0)
    if task.features != network.spec.features:
        raise UsageError(f"--data {data} has {task.features} features, {checkpoint} takes {network.spec.features}")
    rows = switch_signs(
        network, task.x_train[:samples], task.y_train[:samples], bins=bins, switches=count, draws=draws, seed=seed
    )
    _draw(plot, rows, f"Loss increase of switched signs: {checkpoint.parent.name}")
    if json:
        show.emit(rows)
        return
    show.table(
        f"{checkpoint}: loss increase of one switched sign, nats",
        ["layer", "|W| / largest", "synapses", "increase", "deviation"],
        [
            (row["layer"], f"{row['magnitude']:.2f}", f"{row['synapses']:,}", f"{row['increase']:.2e}", f"{row['deviation']:.1e}")
            for row in rows
        ],
    )  # fmt: skip


@app.command()
def quadratic(
    size: Annotated[int, typer.Option(help="d, synapses.", min=1, max=5000)] = 500,
    steps: Annotated[int, typer.Option(help="Gradient steps.", min=1)] = 1000,
    lr: Annotated[float, typer.Option(help="Step size.")] = 0.01,
    bins: Bins = 15,
    seed: show.Seed = 1,
    plot: Plot = None,
    json: show.Json = False,
) -> None:
    """Measure the loss increase of switched signs on the quadratic binary task, where it can be predicted.

    Example: [bold]metabit analyse quadratic --plot quadratic.svg[/]
    """
    from metabit.experiments.quadratic import Quadratic, switch_rows

    task = Quadratic.random(size, seed)
    trained = task.train(steps, lr)
    rows = switch_rows(task, trained, bins)
    loss, bound = task.loss(trained.signs), task.loss(task.box_optimum())
    _draw(plot, rows, f"Quadratic binary task, d = {size}")
    if json:
        show.emit({"loss": loss, "bound": bound, "rows": rows})
        return
    show.table(
        f"d = {size}, loss {loss:,.0f}; no signs can do better than {bound:,.0f}",
        ["|W| / largest", "synapses", "loss increase of a switch", "deviation", "predicted"],
        [
            (f"{row['magnitude']:.2f}", row["synapses"], *(f"{row[key]:.1f}" for key in ("increase", "deviation", "predicted")))
            for row in rows
        ],
    )  # fmt: skip


def _draw(path: Path | None, rows: list[dict[str, Any]], title: str) -> None:
    if path is not None:
        from metabit.experiments.plots import switch_increase

        switch_increase(path, rows, title)
