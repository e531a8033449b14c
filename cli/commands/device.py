"""metabit device"""

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

app = typer.Typer(rich_markup_mode="rich", add_completion=False, no_args_is_help=True)


@dataclass
class _Line:
    """How the device is reached: the options before the subcommand."""

    port: str
    baud: int
    timeout: float
    tries: int


Known = Annotated[
    Path | None, typer.Option("--model", help="The image that runs there; without it, it is read from the device.")
]
Limit = Annotated[int | None, typer.Option(help="Use only so many samples.", min=1)]


@app.callback()
def _device(
    context: typer.Context,
    port: Annotated[str, typer.Argument(help="A serial port, such as /dev/ttyACM0 or COM3, or tcp://127.0.0.1:1234.")],
    baud: Annotated[int, typer.Option(help="Bits a second of a serial port.", min=300)] = 115_200,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for one answer.", min=0.01)] = 2.0,
    tries: Annotated[int, typer.Option(help="Requests without an answer before it gives up.", min=1)] = 5,
) -> None:
    """Talk to a device that runs a program of metabit firmware, over a serial line or an emulator's socket.

    Lost and damaged bytes cost time and nothing else: a request is sent again until its answer is here, and no sample is
    learnt twice. A serial port needs pyserial, pip install 'metabit[device]'.

    Example: [bold]metabit device /dev/ttyACM0 info[/]

    An emulator: [bold]metabit device tcp://127.0.0.1:1234 learn --data digits --limit 100[/]
    """
    context.obj = _Line(port, baud, timeout, tries)


@contextmanager
def _open(context: typer.Context) -> Iterator[SerialDevice]:
    from metabit.firmware_sim import SerialDevice

    line: _Line = context.obj
    with SerialDevice(line.port, baud=line.baud, timeout=line.timeout, tries=line.tries) as device:
        yield device


@contextmanager
def _sharing(text: str) -> Iterator[Any]:
    """A progress bar that takes the share done, 0..1."""
    with show.bar(text, 100) as bar:
        at = 0

        def step(share: float) -> None:
            nonlocal at
            bar.step(int(share * 100) - at)
            at = int(share * 100)

        yield step


def _model(device: SerialDevice, known: Path | None) -> Model:
    """The model as it is on the device."""
    return device.model(known.read_bytes() if known else None)


def _samples(model: Model, data: str | None, known: Path | None, seed: int, test: bool, limit: int | None, quiet: bool) -> Any:
    """(name of the data, inputs as the device takes them, labels)."""
    from metabit.export import read_image

    frozen = read_image(model.image())
    name = datasets.of_model(data, known or Path("the device"), frozen, seed)
    task = datasets.opened([name], frozen, seed, quiet=quiet)[name]
    x, y = (task.x_test, task.y_test) if test else (task.x_train, task.y_train)
    return name, model.device_bytes(x[:limit]), y[:limit]


@app.command()
def info(context: typer.Context, json: show.Json = False) -> None:
    """Show the device and its model: classes, sizes, steps learnt, frames that arrived damaged.

    Example: [bold]metabit device /dev/ttyACM0 info --json[/]
    """
    with _open(context) as device:
        told = device.info._asdict() | {"identity": f"{device.info.identity:08x}", "state_sum": f"{device.info.state_sum:08x}"}
    if json:
        show.emit(told)
        return
    rows = [(name.replace("_", " "), f"{v:,}" if type(v) is int else {True: "yes", False: "no"}.get(v, v)) for name, v in told.items()]
    show.table(str(context.obj.port), ["", ""], rows)


@app.command()
def predict(
    context: typer.Context, data: datasets.OfModel = None, model: Known = None, limit: Limit = None,
    seed: show.Seed = 0, json: show.Json = False,
) -> None:  # fmt: skip
    """Predict the test samples of a dataset on the device: its accuracy there.

    Example: [bold]metabit device /dev/ttyACM0 predict --data digits --model out/model.mbit[/]
    """
    with _open(context) as device:
        here = _model(device, model)
        name, x, y = _samples(here, data, model, seed, True, limit, json)
        right = 0
        with show.bar("predicting", len(x)) as bar:
            for i in range(len(x)):
                right += int(device.predict_many(x[i : i + 1]).labels[0]) == int(y[i])
                bar.step()
        facts = {"data": name, "samples": len(x), "right": right, "accuracy": right / max(1, len(x)), "resent": device.resent}
    _tell(facts, json, f"{name}: {show.percent(facts['accuracy'])} of {len(x):,} samples right")


@app.command()
def learn(
    context: typer.Context, data: datasets.OfModel = None, model: Known = None, limit: Limit = None,
    save: Annotated[bool, typer.Option("--save", help="Save the state in the device's flash at the end.")] = False,
    seed: show.Seed = 0, json: show.Json = False,
) -> None:  # fmt: skip
    """Learn the training samples of a dataset on the device, one at a time, in place.

    Example: [bold]metabit device /dev/ttyACM0 learn --data digits:sideways --limit 200 --save[/]
    """
    from metabit.experiments.stream import Tally

    with _open(context) as device:
        here = _model(device, model)
        name, x, y = _samples(here, data, model, seed, False, limit, json)
        tally = Tally()
        with show.bar("learning", len(x)) as bar:
            for i in range(len(x)):
                steps = device.learn_many(x[i : i + 1], y[i : i + 1])
                tally.learned(1, steps)
                tally.predicted(steps.predicted, y[i : i + 1])
                bar.step()
        saved = device.save() if save else None
        facts = {"data": name, "samples": len(x), "prequential": tally.prequential, "per_sample": tally.per_sample(),
                 "steps": device.refresh().steps, "saved": saved, "resent": device.resent}  # fmt: skip
    text = f"learnt {len(x):,} samples of {name}, prequential accuracy {show.percent(tally.prequential)}"
    _tell(facts, json, text + (f", saved at step {saved:,}" if saved is not None else ", not saved: add --save"))


@app.command()
def verify(
    context: typer.Context, data: datasets.OfModel = None, model: Known = None, limit: Limit = 100,
    learning: Annotated[bool, typer.Option("--learn", help="Learn the samples too. The device keeps what it learns.")] = False,
    seed: show.Seed = 0, json: show.Json = False,
) -> None:  # fmt: skip
    """Give the same samples to the device and to this computer, and compare every integer. Exits with 1 if one differs.

    Example: [bold]metabit device /dev/ttyACM0 verify --learn --limit 50[/]
    """
    with _open(context) as device:
        here = _model(device, model)
        name, x, y = _samples(here, data, model, seed, not learning, limit, json)
        scores = steps = 0
        with show.bar("comparing", len(x)) as bar:
            for i in range(len(x)):
                scores += not (device.predict_many(x[i : i + 1]).scores == here.scores(x[i : i + 1])).all()
                if learning:
                    one, two = device.learn_many(x[i : i + 1], y[i : i + 1]), here.learn_many(x[i : i + 1], y[i : i + 1])
                    steps += not all((a == b).all() for a, b in zip(one, two, strict=True))
                bar.step()
        state = device.state() != here.state()
        facts = {"data": name, "samples": len(x), "learned": learning, "scores_differ": scores, "steps_differ": steps,
                 "state_differs": state, "equal": not (scores or steps or state)}  # fmt: skip
    text = "all integers equal" if facts["equal"] else f"{scores} scores and {steps} steps differ, state {'differs' if state else 'equal'}"
    _tell(facts, json, f"{len(x):,} samples of {name}: {text}")
    if not facts["equal"]:
        raise typer.Exit(1)


@app.command()
def pull(
    context: typer.Context,
    image: Annotated[Path, typer.Argument(help="The .mbit file to write.")] = Path("learned.mbit"),
    model: Known = None,
    json: show.Json = False,
) -> None:
    """Read the learned model out of the device and write it as an image, which every other command takes.

    Example: [bold]metabit device /dev/ttyACM0 pull learned.mbit --model out/model.mbit[/]
    """
    with _open(context) as device:
        found = _model(device, model)
        found.save(image)
    facts = {"image": str(image), "bytes": found.image_size, "steps": found.steps, "identity": f"{found.identity:08x}"}
    _tell(facts, json, f"{image}: {found.image_size:,} bytes, {found.steps:,} steps learnt")


@app.command()
def push(
    context: typer.Context, image: datasets.Image = datasets.MODEL, json: show.Json = False
) -> None:  # fmt: skip
    """Send an image with its state to the device, which checks it whole and then runs it, also after a restart.

    Example: [bold]metabit device /dev/ttyACM0 push learned.mbit[/]
    """
    from metabit.runtime import Model

    Model.open(image)
    with _open(context) as device, _sharing("sending") as step:
        now = device.push(image.read_bytes(), step)
    facts = {"image": str(image), "identity": f"{now.identity:08x}", "steps": now.steps, "resent": device.resent}
    _tell(facts, json, f"the device runs {image}, {now.steps:,} steps learnt")


def _tell(facts: dict[str, Any], json: bool, text: str) -> None:
    if json:
        show.emit(facts)
    else:
        show.say(text)


@app.command()
def save(context: typer.Context, json: show.Json = False) -> None:
    """Save what was learnt in the device's flash: it begins with it after a restart.

    Example: [bold]metabit device /dev/ttyACM0 save[/]
    """
    with _open(context) as device:
        steps = device.save()
    _tell({"steps": steps}, json, f"saved at step {steps:,}")


@app.command()
def restore(
    context: typer.Context,
    older: Annotated[bool, typer.Option("--older", help="The snapshot before the newest.")] = False,
    json: show.Json = False,
) -> None:
    """Bring the newest snapshot back: what was learnt since is gone.

    Example: [bold]metabit device /dev/ttyACM0 restore --older[/]
    """
    with _open(context) as device:
        steps = device.restore(older)
    _tell({"steps": steps}, json, f"restored: {steps:,} steps learnt")


@app.command()
def reset(
    context: typer.Context,
    chip: Annotated[bool, typer.Option("--chip", help="Restart the chip as a power cut does; it begins with its newest snapshot.")] = False,
    json: show.Json = False,
) -> None:
    """Forget what was learnt since the image was made. Snapshots in flash stay, and come back at the next restart.

    Example: [bold]metabit device /dev/ttyACM0 reset[/]
    """
    with _open(context) as device:
        steps = device.restart().steps if chip else device.reset()
    _tell({"steps": steps}, json, f"{'restarted' if chip else 'reset'}: {steps:,} steps learnt")
