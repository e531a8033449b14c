"""metabit simulate"""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from metabit.cli import beside, datasets
from metabit.experiments import show


class Optimise(str, Enum):
    """Optimisation option of the compiler."""

    size = "Os"
    speed = "O2"
    more = "O3"


def command(
    image: datasets.Image = datasets.MODEL,
    board: Annotated[str, typer.Option(help="A board of metabit boards, or a board file.")] = "nrf52840",
    data: datasets.OfModel = None,
    learn: datasets.Learn = False,
    shuffle: datasets.Shuffle = False,
    passes: datasets.Passes = 1,
    limit: datasets.Limit = None,
    also: datasets.Also = None,
    no_rivals: datasets.NoRivals = False,
    budgets: Annotated[Path | None, typer.Option(help="A budget file instead of the built-in one.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Also write report.html and report.json into this folder.")
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Split the time by layer, by a second build.")] = False,
    opt: Annotated[Optimise, typer.Option(help="Optimisation of the compiler.")] = Optimise.size,
    seed: show.Seed = 0,
    json: show.Json = False,
) -> None:
    """Run the firmware that a user would flash on an emulated board: memory, time, budgets, and learning in place.

    Instructions and cycles are those of the calls of this run: every test sample is predicted, and with --learn every step of
    the stream is measured. Each budget is compared with the worst call. A breach prints the budget, the value and the limit,
    and exits with 3. Instructions are exact; cycles and milliseconds are estimates with the error of the cycle model. With --learn
    the table and the report show, beside the model, rivals that learnt the same stream on this computer. Ctrl-C during the run
    writes nothing.

    Example: [bold]metabit simulate out/model.mbit --board rp2040 --data digits:sideways --learn --limit 500 --also digits[/]

    A page for people and a file for programs: [bold]metabit simulate out/model.mbit --learn --report out/report[/]

    Limits of your own product: [bold]metabit simulate out/model.mbit --budgets budgets.toml --json[/]
    """
    from metabit.cli import BREACH
    from metabit.cli.costs import show_costs
    from metabit.cli.errors import UsageError
    from metabit.experiments import board_run
    from metabit.export import ExportError, read_image
    from metabit.firmware_sim import breaches, check, load_board, load_budgets, write_report
    from metabit.firmware_sim.errors import require_installed

    datasets.check_stream(learn, limit, passes, shuffle)
    chip, limits, blob = load_board(board), load_budgets(budgets), image.read_bytes()
    try:
        frozen = read_image(blob)
    except ExportError as wrong:
        raise UsageError(f"{image}: {wrong}") from None
    if learn and not any(layer.learns for layer in frozen.layers):
        raise UsageError(f"{image} is frozen: no layer learns; export it with a learner, --learner")
    made: list[Path] = []
    if report:
        require_installed("jinja2")
        made = [folder for folder in (report, *report.parents) if not folder.exists()]
        report.mkdir(parents=True, exist_ok=True)
    data = datasets.of_model(data, image, frozen, seed)
    tasks = datasets.opened([data, *(also or [])], frozen, seed, quiet=json)
    plan = board_run.Plan(
        blob, frozen, chip, limits, tasks, learn, passes, limit, seed, f"-{opt.value}", layers, shuffle
    )
    try:
        with show.bar("building the firmware", plan.points) as bar:
            ran = board_run.run(plan, lambda text: bar.step(text=text))
    except KeyboardInterrupt:
        for folder in made:
            folder.rmdir()
        show.warn("interrupted: the run did not end, so nothing is reported or written; --limit makes it shorter")
        raise typer.Exit(130) from None
    compared, interrupted = None, False
    if learn and not no_rivals:
        how: dict[str, Any] = {"passes": passes, "limit": limit, "seed": seed, "shuffle": shuffle}
        try:
            compared = beside.compared(blob, tasks, board_run.line(plan, ran), also or [], **how)
        except KeyboardInterrupt:
            interrupted = True
    checks = check(ran.measurement, limits)
    broken = breaches(checks)
    written = write_report(board_run.report(plan, ran, image.name, compared), report) if report else ()
    if json:
        show.emit(
            {
                "image": str(image), "data": data,
                "read": {name: task.facts() for name, task in tasks.items()},
                "accuracy_before": ran.before, "accuracy_after": ran.after,
                "samples": ran.tally.samples, "prequential": ran.tally.prequential if learn else None,
                "per_sample": ran.tally.per_sample(), "measurement": asdict(ran.measurement),
                "budgets": [{**asdict(c), "passed": c.passed} for c in checks], "passed": not broken,
                "rivals": beside.facts(compared), "report": [str(path) for path in written], "interrupted": interrupted,
            }
        )  # fmt: skip
    else:
        rows = [
            (name, show.percent(ran.before[name]), show.percent(ran.after[name]) if learn else "") for name in tasks
        ]
        told = "accuracy"
        if learn:
            told = f"learnt {ran.tally.samples:,} samples of {data}, prequential accuracy {show.percent(ran.tally.prequential)}"
        show.table(f"{image} on {chip.name}: {told}", ["dataset", "before", "after"], rows)
        if compared is not None:
            beside.tell(compared)
        show_costs(ran.measurement, checks)
        if not learn and any(layer.learns for layer in frozen.layers):
            show.say("No learning step was measured: add --learn")
        for path in written:
            show.say(str(path))
    for breach in broken:
        show.warn(str(breach))
    if interrupted:
        show.warn("interrupted: the device is measured whole, the other learners are left out")
        raise typer.Exit(130)
    if broken:
        raise typer.Exit(BREACH)
