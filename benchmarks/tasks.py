"""The tasks that are learnt after deployment, and the training samples that are held out to choose settings by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metabit.data import Task, image_sets, load, wrist_imu


def turned(task: Task) -> Task:
    """The images of a task, turned by 90°."""
    assert task.shape is not None

    def turn(x: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.rot90(x.reshape(-1, *task.shape[:2]), axes=(1, 2)).reshape(len(x), -1)  # type: ignore[index]

    return replace(task, x_train=turn(task.x_train), x_test=turn(task.x_test))


def usps() -> Task:
    """USPS digits, padded to the size of MNIST's images."""
    images = image_sets.load("usps")
    x_train, x_test = (
        np.pad(x.reshape(-1, 16, 16), ((0, 0), (6, 6), (6, 6))).reshape(len(x), -1)
        for x in (images.x_train, images.x_test)
    )
    return replace(load("mnist").task(0), x_train=x_train, y_train=images.y_train, x_test=x_test, y_test=images.y_test)


def people(numbers: range) -> Task:
    """The windows of these people, with values above and below rest as separate features: rest is 0 in both."""

    def apart(x: NDArray[np.uint8]) -> NDArray[np.uint8]:
        swing = 2 * (x.astype(np.int16) - 128)
        return np.concatenate([np.clip(side, 0, 255) for side in (swing, -swing)], axis=1).astype(np.uint8)

    tasks = [wrist_imu.task(i) for i in numbers]
    parts = ("x_train", "y_train", "x_test", "y_test")
    together = {part: np.concatenate([getattr(task, part) for task in tasks]) for part in parts}
    return replace(tasks[0], shape=None, **{n: apart(a) if n[0] == "x" else a for n, a in together.items()})


def ends(task: Task) -> NDArray[np.bool_]:
    """Marks the last fifth of each run of equal labels. It is held out whole: neighbouring windows overlap."""
    stretch = np.cumsum(np.diff(task.y_train, prepend=-1) != 0)
    held = np.zeros(len(stretch), bool)
    for number in np.unique(stretch):
        rows = np.flatnonzero(stretch == number)
        held[rows[round(0.8 * len(rows)) :]] = True
    return held


def a_sixth(task: Task) -> NDArray[np.bool_]:
    return np.random.default_rng(10_000).permutation(len(task.x_train)) < len(task.x_train) // 6
