"""Shared by the subcommands of `metabit device`: the line, the model at its other end, samples for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabit.cli import datasets
from metabit.experiments import show

if TYPE_CHECKING:
    from metabit.firmware_sim import SerialDevice
    from metabit.runtime import Model


@dataclass
class Line:
    """How the device is reached: the options before the subcommand."""

    port: str
    baud: int
    timeout: float
    tries: int


Known = Annotated[
    Path | None, typer.Option("--model", help="The image that runs there; without it, it is read from the device.")
]
Limit = Annotated[int | None, typer.Option(help="Use only so many samples.", min=1)]


@contextmanager
def opened(context: typer.Context) -> Iterator[SerialDevice]:
    from metabit.firmware_sim import SerialDevice

    line: Line = context.obj
    with SerialDevice(line.port, baud=line.baud, timeout=line.timeout, tries=line.tries) as device:
        yield device


@contextmanager
def sharing(text: str) -> Iterator[Any]:
    """A progress bar that takes the share done, 0..1. Where standard error is no terminal it is a line there."""
    if not show.err.is_terminal:
        show.warn(text)
    with show.bar(text, 100) as bar:
        at = 0

        def step(share: float) -> None:
            nonlocal at
            bar.step(int(share * 100) - at)
            at = int(share * 100)

        yield step


def model_of(device: SerialDevice, known: Path | None) -> Model:
    """The model as it is on the device."""
    return device.model(known.read_bytes() if known else None)


def samples_for(
    model: Model, data: str | None, known: Path | None, seed: int, test: bool, limit: int | None, quiet: bool
) -> Any:
    """(name of the data, inputs as the device takes them, labels)."""
    from metabit.export import read_image

    frozen = read_image(model.image())
    name = datasets.of_model(data, known or Path("the device"), frozen, seed)
    task = datasets.opened([name], frozen, seed, quiet=quiet)[name]
    x, y = (task.x_test, task.y_test) if test else (task.x_train, task.y_train)
    return name, model.device_bytes(x[:limit]), y[:limit]


def tell(facts: dict[str, Any], json: bool, text: str) -> None:
    if json:
        show.emit(facts)
    else:
        show.say(text)
