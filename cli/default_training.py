"""`metabit train` for the default network: train it, save it, and judge the learners that it can be exported with."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import typer
from numpy.typing import NDArray

from metabit.cli import datasets
from metabit.data.oddities import unseen
from metabit.experiments import show

if TYPE_CHECKING:
    from metabit.data import Scenario
    from metabit.experiments.judging import Judged
    from metabit.train.gates_checkpoint import GatesCheckpoint
    from metabit.train.recipe_run import RecipeRun

PATIENCE = 2.0
"""Seconds that judging may take before a progress bar appears."""


def run(
    scenario: str,
    row: Scenario,
    changes: dict[str, Any],
    output: Path,
    resume: bool,
    plot: bool,
    json: bool,
    start: GatesCheckpoint | None = None,
) -> None:
    """Train the default network on all tasks together."""
    from metabit.cli.errors import UsageError
    from metabit.experiments import plots
    from metabit.train import metrics
    from metabit.train.recipe import Report, planned
    from metabit.train.recipe_run import RecipeSettings, run_recipe
    from metabit.train.run import make_folder

    if resume:
        raise UsageError(
            "--resume: the default network is trained in one go, in seconds to minutes, and has no saved state: leave it out"
        )
    settings = RecipeSettings.of(changes)
    task = row.whole()
    if task.shape is None and (features := unseen(task.x_test, _constant(task.x_train), task.feature_names)):
        datasets.warn(
            f"{task.name}: the network does not look at {features}, which varies in the test part and has one value in the "
            "training part: give data in which it varies"
        )
    make_folder(output)
    began, done = monotonic(), 0
    with show.bar(f"training on {row.name}", planned(len(task.y_train), settings.epochs)) as bar:

        def tell(report: Report) -> None:
            nonlocal done
            bar.step(report.step - done, f"training, loss {report.loss:.3f}")
            done = report.step

        ran = run_recipe(task, settings, tell, start)
    seconds = round(monotonic() - began, 1)
    path = output / "checkpoint.safetensors"
    about = {"data": scenario, "seed": settings.seed, "command": show.command_line()}
    checkpoint = ran.checkpoint({**about, "read": task.facts(), "recall": ran.recall})
    checkpoint.write(path)
    if ran.history:
        metrics.write_json(output / "history.json", ran.history)
        metrics.write_csv(output / "history.csv", ran.history)
    if plot:
        plots.hidden_histograms(output / "hidden.svg", checkpoint.tensors)
        if ran.history:
            plots.accuracy_over_time(output / "accuracy.svg", ran.history)
    facts = _facts(ran, path, row, seconds)
    if not json:
        show.say(task.line())
        _tell(ran, facts, scenario)
    judged, why, interrupted = None, "the training was interrupted", ran.interrupted
    if not interrupted:
        try:
            judged, why = _judged(ran, checkpoint)
        except KeyboardInterrupt:
            why, interrupted = "interrupted; the network is trained and saved whole", True
    if json:
        found = None if judged is None else _judged_facts(judged, path)
        show.emit({**facts, "read": task.facts(), "judged": found, "not_judged": why if judged is None else None})
    elif judged is not None:
        _tell_judged(judged, path)
    elif not ran.interrupted:
        show.say(f"The learners were not judged: {why}.")
    if interrupted:
        raise typer.Exit(130)


def _constant(x: NDArray[Any]) -> NDArray[np.bool_]:
    """The features of x (n, F) that have one value."""
    constant: NDArray[np.bool_] = x.min(0) == x.max(0)
    return constant


def _judged(ran: RecipeRun, checkpoint: GatesCheckpoint) -> tuple[Judged | None, str]:
    """The learners beside their rivals on the test part; None and the reason where that says nothing or cannot be."""
    from metabit.experiments import judging
    from metabit.experiments.learners import starts_of
    from metabit.export import ExportError

    samples = len(ran.task.y_test)
    if samples < judging.LEAST:
        return None, f"{samples} held-out samples say too little, at least {judging.LEAST} are needed"
    try:
        starts = starts_of(checkpoint)
        with show.bar("judging the learners", judging.steps(starts, samples), PATIENCE) as bar:
            return judging.judge(checkpoint, starts, ran.task, ran.settings.seed, bar.step), ""
    except ExportError as wrong:
        return None, str(wrong)


def _facts(ran: RecipeRun, path: Path, row: Scenario, seconds: float) -> dict[str, Any]:
    last = ran.history[-1] if ran.history else {}
    encoder = ran.trained.encoder
    return {
        "checkpoint": str(path), "scenario": row.name, "tasks": row.count, "epochs": last.get("epoch", 0),
        "steps": len(ran.trained.losses), "interrupted": ran.interrupted, "seconds": seconds, "loss": last.get("loss"),
        "train_accuracy": last.get("train_accuracy"), "test_accuracy": ran.accuracy, "accuracy": [ran.accuracy],
        "mean_accuracy": ran.accuracy, "balanced_accuracy": ran.balanced, "accuracy_matrix": [[ran.accuracy]],
        "network": {"features": encoder.features, "thresholds": encoder.planes, "units": ran.settings.units,
                    "classes": max(2, ran.task.classes), "bits": ran.settings.bits},
    }  # fmt: skip


def _tell(ran: RecipeRun, facts: dict[str, Any], name: str) -> None:
    if facts["tasks"] > 1:
        show.say(
            f"All {facts['tasks']} tasks are learnt together; --m or --preset trains a network of the paper on one by one."
        )
    if ran.interrupted:
        show.say(
            f"Interrupted after {facts['steps']} steps: the network is saved as it was then, a new run trains it whole."
        )
    size = facts["network"]
    each = "thresholds each" if size["thresholds"] > 1 else "threshold each"
    show.say(
        f"the default network: {size['features']} features, {size['thresholds']} {each}, {size['units']} gates, "
        f"{size['classes']} classes"
    )
    reached = f"test accuracy {show.percent(ran.accuracy)}"
    if round(100 * ran.balanced, 1) != round(100 * ran.accuracy, 1):
        reached += f", balanced {show.percent(ran.balanced)}"
    epochs = facts["epochs"]
    trained = f"{epochs} epoch{'s' * (epochs != 1)}" if epochs else f"{facts['steps']} steps of the first epoch"
    show.say(f"{facts['checkpoint']}: {trained} on {name}, {reached}, {facts['seconds']} s")


def _judged_facts(judged: Judged, path: Path) -> dict[str, Any]:
    from metabit.cli import beside

    told = {"samples": judged.samples, "learner": judged.learner, "command": _command(judged, path)}
    return told | (beside.facts(judged.comparison) or {})


def _command(judged: Judged, path: Path) -> str:
    return " ".join(["metabit export", str(path), judged.options]).rstrip()


def _tell_judged(judged: Judged, path: Path) -> None:
    found = judged.comparison
    rows = [
        (line.name, f"{line.state:,}", *map(show.percent, (line.before[0], *line.after, found.mean(line))))
        for line in found.lines
    ]
    title = "accuracy before and after learning in place, mixed and sorted by class; bytes of state"
    show.table(title, ["learner", "bytes", "before", *found.datasets, "mean, after"], rows, caption=found.began)
    for sentence in found.verdicts:
        show.say(sentence)
    show.say(_command(judged, path))
