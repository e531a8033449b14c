"""Work of a sweep that worker processes import by name."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

from metabit.train.errors import TrainError


def run_with_mishaps(folder: str, cell: Mapping[str, Any]) -> dict[str, Any]:
    """A small real run. Two cells kill their worker, one always, one the first time; one fails; all mark each attempt."""
    name = "-".join(str(value) for value in cell.values())
    descriptor = os.open(f"{folder}/{name}.tries", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(descriptor, b"x")
    os.close(descriptor)
    first = os.path.getsize(f"{folder}/{name}.tries") == 1
    if "fatal" in name or (first and name == "8.0-None-1"):
        os.kill(os.getpid(), signal.SIGKILL)
    if first and name == "0.0-4-0":
        raise TrainError("out of luck")
    from metabit.data import load, thermometer  # only in a worker that needs torch
    from metabit.train import Network, Spec, fit

    task = load("digits").whole()
    spec = Spec(64, (16,), 10, encode=thermometer(task.x_train, 4), seed=cell["seed"])
    history = fit(Network(spec), task, epochs=1, m=cell["m"], seed=cell["seed"])
    return {"accuracy": history.epochs[-1].test_accuracy}
