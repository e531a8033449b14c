"""The demo: the default network learns turned digits and a digit it never saw, in place, on an emulated board.

The first chapter is the default network with a head, beside its rivals; the second one is the paper's rule
(`metabit.experiments.demo_paper`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabit import export, firmware_sim
from metabit.data import Task, load
from metabit.experiments import comparison, demo_paper, show, stream
from metabit.export.files.image import with_state
from metabit.firmware_sim import Chapter, Comparison, Deployment, Line, Measurement, Provenance, Report
from metabit.firmware_sim.build.toolchain import compiler_version
from metabit.firmware_sim.report.measure import SECOND_BUILD, layer_costs
from metabit.runtime import Model
from metabit.train.gates_checkpoint import GatesCheckpoint
from metabit.train.recipe_run import RecipeSettings, run_recipe

LEARNS_ON = "nrf52840"
UNSEEN = 9
"""Digit that no training sample shows before deployment."""
NAMES = ("upright 0 to 8", "sideways 0 to 8", "nine")
ORDERS = ("mixed", "class after class")
CHUNK = 200
"""Samples between two points of the accuracy curve."""
MEASURED = 200
"""Learning steps of the stream that are measured on the boards that do not run all of it."""
TITLE = "The default network"
TEXT = (
    "A network of 32 gates, trained on upright digits 0 to 8. After deployment the device learns the same digits turned by 90 "
    "degrees, and nines, which it never saw: one pass, one sample at a time, no sample kept. It does so twice: mixed, and one "
    "class after the other, the nines last."
)


@dataclass(frozen=True)
class Problem:
    """The data of the first chapter.

    old: upright digits 0..8, with their training part. new: the stream as its training part, sideways 0..8 and then upright nines;
    its test part is sideways. nine: upright nines.
    """

    old: Task
    new: Task
    nine: Task

    @property
    def tests(self) -> tuple[Task, ...]:
        """Tasks in the order of `NAMES`."""
        return self.old, self.new, self.nine

    def order(self, name: str, seed: int) -> NDArray[np.int64]:
        """Rows of the stream in one of `ORDERS`."""
        drawn = np.random.default_rng(seed).permutation(len(self.new.y_train))
        return drawn if name == ORDERS[0] else drawn[np.argsort(self.new.y_train[drawn], kind="stable")]


def problem() -> Problem:
    """The digits of scikit-learn, 8 x 8 pixels of 0..16."""

    def part(name: str, digits: Sequence[int]) -> Task:
        task = load(name).whole()
        train, test = np.isin(task.y_train, digits), np.isin(task.y_test, digits)
        return replace(
            task, x_train=task.x_train[train], y_train=task.y_train[train], x_test=task.x_test[test],
            y_test=task.y_test[test],
        )  # fmt: skip

    known = range(UNSEEN)
    old, sideways, nine = part("digits", known), part("digits:sideways", known), part("digits", (UNSEEN,))
    x, y = np.concatenate([sideways.x_train, nine.x_train]), np.concatenate([sideways.y_train, nine.y_train])
    return Problem(old, replace(sideways, x_train=x, y_train=y), nine)


def trained(task: Task, seed: int) -> GatesCheckpoint:
    """The default network, trained on the old task."""
    return run_recipe(task, RecipeSettings(seed=seed)).checkpoint({"data": NAMES[0], "seed": seed})


def frozen_head(checkpoint: GatesCheckpoint, seed: int) -> export.Frozen:
    """The network with a head that has one spare class."""
    return export.freeze_gates(checkpoint, options=export.GateOptions(spare_classes=1, seed=seed))


def learn_order(
    image: bytes,
    data: Problem,
    rows: NDArray[np.int64],
    name: str,
    learn: Callable[[NDArray[np.int64]], NDArray[np.generic]],
    state: Callable[[], bytes],
    progress: Callable[[str], None] = lambda text: None,
) -> tuple[Deployment, float]:
    """Learn the stream in this order, and test on all parts every CHUNK samples. Returns also the prequential accuracy, 0..1.

    learn: learns rows of the stream, and returns the class predicted before each. state: of the model that learns. The tests run
    on this computer from the state.
    """

    def point(samples: int) -> tuple[int, tuple[float, ...]]:
        now = Model(with_state(image, state()))
        return samples, tuple(stream.accuracy(now.predict_many, t.x_test, t.y_test) for t in data.tests)

    curve, right = [point(0)], 0
    for at in range(0, len(rows), CHUNK):
        piece = rows[at : at + CHUNK]
        right += int((learn(piece) == data.new.y_train[piece]).sum())
        curve.append(point(min(at + CHUNK, len(rows))))
        progress(f"learning, {name}")
    size = Model(image).state_size
    told = f"class means with a streamed covariance, {size:,} bytes of state; the stream {name}"
    return Deployment(f"head, {name}", told, NAMES, curve, 0.0, 0.0, 0.0, 0, {}, {}), right / len(rows)


def beside(
    image: bytes,
    data: Problem,
    rows: NDArray[np.int64],
    learnt: Deployment,
    prequential: float,
    progress: Callable[[], None] = lambda: None,
) -> Comparison:
    """Compare a deployment with the rivals, which are fitted to the old task and learn the stream in the same order."""
    upright, sideways, nine = NAMES
    tasks = {sideways: data.new, upright: data.old, nine: data.nine}
    shares = [dict(zip(NAMES, when, strict=True)) for when in (learnt.before, learnt.after)]
    before, after = (tuple(share[name] for name in tasks) for share in shares)
    ours = Line("metabit (head)", Model(image).state_size, before, after, prequential)
    return comparison.compare(image, tasks, [rows], ours, [upright], progress, taught=[nine])


def run(folder: Path, seed: int, passes: int) -> Report:
    """Run the demo and write the checkpoint and all exported files into `folder`. The caller writes the report.

    passes: of the second chapter's stream.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = problem()
    samples = len(data.new.y_train)
    each = -(-samples // CHUNK) + comparison.steps(samples)
    total = 2 + len(ORDERS) * each + len(firmware_sim.boards()) + demo_paper.rounds(seed, passes)
    with show.bar("training", total) as bar:

        def step(text: str) -> None:
            bar.step(text=text)

        checkpoint = trained(data.old, seed)
        checkpoint.write(folder / "checkpoint.safetensors")
        step("trained")
        frozen = frozen_head(checkpoint, seed)
        image = export.write_image(frozen)
        export.export_all(frozen, folder, device=lambda image, x: Model(image).scores(x))
        step("exported, engines agree")
        first, measured = _first_chapter(folder, image, frozen, data, seed, step)
        x, y = data.new.x_train, data.new.y_train
        rows = data.order(ORDERS[0], seed)[:MEASURED]
        inputs = Model(image).device_bytes(x[rows])
        for name in firmware_sim.boards():
            if name != LEARNS_ON:
                told = f"the first {MEASURED} samples of the mixed stream"
                measured[name] = firmware_sim.measure(
                    image, firmware_sim.load_board(name), inputs, y[rows], samples=told
                )
            step(f"measuring {name}")
        second = demo_paper.chapter(seed, passes, step)
    boards = [measured[name] for name in firmware_sim.boards()]
    return Report(
        title="Digits turn sideways, and a digit comes that the network never saw",
        summary=_summary(first),
        network=" → ".join(map(str, (frozen.features, checkpoint.units, frozen.classes))),
        chapters=(first, second),
        boards=boards,
        checks=[check for found in boards for check in firmware_sim.check(found)],
        provenance=Provenance.now(show.command_line(), seed, compiler=compiler_version()),
        notes=(
            f"The head learnt on the emulated {LEARNS_ON}; the curves were evaluated from its state on the host, which computes "
            "the same integers. The second chapter ran on the host.",
            f"Times of {LEARNS_ON} are those of the whole mixed stream; the other boards ran its first {MEASURED} samples.",
            f"One seed of training and stream ({seed}); the mean over five is in docs/results/demo.md.",
        ),
    )


def _first_chapter(
    folder: Path, image: bytes, frozen: export.Frozen, data: Problem, seed: int, step: Callable[[str], None]
) -> tuple[Chapter, dict[str, Measurement]]:
    """The chapter, and the measurement of the board on which it ran. Writes learned.mbit, from the mixed stream."""
    board = firmware_sim.load_board(LEARNS_ON)
    elf = firmware_sim.build(image, board)
    bytes_of = Model(image).device_bytes
    x, y, x_test = bytes_of(data.new.x_train), data.new.y_train, bytes_of(data.new.x_test)
    deployments, comparisons, measured = [], {}, {}
    for order in ORDERS:
        rows = data.order(order, seed)
        with firmware_sim.Device(elf, board) as device:
            meter = firmware_sim.Meter(device)
            meter.predict(x_test, "sideways digits, test part before learning")

            def learn(piece: NDArray[np.int64], meter: firmware_sim.Meter = meter) -> NDArray[np.generic]:
                predicted: NDArray[np.generic] = meter.learn(x[piece], y[piece], "the stream", piece).label
                return predicted

            learnt, prequential = learn_order(image, data, rows, order, learn, device.state, step)
            deployments.append(learnt)
            if order == ORDERS[0]:
                Model(with_state(image, device.state())).save(folder / "learned.mbit")
                first = rows[:MEASURED]
                measured[LEARNS_ON] = meter.measurement(
                    "all learning steps of the mixed stream, and a prediction of each sideways test sample before them",
                    opt="-Os",
                    layers=layer_costs(
                        image, board, x[first], x[first], y[first], network=frozen, budgets=firmware_sim.load_budgets()
                    ),
                    layer_samples=f"the first {MEASURED} samples of the stream, in {SECOND_BUILD}",
                )
        comparisons[order] = beside(image, data, rows, learnt, prequential, lambda: step("the other learners"))
    return Chapter(TITLE, TEXT, deployments, comparisons), measured


def _summary(chapter: Chapter) -> str:
    mixed, ordered = (
        ", ".join(f"{show.percent(share)} of {name}" for name, share in zip(NAMES, d.after, strict=True))
        for d in chapter.deployments
    )
    return (
        f"The device learnt {chapter.deployments[0].samples:,} samples in place, in integers. At the end it predicts {mixed} "
        f"correctly; where the stream shows one class after the other, {ordered}."
    )
