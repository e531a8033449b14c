"""metabit simulate"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from metabit.cli import show, stream

CHUNK = 50
MEASURED = 50
"""Samples behind a latency figure; the call's cost varies little from one to the next."""


def command(
    image: Annotated[Path, typer.Argument(help="A .mbit image.")] = Path("out/model.mbit"),
    board: Annotated[str, typer.Option(help="A board of metabit boards, or a board file.")] = "nrf52840",
    data: Annotated[str, typer.Option("--data", help="digits, digits:sideways, or an .npz file.")] = "digits",
    learn: Annotated[bool, typer.Option("--learn", help="Learn the training part on the board, in place.")] = False,
    passes: Annotated[int, typer.Option(help="Times the stream is seen.", min=1)] = 1,
    limit: Annotated[int | None, typer.Option(help="Learn only so many samples.", min=1)] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="Another world to test on, before and after; repeatable.")
    ] = None,
    budgets: Annotated[Path | None, typer.Option(help="A budget file instead of the built-in one.")] = None,
    opt: Annotated[str, typer.Option(help="Compiler optimisation: -Os, -O2, -O3.")] = "-Os",
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
    from metabit.firmware_sim import Device, breaches, build, check, load_board, load_budgets, measure
    from metabit.runtime import Model

    chip, limits = load_board(board), load_budgets(budgets)
    blob = image.read_bytes()
    model = Model.open(image)
    worlds = {name: stream.open_task(name, model) for name in dict.fromkeys([data, *(also or [])])}
    task = worlds[data]
    learns = _learns(blob)
    if learn and not learns:
        from metabit.cli.errors import UsageError

        raise UsageError(f"{image} is frozen: no layer learns; export it with --bits 2 or more")
    tally = stream.Tally()
    before, after = {}, {}
    with Device(build(blob, chip, opt=opt), chip, budgets=limits) as device:
        pieces = list(stream.chunks(len(task.y_train), passes, limit, seed, CHUNK)) if learn else []
        with show.bar(f"{chip.name}: {data}", len(pieces) + 2 * len(worlds)) as bar:
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
    y = task.y_train[:MEASURED] if learns else None
    found = measure(blob, chip, task.x_train[:MEASURED], y, opt=opt, budgets=limits)
    checks = check(found, limits)
    broken = breaches(checks)
    if json:
        show.emit(
            {
                "image": str(image), "data": data, "accuracy_before": before, "accuracy_after": after,
                "samples": tally.samples, "per_sample": tally.per_sample(), "measurement": asdict(found),
                "budgets": [{**asdict(c), "passed": c.passed} for c in checks], "passed": not broken,
            }
        )  # fmt: skip
    else:
        rows = [(name, show.percent(before[name]), show.percent(after[name]) if learn else "") for name in worlds]
        learned = f"learned {tally.samples:,} samples of {data}" if learn else "predicted"
        show.table(f"{image} on {chip.name}: {learned}", ["world", "before", "after"], rows)
        on_board(found, checks)
    for breach in broken:
        show.err.print(f"metabit: {breach}", soft_wrap=True, highlight=False)
    if broken:
        raise typer.Exit(BREACH)


def _learns(image: bytes) -> bool:
    from metabit.export import read_image

    return any(layer.learns for layer in read_image(image).layers)
