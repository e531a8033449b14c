"""The networks of benchmarks/equal_scores.py: one of each kind, trained briefly on real pictures, and real pictures to predict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metabit import export, train
from metabit.data import Task, image_sets
from metabit.data.rows import write_whole
from metabit.export import Frozen
from metabit.runtime import Model
from metabit.train.network.presets import PRESETS
from metabit.train.network.spec import Conv

SAMPLES = 1000
"""Test pictures that every engine predicts."""
TAUGHT = 10000
"""Training pictures of each network."""
SEED = 0
BUILD = Path(__file__).parents[1] / "build" / "equal_scores"


@dataclass(frozen=True)
class Net:
    """A network of the table: the name of its data, and how it is made of them."""

    data: str
    make: Callable[[Task], Frozen]


@cache
def pictures(name: str) -> Task:
    """`TAUGHT` training pictures and `SAMPLES` test pictures of a dataset, as rows of bytes."""
    data = image_sets.load(name)
    x, y = data.x_train[:TAUGHT], data.y_train[:TAUGHT]
    test = data.x_test[:SAMPLES]
    flat = [np.ascontiguousarray(one.reshape(len(one), -1)) for one in (x, test)]
    shape = data.x_train.shape[1:] if data.x_train.ndim == 4 else (*data.x_train.shape[1:], 1)
    return Task(name, flat[0], y.astype(np.int64), flat[1], data.y_test[:SAMPLES].astype(np.int64), shape)


def paper(task: Task, m: float = 1.35, **spec: Any) -> train.Checkpoint:
    """A network of the paper, an epoch on the task."""
    made = train.Spec(task.features, classes=10, seed=SEED, **spec)
    network = train.Network(made)
    train.fit(network, task, epochs=1, m=m, seed=SEED)
    return train.Checkpoint(made, network.tensors(), train.Rule.of(made, m))


def negated(checkpoint: train.Checkpoint) -> train.Checkpoint:
    """An equal function with negative gains everywhere: weights, means and gains change their signs."""
    parts = (".hidden", ".norm.mean", ".norm.weight")
    tensors = {name: -array if name.endswith(parts) else array for name, array in checkpoint.tensors.items()}
    assert all((array < 0).all() for name, array in tensors.items() if name.endswith(".norm.weight"))
    return replace(checkpoint, tensors=tensors)


def visits(checkpoint: train.Checkpoint, bits: int) -> Frozen:
    return export.freeze(checkpoint, export.VisitOptions(bits=bits, seed=SEED))


@cache
def mlp(task: Task) -> train.Checkpoint:
    return paper(task, hidden=(512, 512), encode=(128,))


@cache
def conv_mnist(task: Task) -> train.Checkpoint:
    return paper(task, hidden=(), encode=(128,), image=task.shape, conv=PRESETS["conv-mnist"].conv)


def conv_cifar(task: Task) -> train.Checkpoint:
    return paper(task, hidden=(), input="uint8", image=task.shape, conv=PRESETS["conv-cifar"].conv)


def odd(task: Task) -> train.Checkpoint:
    """33 and 50 channels, stride 2 without padding, then padding and pooling, 37 units."""
    layers = (Conv(33, 3, stride=2), Conv(50, 3, padding="same", pool=2))
    return paper(task, hidden=(37,), encode=(60, 128), image=task.shape, conv=layers)


def graded(task: Task) -> train.Checkpoint:
    return paper(task, 20.0, hidden=(192,), units="graded", norm="static", output="code", encode=(60, 128))


def votes(checkpoint: train.Checkpoint) -> Frozen:
    return export.freeze_graded(checkpoint, replace(export.VOTES_AFTER_TRAINING, bits=4, seed=SEED), None)


def defaults(task: Task, learner: Literal["head", "levels"]) -> Frozen:
    """The network that `metabit train` makes without a preset."""
    checkpoint = train.run_recipe(task, train.RecipeSettings(epochs=2, seed=SEED)).checkpoint()
    return export.freeze_gates(checkpoint, options=export.GateOptions(learner=learner, seed=SEED))


def from_nothing(task: Task) -> Frozen:
    """Units of triples that have learnt 500 pictures."""
    made = export.fresh(task.x_train[:64], 10, units=64, seed=SEED, takes="uint8")
    model = Model(export.write_image(made))
    model.learn_many(task.x_train[:500], task.y_train[:500])
    return export.read_image(model.image())


NETS: dict[str, Net] = {
    **{f"784-512-512-10, k = {k}": Net("mnist", lambda task, k=k: visits(mlp(task), k)) for k in (2, 3, 4, 8)},
    "784-512-512-10, negative gains": Net("mnist", lambda task: visits(negated(mlp(task)), 4)),
    "conv-mnist": Net("mnist", lambda task: visits(conv_mnist(task), 4)),
    "conv-mnist, negative gains": Net("mnist", lambda task: visits(negated(conv_mnist(task)), 4)),
    "conv-cifar, bytes": Net("cifar10", lambda task: visits(conv_cifar(task), 4)),
    "odd shapes, stride 2": Net("mnist", lambda task: visits(odd(task), 3)),
    "graded, 192 units": Net("mnist", lambda task: votes(graded(task))),
    "default, head": Net("mnist", lambda task: defaults(task, "head")),
    "default, levels": Net("mnist", lambda task: defaults(task, "levels")),
    "units from nothing, head": Net("mnist", from_nothing),
}


@cache
def frozen(name: str) -> Frozen:
    """A network by name, from build/ if it was made before."""
    path = BUILD / f"{name.replace(' ', '-').replace(',', '').replace('=', '')}.mbit"
    if path.exists():
        return export.read_image(path.read_bytes())
    net = NETS[name]
    made = net.make(pictures(net.data))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, export.write_image(made))
    return made


def inputs(name: str) -> NDArray[Any]:
    """The test pictures, uint8 (SAMPLES, F)."""
    return pictures(NETS[name].data).x_test
