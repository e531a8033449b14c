"""Exercises on a wrist: seven shoulder exercises by ten people, an inertial sensor at 50 Hz. One person is one task.

Data: D. M. Burns et al., seglearn (BSD-3-Clause); the file ``seglearn-watch/watch.npz`` in METABIT_DATA_DIR.
"""

from __future__ import annotations

import functools
import os

import numpy as np
from numpy.typing import NDArray

from metabit.data import download as datasets
from metabit.data.errors import DataError
from metabit.data.task import Task

WINDOW = 200
"""Samples of a window: 4 s, longer than one repetition of an exercise."""
STEP = 50
AVERAGED = 8
"""Samples averaged into one row: 6.25 Hz is enough for a moving arm."""
TEST_SHARE = 0.25
"""The last part of every series is for the test, and no training window reaches into it."""
RANGE = (2.0, 2.0, 2.0, 5.0, 5.0, 5.0)
"""± of the three accelerations (g) and three turning rates (rad/s) that becomes 0..255; wider movements saturate."""

Floats = NDArray[np.float32]


def task(i: int, seed: int = 0) -> Task:
    """Person i of 0..9: features uint8 of a window (25 rows of 6 channels), labels 0..6. The seed changes nothing.

    Raises:
        DataError: the file is not there or damaged.
    """
    directory = os.environ.get(datasets.DIRECTORY)
    if not directory:
        raise DataError(
            f"watch has no public home in a format without pickle: set {datasets.DIRECTORY} to a folder with "
            "seglearn-watch/watch.npz (x float (n, 6), offsets, y and subject of each series)"
        )
    x, y, subject, test = _windows(directory)
    mine = subject == i
    train, tested = mine & ~test, mine & test
    return Task(f"person {i}", x[train], y[train], x[tested], y[tested], (WINDOW // AVERAGED, 1, len(RANGE)))


@functools.lru_cache(maxsize=1)
def _windows(_: str) -> tuple[datasets.Bytes, datasets.Labels, datasets.Labels, NDArray[np.bool_]]:
    """Of all series: features, label, person 0..9, whether for the test."""
    names = ("x", "offsets", "y", "subject")
    arrays = datasets.read_arrays(datasets.file("seglearn-watch", "watch.npz"), names)
    rows: list[datasets.Bytes] = []
    about: list[tuple[int, int, bool]] = []
    for number, (start, end) in enumerate(zip(arrays["offsets"][:-1], arrays["offsets"][1:], strict=True)):
        series = arrays["x"][start:end]
        border = round(len(series) * (1 - TEST_SHARE))
        for part, test in ((series[:border], False), (series[border:], True)):
            for at in range(0, len(part) - WINDOW + 1, STEP):
                rows.append(_features(part[at : at + WINDOW]))
                about.append((int(arrays["y"][number]), int(arrays["subject"][number]) - 1, test))
    labels = np.array(about, dtype=np.int64)
    return np.stack(rows), labels[:, 0], labels[:, 1], labels[:, 2].astype(bool)


def _features(window: Floats) -> datasets.Bytes:
    """float (200, 6) -> uint8 (150,): averaged over 8 samples, each channel's range onto 0..255."""
    rows = window.reshape(-1, AVERAGED, window.shape[1]).mean(1)
    levels: datasets.Bytes = np.clip(np.rint(127.5 + 127.5 * rows / np.array(RANGE)), 0, 255).astype(np.uint8)
    return levels.ravel()
