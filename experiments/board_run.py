"""Runs a stream on an emulated board: accuracy before and after learning, and the cost of every call that ran."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metabit import export
from metabit.data import Task
from metabit.experiments import show, stream
from metabit.export.files.image import with_state
from metabit.firmware_sim import (
    Board,
    Budgets,
    Chapter,
    Comparison,
    Deployment,
    Device,
    Line,
    Measurement,
    Meter,
    Provenance,
    Report,
    build,
    check,
)  # fmt: skip
from metabit.firmware_sim.build.toolchain import compiler_version
from metabit.firmware_sim.report.measure import SECOND_BUILD, LayerCost, layer_costs, layer_names
from metabit.runtime import Model

CHUNK = 50
"""Samples that one message to the emulator holds, and between two points of the prequential accuracy."""
TEST_CHUNK = 500
"""Predictions that one message to the emulator holds."""
LAYER_SAMPLES = 200
"""Samples of the stream that the split by layer is measured with, at most."""


@dataclass(frozen=True)
class Plan:
    """Settings of a run. datasets: by name; the first one is learnt if `learn` is set, all are tested before and after.

    limit: learning steps at most, None for all. opt: option of the compiler. layers: also split the mean cost by
    layer. shuffle: learn in random order, a new one for each pass.
    """

    image: bytes
    frozen: export.Frozen
    board: Board
    budgets: Budgets
    datasets: Mapping[str, Task]
    learn: bool = False
    passes: int = 1
    limit: int | None = None
    seed: int = 0
    opt: str = "-Os"
    layers: bool = False
    shuffle: bool = False

    @property
    def stream(self) -> tuple[str, Task]:
        """Name and dataset that is learnt."""
        return next(iter(self.datasets.items()))

    @property
    def points(self) -> int:
        """Number of times that `run` reports progress."""
        count = len(self.stream[1].y_train)
        chunks = stream.chunk_count(count, self.passes, self.limit if self.learn else 0, CHUNK)
        tests = sum(-(-len(task.y_test) // TEST_CHUNK) for task in self.datasets.values())
        return 1 + chunks + tests * (2 if self.learn else 1) + self.layers


@dataclass(frozen=True)
class Ran:
    """Result of a run. before, after: accuracy on the test part of each dataset. deployment: None if nothing was learnt."""

    before: dict[str, float]
    after: dict[str, float]
    tally: stream.Tally
    measurement: Measurement
    deployment: Deployment | None


def run(plan: Plan, progress: Callable[[str], None] = lambda text: None) -> Ran:
    """Build the firmware once, then test, learn and test again in one emulator process."""
    plan = replace(plan, datasets=on_device(plan))
    board, (name, task) = plan.board, plan.stream
    stack = plan.budgets.of(board.name).stack_bytes
    elf = build(plan.image, board, stack_size=stack, opt=plan.opt)
    progress(f"{board.name}: {name}")
    tally, rows = stream.Tally(), np.arange(0)
    with Device(elf, board, budgets=plan.budgets) as device:
        meter, state = Meter(device), device.state()

        def accuracies(when: str) -> dict[str, float]:
            found = {}
            for other, tested in plan.datasets.items():
                right = 0
                for part in np.array_split(np.arange(len(tested.y_test)), -(-len(tested.y_test) // TEST_CHUNK)):
                    replies = meter.predict(tested.x_test[part], f"{other}, test part{when}", part)
                    right += int((replies.label == tested.y_test[part]).sum())
                    progress(f"{board.name}: testing {other}")
                found[other] = right / len(tested.y_test)
            return found

        before = after = accuracies(" before learning" if plan.learn else "")
        if plan.learn:
            for piece in stream.chunks(len(task.y_train), plan.passes, plan.limit, plan.seed, CHUNK, plan.shuffle):
                steps = meter.learn(task.x_train[piece], task.y_train[piece], f"{name}, training part", piece)
                tally.learned(len(piece), steps)
                tally.predicted(steps.label, task.y_train[piece])
                rows = np.append(rows, piece[: LAYER_SAMPLES - len(rows)])
                progress(f"{board.name}: learning {name}")
            after = accuracies(" after learning")
        split: tuple[LayerCost, ...] = ()
        if plan.layers:
            labels, x = (task.y_train[rows] if plan.learn else None), task.x_test[:LAYER_SAMPLES]
            how: dict[str, Any] = {"network": plan.frozen, "opt": plan.opt, "budgets": plan.budgets}
            split = layer_costs(plan.image, board, x, task.x_train[rows], labels, **how)
            progress(f"{board.name}: layers")
        measurement = meter.measurement(
            _chosen(plan, tally),
            opt=plan.opt,
            layers=split,
            layer_samples=f"the first {LAYER_SAMPLES} samples at most, in {SECOND_BUILD}" if split else "",
        )
        deployment = None
        if plan.learn:
            skipped = 100 * tally.per_sample()["skipped"]
            deployment = Deployment(
                name=f"learning {name}",
                description=f"{tally.samples:,} samples, {skipped:.0f} % of them skipped: their error was small",
                datasets=tuple(plan.datasets),
                curve=((0, tuple(before.values())), (tally.samples, tuple(after.values()))),
                prequential=tuple(tally.curve),
                **counts(plan.image, tally, state, device.state()),
            )
    return Ran(before, after, tally, measurement, deployment)


def on_device(plan: Plan) -> dict[str, Task]:
    """The datasets with the bytes that the board takes."""
    model = Model(plan.image)

    def bytes_of(task: Task) -> Task:
        return replace(task, x_train=model.device_bytes(task.x_train), x_test=model.device_bytes(task.x_test))

    return {name: bytes_of(task) for name, task in plan.datasets.items()}


def line(plan: Plan, ran: Ran) -> Line:
    """Return the model's own line of a comparison with rivals."""
    accuracies = tuple(ran.before.values()), tuple(ran.after.values())
    model = Model(plan.image)
    return Line(f"metabit ({model.learner})", model.state_size, *accuracies, ran.tally.prequential)


def report(plan: Plan, ran: Ran, image_name: str, compared: Comparison | None = None) -> Report:
    """Return the report of a run, with what it was compared with."""
    name, task = plan.stream
    tested = ", ".join(
        f"{show.percent(ran.before[other])} of {len(t.y_test):,} test samples of {other}"
        for other, t in plan.datasets.items()
    )
    summary = f"The model predicts {tested} correctly."
    if ran.deployment:
        after = ", ".join(f"{show.percent(share)} of {other}" for other, share in ran.after.items())
        summary = (
            f"Before learning, the model predicts {tested} correctly. It learnt {ran.tally.samples:,} samples of {name}, one at a "
            f"time, with a prequential accuracy of {show.percent(ran.tally.prequential)}, and then predicts {after} correctly."
        )
    return Report(
        title=f"{image_name} on {plan.board.name}",
        summary=summary,
        network=", ".join(layer_names(plan.frozen)),
        chapters=[_chapter(ran.deployment, compared)] if ran.deployment else [],
        boards=[ran.measurement],
        checks=check(ran.measurement, plan.budgets),
        provenance=Provenance.now(show.command_line(), plan.seed, compiler=compiler_version()),
        notes=(
            f"Times are those of {ran.measurement.samples}; budgets are compared with the worst of these calls.",
            f"{ran.measurement.wait_states} The cycle model is {ran.measurement.model}.",
        ),
    )


def _chapter(learnt: Deployment, compared: Comparison | None) -> Chapter:
    text = "The device learns in place, one sample at a time; it keeps no sample."
    return Chapter("Learning on the device", text, [learnt], {"": compared} if compared else {})


def levels(image: bytes) -> dict[int, int]:
    """Count the synapses at each level, over the layers that learn; in a frozen network, over the first layer.

    A head has no levels.
    """
    layers = export.read_image(image).layers
    chosen = [layer for layer in layers if layer.learns] or [layers[0]]
    if chosen[0].kind == "head":
        return {}
    found, counts = np.unique(np.concatenate([layer.hidden.ravel() for layer in chosen]), return_counts=True)
    return {int(level): int(count) for level, count in zip(found, counts, strict=True)}


def _chosen(plan: Plan, tally: stream.Tally) -> str:
    """Say which calls were measured."""
    name, tests = plan.stream[0], " and ".join(plan.datasets)
    predicted = f"all predictions of this run, the test part of {tests}"
    if not plan.learn:
        return predicted
    drawn = f"in random order (seed {plan.seed})" if plan.shuffle else "in file order"
    order = f"{drawn}, {plan.passes} {'pass' if plan.passes == 1 else 'passes'} at most"
    learnt = f"all {tally.samples:,} learning steps of this run, the training part of {name}, {order}"
    return f"{learnt}, and {predicted}, before and after"


def counts(image: bytes, tally: stream.Tally, before: bytes, after: bytes) -> dict[str, Any]:
    """Fields of a `Deployment`: work per sample, synapses that learn, and the levels in both states of the image."""
    work = {name: value for name, value in tally.per_sample().items() if name != "skipped"}
    layers = export.read_image(image).layers
    synapses = sum(layer.hidden.size for layer in layers if layer.learns and layer.kind != "head")
    states = {"levels_before": levels(with_state(image, before)), "levels_after": levels(with_state(image, after))}
    return {**work, "synapses": synapses, **states}
