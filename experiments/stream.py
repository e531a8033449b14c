"""A model that learns a stream of samples: the steps that the host and an emulated board share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data import Task, load
from metabit.data.arrays import Warn
from metabit.data.oddities import SHOWN, feature, unseen
from metabit.data.task import check_bytes
from metabit.experiments.errors import UsageError
from metabit.export import Cuts, Frozen, Notes, write_image
from metabit.export.bits import pack_rows
from metabit.runtime.inputs import Inputs

Bytes = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass
class Tally:
    """Counts summed over a stream: samples, correct predictions, visits, moves, flips and skipped steps."""

    samples: int = 0
    right: int = 0
    skipped: int = 0
    visited: int = 0
    moved: int = 0
    flipped: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)
    """(samples seen, prequential accuracy of the last chunk, 0..1)"""

    def learned(self, samples: int, steps: Any) -> None:
        """Adds the counts of so many learning steps, as `Model.learn_many` or `Device.learn_many` returns them."""
        self.samples += samples
        for name in ("skipped", "visited", "moved", "flipped"):
            setattr(self, name, getattr(self, name) + int(getattr(steps, name).sum()))

    def predicted(self, labels: NDArray[np.generic], y: Labels) -> None:
        """Adds the predictions, made before they learned, of the steps that `learned` has just counted."""
        right = int((labels == y).sum())
        self.right += right
        self.curve.append((self.samples, right / len(y)))

    @property
    def counted(self) -> int:
        """Samples that the counts are of. A chunk that Ctrl-C ended is learnt in part, and not counted."""
        return self.curve[-1][0] if self.curve else self.samples

    @property
    def prequential(self) -> float:
        """Share of the counted samples that were predicted correctly before they were learned, 0..1."""
        return self.right / max(1, self.counted)

    def per_sample(self) -> dict[str, float]:
        """Mean visits, moves, flips and skipped steps of a counted sample."""
        return {name: getattr(self, name) / max(1, self.counted) for name in ("visited", "moved", "flipped", "skipped")}


def open_task(name: str, frozen: Frozen, *, seed: int = 0, warn: Warn | None = None) -> Task:
    """A dataset by name (`metabit.data.load`), all its tasks in order, as inputs of a network (`as_inputs`).

    Labels are classes of the network by the names in its notes; a label without one is a new class behind them.

    Args:
        seed: of the split, of permutations and of parts.
        warn: receives each warning of the reader.

    Raises:
        UsageError: features or classes that the network does not have.
        DataError: as `metabit.data.load`.
    """
    known = frozen.notes.classes if frozen.notes else ()
    task = as_inputs(load(name, seed=seed, outputs=frozen.classes, known=known, warn=warn).whole(), frozen)
    for said in (_limited(task, frozen), _unseen(task, frozen)) if warn is not None else ():
        if said and warn is not None:
            warn(said)
    return task


def as_inputs(task: Task, frozen: Frozen) -> Task:
    """A task with the inputs of a network, as `metabit.runtime.Model` takes them.

    They are the numbers of the task where the network has thresholds of its own features; else uint8 features (n, F), or
    packed bits if the network takes bits.

    Raises:
        UsageError: features or classes that the network does not have.
        DataError: numbers that a network without thresholds of its own does not take.
    """
    if task.features != frozen.features:
        raise UsageError(f"{task.name} has {task.features} features, this model takes {frozen.features}")
    task = _in_order(task, frozen.notes.features if frozen.notes else ())
    if task.classes > frozen.classes:
        more = "; metabit export --spare-classes gives a head more" if frozen.layers[-1].kind == "head" else ""
        found = f"{task.name} has labels up to {task.classes - 1}, this model has {frozen.classes} classes"
        raise UsageError(found + more)
    if isinstance(frozen.encode, Cuts) or frozen.layers[0].kind == "triples":
        if frozen.scale is not None and task.x_train.dtype == np.int16:  # a model takes int16 for what it scaled
            task = replace(task, x_train=task.x_train.astype(np.float32), x_test=task.x_test.astype(np.float32))
        return task
    check_bytes(task, "this model", "the default network of metabit train takes any numbers")
    if frozen.packed:
        most = max(int(task.x_train.max()), int(task.x_test.max()))
        if most > 1:
            raise UsageError(f"{task.name} has a feature of {most}, this model has no encoder and takes bits: 0 or 1")
        x_train, x_test = pack_rows(task.x_train > 0), pack_rows(task.x_test > 0)
        task = replace(task, x_train=x_train, x_test=x_test, packed=frozen.features)
    return task


def _in_order(task: Task, features: tuple[str, ...]) -> Task:
    """The task with its columns in the order of the network's feature names, where both have names."""
    names = task.feature_names
    if not names or not features or names == features:
        return task
    for name in features:
        if name not in names:
            raise UsageError(
                f"{task.name} has no feature {name}, which this model was trained with: rename the column or train again"
            )
    columns = [names.index(name) for name in features]
    return replace(task, x_train=task.x_train[:, columns], x_test=task.x_test[:, columns], feature_names=features)


def grown(frozen: Frozen, task: Task) -> Notes | None:
    """The notes of a network that learns a task: the names of its new classes behind the known ones.

    A network without class names gets those of the task, if it has any.
    """
    notes = frozen.notes or Notes()
    known = notes.classes
    names = (*known, *task.labels[len(known) :]) if known else task.class_names
    return replace(notes, classes=names) if names or frozen.notes else None


def _limited(task: Task, frozen: Frozen) -> str:
    """Values that a network limits because they lie outside the range of training, in words; "" if there are none."""
    if frozen.scale is None:
        return ""
    counts = sum(Inputs.of(write_image(frozen)).clipped(x) for x in (task.x_train, task.x_test))
    assert not isinstance(counts, int)
    if not counts.any():
        return ""
    worst = np.argsort(-counts, kind="stable")[:SHOWN]
    listed = ", ".join(f"{feature(i, task.feature_names)}: {counts[i]:,}" for i in worst if counts[i])
    more = ", ..." if (counts > 0).sum() > SHOWN else ""
    found = f"{counts.sum():,} of {task.x_train.size + task.x_test.size:,} values"
    return f"{task.name}: {found} lie outside the range of training and are limited to it ({listed}{more})"


def _unseen(task: Task, frozen: Frozen) -> str:
    """Features that vary in a task and had one value where the network was made, in words; "" if there are none.

    Pictures are left out: a pixel that is nearly always dark tells nothing.
    """
    constant = Inputs.of(write_image(frozen)).constant
    if constant is None or not constant.any() or task.shape is not None:
        return ""
    found = unseen(np.concatenate([task.x_train, task.x_test]), constant, task.feature_names)
    if not found:
        return ""
    return (
        f"{task.name}: the model does not look at {found}, which varies here and had one value where the model was made: make it "
        "again from data in which it varies"
    )


def by_class(y: Labels, classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of a stream class after class, the classes in random order, the samples of each in the order of y (n,)."""
    return np.argsort(rng.permutation(classes)[y], kind="stable")


def accuracy(predict: Callable[[NDArray[Any]], NDArray[Any]], x: NDArray[Any], y: Labels) -> float:
    """Share of samples that are predicted correctly, 0..1."""
    return float((predict(x) == y).mean())


def chunks(
    samples: int, passes: int, limit: int | None, seed: int, size: int, shuffle: bool = False
) -> Iterator[NDArray[np.int64]]:
    """Indices of a stream, in chunks of at most ``size``.

    Args:
        samples: number of samples of one pass.
        limit: number of samples altogether; None is samples * passes.
        seed: of the order, with ``shuffle``.
        shuffle: draw a new random order for each pass; without it each pass is in file order.
    """
    rng, left = np.random.default_rng(seed), samples * passes if limit is None else min(limit, samples * passes)
    while left > 0:
        order = (rng.permutation(samples) if shuffle else np.arange(samples))[:left]
        left -= len(order)
        for at in range(0, len(order), size):
            yield order[at : at + size]


def chunk_count(samples: int, passes: int, limit: int | None, size: int) -> int:
    """Number of chunks that `chunks` yields."""
    total = samples * passes if limit is None else min(limit, samples * passes)
    return total // samples * -(-samples // size) + -(-(total % samples) // size)


def order_of(y: Labels, shuffle: bool) -> str:
    """Order of a stream in words, for the user."""
    if shuffle:
        return "in random order"
    blocks = 1 + int((y[1:] != y[:-1]).sum())
    by_class = ", which shows the classes one after the other (--shuffle mixes them)"
    return "in file order" + by_class * (blocks == len(np.unique(y)) < len(y))
