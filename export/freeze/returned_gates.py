"""A checkpoint of the default network that came back (`thaw_gates.py`) -> Frozen; `returned.py` says what stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.freeze.gates import GateOptions, freeze_gates
from metabit.export.freeze.returned import changed, origin
from metabit.export.frozen import Frozen, GatesLayer, HeadLayer, LevelsLayer
from metabit.train.gates_checkpoint import GatesCheckpoint

UNITS = ("hidden", "norm.weight", "norm.bias", "norm.mean", "norm.var")


def returned_gates(checkpoint: GatesCheckpoint, x: NDArray[Any] | None, y: NDArray[Any] | None) -> Frozen:
    """The network of a checkpoint with an image. x, y: as for `freeze_gates`; only a head whose gates changed needs them.

    Raises ExportError as `freeze_gates`, or if the image is of another network.
    """
    frozen, was = origin(checkpoint)
    assert isinstance(was, GatesCheckpoint)
    shapes, wanted = ({name: a.shape for name, a in c.tensors.items() if "kept" not in name} for c in (checkpoint, was))
    if shapes != wanted or checkpoint.encoder != was.encoder:
        raise ExportError(
            "the image in this checkpoint is of another network: give options to export it without the image"
        )
    first, last = frozen.layers
    assert isinstance(first, GatesLayer)
    if isinstance(last, LevelsLayer):
        if changed(was, checkpoint, *UNITS):
            first = _gates(freeze_gates(checkpoint, options=GateOptions(learner="none")))
        return replace(frozen, layers=(first, replace(last, hidden=checkpoint.levels)))
    assert isinstance(last, HeadLayer)
    if not changed(was, checkpoint, *UNITS):
        return frozen
    if not len(checkpoint.labels) and x is None:
        raise ExportError(
            "the gates of this network changed after its return, and what its head learnt no longer fits them: train on with "
            "metabit train --start, which keeps what a new head needs, or pass x and y"
        )
    made = freeze_gates(checkpoint, x, y, _options(last))
    head = made.layers[-1]
    assert isinstance(head, HeadLayer)
    return replace(frozen, layers=(_gates(made), replace(head, dither=last.dither)))


def _gates(frozen: Frozen) -> GatesLayer:
    first = frozen.layers[0]
    assert isinstance(first, GatesLayer)
    return first


def _options(head: HeadLayer) -> GateOptions:
    """The options that give a head the settings of this one."""
    s, several = head.settings, head.rows.per_class > 1
    rows: dict[str, Any] = {"rows_per_class": head.rows.per_class, "rows": len(head.hidden), "far": head.rows.far,
            "doubt_limit": head.rows.doubt_limit} if several else {}  # fmt: skip
    return GateOptions(
        memory=s.memory,
        covariance_memory=s.covariance_memory,
        ridge=s.ridge,
        prior=s.prior,
        sweep_every=s.sweep_every,
        **rows,
    )
