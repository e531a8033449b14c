"""A model in a stream of samples: the same few steps whether it runs on the host or on an emulated board."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metabit.data import Task, load_task
from metabit.experiments.errors import UsageError
from metabit.export import Frozen
from metabit.export.bits import pack_rows

Bytes = NDArray[np.uint8]
Labels = NDArray[np.int64]


class StepsLike(Protocol):
    """What `Model.learn_many` and `Device.learn_many` both return, n entries each."""

    @property
    def skipped(self) -> NDArray[np.generic]: ...
    @property
    def visited(self) -> NDArray[np.generic]: ...
    @property
    def moved(self) -> NDArray[np.generic]: ...
    @property
    def flipped(self) -> NDArray[np.generic]: ...


@dataclass
class Tally:
    """Sums over a stream."""

    samples: int = 0
    right: int = 0
    skipped: int = 0
    visited: int = 0
    moved: int = 0
    flipped: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)
    """(samples seen, prequential accuracy of the last chunk)"""

    def learned(self, samples: int, steps: StepsLike) -> None:
        self.samples += samples
        for name in ("skipped", "visited", "moved", "flipped"):
            setattr(self, name, getattr(self, name) + int(getattr(steps, name).sum()))

    def predicted(self, labels: NDArray[np.generic], y: Labels) -> None:
        """What the steps just counted had predicted, before they learned."""
        right = int((labels == y).sum())
        self.right += right
        self.curve.append((self.samples, right / len(y)))

    @property
    def prequential(self) -> float:
        """Accuracy of each sample's prediction before it was learned: 0..1."""
        return self.right / max(1, self.samples)

    def per_sample(self) -> dict[str, float]:
        return {name: getattr(self, name) / max(1, self.samples) for name in ("visited", "moved", "flipped", "skipped")}


def open_task(name: str, frozen: Frozen, classes: bool = True) -> Task:
    """A task whose inputs are what the device takes: uint8 features, or packed bits if the network takes bits.

    Held against the network first, so that a mismatch is one sentence and not a traceback later. Raises UsageError.
    classes: False where the network's own output does not matter.
    """
    task = load_task(name)
    features = frozen.input_bits if frozen.packed else frozen.input_bytes
    if task.features != features:
        raise UsageError(f"{name} has {task.features} features, this model takes {features}")
    if classes and task.classes > frozen.classes:
        raise UsageError(f"{name} has labels up to {task.classes - 1}, this model has {frozen.classes} classes")
    if frozen.packed:
        most = max(int(task.x_train.max()), int(task.x_test.max()))
        if most > 1:
            raise UsageError(f"{name} has a feature of {most}, this model has no encoder and takes bits: 0 or 1")
        task = replace(task, x_train=pack_rows(task.x_train > 0), x_test=pack_rows(task.x_test > 0))
    return task


def accuracy(predict: Callable[[Bytes], NDArray[np.generic]], x: Bytes, y: Labels) -> float:
    return float((predict(x) == y).mean())


def surer_half(labels: NDArray[np.generic], margins: NDArray[np.int64], y: Labels) -> float:
    """Accuracy on the half of the samples with the largest margins, the middle one included: 0..1."""
    surest = np.argsort(-margins, kind="stable")[: (len(y) + 1) // 2]
    return float((labels[surest] == y[surest]).mean())


def chunks(samples: int, passes: int, limit: int | None, seed: int, size: int) -> Iterator[NDArray[np.int64]]:
    """Indices of the stream, in chunks: every pass in a fresh random order, `limit` samples altogether."""
    rng, left = np.random.default_rng(seed), samples * passes if limit is None else min(limit, samples * passes)
    while left > 0:
        order = rng.permutation(samples)[:left]
        left -= len(order)
        for at in range(0, len(order), size):
            yield order[at : at + size]


def chunk_count(samples: int, passes: int, limit: int | None, size: int) -> int:
    """How many `chunks` will yield."""
    total = samples * passes if limit is None else min(limit, samples * passes)
    return total // samples * -(-samples // size) + -(-(total % samples) // size)
