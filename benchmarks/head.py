"""A head that learns on frozen features: docs/results/head/{README.md,cifar10.svg} from runs.jsonl.

    METABIT_DATA_DIR=... python benchmarks/head.py

A convolutional network is trained on half of CIFAR-10 (metabit.train) and exported. Its convolutions stay as they are, at one bit
a synapse; a head that has learnt nothing takes the place of the rest (metabit.export.fresh_head) and sees the other half, once, a
sample at a time, by the C runtime. A finished run is a line in runs.jsonl and is not run again; checkpoints are kept under build/.
`--validate` is what settings are chosen by: seed 100, tests on 5,000 training images that nothing learns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from field import learn, stream
from lab import RULE, trained
from numpy.typing import NDArray
from streams import spread

from metabit.data import Task
from metabit.data import image_sets as datasets
from metabit.data.rows import append_row, read_rows, write_whole
from metabit.experiments import plots
from metabit.export import HEAD, FreshOptions, freeze, fresh_head, write_image
from metabit.runtime import Model
from metabit.train.settings import Defaults, Settings

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "head"
RUNS = RESULTS / "runs.jsonl"
TITLE = "CIFAR-10: a head that learns on frozen features"
SEEDS = (0, 1, 2)
LAB = Defaults(preset="conv-cifar", epochs=6, batch=64, lr=1e-3, weight_decay=0.0, evaluate_every=6)
TRAINED = "as trained, without a head"
Row = dict[str, Any]


@dataclass(frozen=True)
class Head:
    """What learns above the features."""

    hidden: int
    options: FreshOptions


HEADS = {
    "64 units, 4 bits": Head(64, HEAD),
    "32 units, 4 bits": Head(32, HEAD),
}


def worlds(validate: bool) -> tuple[Task, Task]:
    """The half of the training images that training sees and the half that the device sees, with the same tests."""
    images = datasets.load("cifar10")
    x, y, x_test, y_test = images.x_train, images.y_train, images.x_test, images.y_test
    order = np.random.default_rng(0).permutation(len(x))
    halves = np.array_split(order[: -len(order) // 10] if validate else order, 2)
    if validate:
        x_test, y_test = x[order[-len(order) // 10 :]], y[order[-len(order) // 10 :]]

    def flat(a: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return a.reshape(len(a), -1)

    lab, field = (Task("cifar10", flat(x[half]), y[half], flat(x_test), y_test, x.shape[1:]) for half in halves)
    return lab, field


def recipe(name: str) -> Row:
    """All that decides a run besides its seed, JSON-ready."""
    head = HEADS.get(name)
    found: Row = json.loads(json.dumps({"lab": asdict(LAB), "head": asdict(head) | {"rule": RULE} if head else None}))
    return found


def run(name: str, seed: int, validate: bool = False, changes: Row | None = None) -> Row:
    lab, field = worlds(validate)
    frozen = freeze(trained("half of cifar10", lab, Settings.of(LAB, seed=seed)))
    row: Row = {"name": name, "seed": seed, "recipe": recipe(name)}
    if name in HEADS:
        head = HEADS[name]
        frozen = fresh_head(frozen, head.hidden, None, replace(head.options, seed=seed, **(changes or {})))
    model = Model(write_image(frozen))
    if name in HEADS:
        row |= learn(model, stream(field, 1, seed))
        row |= {"state_bytes": model.state_size, "arena_bytes": model.arena_size(), "image_bytes": model.image_size}
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    accuracy = float((model.predict_many(field.x_test) == field.y_test).mean())
    return row | {"accuracy": accuracy, "machine": machine, "date": str(date.today())}


# What is done


def done() -> dict[str, list[Row]]:
    """Name -> its finished runs in the order of the seeds, with today's settings; without one it is left out."""
    rows = {(row["name"], row["seed"]): row for row in read_rows(RUNS) if row["recipe"] == recipe(row["name"])}
    found = {name: [rows[name, seed] for seed in SEEDS if (name, seed) in rows] for name in (TRAINED, *HEADS)}
    return {name: runs for name, runs in found.items() if runs}


def table(found: dict[str, list[Row]]) -> str:
    """The page."""
    places = sorted({f"{row['machine']}, {row['date']}" for rows in found.values() for row in rows})
    lines = [
        f"# {TITLE}",
        "",
        f"`METABIT_DATA_DIR=... python benchmarks/head.py` on {'; '.join(places)}. Raw: [runs.jsonl](runs.jsonl).",
        "",
        f"The features: `{LAB.preset}` trained on 25,000 images, {LAB.epochs} epochs, in binary; frozen on the device. The head "
        "starts from nothing and sees the other 25,000 images once, one at a time. Per cent of the 10,000 test images, ± standard "
        "deviation over seeds.",
        "",
        "![Accuracy](cifar10.svg)",
        "",
        "| head | seeds | accuracy | visited | moved | flipped | state, bytes | scratch, bytes | image, bytes | µs a sample |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in found.items():
        cells = ["–"] * 7
        if name in HEADS:
            work = [f"{np.mean([row[key] for row in rows]):.1f}" for key in ("visited", "moved", "flipped")]
            sizes = [f"{rows[0][key]:,}" for key in ("state_bytes", "arena_bytes", "image_bytes")]
            cells = [*work, *sizes, f"{np.mean([row['microseconds'] for row in rows]):.0f}"]
        seeds = ", ".join(str(row["seed"]) for row in rows)
        lines.append(f"| {' | '.join([name, seeds, spread([row['accuracy'] for row in rows]), *cells])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="run nothing: only write the page anew")
    parser.add_argument("--validate", metavar="JSON", help="try changes to the options at seed 100, on images held out")
    asked = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    if asked.validate is not None:
        for name in (TRAINED, *HEADS):
            row = run(name, 100, True, json.loads(asked.validate))
            print(
                f"{name}: {100 * row['accuracy']:.2f}", {k: round(row[k], 2) for k in ("moved", "visited") if k in row}
            )
        return
    for name in () if asked.tables else (TRAINED, *HEADS):
        for seed in SEEDS:
            if seed not in [row["seed"] for row in done().get(name, [])]:
                append_row(RUNS, run(name, seed))
    if found := done():
        plots.final_accuracy(
            RESULTS / "cifar10.svg",
            {name: [[row["accuracy"]] for row in rows] for name, rows in found.items()},
            TITLE,
            ["CIFAR-10"],
        )
        write_whole(RESULTS / "README.md", table(found))
        print(table(found))


if __name__ == "__main__":
    main()
