"""The whole road on real input, as the demo walks it: train → export → learn in place on an emulated board → measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabit import export, firmware_sim, train
from metabit.data import load_task, thermometer
from metabit.experiments import show, stream
from metabit.experiments.demo_settings import RECIPE, Recipe
from metabit.export.files.image import with_state
from metabit.firmware_sim.build.toolchain import compiler_version
from metabit.firmware_sim.report.page import Deployment, Provenance, Report
from metabit.runtime import Model

LAB, FIELD = "digits", "digits:sideways"
WORLDS = ("upright", "sideways")
LEARNS_ON = "nrf52840"
CHUNK = 200
"""Samples between two points of the accuracy curve."""
MEASURED = 60
"""Samples behind a latency figure."""

Learn = Callable[[NDArray[np.uint8], NDArray[np.int64]], stream.StepsLike]


@dataclass(frozen=True)
class Kind:
    """One way to deploy the trained network."""

    name: str
    description: str
    options: export.VisitOptions


def kinds(recipe: Recipe = RECIPE, seed: int = 0) -> tuple[Kind, ...]:
    """The demo's deployments; everything but what their names say is the same."""

    def options(visits: float, m: float | None = None) -> export.VisitOptions:
        return export.VisitOptions(bits=recipe.bits, visit_rate=visits, m=m, seed=seed)

    return (
        Kind("metaplastic", "hidden state exported; weakening gated by how sure a synapse is", options(recipe.visits)),
        Kind("m = 0", "the same hidden state and dose, every move allowed", options(recipe.visits, m=0)),
        Kind("m = 0, gentle", "every move allowed, at the dose that suits it best", options(recipe.gentle_visits, m=0)),
        Kind("frozen", "weights only, no learning", export.VisitOptions(bits=1, seed=seed)),
    )


def train_upright(
    seed: int, recipe: Recipe = RECIPE, progress: Callable[[str], None] = lambda text: None
) -> train.Checkpoint:
    """The lab: a network that has only ever seen upright digits."""
    task = load_task(LAB)
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
    return train.Checkpoint(spec, network.tensors(), train.Rule.of(spec, recipe.m), epochs, {"data": LAB, "seed": seed})


def learn_sideways(
    kind: Kind,
    image: bytes,
    learn: Learn | None,
    state: Callable[[], bytes],
    seed: int,
    passes: int,
    progress: Callable[[str], None] = lambda text: None,
) -> Deployment:
    """The field: the stream of sideways digits, with the accuracy on both worlds every CHUNK samples.

    learn and state belong to whatever runs the image, host or board. The curve is evaluated on the host from the learner's
    state: both compute the same integers, and the learner is not disturbed.
    """
    upright, sideways = load_task(LAB), load_task(FIELD)
    tally = stream.Tally()
    layers = export.read_image(image).layers

    def point() -> tuple[int, tuple[float, ...]]:
        now = Model(with_state(image, state()))
        return tally.samples, tuple(stream.accuracy(now.predict_many, t.x_test, t.y_test) for t in (upright, sideways))

    before, curve = state(), [point()]
    for piece in stream.chunks(len(sideways.y_train), passes, None, seed, CHUNK):
        if learn is None:
            tally.samples += len(piece)
        else:
            tally.learned(len(piece), learn(sideways.x_train[piece], sideways.y_train[piece]))
        curve.append(point())
        progress(kind.name)
    per_sample = tally.per_sample()
    return Deployment(
        name=kind.name,
        description=kind.description,
        worlds=WORLDS,
        curve=curve,
        visited=per_sample["visited"],
        moved=per_sample["moved"],
        flipped=per_sample["flipped"],
        synapses=sum(layer.hidden.size for layer in layers if layer.learns),
        levels_before=levels(with_state(image, before)),
        levels_after=levels(with_state(image, state())),
    )


def levels(image: bytes) -> dict[int, int]:
    """Hidden level -> synapses that stand there, over the layers that learn (of a frozen network, the first)."""
    layers = export.read_image(image).layers
    chosen = [layer for layer in layers if layer.learns] or [layers[0]]
    found, counts = np.unique(np.concatenate([layer.hidden.ravel() for layer in chosen]), return_counts=True)
    return {int(level): int(count) for level, count in zip(found, counts, strict=True)}


def walk(folder: Path, seed: int, passes: int) -> Report:
    """The demo. Leaves the checkpoint and every exported file in `folder`; the caller writes the report."""
    folder.mkdir(parents=True, exist_ok=True)
    field = load_task(FIELD)
    points = -(-len(field.y_train) * passes // CHUNK)
    ways = kinds(seed=seed)
    with show.bar("training", RECIPE.epochs + len(ways) * points + 4) as bar:

        def step(text: str) -> None:
            bar.step(text=text)

        checkpoint = train_upright(seed, progress=step)
        checkpoint.write(folder / "checkpoint.safetensors")
        frozen = {kind.name: export.freeze(checkpoint, kind.options) for kind in ways}
        images = {name: export.write_image(network) for name, network in frozen.items()}
        export.export_all(frozen[ways[0].name], folder, device=lambda image, x: Model(image).scores(x))
        step("exported, engines agree")

        chip = firmware_sim.load_board(LEARNS_ON)
        deployments = []
        for kind in ways:
            image = images[kind.name]
            with firmware_sim.Device(firmware_sim.build(image, chip), chip) as device:
                learn = device.learn_many if kind.options.bits > 1 else None
                deployments.append(learn_sideways(kind, image, learn, device.state, seed, passes, step))
                if learn is not None and kind is ways[0]:
                    Model(with_state(image, device.state())).save(folder / "learned.mbit")
        boards = []
        for name in firmware_sim.boards():
            chip = firmware_sim.load_board(name)
            x, y = field.x_train[:MEASURED], field.y_train[:MEASURED]
            boards.append(firmware_sim.measure(images[ways[0].name], chip, x, y))
            step(f"measuring {name}")
    checks = [check for found in boards for check in firmware_sim.check(found)]
    first, second, third = deployments[:3]
    return Report(
        title="Upright digits in the lab, sideways digits in the field",
        summary=(
            f"One network, trained on upright digits and exported with {RECIPE.bits} bits a synapse. Mounted sideways, each device "
            f"learned {len(field.y_train):,} turned digits, one at a time, {passes} times over, and never saw an upright one. "
            f"With metaplasticity it still reads {show.percent(first.after[0])} of the upright digits and "
            f"{show.percent(first.after[1])} of the sideways ones; with m = 0, {show.percent(second.after[0])} and "
            f"{show.percent(second.after[1])}, or {show.percent(third.after[0])} and {show.percent(third.after[1])} if its dose is "
            "chosen to suit it."
        ),
        network=" → ".join(
            str(n) for n in (checkpoint.spec.input_bits, *checkpoint.spec.hidden, checkpoint.spec.classes)
        ),
        deployments=deployments,
        boards=boards,
        checks=checks,
        provenance=Provenance.now(show.command_line(), seed, compiler=compiler_version()),
        notes=(
            f"All learning ran on the emulated {LEARNS_ON}; the curves were evaluated from its state memory on the host, which "
            "computes the same integers.",
            f"One seed of training and stream ({seed}); the mean over five is in docs/results/demo.md.",
        ),
    )
