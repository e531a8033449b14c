"""Datasets: names and files -> arrays, checked. Every command and every script loads them by `load`.

names.py          load: a built-in name, a file, a folder of pictures, or a training file and a test file -> Scenario
task.py           Task, a training part and a test part; Scenario, a sequence of tasks
scenarios.py      SCENARIOS: the built-in names, one row each
arrays.py         arrays of any sensible dtype -> tasks; labels.py: labels of any kind -> classes 0..C-1
oddities.py       warnings of values that a network would take and learn little from
csv_files.py      tables as text
npz_files.py      .npz archives
image_folders.py  pictures, one subfolder for each class
image_sets.py     MNIST, Fashion-MNIST, USPS and CIFAR-10
features.py       windows of a sensor's samples and their features, as the device computes them
wrist_imu.py      exercises recorded on a wrist, one person a task
download.py       public files, fetched once and checked by their hashes
rows.py           files that are written whole, and tables of JSON lines

In short::

    from metabit import data

    task = data.load("digits").task(0)            # task.x_train: uint8 (1438, 64)
    print(data.load("my.csv").whole().line())     # what was read, in one line
"""

from __future__ import annotations

import warnings
from typing import Any

from metabit.data.arrays import from_arrays
from metabit.data.errors import DataError, DataWarning, MissingExtraError
from metabit.data.names import load
from metabit.data.scenarios import SCENARIOS
from metabit.data.task import Scenario, Task, thermometer

__all__ = [
    "SCENARIOS",
    "DataError",
    "DataWarning",
    "MissingExtraError",
    "Scenario",
    "Task",
    "from_arrays",
    "load",
    "thermometer",
]

_OLD: dict[str, tuple[Any, str]] = {
    "load_task": (lambda name, *, seed=0: load(name, seed=seed).whole(), "load(name).whole()"),
    "scenario": (lambda name, tasks=None: load(name, tasks=tasks), "load(name)"),
}
"""Names of 0.1 -> what they still do for one release, and their replacement."""


def __getattr__(name: str) -> Any:
    if name in _OLD:
        old, new = _OLD[name]
        warnings.warn(f"metabit.data.{name} is metabit.data.{new} now", DeprecationWarning, stacklevel=2)
        return old
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
