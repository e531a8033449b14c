"""A task -> the default network, with the settings that a user may give, a history and an end at Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.encoder import MAX_PLANES, Encoder
from metabit.data.task import Task
from metabit.train import recipe
from metabit.train.errors import TrainError
from metabit.train.gates_checkpoint import GatesCheckpoint
from metabit.train.interrupt import interruptible
from metabit.train.network.normed_gates import NormedGates
from metabit.train.network.presets import NORMED
from metabit.train.recipe import Trained, fit_recipe

MAX_UNITS = 1024
MAX_CLASSES = 1024
Row = dict[str, Any]

_BOTH = ("hidden", "epochs", "seed")
"""Settings of the default network and of the paper's networks."""


@dataclass(frozen=True)
class RecipeSettings:
    """Everything that decides a training of the default network, besides the data.

    Args:
        units: gates of the hidden layer, 1..1024.
        bits: of an output level, 2..8.
        thresholds: of a feature, 1..16; None for the encoder's choice.
        shared: all features have the same thresholds, as suits pixels; an image then holds them once.
        epochs: passes over the data; None for the larger of 1000 steps and 20 passes.
        rate, smoothing, noise: as `fit_recipe` takes them.
        seed: of the split of the data, of weights and of the order.

    Raises:
        TrainError: a value has the wrong type or is out of range.
    """

    units: int = 32
    bits: int = 5
    thresholds: int | None = None
    shared: bool = False
    epochs: int | None = None
    rate: float = recipe.RATE
    smoothing: float = recipe.SMOOTHING
    noise: float = recipe.NOISE
    seed: int = 0

    def __post_init__(self) -> None:
        ranges = {"units": MAX_UNITS, "bits": 8, "thresholds": MAX_PLANES, "epochs": 2**31, "seed": 2**63 - 1}
        for name, most in ranges.items():
            value, least = getattr(self, name), {"bits": 2, "seed": 0}.get(name, 1)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not (whole and least <= value <= most) and (value is not None or name not in ("thresholds", "epochs")):
                raise TrainError(f"{name}={value!r}: must be a whole number from {least} to {most}")
        if not isinstance(self.shared, bool):
            raise TrainError(f"shared={self.shared!r}: must be true or false")
        for name in ("rate", "smoothing", "noise"):
            if not isinstance(getattr(self, name), int | float):
                raise TrainError(f"{name}={getattr(self, name)!r}: must be a number")

    @staticmethod
    def of(changes: Mapping[str, Any]) -> RecipeSettings:
        """The defaults with changes, by the names of `applies`. Raises TrainError: a value is out of range."""
        given = {name: value for name, value in changes.items() if name not in ("preset", "hidden")}
        if (hidden := changes.get("hidden")) is not None:
            given["units"] = hidden[0] if isinstance(hidden, list | tuple) else hidden
        elif "preset" in changes:
            given["units"] = NORMED[changes["preset"]]
        return RecipeSettings(**given)


def applies(changes: Mapping[str, Any], default: bool) -> bool:
    """True if settings by name are for the default network, False if they are for the paper's networks.

    Args:
        changes: settings that the user gave.
        default: the answer where they fit both.

    Raises:
        TrainError: some are for one and some for the other.
    """
    names = [row.name for row in fields(RecipeSettings)]
    ours = [name for name in changes if name in names and name not in _BOTH]
    theirs = [name for name in changes if name not in names and name not in (*_BOTH, "preset")]
    if "preset" in changes:
        (ours if changes["preset"] in NORMED else theirs).append("preset")
    hidden = changes.get("hidden")
    if isinstance(hidden, list | tuple) and len(hidden) != 1:
        theirs.append("hidden")
    if ours and theirs:
        mine, other = (f"{name}={changes[name]}" for name in (ours[0], theirs[0]))
        raise TrainError(f"{mine} is of the default network and {other} is of the paper's networks: leave one out")
    return bool(ours) or (default and not theirs)


@dataclass(frozen=True, eq=False)
class RecipeRun:
    """Result of `run_recipe`.

    Args:
        task, settings: of the run.
        trained: encoder and network.
        history: a row for each report of the training: ``task`` (0), ``epoch`` (finished passes), ``step``, ``loss``,
            ``train_accuracy`` and ``accuracy`` ([0..1] on the test part), as in `metabit.train.run.Run`.
        accuracy: 0..1, share of right predictions on the test part.
        recall: name of each class that the test part has -> share of its samples that are predicted right, 0..1.
        interrupted: True if Ctrl-C ended the training early.
        start: the checkpoint that it went on from, or None.
    """

    task: Task
    settings: RecipeSettings
    trained: Trained
    history: list[Row]
    accuracy: float
    recall: dict[str, float]
    interrupted: bool
    start: GatesCheckpoint | None = None

    @property
    def balanced(self) -> float:
        """Mean of the recall, 0..1."""
        return float(np.mean(list(self.recall.values())))

    def checkpoint(self, provenance: Mapping[str, Any] | None = None) -> GatesCheckpoint:
        """The network for `metabit export`."""
        classes, device, settings = self.task.labels, None, asdict(self.settings)
        if self.start is not None:  # it brings its own encoder
            classes, device = classes + self.start.class_names[len(classes) :], self.start.device
            del settings["thresholds"], settings["shared"]
        return GatesCheckpoint.of(
            self.trained, self.task.y_train, classes, self.task.feature_names, seed=self.settings.seed,
            settings=settings, history=self.history, provenance=dict(provenance or {}), device=device,
        )  # fmt: skip


def run_recipe(
    task: Task,
    settings: RecipeSettings,
    progress: Callable[[recipe.Report], None] | None = None,
    start: GatesCheckpoint | None = None,
) -> RecipeRun:
    """Train the default network on one task. The first Ctrl-C ends it after the present step, a second one at once.

    Args:
        progress: called with each report, at most `recipe.ROWS` of them.
        start: a network to go on from in place of a new one. It brings its own units, bits, thresholds and encoder.

    Raises:
        DataError: features that cannot be encoded.
        TrainError: settings out of range, or too many classes.
        DivergedError: the loss is not finite.
    """
    if task.classes > MAX_CLASSES:
        raise TrainError(f"{task.name} has {task.classes} classes: the default network has at most {MAX_CLASSES}")
    if start is None:
        encoder = Encoder.fit(task.x_train, settings.thresholds, names=task.feature_names, shared=settings.shared)
    else:
        _check_start(task, start)
        encoder, settings = start.encoder, replace(settings, units=start.units, bits=start.bits)
    test = encoder.to_bits(task.x_test)
    history: list[Row] = []

    def right(network: NormedGates) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = recipe.scores(network.eval(), test).argmax(1) == task.y_test
        return found

    def tell(report: recipe.Report, network: NormedGates) -> None:
        known = float(right(network).mean())
        network.train()
        row = {"task": 0, "epoch": report.passes, "step": report.step, "loss": report.loss}
        history.append({**row, "train_accuracy": report.accuracy, "accuracy": [known]})
        if progress is not None:
            progress(report)

    steps = recipe.planned(len(task.y_train), settings.epochs)
    with interruptible() as stop:
        trained = fit_recipe(
            task.x_train, task.y_train, classes=max(2, task.classes), units=settings.units, bits=settings.bits,
            steps=steps, rate=settings.rate, smoothing=settings.smoothing, noise=settings.noise, seed=settings.seed,
            encoder=encoder, start=start, progress=tell, stop=stop,
        )  # fmt: skip
    interrupted = len(trained.losses) < steps
    reached = right(trained.network)
    accuracy = float(reached.mean())
    if not interrupted:
        history[-1]["accuracy"] = [accuracy]
    recall = {task.labels[label]: float(reached[task.y_test == label].mean()) for label in np.unique(task.y_test)}
    return RecipeRun(task, settings, trained, history, accuracy, recall, interrupted, start)


def _check_start(task: Task, start: GatesCheckpoint) -> None:
    """Raise TrainError unless the classes of the data are the first ones of the network. Numbers are names of neither."""
    mine, theirs = task.labels, start.class_names
    numbers = [tuple(map(str, range(len(names)))) for names in (mine, theirs)]
    known = mine != numbers[0] and theirs != numbers[1]
    if len(mine) > len(theirs) or (known and mine != theirs[: len(mine)]):
        found = f"{task.name} has the classes {', '.join(mine)} and the network at the start has {', '.join(theirs)}"
        raise TrainError(f"{found}: give data with the network's classes, in its order")
