"""metabit train"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabit.data.scenarios import SCENARIOS
from metabit.experiments import show
from metabit.train.network.presets import PRESETS

if TYPE_CHECKING:
    from metabit.train.run import Run

Teller = Callable[[dict[str, Any]], None]
NETWORK, DATA, RULE, OUT = "Network", "Tasks and their order", "Learning rule", "Results"


def command(
    scenario: Annotated[str, typer.Argument(help="A name of the list above, or your own file or folder.")] = "digits",
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for all results.", rich_help_panel=OUT)] = Path(
        "out"
    ),
    tasks: Annotated[int | None, typer.Option(help="How many tasks.", min=1, rich_help_panel=DATA)] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over each task.", min=1, rich_help_panel=DATA)] = None,
    batch: Annotated[int | None, typer.Option(help="Samples a step.", min=1, rich_help_panel=DATA)] = None,
    interleaved: Annotated[
        bool, typer.Option("--interleaved", help="All tasks mixed: the upper bound.", rich_help_panel=DATA)
    ] = False,
    seed: show.Seed = 0,
    preset: Annotated[str | None, typer.Option(help=f"Network: {', '.join(PRESETS)}.", rich_help_panel=NETWORK)] = None,
    hidden: Annotated[
        list[int] | None,
        typer.Option(help="Units of a dense hidden layer; repeat for more layers.", rich_help_panel=NETWORK),
    ] = None,
    inputs: Annotated[
        str | None,
        typer.Option(
            "--input", help="uint8: pixel values as they are; bits: 0 and 1, see --planes.", rich_help_panel=NETWORK
        ),
    ] = None,
    planes: Annotated[
        int | None,
        typer.Option(
            help="Thermometer planes that make bits of each feature; 0: none.", min=0, max=8, rich_help_panel=NETWORK
        ),
    ] = None,
    norm: Annotated[str | None, typer.Option(help="batch, instance or static.", rich_help_panel=NETWORK)] = None,
    per_task_norm: Annotated[
        bool | None,
        typer.Option(
            "--per-task-norm/--shared-norm",
            help="Whether each task is tested with a batch norm of its own (a hint which task it is).",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    gamma: Annotated[
        str | None, typer.Option(help="Initial gains of batch norm: ones or uniform.", rich_help_panel=NETWORK)
    ] = None,
    statistics: Annotated[
        str | None, typer.Option(help="Of batch norm at test: running or batch.", rich_help_panel=NETWORK)
    ] = None,
    outputs: Annotated[
        str | None,
        typer.Option(
            help="code: a fixed ±1 output code, which forgets least; learned: a binary layer like the others.",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    m: Annotated[
        list[float] | None,
        typer.Option(
            help="Metaplasticity: how hard a strong hidden weight is to weaken; 0 is none. Repeat: one for each layer.",
            rich_help_panel=RULE,
        ),
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(help="metaplastic (Adam), metaplastic-sgd or plain (Adam, m = 0).", rich_help_panel=RULE),
    ] = None,
    penalty: Annotated[
        str, typer.Option(help="Added to the loss: none, ewc, si or random.", rich_help_panel=RULE)
    ] = "none",
    strength: Annotated[float | None, typer.Option(help="Of the penalty.", min=0, rich_help_panel=RULE)] = None,
    lr: Annotated[float | None, typer.Option(help="Step size.", min=0, rich_help_panel=RULE)] = None,
    weight_decay: Annotated[float | None, typer.Option(help="L2.", min=0, rich_help_panel=RULE)] = None,
    eps: Annotated[
        float | None,
        typer.Option(
            help="Of Adam: gradients small beside it move, and consolidate, little.", min=0, rich_help_panel=RULE
        ),
    ] = None,
    fresh_moments: Annotated[
        bool | None,
        typer.Option(
            "--fresh-moments/--keep-moments",
            help="Whether the optimizer starts anew with each task.",
            rich_help_panel=RULE,
        ),
    ] = None,
    grid_bits: Annotated[
        int | None,
        typer.Option(
            help="Train on the device's grid of so many bits a hidden weight.", min=2, max=8, rich_help_panel=RULE
        ),
    ] = None,
    grid_span: Annotated[
        float | None, typer.Option(help="Largest hidden weight on the grid.", rich_help_panel=RULE)
    ] = None,
    evaluate_every: Annotated[
        int | None, typer.Option(help="Epochs between tests on all tasks so far.", min=1, rich_help_panel=OUT)
    ] = None,
    evaluate_all: Annotated[
        bool, typer.Option("--evaluate-all", help="Test on tasks not yet seen, too.", rich_help_panel=OUT)
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a run into the same folder stopped.", rich_help_panel=OUT)
    ] = False,
    plot: Annotated[
        bool, typer.Option("--plot", help="Also draw pictures into the folder.", rich_help_panel=OUT)
    ] = False,
    tensorboard: Annotated[
        bool,
        typer.Option("--tensorboard", help="Also write the folder's board/ for TensorBoard.", rich_help_panel=OUT),
    ] = False,
    json: show.Json = False,
) -> None:
    from metabit import train
    from metabit.cli import datasets
    from metabit.data import load
    from metabit.train import metrics
    from metabit.train.run import run
    from metabit.train.settings import Settings, defaults

    row = load(scenario, seed=seed, tasks=tasks, warn=datasets.warn)
    if inputs == "bits" and planes is None:
        planes = defaults(row.name).planes or 1
    elif inputs == "uint8":
        if planes:
            raise train.TrainError(f"--input uint8 with --planes {planes}: planes make bits, give only one of them")
        planes = 0
    settings = Settings.of(
        defaults(row.name), preset=preset, hidden=tuple(hidden) if hidden else None, input=inputs, planes=planes, norm=norm,
        per_task_norm=per_task_norm, gamma_init=gamma, statistics=statistics, output=outputs, epochs=epochs, batch=batch,
        lr=lr, weight_decay=weight_decay, eps=eps, m=m[0] if m and len(m) == 1 else tuple(m) if m else None, rule=rule, seed=seed,
        fresh_moments=fresh_moments, penalty=penalty, penalty_options={} if strength is None else {"strength": strength},
        interleaved=interleaved, grid_bits=grid_bits, grid_span=grid_span, evaluate_every=evaluate_every,
        evaluate_all=evaluate_all,
    )  # fmt: skip
    start = monotonic()
    phases = 1 if interleaved else row.count
    with show.bar(f"training on {row.name}", phases * settings.epochs) as bar, ExitStack() as stack:
        tellers: list[Teller] = [_Teller(bar, phases)]
        if tensorboard:
            from metabit.train.tensorboard import Board

            tellers.append(stack.enter_context(Board(output / "board")).row)
        ran = run(row, settings, output, resume=resume, progress=_each(tellers))
    seconds = monotonic() - start
    if not ran.first:  # torchrun started several processes, and another one speaks
        return

    path = output / "checkpoint.safetensors"
    # A resumed run must end in the same bytes, so what was typed to resume it is left out.
    typed = show.command_line().replace(" --resume", "")
    names = {"class_names": list(row.class_names)} if row.class_names else {}
    about = {"data": scenario, **names, "seed": seed, "command": typed, "settings": settings.to_dict()}
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


def _each(tellers: list[Teller]) -> Teller:
    def tell(row: dict[str, Any]) -> None:
        for teller in tellers:
            teller(row)

    return tell


@dataclass
class _Teller:
    """The bar's words for each new row of the history."""

    bar: show.Bar
    phases: int

    def __call__(self, row: dict[str, Any]) -> None:
        task = f"task {row['task'] + 1} of {self.phases}, " if self.phases > 1 else ""
        known = row["accuracy"]
        mean = f"test accuracy {show.percent(sum(known) / len(known))}" if known else f"loss {row['loss']:.3f}"
        self.bar.step(text=f"training, {task}{mean}")


def _facts(ran: Run, path: Path, seconds: float) -> dict[str, Any]:
    matrix = ran.accuracy_matrix()
    last = ran.history[-1] if ran.history else {}
    final: list[float] = next((row["accuracy"] for row in reversed(ran.history) if row["accuracy"]), [])
    return {
        "checkpoint": str(path),
        "scenario": ran.scenario.name,
        "tasks": ran.scenario.count,
        "epochs": len(ran.history),
        "interrupted": ran.interrupted,
        "seconds": round(seconds, 1),
        "loss": last.get("loss"),
        "train_accuracy": last.get("train_accuracy"),
        "test_accuracy": final[-1] if final else None,
        "accuracy": final,
        "mean_accuracy": sum(final) / len(final) if final else None,
        "accuracy_matrix": [[None if value != value else value for value in row] for row in matrix.tolist()],
    }


def _draw(ran: Run, output: Path) -> None:
    from metabit.experiments import plots

    plots.hidden_histograms(output / "hidden.svg", ran.network.tensors())
    if any(row["accuracy"] for row in ran.history):
        plots.accuracy_over_time(output / "accuracy.svg", ran.history)
        plots.accuracy_heat_map(output / "matrix.svg", ran.accuracy_matrix())


def _tell(ran: Run, facts: dict[str, Any], name: str) -> None:
    if ran.interrupted:
        show.say(f"Interrupted after {facts['epochs']} epochs; what was learnt is saved, --resume goes on.")
    if len(facts["accuracy"]) > 1:
        matrix = facts["accuracy_matrix"]
        rows = [
            (f"{i + 1}", "" if matrix[i][i] is None else show.percent(matrix[i][i]), show.percent(end))
            for i, end in enumerate(facts["accuracy"])
        ]
        mean = ("mean", "", show.percent(facts["mean_accuracy"]))
        show.table(f"test accuracy on {name}", ("task", "just learnt", "at the end"), [*rows, mean])
    reached = f", test accuracy {show.percent(facts['mean_accuracy'])}" if facts["accuracy"] else ""
    show.say(f"{facts['checkpoint']}: {facts['epochs']} epochs on {name}{reached}, {facts['seconds']} s")


_WIDTH = max(map(len, SCENARIOS))
# Typer reads the docstring; the table in it is the one in train/scenarios.py.
command.__doc__ = f"""Train a metaplastic binarized network on one task after another.

Example: [bold]metabit train rotated-digits -o out --epochs 20 --m 25[/]

What there is to learn:

\b
{chr(10).join(f"{row.name:<{_WIDTH}}  {row.summary}" for row in SCENARIOS.values())}
{"my.npz":<{_WIDTH}}  your own: arrays x (n, features), 0..255 or 0..1, and y (n,), numbers or words
{"my.csv":<{_WIDTH}}  your own: a row for each sample, the label in column label, class, target, y or the last
{"pictures":<{_WIDTH}}  your own: a folder with a subfolder of pictures for each class
{"a.csv,b.csv":<{_WIDTH}}  your own: a training part and a test part, two files or two folders

An array or column named task makes your own data a sequence. NAME:2 is one task of it. Public datasets are downloaded
once and kept; METABIT_DATA_DIR names a folder that has them already. Every option left out is the scenario's own choice,
the paper's where the paper has it. Ctrl-C saves, and --resume goes on to the same result.
"""
