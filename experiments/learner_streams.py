"""Learners in place before streams: the device's network and float rivals behind one interface, and the streams they meet.

A learner is fitted on what is known before deployment. Each stream begins with that state. All accuracies are in per cent.
"""

from __future__ import annotations

import copy
import functools
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from metabit.data import image_sets
from metabit.data.encoder import Encoder
from metabit.experiments import stream
from metabit.experiments.development_problems import Problem, problem
from metabit.experiments.development_sets import DataSet, Floats, Labels
from metabit.experiments.rivals import SLDA, Learner, Majority, NearestMean, Softmax
from metabit.export import GateOptions, freeze_gates, write_image
from metabit.runtime import Model
from metabit.train import load_checkpoint
from metabit.train.gates_checkpoint import GatesCheckpoint
from metabit.train.recipe import fit_recipe

TRAINED = Path(__file__).resolve().parents[1] / "out" / "learner"
"""Trained networks, named by everything that decides them. The folder may be removed at any time."""
TWO_CLASSES = 20000
ALONE = 80
RIVALS: dict[str, Any] = {"softmax SGD": Softmax, "SLDA": SLDA, "nearest mean": NearestMean, "majority": Majority}


class InPlace(Protocol):
    def fit(self, data: DataSet, seed: int) -> None:
        """Learn what is known before deployment."""

    def learn(self, x: Floats, y: Labels) -> None:
        """Samples (n, F) and labels (n,), one after the other."""

    def predict(self, x: Floats) -> NDArray[Any]:
        """(n, F) -> classes (n,)."""

    def bytes(self) -> int:
        """Memory of what learning changes."""


class Device:
    """The C runtime with a network of gates, trained by `metabit.train.recipe`.

    Args:
        units: gates.
        shared: one threshold for all features, as for pictures.
        options: of `GateOptions`.
    """

    def __init__(self, units: int, shared: bool = False, **options: Any) -> None:
        self._units, self._shared, self._options = units, shared, options

    def fit(self, data: DataSet, seed: int) -> None:
        source = trained(data, self._units, seed, self._shared)
        self._model = Model(write_image(freeze_gates(source, data.x, data.y, GateOptions(**self._options))))

    def learn(self, x: Floats, y: Labels) -> None:
        if self._options.get("learner") != "none":
            self._model.learn_many(x, y)

    def predict(self, x: Floats) -> NDArray[Any]:
        return self._model.predict_many(x)

    def bytes(self) -> int:
        return self._model.state_size

    def __deepcopy__(self, _: Any) -> Device:
        other = copy.copy(self)
        other._model = Model(self._model.image())
        return other


class Rival:
    """One of `RIVALS`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def fit(self, data: DataSet, seed: int) -> None:
        self._rival: Learner = RIVALS[self._name](data.x.shape[1], data.classes)
        self._rival.fit(data.x, data.y)

    def learn(self, x: Floats, y: Labels) -> None:
        for sample, label in zip(x, y.tolist(), strict=True):
            self._rival.learn(sample, label)

    def predict(self, x: Floats) -> NDArray[Any]:
        return self._rival.predict(x)

    def bytes(self) -> int:
        return self._rival.bytes()


def trained(data: DataSet, units: int, seed: int, shared: bool) -> GatesCheckpoint:
    """The network of this training part, from `TRAINED` if it is there."""
    sizes = f"{units} {seed} {shared} {data.classes}"
    name = hashlib.sha256(data.x.tobytes() + data.y.tobytes() + sizes.encode()).hexdigest()[:24]
    path = TRAINED / f"{name}.safetensors"
    if not path.exists():
        fitted = Encoder.fit(data.x, 1, shared=True) if shared else None
        found = fit_recipe(data.x, data.y, classes=data.classes, units=units, seed=seed, encoder=fitted)
        TRAINED.mkdir(parents=True, exist_ok=True)
        GatesCheckpoint.of(found, data.y, tuple(map(str, range(data.classes))), seed=seed).write(path)
    read = load_checkpoint(path)
    assert isinstance(read, GatesCheckpoint)
    return read


def accuracy(learner: InPlace, x: Floats, y: Labels) -> float:
    """Per cent."""
    return round(100 * stream.accuracy(learner.predict, x, y), 3)


# Streams


def in_place(learner: InPlace, name: str, seed: int) -> dict[str, Any]:
    """One development problem: the new task shuffled and sorted, the new task with wrong labels, and two classes only.

    `before`, `shuffled`, `sorted`: [old, new]. `wrong labels`: old after the shuffled stream whose labels are replaced, each
    with probability 1/2, by another class. `two classes`: old after 20,000 samples of the old training part, all of two
    classes, then after all classes of that part once more.
    """
    first = problem(name, seed)
    old, rng = first.old, np.random.default_rng([seed, 2])
    learner.fit(old, seed)
    found: dict[str, Any] = {"before": old_new(learner, first)}
    for order in ("shuffled", "sorted"):
        one, given = copy.deepcopy(learner), problem(name, seed, order)
        for part in given.parts:
            one.learn(part.x, part.y)
        found[order] = old_new(one, given)
    one = copy.deepcopy(learner)
    for part in first.parts:
        wrong = (part.y + rng.integers(1, old.classes, len(part.y))) % old.classes
        one.learn(part.x, np.where(rng.random(len(part.y)) < 0.5, wrong, part.y))
    found["wrong labels"] = accuracy(one, old.x_test, old.y_test)
    one, two = copy.deepcopy(learner), rng.permutation(old.classes)[:2]
    chosen = rng.choice(np.flatnonzero(np.isin(old.y, two)), TWO_CLASSES)
    one.learn(old.x[chosen], old.y[chosen])
    found["two classes"] = [accuracy(one, old.x_test, old.y_test)]
    rows = rng.permutation(len(old.y))
    one.learn(old.x[rows], old.y[rows])
    found["two classes"].append(accuracy(one, old.x_test, old.y_test))
    return found | {"bytes": learner.bytes(), "old samples": len(old.y_test)}


def new_class(learner: InPlace, about: str, seed: int) -> dict[str, Any]:
    """A class that was unknown before deployment, for two classes drawn by the seed: [old, new] of each.

    Half of the old training part, without the class, is known before deployment. `mixed`: the other half, all classes
    shuffled, is the stream. `alone`: at most 80 samples of the class in the other half are the stream. Old: the test samples
    of all other classes; new: those of the class.
    """
    data, rng = problem(about, seed).old, np.random.default_rng([seed, 4])
    rows = rng.permutation(len(data.y))
    half, other = np.array_split(rows, 2)
    found: dict[str, Any] = {"mixed": [], "alone": []}
    for label in rng.permutation(data.classes)[:2]:
        known = half[data.y[half] != label]
        learner.fit(replace(data, x=data.x[known], y=data.y[known]), seed)
        mine = data.y_test == label
        for name, chosen in (("mixed", other), ("alone", other[data.y[other] == label][:ALONE])):
            one = copy.deepcopy(learner)
            one.learn(data.x[chosen], data.y[chosen])
            found[name].append([accuracy(one, data.x_test[at], data.y_test[at]) for at in (~mine, mine)])
    return found | {"bytes": learner.bytes()}


@functools.cache
def pictures(name: str) -> DataSet:
    """MNIST or Fashion-MNIST as its authors split it, the pixels as they are."""
    images = image_sets.load(name)
    x, x_test = (part.reshape(len(part), -1).astype(np.float64) for part in (images.x_train, images.x_test))
    return DataSet(name, x, images.y_train, x_test, images.y_test, 10)


def unrelated(learner: InPlace, seed: int) -> dict[str, Any]:
    """MNIST before deployment, then 10,000 Fashion-MNIST images under the same labels: [old, new], shuffled and sorted."""
    old, fashion, rng = pictures("mnist"), pictures("fashion-mnist"), np.random.default_rng(seed)
    rows = rng.permutation(len(fashion.y))[:10000]
    ordered = rows[stream.by_class(fashion.y[rows], 10, rng)]
    learner.fit(old, seed)
    found: dict[str, Any] = {"bytes": learner.bytes()}
    for order, chosen in (("shuffled", rows), ("sorted", ordered)):
        one = copy.deepcopy(learner)
        one.learn(fashion.x[chosen], fashion.y[chosen])
        found[order] = [accuracy(one, data.x_test, data.y_test) for data in (old, fashion)]
    return found


def picture_network(units: int, seed: int) -> dict[str, Any]:
    """MNIST by a network that only predicts: test accuracy, and the bytes of the image's constants."""
    data = pictures("mnist")
    source = trained(data, units, seed, True)
    model = Model(write_image(replace(freeze_gates(source, options=GateOptions(learner="none")), notes=None)))
    found = stream.accuracy(model.predict_many, data.x_test, data.y_test)
    return {"accuracy": round(100 * found, 3), "bytes": model.image_size - model.state_size}


def old_new(learner: InPlace, found: Problem) -> list[float]:
    """Accuracy on the old test part, and on the new ones together, in per cent."""
    return [accuracy(learner, found.old.x_test, found.old.y_test), accuracy(learner, *found.new_test())]
