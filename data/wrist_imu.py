"""Seven shoulder exercises by ten people, recorded by an inertial sensor on the wrist at 50 Hz. Each person is a task.

Data: D. M. Burns et al., seglearn (BSD-3-Clause); the file ``seglearn-watch/watch.npz`` in METABIT_DATA_DIR.
"""

from __future__ import annotations

import functools
import os

import numpy as np
from numpy.typing import NDArray

from metabit.data.download import DIRECTORY, file
from metabit.data.errors import DataError
from metabit.data.npz_files import known_arrays
from metabit.data.task import Bytes, Labels, Task

WINDOW = 200
"""Samples of a window: 4 s, longer than one repetition of an exercise."""
STEP = 50
"""Samples from the start of a window to the start of the next."""
AVERAGED = 8
"""Samples averaged into one row: 6.25 Hz is enough for a moving arm."""
TEST_SHARE = 0.25
"""Share of every series, its end, that is for the test. No training window reaches into it."""
RANGE = (2.0, 2.0, 2.0, 5.0, 5.0, 5.0)
"""Range ±R of the three accelerations (g) and three turning rates (rad/s) that becomes 0..255. Wider movements saturate."""

Floats = NDArray[np.float32]


def task(i: int, seed: int = 0) -> Task:
    """Person i + 1, i = 0..9: features uint8 (150,) of a window (25 rows of 6 channels), labels 0..6. The seed changes nothing.

    Raises DataError: the file is not there or damaged.
    """
    directory = os.environ.get(DIRECTORY)
    if not directory:
        wanted = "seglearn-watch/watch.npz (x float (n, 6), offsets, y and subject of each series)"
        raise DataError(
            f"watch has no public home in a format without pickle: set {DIRECTORY} to a folder with {wanted}"
        )
    x, y, subject, test = _windows(directory)
    mine = subject == i
    train, tested = mine & ~test, mine & test
    shape = (WINDOW // AVERAGED, 1, len(RANGE))
    held_out = f"the last {100 * TEST_SHARE:.0f} % of each recording"
    return Task(f"person {i + 1}", x[train], y[train], x[tested], y[tested], shape, held_out=held_out)


@functools.lru_cache(maxsize=1)
def _windows(_: str) -> tuple[Bytes, Labels, Labels, NDArray[np.bool_]]:
    """Windows of all series: features uint8 (n, 150), label int64 (n,), person 0..9, True for the test."""
    arrays = known_arrays(file("seglearn-watch", "watch.npz"), ("x", "offsets", "y", "subject"))
    rows: list[Bytes] = []
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


def _features(window: Floats) -> Bytes:
    """float (200, 6) -> uint8 (150,): means of 8 samples, with each channel's range scaled to 0..255."""
    rows = window.reshape(-1, AVERAGED, window.shape[1]).mean(1)
    levels: Bytes = np.clip(np.rint(127.5 + 127.5 * rows / np.array(RANGE)), 0, 255).astype(np.uint8)
    return levels.ravel()
