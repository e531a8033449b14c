"""The learners that a trained default network can have, and their rivals, judged on samples that training did not see.

Half of the held-out samples are learnt in place, the other half is tested, and then the halves change places: each sample is
tested as often as any other, by a learner that never saw it. A trial is one of `metabit.experiments.tuning`: the bench, the
learners and the orders are those of `metabit tune`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data import Task
from metabit.experiments import show
from metabit.experiments.comparison import RIVALS, features
from metabit.experiments.learners import EXPORT
from metabit.experiments.tuning import Bench, Order, Start, held_out
from metabit.export import GateOptions, freeze_gates, write_image
from metabit.firmware_sim.report.page import Comparison, Line
from metabit.runtime import Model
from metabit.train.gates_checkpoint import KEPT, GatesCheckpoint

SAMPLES = 2000
"""Most held-out samples that are used. Fewer are used several times, each time in other halves."""
LEAST = 20
"""Fewest held-out samples: fewer say nothing."""
ROUNDS = 5
"""Most times that the samples are used."""
ORDERS: tuple[Order, ...] = ("mixed", "sorted")
NONE = "none"

Share = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Result of `judge`.

    Args:
        samples: held-out samples that were used.
        learner: the one to export, a name of `metabit.experiments.learners.LEARNERS`.
        options: of `metabit export` for this learner, "" if it is the default.
        comparison: that learner first, then the others that the network can have, then the rivals.
    """

    samples: int
    learner: str
    options: str
    comparison: Comparison


def steps(starts: Mapping[str, Start], samples: int) -> int:
    """Number of times that `judge` reports progress."""
    return len(RIVALS) + 2 * len(ORDERS) * _rounds(min(samples, SAMPLES)) * (len(starts) + len(RIVALS))


def judge(
    checkpoint: GatesCheckpoint,
    starts: Mapping[str, Start],
    task: Task,
    seed: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> Judged:
    """Let every learner and every rival learn half of the test part, in random order and class after class.

    The learner to export is the default one, unless another one that learns beats it by more than twice the standard error of
    their difference over the samples.

    Args:
        checkpoint: trained on the task's training part, to which the rivals are fitted.
        starts: its learners, `metabit.experiments.learners.starts_of`.
        task: at least `LEAST` test samples.
        seed: of halves and orders.
        progress: called `steps` times.

    Raises:
        ExportError: the device cannot run this network.
    """
    n = len(task.y_test)
    used = np.linspace(0, n - 1, min(n, SAMPLES)).astype(np.int64)
    bench = Bench(starts, (task.x_test[used], task.y_test[used]), {}, orders=ORDERS)
    trials = _Trials(bench, features(task, test=True)[used], seed, progress)
    learners = {name: trials.learner(name) for name in bench.starts}
    still = Model(write_image(freeze_gates(checkpoint, options=GateOptions(learner="none"))))
    learners[NONE] = trials.still(still)
    rivals = {}
    part = np.linspace(0, len(task.y_train) - 1, min(KEPT, len(task.y_train))).astype(np.int64)
    for name, make in RIVALS.items():
        rival = make(task.features, checkpoint.classes)
        rival.fit(features(task)[part], task.y_train[part])
        progress()
        rivals[name] = trials.rival(name, rival)
    default = next(iter(learners))
    best = max(bench.starts, key=lambda name: learners[name].after.mean())
    chosen = best if learners[best].leads(learners[default]) else default
    ordered = [chosen, *(name for name in learners if name != chosen)]
    lines = [learners[name].line for name in ordered] + [found.line for found in rivals.values()]
    said = _verdicts(chosen, learners, rivals)
    served = _served(n, len(used), len(task.y_train), len(part))
    compared = Comparison(ORDERS, (), lines, served, said, ORDERS[1:])
    return Judged(len(used), chosen, EXPORT.get(chosen, ""), compared)


@dataclass(frozen=True, eq=False)
class _Found:
    """One learner: bytes, and the share of right predictions of each sample, before, (n,), and after, (orders, n)."""

    name: str
    state: int
    before: Share
    after: Share

    @property
    def line(self) -> Line:
        after = tuple(map(float, self.after.mean(1)))
        return Line(self.name, self.state, (float(self.before.mean()),) * len(after), after)

    @property
    def figures(self) -> str:
        return f"{show.percent(float(self.after.mean()))} with {self.state:,} bytes of state"

    def leads(self, other: _Found) -> bool:
        """True if it is better by more than chance."""
        lead = (self.after - other.after).mean(0)
        return bool(lead.mean() > 2 * lead.std(ddof=1) / np.sqrt(len(lead)))


class _Trials:
    """Halves, orders and rounds, the same for all learners."""

    def __init__(self, bench: Bench, plain: NDArray[Any], seed: int, progress: Callable[[], None]) -> None:
        """plain: the numbers of the stream for the rivals, (n, F)."""
        self._bench, self._plain, self._progress = bench, plain, progress
        self._rounds = [seed + number for number in range(_rounds(len(plain)))]

    def _halves(self) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """(seed, rows to learn); the other rows are tested."""
        for seed in self._rounds:
            half = held_out(len(self._plain), seed, 2)
            yield from ((seed, half), (seed, ~half))

    def _share(self, right: Share) -> Share:
        return right / len(self._rounds)

    def learner(self, name: str) -> _Found:
        x, y = self._bench.stream
        right = np.zeros((len(ORDERS), len(y)))
        for seed, half in self._halves():
            for order, model, _ in self._bench.learnt({"learner": name}, half, seed):
                right[ORDERS.index(order), ~half] += model.predict_many(x[~half]) == y[~half]
                self._progress()
        first = Model(self._bench.starts[name].tuned({}))
        before = (first.predict_many(x) == y).astype(float)
        return _Found(f"metabit ({name})", first.state_size, before, self._share(right))

    def still(self, model: Model) -> _Found:
        """A model that does not learn."""
        x, y = self._bench.stream
        right = (model.predict_many(x) == y).astype(float)
        return _Found(f"metabit ({NONE})", model.state_size, right, np.stack([right] * len(ORDERS)))

    def rival(self, name: str, fitted: Any) -> _Found:
        x, y = self._plain, self._bench.stream[1]
        before = (fitted.predict(x) == y).astype(float)
        right = np.zeros((len(ORDERS), len(y)))
        for seed, half in self._halves():
            for place, order in enumerate(ORDERS):
                learner = copy.deepcopy(fitted)
                for row in self._bench.rows(order, half, seed).tolist():
                    learner.learn(x[row], int(y[row]))
                right[place, ~half] += learner.predict(x[~half]) == y[~half]
                self._progress()
        return _Found(name, fitted.bytes(), before, self._share(right))


def _rounds(samples: int) -> int:
    return max(1, min(ROUNDS, SAMPLES // samples))


def _verdicts(chosen: str, learners: dict[str, _Found], rivals: dict[str, _Found]) -> tuple[str, ...]:
    """Which learner to export, whether learning costs something, and whether a rival is better."""
    ours, still, default = learners[chosen], learners[NONE], next(iter(learners))
    tail = ", the default, which no other one beats by more than chance"
    if chosen != default:
        tail = (
            f"; {learners[default].figures} is what {default}, the default, comes to, and the lead is more than chance"
        )
    said = [f"To learn on the device, export the learner {chosen}: {ours.figures}{tail}."]
    if still.leads(ours):
        said.append(
            f"Not learning is better on samples like those of training: {show.percent(float(still.after.mean()))}. Learning "
            f"pays where the data change; where they do not, export {EXPORT[NONE]}."
        )
    best = max(rivals.values(), key=lambda found: float(found.after.mean()))
    if best.after.mean() <= ours.after.mean():
        return (*said, f"No rival is better: the best of them, {best.name}, comes to {best.figures}, in floats.")
    sure = "" if best.leads(ours) else ", a lead that may be chance"
    return (*said, f"{best.name[0].upper()}{best.name[1:]} is better here: {best.figures}, in floats{sure}.")


def _served(held: int, used: int, train: int, fitted: int) -> str:
    """Which samples served for what."""
    some = f"{used:,} of the {held:,}" if used < held else f"all {held:,}"
    part = f"{fitted:,} samples of the training part" if fitted < train else "the training part"
    return (
        f"Samples: {some} held-out ones, which training did not see and which gave the test accuracy too; half of them are learnt "
        "in place, the other half is tested, then in turn. Only the choice of the learner rests on them. The rivals were fitted "
        f"to {part}. Nothing changes here but the order: where people, seasons or sensors change, metabit tune --also judges."
    )
