"""metabit import"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabit.cli.errors import UsageError
from metabit.experiments import show

if TYPE_CHECKING:
    from metabit.export import Frozen
    from metabit.train import Checkpoint
    from metabit.train.gates_checkpoint import GatesCheckpoint

FILE = "checkpoint.safetensors"


def command(
    source: Annotated[Path, typer.Argument(help="A network that metabit wrote: .mbit, .onnx or .tflite.")],
    output: Annotated[Path, typer.Option("--output", "-o", help=f"Folder for {FILE}; an older one in it is replaced.")],
    json: show.Json = False,
) -> None:
    """Bring a network home from a device: write the checkpoint from which training goes on.

    The checkpoint has a float hidden weight in the middle of each level, the normalisation that gives the same integers, and what
    only the device has: generator, counters, what a head learnt, kept samples, probability tables, names.
    [bold]metabit export[/] of it, without options, gives the image back, byte for byte.

    [bold]metabit train DATA --start DIR/checkpoint.safetensors[/] trains on, and in Python
    [bold]metabit.train.load_checkpoint(FILE).to_network()[/] is the network in PyTorch. Units from nothing (metabit fresh) were
    never trained, and have no checkpoint. docs/formats.md says how each number is chosen.

    Example: [bold]metabit import out/learned.mbit -o home[/]
    """
    from metabit import export

    if output.is_file():
        raise UsageError(f"--output {output} is a file: name a folder")
    frozen = network_of(source)
    try:
        checkpoint = export.thaw(frozen, known(source))
    except export.ExportError as wrong:
        raise UsageError(f"{source}: {wrong}") from None
    if export.write_image(export.frozen_of(checkpoint)) != checkpoint.device:
        raise UsageError(f"{source} does not come back from its checkpoint as it was: please report this")
    output.mkdir(parents=True, exist_ok=True)
    checkpoint.write(output / FILE)
    found = facts(frozen, checkpoint)
    if json:
        show.emit({"source": str(source), "checkpoint": str(output / FILE), **found})
        return
    show.say(f"{output / FILE}: {found['network']}, {found['steps']:,} steps learnt on the device")
    show.say(
        f"metabit export {output / FILE} gives the network back as it is; metabit train DATA --start {output / FILE} trains on"
    )


def network_of(source: Path) -> Frozen:
    """The network of a file: of metabit's own, by its content. Files of other tools are to be read here too."""
    from metabit.export import read_file

    return read_file(source).frozen


def known(source: Path) -> dict[str, Any]:
    """The data of a file's network as the manifest beside it names it, for the checkpoint's provenance."""
    from metabit.cli import datasets

    told = datasets.manifest_of(source)
    return {"imported": source.name, **{name: told[name] for name in ("data", "read") if name in told}}


def facts(frozen: Frozen, checkpoint: Checkpoint | GatesCheckpoint) -> dict[str, Any]:
    """Sizes, kind, learner and steps of the network, JSON-ready."""
    from metabit.export import learner_of
    from metabit.train.gates_checkpoint import GatesCheckpoint

    default, learner = isinstance(checkpoint, GatesCheckpoint), learner_of(frozen)
    sizes = [frozen.features, *(layer.units for layer in frozen.layers)]
    return {
        "network": " -> ".join(map(str, sizes)) + (", the default network" if default else ", a network of the paper"),
        "kind": "default" if default else "paper",
        "learner": learner.name if learner else "none",
        "steps": frozen.counters.steps,
        "features": frozen.features,
        "classes": frozen.classes,
    }
