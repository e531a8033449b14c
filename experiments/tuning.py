"""A trial of `metabit tune`: a network with other settings learns the stream, and is tested on the new task and on old ones."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data import Task
from metabit.experiments import stream
from metabit.experiments.errors import UsageError
from metabit.export import Frozen, VoteOptions, fresh, read_image, retune, tunable_settings, write_image
from metabit.export.freeze.levels import generator_state
from metabit.runtime import Model

HELD = 10
"""Samples in a row of which one is held out and never learnt. At the end these samples measure what is kept of the whole stream."""

Pair = tuple[stream.Bytes, stream.Labels]


@dataclass(frozen=True)
class Start:
    """The network before learning: an image with another generator for each run, or a fresh network with other random levels."""

    image: bytes | None
    sizes: tuple[int, int, int] = (0, 0, 0)
    options: VoteOptions = field(default_factory=VoteOptions)

    def network(self, settings: Mapping[str, Any], seed: int) -> Frozen:
        if self.image is None:
            frozen = fresh(*self.sizes, replace(self.options, seed=seed % 2**32))
        else:
            frozen = replace(read_image(self.image), generator=generator_state(seed))
        return retune(frozen, settings)

    def tuned(self, settings: Mapping[str, Any]) -> bytes:
        """The image for the device. It has learnt nothing of the stream, and an image keeps its own generator."""
        if self.image is None:
            return write_image(self.network(settings, self.options.seed))
        return write_image(retune(read_image(self.image), settings))


@dataclass(frozen=True)
class Bench:
    """Everything that a trial needs, in a form that can be sent to another machine.

    stream: samples and labels in their order. kept: old tasks, which are only tested.
    """

    start: Start
    stream: Pair
    kept: Mapping[str, Pair]
    passes: int = 1

    @classmethod
    def of(cls, start: Start, task: Task, others: Mapping[str, Task], passes: int = 1) -> Bench:
        """Takes the training parts only: the test parts stay unseen, to test the tuned network. Raises UsageError."""
        count = len(task.y_train)
        if count < 2 * HELD:
            raise UsageError(f"{task.name} has {count} samples to learn: tuning needs at least {2 * HELD}")
        kept = {name: (other.x_train[::HELD], other.y_train[::HELD]) for name, other in others.items()}
        return cls(start, (task.x_train, task.y_train), kept, passes)

    def digest(self) -> str:
        """Digest of everything besides settings and seed that a score depends on."""
        sha = hashlib.sha256(repr((self.passes, list(self.kept))).encode())
        sha.update(write_image(self.start.network({}, 0)))
        for x, y in (self.stream, *self.kept.values()):
            sha.update(repr(x.shape).encode() + x.tobytes() + y.tobytes())
        return sha.hexdigest()[:16]

    def __call__(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """Runs one trial. Accuracies 0..1: prequential, of each sample before it is learnt; retention, at the end on the samples
        held out; kept, at the end on each old task; score, their mean. moved: moves for each sample."""
        model = Model(write_image(self.start.network(cell["settings"], cell["seed"])))
        x, y = self.stream
        held = held_out(len(y), cell["seed"])
        x_held, y_held, x, y = x[held], y[held], x[~held], y[~held]
        tally = stream.Tally()
        for _ in range(self.passes):
            steps = model.learn_many(x, y)
            tally.learned(len(y), steps)
            tally.predicted(steps.predicted, y)
        retention = stream.accuracy(model.predict_many, x_held, y_held)
        kept = {name: stream.accuracy(model.predict_many, *pair) for name, pair in self.kept.items()}
        return {
            "score": float(np.mean([tally.prequential, retention, *kept.values()])),
            "prequential": tally.prequential, "retention": retention, "kept": kept,
            "moved": tally.per_sample()["moved"],
        }  # fmt: skip


def held_out(samples: int, seed: int) -> NDArray[np.bool_]:
    """Mask (samples,), True for one random sample of every HELD in a row. At fixed places a stream in which classes take turns
    would hold out whole classes. An incomplete last group is learnt."""
    rows = np.arange(samples // HELD) * HELD
    held = np.zeros(samples, np.bool_)
    held[rows + np.random.default_rng([seed, HELD]).integers(HELD, size=len(rows))] = True
    return held


def draw(frozen: Frozen, trials: int, seed: int) -> list[dict[str, Any]]:
    """Settings to try: first none, which leaves the network as it is, then `trials` at random.

    Each changes one to all of the settings, because the present ones are rarely all wrong. More trials begin with the same ones.
    """
    ranges = tunable_settings(frozen)
    drawn: list[dict[str, Any]] = [{}]
    numbers = itertools.count()
    while len(drawn) <= trials:
        rng = np.random.default_rng([seed, next(numbers)])
        changed = rng.permutation(list(ranges))[: int(rng.integers(1, len(ranges) + 1))]
        settings = {name: one.draw(rng) for name, one in ranges.items() if name in changed}
        if settings not in drawn:
            drawn.append(settings)
    return drawn
