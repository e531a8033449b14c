"""The learners that a network can have on the device: rows from which `metabit tune` and `metabit train` choose.

A new learner of a trained network is a row: its name, and a function (checkpoint, spare classes) -> network, or None where the
checkpoint cannot have it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from metabit import train
from metabit.data import Task
from metabit.experiments.demo_settings import RECIPE
from metabit.experiments.errors import UsageError
from metabit.experiments.tuning import FreshHead, FreshVotes, Image, Start
from metabit.export import (
    Frozen,
    GateOptions,
    Notes,
    VisitOptions,
    VoteOptions,
    freeze,
    freeze_gates,
    freeze_graded,
    write_image,
)
from metabit.train.gates_checkpoint import GatesCheckpoint

Trained = train.Checkpoint | GatesCheckpoint


def _head(rows: int) -> Callable[[Trained, int], Frozen | None]:
    def frozen(checkpoint: Trained, spare: int) -> Frozen | None:
        if not isinstance(checkpoint, GatesCheckpoint) or not checkpoint.head_fits(spare):
            return None
        return freeze_gates(checkpoint, options=GateOptions(rows_per_class=rows, spare_classes=spare))

    return frozen


def _levels(checkpoint: Trained, spare: int) -> Frozen | None:
    if not isinstance(checkpoint, GatesCheckpoint) or spare:
        return None
    return freeze_gates(checkpoint, options=GateOptions(learner="levels"))


def _visits(checkpoint: Trained, spare: int) -> Frozen | None:
    if isinstance(checkpoint, GatesCheckpoint) or spare or checkpoint.spec.units == "graded":
        return None
    return named(freeze(checkpoint, VisitOptions(bits=RECIPE.bits)), checkpoint)


def _votes(checkpoint: Trained, spare: int) -> Frozen | None:
    if isinstance(checkpoint, GatesCheckpoint) or spare or checkpoint.spec.units != "graded":
        return None
    return named(freeze_graded(checkpoint), checkpoint)


LEARNERS: dict[str, Callable[[Trained, int], Frozen | None]] = {
    "head": _head(1), "head, 2 rows a class": _head(2), "levels": _levels, "visits": _visits, "votes": _votes,
}  # fmt: skip
"""Name -> the network with this learner as it is by default. The first that fits is the default learner."""

EXPORT = {"head, 2 rows a class": "--rows 2", "levels": "--learner levels", "none": "--learner none"}
"""Name -> the option of `metabit export` that chooses this learner of the default network; a head needs none."""


def trained_starts(path: Path, spare: int = 0) -> dict[str, Start]:
    """A network for each learner that the checkpoint can have, by name.

    Args:
        spare: classes to come, >= 0. Only heads have room for them.

    Raises:
        UsageError: no learner of this checkpoint has room for spare classes.
        TrainError: the file is no checkpoint.
        ExportError: the device cannot run this network.
    """
    starts = starts_of(train.load_checkpoint(path), spare)
    if not starts:
        raise UsageError(
            f"--spare-classes {spare}: no learner of {path} has room for so many, leave it out or give fewer"
        )
    return starts


def starts_of(checkpoint: Trained, spare: int = 0) -> dict[str, Start]:
    """`trained_starts` of a checkpoint in memory; {} where no learner has room. Raises ExportError as that."""
    made = {name: frozen(checkpoint, spare) for name, frozen in LEARNERS.items()}
    return {name: Image(write_image(net)) for name, net in made.items() if net is not None}


def fresh_starts(
    task: Task, sample: NDArray[Any], sizes: Sequence[int], seed: int, hidden: int, votes: VoteOptions | None
) -> dict[str, Start]:
    """The learners from nothing, by name: a head of each size in units, and votes if they have options.

    sample: unlabelled samples (n, F). seed: of the networks for the device. hidden: units that learn by votes.
    """
    found: dict[str, Start] = {
        f"head, {units} units": FreshHead(sample, task.classes, units, task.class_names, task.feature_names, seed)
        for units in sizes
    }
    return found if votes is None else found | {"votes": FreshVotes((task.features, hidden, task.classes), votes)}


def named(frozen: Frozen, checkpoint: Trained) -> Frozen:
    """A network of the paper with the names of classes and features that its checkpoint knows, where it has none yet."""
    if frozen.notes is not None or isinstance(checkpoint, GatesCheckpoint):
        return frozen
    classes, features = (tuple(checkpoint.provenance.get(f"{kind}_names", ())) for kind in ("class", "feature"))
    return replace(frozen, notes=Notes(classes, features)) if classes or features else frozen
