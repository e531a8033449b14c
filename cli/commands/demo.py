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
    passes: Annotated[int, typer.Option(help="Passes over the sideways digits in the second chapter.", min=1)] = RECIPE.passes,
    json: show.Json = False,
) -> None:  # fmt: skip
    """Train on upright digits, then let an emulated device learn turned ones and a digit it never saw.

    The first chapter is the default network with a head, 32 gates, on an emulated Cortex-M4F: it learns in place, in mixed order
    and class after class, beside softmax SGD, class means and SLDA on the same stream. The second chapter is the paper's rule,
    with metaplasticity and without (m = 0). Writes report.html, report.json, the checkpoint and the exported files into the folder.

    Example: [bold]metabit demo -o out/demo --seed 3[/]
    """
    from metabit.cli import BREACH, beside
    from metabit.cli.costs import show_costs
    from metabit.experiments import demo
    from metabit.firmware_sim import write_report
    from metabit.firmware_sim.report.page import as_json

    report = demo.run(output, seed, passes)
    _, page = write_report(report, output)
    if json:
        show.emit(as_json(report))
    else:
        for chapter in report.chapters:
            rows = [
                (d.name, *(f"{show.percent(b)} → {show.percent(a)}" for b, a in zip(d.before, d.after, strict=True)))
                for d in chapter.deployments
            ]
            caption = f"test accuracy before → after learning {chapter.deployments[0].samples:,} samples"
            show.table(chapter.title, ["device", *chapter.deployments[0].datasets], rows, caption=caption)
            for name, compared in chapter.comparisons.items():
                show.say(f"{name}:")
                beside.tell(compared)
        for found in report.boards:
            show_costs(found, report.checks_of(found.board))
        show.say(f"{page}")
    for breach in report.breaches:
        show.warn(str(breach))
    if report.breaches:
        raise typer.Exit(BREACH)
