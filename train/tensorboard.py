"""A run in TensorBoard: curves and hidden-weight histograms, while it goes on.

tensorboard --logdir FOLDER
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from metabit.train.errors import TrainError, extra

with extra("torch"):
    import torch  # noqa: F401 (SummaryWriter needs it: say so first)
with extra("tensorboard"):
    from torch.utils.tensorboard import SummaryWriter

SAMPLE = 200_000
"""Of a layer's hidden weights, at most so many, evenly spaced, make its histogram."""


class Board:
    """A writer of event files, usable in a with statement.

    Args:
        folder: made if need be; each writer adds an event file of its own, so a resumed run continues its curves.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainError(f"cannot make {folder} ({error.strerror}): choose another folder") from None

    @cached_property
    def _writer(self) -> Any:
        """Opened by the first entry: of several processes, only the one that has something to say makes a file."""
        return SummaryWriter(str(self._folder))

    def row(self, row: Mapping[str, Any]) -> None:
        """An epoch: accuracy of each task and their mean so far, and every other number under its name, against ``step``.

        Args:
            row: of a run's history; what is not a finite number is left out.
        """
        step = int(row["step"])
        for name, value in row.items():
            if name not in ("step", "accuracy") and isinstance(value, int | float) and math.isfinite(value):
                self._scalar(f"train/{name}", value, step)
        known = [(j, value) for j, value in enumerate(row["accuracy"]) if value is not None]
        for j, value in known:
            self._scalar(f"accuracy/task {j + 1:02d}", value, step)
        if known:
            self._scalar("accuracy/mean", sum(value for _, value in known) / len(known), step)

    def hidden(self, tensors: Mapping[str, Any], step: int) -> None:
        """A histogram for each layer's hidden weights, from `Network.tensors`."""
        for name, tensor in tensors.items():
            if name.rpartition(".")[2] == "hidden":
                values = np.asarray(tensor).ravel()
                values = values[:: max(1, len(values) // SAMPLE)]
                self._writer.add_histogram(f"hidden/{name.removesuffix('.hidden')}", values, step)
        self._writer.flush()

    def close(self) -> None:
        if "_writer" in self.__dict__:
            self._writer.close()

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _scalar(self, name: str, value: float, step: int) -> None:
        self._writer.add_scalar(name, value, step)
