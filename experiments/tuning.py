"""One trial of `metabit tune`: a network learns a stream with other settings, and is tested on it and on other datasets."""

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
from metabit.export import Frozen, VoteOptions, fresh_votes, read_image, retune, tunable_settings, write_image
from metabit.export.freeze.levels import generator_state
from metabit.runtime import Model

HELD = 10
"""One of so many samples in a row is never learnt. The accuracy on these samples at the end covers the whole stream."""

Pair = tuple[stream.Bytes, stream.Labels]


@dataclass(frozen=True)
class Start:
    """The network that learns: an image with its generator seeded anew for each run, or a fresh network drawn anew.

    Args:
        image: bytes of a .mbit file, or None for a fresh network.
        sizes: features, hidden units and classes of a fresh network.
        options: of a fresh network.
    """

    image: bytes | None
    sizes: tuple[int, int, int] = (0, 0, 0)
    options: VoteOptions = field(default_factory=VoteOptions)

    def network(self, settings: Mapping[str, Any], seed: int) -> Frozen:
        """The network of one run, with the settings of a trial."""
        if self.image is None:
            frozen = fresh_votes(*self.sizes, replace(self.options, seed=seed % 2**32))
        else:
            frozen = replace(read_image(self.image), generator=generator_state(seed))
        return retune(frozen, settings)

    def tuned(self, settings: Mapping[str, Any]) -> bytes:
        """The image for the device, with these settings: it has learnt nothing of the stream, and an image keeps its generator."""
        if self.image is None:
            return write_image(self.network(settings, self.options.seed))
        return write_image(retune(read_image(self.image), settings))


@dataclass(frozen=True)
class Bench:
    """Everything that a trial needs. It is sent to the machine that runs the trial.

    Args:
        stream: inputs and labels, in the order in which they are learnt.
        kept: inputs and labels of datasets that are only tested, by name.
        passes: number of times the stream is learnt.
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
        kept = {}
        for name, other in others.items():
            n = len(other.y_train)
            rows = held_out(n, 0) if n >= HELD else np.ones(n, np.bool_)
            kept[name] = other.x_train[rows], other.y_train[rows]
        order = np.arange(count) if shuffle is None else np.random.default_rng(shuffle).permutation(count)
        return cls(start, (task.x_train[order], task.y_train[order]), kept, passes)

    def digest(self) -> str:
        """Digest of all that a score depends on besides settings and seed: 16 hexadecimal digits."""
        sha = hashlib.sha256(repr((self.passes, list(self.kept))).encode())
        sha.update(write_image(self.start.network({}, 0)))
        for x, y in (self.stream, *self.kept.values()):
            sha.update(repr(x.shape).encode() + x.tobytes() + y.tobytes())
        return sha.hexdigest()[:16]

    def __call__(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """One run.

        Args:
            cell: ``settings`` and ``seed``.

        Returns:
            ``prequential``, accuracy of each prediction before it was learnt; ``retention``, accuracy at the end on the
            samples held out; ``kept``, accuracy at the end on each other dataset; ``score``, the mean of them all, 0..1;
            ``moved``, moves a sample.
        """
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
        score = float(np.mean([tally.prequential, retention, *kept.values()]))
        found = {"score": score, "prequential": tally.prequential, "retention": retention, "kept": kept}
        return found | {"moved": tally.per_sample()["moved"]}


def held_out(samples: int, seed: int) -> NDArray[np.bool_]:
    """bool (samples,), True for one sample of every HELD in a row, without an incomplete last row.

    The choice is random: in a stream whose classes take turns, a fixed choice would hold out all samples of a class.
    """
    rows = np.arange(samples // HELD) * HELD
    held = np.zeros(samples, np.bool_)
    held[rows + np.random.default_rng([seed, HELD]).integers(HELD, size=len(rows))] = True
    return held


def draw(frozen: Frozen, trials: int, seed: int) -> list[dict[str, Any]]:
    """The settings to try: first {}, which changes nothing, then ``trials`` random ones, no two alike.

    Each changes between one and all of the tunable settings. A larger number of trials begins with the same ones.
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
