"""metabit demo"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metabit.experiments import show
from metabit.experiments.demo_settings import RECIPE


def command(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for all files of the demo.")] = Path("out/demo"),
    seed: show.Seed = 0,
    passes: Annotated[int, typer.Option(help="Passes over the sideways digits.", min=1)] = RECIPE.passes,
    json: show.Json = False,
) -> None:  # fmt: skip
    """Train on upright digits, then let emulated devices learn sideways digits, and compare what they forget.

    Four deployments of one network get the same stream, one sample at a time, on an emulated Cortex-M4F: with metaplasticity,
    without it (m = 0), without it at the visit rate that suits it best, and frozen. Writes report.html, report.json, the
    checkpoint and the exported files into the folder.

    Example: [bold]metabit demo -o out/demo --seed 3[/]
    """
    from metabit.cli import BREACH
    from metabit.cli.costs import show_costs
    from metabit.experiments import demo
    from metabit.firmware_sim import write_report
    from metabit.firmware_sim.report.page import as_json

    report = demo.run(output, seed, passes)
    _, page = write_report(report, output)
    if json:
        show.emit(as_json(report))
    else:
        first = report.deployments[0]
        upright, sideways = first.datasets
        show.table(
            report.title,
            ["device", f"{upright}: before", "after", f"{sideways}: before", "after", "visited", "moved", "flipped"],
            [
                (
                    d.name, show.percent(d.before[0]), show.percent(d.after[0]), show.percent(d.before[1]),
                    show.percent(d.after[1]), f"{d.visited:,.0f}", f"{d.moved:.1f}", f"{d.flipped:.2f}",
                )
                for d in report.deployments
            ],
            caption=f"synapses per sample, of {first.synapses:,} that learn; {first.samples:,} samples",
        )  # fmt: skip
        for found in report.boards:
            show_costs(found, report.checks_of(found.board))
        show.say(f"{page}")
    for breach in report.breaches:
        show.warn(str(breach))
    if report.breaches:
        raise typer.Exit(BREACH)
