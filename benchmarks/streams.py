"""Endless streams through the device rule, on the host's C runtime: docs/results/streams/{name}.{md,svg} from one runs.jsonl.

    python benchmarks/streams.py permuted-mnist-6
    python benchmarks/streams.py            lists what there is and what is done

A run is one pass, one sample at a time, no replay, no task boundaries. A finished run is a line in runs.jsonl and is not run
again; a long one goes on from its last saved image. `--validate` learns on 50,000 training images and tests on the other 10,000:
what settings are chosen by, never the test images.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from lab import RULE, digest
from numpy.typing import NDArray

from metabit.data import image_sets as datasets
from metabit.data.rows import append_row, read_rows, write_whole
from metabit.experiments import plots
from metabit.export import FreshOptions, fresh, write_image
from metabit.runtime import Model

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "streams"
RUNS = RESULTS / "runs.jsonl"
STATE = Path(__file__).parents[1] / "build" / "streams"
LAST = 5
"""Tasks whose mean is reported at the end of a long stream, as others do."""
EVERY = 20
"""Tasks between two tests of the last five. The image is saved and opened again there, so that a run that was cut off is the
same as one that was not."""
BATCH = 1_000
PIXELS = 784
Pair = tuple[NDArray[np.uint8], NDArray[Any]]
"""Samples (n, features) and their labels (n,)."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Device:
    """What runs: a network that has learnt nothing. bits, hidden and the rest of the options say how it learns."""

    hidden: int
    options: FreshOptions = FreshOptions()


@dataclass(frozen=True)
class Experiment:
    """One table: a stream, the devices that see it, and what others report as sentences.

    tasks: each is the whole training set with its own permutation of the pixels; with `parts`, a part of the training set as
        it is, seen `passes` times in another order each time.
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
        """Tasks whose test images are asked for after this one: all of a short stream, else the last five; of parts, one."""
        last = task + 1 == self.tasks
        return range(task if self.parts else 0 if last and self.tasks <= 10 else max(0, task + 1 - LAST), task + 1)


USUAL = FreshOptions(batch=256, deviations=3.5, gain=0.1)
THREE_BITS = FreshOptions(bits=3, batch=256, delta=0.3, deviations=4.2, gain=0.07)
LARGEST = {"784-192-10, 4 bits": Device(192, USUAL)}
DEVICES = {
    **LARGEST,
    "784-128-10, 3 bits": Device(128, THREE_BITS),
    "784-64-10, 3 bits": Device(64, THREE_BITS),
}
"""73.5, 36.8 and 18.4 KiB of synapses: at most what 784-100-10 takes at 8 bits (77.5), half, and a quarter."""
LIGHT = {"784-192-10, 4 bits, 128 samples": Device(192)}
"""What `metabit fresh` makes: half as many samples wait, in half as much scratch memory."""
CAUTIOUS = {"784-192-10, 4 bits, cautious": Device(192, replace(USUAL, delta=0.25, deviations=4.2))}
"""Moves less, for data that is wrong more often."""
BIMU = (
    "Another network, 784-100-10, one fp32 a synapse, 1,000 tasks, last 5 (BiMU, arXiv:2605.30198, as published; it averages "
    "five networks drawn anew to predict): 90.30 ± 0.38. SGD in fp32: 66.64. The paper's rule, with batch norm at batch size 1: "
    "10.27.",
)
FLOAT = (
    "784-1024-1024-10 trained in floating point, 20 epochs a part ([train](../train/stream-fashion.md)): m = 2.5 87.7 ± 0.1, "
    "m = 0 84.5, all parts at once 87.8.",
)
SINGLE = ("One task, 784-100-10 (as published with BiMU): BiMU 94.67, SGD in fp32 96.03.",)

EXPERIMENTS = {
    "permuted-mnist-1": Experiment("Permuted MNIST, one task", "mnist", 1, {**DEVICES, **LIGHT}, beside=SINGLE),
    "permuted-mnist-6": Experiment("Permuted MNIST, 6 tasks", "mnist", 6, {**DEVICES, **LIGHT}),
    "permuted-mnist-100": Experiment("Permuted MNIST, 100 tasks", "mnist", 100, DEVICES, beside=BIMU),
    "permuted-mnist-1000": Experiment("Permuted MNIST, 1,000 tasks", "mnist", 1000, LARGEST, seeds=(0,), beside=BIMU),
    "fashion-parts": Experiment(
        "Fashion-MNIST in 60 parts", "fashion-mnist", 60, {**LARGEST, **LIGHT}, beside=FLOAT, parts=True
    ),
    "fashion-parts-20": Experiment(
        "Fashion-MNIST in 60 parts, 20 passes each", "fashion-mnist", 60, LARGEST, beside=FLOAT, parts=True, passes=20
    ),
    "permuted-fashion-6": Experiment("Permuted Fashion-MNIST, 6 tasks", "fashion-mnist", 6, {**LARGEST, **CAUTIOUS}),
}


# The stream


class Stream:
    """A data set seen task by task. Tests are on its test images or, to choose settings, on training images held out."""

    def __init__(self, experiment: Experiment, seed: int, validate: bool = False) -> None:
        images = datasets.load(experiment.data)
        self.experiment, self.seed = experiment, seed
        self.train, self.test = _pair(images.x_train, images.y_train), _pair(images.x_test, images.y_test)
        if validate:
            held = np.random.default_rng(10_000).permutation(len(self.train[0])) < 10_000
            self.train, self.test = _part(self.train, ~held), _part(self.train, held)

    def pixels(self, task: int) -> NDArray[np.int64]:
        """Where each pixel of this task comes from."""
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


def _pair(x: NDArray[np.uint8], y: NDArray[Any]) -> Pair:
    return x.reshape(len(x), -1), y


def _part(pair: Pair, rows: NDArray[Any]) -> Pair:
    return pair[0][rows], pair[1][rows]


# One run


def first_image(experiment: Experiment, device: Device, seed: int) -> bytes:
    return write_image(fresh(PIXELS, device.hidden, 10, replace(device.options, seed=seed)))


def run(name: str, device: str, seed: int, validate: bool = False, changes: dict[str, Any] | None = None) -> Row:
    """One device on one stream; `changes` to its options (or to `hidden`) are for choosing settings."""
    experiment = EXPERIMENTS[name]
    built = change(experiment.devices[device], changes or {})
    stream, image = Stream(experiment, seed, validate), first_image(experiment, built, seed)
    what = {"experiment": name, "device": device, "seed": seed, **key(experiment, image)}
    saved = STATE / f"{digest(json.dumps([what, EVERY, validate]).encode())}.json"
    model, told, begun = Model(image), [], 0
    if saved.exists():
        kept = json.loads(saved.read_text())
        model, told, begun = Model(base64.b64decode(kept["image"])), kept["told"], kept["tasks"]
    for task in range(begun, experiment.tasks):
        last = task + 1 == experiment.tasks
        row = learn_task(model, stream, task)
        if last or (task + 1) % EVERY == 0:
            row["tasks"] = [stream.accuracy(model, t) for t in experiment.tested(task)]
        told.append(row)
        if not last and (task + 1) % EVERY == 0:
            image = model.image()
            model = Model(image)  # votes not yet counted are lost, as when a device is switched off
            STATE.mkdir(parents=True, exist_ok=True)
            write_whole(saved, json.dumps({"image": base64.b64encode(image).decode(), "told": told, "tasks": task + 1}))
    return what | {
        "hidden": built.hidden, "options": asdict(built.options),
        "final": told[-1]["tasks"], "accuracy": float(np.mean(told[-1]["tasks"])),
        "state_bytes": model.state_size, "arena_bytes": model.arena_size(), "told": told,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores", "date": str(date.today()),
    }  # fmt: skip


def key(experiment: Experiment, image: bytes) -> Row:
    """What a run is known by besides its names: the network, the rule and the stream."""
    return {"image": digest(image), "rule": RULE, "stream": [experiment.tasks, experiment.passes, experiment.parts]}


def learn_task(model: Model, stream: Stream, task: int) -> Row:
    """Means over one task's samples, and the accuracy on it right after."""
    work, count, seconds = np.zeros(4), 0, 0.0  # right, visited, moved, flipped
    for x, y in stream.samples(task):
        start = time.perf_counter()
        steps = model.learn_many(x, y)
        seconds += time.perf_counter() - start
        work += [(steps.predicted == y).sum(), steps.visited.sum(), steps.moved.sum(), steps.flipped.sum()]
        count += len(y)
    means = dict(zip(("prequential", "visited", "moved", "flipped"), (work / count).tolist(), strict=True))
    return means | {"microseconds": 1e6 * seconds / count, "learnt": stream.accuracy(model, task)}


def change(device: Device, changes: dict[str, Any]) -> Device:
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items() if k != "hidden"}
    return replace(device, hidden=changes.get("hidden", device.hidden), options=replace(device.options, **options))


# What is done


def done(name: str) -> dict[str, list[Row]]:
    """Device -> its finished runs in the order of the seeds, as it is built today; devices without one are left out."""
    experiment = EXPERIMENTS[name]
    rows = {(row["device"], row["seed"]): row for row in read_rows(RUNS) if row["experiment"] == name}
    found = {
        device: [
            row
            for seed in experiment.seeds
            if (row := rows.get((device, seed)))
            and key(experiment, first_image(experiment, built, seed)).items() <= row.items()
        ]
        for device, built in experiment.devices.items()
    }
    return {device: runs for device, runs in found.items() if runs}


def table(name: str) -> str:
    """Markdown of what is done: per cent, and work per sample over the whole stream."""
    experiment, found = EXPERIMENTS[name], done(name)
    runs = [row for rows in found.values() for row in rows]
    places = sorted({f"{row['machine']}, {row['date']}" for row in runs})
    last = "test images" if experiment.parts else "all tasks" if experiment.tasks <= 10 else f"last {LAST} tasks"
    seen = "Each image once" if experiment.passes == 1 else f"Each part {experiment.passes} times"
    lines = [
        f"# {experiment.title}",
        "",
        f"`METABIT_DATA_DIR=... python benchmarks/streams.py {name}` on {'; '.join(places)}. {seen}, one at a time, in "
        "integers, by the C runtime; no replay, no task boundaries. Raw: [runs.jsonl](runs.jsonl).",
        "",
        f"![{experiment.title}]({name}.svg)",
        "",
        f"| device | seeds | {last} | by task, at the end | just learnt | while learning | visited | moved | flipped "
        "| state, bytes | scratch, bytes | µs a sample |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for device, rows in found.items():
        final = 100 * np.mean([row["final"] for row in rows], axis=0)
        told = [t for row in rows for t in row["told"]]
        mean = {key: float(np.mean([t[key] for t in told])) for key in told[0] if key != "tasks"}
        lines.append(
            f"| {device} | {', '.join(str(row['seed']) for row in rows)} | {spread([row['accuracy'] for row in rows])} "
            f"| {' '.join(f'{a:.1f}' for a in final)} | {100 * mean['learnt']:.1f} | {100 * mean['prequential']:.1f} "
            f"| {mean['visited']:.1f} | {mean['moved']:.1f} | {mean['flipped']:.2f} "
            f"| {rows[0]['state_bytes']:,} | {rows[0]['arena_bytes']:,} | {mean['microseconds']:.0f} |"
        )
    return "\n".join([*lines, "", *(f"* {sentence}" for sentence in experiment.beside)]).rstrip() + "\n"


def spread(accuracies: list[float]) -> str:
    a = 100 * np.array(accuracies)
    return f"{a.mean():.1f}" + (f" ± {a.std(ddof=1):.1f}" if len(a) > 1 else "")


def index() -> str:
    """All tables in one: docs/results/streams/README.md."""
    lines = [
        "# What devices reach on endless streams",
        "",
        "Per cent, ± standard deviation over seeds. Devices start from nothing (`metabit.export.fresh`). Settings were chosen on",
        "streams of 6 to 100 tasks of other permutations, tested on 10,000 training images held out. State is all that learning",
        "changes; scratch memory is in the tables. [What the devices cost on a board](frontier.md): bytes, cycles.",
        "",
        "| | device | seeds | accuracy | state, bytes |",
        "|---|---|---|---|---|",
    ]
    for name, experiment in EXPERIMENTS.items():
        title = f"[{experiment.title}]({name}.md)"
        for device, rows in done(name).items():
            accuracy = spread([row["accuracy"] for row in rows])
            lines.append(f"| {title} | {device} | {len(rows)} | {accuracy} | {rows[0]['state_bytes']:,} |")
            title = ""
    return "\n".join(lines) + "\n"


def write_pages(name: str) -> None:
    found = done(name)
    experiment = EXPERIMENTS[name]
    plots.final_accuracy(
        RESULTS / f"{name}.svg",
        {d: [r["final"] for r in rows] for d, rows in found.items()},
        experiment.title,
        [f"task {task + 1}" for task in experiment.tested(experiment.tasks - 1)],
    )
    write_whole(RESULTS / f"{name}.md", table(name))
    write_whole(RESULTS / "README.md", index())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(EXPERIMENTS))
    parser.add_argument("--seeds", type=int, help="only the first so many, 1 or more", default=None)
    parser.add_argument("--tables", action="store_true", help="run nothing: only write tables and figures anew")
    parser.add_argument(
        "--validate", metavar="JSON", help="try changes to the options at seed 100, on training images held out"
    )
    asked = parser.parse_args()
    for name in asked.names:
        if name not in EXPERIMENTS:
            parser.error(f"unknown experiment {name!r}: there are {', '.join(EXPERIMENTS)}")
    if asked.tables:
        asked.names = [name for name in asked.names or EXPERIMENTS if done(name)]
    if not asked.names:
        for name, experiment in EXPERIMENTS.items():
            runs = sum(len(rows) for rows in done(name).values())
            print(
                f"{name:20s} {runs:2d} of {len(experiment.seeds) * len(experiment.devices):2d} runs  {experiment.title}"
            )
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in asked.names:
        experiment = EXPERIMENTS[name]
        if asked.validate is not None:
            for device in experiment.devices:
                row = run(name, device, 100, True, json.loads(asked.validate))
                print(f"{device}: {100 * row['accuracy']:.2f}, by task {[round(100 * a, 1) for a in row['final']]}")
            continue
        for seed in [] if asked.tables else experiment.seeds[: asked.seeds]:
            for device in experiment.devices:
                if seed not in [row["seed"] for row in done(name).get(device, [])]:
                    append_row(RUNS, run(name, device, seed))
        write_pages(name)
        print(table(name))


if __name__ == "__main__":
    main()
