"""A model beside rivals that learnt the same stream: the lines that every report of learning shows.

The rivals of `metabit.experiments.rivals` see the features of the model's own stream, in the same order, and are tested on
the same test parts. They begin, as the model does, with the old task: they are fitted to the training part of each dataset
that the model knew before the stream. Without such a dataset they begin from nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data import Task
from metabit.experiments import show
from metabit.experiments.confusion import Confusion
from metabit.experiments.rivals import SLDA, Learner, Majority, NearestMean, Softmax
from metabit.export import Frozen, read_image
from metabit.export.bits import unpack_rows
from metabit.firmware_sim.report.page import Comparison, Line
from metabit.runtime import Model

SCALED_BY = 64
"""First samples of the stream that give the rivals mean and deviation of each feature where no old task is known."""
CHUNK = 100
"""Samples of a rival between two reports of progress."""
FAR = 0.15
"""Accuracy on the new task by which a rival must lead a model with a fixed first layer before a report says that this layer must
learn."""

RIVALS: Mapping[str, Callable[[int, int], Learner]] = {
    "majority class": Majority,
    "softmax SGD": Softmax,
    "nearest class mean": NearestMean,
    "SLDA": lambda features, classes: SLDA(features, classes, every=max(10, features // 4)),
}
"""Name -> rival for (features, classes). Solving for SLDA's weights more rarely keeps wide data affordable."""

NOT_LEARNING = "not learning"


def compare(
    image: bytes,
    tasks: Mapping[str, Task],
    pieces: Iterable[NDArray[np.int64]],
    ours: Line,
    old: Sequence[str] = (),
    progress: Callable[[], None] = lambda: None,
    taught: Sequence[str] = (),
) -> Comparison:
    """Let every rival learn the stream, and say in words which learner is better.

    Args:
        image: the model before the stream.
        tasks: by name, as the model's inputs (`stream.as_inputs`); the first one is the stream.
        pieces: rows of the stream's training part, in the order in which the model learnt them, at least one.
        ours: the model's own line, its accuracies in the order of `tasks`.
        old: names in `tasks` of what the model may have learnt before the stream.
        progress: called `steps` times.
        taught: further names in `tasks` whose classes the stream teaches.
    """
    order = np.concatenate(list(pieces))
    frozen, model = read_image(image), Model(image)
    known = [name for name in old if _knows(model, tasks[name])]
    name, task = next(iter(tasks.items()))
    x, y = features(task)[order], task.y_train[order]
    tests = [(features(one, test=True), one.y_test) for one in tasks.values()]
    before = tuple(float((model.predict_many(t.x_test) == t.y_test).mean()) for t in tasks.values())
    still = model.predict_many(task.x_train[order]) == y
    lines = [ours, Line(NOT_LEARNING, 0, before, before, float(still.mean()))]
    classes = max(one.classes for one in tasks.values())
    for rival, make in RIVALS.items():
        learner = make(x.shape[1], classes)
        if known:
            parts = [(features(tasks[one]), tasks[one].y_train) for one in known]
            learner.fit(np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts]))
        else:
            learner.scale(x[:SCALED_BY])
        progress()
        lines.append(_line(rival, learner, x, y, tests, progress))
    found = Comparison(tuple(tasks), tuple(known), tuple(lines), _began(name, known, old), taught=tuple(taught))
    return replace(found, verdicts=verdicts(found, frozen))


def steps(samples: int) -> int:
    """Number of times that `compare` reports progress for a stream of so many samples."""
    return len(RIVALS) * (1 + -(-samples // CHUNK))


def features(task: Task, test: bool = False) -> NDArray[Any]:
    """The numbers of a task (n, F), of its training or test part, as they were before bits were packed."""
    x = task.x_test if test else task.x_train
    return unpack_rows(x, task.packed).astype(np.uint8) if task.packed else x


def verdicts(found: Comparison, frozen: Frozen) -> tuple[str, ...]:
    """Sentences about a comparison: which learner is better at the end, and whether another layer must learn.

    A learner is better if its mean accuracy at the end is higher, over the stream and what was known before it.
    """
    ours, *others = found.lines
    said = [_better(found)]
    best = max((line for line in others if line.name != NOT_LEARNING), key=lambda line: line.after[0])
    fixed = len(frozen.layers) > 1 and not any(layer.learns for layer in frozen.layers[:-1])
    overfitted = ours.prequential is not None and ours.prequential - ours.after[0] > FAR
    bytes_come_in = (
        frozen.scale is None and getattr(frozen.encode, "kind", "uint8") == "uint8"
    )  # votes take no other numbers
    if fixed and bytes_come_in and not overfitted and best.after[0] - ours.after[0] > FAR:
        said.append(
            f"Only the output learns, and the layers below it do not fit {found.datasets[0]}: {ours.name} reaches "
            f"{show.percent(ours.after[0])} there, {best.name} on the features alone {show.percent(best.after[0])}. The layer on "
            "the inputs itself must learn: take the learner votes (metabit fresh --learner votes)."
        )
    return tuple(said)


def _better(found: Comparison) -> str:
    def figures(line: Line) -> str:
        after = dict(zip(found.datasets, line.after, strict=True))
        shares = " and ".join(f"{show.percent(after[name])} of {name}" for name in found.counted)
        mean = f", mean {show.percent(found.mean(line))}" if len(found.counted) > 1 else ""
        return f"predicts {shares}{mean}, with {f'{line.state:,} bytes of' if line.state else 'no'} state"

    ours, *others = found.lines
    first, *more = sorted(others, key=lambda line: -found.mean(line))
    if found.mean(first) <= found.mean(ours):
        return f"No other learner is better at the end: the best of them, {first.name}, {figures(first)}."
    also = [line.name for line in more if found.mean(line) > found.mean(ours)]
    tail = f". Better as well: {', '.join(also)}" if also else ""
    return f"{first.name[0].upper()}{first.name[1:]} is better here: it {figures(first)}; {ours.name} {figures(ours)}{tail}."


def _line(
    name: str,
    learner: Learner,
    x: NDArray[Any],
    y: NDArray[np.int64],
    tests: Sequence[tuple[NDArray[Any], NDArray[np.int64]]],
    progress: Callable[[], None],
) -> Line:
    def tested() -> tuple[float, ...]:
        return tuple(float((learner.predict(x_test) == y_test).mean()) for x_test, y_test in tests)

    before, right = tested(), 0
    for at in range(0, len(y), CHUNK):
        for sample, label in zip(x[at : at + CHUNK], y[at : at + CHUNK].tolist(), strict=True):
            right += int(learner.predict(sample[None])[0]) == label
            learner.learn(sample, label)
        progress()
    return Line(name, learner.bytes(), before, tested(), right / max(1, len(y)))


def _knows(model: Model, task: Task) -> bool:
    """True if the model predicts a task better than chance: its balanced accuracy lies two deviations above that of guessing."""
    found = Confusion.of(model.scores(task.x_test), task.y_test, task.labels)
    samples = found.counts.sum(1)
    samples = samples[samples > 0]
    chance = 1 / len(samples)
    deviation = np.sqrt(chance * (1 - chance) * (1 / samples).sum()) / len(samples)
    return bool(found.balanced_accuracy > chance + 2 * deviation)


def _began(name: str, known: Sequence[str], old: Sequence[str]) -> str:
    if known:
        return (
            f"Before the stream the rivals were fitted to the training part of {' and '.join(known)}, as the model was; their "
            "features are standardised by it."
        )
    why = f"the model knew nothing of {' and '.join(old)} either" if old else "name data of before deployment by --also"
    return f"The rivals began from nothing ({why}); their features are standardised by the first {SCALED_BY} samples of {name}."
