"""The training loop over tasks, epochs and batches. `metabit.train.run` starts it on one task or on a scenario."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from metabit.data import Scenario
from metabit.data.task import Task
from metabit.train.errors import extra
from metabit.train.network.binarize import BinaryLinear
from metabit.train.network.module import Network
from metabit.train.network.norms import restore, snapshot
from metabit.train.penalties import PENALTIES
from metabit.train.rule.metaplastic import MetaplasticAdam
from metabit.train.settings import Settings
from metabit.train.step import check, check_finite, count_batches, evaluate, on_device, step

with extra("torch"):
    import torch
    from torch import Tensor

SAVE_SECONDS = 5.0
"""Least time between saves at the ends of epochs; twelve times as much between saves within an epoch."""

Row = dict[str, Any]
"""Row of one finished epoch, as `Run.history` describes it."""


@dataclass
class Place:
    """Position of a run, between two steps.

    Args:
        task, epoch: present task and epoch, from 0.
        batch: finished steps of the present epoch.
        step: finished steps of the whole run.
        loss_sum: sum over the samples of the present epoch of their cross-entropy, in nats.
        correct: number of correct predictions in the present epoch.
    """

    task: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0


class Loop:
    """Training of one network on the tasks of a scenario, in order.

    Attributes:
        network, optimizer, penalty, place: what is trained, what trains it, and where the loop stands.
        hidden: hidden weights of every trained layer, first to last.
        history: one row for each finished epoch.
        norms: with per_task_norm, task -> its batch normalisation.
        baseline: with evaluate_all, accuracy of the untrained network on every task, 0..1.
    """

    def __init__(self, scenario: Scenario, settings: Settings, network: Network | None = None) -> None:
        """Use the given network, or make the initial network of the settings.

        Raises TrainError: settings, data and network do not fit together.
        """
        self.scenario, self.settings = scenario, settings
        self.phases = 1 if settings.interleaved else scenario.count
        self.task0 = scenario.task(0, settings.seed)
        self.network = Network(settings.spec(self.task0, scenario.classes)) if network is None else network
        self.hidden = [layer.linear.hidden for layer in self.network.layers() if isinstance(layer.linear, BinaryLinear)]
        options = {} if settings.strength is None else {"strength": settings.strength}
        self.penalty = PENALTIES[settings.penalty](seed=settings.seed, **options)
        self.optimizer = self._new_optimizer()
        self.order = np.random.default_rng(settings.seed)
        self.place = Place()
        self.history: list[Row] = []
        self.norms: dict[int, dict[str, Tensor]] = {}
        self.baseline: list[float] | None = None
        self.tests: dict[int, Task] = {}
        self.dealt = self.order.bit_generator.state  # before the permutation of the present epoch
        self.signs = self._signs()  # at the start of the present epoch
        self.saved = time.monotonic()

    def go(self, stop: threading.Event, progress: Callable[[Row], None] | None) -> bool:
        """Learn all remaining tasks. Returns False if `stop` was set before the end. Saves in both cases.

        Raises:
            TrainError: data and network do not fit together.
            DivergedError: the loss or a parameter became NaN or infinite.
        """
        if self.settings.evaluate_all and self.baseline is None:
            self.baseline = self._accuracies()
        while self.place.task < self.phases:
            if not self._task(stop, progress):
                self.save()
                return False
        self.save()
        return True

    def save(self) -> None:
        """Save the state between two steps: `fit` has no file and saves nothing."""

    def _task(self, stop: threading.Event, progress: Callable[[Row], None] | None) -> bool:
        """Learn the rest of the present task; False if `stop` was set before its end."""
        place, settings = self.place, self.settings
        task = self._load(place.task)
        x, y = on_device(self.network, task.x_train), on_device(self.network, task.y_train)
        if settings.fresh_moments and place.epoch == place.batch == 0:
            self.optimizer = self._new_optimizer()
        last = False
        while not last:
            if not self._epoch(x, y, stop):
                return False
            row = self._row()
            self.history.append(row)
            place.epoch, place.batch, place.loss_sum, place.correct = place.epoch + 1, 0, 0.0, 0
            last = place.epoch == settings.epochs
            if last:
                self.penalty.end_task(self.network, x, y)
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
            if stop.is_set() and place.task < self.phases:
                return False
        return True

    def _epoch(self, x: Tensor, y: Tensor, stop: threading.Event) -> bool:
        """Learn the rest of the present epoch; False if `stop` was set before its end."""
        place, network = self.place, self.network
        if place.batch == 0:
            self.signs = self._signs()
        self.dealt = self.order.bit_generator.state
        batches = np.array_split(self.order.permutation(len(x)), count_batches(network, len(x), self.settings.batch))
        network.train()
        for chosen in batches[place.batch :]:
            indices = torch.from_numpy(chosen).to(x.device)
            place.step += 1
            batch = x[indices], y[indices]
            loss, right = step(network, self.optimizer, *batch, number=place.step, penalty=self.penalty)
            place.loss_sum += loss * len(chosen)
            place.correct += right
            place.batch += 1
            if place.batch < len(batches):
                if stop.is_set():
                    return False
                if time.monotonic() - self.saved > 12 * SAVE_SECONDS:
                    self.save()
        self.dealt = self.order.bit_generator.state
        check_finite(network, self.optimizer, place.step)
        return True

    def _row(self) -> Row:
        """Return the row of the epoch that has just ended."""
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
        """Return the accuracy on each task up to the present one, or on all, each with its own norm if it has one."""
        everything = self.settings.evaluate_all or self.settings.interleaved
        now = snapshot(self.network) if self.norms else {}
        found: dict[tuple[Any, ...], float] = {}
        accuracies = []
        for i in range(self.scenario.count if everything else self.place.task + 1):
            task = self._test(i)
            # The parts of a stream share one test set, which is evaluated once.
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
        """Return the training data of phase i; only those of the last phase stay in memory."""
        if i != getattr(self, "_loaded", None):
            task = _union(self.scenario, self.settings.seed) if self.settings.interleaved else self._make(i)
            check(self.network, task.x_train, task.y_train)
            self._loaded, self._now = i, task
        return self._now

    def _test(self, i: int) -> Task:
        """Return task i with only one training sample: the training sets of all tasks may not fit into memory."""
        if i not in self.tests:
            ready = i == getattr(self, "_loaded", None) and not self.settings.interleaved
            task = self._now if ready else self._make(i)
            check(self.network, task.x_test, task.y_test)
            one = task.x_train[:1].copy(), task.y_train[:1].copy()  # a view would keep all samples
            self.tests[i] = Task(task.name, *one, task.x_test, task.y_test, task.shape)
        return self.tests[i]

    def _make(self, i: int) -> Task:
        return self.task0 if i == 0 else self.scenario.task(i, self.settings.seed)

    def _signs(self) -> list[Tensor]:
        return [hidden.detach() >= 0 for hidden in self.hidden]

    def _new_optimizer(self) -> MetaplasticAdam:
        """Return an optimizer with moments of zero, in which each trained layer is a group with its own m."""
        s = self.settings
        per_layer = self.network.spec.per_layer(s.m)
        groups: list[Row] = [{"params": [w], "m": m} for w, m in zip(self.hidden, per_layer, strict=True)]
        norms = [p for layer in self.network.layers() for p in layer.norm.parameters() if p.requires_grad]
        if norms:
            groups.append({"params": norms, "m": 0.0})
        return MetaplasticAdam(groups, lr=s.lr, weight_decay=s.weight_decay, eps=s.eps)


def _union(scenario: Scenario, seed: int) -> Task:
    """Return all training sets as one task. Its test set is that of task 0; `Loop._test` finds those of all tasks."""
    tasks = [scenario.task(i, seed) for i in range(scenario.count)]
    x, y = np.concatenate([task.x_train for task in tasks]), np.concatenate([task.y_train for task in tasks])
    return Task(f"{scenario.name}, interleaved", x, y, tasks[0].x_test, tasks[0].y_test, tasks[0].shape)
