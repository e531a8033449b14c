"""Command `metabit train`: the default network, or the paper's networks."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from metabit.cli.removed import refusing
from metabit.experiments import show

if TYPE_CHECKING:
    from metabit.data import Scenario
    from metabit.train import Checkpoint
    from metabit.train.run import Run

WHAT, RULE, OUT = "Network and tasks", "Training", "Results"

_SET = {
    "--batch": "batch", "--input": "input", "--planes": "planes", "--norm": "norm", "--gamma": "gamma_init",
    "--statistics": "statistics", "--outputs": "output", "--penalty": "penalty", "--strength": "strength", "--lr": "lr",
    "--weight-decay": "weight_decay", "--eps": "eps", "--evaluate-every": "evaluate_every",
}  # fmt: skip
REMOVED = {
    **{flag: f"is --set {name}={{value}} now" for flag, name in _SET.items()},
    "--interleaved": "is --set interleaved=true now",
    "--per-task-norm": "is --set per_task_norm=true now",
    "--shared-norm": "is --set per_task_norm=false now",
    "--fresh-moments": "is --set fresh_moments=true now",
    "--keep-moments": "is --set fresh_moments=false now",
    "--evaluate-all": "is --set evaluate_all=true now",
    "--rule": "was removed: the only rule is the paper's Adam, and --m 0 is plain Adam",
    "--grid-bits": "was removed: train in floats and choose the bits of a level at export, metabit export --bits",
    "--grid-span": "was removed: train in floats and choose the bits of a level at export, metabit export --bits",
    "--tensorboard": "was removed: history.csv has every row, and --plot draws them",
}


_OF_NETWORK = (
    "preset", "hidden", "input", "planes", "norm", "gamma_init", "affine", "statistics", "output", "units", "bits",
    "thresholds", "shared",
)  # fmt: skip
"""Settings that a network at the start has already."""


def command(
    scenario: Annotated[str, Argument(help="A name of the list above, or your own file or folder.")] = "digits",
    output: Annotated[Path, Option("-o", "--output", help="Folder for all results.", rich_help_panel=OUT)] = Path("out"),
    preset: Annotated[str | None, Option(help="Network: a name of the list above.", rich_help_panel=WHAT)] = None,
    hidden: Annotated[list[int] | None, Option(help="Units of a hidden layer; repeat.", rich_help_panel=WHAT)] = None,
    tasks: Annotated[int | None, Option(help="Number of tasks.", min=1, rich_help_panel=WHAT)] = None,
    epochs: Annotated[int | None, Option(help="Passes over each task, or over all samples.", min=1, rich_help_panel=RULE)] = None,
    m: Annotated[list[float] | None, Option(help="Metaplasticity, 0 is none; repeat: by layer.", rich_help_panel=RULE)] = None,
    seed: Annotated[int | None, Option(help="Equal seeds give equal results.", min=0, max=2**32 - 1, rich_help_panel=RULE)] = None,
    file: Annotated[Path | None, Option("--settings", help="Settings in a .toml or .json file.", rich_help_panel=RULE)] = None,
    pairs: Annotated[list[str] | None, Option("--set", metavar="NAME=VALUE", help="Repeatable.", rich_help_panel=RULE)] = None,
    resume: Annotated[bool, Option("--resume", help="Continue a run that was stopped.", rich_help_panel=OUT)] = False,
    start: Annotated[Path | None, Option(help="A checkpoint to go on from, as of metabit import.", rich_help_panel=WHAT)] = None,
    plot: Annotated[bool, Option("--plot", help="Also draw the results.", rich_help_panel=OUT)] = False,
    json: show.Json = False,
) -> None:  # fmt: skip
    from metabit.cli import datasets, default_training
    from metabit.cli.errors import UsageError
    from metabit.data import load
    from metabit.data.arrays import OWN
    from metabit.train import Checkpoint, GatesCheckpoint, load_checkpoint
    from metabit.train.recipe_run import applies
    from metabit.train.settings_file import merge

    by_layer = m[0] if m and len(m) == 1 else m or None
    flags = {"preset": preset, "hidden": hidden or None, "epochs": epochs, "m": by_layer, "seed": seed}
    changes = merge(file, pairs or (), flags)
    number = changes.get("seed", 0)
    begun = None if start is None else load_checkpoint(start)
    for name in _OF_NETWORK if begun is not None else ():
        if name in changes:
            raise UsageError(f"{name}={changes[name]} is of a new network, and {start} brings its own: leave one out")
    row = load(scenario, seed=number if isinstance(number, int) else 0, tasks=tasks, warn=datasets.warn)
    default = applies(
        changes, default=row.most == 1 or row.summary == OWN if begun is None else not isinstance(begun, Checkpoint)
    )
    if isinstance(begun, Checkpoint) and not default:
        rule = {"m": begun.m, "lr": begun.rule.lr, "weight_decay": begun.rule.weight_decay}
        _paper(scenario, row, rule | changes, output, resume, plot, json, begun)
    elif isinstance(begun, GatesCheckpoint) and default:
        default_training.run(scenario, row, changes, output, resume, plot, json, begun)
    elif begun is not None:
        kinds = "the paper's networks", "the default network"
        raise UsageError(
            f"{start} holds one of {kinds[not default]}, and a setting is of {kinds[default]}: leave that out"
        )
    elif default:
        default_training.run(scenario, row, changes, output, resume, plot, json)
    else:
        _paper(scenario, row, changes, output, resume, plot, json)


def _paper(
    scenario: str,
    row: Scenario,
    changes: dict[str, Any],
    output: Path,
    resume: bool,
    plot: bool,
    json: bool,
    begun: Checkpoint | None = None,
) -> None:
    """Train a network of the paper on one task after another."""
    from metabit.data.task import check_bytes
    from metabit.train import metrics
    from metabit.train.run import run
    from metabit.train.settings import Settings, defaults

    settings = Settings.of(defaults(scenario), **changes)
    way_out = "leave out --m, --set and --preset to train the default network, which takes any numbers"
    check_bytes(row.task(0), "a network of the paper", way_out)
    start = monotonic()
    phases = 1 if settings.interleaved else row.count
    with show.bar(f"training on {row.name}", phases * settings.epochs) as bar:

        def tell(epoch: dict[str, Any]) -> None:
            task = f"task {epoch['task'] + 1} of {phases}, " if phases > 1 else ""
            known = epoch["accuracy"]
            mean = f"test accuracy {show.percent(sum(known) / len(known))}" if known else f"loss {epoch['loss']:.3f}"
            bar.step(text=f"training, {task}{mean}")

        ran = run(row, settings, output, resume=resume, progress=tell, start=begun)
    seconds = monotonic() - start

    path = output / "checkpoint.safetensors"
    # A resumed run must end in the same bytes, so the provenance leaves --resume out.
    typed = show.command_line().replace(" --resume", "")
    names = {name: list(getattr(row, name)) for name in ("class_names", "feature_names") if getattr(row, name)}
    used = {name: value for name, value in settings.to_dict().items() if begun is None or name not in _OF_NETWORK}
    about = {
        "data": scenario, **names, "seed": settings.seed, "command": typed, "settings": used,
        "read": row.facts(),
    }  # fmt: skip
    ran.checkpoint(provenance=about).write(path)
    if ran.history:
        evaluated = any(row["accuracy"] for row in ran.history)
        metrics.write_json(output / "history.json", ran.history, ran.baseline if evaluated else None)
        metrics.write_csv(output / "history.csv", ran.history)
    if plot:
        _draw(ran, output)
    facts = _facts(ran, path, seconds)
    if json:
        show.emit({**facts, "read": row.facts()})
    else:
        show.say(row.line())
        _tell(ran, facts, scenario)
    if ran.interrupted:
        raise typer.Exit(130)


def _facts(ran: Run, path: Path, seconds: float) -> dict[str, Any]:
    matrix = ran.accuracy_matrix()
    last = ran.history[-1] if ran.history else {}
    final: list[float] = next((row["accuracy"] for row in reversed(ran.history) if row["accuracy"]), [])
    return {
        "checkpoint": str(path), "scenario": ran.scenario.name, "tasks": ran.scenario.count, "epochs": len(ran.history),
        "interrupted": ran.interrupted, "seconds": round(seconds, 1), "loss": last.get("loss"),
        "train_accuracy": last.get("train_accuracy"), "test_accuracy": final[-1] if final else None, "accuracy": final,
        "mean_accuracy": sum(final) / len(final) if final else None,
        "accuracy_matrix": [[None if value != value else value for value in row] for row in matrix.tolist()],
    }  # fmt: skip


def _draw(ran: Run, output: Path) -> None:
    from metabit.experiments import plots

    plots.hidden_histograms(output / "hidden.svg", ran.network.tensors())
    if any(row["accuracy"] for row in ran.history):
        plots.accuracy_over_time(output / "accuracy.svg", ran.history)
        plots.accuracy_heat_map(output / "matrix.svg", ran.accuracy_matrix())


def _epochs(facts: dict[str, Any]) -> str:
    count = facts["epochs"]
    return f"{count} epoch{'s' * (count != 1)}" if count else "a part of the first epoch"


def _tell(ran: Run, facts: dict[str, Any], name: str) -> None:
    if ran.interrupted:
        show.say(f"Interrupted after {_epochs(facts)}; the state is saved, and --resume continues.")
    if len(facts["accuracy"]) > 1:
        matrix = facts["accuracy_matrix"]
        rows = [
            (f"{i + 1}", "" if matrix[i][i] is None else show.percent(matrix[i][i]), show.percent(end))
            for i, end in enumerate(facts["accuracy"])
        ]
        mean = ("mean", "", show.percent(facts["mean_accuracy"]))
        show.table(f"test accuracy on {name}", ("task", "just learnt", "at the end"), [*rows, mean])
    reached = f", test accuracy {show.percent(facts['mean_accuracy'])}" if facts["accuracy"] else ""
    show.say(f"{facts['checkpoint']}: {_epochs(facts)} on {name}{reached}, {facts['seconds']} s")


class Command(refusing(REMOVED)):  # type: ignore[misc]  # the class is made at run time
    """The command, whose help is made only when it is shown: its lists need NumPy."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from metabit.data.scenarios import SCENARIOS
        from metabit.train.network.presets import NORMED, PRESETS

        normed = [
            f"{name:<15}  {units} gates{', the default' if units == 32 else ''}" for name, units in NORMED.items()
        ]
        self.help = HELP.format(
            scenarios="\n".join(f"{row.name:<15}  {row.summary}" for row in SCENARIOS.values()),
            presets="\n".join([*normed, *(f"{row.name:<15}  {row.summary}" for row in PRESETS.values())]),
        )
        super().format_help(ctx, formatter)


HELP = """Train a network on your data, or one of the paper's networks on one task after another.

Example: [bold]metabit train my.csv -o out[/]

On your own data and on a single task (digits, mnist, fashion, usps ...) it is the default network: thresholds of each feature,
fitted on the training part, one layer of gates, --hidden 32 of them, and an output of levels. It takes any numbers, and all
tasks of a file are learnt together. On a sequence of tasks, and with any setting of the paper's networks (--m, --set, a --preset
of theirs, several --hidden), it is a metaplastic binary network, which takes whole numbers from 0 to 255:
[bold]metabit train rotated-digits -o out --epochs 20 --m 25[/]

At the end the learners that the default network can be exported with (head, levels, none) and their rivals learn one half of the
held-out samples in place and are tested on the other, mixed and sorted by class. A network of the paper has one learner, and its
accuracy on each of its tasks shows what it forgets: there is nothing to choose, so it is not judged.

The data:

\b
{scenarios}
my.npz           your own: arrays x (n, features), any numbers, and y (n,), numbers or words
my.csv           your own: a row for each sample, the label in column label, class, target, y or the last
pictures         your own: a folder with a subfolder of pictures for each class
a.csv,b.csv      your own: a training part and a test part, two files or two folders

The networks of --preset, those of the default network first:

\b
{presets}

An array or column named task makes your own data a sequence. NAME:2 is one task of it. Public datasets are downloaded
once and kept; METABIT_DATA_DIR names a folder that has them already. docs/training.md lists the settings for --set and
--settings. Ctrl-C saves. --resume continues a run on a sequence to an equal result.
"""

app = typer.Typer(rich_markup_mode="rich", add_completion=False)
app.command("train", cls=Command, help=HELP)(command)
