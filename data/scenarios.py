"""What there is to learn, one task after another: a table. A new experiment is a row.

A row says how to make task i from a seed; the data themselves come from `metabit.data.download`, or from the user's
own file.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabit.data import csv_files as tables
from metabit.data import download as datasets
from metabit.data import wrist_imu as watch
from metabit.data.download import Bytes, Images, Labels
from metabit.data.errors import DataError
from metabit.data.task import Task, from_arrays
from metabit.data.task import load as load_task


@dataclass(frozen=True)
class Scenario:
    """A sequence of tasks that one network learns, in order.

    Args:
        name: what the user types.
        summary: one line for the help.
        count: T, how many tasks.
        classes: of all tasks together: outputs of the network.
        make: (i, seed) -> task i, 0 <= i < most. Equal arguments give equal tasks.
        most: how many tasks there can be.
    """

    name: str
    summary: str
    count: int
    classes: int
    make: Callable[[int, int], Task]
    most: int = 1

    def task(self, i: int, seed: int = 0) -> Task:
        """Task i of 0..count-1.

        Raises:
            DataError: there is no such task, or its data cannot be had.
        """
        if not 0 <= i < self.count:
            raise DataError(f"{self.name} has no task {i}: they are 0 to {self.count - 1}")
        return self.make(i, seed)

    def first(self, count: int | None) -> Scenario:
        """The same with another number of tasks; None keeps it.

        Raises:
            DataError: there are not so many.
        """
        if count is not None and not 1 <= count <= self.most:
            raise DataError(f"tasks={count}: {self.name} has 1 to {self.most}")
        return self if count is None else replace(self, count=count)


def scenario(name: str, tasks: int | None = None) -> Scenario:
    """A row of the table, or the user's own data as a scenario.

    Args:
        name: a name in `SCENARIOS`; or the path of an .npz or .csv file, with or without ``file:`` before it. Its
            entries ``task`` make it a sequence; ``my.npz:2`` takes only the samples whose task is 2.
        tasks: how many of them; None is the row's own number.

    Raises:
        DataError: unknown name, unusable file, too many tasks.
    """
    if name in SCENARIOS:
        return SCENARIOS[name].first(tasks)
    path = name.removeprefix("file:")
    if path.endswith((".npz", ".csv", ".csv.gz")) or ".npz:" in path:
        return _file(path).first(tasks)
    known = ", ".join(SCENARIOS)
    raise DataError(f"unknown scenario {name!r}: use one of {known}; or the path of an .npz or .csv file")


def _flat(name: str, images: Images, x_train: Bytes, x_test: Bytes) -> Task:
    height, width, channels = x_train.shape[1:]
    train, test = x_train.reshape(len(x_train), -1), x_test.reshape(len(x_test), -1)
    return Task(name, train, images.y_train, test, images.y_test, (height, width, channels))


def _whole(name: str) -> Task:
    """A data set as it is. Kept by `datasets`, so that tasks with one test set share it in memory."""
    images = datasets.load(name)
    return _flat(name, images, images.x_train, images.x_test)


def _permuted(name: str, i: int, seed: int) -> Task:
    """The same pixels in an order of their own for every task, the first one too (as the paper does)."""
    whole = _whole(name)
    order = np.random.default_rng((seed, i)).permutation(whole.features)
    # take, not fancy indexing: four times faster on rows of bytes
    x_train, x_test = (x.take(order, axis=1) for x in (whole.x_train, whole.x_test))
    return Task(f"{name} permutation {i}", x_train, whole.y_train, x_test, whole.y_test, whole.shape)


def _stream(name: str, size: int, i: int, seed: int) -> Task:
    """Part i of the training set, dealt once at random: all classes in each part, no sample ever again."""
    whole = _whole(name)
    chosen = np.random.default_rng(seed).permutation(len(whole.x_train))[i * size : (i + 1) * size]
    return replace(whole, name=f"{name} part {i}", x_train=whole.x_train[chosen], y_train=whole.y_train[chosen])


def _mnist_usps(i: int, seed: int) -> Task:
    """2,000 consecutive MNIST images, then 1,800 consecutive USPS images with a black frame: 28x28 both."""
    images = datasets.load(("mnist", "usps")[i])
    samples, frame = ((2000, 0), (1800, 6))[i]
    start = int(np.random.default_rng((seed, i)).integers(0, len(images.x_train) - samples + 1))
    part = slice(start, start + samples)
    x_train, x_test = (
        np.pad(x, ((0, 0), (frame, frame), (frame, frame), (0, 0))) for x in (images.x_train[part], images.x_test)
    )
    return _flat(("mnist", "usps")[i], replace(images, y_train=images.y_train[part]), x_train, x_test)


def _digits(i: int, seed: int) -> Task:
    """The 8x8 digits, turned i times by 90°, with one split for all."""
    task = load_task("digits", seed=seed)

    def turned(x: Bytes) -> Bytes:
        return np.rot90(x.reshape(-1, 8, 8), i, axes=(1, 2)).reshape(-1, 64)

    name = f"digits turned by {90 * i}°" if i else "digits"
    return replace(task, name=name, x_train=turned(task.x_train), x_test=turned(task.x_test), shape=(8, 8, 1))


def _split_digits(i: int, seed: int) -> Task:
    """Two digits a task, one head of two outputs for all: is it 2i or 2i + 1?"""
    whole = _digits(0, seed)

    def two(x: Bytes, y: Labels) -> tuple[Bytes, Labels]:
        chosen: NDArray[np.bool_] = y // 2 == i
        return x[chosen], y[chosen] % 2

    name = f"digits {2 * i} and {2 * i + 1}"
    return Task(name, *two(whole.x_train, whole.y_train), *two(whole.x_test, whole.y_test), whole.shape)


def _file(path: str) -> Scenario:
    """The user's own file: one task, or one for each value of its array task."""
    if path.endswith((".csv", ".csv.gz")):
        arrays = tables.read_csv(Path(path))
        names = sorted(set(arrays.task.tolist())) if arrays.task is not None else []
        classes = int(arrays.y.max()) + 1 if len(arrays.y) else 0

        def make(i: int, seed: int) -> Task:
            chosen = slice(None) if arrays.task is None else arrays.task == names[i]
            name = Path(path).stem if arrays.task is None else f"{Path(path).stem}:{names[i]}"
            return from_arrays(name, arrays.x[chosen], arrays.y[chosen], seed=seed)

        count = max(1, len(names))
        return Scenario(path, "a table of your own", count, classes, make, count)
    ids = [] if ".npz:" in path else tables.task_names(Path(path))
    parts = [f"{path}:{name}" for name in ids] or [path]
    # Only one pass over the file: small files, and the labels of all tasks are needed for the outputs anyway.
    loaded = functools.lru_cache(maxsize=None)(lambda i, seed: load_task(parts[i], seed=seed))
    classes = max(loaded(i, 0).classes for i in range(len(parts)))
    return Scenario(path, "your own data", len(parts), classes, loaded, len(parts))


SCENARIOS: dict[str, Scenario] = {
    row.name: row
    for row in (
        Scenario(
            "permuted-mnist", "MNIST, its pixels shuffled anew for every task (6 tasks)", 6, 10,
            lambda i, seed: _permuted("mnist", i, seed), 1000,
        ),
        Scenario(
            "mnist-fashion", "MNIST digits, then Fashion-MNIST clothes", 2, 10,
            lambda i, seed: _whole(("mnist", "fashion-mnist")[i]), 2,
        ),
        Scenario(
            "fashion-first", "the same in reverse: clothes, then digits", 2, 10,
            lambda i, seed: _whole(("fashion-mnist", "mnist")[i]), 2,
        ),
        Scenario(
            "mnist-usps", "2,000 MNIST digits, then 1,800 USPS digits, on a small convolutional network", 2, 10,
            _mnist_usps, 2,
        ),
        Scenario(
            "stream-fashion", "Fashion-MNIST as a stream: 60 parts of 1,000 images, each seen only in its turn", 60, 10,
            lambda i, seed: _stream("fashion-mnist", 1000, i, seed), 60,
        ),
        Scenario(
            "stream-cifar10", "CIFAR-10 as a stream: 20 parts of 2,500 images, on a convolutional network", 20, 10,
            lambda i, seed: _stream("cifar10", 2500, i, seed), 20,
        ),
        Scenario("digits", "scikit-learn's 8x8 digits: one task, a minute", 1, 10, _digits, 1),
        Scenario("digits:sideways", "the same, turned by 90°", 1, 10, lambda i, seed: _digits(1, seed), 1),
        Scenario("rotated-digits", "digits upright, then turned by 90°, 180°, 270°", 4, 10, _digits, 4),
        Scenario("split-digits", "0 or 1? then 2 or 3? ... two outputs shared by five tasks", 5, 2, _split_digits, 5),
        Scenario(
            "watch", "seven exercises on a wrist IMU, one person after another (10 people)", 10, 7, watch.task, 10,
        ),
        Scenario("mnist", "MNIST alone", 1, 10, lambda i, seed: _whole("mnist"), 1),
        Scenario("fashion", "Fashion-MNIST alone", 1, 10, lambda i, seed: _whole("fashion-mnist"), 1),
    )
}  # fmt: skip
"""Name -> row."""
