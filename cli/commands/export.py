"""metabit export"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from metabit.cli.errors import UsageError
from metabit.experiments import show
from metabit.experiments.demo_settings import RECIPE


def command(
    source: Annotated[
        Path, typer.Argument(help="checkpoint.safetensors from metabit train, or a (learned) .mbit image.")
    ] = Path("out/checkpoint.safetensors"),
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder; by default the source's.")] = None,
    bits: Annotated[
        int,
        typer.Option(help="Bits a synapse, sign included, 2..8; 1 exports a frozen network, but not of graded units."),
    ] = RECIPE.bits,
    m: Annotated[
        str | None,
        typer.Option(
            help="Metaplasticity on the device, by default what training used; 0 switches it off, auto suits it to the levels."
        ),
    ] = None,
    strengthen: Annotated[
        str, typer.Option(help="certain: only weakening is gated (the paper); same: both are, for endless streams.")
    ] = "certain",
    visits: Annotated[
        float | None,
        typer.Option(help="Share of the eligible synapses that a wholly wrong sample visits; default 0.12."),
    ] = None,
    margin: Annotated[float, typer.Option(help="Skip samples whose true class has an error below this, 0..1.")] = 0.02,
    backward: Annotated[
        str, typer.Option(help="How errors pass hidden layers: exact, or ternary, as signs drawn, for fewer cycles.")
    ] = "exact",
    formats: Annotated[str, typer.Option(help="Comma-separated: mbit, onnx, tflite.")] = "mbit,onnx,tflite",
    seed: show.Seed = 1,
    json: show.Json = False,
) -> None:
    """Freeze a network into integers and write it for every engine.

    Writes model.mbit, model.onnx, model.tflite, vectors.npz and manifest.json, reads each back, and says done only when every
    engine gives the same integer scores. From an image the learning options stay as they are in it.

    Example: [bold]metabit export out/checkpoint.safetensors --bits 4[/]
    """
    from metabit import export, train
    from metabit.runtime import Model

    options = export.Options(
        bits=bits, m=_metaplasticity(m), strengthen=strengthen, visits=visits, margin=margin, backward=backward, seed=seed  # type: ignore[arg-type]
    )  # fmt: skip
    wanted = [name.strip() for name in formats.split(",") if name.strip()]
    if not wanted:
        raise UsageError("--formats is empty: choose from mbit, onnx, tflite")
    if source.suffix == ".mbit":
        if output is None:
            raise UsageError(
                f"say with -o where the files of {source} are to go: beside it they could replace the original's"
            )
        if options != export.Options(bits=RECIPE.bits, seed=1):
            raise UsageError(
                "an image brings its own learning options: give --bits, --m and the like with a checkpoint"
            )
        frozen = export.read_image(source.read_bytes())
    else:
        checkpoint = train.load_checkpoint(source)
        if checkpoint.spec.units == "graded":
            plain = export.Options(bits=bits, m=options.m, seed=seed)
            if bits < 2 or options != plain:
                raise UsageError(
                    "graded units learn by votes, in 2 to 8 bits: --strengthen, --visits, --margin and --backward are of other "
                    "networks; metabit tune sets theirs"
                )
            asked = (
                None if isinstance(options.m, str) else options.m
            )  # by itself a level is as wide as suits the tables: auto
            frozen = export.hand_over(checkpoint, replace(export.FIELD, bits=bits, seed=seed), asked)
        else:
            frozen = export.freeze(checkpoint, options)
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


def _metaplasticity(m: str | None) -> float | Literal["auto"] | None:
    if m == "auto":
        return "auto"
    try:
        return None if m is None else float(m)
    except ValueError:
        raise UsageError(f"--m {m}: give a number, or auto") from None
