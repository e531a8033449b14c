"""Any checkpoint that came back -> its Frozen, by the maker of its kind."""

from __future__ import annotations

from metabit.export.freeze.gates import freeze_gates
from metabit.export.freeze.visits import freeze
from metabit.export.freeze.votes import freeze_graded
from metabit.export.frozen import Frozen
from metabit.train.checkpoint import Checkpoint
from metabit.train.gates_checkpoint import GatesCheckpoint


def frozen_of(checkpoint: Checkpoint | GatesCheckpoint) -> Frozen:
    """The network of a checkpoint, by `freeze_gates`, `freeze_graded` or `freeze` without options. Raises as these."""
    if isinstance(checkpoint, GatesCheckpoint):
        return freeze_gates(checkpoint)
    return freeze_graded(checkpoint) if checkpoint.spec.units == "graded" else freeze(checkpoint)
