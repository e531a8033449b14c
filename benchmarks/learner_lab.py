"""Accuracy before deployment on the ten development sets: rows in results/learner_lab.jsonl, a table on the screen.

    METABIT_DATA_DIR=... python benchmarks/learner_lab.py

The default training with 64 gates beside logistic regression and a perceptron of 64 units (scikit-learn, standardised,
C and learning rate chosen on a part of the training part). Three splits a set; the split's number is the seed. A row
that is there with today's settings is not run again. `--validate` trains on 80 % of the training part and tests on the
rest: settings are chosen by it, never by the test part.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch

from metabit.data.rows import append_row, read_rows
from metabit.experiments.development_sets import DATA_SETS, DataSet, data_set, split_rows
from metabit.experiments.rivals import Logistic, Perceptron
from metabit.train.recipe import fit_recipe

RESULTS = Path(__file__).parents[1] / "results" / "learner_lab.jsonl"
SPLITS = (0, 1, 2)
UNITS = 64
Row = dict[str, Any]


def gates(data: DataSet, seed: int) -> tuple[float, Row]:
    trained = fit_recipe(data.x, data.y, classes=data.classes, units=UNITS, seed=seed)
    about = {"bits": trained.encoder.bits, "kind": trained.encoder.kind, "steps": len(trained.losses)}
    clipped = float(trained.encoder.clipped(data.x_test).sum() / data.x_test.size)
    return accuracy(trained.predict(data.x_test), data), about | {"clipped": round(clipped, 5)}


def rival(kind: type[Logistic] | type[Perceptron]) -> Callable[[DataSet, int], tuple[float, Row]]:
    def run(data: DataSet, seed: int) -> tuple[float, Row]:
        model = kind(data.x.shape[1], data.classes, seed)
        model.fit(data.x, data.y)
        return accuracy(model.predict(data.x_test), data), {"setting": model.setting, "bytes": model.bytes()}

    return run


LEARNERS: dict[str, Callable[[DataSet, int], tuple[float, Row]]] = {
    "64 gates": gates,
    "logistic regression": rival(Logistic),
    "perceptron 64": rival(Perceptron),
}


def accuracy(labels: Any, data: DataSet) -> float:
    return round(100 * float((labels == data.y_test).mean()), 3)


def validation(data: DataSet, split: int) -> DataSet:
    """The training part alone: 80 % of it to learn, the rest as the test."""
    part = split_rows(data.y, 0.2, np.random.default_rng([split, 7]))
    return replace(data, x=data.x[~part], y=data.y[~part], x_test=data.x[part], y_test=data.y[part])


def measure(name: str, split: int, learner: str, validate: bool) -> Row:
    data = data_set(name, split)
    data = validation(data, split) if validate else data
    start = time.perf_counter()
    found, about = LEARNERS[learner](data, split)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, 1 thread"
    versions = {"numpy": np.__version__, "scikit-learn": sklearn.__version__, "torch": torch.__version__}
    return {"set": name, "split": split, "learner": learner, "accuracy": found, "samples": len(data.y_test)} | {
        **about, "seconds": round(time.perf_counter() - start, 2), "machine": machine, "versions": versions,
        "date": str(date.today()),
    }  # fmt: skip


def table(rows: list[Row]) -> str:
    """Mean of the splits for each set; in the last column, by how much the gates lie under the better rival."""
    lines = ["| set | " + " | ".join(LEARNERS) + " | under the better |", "|---" * (len(LEARNERS) + 2) + "|"]
    means: dict[str, list[float]] = {learner: [] for learner in LEARNERS}
    for name in DATA_SETS:
        found = {k: [r["accuracy"] for r in rows if r["set"] == name and r["learner"] == k] for k in LEARNERS}
        if not all(found.values()):
            continue
        for learner, values in found.items():
            means[learner].append(float(np.mean(values)))
        last = {learner: values[-1] for learner, values in means.items()}
        ours, *others = last.values()
        samples = next(row["samples"] for row in rows if row["set"] == name)
        under = f"{max(others) - ours:.1f} points, {(max(others) - ours) * samples / 100:.1f} samples of {samples}"
        lines.append(f"| {name} | " + " | ".join(f"{v:.1f}" for v in last.values()) + f" | {under} |")
    lines.append("| **mean** | " + " | ".join(f"{np.mean(v):.2f}" for v in means.values() if v) + " | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--learner", choices=LEARNERS, action="append")
    parser.add_argument("--set", choices=DATA_SETS, action="append")
    parser.add_argument("--rows", type=Path, default=RESULTS, help="where the rows are, and go")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = read_rows(options.rows)
    done = {(row["set"], row["split"], row["learner"]) for row in rows}
    for name in options.set or DATA_SETS:
        for split in SPLITS:
            for learner in options.learner or LEARNERS:
                if (name, split, learner) not in done:
                    row = measure(name, split, learner, options.validate)
                    append_row(options.rows, row)
                    rows.append(row)
                    print(f"{name} {split} {learner}: {row['accuracy']} in {row['seconds']} s", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
