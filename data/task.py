"""Task: a training part and a test part, features that are numbers and integer labels. Scenario: a sequence of tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.errors import DataError

Bytes = NDArray[np.uint8]
Numbers = NDArray[Any]
"""uint8, int16, int32 or float32, the values of the file."""
Labels = NDArray[np.int64]

MAX_CLASSES = 16384
"""Labels are 0..MAX_CLASSES - 1; an image cannot hold more outputs (runtime/FORMAT.md)."""

MAX_PLANES = 8
"""Thermometer planes a feature."""

TEST_SHARE = 0.2
"""Share of each class that becomes the test part where the data brings none."""

LISTED = 12
"""Most classes that a line names one by one."""


@dataclass(frozen=True, eq=False)  # arrays have no single answer to ==
class Task:
    """A dataset to learn, and to measure with.

    Args:
        name: for reports.
        x_train, x_test: (n, F), in the order of the file and with its values: uint8, int16 or int32 if all are whole
            numbers that it holds, else float32.
        y_train, y_test: int64 (n,), each 0..classes-1.
        shape: (H, W, C) of a picture whose features lie in that order, C fastest; None if they are no picture.
        class_names: name of each class, as the data has it; () where a class has no name but its number.
        held_out: in words, where the test part comes from.
        feature_names: name of each feature, as the data has it; () without names.
        packed: number of features before they were packed as bits, 8 to a byte; 0 if they are not packed.
    """

    name: str
    x_train: Numbers
    y_train: Labels
    x_test: Numbers
    y_test: Labels
    shape: tuple[int, int, int] | None = None
    class_names: tuple[str, ...] = ()
    held_out: str = "the data's own test part"
    feature_names: tuple[str, ...] = ()
    packed: int = 0

    @property
    def features(self) -> int:
        return int(self.x_train.shape[1])

    @property
    def classes(self) -> int:
        """Number of class names; without names, the highest label plus 1."""
        return len(self.class_names) or int(max(self.y_train.max(), self.y_test.max())) + 1

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each class: its class name, or its number."""
        return self.class_names or tuple(map(str, range(self.classes)))

    def facts(self) -> dict[str, Any]:
        """Facts of the data that was read, JSON-ready: samples, features, samples of each class, the part held out."""
        counts = np.bincount(self.y_train, minlength=self.classes) + np.bincount(self.y_test, minlength=self.classes)
        return {
            "samples": len(self.y_train) + len(self.y_test),
            "train": len(self.y_train),
            "test": len(self.y_test),
            "features": self.packed or self.features,
            "classes": dict(zip(self.labels, counts.tolist(), strict=True)),
            "held_out": self.held_out,
            "numbers": str(self.x_train.dtype),
        }

    def line(self) -> str:
        """`facts` as one line."""
        facts = self.facts()
        counts = [f"{name}: {count:,}" for name, count in facts["classes"].items()]
        more = f", and {len(counts) - LISTED} more" if len(counts) > LISTED else ""
        kind = "" if facts["numbers"] == "uint8" else f" ({facts['numbers']})"
        return (
            f"{self.name}: {facts['samples']:,} samples of {facts['features']:,} features{kind}; "
            f"{len(counts)} classes ({', '.join(counts[:LISTED])}{more}); "
            f"{facts['train']:,} to learn, {facts['test']:,} to test ({self.held_out})"
        )


@dataclass(frozen=True)
class Scenario:
    """A sequence of tasks that one network learns, in order. A dataset alone is a scenario of one task.

    Args:
        name: as the user typed it.
        summary: one line for the help.
        count: T, the number of tasks.
        classes: number of classes of all tasks together, which is the number of outputs of the network.
        make: (i, seed) -> task i, 0 <= i < most. Equal arguments give equal tasks.
        most: the largest possible number of tasks.
        class_names: name of each class; () where a class has no name but its number.
        seed: of splits, permutations and parts, where `task` and `whole` are given none.
        feature_names: name of each feature; () without names.
    """

    name: str
    summary: str
    count: int
    classes: int
    make: Callable[[int, int], Task]
    most: int = 1
    class_names: tuple[str, ...] = ()
    seed: int = 0
    feature_names: tuple[str, ...] = ()

    def task(self, i: int, seed: int | None = None) -> Task:
        """Task i, 0 <= i < count. Raises DataError: there is no such task, or its data cannot be read."""
        if not 0 <= i < self.count:
            raise DataError(f"{self.name} has no task {i}: they are 0 to {self.count - 1}")
        return self.make(i, self.seed if seed is None else seed)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Task]:
        return (self.task(i) for i in range(self.count))

    def first(self, count: int | None) -> Scenario:
        """The first ``count`` tasks as a scenario; None keeps the number. Raises DataError: there are not so many."""
        if count is not None and not 1 <= count <= self.most:
            raise DataError(f"tasks={count}: {self.name} has 1 to {self.most}")
        return self if count is None else replace(self, count=count)

    def only(self, i: int) -> Scenario:
        """Task i alone, 0 <= i < count, as a scenario of the same classes."""
        return replace(self, name=f"{self.name}:{i + 1}", count=1, most=1, make=lambda _, seed: self.make(i, seed))

    def facts(self) -> dict[str, Any]:
        """`Task.facts` of the first task, and the number of tasks."""
        return {"tasks": self.count, **self.task(0).facts()}

    def line(self) -> str:
        """`facts` as one line."""
        first = self.task(0).line()
        return first if self.count == 1 else f"{self.name}: {self.count} tasks, the first of them {first}"

    def whole(self, seed: int | None = None) -> Task:
        """All tasks as one: the training parts one after the other, in order, and every test part once.

        Raises DataError: the data of a task cannot be read.
        """
        tasks = [self.task(i, seed) for i in range(self.count)]
        first = tasks[0]
        if self.count == 1:
            return replace(first, name=self.name)
        # tasks that share one test part in memory are tested on it once
        tests = {(t.x_test.ctypes.data, t.y_test.ctypes.data, len(t.y_test)): t for t in tasks}.values()
        return replace(
            first,
            name=f"{self.name}, {self.count} tasks in order",
            x_train=np.concatenate([t.x_train for t in tasks]),
            y_train=np.concatenate([t.y_train for t in tasks]),
            x_test=np.concatenate([t.x_test for t in tests]),
            y_test=np.concatenate([t.y_test for t in tests]),
            held_out=f"of each task: {first.held_out}",
        )


def split(y: Labels, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the training part and of the test part, each in the order of the data.

    The test part is `TEST_SHARE` of every class, drawn at random with ``seed``. Raises DataError: no class has enough
    samples.
    """
    generator = np.random.default_rng(seed)
    test = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        members = generator.permutation(np.flatnonzero(y == label))
        test[members[: round(TEST_SHARE * len(members))]] = True
    if not test.any():
        raise DataError(
            f"{len(y)} samples are too few to keep {100 * TEST_SHARE:.0f} % of a class apart: give a test part (x_test and "
            "y_test in an .npz, or train.csv,test.csv)"
        )
    return np.flatnonzero(~test), np.flatnonzero(test)


def held_out(seed: int) -> str:
    """Words for the part that `split` holds out."""
    return f"{100 * TEST_SHARE:.0f} % of every class, drawn with seed {seed}; both parts in file order"


def check_bytes(task: Task, taker: str, way_out: str) -> None:
    """Raises DataError unless the features are uint8: ``taker`` takes nothing else, and ``way_out`` is what does."""
    if task.x_train.dtype != np.uint8:
        parts = (task.x_train, task.x_test)
        least, most = (f"{value:g}" for value in (min(x.min() for x in parts), max(x.max() for x in parts)))
        found = f"{task.name} has features from {least} to {most} ({task.x_train.dtype})"
        raise DataError(f"{found}: {taker} takes whole numbers from 0 to 255; {way_out}")


def thermometer(x_train: Bytes, planes: int) -> Bytes:
    """Thresholds of a thermometer code, equally spaced, the same for every feature.

    They are the middles of P equal parts of the range of values: 2, 6, 10, 14 for digits (0..16) and 4 planes.

    Args:
        x_train: uint8 (n, F), not constant.
        planes: P, 1..8, and not more than the range has steps.

    Returns:
        uint8 (P, F).

    Raises:
        DataError: planes is out of range for these values, or they are not uint8.
    """
    if x_train.dtype != np.uint8:
        found = f"features are {x_train.dtype}: a thermometer code takes uint8"
        raise DataError(f"{found}; metabit.data.encoder.Encoder, of the default network, takes any numbers")
    low, high = int(x_train.min()), int(x_train.max())
    limit = min(MAX_PLANES, high - low)
    if limit == 0:
        raise DataError(f"every feature is {low}: there is nothing to encode")
    if not 1 <= planes <= limit:
        raise DataError(f"planes={planes}: must be from 1 to {limit} for features of {low} to {high}")
    levels = low + (high - low) * (2 * np.arange(planes) + 1) / (2 * planes)
    # For an integer feature, >= level and >= ceil(level) are the same comparison.
    return np.repeat(np.ceil(levels).astype(np.uint8)[:, None], x_train.shape[1], axis=1)
