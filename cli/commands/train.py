"""metabit train"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from metabit.cli import show
from metabit.cli.recipe import RECIPE

Units = Annotated[list[int], typer.Option("--hidden", help="Units of a hidden layer; repeat for more layers.")]


def command(
    data: Annotated[
        str, typer.Argument(help="digits, digits:sideways, or an .npz file with x (n, features) and y (n,).")
    ] = "digits",
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for checkpoint.safetensors.")] = Path("out"),
    hidden: Units = list(RECIPE.hidden),  # noqa: B006 (typer copies it)
    planes: Annotated[
        int, typer.Option(help="Thermometer planes of the input encoder; 0 takes 0/1 inputs.")
    ] = RECIPE.planes,
    outputs: Annotated[
        str,
        typer.Option(
            help="code: a fixed ±1 output code, which forgets least; learned: a binary layer like the others."
        ),
    ] = RECIPE.output,
    m: Annotated[
        float, typer.Option(help="Metaplasticity: how hard a strong hidden weight is to weaken; 0 is none.")
    ] = RECIPE.m,
    epochs: Annotated[int, typer.Option(help="Passes over the data.", min=1)] = RECIPE.epochs,
    batch: Annotated[int, typer.Option(help="Samples a step.", min=1)] = 100,
    lr: Annotated[float, typer.Option(help="Step size of metaplastic Adam.")] = 0.005,
    seed: show.Seed = 0,
    json: show.Json = False,
) -> None:
    """Train a metaplastic binarized network.

    Example: [bold]metabit train digits -o out --epochs 30[/]
    """
    from metabit import train

    task = train.load_task(data)
    spec = train.Spec(
        features=task.features,
        hidden=tuple(hidden),
        classes=task.classes,
        encode=train.thermometer(task.x_train, planes) if planes else None,
        output=outputs,  # type: ignore[arg-type]  # Spec says what is wrong with any other string
        seed=seed,
    )
    rule = train.Rule.of(spec, m, lr)
    network = train.Network(spec)
    output.mkdir(parents=True, exist_ok=True)
    with show.bar(f"training on {task.name}", epochs) as bar:
        history = train.fit(
            network, task, epochs=epochs, batch=batch, lr=lr, m=m, seed=seed,
            progress=lambda epoch: bar.step(text=f"training, test accuracy {show.percent(epoch.test_accuracy)}"),
        )  # fmt: skip
    path = output / "checkpoint.safetensors"
    train.save(
        path, network, rule=rule, history=history,
        provenance={"data": data, "seed": seed, "command": show.command_line()},
    )  # fmt: skip
    last = asdict(history.epochs[-1]) if history.epochs else {}
    if json:
        show.emit({"checkpoint": str(path), "epochs": len(history.epochs), "interrupted": history.interrupted, **last})
    else:
        if history.interrupted:
            show.say(f"Interrupted after {len(history.epochs)} epochs; what was learnt is saved.")
        reached = f", test accuracy {show.percent(last['test_accuracy'])}" if last else ""
        show.say(f"{path}: {len(history.epochs)} epochs on {task.name}{reached}")
    if history.interrupted:
        raise typer.Exit(130)
