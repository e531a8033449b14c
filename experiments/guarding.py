"""Guards of learning devices: the guard data of an image and a dataset, and streams that do harm.

A stream begins with a device that knows the old task of a development problem. `CLEAN` streams are the new task, as it should be.
In the others something is wrong, for at least `LONG` samples: they are the new task, again and again in random order, or samples of
the old one.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metabit import train
from metabit.data import Task, thermometer
from metabit.experiments.development_problems import problem
from metabit.experiments.development_sets import DataSet, Floats, Labels
from metabit.experiments.learner_streams import trained
from metabit.export import (
    Frozen,
    GateOptions,
    GuardOptions,
    VisitOptions,
    VoteOptions,
    freeze,
    freeze_gates,
    fresh_votes,
    guard_data,
    read_image,
    write_image,
)
from metabit.runtime import Guard, Model

MOST = 4000
"""Most samples from which the guard samples are chosen."""
LONG = 2000
CLEAN = ("shuffled", "sorted")
HARMFUL = ("wrong labels", "wrong labels, old task", "stuck sensor", "one class")
HALF_STUCK = "half of the features stuck"
STREAMS = (*CLEAN, *HARMFUL, HALF_STUCK)


def guard_of(
    frozen: Frozen,
    image: bytes,
    x: NDArray[Any],
    y: NDArray[Any],
    options: GuardOptions | None = None,
    which: str = "sure",
) -> bytes:
    """The guard data of an image, from at most `MOST` samples x (n, F), y (n,) of the old task.

    which: "sure", as a guard has them; to compare with, "right" ones whatever their margin, or those "near" the boundary, of the
    lowest quarter of the margins.

    Raises:
        ExportError: as `metabit.export.guard_data`.
        InputError: numbers that the image does not take.
    """
    rows = np.random.default_rng(0).permutation(len(y))[:MOST]
    x, y, model = x[rows], y[rows], Model(image)
    scores, chosen = model.scores(x), None
    if which != "sure":
        chosen = _others(y, scores, (options or GuardOptions()).samples, which)
    return guard_data(frozen, image, model.device_bytes(x), y, scores, options, chosen)


def _others(y: NDArray[Any], scores: NDArray[np.int32], samples: int, which: str) -> NDArray[np.int64]:
    rng, found, known = np.random.default_rng(1), [], np.unique(y)
    best_two = np.sort(scores.astype(np.int64), axis=1)[:, -2:]
    margins, right = best_two[:, 1] - best_two[:, 0], scores.argmax(1) == y
    for label in known:
        wanted, rows = -(-samples // len(known)), np.flatnonzero(right & (y == label))
        near = rows[np.argsort(margins[rows], kind="stable")][: max(wanted, len(rows) // 4)]
        found.append(rng.permutation(near if which == "near" else rows)[:wanted])
    return np.concatenate(found)


def deployed(name: str, learner: Literal["head", "levels", "votes", "visits"], units: int, seed: int) -> Frozen:
    """A network that knows the old task of a problem: gates with a head or levels, or a network of the paper.

    ``visits``: trained with metaplasticity; ``votes``: from nothing, after five passes over the old task in place. Both take uint8
    features, for which pictures are scaled to 0..255 at most.
    """
    old = problem(name, seed).old
    if learner in ("head", "levels"):
        return freeze_gates(trained(old, units, seed, False), old.x, old.y, GateOptions(learner=learner))
    if learner == "votes":
        model = Model(write_image(fresh_votes(old.x.shape[1], units, old.classes, VoteOptions(seed=seed))))
        rng = np.random.default_rng([seed, 8])
        for _ in range(5):
            rows = rng.permutation(len(old.y))
            model.learn_many(old.x[rows], old.y[rows])
        return read_image(model.image())
    x, x_test = old.x.astype(np.uint8), old.x_test.astype(np.uint8)
    task = Task(name, x, old.y, x_test, old.y_test)
    spec = train.Spec(task.features, (units,), old.classes, thermometer(x, 4), output="code", seed=seed)
    network = train.Network(spec)
    train.fit(network, task, epochs=20, batch=50, m=9.0, seed=seed)
    return freeze(train.Checkpoint(spec, network.tensors(), train.Rule.of(spec, 9.0)), VisitOptions(seed=seed))


def stream(name: str, about: str, seed: int) -> tuple[Floats, Labels]:
    """One of `STREAMS` of the problem ``about`` with this seed: samples (n, F), labels (n,)."""
    given = problem(about, seed, "sorted" if name == "sorted" else "shuffled")
    rng, old = np.random.default_rng([seed, 7]), given.old
    if name in CLEAN:
        return _all(given.parts)
    x, y = _all(given.parts)
    if len(y) < LONG:
        rows = np.concatenate([rng.permutation(len(y)) for _ in range(-(-LONG // len(y)))])[:LONG]
        x, y = x[rows], y[rows]
    if name == "wrong labels, old task":
        rows = rng.choice(len(old.y), len(y))
        x, y = old.x[rows], old.y[rows]
    if name.startswith("wrong labels"):
        wrong = (y + rng.integers(1, old.classes, len(y))) % old.classes
        return x, np.where(rng.random(len(y)) < 0.5, wrong, y)
    if name == "one class":
        rows = rng.choice(np.flatnonzero(old.y == rng.integers(old.classes)), len(y))
        return old.x[rows], old.y[rows]
    stuck = np.ones(x.shape[1], np.bool_)
    if name == HALF_STUCK:
        stuck[rng.permutation(x.shape[1])[: x.shape[1] // 2]] = False
    return np.where(stuck, x[:1], x), y


def compared(
    name: str,
    frozen: Frozen,
    seed: int,
    options: GuardOptions | None = None,
    names: tuple[str, ...] = STREAMS,
    which: str = "sure",
) -> dict[str, Any]:
    """Accuracy in per cent, [old, new], before and after each stream, with and without a guard whose samples are training samples.

    name: of the problem. "bytes" of the guard data and of a ticket; of each stream "unguarded", "guarded", and "report", what the
    guard saw.
    """
    given, image = problem(name, seed), write_image(frozen)
    data = guard_of(frozen, image, given.old.x, given.old.y, options, which)
    tests = (given.old.x_test, given.old.y_test), given.new_test()

    def tested(model: Model) -> list[float]:
        return [round(100 * float((model.predict_many(x) == y).mean()), 3) for x, y in tests]

    start = Model(image)
    found: dict[str, Any] = {"before": tested(start), "bytes": [len(data), start.ticket_size]}
    for kind in names:
        x, y = stream(kind, name, seed)
        plain, model = Model(image), Model(image)
        plain.learn_many(x, y)
        guard = Guard(model, data)
        guard.learn_many(x, y)
        report = guard.report._replace(slow=round(guard.report.slow, 4), fast=round(guard.report.fast, 4))
        found[kind] = {"unguarded": tested(plain), "guarded": tested(model), "report": report._asdict()}
    return found


def _all(parts: tuple[DataSet, ...]) -> tuple[Floats, Labels]:
    return np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts])
