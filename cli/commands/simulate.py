"""metabit simulate"""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from metabit.cli import datasets
from metabit.experiments import show, stream


class Optimise(str, Enum):
    """What the compiler is told."""

    size = "Os"
    speed = "O2"
    more = "O3"


CHUNK = 50
MEASURED = 50
"""Samples behind a latency figure; the call's cost varies little from one to the next."""


def command(
    image: Annotated[Path, typer.Argument(help="A .mbit image.")] = Path("out/model.mbit"),
    board: Annotated[str, typer.Option(help="A board of metabit boards, or a board file.")] = "nrf52840",
    data: Annotated[str, typer.Option("--data", help=f"Dataset to test on, or to learn: {datasets.HELP}")] = "digits",
    learn: Annotated[bool, typer.Option("--learn", help="Learn the training part on the board, in place.")] = False,
    shuffle: Annotated[
        bool, typer.Option("--shuffle", help="Learn in random order, a new one for each pass; tasks are mixed.")
    ] = False,
    passes: Annotated[int, typer.Option(help="Times the stream is seen.", min=1)] = 1,
    limit: Annotated[int | None, typer.Option(help="Learn only so many samples.", min=1)] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="Another dataset to test on, before and after; repeatable.")
    ] = None,
    budgets: Annotated[Path | None, typer.Option(help="A budget file instead of the built-in one.")] = None,
    opt: Annotated[Optimise, typer.Option(help="Compiler optimisation.")] = Optimise.size,
    seed: show.Seed = 0,
    json: show.Json = False,
) -> None:
    """Run the real firmware on an emulated board: memory, latency, budgets, and learning in place.

    Instructions are exact; cycles and milliseconds are estimates, printed with the cycle model and its error band. A broken
    budget names itself, the value and the limit, and exits with 3.

    Example: [bold]metabit simulate out/model.mbit --board rp2040 --data digits:sideways --learn --limit 500 --also digits[/]
    """
    from metabit.cli import BREACH
    from metabit.cli.boards import on_board
    from metabit.cli.errors import UsageError
    from metabit.export import Votes, read_image
    from metabit.firmware_sim import Device, breaches, build, check, load_board, load_budgets, measure
    from metabit.runtime import Model

    if not learn and (limit is not None or passes != 1 or shuffle):
        raise UsageError("--limit, --passes and --shuffle belong to the stream to learn: add --learn")
    chip, limits = load_board(board), load_budgets(budgets)
    blob = image.read_bytes()
    Model(blob)  # the C runtime's word on a damaged image
    frozen = read_image(blob)
    worlds = datasets.opened([data, *(also or [])], frozen, seed, quiet=json)
    task, learns = worlds[data], any(layer.learns for layer in frozen.layers)
    if learn and not learns:
        raise UsageError(f"{image} is frozen: no layer learns; export it with --bits 2 or more")
    tally = stream.Tally()
    before, after = {}, {}
    with Device(build(blob, chip, opt=f"-{opt.value}"), chip, budgets=limits) as device:
        count = len(task.y_train)
        pieces = stream.chunks(count, passes, limit if learn else 0, seed, CHUNK, shuffle)
        total = stream.chunk_count(count, passes, limit if learn else 0, CHUNK)
        with show.bar(f"{chip.name}: {data}", total + 2 * len(worlds)) as bar:
            for name, world in worlds.items():
                before[name] = stream.accuracy(lambda x: device.predict_many(x).label, world.x_test, world.y_test)
                bar.step()
            for piece in pieces:
                steps = device.learn_many(task.x_train[piece], task.y_train[piece])
                tally.learned(len(piece), steps)
                tally.predicted(steps.label, task.y_train[piece])
                bar.step()
            for name, world in worlds.items():
                after[name] = (
                    stream.accuracy(lambda x: device.predict_many(x).label, world.x_test, world.y_test)
                    if learn
                    else before[name]
                )
                bar.step()
    batch = max((layer.rule.batch for layer in frozen.layers if isinstance(layer.rule, Votes)), default=0)
    measured = slice(MEASURED + batch)  # a step counts most when every slot is taken
    y = task.y_train[measured] if learns else None
    found = measure(blob, chip, task.x_train[measured], y, opt=f"-{opt.value}", budgets=limits)
    checks = check(found, limits)
    broken = breaches(checks)
    if json:
        show.emit(
            {
                "image": str(image), "data": data, "read": {name: world.facts() for name, world in worlds.items()},
                "accuracy_before": before, "accuracy_after": after,
                "samples": tally.samples,
                "prequential": tally.prequential if learn else None, "per_sample": tally.per_sample(), "measurement": asdict(found),
                "budgets": [{**asdict(c), "passed": c.passed} for c in checks], "passed": not broken,
            }
        )  # fmt: skip
    else:
        rows = [(name, show.percent(before[name]), show.percent(after[name]) if learn else "") for name in worlds]
        learned = "predicted"
        if learn:
            learned = (
                f"learned {tally.samples:,} samples of {data}, prequential accuracy {show.percent(tally.prequential)}"
            )
        show.table(f"{image} on {chip.name}: {learned}", ["world", "before", "after"], rows)
        on_board(found, checks)
    for breach in broken:
        show.warn(str(breach))
    if broken:
        raise typer.Exit(BREACH)
