"""The learners that a trained network can have on the device: rows from which `metabit tune` chooses.

A new learner is a row: its name, and a function checkpoint -> network, or None where the checkpoint cannot have it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from metabit import train
from metabit.experiments.demo_settings import RECIPE
from metabit.experiments.tuning import Start
from metabit.export import Frozen, VisitOptions, freeze, freeze_graded, write_image


def _visits(checkpoint: train.Checkpoint) -> Frozen | None:
    return None if checkpoint.spec.units == "graded" else freeze(checkpoint, VisitOptions(bits=RECIPE.bits))


def _votes(checkpoint: train.Checkpoint) -> Frozen | None:
    return freeze_graded(checkpoint) if checkpoint.spec.units == "graded" else None


LEARNERS: dict[str, Callable[[train.Checkpoint], Frozen | None]] = {"visits": _visits, "votes": _votes}
"""Name -> the network with this learner as it is by default. The first that fits is the default learner."""


def starts_of(path: Path) -> dict[str, Start]:
    """A network for each learner that the checkpoint can have, by name.

    Raises:
        TrainError: the file is no checkpoint.
        ExportError: the device cannot run this network.
    """
    checkpoint = train.load_checkpoint(path)
    made = {name: frozen(checkpoint) for name, frozen in LEARNERS.items()}
    return {name: Start(write_image(network)) for name, network in made.items() if network is not None}
