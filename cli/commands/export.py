"""metabit export"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from metabit.cli import datasets, guards, outputs
from metabit.cli.errors import UsageError, with_options
from metabit.experiments import show
from metabit.experiments.demo_settings import RECIPE

if TYPE_CHECKING:
    from metabit.export import Frozen, VisitOptions
    from metabit.train import Checkpoint
    from metabit.train.gates_checkpoint import GatesCheckpoint


CHECKPOINT = Path("out/checkpoint.safetensors")
HEAD_OPTIONS = {"rows": "rows_per_class", "memory": "memory", "sweep-every": "sweep_every"}
HEAD, PAPER, LEVELS = "A head", "Networks of the paper", "Learning"


def _option(panel: str, text: str, *names: str, **more: Any) -> Any:
    return Option(*names, help=text, rich_help_panel=panel, **more)


Learner = Annotated[
    str | None,
    _option(LEVELS, "head, levels, visits, votes or none; by default what suits the network: a head after gates."),
]
M = Annotated[
    str | None,
    _option(LEVELS, "Metaplasticity of levels, visits or votes; 0 is none."),
]
Spare = Annotated[int | None, _option(HEAD, "Classes that may still come.", "--spare-classes", min=0)]
Rows = Annotated[int | None, _option(HEAD, "Means that one class may have, 1..8; 1.")]
Memory = Annotated[int | None, _option(HEAD, "Samples that a class mean remembers, 1..1023; 255, with --rows 1023.")]
Prior = Annotated[str | None, _option(HEAD, "on: frequent classes score higher, or off; on.")]
Sweep = Annotated[
    int | None,
    _option(HEAD, "Steps from one sweep of weights to the next: 1, 2, 4, .. 128; 1.", "--sweep-every"),
]
Bits = Annotated[int | None, _option(PAPER, f"Bits a synapse, 2..8; 1 exports a frozen network; {RECIPE.bits}.")]
Strengthen = Annotated[
    str | None, _option(PAPER, "certain (the paper), or same: by chance like weakening, for streams; certain.")
]
Visits = Annotated[
    float | None, _option(PAPER, "Share of eligible synapses that a completely wrong sample visits; 0.12.")
]
Margin = Annotated[
    float | None, _option(PAPER, "Skip a sample if the error of its true class is below this, 0..1; 0.02.")
]
Backward = Annotated[
    str | None,
    _option(PAPER, "How errors pass hidden layers: ternary (random signs), or exact, for more cycles; ternary."),
]


def command(
    source: Annotated[Path, Argument(help="checkpoint.safetensors from metabit train, or a (learned) .mbit image.")] = CHECKPOINT,
    output: Annotated[Path | None, Option("-o", "--output", help="Folder; by default the source's.")] = None,
    learner: Learner = None,
    m: M = None,
    spare: Spare = None,
    rows: Rows = None,
    memory: Memory = None,
    prior: Prior = None,
    sweep_every: Sweep = None,
    bits: Bits = None,
    strengthen: Strengthen = None,
    visits: Visits = None,
    margin: Margin = None,
    backward: Backward = None,
    guard: guards.Samples = None,
    data: guards.Data = None,
    formats: Annotated[
        str | None, Option(help="Comma-separated: mbit, onnx, tflite, qonnx, lce, micro, onnx-train, tflite-train.")
    ] = None,
    inline: Annotated[bool, Option("--inline", help="model.onnx without functions, for older runtimes and other tools.")] = False,
    license_: Annotated[str | None, Option("--license", help="Licence of the weights, for MODEL_CARD.md.")] = None,
    seed: show.Seed = 1,
    json: show.Json = False,
) -> None:  # fmt: skip
    """Freeze a network into integers and write it for every engine.

    Writes model.mbit, model.h (sizes and names for C), model.onnx, model.tflite, vectors.npz, MODEL_CARD.md and manifest.json. Each
    file is read back, and nothing is written unless all engines give equal integer scores. An image keeps its own learner, and so
    does a checkpoint of metabit import without options.

    Learners of the default network: a head, class means that learn new data and new classes in a few KB; levels, the output as
    training left it, which learns on in half a KB; none. Learners of the paper's networks: visits, of sign units; votes, of graded
    units; none.

    With --guard also model.guard.bin and model_guard.h, for learning that stops or goes back where it does harm.

    Example: [bold]metabit export out/checkpoint.safetensors --spare-classes 2[/]
    """
    from metabit import export
    from metabit.runtime import Model, model_header

    if data is not None and guard is None:
        raise UsageError("--data names the dataset of the guard samples: add --guard 64")
    options = {
        "learner": learner, "m": m, "spare-classes": spare, "rows": rows, "memory": memory, "prior": prior, "bits": bits,
        "sweep-every": sweep_every, "strengthen": strengthen, "visits": visits, "margin": margin, "backward": backward,
    }  # fmt: skip
    given = {name: value for name, value in options.items() if value is not None}
    try:
        frozen, told = _frozen(source, output, given, seed)
        known = datasets.of_training(told)
        guarded = (
            None if guard is None else guards.guard_data(frozen, data or known.get("data"), guard, seed, quiet=json)
        )
    except export.ExportError as wrong:
        raise UsageError(with_options(str(wrong))) from None
    wanted = _formats(formats)
    about = {**known, "command": show.command_line(), "seed": seed}
    outputs.warn_of_fewer_classes((output or source.parent) / "model.mbit", frozen.classes)
    written = export.export_all(
        frozen,
        output or source.parent,
        formats=wanted,
        device=lambda image, x: Model(image).scores(x),
        header=model_header,
        inline=inline,
        beside=guards.files(guarded),
        card=lambda files: export.model_card(frozen, files, about, license_),
        provenance=about,
    )
    image = Model.open((output or source.parent) / "model.mbit") if "mbit" in wanted else None
    if json:
        found = {"folder": str(output or source.parent), "files": written.files, "engines": list(written.engines)}
        show.emit(found | {"learner": image.learner if image else None})
        return
    show.table(f"{output or source.parent}", ["file", "bytes"], [(f, f"{n:,}") for f, n in written.files.items()])
    if image is not None:
        arena = image.arena_size("infer" if image.learner == "none" else "learn")
        show.say(f"learner {image.learner}: {image.state_size:,} bytes of state and {arena:,} bytes of arena in RAM")
    if guarded is not None:
        show.say(f"guard: {len(guarded):,} bytes of flash")
    show.say(f"{', '.join(written.engines)}: equal integer scores on {written.inputs} inputs")


def _formats(formats: str | None) -> list[str]:
    from metabit.export.bundle import DEFAULT_FORMATS, FORMATS

    names = DEFAULT_FORMATS if formats is None else formats.split(",")
    wanted = [name.strip() for name in names if name.strip()]
    if not wanted:
        raise UsageError(f"--formats is empty: choose from {', '.join(FORMATS)}")
    return wanted


def _frozen(source: Path, output: Path | None, given: dict[str, Any], seed: int) -> tuple[Frozen, dict[str, Any]]:
    """The network of an image, or of a checkpoint with these options, and what is known of its training."""
    from metabit import export, train
    from metabit.experiments.learners import named
    from metabit.train.gates_checkpoint import GatesCheckpoint

    if source.suffix == ".mbit":
        if output is None:
            raise UsageError(
                f"-o is missing: next to {source} the files could replace those of the original, name a folder"
            )
        frozen = export.read_image(source.read_bytes())
        if "spare-classes" in given:
            raise UsageError(_no_room(source, frozen, given["spare-classes"]))
        if given or seed != 1:
            raise UsageError(
                "an image brings its own learning options: give --bits, --m, --learner and the like with a checkpoint"
            )
        return frozen, datasets.manifest_of(source)
    _visits(given, seed)
    checkpoint = train.load_checkpoint(source)
    if checkpoint.device is not None and not given and seed == 1:
        return named(export.frozen_of(checkpoint), checkpoint), checkpoint.provenance
    if isinstance(checkpoint, GatesCheckpoint):
        return _gates(checkpoint, given, seed), checkpoint.provenance
    return named(_paper(checkpoint, given, seed), checkpoint), checkpoint.provenance


def _no_room(source: Path, frozen: Frozen, spare: int) -> str:
    """Why an image gets no spare classes, and what to do instead."""
    start = f"--spare-classes {spare}: {source} has room for the classes that it was made with"
    if frozen.layers[-1].kind != "head":
        return f"{start}, and only a head has spare ones: train the default network, or start with metabit fresh"
    if frozen.layers[0].kind == "triples":
        return f"{start}: make one with room, metabit fresh DATA --spare-classes {spare}, and let it learn again"
    return f"{start}: export its checkpoint.safetensors with --spare-classes {spare}, and let the new image learn again"


def _gates(checkpoint: GatesCheckpoint, given: dict[str, Any], seed: int) -> Frozen:
    from metabit import export

    of_paper = [name for name in ("bits", "strengthen", "visits", "margin", "backward") if name in given]
    if of_paper or given.get("learner") in ("visits", "votes"):
        what = f"--{of_paper[0]}" if of_paper else f"--learner {given['learner']}"
        raise UsageError(
            f"{what} belongs to networks of the paper (metabit train --preset wide-512, gates-192 ...): the default network "
            "has the learners head, levels and none"
        )
    spare = given.get("spare-classes", 0)
    learner = given.get("learner") or _default_learner(checkpoint, spare)
    for name in ("spare-classes", "rows", "memory", "prior", "sweep-every"):
        if name in given and learner != "head":
            raise UsageError(
                f"--{name} is of a head, and the learner is {learner}: give --learner head, or leave it out"
            )
    if "m" in given and learner != "levels":
        raise UsageError(
            f"--m is of levels that learn, and the learner is {learner}: give --learner levels, or leave it out"
        )
    if given.get("prior") not in (None, "on", "off"):
        raise UsageError(f"--prior {given['prior']}: must be on or off")
    options: dict[str, Any] = {"learner": learner, "spare_classes": spare, "seed": seed}
    options |= {to: given[name] for name, to in HEAD_OPTIONS.items() if name in given}
    if "prior" in given:
        options["prior"] = given["prior"] == "on"
    if "m" in given:
        options["m"] = _number(given["m"])
    return export.freeze_gates(checkpoint, options=export.GateOptions(**options))


def _default_learner(checkpoint: GatesCheckpoint, spare: int) -> str:
    """A head where one fits, else levels, which is said."""
    from metabit.train.gates_checkpoint import MAX_ROWS, MAX_VALUES

    if checkpoint.head_fits(spare):
        return "head"
    if spare and checkpoint.head_fits(0):
        most = MAX_ROWS - checkpoint.classes
        raise UsageError(f"--spare-classes {spare}: a head has at most {MAX_ROWS} classes, give at most {most}")
    size = f"{checkpoint.units} gates and {checkpoint.classes + spare} classes"
    show.warn(
        f"warning: a head takes {MAX_VALUES // 2} gates and {MAX_ROWS} classes at most, not {size}: the learner is levels"
    )
    return "levels"


def _paper(checkpoint: Checkpoint, given: dict[str, Any], seed: int) -> Frozen:
    from metabit import export

    votes = checkpoint.spec.units == "graded"
    learner = given.pop("learner", None)
    mine = "votes" if votes else "visits"
    for name in ("spare-classes", "rows", "memory", "prior", "sweep-every"):
        if name in given:
            raise UsageError(
                f"--{name} is of a head, which this network of the paper cannot have: train the default network, by metabit "
                "train without --preset, --m and --set"
            )
    if learner not in (None, mine, "none") or (votes and learner == "none"):
        way_out = "train the default network for head or levels" if learner in ("head", "levels") else f"choose {mine}"
        raise UsageError(
            f"--learner {learner}: this network of the paper learns by {mine}{'' if votes else ', or none'}; {way_out}"
        )
    if learner == "none" and given.get("bits", 1) != 1:
        raise UsageError(
            f"--learner none with --bits {given['bits']}: a network that does not learn has 1 bit, leave one out"
        )
    if not votes:
        return export.freeze(checkpoint, _visits({"bits": 1} | given if learner == "none" else given, seed))
    bits, m = given.get("bits", RECIPE.bits), _metaplasticity(given.get("m"))
    if bits < 2 or set(given) - {"bits", "m"}:
        raise UsageError(
            "graded units learn by votes, in 2 to 8 bits: --strengthen, --visits, --margin and --backward belong to other "
            "networks; metabit tune sets the options of the vote rule"
        )
    options = replace(export.VOTES_AFTER_TRAINING, bits=bits, seed=seed)
    return export.freeze_graded(checkpoint, options, m)


def _visits(given: dict[str, Any], seed: int) -> VisitOptions:
    """The options of the visit rule. Raises UsageError or ExportError: a value is out of range."""
    from metabit import export

    names = {"strengthen": "strengthen", "visits": "visit_rate", "margin": "skip_below", "backward": "backward"}
    more = {to: given[name] for name, to in names.items() if name in given}
    return export.VisitOptions(
        bits=given.get("bits", RECIPE.bits), m=_metaplasticity(given.get("m")), seed=seed, **more
    )  # fmt: skip


def _metaplasticity(m: str | None) -> float | None:
    if m == "auto":
        from metabit.export.freeze.visits import NO_AUTO

        raise UsageError(f"--{NO_AUTO.replace('=', ' ', 1)}")
    return None if m is None else _number(m)


def _number(m: str) -> float:
    try:
        return float(m)
    except ValueError:
        raise UsageError(f"--m {m}: give a number") from None
