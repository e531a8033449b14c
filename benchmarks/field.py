"""From the lab to the field: networks trained here that go on learning on the device: docs/results/field/{name}.{md,svg}.

    python benchmarks/field.py mnist-fashion
    python benchmarks/field.py            lists what there is and what is done

A network is trained on the old world (metabit.train), handed over (metabit.export) and then sees only the new one, a sample at a
time, by the C runtime on the host. A finished run is a line in runs.jsonl and is not run again; checkpoints are kept under build/.
`--validate` is what settings are chosen by: seed 100, tests on training samples held out, never on the test samples.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from lab import RULE
from lab import trained as in_lab
from numpy.typing import NDArray
from streams import spread

from metabit.data import Task, load
from metabit.data import image_sets as datasets
from metabit.data import wrist_imu as watch
from metabit.data.rows import append_row, read_rows, write_whole
from metabit.data.task import thermometer
from metabit.experiments import plots
from metabit.export import FIELD, FreshOptions, Frozen, fresh, hand_over, write_image
from metabit.runtime import Model
from metabit.train import Checkpoint
from metabit.train.settings import Defaults, Settings

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "field"
RUNS = RESULTS / "runs.jsonl"
Row = dict[str, Any]
Held = Callable[[Task], NDArray[np.bool_]]


@dataclass(frozen=True)
class Lab:
    """Settings of training, on the old world alone."""

    hidden: int
    lr: float
    m: float = 20.0
    eps: float = 1e-2
    epochs: int = 10
    planes: int = 4
    weight_decay: float = 0.0

    def settings(self, seed: int) -> Settings:
        changes = asdict(self) | {"hidden": (self.hidden,), "evaluate_every": self.epochs, "seed": seed}
        return Settings.of(Defaults(preset="gates-192"), **changes)


@dataclass(frozen=True)
class Experiment:
    """One table: two worlds, how the network is trained on the first and how it learns the second.

    gentle: the options that suit m = 0 best. passes: over the new world's samples. held: of a world, those set apart to choose by.
    """

    title: str
    worlds: tuple[str, str]
    load: Callable[[], tuple[Task, Task]]
    lab: Lab
    options: FreshOptions = FIELD
    gentle: FreshOptions = FIELD
    passes: int = 1
    held: Held = lambda task: np.random.default_rng(10_000).permutation(len(task.x_train)) < len(task.x_train) // 6
    seeds: tuple[int, ...] = (0, 1, 2)


# Worlds


def turned(task: Task) -> Task:
    """The same images, turned by 90°."""
    assert task.shape is not None

    def turn(x: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.rot90(x.reshape(-1, *task.shape[:2]), axes=(1, 2)).reshape(len(x), -1)  # type: ignore[index]

    return replace(task, x_train=turn(task.x_train), x_test=turn(task.x_test))


def usps() -> Task:
    """Another collection of digits, with a frame that makes them as large as MNIST's images."""
    images = datasets.load("usps")
    x_train, x_test = (
        np.pad(x.reshape(-1, 16, 16), ((0, 0), (6, 6), (6, 6))).reshape(len(x), -1)
        for x in (images.x_train, images.x_test)
    )
    return replace(load("mnist").task(0), x_train=x_train, y_train=images.y_train, x_test=x_test, y_test=images.y_test)


def people(numbers: range) -> Task:
    """Their windows with what is above rest and what is below it apart, so that rest is 0, as a picture's background is."""

    def apart(x: NDArray[np.uint8]) -> NDArray[np.uint8]:
        swing = 2 * (x.astype(np.int16) - 128)
        return np.concatenate([np.clip(side, 0, 255) for side in (swing, -swing)], axis=1).astype(np.uint8)

    tasks = [watch.task(i) for i in numbers]
    parts = ("x_train", "y_train", "x_test", "y_test")
    together = {part: np.concatenate([getattr(task, part) for task in tasks]) for part in parts}
    return replace(tasks[0], shape=None, **{n: apart(a) if n[0] == "x" else a for n, a in together.items()})


def ends(task: Task) -> NDArray[np.bool_]:
    """The last fifth of every stretch of one label: windows beside each other overlap and must not be on both sides."""
    stretch = np.cumsum(np.diff(task.y_train, prepend=-1) != 0)
    held = np.zeros(len(stretch), bool)
    for number in np.unique(stretch):
        rows = np.flatnonzero(stretch == number)
        held[rows[round(0.8 * len(rows)) :]] = True
    return held


EXPERIMENTS = {
    "mnist-fashion": Experiment(
        "MNIST in the lab, Fashion-MNIST in the field", ("MNIST", "Fashion-MNIST"),
        lambda: (load("mnist").task(0), load("fashion").task(0)), Lab(hidden=512, lr=0.3),
        gentle=replace(FIELD, deviations=6.0, gain=0.07),
    ),
    "turned-mnist": Experiment(
        "MNIST upright in the lab, turned by 90° in the field", ("upright", "turned"),
        lambda: (load("mnist").task(0), turned(load("mnist").task(0))), Lab(hidden=512, lr=0.3),
        replace(FIELD, delta=0.5, deviations=4.0, margin=0.2), replace(FIELD, delta=0.5, deviations=7.0, gain=0.07),
    ),
    "mnist-usps": Experiment(
        "MNIST in the lab, USPS in the field", ("MNIST", "USPS"), lambda: (load("mnist").task(0), usps()),
        Lab(hidden=512, lr=0.3), gentle=replace(FIELD, deviations=5.0, gain=0.03), passes=5,
    ),
    "watch": Experiment(
        "Seven exercises: five people in the lab, five others in the field", ("people 1-5", "people 6-10"),
        lambda: (people(range(5)), people(range(5, 10))), Lab(hidden=512, lr=1.5, epochs=100, planes=8),
        replace(FIELD, deviations=3.0, gain=0.1, margin=0.2), replace(FIELD, deviations=4.0, gain=0.2), passes=20, held=ends,
    ),
}  # fmt: skip


def worlds(experiment: Experiment, validate: bool) -> tuple[Task, Task]:
    """Old and new; to choose settings, tests are on training samples that nothing learns."""

    def part(task: Task) -> Task:
        held = experiment.held(task)
        # An overlapping window just before those held out shows nearly the same second: it is not learnt either.
        near = held | np.roll(held, -1) | np.roll(held, -2) | np.roll(held, -3) if experiment.held is ends else held
        x, y = task.x_train, task.y_train
        return replace(task, x_train=x[~near], y_train=y[~near], x_test=x[held], y_test=y[held])

    old, new = experiment.load()
    return (part(old), part(new)) if validate else (old, new)


# In the lab


def trained(task: Task, lab: Lab, seed: int, name: str) -> Checkpoint:
    """A network trained on one world; kept, so that all deployments are of the same."""
    return in_lab(name, task, lab.settings(seed))


# In the field


def signs_at(frozen: Frozen, level: int) -> Frozen:
    """Every weight at the same distance from zero: 0 for a device that was given the weights and nothing else."""
    graded, output = frozen.layers
    hidden = np.where(graded.hidden >= 0, level, -1 - level).astype(np.int8)
    return replace(frozen, layers=(replace(graded, hidden=hidden), output))


HAND_OVER: dict[str, Callable[[Checkpoint, Experiment, int], Frozen]] = {
    "hidden state exported": lambda c, e, seed: hand_over(c, replace(e.options, seed=seed)),
    "signs exported": lambda c, e, seed: signs_at(hand_over(c, replace(e.options, seed=seed)), 0),
    "m = 0": lambda c, e, seed: hand_over(c, replace(e.options, seed=seed), m=0.0),
    "m = 0, gentle": lambda c, e, seed: hand_over(c, replace(e.gentle, seed=seed), m=0.0),
}
ON_DEVICE, OFFLINE = "new world alone, on the device", "new world alone, offline"
DEPLOYMENTS = (*HAND_OVER, ON_DEVICE, OFFLINE)


def recipe(experiment: Experiment, deployment: str) -> Row:
    """All that decides a run besides its worlds and seed, JSON-ready."""
    options = experiment.gentle if deployment.endswith("gentle") else experiment.options
    parts = {"lab": asdict(experiment.lab), "options": asdict(options), "passes": experiment.passes, "rule": RULE}
    found: Row = json.loads(json.dumps(parts))
    return {"lab": found["lab"]} if deployment == OFFLINE else found


def first(experiment: Experiment, deployment: str, seed: int, old: Task, new: Task) -> Frozen:
    """The network as the device gets it."""
    lab = experiment.lab
    if deployment in HAND_OVER:
        return HAND_OVER[deployment](trained(old, lab, seed, experiment.worlds[0]), experiment, seed)
    if deployment == OFFLINE:
        frozen = hand_over(trained(new, replace(lab, m=0.0), seed, experiment.worlds[1]))
        return signs_at(frozen, 7)  # all weights count alike, as they did in training
    thresholds = tuple(int(t) for t in thermometer(new.x_train, lab.planes)[:, 0])
    options = replace(experiment.options, thresholds=thresholds, seed=seed)
    return fresh(new.features, lab.hidden, new.classes, options)


def run(name: str, deployment: str, seed: int, experiment: Experiment | None = None, validate: bool = False) -> Row:
    """One deployment of one network. `experiment` in place of the named one is for choosing settings."""
    experiment = experiment or EXPERIMENTS[name]
    old, new = worlds(experiment, validate)
    model = Model(write_image(first(experiment, deployment, seed, old, new)))
    tests = [(task.x_test, task.y_test) for task in (old, new)]

    def accuracies() -> list[float]:
        return [float((model.predict_many(x) == y).mean()) for x, y in tests]

    row: Row = {"experiment": name, "deployment": deployment, "seed": seed, "recipe": recipe(experiment, deployment)}
    row["before"] = accuracies()
    if deployment != OFFLINE:
        row |= learn(model, stream(new, experiment.passes, seed))
        row["state_bytes"], row["arena_bytes"] = model.state_size, model.arena_size()
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return row | {"after": accuracies(), "machine": machine, "date": str(date.today())}


def stream(task: Task, passes: int, seed: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    for number in range(passes):
        order = np.random.default_rng([seed, number]).permutation(len(task.x_train))
        for rows in np.array_split(order, max(1, len(order) // 1000)):
            yield task.x_train[rows], task.y_train[rows]


def learn(model: Model, samples: Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]) -> Row:
    """Means over all samples."""
    work, count, seconds = np.zeros(4), 0, 0.0
    for x, y in samples:
        start = time.perf_counter()
        steps = model.learn_many(x, y)
        seconds += time.perf_counter() - start
        work += [(steps.predicted == y).sum(), steps.visited.sum(), steps.moved.sum(), steps.flipped.sum()]
        count += len(y)
    means = dict(zip(("prequential", "visited", "moved", "flipped"), (work / count).tolist(), strict=True))
    return means | {"samples": count, "microseconds": 1e6 * seconds / count}


def change(experiment: Experiment, changes: Row) -> Experiment:
    """Changes by name: to the passes, the lab or the options, m = 0's own as gentle.deviations and the like."""
    changes = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
    of_lab = {f.name for f in fields(Lab)}
    lab = {name: value for name, value in changes.items() if name in of_lab}
    gentle = {name.removeprefix("gentle."): value for name, value in changes.items() if name.startswith("gentle.")}
    rest = {n: value for n, value in changes.items() if n not in of_lab and "." not in n and n != "passes"}
    return replace(
        experiment, lab=replace(experiment.lab, **lab), options=replace(experiment.options, **rest),
        gentle=replace(experiment.gentle, **gentle), passes=changes.get("passes", experiment.passes),
    )  # fmt: skip


# What is done


def done(name: str) -> dict[str, list[Row]]:
    """Deployment -> its finished runs in the order of the seeds, with today's settings; without one it is left out."""
    experiment = EXPERIMENTS[name]
    rows = {
        (row["deployment"], row["seed"]): row
        for row in read_rows(RUNS)
        if row["experiment"] == name and row["recipe"] == recipe(experiment, row["deployment"])
    }
    found = {
        deployment: [rows[deployment, seed] for seed in experiment.seeds if (deployment, seed) in rows]
        for deployment in DEPLOYMENTS
    }
    return {deployment: runs for deployment, runs in found.items() if runs}


def table(name: str) -> str:
    """Markdown of what is done: per cent, and work per sample."""
    experiment, found = EXPERIMENTS[name], done(name)
    runs = [row for rows in found.values() for row in rows]
    places = sorted({f"{row['machine']}, {row['date']}" for row in runs})
    old, new = experiment.worlds
    lines = [
        f"# {experiment.title}",
        "",
        f"`METABIT_DATA_DIR=... python benchmarks/field.py {name}` on {'; '.join(places)}. Raw: [runs.jsonl](runs.jsonl).",
        "",
        f"![{experiment.title}]({name}.svg)",
        "",
        f"| deployment | seeds | {old}: before | after | {new}: before | after | visited | of all | moved | flipped | samples "
        "| state, bytes | µs a sample |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for deployment, rows in found.items():
        cells = [spread([row[when][world] for row in rows]) for world in (0, 1) for when in ("before", "after")]
        work = ["–"] * 7
        if deployment == OFFLINE:
            cells[0] = cells[2] = "–"
        else:
            mean = {key: float(np.mean([row[key] for row in rows])) for key in MEASURES}
            synapses = 8 * rows[0]["state_bytes"] / rows[0]["recipe"]["options"]["bits"]
            work = [
                f"{mean['visited']:.1f}", f"{100 * mean['visited'] / synapses:.2f} %", f"{mean['moved']:.2f}",
                f"{mean['flipped']:.2f}", f"{rows[0]['samples']:,}", f"{rows[0]['state_bytes']:,}", f"{mean['microseconds']:.0f}",
            ]  # fmt: skip
        seeds = ", ".join(str(row["seed"]) for row in rows)
        lines.append(f"| {' | '.join([deployment, seeds, *cells, *work])} |")
    return "\n".join([*lines, "", *(f"* {sentence}" for sentence in sentences(experiment))]) + "\n"


MEASURES = ("visited", "moved", "flipped", "microseconds")


def sentences(experiment: Experiment) -> list[str]:
    """What was done, from the settings themselves."""
    lab, o, gentle = experiment.lab, experiment.options, experiment.gentle
    return [
        f"In the lab: {lab.hidden} graded units, {lab.planes} planes, {lab.epochs} epochs, m = {lab.m:g}, lr = {lab.lr:g}, "
        f"eps = {lab.eps:g}.",
        f"In the field: {o.bits} bits a synapse, delta = {o.delta:g}, deviations = {o.deviations:g}, gain = {o.gain:g}, "
        f"margin = {o.margin:g}; gentle: deviations = {gentle.deviations:g}, gain = {gentle.gain:g}. Passes over the new world: "
        f"{experiment.passes}.",
    ]


def index() -> str:
    """All tables in one: docs/results/field/README.md."""
    lines = [
        "# From the lab to the field",
        "",
        "A network is trained on the old world, exported, and sees only the new one, a sample at a time, in integers; nobody tells",
        "it which world a sample is from. Per cent of the test samples, ± standard deviation over seeds. Settings were chosen at",
        "seed 100 on training samples held out (`--validate`). Signs exported: the weights alone, every level next to zero. m = 0:",
        "the levels, without metaplasticity; gentle: at the dose that suits it best. Alone: what the same network reaches on the",
        "new world if there is nothing to keep, learning on the device from nothing, and trained offline.",
        "",
        "| | deployment | seeds | old world: before | after | new world: after | visited | moved | flipped |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, experiment in EXPERIMENTS.items():
        title = f"[{experiment.title}]({name}.md)"
        for deployment, rows in done(name).items():
            before, after, learnt = (
                spread([row[when][world] for row in rows])
                for when, world in (("before", 0), ("after", 0), ("after", 1))
            )
            work = ["–"] * 3
            if deployment != OFFLINE:
                work = [f"{np.mean([row[key] for row in rows]):.1f}" for key in MEASURES[:3]]
            if deployment not in HAND_OVER:
                before = after = "–"
            lines.append(f"| {' | '.join([title, deployment, str(len(rows)), before, after, learnt, *work])} |")
            title = ""
    return "\n".join(lines) + "\n"


def write_pages(name: str) -> None:
    experiment = EXPERIMENTS[name]
    after = {deployment: [row["after"] for row in rows] for deployment, rows in done(name).items()}
    plots.final_accuracy(RESULTS / f"{name}.svg", after, experiment.title, list(experiment.worlds))
    write_whole(RESULTS / f"{name}.md", table(name))
    write_whole(RESULTS / "README.md", index())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(EXPERIMENTS))
    parser.add_argument("--seeds", type=int, help="only the first so many, 1 or more", default=None)
    parser.add_argument("--tables", action="store_true", help="run nothing: only write tables and figures anew")
    parser.add_argument("--validate", metavar="JSON", help="try changes at seed 100, on training samples held out")
    parser.add_argument("--only", action="append", choices=DEPLOYMENTS, help="with --validate: these deployments")
    asked = parser.parse_args()
    for name in asked.names:
        if name not in EXPERIMENTS:
            parser.error(f"unknown experiment {name!r}: there are {', '.join(EXPERIMENTS)}")
    if asked.tables:
        asked.names = [name for name in asked.names or EXPERIMENTS if done(name)]
    if not asked.names:
        for name, experiment in EXPERIMENTS.items():
            runs = sum(len(rows) for rows in done(name).values())
            print(f"{name:16s} {runs:2d} of {len(experiment.seeds) * len(DEPLOYMENTS):2d} runs  {experiment.title}")
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in asked.names:
        if asked.validate is not None:
            tried = change(EXPERIMENTS[name], json.loads(asked.validate))
            for deployment in asked.only or DEPLOYMENTS:
                row = run(name, deployment, 100, tried, validate=True)
                told = {key: [round(100 * a, 1) for a in row[key]] for key in ("before", "after")}
                print(deployment, told, {key: round(row[key], 2) for key in MEASURES if key in row}, flush=True)
            continue
        for seed in [] if asked.tables else EXPERIMENTS[name].seeds[: asked.seeds]:
            for deployment in DEPLOYMENTS:
                if seed not in [row["seed"] for row in done(name).get(deployment, [])]:
                    append_row(RUNS, run(name, deployment, seed))
        write_pages(name)
        print(table(name))


if __name__ == "__main__":
    main()
