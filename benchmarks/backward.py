"""What the ternary backward pass costs in accuracy: docs/results/backward/README.md from runs.jsonl.

    METABIT_DATA_DIR=... python benchmarks/backward.py
    METABIT_DATA_DIR=... python benchmarks/backward.py --validate     at seed 100, on training images held out

A network of two hidden layers is trained on one world, exported twice, with all its layers learning, and learns another world on
the host's C runtime, one sample at a time: errors go through its second hidden layer exactly, or as signs drawn. Both see the same
samples from the same start, several times, as what one stream leaves of the old world is a matter of chance. A finished run is a
line in runs.jsonl and is not run again; checkpoints are kept under build/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict, dataclass, replace
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from field import learn, stream, turned
from lab import digest, trained
from numpy.typing import NDArray
from streams import spread

from metabit.data import Task, load
from metabit.data.rows import append_row, read_rows, write_whole
from metabit.export import Options, freeze, write_image
from metabit.runtime import Model
from metabit.train.settings import Defaults, Settings

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results" / "backward"
RUNS = RESULTS / "runs.jsonl"
SEEDS = (0, 1, 2)
STREAMS, SHOWN = 12, 20_000
"""Streams of each network, each of so many images in an order and with draws of its own."""
LAB = Defaults(preset="mlp-512", input="bits", planes=1, epochs=4, m=1.5, evaluate_every=4)
OPTIONS = Options(bits=4, m=6.0)
"""m was chosen with --validate: it keeps some of the old world and learns most of the new one."""
DOSES = (0.002, 0.02)
"""Visits: about 900 synapses a wholly wrong sample, as benchmarks/kernels.py has it, and ten times as many."""
WAYS = ("exact", "ternary")
HELD = 10_000
RULE = digest(
    b"".join((ROOT / "tests" / "vectors" / f"{name}.vec").read_bytes() for name in ("all-4bit", "ternary-4bit"))
)
"""The rule, known by what it does: a run by another rule is another run."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """Two worlds by name."""

    old: str
    new: str


PAIRS = (Pair("MNIST", "MNIST turned by 90°"), Pair("MNIST", "Fashion-MNIST"))


def world(name: str, validate: bool) -> Task:
    """With validate the test is on training images that nothing learns."""
    task = load("fashion" if name == "Fashion-MNIST" else "mnist").task(0)
    task = turned(task) if "turned" in name else task
    if not validate:
        return task
    x, y = task.x_train, task.y_train
    return replace(task, x_train=x[:-HELD], y_train=y[:-HELD], x_test=x[-HELD:], y_test=y[-HELD:])


def recipe(pair: Pair, dose: float, way: str) -> Row:
    """All that decides a run besides its seed, JSON-ready."""
    options = replace(OPTIONS, visits=dose, backward=way)  # type: ignore[arg-type]
    parts = {
        "lab": asdict(LAB),
        "old": pair.old,
        "new": pair.new,
        "options": asdict(options),
        "streams": [STREAMS, SHOWN],
        "rule": RULE,
    }
    found: Row = json.loads(json.dumps(parts))
    return found


def run(pair: Pair, dose: float, way: str, seed: int, validate: bool = False) -> Row:
    old, new = world(pair.old, validate), world(pair.new, validate)
    checkpoint = trained(pair.old, old, Settings.of(LAB, seed=seed))
    before, after, work = [], [], []
    for number in range(STREAMS):
        own = 100 * seed + number
        options = replace(OPTIONS, visits=dose, backward=way, seed=own)  # type: ignore[arg-type]
        model = Model(write_image(freeze(checkpoint, options)))
        for ends in (before, after):
            ends.append([float((model.predict_many(task.x_test) == task.y_test).mean()) for task in (old, new)])
            if ends is before:
                work.append(learn(model, islice(stream(new, 1, own), SHOWN // 1000)))
    row: Row = {"seed": seed, "recipe": recipe(pair, dose, way), "before": before[0], "after": after}
    row |= {key: float(np.mean([one[key] for one in work])) for key in ("visited", "moved", "flipped")}
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return row | {"machine": machine, "date": str(date.today())}


# What is done


def done(pair: Pair, dose: float, way: str) -> list[Row]:
    """Finished runs in the order of the seeds, with today's settings and rule."""
    key = recipe(pair, dose, way)
    rows = {row["seed"]: row for row in read_rows(RUNS) if row["recipe"] == key}
    return [rows[seed] for seed in SEEDS if seed in rows]


def ends(rows: list[Row]) -> NDArray[np.float64]:
    """Per cent after each stream: (seeds, streams, 3) of old, new and their mean."""
    after = 100 * np.array([row["after"] for row in rows])
    return np.concatenate([after, after.mean(2, keepdims=True)], axis=2)


def table(pair: Pair, dose: float) -> list[str]:
    """Two ways and their difference."""
    both = [done(pair, dose, way) for way in WAYS]
    lines = []
    for way, rows in zip(WAYS, both, strict=True):
        before = [spread([row["before"][which] for row in rows]) for which in (0, 1)]
        after = [spread(list(one / 100)) for one in ends(rows).mean(1).T]
        work = [f"{np.mean([row[key] for row in rows]):.1f}" for key in ("visited", "moved", "flipped")]
        cells = [pair.new, f"{dose:g}", way, before[0], after[0], before[1], after[1], after[2], *work]
        lines.append(f"| {' | '.join(cells)} |")
    difference = (ends(both[1]) - ends(both[0])).reshape(-1, 3)
    errors = difference.std(0, ddof=1) / len(difference) ** 0.5
    old, new, mean = (f"{d:+.2f} ± {e:.2f}" for d, e in zip(difference.mean(0), errors, strict=True))
    return [*lines, f"| | | *ternary − exact* | | {old} | | {new} | {mean} | | | |"]


def page() -> str:
    """docs/results/backward/README.md"""
    cells = [(pair, dose) for pair in PAIRS for dose in DOSES]
    rows = [row for pair, dose in cells for way in WAYS for row in done(pair, dose, way)]
    places = sorted({f"{row['machine']}, {row['date']}" for row in rows})
    seeds = ", ".join(map(str, SEEDS))
    lines = [
        "# Exact or ternary backward pass",
        "",
        f"`METABIT_DATA_DIR=... python benchmarks/backward.py` on {'; '.join(places)}. Raw: [runs.jsonl](runs.jsonl).",
        "",
        f"784-512-512-10 at {OPTIONS.bits} bits a synapse, all layers learning with m = {OPTIONS.m:g}; trained on MNIST's pixels "
        f"as bits, {LAB.epochs} epochs",
        f"with m = {LAB.m:g}, seeds {seeds}. Then {SHOWN:,} training images of the new world, one at a time, on the C runtime: "
        f"{STREAMS} such",
        "streams of each network, each in an order and with draws of its own. Test accuracy in per cent: mean over the streams,",
        f"± standard deviation over the networks. The differences, in points, are of the {len(SEEDS) * STREAMS} runs from the same "
        "network on",
        "the same stream: mean ± standard error over streams, given these networks.",
        "",
        "| new world | visits | backward | MNIST: before | after | new: before | after | mean after | visited | moved | flipped |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(line for pair, dose in cells for line in table(pair, dose)),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="run nothing: only write the page anew")
    parser.add_argument("--validate", action="store_true", help="print seed 100 on training images held out")
    asked = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for seed in () if asked.tables else (100,) if asked.validate else SEEDS:
        for pair in PAIRS:
            for dose in DOSES:
                for way in WAYS:
                    if asked.validate or seed not in [row["seed"] for row in done(pair, dose, way)]:
                        row = run(pair, dose, way, seed, asked.validate)
                        print(
                            pair.new, dose, way, seed, ends([row]).mean(1).round(2), f"{row['visited']:.0f}", flush=True
                        )
                        if not asked.validate:
                            append_row(RUNS, row)
    if not asked.validate:
        write_whole(RESULTS / "README.md", page())
        print(page())


if __name__ == "__main__":
    main()
