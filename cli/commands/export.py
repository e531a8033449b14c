"""metabit export"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from metabit.cli.errors import UsageError
from metabit.experiments import show
from metabit.experiments.demo_settings import RECIPE

if TYPE_CHECKING:
    from metabit.export import Frozen, VisitOptions


CHECKPOINT = Path("out/checkpoint.safetensors")


def command(
    source: Annotated[Path, Argument(help="checkpoint.safetensors from metabit train, or a (learned) .mbit image.")] = CHECKPOINT,
    output: Annotated[Path | None, Option("-o", "--output", help="Folder; by default the source's.")] = None,
    bits: Annotated[int, Option(help="Bits a synapse, 2..8; 1 exports a frozen network, but not of graded units.")] = RECIPE.bits,
    m: Annotated[str | None, Option(help="Metaplasticity, by default that of training; 0 is none.")] = None,
    strengthen: Annotated[str, Option(help="certain (the paper), or same: by chance like weakening, for streams.")] = "certain",
    visits: Annotated[float | None, Option(help="Share of eligible synapses that a completely wrong sample visits; 0.12.")] = None,
    margin: Annotated[float, Option(help="Skip a sample if the error of its true class is below this, 0..1.")] = 0.02,
    backward: Annotated[str, Option(help="How errors pass layers: exact, or ternary: random signs, fewer cycles.")] = "exact",
    formats: Annotated[str, Option(help="Comma-separated: mbit, onnx, tflite.")] = "mbit,onnx,tflite",
    seed: show.Seed = 1,
    json: show.Json = False,
) -> None:  # fmt: skip
    """Freeze a network into integers and write it for every engine.

    Writes model.mbit, model.onnx, model.tflite, vectors.npz and manifest.json. Each file is read back, and nothing is written
    unless every engine gives the same integer scores. An image keeps its own learning options.

    Example: [bold]metabit export out/checkpoint.safetensors --bits 4[/]
    """
    from metabit import export
    from metabit.runtime import Model

    wanted = [name.strip() for name in formats.split(",") if name.strip()]
    if not wanted:
        raise UsageError("--formats is empty: choose from mbit, onnx, tflite")
    try:
        options = export.VisitOptions(
            bits=bits, m=_metaplasticity(m), strengthen=strengthen, visit_rate=visits, skip_below=margin, backward=backward,  # type: ignore[arg-type]
            seed=seed,
        )  # fmt: skip
        frozen = _frozen(source, output, options)
    except export.ExportError as wrong:
        raise UsageError(str(wrong).replace("visit_rate=", "--visits ").replace("skip_below=", "--margin ")) from None
    written = export.export_all(
        frozen,
        output or source.parent,
        formats=wanted,
        device=lambda image, x: Model(image).scores(x),
        provenance={"command": show.command_line(), "seed": seed},
    )
    if json:
        show.emit({"folder": str(output or source.parent), "files": written.files, "engines": list(written.engines)})
        return
    show.table(f"{output or source.parent}", ["file", "bytes"], [(f, f"{n:,}") for f, n in written.files.items()])
    show.say(f"{', '.join(written.engines)}: equal integer scores on {written.inputs} inputs")


def _frozen(source: Path, output: Path | None, o: VisitOptions) -> Frozen:
    """The network of an image, or of a checkpoint with these options."""
    from metabit import export, train

    if source.suffix == ".mbit":
        if output is None:
            raise UsageError(
                f"-o is missing: next to {source} the files could replace those of the original, name a folder"
            )
        if o != export.VisitOptions(bits=RECIPE.bits, seed=1):
            raise UsageError(
                "an image brings its own learning options: give --bits, --m and the like with a checkpoint"
            )
        return export.read_image(source.read_bytes())
    checkpoint = train.load_checkpoint(source)
    if checkpoint.spec.units != "graded":
        return export.freeze(checkpoint, o)
    if o.bits < 2 or o != export.VisitOptions(bits=o.bits, m=o.m, seed=o.seed):
        raise UsageError(
            "graded units learn by votes, in 2 to 8 bits: --strengthen, --visits, --margin and --backward belong to other "
            "networks; metabit tune sets the options of the vote rule"
        )
    votes = replace(export.VOTES_AFTER_TRAINING, bits=o.bits, seed=o.seed)
    return export.freeze_graded(checkpoint, votes, o.m)


def _metaplasticity(m: str | None) -> float | None:
    if m == "auto":
        from metabit.export.freeze.visits import NO_AUTO

        raise UsageError(f"--{NO_AUTO.replace('=', ' ', 1)}")
    try:
        return None if m is None else float(m)
    except ValueError:
        raise UsageError(f"--m {m}: give a number") from None
