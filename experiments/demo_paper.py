"""The second chapter of the demo: the paper's rule, with metaplasticity and without it, on sideways digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit import export, train
from metabit.data import load, thermometer
from metabit.experiments import board_run, show, stream
from metabit.experiments.demo_settings import RECIPE, Recipe
from metabit.export.files.image import with_state
from metabit.export.freeze.gates import GateOptions
from metabit.firmware_sim import Chapter, Deployment
from metabit.runtime import Model

OLD_TASK, NEW_TASK = "digits", "digits:sideways"
TASKS = ("upright", "sideways")
CHUNK = 200
"""Samples between two points of the accuracy curve."""
LEVEL_UNITS = 128
"""Gates below output levels that learn: their whole state is C(H + 1)k bits."""

TITLE = "The paper's rule"
TEXT = (
    "Metaplasticity: the further an integer level lies from zero, the more rarely it moves back. Two networks trained on upright "
    "digits learn sideways ones, {samples:,} samples in {passes} passes: one of {units} gates, whose output levels learn on in "
    "half a kilobyte, and one of 512 sign units, in which every synapse learns by visits. With m = 0 there is no metaplasticity."
)

Learn = Callable[[NDArray[np.uint8], NDArray[np.int64]], Any]


@dataclass(frozen=True)
class DeploymentOptions:
    """One deployment of a trained network: its name in tables, and how the device learns."""

    name: str
    description: str
    options: export.VisitOptions | GateOptions


def deployment_options(recipe: Recipe = RECIPE, seed: int = 0) -> tuple[DeploymentOptions, ...]:
    """Deployments of one network that learns by visits. They differ only in what their names say."""

    def options(visits: float, m: float | None = None) -> export.VisitOptions:
        return export.VisitOptions(bits=recipe.bits, visit_rate=visits, m=m, seed=seed)

    told = "learns with metaplasticity: the higher a level, the rarer a step toward zero"
    plain = "the same levels and visit rate without metaplasticity"
    gentle = "without metaplasticity, at the visit rate that suits it best"
    return (
        DeploymentOptions("metaplastic", told, options(recipe.visits)),
        DeploymentOptions("m = 0", plain, options(recipe.visits, m=0)),
        DeploymentOptions("m = 0, gentle", gentle, options(recipe.gentle_visits, m=0)),
        DeploymentOptions("frozen", "weights only, no learning", export.VisitOptions(bits=1, seed=seed)),
    )


def train_upright(
    seed: int, recipe: Recipe = RECIPE, progress: Callable[[str], None] = lambda text: None
) -> train.Checkpoint:
    """A network trained on upright digits only. Equal seeds give equal checkpoints."""
    task = load(OLD_TASK).whole()
    spec = train.Spec(
        task.features, recipe.hidden, task.classes, thermometer(task.x_train, recipe.planes),
        output=recipe.output, seed=seed,
    )  # fmt: skip
    network = train.Network(spec)
    history = train.fit(
        network, task, epochs=recipe.epochs, m=recipe.m, seed=seed,
        progress=lambda epoch: progress(f"training, test accuracy {show.percent(epoch.test_accuracy)}"),
    )  # fmt: skip
    epochs = [{"number": e.number, "loss": e.loss, "test_accuracy": e.test_accuracy} for e in history.epochs]
    return train.Checkpoint(
        spec, network.tensors(), train.Rule.of(spec, recipe.m), epochs, {"data": OLD_TASK, "seed": seed}
    )


def learn_sideways(
    deployment: DeploymentOptions,
    image: bytes,
    learn: Learn | None,
    state: Callable[[], bytes],
    seed: int,
    passes: int,
    progress: Callable[[str], None] = lambda text: None,
) -> Deployment:
    """Learns the stream of sideways digits and tests on both tasks every CHUNK samples.

    learn and state are those of the host or of the board that runs the image; learn is None for a frozen one. The
    curve is computed on the host from the state: both compute the same integers.
    """
    upright, sideways = load(OLD_TASK).whole(), load(NEW_TASK).whole()
    tally = stream.Tally()

    def point() -> tuple[int, tuple[float, ...]]:
        now = Model(with_state(image, state()))
        return tally.samples, tuple(stream.accuracy(now.predict_many, t.x_test, t.y_test) for t in (upright, sideways))

    before, curve = state(), [point()]
    for piece in stream.chunks(len(sideways.y_train), passes, None, seed, CHUNK, shuffle=True):
        if learn is None:
            tally.samples += len(piece)
        else:
            tally.learned(len(piece), learn(sideways.x_train[piece], sideways.y_train[piece]))
        curve.append(point())
        progress(deployment.name)
    learnt = board_run.counts(image, tally, before, state())
    return Deployment(deployment.name, deployment.description, TASKS, curve, **learnt)


def level_options(seed: int = 0) -> tuple[DeploymentOptions, ...]:
    """Deployments of one network of gates whose output levels learn on."""

    def options(m: float) -> GateOptions:
        return GateOptions(learner="levels", m=m, seed=seed)

    told = "the output's levels learn on, by the paper's rule; the gates do not"
    return (
        DeploymentOptions("levels, m = 2", told, options(2)),
        DeploymentOptions("levels, m = 0", f"{told}; without metaplasticity", options(0)),
    )


def rounds(seed: int, passes: int) -> int:
    """Number of times that `chapter` reports progress."""
    samples = len(load(NEW_TASK).whole().y_train)
    return RECIPE.epochs + 1 + 6 * -(-samples * passes // CHUNK)


def chapter(seed: int, passes: int, progress: Callable[[str], None] = lambda text: None) -> Chapter:
    """Two networks that the paper's rule teaches sideways digits after deployment, by the C runtime of this computer."""
    from metabit.train.recipe_run import RecipeSettings, run_recipe

    binary = train_upright(seed, progress=progress)
    gates = run_recipe(load(OLD_TASK).whole(), RecipeSettings(units=LEVEL_UNITS, seed=seed)).checkpoint()
    progress(f"training of {LEVEL_UNITS} gates")
    deployments = []
    for deployment in (*level_options(seed), *deployment_options(seed=seed)):
        o = deployment.options
        frozen = export.freeze_gates(gates, options=o) if isinstance(o, GateOptions) else export.freeze(binary, o)
        image = export.write_image(frozen)
        model = Model(image)
        learn = model.learn_many if any(layer.learns for layer in frozen.layers) else None
        name = deployment.name if isinstance(o, GateOptions) else f"visits, {deployment.name}"
        found = learn_sideways(deployment, image, learn, model.state, seed, passes, progress)
        deployments.append(
            replace(found, name=name, description=f"{found.description}; {model.state_size:,} bytes of state")
        )
    return Chapter(TITLE, TEXT.format(units=LEVEL_UNITS, samples=deployments[0].samples, passes=passes), deployments)
