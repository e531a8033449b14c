"""Two ways to train: `fit` on one task in memory, and `run` on a scenario, with a file from which it can continue.

The settings alone decide every step. After Ctrl-C or a power cut, ``run(..., resume=True)`` ends in the bytes of a run
that was never stopped: ``state.safetensors`` holds the network, the moments, the penalty, the state of the random
generator and the place in the data.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data import Scenario
from metabit.data.task import Task
from metabit.train import resume_file
from metabit.train.checkpoint import Checkpoint, Rule
from metabit.train.errors import TrainError, extra
from metabit.train.interrupt import interruptible
from metabit.train.loop import Loop, Place, Row
from metabit.train.metrics import accuracy_matrix
from metabit.train.network.module import Network
from metabit.train.network.norms import restore, snapshot
from metabit.train.settings import Settings
from metabit.train.step import check

with extra("torch"):
    import torch
    from torch import Tensor

STATE = "state.safetensors"


@dataclass(frozen=True)
class Epoch:
    """A pass of `fit` over the training samples.

    Args:
        number: from 1.
        loss: mean cross-entropy of the pass, in nats, of each batch before its own update.
        train_accuracy: 0..1, of each batch before its own update.
        test_accuracy: 0..1, after the pass.
    """

    number: int
    loss: float
    train_accuracy: float
    test_accuracy: float


@dataclass
class History:
    """Result of `fit`.

    Args:
        epochs: the finished epochs.
        interrupted: True if Ctrl-C ended the training early.
    """

    epochs: list[Epoch] = field(default_factory=list)
    interrupted: bool = False


def fit(
    network: Network,
    task: Task,
    *,
    epochs: int,
    batch: int = 100,
    lr: float = 0.005,
    m: float | Sequence[float] = 0.0,
    weight_decay: float = 1e-7,
    seed: int = 0,
    progress: Callable[[Epoch], None] | None = None,
) -> History:
    """Train a network on one task, in place, by cross-entropy and `metabit.train.MetaplasticAdam`.

    A second call with another task learns that task too. Every call starts with moments of zero, as the paper's
    protocol does. Equal arguments give equal bytes on one machine's CPU with one number of threads. Ctrl-C ends the
    training after the present step. On return the network is in evaluation mode.

    Args:
        epochs: >= 1.
        batch: samples of a step, >= 1, with norm "batch" >= 2. The n samples are divided into ⌈n / batch⌉ batches of
            nearly equal size.
        lr, weight_decay: of `metabit.train.MetaplasticAdam`.
        m: metaplasticity, one number or one for each trained layer.
        seed: >= 0, of the order of the samples.
        progress: called after every epoch.

    Raises:
        TrainError: network, task and settings do not fit together.
        DivergedError: the loss or a parameter became NaN or infinite.
    """
    check(network, task.x_train, task.y_train)
    check(network, task.x_test, task.y_test)
    by_layer = tuple(m) if isinstance(m, Sequence | np.ndarray) else m
    settings = Settings(epochs=epochs, batch=batch, lr=lr, m=by_layer, weight_decay=weight_decay, seed=seed)
    only = Scenario(task.name, task.name, 1, network.spec.classes, lambda i, seed: task)
    history = History()

    def tell(row: Row) -> None:
        history.epochs.append(Epoch(row["epoch"], row["loss"], row["train_accuracy"], row["accuracy"][0]))
        if progress is not None:
            progress(history.epochs[-1])

    try:
        with interruptible() as stop:
            history.interrupted = not Loop(only, settings, network).go(stop, tell)
    finally:
        network.eval()
    return history


@dataclass
class Run:
    """Result of `run`.

    Args:
        scenario, settings: of the run.
        network: after the last step, in evaluation mode.
        history: a row for each finished epoch: ``task`` (from 0; interleaved: the last), ``epoch`` (from 1), ``step``
            (steps so far), ``loss`` (mean cross-entropy of the epoch, nats), ``train_accuracy`` (0..1; loss and accuracy
            of each batch before its own update), ``accuracy`` (0..1 on the test set of every task from the first to the
            present one, or of all; [] if this epoch was not evaluated), ``flipped`` (share of the weights that changed
            sign in this epoch).
        norms: with per_task_norm, task -> its batch normalisation (`metabit.train.network.norms.snapshot`).
        baseline: with evaluate_all, accuracy of the untrained network on every task; forward transfer is measured
            against it.
        interrupted: True if Ctrl-C ended the run early.
        start: the checkpoint that it went on from, or None.
    """

    scenario: Scenario
    settings: Settings
    network: Network
    history: list[Row]
    norms: dict[int, dict[str, Tensor]]
    baseline: list[float] | None = None
    interrupted: bool = False
    start: Checkpoint | None = None

    def accuracy_matrix(self) -> NDArray[np.float64]:
        """Return float (T, T): row i has the accuracy, 0..1, on all tasks after task i; NaN where not evaluated."""
        count = self.scenario.count
        matrix = np.full((count, count), np.nan)
        if any(row["accuracy"] for row in self.history):
            found = accuracy_matrix(self.history)
            matrix[: len(found), : len(found)] = found
        return matrix

    def checkpoint(self, task: int | None = None, provenance: Mapping[str, Any] | None = None) -> Checkpoint:
        """Return the network for `metabit export`, with its present normalisation or with that of a finished task.

        Raises TrainError: this task has no normalisation of its own.
        """
        tensors = self.network.tensors()
        if task is not None:
            if task not in self.norms:
                raise TrainError(f"task {task} has no normalisation of its own: there are {sorted(self.norms)}")
            now = snapshot(self.network)
            restore(self.network, self.norms[task])
            tensors = self.network.tensors()
            restore(self.network, now)
        rule = Rule.of(self.network.spec, self.settings.m, self.settings.lr, self.settings.weight_decay)
        device = None if self.start is None else self.start.device
        return Checkpoint(self.network.spec, tensors, rule, self.history, dict(provenance or {}), device)


def run(
    scenario: Scenario,
    settings: Settings,
    folder: str | Path,
    *,
    resume: bool = False,
    progress: Callable[[Row], None] | None = None,
    start: Checkpoint | None = None,
) -> Run:
    """Learn a scenario's tasks in order and save into a folder.

    Ctrl-C ends the run after the present step and saves; a second Ctrl-C ends it at once.

    Args:
        folder: made if it does not exist; holds ``state.safetensors``, which is replaced.
        resume: True continues from that file. Scenario and settings must be those that it was started with.
        progress: called with every new row of the history.
        start: a network to go on from in place of a new one, whose settings of the network then have no effect. The
            optimizer starts with moments of zero.

    Raises:
        TrainError: settings, data and network do not fit together, or there is nothing to resume.
        DivergedError: the loss or a parameter became NaN or infinite; the last save stays as it was.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise TrainError("training under torchrun was removed: start one process, without torchrun")
    folder = Path(folder)
    if not resume:  # what is resumed has a folder
        make_folder(folder)
    loop = SavedLoop(scenario, settings, folder / STATE, start)
    if resume:
        loop.load()
    with interruptible() as stop:
        interrupted = not loop.go(stop, progress)
    network = loop.network.eval()
    return Run(scenario, settings, network, loop.history, loop.norms, loop.baseline, interrupted, start)


def make_folder(folder: Path) -> None:
    """Make a folder for results. Raises TrainError: that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainError(f"cannot make {folder} ({error.strerror}): choose another folder") from None


class SavedLoop(Loop):
    """A loop that saves its whole state into one file."""

    def __init__(self, scenario: Scenario, settings: Settings, path: Path, start: Checkpoint | None = None) -> None:
        super().__init__(scenario, settings, None if start is None else start.to_network())
        self.path, self.start = path, start

    def save(self) -> None:
        """Write everything that the next step depends on, and the history."""
        moments, numbers = resume_file.optimizer_state(self.optimizer)
        groups = {
            "network.": {name: torch.from_numpy(np.asarray(array)) for name, array in self.network.tensors().items()},
            "moments.": moments,
            "penalty.": self.penalty.tensors(),
            "signs.": {str(i): sign for i, sign in enumerate(self.signs)},
            **{f"norms.{i}.": saved for i, saved in self.norms.items()},
        }
        tensors = {prefix + name: tensor for prefix, group in groups.items() for name, tensor in group.items()}
        header = {
            "scenario": self._identity(), "settings": self.settings.to_dict(), "place": asdict(self.place),
            "order": self.dealt, "numbers": numbers, "history": self.history, "baseline": self.baseline,
        }  # fmt: skip
        resume_file.write(self.path, tensors, header)
        self.saved = time.monotonic()

    def load(self) -> None:
        """Restore what `save` wrote.

        Raises:
            TrainError: the file is damaged, or belongs to another scenario, other data or other settings.
        """
        tensors, header = resume_file.read(self.path)
        wanted = json.loads(json.dumps({**self._identity(), **self.settings.to_dict()}))
        saved = {**header["scenario"], **header["settings"]}
        for name in {**saved, **wanted}:
            was, now = saved.get(name), wanted.get(name)
            if (name in saved) != (name in wanted) or was != now:
                found = f"{self.path} was started with {name}={was!r}, not {now!r}"
                raise TrainError(f"{found}: resume with the same settings")
        self.place = Place(**header["place"])
        self.history, self.baseline = header["history"], header["baseline"]
        self.order.bit_generator.state = self.dealt = header["order"]
        part = resume_file.part
        self.network.load_tensors({name: t.numpy() for name, t in part(tensors, "network.").items()})
        resume_file.load_optimizer_state(self.optimizer, part(tensors, "moments."), header["numbers"])
        self.penalty.load_tensors(part(tensors, "penalty."))
        self.signs = [tensors[f"signs.{i}"] for i in range(len(self.signs))]
        self.norms = {i: saved for i in range(self.scenario.count) if (saved := part(tensors, f"norms.{i}."))}

    def _identity(self) -> dict[str, Any]:
        """Return name and number of tasks, and checksums of the first task's training data and of the network at the start."""
        sums = [zlib.crc32(array.tobytes()) for array in (self.task0.x_train, self.task0.y_train)]
        found = {"scenario": self.scenario.name, "tasks": self.scenario.count, "data": sums}
        if self.start is not None:
            found["start"] = [zlib.crc32(array.tobytes()) for _, array in sorted(self.start.tensors.items())]
        return found
