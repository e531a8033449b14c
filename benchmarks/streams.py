"""Endless streams learnt by the vote rule from the first sample on: docs/results/streams/README.md.

    METABIT_DATA_DIR=... python benchmarks/streams.py permuted-mnist-6
    python benchmarks/streams.py            lists the experiments

A run is one pass over a stream by the C runtime on the host, one sample at a time, without replay or task boundaries. A long run
that was interrupted is resumed from its last saved image. `--validate` learns 50,000 training images at seed 100 and tests on the
other 10,000: settings are chosen by it, never by the test images.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from checkpoints import HEAD_RULE, VOTE_RULE, digest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from metabit.data import image_sets
from metabit.data.rows import write_whole
from metabit.experiments import results
from metabit.experiments.results import Benchmark, Cell, Draw, Row
from metabit.export import VoteOptions, fresh, fresh_votes, sample_of_ranges, write_image
from metabit.runtime import Model

PAGE = "docs/results/streams/README.md"
STATE = Path(__file__).parents[1] / "build" / "streams"
LAST = 5
"""Tasks whose mean is reported at the end of a long stream, as others do."""
EVERY = 20
"""Tasks between two tests of the last five. The image is saved and opened again there, so that an interrupted run ends like one
that was not."""
BATCH = 1_000
UNLABELLED = 64
"""First images of a stream, from which a head's units are made."""
PIXELS = 784
FIGURES = ("learnt", "prequential", "visited", "moved", "flipped", "microseconds")
Pair = tuple[NDArray[np.uint8], NDArray[Any]]
"""Samples (n, features) and their labels (n,)."""


@dataclass(frozen=True)
class Device:
    """A network that has learnt nothing: its hidden units, and the options of the vote rule, None for a head."""

    hidden: int
    options: VoteOptions | None = VoteOptions()


@dataclass(frozen=True)
class Experiment:
    """A table: a stream, the devices that learn it, and results that others report, as sentences.

    Args:
        tasks: each is the whole training set with its own permutation of the pixels; with `parts`, a part of the training set
            as it is, seen `passes` times, in another order each time.
    """

    title: str
    data: str
    tasks: int
    devices: dict[str, Device]
    seeds: tuple[int, ...] = (0, 1, 2)
    beside: tuple[str, ...] = ()
    parts: bool = False
    passes: int = 1

    def tested(self, task: int) -> range:
        """Tasks that are tested after this one: all of a short stream, else the last five; one where tasks are parts."""
        last = task + 1 == self.tasks
        return range(task if self.parts else 0 if last and self.tasks <= 10 else max(0, task + 1 - LAST), task + 1)


USUAL = VoteOptions(batch=256, deviations=3.5, chance_per_vote=0.1)
THREE_BITS = VoteOptions(bits=3, batch=256, delta=0.3, deviations=4.2, chance_per_vote=0.07)
LARGEST = {"784-192-10, 4 bits": Device(192, USUAL)}
DEVICES = {
    **LARGEST,
    "784-128-10, 3 bits": Device(128, THREE_BITS),
    "784-64-10, 3 bits": Device(64, THREE_BITS),
}
"""73.5, 36.8 and 18.4 KiB of synapses: at most what 784-100-10 takes at 8 bits (77.5), half, and a quarter."""
LIGHT = {"784-192-10, 4 bits, 128 samples": Device(192)}
"""The defaults of `metabit fresh`: a batch of half as many samples, in half as much scratch memory."""
CAUTIOUS = {"784-192-10, 4 bits, cautious": Device(192, replace(USUAL, delta=0.25, deviations=4.2))}
"""Moves fewer levels, for data that is predicted wrong more often."""
HEAD = {"head, 128 units": Device(128, None)}
"""`metabit fresh --units 128`: units of three random pixels at most, below a head of class means."""
BIMU = (
    "Another network, 784-100-10, one fp32 a synapse, 1,000 tasks, last 5 (BiMU, arXiv:2605.30198, as published; it averages "
    "five networks drawn anew to predict): 90.30 ± 0.38. SGD in fp32: 66.64. The paper's rule, with batch norm at batch size 1: "
    "10.27.",
)
FLOAT = (
    "784-1024-1024-10 trained in floating point, 20 epochs a part ([train](../train/README.md)): m = 2.5 87.7 ± 0.1, "
    "m = 0 84.5, all parts at once 87.8.",
)
SINGLE = (
    "One task, 784-100-10 (as published with BiMU): BiMU 94.67, SGD in fp32 96.03.",
    "Margin AUROC: chance that a wrong prediction has a smaller margin (`Model.margins`, `mb_margin`) than a right one.",
)

FIXED = (
    "The class means of the head remember 255 samples: it follows the last permutation and loses the others. Where the inputs "
    "change so, the binary layer itself must learn, as it does by votes. Float learners of all pixels that weigh all samples "
    "alike keep more than the head: [beside them](rivals.md).",
)

EXPERIMENTS = {
    "permuted-mnist-1": Experiment("Permuted MNIST, one task", "mnist", 1, {**DEVICES, **LIGHT, **HEAD}, beside=SINGLE),
    "permuted-mnist-6": Experiment("Permuted MNIST, 6 tasks", "mnist", 6, {**DEVICES, **LIGHT, **HEAD}, beside=FIXED),
    "permuted-mnist-100": Experiment("Permuted MNIST, 100 tasks", "mnist", 100, DEVICES, beside=BIMU),
    "permuted-mnist-1000": Experiment(
        "Permuted MNIST, 1,000 tasks", "mnist", 1000, LARGEST, seeds=(0, 1, 2), beside=BIMU
    ),
    "fashion-parts": Experiment(
        "Fashion-MNIST in 60 parts", "fashion-mnist", 60, {**LARGEST, **LIGHT, **HEAD}, beside=FLOAT, parts=True
    ),
    "fashion-parts-20": Experiment(
        "Fashion-MNIST in 60 parts, 20 passes each", "fashion-mnist", 60, LARGEST, beside=FLOAT, parts=True, passes=20
    ),
    "permuted-fashion-6": Experiment("Permuted Fashion-MNIST, 6 tasks", "fashion-mnist", 6, {**LARGEST, **CAUTIOUS}),
}


# The stream


class Stream:
    """A dataset task by task. Tests are on its test images or, to choose settings, on training images held out."""

    def __init__(self, experiment: Experiment, seed: int, validate: bool = False) -> None:
        images = image_sets.load(experiment.data)
        self.experiment, self.seed = experiment, seed
        self.train = images.x_train.reshape(len(images.x_train), -1), images.y_train
        self.test = images.x_test.reshape(len(images.x_test), -1), images.y_test
        if validate:
            held = np.random.default_rng(10_000).permutation(len(self.train[0])) < 10_000
            self.train, self.test = _part(self.train, ~held), _part(self.train, held)

    def pixels(self, task: int) -> NDArray[np.int64]:
        """Indices (pixels,) of the dataset's pixels, in the order of this task."""
        count = self.train[0].shape[1]
        if self.experiment.parts:
            return np.arange(count)
        return np.random.default_rng([self.seed, task, 2]).permutation(count)

    def samples(self, task: int) -> Iterator[Pair]:
        order, pixels = np.random.default_rng([self.seed, task, 1]), self.pixels(task)
        shuffled = order.permutation(len(self.train[0]))
        if self.experiment.parts:
            whole = np.random.default_rng([self.seed, 1]).permutation(len(self.train[0]))
            part = np.array_split(whole, self.experiment.tasks)[task]
            shuffled = np.concatenate([order.permutation(part) for _ in range(self.experiment.passes)])
        for at in range(0, len(shuffled), BATCH):
            x, y = _part(self.train, shuffled[at : at + BATCH])
            yield x[:, pixels], y

    def accuracy(self, model: Model, task: int) -> float:
        x, y = self.test
        return float((model.predict_many(x[:, self.pixels(task)]) == y).mean())


def _part(pair: Pair, rows: NDArray[Any]) -> Pair:
    return pair[0][rows], pair[1][rows]


# Runs


def first_image(experiment: Experiment, device: Device, seed: int) -> bytes:
    if device.options is not None:
        frozen = fresh_votes(PIXELS, device.hidden, 10, replace(device.options, seed=seed))
        return write_image(frozen, crc32=True)  # as when the rows were recorded: the digest is in the cell
    sample, _ = next(Stream(experiment, seed).samples(0))
    return head_image(sample[:UNLABELLED], device, seed)


def head_image(sample: NDArray[Any], device: Device, seed: int) -> bytes:
    return write_image(fresh(sample, 10, units=device.hidden, seed=seed), crc32=True)


def without_data(device: Device, seed: int) -> bytes:
    """The image of a head whose units are made from the range of a pixel; it has the sizes of any other."""
    return head_image(sample_of_ranges(np.tile([0, 255], (PIXELS, 1))), device, seed)


def cell(name: str, device: str, seed: int, experiment: Experiment) -> Cell:
    """The network and its options by the digest of the first image, the learning rule by that of its golden vectors.

    The image of a head follows from the data; its digest is that of the units made from stated ranges.
    """
    built = experiment.devices[device]
    image = without_data(built, seed) if built.options is None else first_image(experiment, built, seed)
    return {
        "experiment": name, "device": device, "seed": seed, "image": digest(image),
        "rule": HEAD_RULE if built.options is None else VOTE_RULE,
        "stream": [experiment.tasks, experiment.passes, experiment.parts],
    }  # fmt: skip


def cells(name: str) -> dict[str, list[Cell]]:
    e = EXPERIMENTS[name]
    return {device: [cell(name, device, seed, e) for seed in e.seeds] for device in e.devices}


def measure(asked: Cell, experiment: Experiment | None = None, validate: bool = False) -> Row:
    """Run one device on one stream. validate: of an experiment with other settings, on images held out."""
    experiment, seed = experiment or EXPERIMENTS[asked["experiment"]], asked["seed"]
    built = experiment.devices[asked["device"]]
    stream, image = Stream(experiment, seed, validate), first_image(experiment, built, seed)
    saved = STATE / f"{digest(json.dumps([asked, EVERY, validate]).encode())}.json"
    model, told, begun = Model(image), [], 0
    if saved.exists():
        kept = json.loads(saved.read_text())
        model, told, begun = Model(base64.b64decode(kept["image"])), kept["told"], kept["tasks"]
    for task in range(begun, experiment.tasks):
        last = task + 1 == experiment.tasks
        row = learn(model, stream.samples(task))
        row["learnt"] = stream.accuracy(model, task)
        del row["samples"]
        if last or (task + 1) % EVERY == 0:
            row["tasks"] = [stream.accuracy(model, t) for t in experiment.tested(task)]
        told.append(row)
        if not last and (task + 1) % EVERY == 0:
            image = model.image()
            model = Model(image)  # the votes of the present batch are lost, as when a device is switched off
            STATE.mkdir(parents=True, exist_ok=True)
            write_whole(saved, json.dumps({"image": base64.b64encode(image).decode(), "told": told, "tasks": task + 1}))
    one = {"margin_auroc": margin_auroc(model, stream)} if experiment.tasks == 1 else {}
    return {
        "hidden": built.hidden, "options": built.options and asdict(built.options),
        "final": told[-1]["tasks"], "accuracy": float(np.mean(told[-1]["tasks"])),
        "state_bytes": model.state_size, "told": told, **one, **results.provenance(),
    }  # fmt: skip


def learn(model: Model, samples: Iterable[Pair]) -> Row:
    """Learn all samples, one at a time: means over them of right predictions, visits, moves, flips and microseconds."""
    work, count, seconds = np.zeros(4), 0, 0.0
    for x, y in samples:
        start = time.perf_counter()
        steps = model.learn_many(x, y)
        seconds += time.perf_counter() - start
        work += [(steps.predicted == y).sum(), steps.visited.sum(), steps.moved.sum(), steps.flipped.sum()]
        count += len(y)
    means = dict(zip(("prequential", "visited", "moved", "flipped"), (work / count).tolist(), strict=True))
    return means | {"samples": count, "microseconds": 1e6 * seconds / count}


def margin_auroc(model: Model, stream: Stream) -> float:
    """Chance that a wrong prediction of the first task has a smaller margin than a right one, 0..1; 0.5 is no information."""
    x, y = stream.test[0][:, stream.pixels(0)], stream.test[1]
    return float(roc_auc_score(model.predict_many(x) != y, -model.margins(x).astype(np.int64)))


def validate(name: str, device: str, changes: Cell) -> Row:
    """Changes by name: to the options, or to `hidden`."""
    experiment = EXPERIMENTS[name]
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items() if k != "hidden"}
    built = experiment.devices[device]
    built = Device(changes.get("hidden", built.hidden), built.options and replace(built.options, **options))
    changed = replace(experiment, devices={device: built})
    return measure(cell(name, device, 100, changed), changed, validate=True)


# Pages


def table(name: str) -> str:
    """Markdown: per cent, and work per sample over the whole stream."""
    experiment, found = EXPERIMENTS[name], BENCHMARK.done(name)
    tested = "test images" if experiment.parts else "all tasks" if experiment.tasks <= 10 else f"last {LAST} tasks"
    seen = "Each image once" if experiment.passes == 1 else f"Each part {experiment.passes} times"
    rows = []
    for device, runs in found.items():
        told = [t for row in runs for t in row["told"]]
        built = experiment.devices[device]
        arena = Model(
            without_data(built, 0) if built.options is None else first_image(experiment, built, 0)
        ).arena_size()
        learnt, right, visited, moved, flipped, took = results.means(told, *FIGURES)
        ends = " ".join(f"{100 * a:.1f}" for a in np.mean([row["final"] for row in runs], axis=0))
        if experiment.tasks == 1:
            ends = results.spread([row["margin_auroc"] for row in runs], 3, 1)
        rows.append([
            device, results.seeds(runs), results.spread([row["accuracy"] for row in runs]), ends,
            f"{100 * learnt:.1f}", f"{100 * right:.1f}", f"{visited:.1f}", f"{moved:.1f}", f"{flipped:.2f}",
            f"{runs[0]['state_bytes']:,}", f"{arena:,}", f"{took:.0f}",
        ])  # fmt: skip
    ends = "by task, at the end" if experiment.tasks > 1 else "margin AUROC"
    head = [
        "device", "seeds", tested, ends, "just learnt", "prequential", "visited", "moved", "flipped", "state, bytes",
        "arena, bytes", "µs a sample",
    ]  # fmt: skip
    about = f"`{name}`, on {results.places(BENCHMARK.rows(name))}. {seen}."
    return results.page(experiment.title, about, results.markdown(head, rows), experiment.beside, level=2)


def pages() -> dict[str, str]:
    text = f"""# Accuracy on endless streams

Per cent, ± standard deviation over seeds. Each device starts with random weights (`metabit fresh`) and learns by the vote rule, one
of them by a head, one image at a time, in integers, by the C runtime; no replay, no task boundaries. Settings of the vote rule
were chosen on streams of 6 to 100 tasks of other permutations, tested on 10,000 training images held out. The state is all that
learning changes. The arena is what this version of the library needs; everything else was measured on the day above its table.
{BENCHMARK.raw(PAGE)} {BENCHMARK.command("NAME")} measures one of the tables. [Cost on a board](frontier.md): bytes, cycles.
"""
    return BENCHMARK.sections(PAGE, text, table)


def pictures() -> dict[str, Draw]:
    names = {name: [f"task {task + 1}" for task in e.tested(e.tasks - 1)] for name, e in EXPERIMENTS.items()}
    return results.bars(BENCHMARK, "final", names)


BENCHMARK = Benchmark(
    __file__, {name: e.title for name, e in EXPERIMENTS.items()}, cells, pages, measure,
    pictures=pictures, validate=validate,
)  # fmt: skip

if __name__ == "__main__":
    results.main(BENCHMARK)
