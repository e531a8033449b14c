"""One trial of `metabit tune`: a learner with its settings learns a stream, and is tested on it and on what it must not forget."""

from __future__ import annotations

import hashlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metabit.data import Task
from metabit.experiments import stream
from metabit.experiments.errors import UsageError
from metabit.experiments.stream import Tally
from metabit.export import Frozen, VoteOptions, fresh, fresh_votes, read_image, retune, tunable_settings, write_image
from metabit.export.freeze.levels import generator_state
from metabit.runtime import Model

HELD = 10
"""One of so many samples in a row is never learnt. The accuracy on these samples at the end covers the whole stream."""

Order = Literal["time", "sorted", "mixed"]
ORDERS: tuple[Order, ...] = ("time", "sorted", "mixed")
"""Orders of a stream: as the data has it; class after class, each in time order; at random."""

Pair = tuple[stream.Bytes, stream.Labels]


class Start(ABC):
    """The network that a learner begins with."""

    @abstractmethod
    def drawn(self, seed: int) -> Frozen:
        """The network of a run with this seed, with the learner as it is."""

    @abstractmethod
    def first(self) -> Frozen:
        """The network for the device, which has learnt nothing of the stream."""

    def network(self, settings: Mapping[str, Any], seed: int) -> Frozen:
        """The network of one run, with the settings of a trial."""
        return retune(self.drawn(seed), settings)

    def tuned(self, settings: Mapping[str, Any]) -> bytes:
        """The image for the device, with these settings."""
        return write_image(retune(self.first(), settings))


@dataclass(frozen=True)
class Image(Start):
    """An image: its generator is seeded anew for each run, and the one for the device keeps its own."""

    image: bytes

    def drawn(self, seed: int) -> Frozen:
        return replace(read_image(self.image), generator=generator_state(seed))

    def first(self) -> Frozen:
        return read_image(self.image)


@dataclass(frozen=True)
class FreshVotes(Start):
    """A network that learns by votes from nothing, drawn anew for each run. sizes: features, hidden units, classes."""

    sizes: tuple[int, int, int]
    options: VoteOptions = field(default_factory=VoteOptions)

    def drawn(self, seed: int) -> Frozen:
        return fresh_votes(*self.sizes, replace(self.options, seed=seed % 2**32))

    def first(self) -> Frozen:
        return self.drawn(self.options.seed)


@dataclass(frozen=True, eq=False)
class FreshHead(Start):
    """A head on units from nothing, which are drawn anew for each run. Fields: as of `metabit.export.fresh`."""

    sample: NDArray[Any]
    classes: int
    units: int
    class_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    seed: int = 0

    def drawn(self, seed: int) -> Frozen:
        return fresh(
            self.sample, self.classes, units=self.units, class_names=self.class_names, feature_names=self.feature_names,
            seed=seed % 2**32,
        )  # fmt: skip

    def first(self) -> Frozen:
        return self.drawn(self.seed)


@dataclass(frozen=True)
class Bench:
    """Everything that a trial needs. It is sent to the machine that runs the trial.

    Args:
        starts: the network of each learner, by the learner's name.
        stream: inputs and labels, in time order.
        kept: inputs and labels of old tasks, which are only tested, by name.
        passes: number of times the stream is learnt.
        orders: in which the stream is learnt, each from the start.
    """

    starts: Mapping[str, Start]
    stream: Pair
    kept: Mapping[str, Pair]
    passes: int = 1
    orders: Sequence[Order] = ORDERS

    @classmethod
    def of(
        cls,
        starts: Mapping[str, Start],
        task: Task,
        others: Mapping[str, Task],
        passes: int = 1,
        orders: Sequence[Order] = ORDERS,
    ) -> Bench:
        """A bench of training parts only. The test parts stay unseen, to measure the tuned network with.

        Raises:
            UsageError: too few samples.
        """
        check_samples(task)
        kept = {}
        for name, other in others.items():
            n = len(other.y_train)
            rows = held_out(n, 0) if n >= HELD else np.ones(n, np.bool_)
            kept[name] = other.x_train[rows], other.y_train[rows]
        return cls(starts, (task.x_train, task.y_train), kept, passes, tuple(orders))

    def digest(self) -> str:
        """Digest of all that a score depends on besides settings and seed: 16 hexadecimal digits."""
        sha = hashlib.sha256(repr((self.passes, list(self.kept), list(self.orders), list(self.starts))).encode())
        for start in self.starts.values():
            sha.update(write_image(start.network({}, 0)))
        for x, y in (self.stream, *self.kept.values()):
            sha.update(repr(x.shape).encode() + x.tobytes() + y.tobytes())
        return sha.hexdigest()[:16]

    def start(self, settings: Mapping[str, Any]) -> tuple[Start, dict[str, Any]]:
        """The start of a trial, and its settings without the name of the learner."""
        return self.starts[settings["learner"]], {name: value for name, value in settings.items() if name != "learner"}

    def __call__(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """One run.

        Args:
            cell: ``settings``, with the name of a ``learner`` among them, and ``seed``.

        Returns:
            ``new``, accuracy at the end on the samples of the stream held out, and ``old``, the mean accuracy at the end over
            the old tasks, each by order; ``score``, the mean of them all, 0..1; ``kept``, accuracy at the end on each old task,
            mean over the orders; ``prequential``, accuracy of each prediction before it was learnt, in the first order;
            ``moved``, moves a sample.
        """
        held = held_out(len(self.stream[1]), cell["seed"])
        x, y = self.stream[0][held], self.stream[1][held]
        new, kept, tallies = {}, {}, []
        for order, model, tally in self.learnt(cell["settings"], ~held, cell["seed"]):
            tallies.append(tally)
            new[order] = stream.accuracy(model.predict_many, x, y)
            kept[order] = {name: stream.accuracy(model.predict_many, *pair) for name, pair in self.kept.items()}
        old = {order: float(np.mean(list(found.values()))) for order, found in kept.items() if found}
        parts = [float(np.mean(list(found.values()))) for found in (new, old) if found]
        return {
            "score": float(np.mean(parts)), "new": new, "old": old,
            "kept": {name: float(np.mean([kept[order][name] for order in self.orders])) for name in self.kept},
            "prequential": tallies[0].prequential, "moved": float(np.mean([t.per_sample()["moved"] for t in tallies])),
        }  # fmt: skip

    def learnt(
        self, settings: Mapping[str, Any], rows: NDArray[np.bool_], seed: int
    ) -> Iterator[tuple[Order, Model, Tally]]:
        """A model for each order, from the start, after it learnt these rows of the stream, bool (n,).

        settings: of a trial, with the name of a ``learner`` among them.
        """
        start, changed = self.start(settings)
        image = write_image(start.network(changed, seed))
        x, y = self.stream
        for order in self.orders:
            model, tally = Model(image), Tally()
            for number in range(self.passes):
                at = self.rows(order, rows, seed, number)
                steps = model.learn_many(x[at], y[at])
                tally.learned(len(at), steps)
                tally.predicted(steps.predicted, y[at])
            yield order, model, tally

    def rows(self, order: Order, rows: NDArray[np.bool_], seed: int, number: int = 0) -> NDArray[np.int64]:
        """Rows of the stream, those that are True, in the order of one pass, int64."""
        among = np.flatnonzero(rows)
        return among[ordered(self.stream[1][among], order, np.random.default_rng([seed, number, HELD]))]


def check_samples(task: Task) -> None:
    """Raises UsageError: too few samples to hold some out."""
    if len(task.y_train) < 2 * HELD:
        raise UsageError(f"{task.name} has {len(task.y_train)} samples to learn: tuning needs at least {2 * HELD}")


def ordered(y: stream.Labels, order: Order, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of a stream in an order; where its classes come one after the other, they do so in random order."""
    if order == "mixed":
        return rng.permutation(len(y))
    if order == "sorted":
        return stream.by_class(y, int(y.max()) + 1, rng)
    return np.arange(len(y))


def held_out(samples: int, seed: int, of: int = HELD) -> NDArray[np.bool_]:
    """bool (samples,), True for one sample of every ``of`` in a row, without an incomplete last row.

    The choice is random: in a stream whose classes take turns, a fixed choice would hold out all samples of a class.
    """
    rows = np.arange(samples // of) * of
    held = np.zeros(samples, np.bool_)
    held[rows + np.random.default_rng([seed, of]).integers(of, size=len(rows))] = True
    return held


def draw(starts: Mapping[str, Start], trials: int, seed: int) -> list[dict[str, Any]]:
    """The settings to try: first each learner as it is, then ``trials`` random ones, no two alike; the learners take turns.

    Each changes between one and all of the tunable settings. A larger number of trials begins with the same ones.
    """
    ranges = {name: tunable_settings(start.network({}, seed)) for name, start in starts.items()}
    drawn: list[dict[str, Any]] = [{"learner": name} for name in starts]
    turns = itertools.cycle(starts)
    numbers = itertools.count()
    while len(drawn) < len(starts) + trials:
        rng = np.random.default_rng([seed, next(numbers)])
        own = ranges[name := next(turns)]
        changed = rng.permutation(list(own))[: int(rng.integers(1, len(own) + 1))]
        settings = {"learner": name} | {one: values.draw(rng) for one, values in own.items() if one in changed}
        if settings not in drawn:
            drawn.append(settings)
    return drawn
