"""The report of each sample that a training file gives, and the classes that it takes: alike in every engine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabit.export.errors import ExportError

TRAINS, VERSION = "metabit.train", "1"
"""Key of the metadata that tells a training file, and its value, the version of inputs and outputs."""
REPORT = ("predicted", "skipped", "visited", "moved", "flipped", "refused")
"""Entries of a row of the output ``report``."""


class Steps(NamedTuple):
    """Results of n steps.

    scores: int32 (n, C), of each sample before its step. labels: int64 (n,), the class with the highest score.
    report: int64 (n, 6), as `REPORT` names its columns.
    """

    scores: NDArray[np.int32]
    labels: NDArray[np.int64]
    report: NDArray[np.int64]


def targets(y: ArrayLike, samples: int, classes: int) -> NDArray[np.int64]:
    """The classes of so many samples, int64 (n,). Raises ExportError for another shape, dtype or range."""
    target = np.asarray(y)
    if target.shape != (samples,) or target.dtype.kind not in "iu":
        raise ExportError(
            f"y is {target.dtype} {target.shape}: must be integers ({samples},), the class of each sample"
        )
    if target.size and not 0 <= target.min() <= target.max() < classes:
        raise ExportError(f"y holds {target.min()}..{target.max()}: must be from 0 to {classes - 1}")
    return target.astype(np.int64)


def all_learnt(steps: Steps, target: NDArray[np.int64]) -> None:
    """Raises ExportError if a head had no row left for a class."""
    refused = np.flatnonzero(steps.report[:, REPORT.index("refused")])
    if len(refused):
        raise ExportError(
            f"class {target[refused[0]]} has no row, and all rows are taken: make more rows; nothing was learnt"
        )


def needs_steps(pages: dict[str, str], kind: str) -> None:
    """Raises ExportError unless the metadata of a file of metabit are those of a training file. kind: onnx or tflite."""
    if TRAINS not in pages:
        raise ExportError(
            f"this file of metabit predicts and has no learning step: export it in the format {kind}-train"
        )
    if pages[TRAINS] != VERSION:
        raise ExportError(
            f"training file version {pages[TRAINS]!r} is not the {VERSION} that this metabit reads: export it again"
        )
