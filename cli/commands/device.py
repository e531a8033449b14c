"""metabit device: the subcommands about samples; those about memories are in cli/device_memories.py."""

from __future__ import annotations

from typing import Annotated

import typer

from metabit.cli import datasets, device_memories
from metabit.cli.on_device import Known, Limit, Line, model_of, opened, samples_for, tell
from metabit.experiments import show

app = typer.Typer(rich_markup_mode="rich", add_completion=False, no_args_is_help=True)


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
    learnt twice. A serial port needs pyserial, pip install 'metabit\\[device]'.

    Example: [bold]metabit device /dev/ttyACM0 info[/]

    An emulator: [bold]metabit device tcp://127.0.0.1:1234 learn --data digits --limit 100[/]
    """
    context.obj = Line(port, baud, timeout, tries)


@app.command()
def info(context: typer.Context, json: show.Json = False) -> None:
    """Show the device and its model: classes, sizes, steps learnt, frames that arrived damaged.

    Example: [bold]metabit device /dev/ttyACM0 info --json[/]
    """
    with opened(context) as device:
        told = device.info._asdict() | {
            "identity": f"{device.info.identity:08x}",
            "state_sum": f"{device.info.state_sum:08x}",
        }
    if json:
        show.emit(told)
        return
    words = {True: "yes", False: "no"}
    rows = [(name.replace("_", " "), f"{v:,}" if type(v) is int else words.get(v, v)) for name, v in told.items()]
    show.table(str(context.obj.port), ["", ""], rows)


@app.command()
def predict(
    context: typer.Context, data: datasets.OfModel = None, model: Known = None, limit: Limit = None,
    seed: show.Seed = 0, json: show.Json = False,
) -> None:  # fmt: skip
    """Predict the test samples of a dataset on the device: its accuracy there.

    Example: [bold]metabit device /dev/ttyACM0 predict --data digits --model out/model.mbit[/]
    """
    with opened(context) as device:
        here = model_of(device, model)
        name, x, y = samples_for(here, data, model, seed, True, limit, json)
        right = 0
        with show.bar("predicting", len(x)) as bar:
            for i in range(len(x)):
                right += int(device.predict_many(x[i : i + 1]).labels[0]) == int(y[i])
                bar.step()
        facts = {
            "data": name,
            "samples": len(x),
            "right": right,
            "accuracy": right / max(1, len(x)),
            "resent": device.resent,
        }
    tell(facts, json, f"{name}: {show.percent(facts['accuracy'])} of {len(x):,} samples right")


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

    with opened(context) as device:
        here = model_of(device, model)
        name, x, y = samples_for(here, data, model, seed, False, limit, json)
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
    tell(facts, json, text + (f", saved at step {saved:,}" if saved is not None else ", not saved: add --save"))


@app.command()
def verify(
    context: typer.Context, data: datasets.OfModel = None, model: Known = None, limit: Limit = 100,
    learning: Annotated[bool, typer.Option("--learn", help="Learn the samples too. The device keeps what it learns.")] = False,
    seed: show.Seed = 0, json: show.Json = False,
) -> None:  # fmt: skip
    """Give the same samples to the device and to this computer, and compare every integer. Exits with 1 if one differs.

    Example: [bold]metabit device /dev/ttyACM0 verify --learn --limit 50[/]
    """
    with opened(context) as device:
        here = model_of(device, model)
        name, x, y = samples_for(here, data, model, seed, not learning, limit, json)
        scores = steps = 0
        with show.bar("comparing", len(x)) as bar:
            for i in range(len(x)):
                scores += not (device.predict_many(x[i : i + 1]).scores == here.scores(x[i : i + 1])).all()
                if learning:
                    one, two = (
                        device.learn_many(x[i : i + 1], y[i : i + 1]),
                        here.learn_many(x[i : i + 1], y[i : i + 1]),
                    )
                    steps += not all((a == b).all() for a, b in zip(one, two, strict=True))
                bar.step()
        state = device.state() != here.state()
        facts = {"data": name, "samples": len(x), "learned": learning, "scores_differ": scores, "steps_differ": steps,
                 "state_differs": state, "equal": not (scores or steps or state)}  # fmt: skip
    text = "all integers equal"
    if not facts["equal"]:
        text = f"{scores} scores and {steps} steps differ, the states {'differ' if state else 'are equal'}"
    tell(facts, json, f"{len(x):,} samples of {name}: {text}")
    if not facts["equal"]:
        raise typer.Exit(1)


@app.command()
def watch(
    context: typer.Context, data: datasets.OfModel = None, model: Known = None, limit: Limit = None,
    window: Annotated[int, typer.Option(help="Samples of one column of the chart.", min=1)] = 20,
    seed: show.Seed = 0, json: show.Json = False,
) -> None:  # fmt: skip
    """Learn as learn does, with a live chart: accuracy before each step, levels moved, weights flipped. Ctrl-C ends it.

    Example: [bold]metabit device /dev/ttyACM0 watch --data digits:sideways --window 50[/]
    """
    from metabit.experiments.live import Chart

    with opened(context) as device:
        here = model_of(device, model)
        name, x, y = samples_for(here, data, model, seed, False, limit, json)
        chart = Chart(f"{name} on {device.info.core}", window)
        with chart.live(show.err):
            try:
                for i in range(len(x)):
                    chart.add(device.learn_many(x[i : i + 1], y[i : i + 1]), y[i : i + 1])
            except KeyboardInterrupt:
                show.warn("interrupted: the device keeps what it learnt until its power goes")
    tell({"data": name, "window": window, "columns": chart.columns()}, json, chart.text())


for _memory in device_memories.COMMANDS:
    app.command()(_memory)
