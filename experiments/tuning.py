"""One trial of `metabit tune`: a network with other settings learns the stream, and is asked what it learnt and what it kept."""

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
from metabit.export import FreshOptions, Frozen, fresh, read_image, retune, space, write_image
from metabit.export.freeze.visits import generator_state
from metabit.runtime import Model

HELD = 10
"""Of so many samples in a row one is never learnt: those show at the end what of the whole stream is still known."""

Pair = tuple[stream.Bytes, stream.Labels]


@dataclass(frozen=True)
class Start:
    """What learns: an image, its generator seeded anew for each run, or a fresh network drawn anew."""

    image: bytes | None
    sizes: tuple[int, int, int] = (0, 0, 0)
    options: FreshOptions = field(default_factory=FreshOptions)

    def network(self, settings: Mapping[str, Any], seed: int) -> Frozen:
        if self.image is None:
            frozen = fresh(*self.sizes, replace(self.options, seed=seed % 2**32))
        else:
            frozen = replace(read_image(self.image), generator=generator_state(seed))
        return retune(frozen, settings)

    def tuned(self, settings: Mapping[str, Any]) -> bytes:
        """What goes to the device: nothing of the stream is learnt yet, and an image keeps its generator."""
        if self.image is None:
            return write_image(self.network(settings, self.options.seed))
        return write_image(retune(read_image(self.image), settings))


@dataclass(frozen=True)
class Bench:
    """Everything a trial needs; it goes to whatever machine the trial runs on.

    stream: in its order. kept: other worlds that are only asked about.
    """

    start: Start
    stream: Pair
    kept: Mapping[str, Pair]
    passes: int = 1

    @classmethod
    def of(
        cls, start: Start, task: Task, others: Mapping[str, Task], passes: int = 1, shuffle: int | None = None
    ) -> Bench:
        """A bench of training parts only. The test parts stay unseen, to measure the tuned network with.

        Args:
            shuffle: seed of a random order of the stream; None keeps file order.

        Raises:
            UsageError: too few samples.
        """
        count = len(task.y_train)
        if count < 2 * HELD:
            raise UsageError(f"{task.name} has {count} samples to learn: tuning needs at least {2 * HELD}")
        kept = {name: (other.x_train[::HELD], other.y_train[::HELD]) for name, other in others.items()}
        order = np.arange(count) if shuffle is None else np.random.default_rng(shuffle).permutation(count)
        return cls(start, (task.x_train[order], task.y_train[order]), kept, passes)

    def digest(self) -> str:
        """Of all that a score depends on beside settings and seed."""
        sha = hashlib.sha256(repr((self.passes, list(self.kept))).encode())
        sha.update(write_image(self.start.network({}, 0)))
        for x, y in (self.stream, *self.kept.values()):
            sha.update(repr(x.shape).encode() + x.tobytes() + y.tobytes())
        return sha.hexdigest()[:16]

    def __call__(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """prequential: accuracy of each prediction before it was learnt. retention: accuracy at the end on what was held out.
        kept: the same on each other world. score: the mean of them all. moved: levels a sample."""
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
    """bool (samples,), True for one of every HELD in a row, the last few left out: at random, or a stream in which classes take
    turns would keep some of them back whole."""
    rows = np.arange(samples // HELD) * HELD
    held = np.zeros(samples, np.bool_)
    held[rows + np.random.default_rng([seed, HELD]).integers(HELD, size=len(rows))] = True
    return held


def draw(frozen: Frozen, trials: int, seed: int) -> list[dict[str, Any]]:
    """The settings to try: none, which is what there is, and so many at random; more trials begin with the same ones.

    One to all of the settings are changed, the others stay: what is there is rarely wrong in everything.
    """
    ranges = space(frozen)
    drawn: list[dict[str, Any]] = [{}]
    numbers = itertools.count()
    while len(drawn) <= trials:
        rng = np.random.default_rng([seed, next(numbers)])
        changed = rng.permutation(list(ranges))[: int(rng.integers(1, len(ranges) + 1))]
        settings = {name: one.draw(rng) for name, one in ranges.items() if name in changed}
        if settings not in drawn:
            drawn.append(settings)
    return drawn
