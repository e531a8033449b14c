"""The demo: train on upright digits, export, learn sideways digits in place on an emulated board, measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit import export, firmware_sim, train
from metabit.data import load, thermometer
from metabit.experiments import board_run, comparison, show, stream
from metabit.experiments.demo_settings import RECIPE, Recipe
from metabit.export.files.image import with_state
from metabit.firmware_sim.build.toolchain import compiler_version
from metabit.firmware_sim.report.measure import SECOND_BUILD, layer_costs
from metabit.firmware_sim.report.page import Comparison, Deployment, Line, Provenance, Report
from metabit.runtime import Model

OLD_TASK, NEW_TASK = "digits", "digits:sideways"
TASKS = ("upright", "sideways")
LEARNS_ON = "nrf52840"
CHUNK = 200
"""Samples between two points of the accuracy curve."""
MEASURED = 200
"""Learning steps of the stream that are measured on the boards that do not run all of it."""

Learn = Callable[[NDArray[np.uint8], NDArray[np.int64]], Any]


@dataclass(frozen=True)
class DeploymentOptions:
    """One deployment of the trained network: its name in tables, and how the device learns."""

    name: str
    description: str
    options: export.VisitOptions


def deployment_options(recipe: Recipe = RECIPE, seed: int = 0) -> tuple[DeploymentOptions, ...]:
    """The deployments of the demo. They differ only in what their names say."""

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


def beside(
    learnt: Deployment,
    frozen: export.Frozen,
    image: bytes,
    rows: Sequence[NDArray[np.int64]],
    progress: Callable[[], None] = lambda: None,
) -> Comparison:
    """Compares one deployment with the rivals, which begin with the upright digits and learn the same stream."""
    new, old = (stream.as_inputs(load(name).whole(), frozen) for name in (NEW_TASK, OLD_TASK))
    state, (upright, sideways) = Model(image).state_size, TASKS
    ours = Line(f"metabit ({learnt.name})", state, learnt.before[::-1], learnt.after[::-1])
    return comparison.compare(image, {sideways: new, upright: old}, rows, ours, [upright], progress)


def run(folder: Path, seed: int, passes: int) -> Report:
    """Runs the demo and writes the checkpoint and all exported files into `folder`. The caller writes the report."""
    folder.mkdir(parents=True, exist_ok=True)
    new = load(NEW_TASK).whole()
    points = -(-len(new.y_train) * passes // CHUNK)
    chosen = deployment_options(seed=seed)
    others = comparison.steps(len(new.y_train) * passes)
    with show.bar("training", RECIPE.epochs + len(chosen) * points + 1 + len(firmware_sim.boards()) + others) as bar:

        def step(text: str) -> None:
            bar.step(text=text)

        checkpoint = train_upright(seed, progress=step)
        checkpoint.write(folder / "checkpoint.safetensors")
        frozen = {deployment.name: export.freeze(checkpoint, deployment.options) for deployment in chosen}
        images = {name: export.write_image(network) for name, network in frozen.items()}
        export.export_all(frozen[chosen[0].name], folder, device=lambda image, x: Model(image).scores(x))
        step("exported, engines agree")

        chip = firmware_sim.load_board(LEARNS_ON)
        rows = list(stream.chunks(len(new.y_train), passes, None, seed, CHUNK, shuffle=True))
        first = np.concatenate(rows)[:MEASURED]
        x, y = new.x_train[first], new.y_train[first]
        deployments, measured = [], {}
        for deployment in chosen:
            image, todo = images[deployment.name], iter(rows)
            with firmware_sim.Device(firmware_sim.build(image, chip), chip) as device:
                meter = firmware_sim.Meter(device)
                if deployment is chosen[0]:
                    meter.predict(new.x_test, f"{NEW_TASK}, test part before learning")

                def learn(x: Any, y: Any, meter: firmware_sim.Meter = meter, todo: Iterator[Any] = todo) -> Any:
                    return meter.learn(x, y, f"{NEW_TASK}, training part", next(todo))

                learns = learn if deployment.options.bits > 1 else None
                deployments.append(learn_sideways(deployment, image, learns, device.state, seed, passes, step))
                if deployment is chosen[0]:
                    Model(with_state(image, device.state())).save(folder / "learned.mbit")
                    measured[LEARNS_ON] = meter.measurement(
                        f"all learning steps of the stream of {NEW_TASK}, and a prediction of each test sample before them",
                        opt="-Os",
                        layers=layer_costs(
                            image, chip, x, x, y, network=frozen[deployment.name], budgets=firmware_sim.load_budgets()
                        ),
                        layer_samples=f"the first {MEASURED} samples of the stream, in {SECOND_BUILD}",
                    )
        for name in firmware_sim.boards():
            if name != LEARNS_ON:
                told = f"the first {MEASURED} samples of the stream of {NEW_TASK}"
                chip = firmware_sim.load_board(name)
                measured[name] = firmware_sim.measure(images[chosen[0].name], chip, x, y, samples=told)
            step(f"measuring {name}")
        frozen_first, image = frozen[chosen[0].name], images[chosen[0].name]
        compared = beside(deployments[0], frozen_first, image, rows, lambda: step("the other learners"))
    boards = [measured[name] for name in firmware_sim.boards()]
    checks = [check for found in boards for check in firmware_sim.check(found)]
    metaplastic, plain, gentle = deployments[:3]
    return Report(
        title="Upright digits before deployment, sideways digits after it",
        summary=(
            f"One network, trained on upright digits and exported with {RECIPE.bits} bits a synapse. After deployment each device "
            f"learnt {len(new.y_train):,} sideways digits, one at a time, in {passes} passes, and saw no upright one. "
            f"With metaplasticity it predicts {show.percent(metaplastic.after[0])} of the upright digits correctly, and "
            f"{show.percent(metaplastic.after[1])} of the sideways ones; with m = 0, {show.percent(plain.after[0])} and "
            f"{show.percent(plain.after[1])}, or {show.percent(gentle.after[0])} and {show.percent(gentle.after[1])} at the "
            "visit rate that suits it best."
        ),
        network=" → ".join(map(str, (checkpoint.spec.input_bits, *checkpoint.spec.hidden, checkpoint.spec.classes))),
        deployments=deployments,
        boards=boards,
        checks=checks,
        provenance=Provenance.now(show.command_line(), seed, compiler=compiler_version()),
        comparison=compared,
        notes=(
            f"All learning ran on the emulated {LEARNS_ON}; the curves were evaluated from its state on the host, which "
            "computes the same integers.",
            f"Times of {LEARNS_ON} are those of the whole stream; the other boards ran its first {MEASURED} samples.",
            f"One seed of training and stream ({seed}); the mean over five is in docs/results/demo.md.",
        ),
    )
