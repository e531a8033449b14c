"""metabit fresh"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from metabit.cli import datasets
from metabit.data import Task
from metabit.experiments import show

DEFAULT = (0.16, 0.59)
"""Thresholds as shares of the largest feature; 40 and 150 where that is 255."""
THRESHOLDS = (
    "Threshold 0..255, repeatable; an input counts those its feature reaches. Default: 16 % and 59 % of the largest."
)


def thresholds_of(task: Task, given: Sequence[int] | None = None) -> tuple[int, ...]:
    """Thresholds of the inputs: the given ones, or `DEFAULT` shares of the largest feature. None occurs twice."""
    largest = int(task.x_train.max())
    return tuple(dict.fromkeys(given or [max(1, round(part * largest)) for part in DEFAULT]))


def command(
    data: Annotated[str, Argument(help=f"Dataset that it will learn: {datasets.HELP}")] = "digits",
    output: Annotated[Path, Option("-o", "--output", help="The image to write.")] = Path("out/fresh.mbit"),
    hidden: Annotated[int, Option(help="Hidden units, 1..1024; multiples of 32 waste no memory.")] = 192,
    bits: Annotated[int, Option(help="Bits a synapse, sign included, 2..8.")] = 4,
    threshold: Annotated[list[int] | None, Option(help=THRESHOLDS)] = None,
    features: Annotated[str | None, Option(hidden=True)] = None,
    seed: show.Seed = 0,
    json: show.Json = False,
) -> None:  # fmt: skip
    """Write a network that has learnt nothing, and learns on the device from its first sample.

    It learns endless streams by votes (docs/learning-rule.md) and needs no training on a computer. Use it with `metabit run` and
    `metabit simulate`.

    Example: [bold]metabit fresh digits -o out/fresh.mbit --hidden 192[/]
    """
    from metabit.cli.errors import UsageError
    from metabit.data.rows import write_whole
    from metabit.export import VoteOptions, fresh, write_image
    from metabit.runtime import Model

    if features is not None:
        raise UsageError(
            "--features was removed: a head on a trained network's features learnt no better than none. Leave it out to learn "
            "on the data itself, or let the trained network learn on: metabit export, then metabit run --learn"
        )
    task = datasets.loaded(data, seed)
    options = VoteOptions(bits=bits, thresholds=thresholds_of(task, threshold), seed=seed)
    image = write_image(fresh(task.features, hidden, task.classes, options))
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
    show.say(f"{task.features} -> {hidden} -> {task.classes}, {bits} bits a synapse, nothing learnt yet")
