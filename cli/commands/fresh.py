"""metabit fresh"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from metabit.cli import datasets
from metabit.data import Task
from metabit.experiments import show

DEFAULT = (0.16, 0.59)
"""Thresholds as shares of the largest feature: 40 and 150 of 255."""


def thresholds_of(task: Task, given: Sequence[int] | None = None) -> tuple[int, ...]:
    """Thresholds of the inputs: the given ones, or `DEFAULT` shares of the largest feature. None occurs twice."""
    largest = int(task.x_train.max())
    return tuple(dict.fromkeys(given or [max(1, round(part * largest)) for part in DEFAULT]))


def command(
    data: Annotated[
        str,
        typer.Argument(
            help=f"Dataset that it will learn: {datasets.HELP} Only its sizes and its largest feature are read."
        ),
    ] = "digits",
    output: Annotated[Path, typer.Option("-o", "--output", help="The image to write.")] = Path("out/fresh.mbit"),
    hidden: Annotated[int, typer.Option(help="Hidden units, 1..1024; multiples of 32 waste no memory.")] = 192,
    bits: Annotated[int, typer.Option(help="Bits a synapse, sign included, 2..8.")] = 4,
    threshold: Annotated[
        list[int] | None,
        typer.Option(
            help="Of the inputs, 0..255; repeatable: an input counts how many it reaches. By default 16 % and 59 % of the largest."
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            help="A trained .mbit: its layers below the output stay as they are, and a head learns on what they see."
        ),
    ] = None,
    seed: show.Seed = 0,
    json: show.Json = False,
) -> None:
    """Write a network that has learnt nothing, to learn on the device from its first sample on.

    It learns endless streams by votes (docs/learning-rule.md), without a training run on a computer before. `metabit run` and
    `metabit simulate` take it from there.

    Example: [bold]metabit fresh digits -o out/fresh.mbit --hidden 192[/]
    On features of a network that was trained: [bold]metabit fresh digits --features out/model.mbit -o out/head.mbit[/]
    """
    from metabit.cli.errors import UsageError
    from metabit.data.rows import write_whole
    from metabit.experiments import stream
    from metabit.export import HEAD, FreshOptions, fresh, fresh_head, read_image, write_image
    from metabit.runtime import Model

    seen = ""
    if features is None:
        task = datasets.loaded(data, seed)
        options = FreshOptions(bits=bits, thresholds=thresholds_of(task, threshold), seed=seed)
        image = write_image(fresh(task.features, hidden, task.classes, options))
    elif threshold:
        raise UsageError(
            "--threshold belongs to inputs, and with --features the network brings its own: leave out either"
        )
    else:
        if output.exists() and output.samefile(features):
            raise UsageError(f"--output {output} is the network whose features are wanted: name another file")
        below = read_image(features.read_bytes())
        seen = f" -> {below.layers[-2].outputs} of {features}" if len(below.layers) > 1 else ""
        task = stream.as_inputs(datasets.loaded(data, seed), below, classes=False)
        image = write_image(fresh_head(below, hidden, task.classes, replace(HEAD, bits=bits, seed=seed)))
    model = Model(image)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(output, image)
    sizes = {"flash: image": len(image), "RAM: state": model.state_size, "RAM: arena, learn": model.arena_size("learn")}
    if json:
        show.emit({"image": str(output), "read": task.facts(), "features": task.features, "hidden": hidden, "classes": task.classes,
                   "bits": bits, "bytes": sizes})  # fmt: skip
        return
    datasets.say(task)
    show.table(f"{output}", ["memory", "bytes"], [(name, f"{count:,}") for name, count in sizes.items()])
    show.say(f"{task.features}{seen} -> {hidden} -> {task.classes}, {bits} bits a synapse, nothing learnt yet")
