"""The subcommands of `metabit device` that read and write its memories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metabit.cli import datasets, outputs
from metabit.cli.on_device import Known, model_of, opened, sharing, tell
from metabit.experiments import show


def pull(
    context: typer.Context,
    image: Annotated[
        Path | None, typer.Argument(help="The file to write: learned.mbit, or learned.mbst of --snapshot.")
    ] = None,
    model: Known = None,
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Write the state alone, for push and Model.restore.")
    ] = False,
    force: outputs.Force = False,
    json: show.Json = False,
) -> None:
    """Read the learned model out of the device and write it as an image, which every other command takes.

    Without a name it does not replace a file of other content; with --force, or to a file that you name, it does.

    Example: [bold]metabit device /dev/ttyACM0 pull learned.mbit --model out/model.mbit[/]
    """
    from metabit.firmware_sim.build.cache import write_whole

    file = image or Path("learned.mbst" if snapshot else "learned.mbit")
    outputs.check_inputs(file, [model])
    with opened(context) as device:
        found = model_of(device, model)
    data = found.snapshot() if snapshot else found.image()
    outputs.check_replaced(file, data, force or image is not None, "name another file to write")
    write_whole(file, data)
    facts = {"file": str(file), "bytes": len(data), "steps": found.steps, "identity": f"{found.identity:08x}"}
    tell(facts, json, f"{file}: {len(data):,} bytes, {found.steps:,} steps learnt")


def push(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A .mbit image, or a snapshot of the state alone.")] = datasets.MODEL,
    model: Known = None,
    json: show.Json = False,
) -> None:
    """Send an image with its state to the device, which checks it whole and then runs it, also after a restart.

    A snapshot is sent as the image that runs there, with the state of the snapshot.

    Example: [bold]metabit device /dev/ttyACM0 push learned.mbit[/]
    """
    from metabit.runtime import Model

    data = file.read_bytes()
    alone = data[:4] == b"MBST"
    if not alone:
        Model.open(file)
    with opened(context) as device:
        if alone:
            whole = Model(model.read_bytes() if model else device.image())
            whole.restore(data)
            data = whole.image()
        with sharing(f"sending {len(data):,} bytes") as step:
            now = device.push(data, step)
    facts = {"file": str(file), "identity": f"{now.identity:08x}", "steps": now.steps, "resent": device.resent}
    tell(facts, json, f"the device runs {file}, {now.steps:,} steps learnt")


def save(context: typer.Context, json: show.Json = False) -> None:
    """Save what was learnt in the device's flash: it begins with it after a restart.

    Example: [bold]metabit device /dev/ttyACM0 save[/]
    """
    with opened(context) as device:
        steps = device.save()
    tell({"steps": steps}, json, f"saved at step {steps:,}")


def restore(
    context: typer.Context,
    older: Annotated[bool, typer.Option("--older", help="The snapshot before the newest.")] = False,
    json: show.Json = False,
) -> None:
    """Bring the newest snapshot back: what was learnt since is gone.

    Example: [bold]metabit device /dev/ttyACM0 restore --older[/]
    """
    with opened(context) as device:
        steps = device.restore(older)
    tell({"steps": steps}, json, f"restored: {steps:,} steps learnt")


def reset(
    context: typer.Context,
    chip: Annotated[
        bool, typer.Option("--chip", help="Restart the chip, as a power cut does: it begins with its newest snapshot.")
    ] = False,
    json: show.Json = False,
) -> None:
    """Forget what was learnt since the image was made. Snapshots in flash stay, and come back at the next restart.

    Example: [bold]metabit device /dev/ttyACM0 reset[/]
    """
    with opened(context) as device:
        steps = device.restart().steps if chip else device.reset()
    tell({"steps": steps}, json, f"{'restarted' if chip else 'reset'}: {steps:,} steps learnt")


COMMANDS = (pull, push, save, restore, reset)
