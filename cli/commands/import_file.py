"""metabit import"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from typer import Argument, Option

from metabit.cli.errors import UsageError, with_options
from metabit.data.rows import write_whole
from metabit.experiments import show

if TYPE_CHECKING:
    from metabit.export import Frozen
    from metabit.train import Checkpoint
    from metabit.train.gates_checkpoint import GatesCheckpoint

FILE, IMAGE = "checkpoint.safetensors", "model.mbit"
BITS = 4
OTHERS = "Networks of other tools"


def command(
    source: Annotated[Path, Argument(help="A file of metabit, Larq (.h5, .tflite), Brevitas (.onnx), or the paper (.pt).")],
    output: Annotated[Path, Option("--output", "-o", help=f"Folder for {FILE}; an older one in it is replaced.")],
    bits: Annotated[int | None, Option(help=f"Bits a synapse of layers that learn, 2..8; {BITS}.", rich_help_panel=OTHERS)] = None,
    hidden: Annotated[str | None, Option(
        help="Where levels start: surest or least (of each sign), or file, its hidden weights; file if it has them, else surest.",
        rich_help_panel=OTHERS,
    )] = None,
    inputs: Annotated[str | None, Option(
        "--input", help="Numbers for which bytes 0 and 255 stand, LOW,HIGH (LOW,HIGH,TOP: bytes 0 and TOP); or bits, or signs.",
        rich_help_panel=OTHERS,
    )] = None,
    json: show.Json = False,
) -> None:  # fmt: skip
    """Bring a network back from a device, or in from another tool: write the checkpoint from which training goes on.

    A network of metabit: the checkpoint has a float hidden weight in the middle of each level, the normalisation that gives the
    same integers, and what only the device has: generator, counters, what a head learnt, kept samples, probability tables, names.
    [bold]metabit export[/] of it, without options, gives the image back, byte for byte.

    A binary network of Larq (.h5, .tflite) or of Brevitas and FINN (QONNX): also DIR/model.mbit, which decides as that network does
    and learns on. --input says which numbers it was trained on: the device has bytes or bits.

    [bold]metabit train DATA --start DIR/checkpoint.safetensors[/] trains on, and in Python
    [bold]metabit.train.load_checkpoint(FILE).to_network()[/] is the network in PyTorch. Units from nothing (metabit fresh) were
    never trained, and have no checkpoint. docs/formats.md says how each number is chosen.

    Example: [bold]metabit import out/learned.mbit -o home[/], or [bold]metabit import larq.h5 -o in --input=-1,1[/]
    """
    from metabit import export

    if output.is_file():
        raise UsageError(f"--output {output} is a file: name a folder")
    frozen, about = network_of(source, bits, hidden, inputs)
    try:
        checkpoint = export.thaw(frozen, about)
    except export.ExportError as wrong:
        raise UsageError(f"{source}: {wrong}") from None
    if export.write_image(export.frozen_of(checkpoint)) != checkpoint.device:
        raise UsageError(f"{source} does not come back from its checkpoint as it was: please report this")
    tool = about.get("tool")
    for name in (FILE, IMAGE) if tool else (FILE,):
        if (output / name).is_dir():
            raise UsageError(f"{output / name} is a folder, nothing was written: name another --output")
    output.mkdir(parents=True, exist_ok=True)
    if tool and checkpoint.device is not None:
        write_whole(output / IMAGE, checkpoint.device)
    checkpoint.write(output / FILE)
    found = facts(frozen, checkpoint)
    if json:
        files = {"checkpoint": str(output / FILE)} | ({"image": str(output / IMAGE), "tool": tool} if tool else {})
        show.emit({"source": str(source), **files, **found})
        return
    if tool:
        learning = [str(i) for i, layer in enumerate(frozen.layers) if layer.rule is not None]
        show.say(
            f"{output / IMAGE}: {found['network']}, of {tool}; layers that learn on the device: {', '.join(learning) or 'none'}"
        )
        if "assumed" in about:
            show.say(about["assumed"])
    else:
        show.say(f"{output / FILE}: {found['network']}, {found['steps']:,} steps learnt on the device")
    show.say(
        f"metabit export {output / FILE} gives the network back as it is; metabit train DATA --start {output / FILE} trains on"
    )


def network_of(source: Path, bits: int | None, hidden: str | None, inputs: str | None) -> tuple[Frozen, dict[str, Any]]:
    """The network of a file, by its content, and what the checkpoint tells about its origin; "tool" for one of another tool."""
    from metabit.export import ExportError, VisitOptions, foreign, read_file
    from metabit.export.errors import naming

    with naming(source):
        theirs = foreign.is_foreign(source.read_bytes())
    if not theirs:
        given = {"--bits": bits, "--hidden": hidden, "--input": inputs}
        frozen = read_file(source).frozen
        for name, value in given.items():
            if value is not None:
                raise UsageError(f"{source} is a network of metabit, which says that itself: leave {name} out")
        return frozen, known(source)
    if hidden not in (None, *foreign.HIDDEN):
        raise UsageError(f"--hidden {hidden!r}: choose from {', '.join(foreign.HIDDEN)}")
    if bits is not None and not 2 <= bits <= 8:
        raise UsageError(f"--bits {bits}: give 2 to 8, the bits of synapses that learn")
    found = foreign.read(source)
    try:
        numbers = None if inputs is None else foreign.Numbers.parse(inputs)
        frozen = foreign.build(found, VisitOptions(bits=BITS if bits is None else bits), cast(Any, hidden), numbers)
    except ExportError as wrong:
        raise UsageError(f"{source}: {with_options(str(wrong))}") from None
    return frozen, {"imported": source.name, "tool": found.tool} | ({"assumed": found.assumed} if found.assumed else {})


def known(source: Path) -> dict[str, Any]:
    """The data of a file's network as the manifest beside it names it, for the checkpoint's provenance."""
    from metabit.cli import datasets

    told = datasets.of_training(datasets.manifest_of(source))
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
