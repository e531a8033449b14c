"""The run: one network, one task after another, and a file that it can go on from.

Every step is decided by the settings alone. Where a run stopped, at Ctrl-C or with the power, `run(..., resume=True)`
goes on to the same final bytes: network, moments, penalty, generators and the place in the data are all in
``state.safetensors``. Under torchrun its processes share every step (`metabit.train.ddp`); the first one saves.
"""

from __future__ import annotations

import json
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.scenarios import Scenario
from metabit.data.task import Task
from metabit.train import resume_file as state
from metabit.train.checkpoint import Checkpoint, Rule
from metabit.train.errors import TrainError, extra
from metabit.train.interrupt import interruptible
from metabit.train.learner import Learner
from metabit.train.loop import Alone, check, check_finite, count_batches, evaluate, on_device, step
from metabit.train.metrics import accuracy_matrix
from metabit.train.network.module import Network
from metabit.train.network.norms import restore, snapshot
from metabit.train.settings import Settings

with extra("torch"):
    import torch
    from torch import Tensor

STATE = "state.safetensors"
SAVE_SECONDS = 5.0
"""Between saves at the ends of epochs; within an epoch twelve times as much. Ctrl-C saves at once."""

Row = dict[str, Any]


@dataclass
class Run:
    """What `run` did.

    Args:
        scenario, settings: of the run.
        network: as it is after the last step, in evaluation mode.
        history: a row for each finished epoch: ``task`` (from 0; interleaved: the last), ``epoch`` (from 1), ``step``
            (steps so far), ``loss`` (mean cross-entropy while learning, nats), ``train_accuracy`` (while learning),
            ``accuracy`` (0..1 on the test set of every task from the first to the present one, or of all; [] where this
            epoch was not evaluated), ``flipped`` (share of ±1 weights that changed in this epoch).
        norms: per_task_norm: task -> its batch normalisation (`metabit.train.network.norms.snapshot`).
        baseline: evaluate_all: accuracy of the untrained network on every task, against which forward transfer is measured.
        interrupted: whether Ctrl-C ended it early.
        first: whether this is the process that writes files and prints; the others, under torchrun, know the same.
    """

    scenario: Scenario
    settings: Settings
    network: Network
    history: list[Row]
    norms: dict[int, dict[str, Tensor]]
    baseline: list[float] | None = None
    interrupted: bool = False
    first: bool = True

    def accuracy_matrix(self) -> NDArray[np.float64]:
        """(T, T): row i holds the accuracies, 0..1, on all tasks after task i was finished; NaN where not evaluated."""
        count = self.scenario.count
        matrix = np.full((count, count), np.nan)
        if any(row["accuracy"] for row in self.history):
            found = accuracy_matrix(self.history)
            matrix[: len(found), : len(found)] = found
        return matrix

    def checkpoint(self, task: int | None = None, provenance: Mapping[str, Any] | None = None) -> Checkpoint:
        """For `metabit export`: the network with the normalisation it has now, or with that of a finished task.

        Raises:
            TrainError: this task has no normalisation of its own.
        """
        tensors = self.network.tensors()
        if task is not None:
            if task not in self.norms:
                raise TrainError(f"task {task} has no normalisation of its own: there are {sorted(self.norms)}")
            now = snapshot(self.network)
            restore(self.network, self.norms[task])
            tensors = self.network.tensors()
            restore(self.network, now)
        s = self.settings
        rule = Rule.of(self.network.spec, 0.0 if s.rule == "plain" else s.m, s.lr, s.weight_decay)
        return Checkpoint(self.network.spec, tensors, rule, self.history, dict(provenance or {}))


@dataclass
class _Place:
    """Where the run stands: between steps. batch counts steps of the epoch that are done."""

    task: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0


def run(
    scenario: Scenario,
    settings: Settings,
    folder: str | Path,
    *,
    resume: bool = False,
    progress: Callable[[Row], None] | None = None,
) -> Run:
    """Learn a scenario's tasks in order, saving into a folder, and say how well each was kept.

    Ctrl-C ends the run after the present step, saved; a second one ends it at once.

    Args:
        folder: made if need be; holds ``state.safetensors``. What was in it is replaced.
        resume: go on from that file; scenario and settings must be those that it was started with.
        progress: called with every new row of the history.

    Raises:
        TrainError: settings, data and network do not go together, or there is nothing to resume.
        DivergedError: the loss or a parameter became NaN or infinite; the last save is left as it was.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainError(f"cannot make {folder} ({error.strerror}): choose another folder") from None
    session = _Session(scenario, settings, folder / STATE)
    if resume:
        session.load()
    with interruptible() as stop, _together(session):
        interrupted = not session.go(stop, progress if session.ranks.first else None)
    session.network.eval()
    return Run(
        scenario,
        settings,
        session.network,
        session.history,
        session.norms,
        session.baseline,
        interrupted,
        session.ranks.first,
    )


class _Session:
    """The moving parts of a run."""

    def __init__(self, scenario: Scenario, settings: Settings, path: Path) -> None:
        self.scenario, self.settings, self.path = scenario, settings, path
        self.phases = 1 if settings.interleaved else scenario.count
        self.task0 = scenario.task(0, settings.seed)
        self.network = Network(settings.spec(self.task0, scenario.classes))
        self.learner = Learner(self.network, settings)
        self.order = np.random.default_rng(settings.seed)
        self.place = _Place()
        self.history: list[Row] = []
        self.norms: dict[int, dict[str, Tensor]] = {}
        self.baseline: list[float] | None = None
        self.tests: dict[int, Task] = {}
        self.dealt = self.order.bit_generator.state  # before the present epoch's permutation
        self.signs = self._signs()  # at the start of the present epoch
        self.saved = time.monotonic()
        self.ranks = Alone()

    def go(self, stop: threading.Event, progress: Callable[[Row], None] | None) -> bool:
        """To the end, True; or to Ctrl-C, False. Saved either way."""
        if self.settings.evaluate_all and self.baseline is None:
            self.baseline = self._accuracies()
        while self.place.task < self.phases:
            if not self._task(stop, progress):
                self.save()
                return False
        self.save()
        return True

    def _task(self, stop: threading.Event, progress: Callable[[Row], None] | None) -> bool:
        place, settings = self.place, self.settings
        task = self._load(place.task)
        x, y = on_device(self.network, task.x_train), on_device(self.network, task.y_train)
        if settings.fresh_moments and place.epoch == place.batch == 0:
            self.learner.fresh(place.task)
        while place.epoch < settings.epochs:
            if not self._epoch(x, y, stop):
                return False
            row = self._row()
            self.history.append(row)
            place.epoch, place.batch, place.loss_sum, place.correct = place.epoch + 1, 0, 0.0, 0
            last = place.epoch == settings.epochs
            if last:
                self.learner.end_task(x, y)
                if settings.per_task_norm and not settings.interleaved:
                    self.norms[place.task] = snapshot(self.network)
                place.task, place.epoch = place.task + 1, 0
            if time.monotonic() - self.saved > SAVE_SECONDS:
                self.save()
            if progress is not None:
                try:
                    progress(row)
                except KeyboardInterrupt:
                    stop.set()
            if last:
                return not self._stopped(stop) or place.task == self.phases
            if self._stopped(stop):
                return False
        return True

    def _epoch(self, x: Tensor, y: Tensor, stop: threading.Event) -> bool:
        """The rest of an epoch; False if Ctrl-C came before its end."""
        place, network = self.place, self.network
        if place.batch == 0:
            self.signs = self._signs()
        self.dealt = self.order.bit_generator.state
        batches = np.array_split(self.order.permutation(len(x)), count_batches(network, len(x), self.settings.batch))
        network.train()
        for chosen in batches[place.batch :]:
            indices = torch.from_numpy(chosen).to(x.device)
            place.step += 1
            loss, right = step(
                network,
                self.learner.optimizer,
                x[indices],
                y[indices],
                number=place.step,
                penalty=self.learner.penalty,
                ranks=self.ranks,
            )
            place.loss_sum += loss * len(chosen)
            place.correct += right
            place.batch += 1
            if place.batch < len(batches):
                if self._stopped(stop):
                    return False
                if time.monotonic() - self.saved > 12 * SAVE_SECONDS:
                    self.save()
        self.dealt = self.order.bit_generator.state
        check_finite(network, self.learner.optimizer, place.step)
        return True

    def _stopped(self, stop: threading.Event) -> bool:
        """Whether Ctrl-C came, to any process: they must all stop at the same step."""
        heard = torch.tensor(int(stop.is_set()))
        self.ranks.add_up([heard])
        return bool(heard)

    def _row(self) -> Row:
        place, settings = self.place, self.settings
        samples = len(self._load(place.task).y_train)
        number = place.epoch + 1
        due = number % settings.evaluate_every == 0 or number == settings.epochs
        now = self._signs()
        flipped = sum(int((a != b).sum()) for a, b in zip(self.signs, now, strict=True))
        return {
            "task": self.scenario.count - 1 if settings.interleaved else place.task,
            "epoch": number,
            "step": place.step,
            "loss": place.loss_sum / samples,
            "train_accuracy": place.correct / samples,
            "accuracy": self._accuracies() if due else [],
            "flipped": flipped / sum(sign.numel() for sign in now),
        }

    def _accuracies(self) -> list[float]:
        """On the test set of every task seen so far, or of all; each with its own norm where it has one."""
        everything = self.settings.evaluate_all or self.settings.interleaved
        now = snapshot(self.network) if self.norms else {}
        found: dict[tuple[Any, ...], float] = {}
        accuracies = []
        for i in range(self.scenario.count if everything else self.place.task + 1):
            task = self._test(i)
            # A stream's parts share their test set: once is enough.
            key = (i if i in self.norms else -1, task.x_test.ctypes.data, task.x_test.shape, task.y_test.ctypes.data)
            if key not in found:
                if i in self.norms:
                    restore(self.network, self.norms[i])
                found[key] = evaluate(self.network, task.x_test, task.y_test)
                if i in self.norms:
                    restore(self.network, now)
            accuracies.append(found[key])
        return accuracies

    def _load(self, i: int) -> Task:
        """What phase i learns; kept until the next one is asked for."""
        if i != getattr(self, "_loaded", None):
            task = _union(self.scenario, self.settings.seed) if self.settings.interleaved else self._make(i)
            check(self.network, task.x_train, task.y_train)
            self._loaded, self._now = i, task
        return self._now

    def _test(self, i: int) -> Task:
        """Task i without its training set, which may be large."""
        if i not in self.tests:
            ready = i == getattr(self, "_loaded", None) and not self.settings.interleaved
            task = self._now if ready else self._make(i)
            check(self.network, task.x_test, task.y_test)
            one = task.x_train[:1].copy(), task.y_train[:1].copy()  # a view would keep them all
            self.tests[i] = Task(task.name, *one, task.x_test, task.y_test, task.shape)
        return self.tests[i]

    def _make(self, i: int) -> Task:
        return self.task0 if i == 0 else self.scenario.task(i, self.settings.seed)

    def _signs(self) -> list[Tensor]:
        return [hidden.detach() >= 0 for hidden in self.learner.hidden]

    def save(self) -> None:
        """Everything the next step depends on, and the history."""
        if not self.ranks.first:
            return
        moments, numbers = state.optimizer_state(self.learner.optimizer)
        groups = {
            "network.": {name: torch.from_numpy(np.asarray(array)) for name, array in self.network.tensors().items()},
            "moments.": moments,
            "penalty.": self.learner.penalty_tensors(),
            "signs.": {str(i): sign for i, sign in enumerate(self.signs)},
            **{f"norms.{i}.": saved for i, saved in self.norms.items()},
        }
        tensors = {prefix + name: tensor for prefix, group in groups.items() for name, tensor in group.items()}
        header = {
            "scenario": self._identity(), "settings": self.settings.to_dict(), "place": asdict(self.place),
            "order": self.dealt, "numbers": numbers, "history": self.history,
            "baseline": self.baseline,
        }  # fmt: skip
        state.write(self.path, tensors, header)
        self.saved = time.monotonic()

    def load(self) -> None:
        """The reverse of `save`.

        Raises:
            TrainError: the file belongs to another scenario, other data or other settings.
        """
        tensors, header = state.read(self.path)
        wanted = json.loads(json.dumps({**self._identity(), **self.settings.to_dict()}))
        saved = {**header["scenario"], **header["settings"]}
        for name in {**saved, **wanted}:
            if name not in saved or name not in wanted or saved[name] != wanted[name]:
                was, now = saved.get(name), wanted.get(name)
                raise TrainError(
                    f"{self.path} was started with {name}={was!r}, not {now!r}: resume with the same settings"
                )
        self.place = _Place(**header["place"])
        self.history, self.baseline = header["history"], header["baseline"]
        self.order.bit_generator.state = self.dealt = header["order"]
        self.network.load_tensors({name: t.numpy() for name, t in state.part(tensors, "network.").items()})
        moments, penalty = state.part(tensors, "moments."), state.part(tensors, "penalty.")
        self.learner.load(self.place.task, moments, header["numbers"], penalty)
        self.signs = [tensors[f"signs.{i}"] for i in range(len(self.signs))]
        self.norms = {i: saved for i in range(self.scenario.count) if (saved := state.part(tensors, f"norms.{i}."))}

    def _identity(self) -> dict[str, Any]:
        """What the data are, by name and by a checksum of the first task."""
        sums = [zlib.crc32(array.tobytes()) for array in (self.task0.x_train, self.task0.y_train)]
        return {"scenario": self.scenario.name, "tasks": self.scenario.count, "data": sums}


@contextmanager
def _together(session: _Session) -> Iterator[None]:
    """Join the processes that torchrun started, if it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    from metabit.train import ddp

    with ddp.connected(session.network) as ranks:
        session.ranks = ranks
        yield


def _union(scenario: Scenario, seed: int) -> Task:
    """All training sets as one. Only the test set of the first: evaluation asks for each task's own."""
    tasks = [scenario.task(i, seed) for i in range(scenario.count)]
    x, y = np.concatenate([task.x_train for task in tasks]), np.concatenate([task.y_train for task in tasks])
    return Task(f"{scenario.name}, interleaved", x, y, tasks[0].x_test, tasks[0].y_test, tasks[0].shape)
