"""Accuracy before deployment on ten development sets: docs/results/learner/README.md from results/learner.jsonl.

    METABIT_DATA_DIR=... python benchmarks/learner.py lab

The training of `metabit.train.recipe` with 64 gates beside logistic regression and a perceptron of 64 units (scikit-learn, on
standardised features, C and learning rate chosen on a part of the training part). All see the numbers as they are in the dataset.
The seed is that of the split and of the training.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from metabit.data.encoder import MAX_PLANES
from metabit.experiments import results
from metabit.experiments.development_sets import DATA_SETS, DataSet, data_set, split_rows
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.experiments.rivals import Logistic, Perceptron
from metabit.train import recipe

PAGE = "docs/results/learner/README.md"
SEEDS = (0, 1, 2)
UNITS = 64
GATES, LOGISTIC, PERCEPTRON = "64 gates", "logistic regression", "perceptron 64"
SETTINGS: dict[str, dict[str, Any]] = {
    GATES: {
        "units": UNITS, "rate": recipe.RATE, "smoothing": recipe.SMOOTHING, "noise": recipe.NOISE,
        "steps": recipe.STEPS, "passes": recipe.PASSES, "batch": recipe.BATCH, "most planes": MAX_PLANES,
    },
    LOGISTIC: {"C": list(Logistic.settings)},
    PERCEPTRON: {"rate": list(Perceptron.settings), "passes": 300},
}  # fmt: skip
"""Learner -> everything that decides its row beside dataset and seed."""


def cells(name: str) -> dict[str, list[Cell]]:
    return {
        f"{learner}, {data}": [
            {"experiment": name, "learner": learner, "set": data, "seed": seed, "settings": settings} for seed in SEEDS
        ]
        for data in DATA_SETS
        for learner, settings in SETTINGS.items()
    }


def measure(asked: Cell) -> Row:
    return accuracy(asked["learner"], data_set(asked["set"], asked["seed"]), asked["seed"])


def accuracy(learner: str, data: DataSet, seed: int) -> Row:
    """Trains one learner on one dataset and tests it; accuracy in per cent."""
    start = time.perf_counter()
    if learner == GATES:
        trained = recipe.fit_recipe(data.x, data.y, classes=data.classes, units=UNITS, seed=seed)
        clipped = float(trained.encoder.clipped(data.x_test).sum() / data.x_test.size)
        about: Row = {"bits": trained.encoder.bits, "kind": trained.encoder.kind, "steps": len(trained.losses)}
        labels, about["clipped"] = trained.predict(data.x_test), round(clipped, 5)
    else:
        model = {LOGISTIC: Logistic, PERCEPTRON: Perceptron}[learner](data.x.shape[1], data.classes, seed)
        model.fit(data.x, data.y)
        labels, about = model.predict(data.x_test), {"setting": model.setting, "bytes": model.bytes()}
    right = round(100 * float((labels == data.y_test).mean()), 3)
    took = round(time.perf_counter() - start, 2)
    versions = results.provenance("numpy", "scikit-learn", "torch")
    return {"accuracy": right, "samples": len(data.y_test), "seconds": took, **about, **versions}


def validate(_: str, variant: str, changes: Cell) -> Row:
    """Trains on 80 % of a training part and tests on the rest. `changes` are constants of metabit.train.recipe."""
    learner, name = variant.rsplit(", ", 1)
    for constant, value in changes.items():
        setattr(recipe, constant, value)
    found = []
    for seed in SEEDS:
        data = data_set(name, seed)
        part = split_rows(data.y, 0.2, np.random.default_rng([seed, 7]))
        held = replace(data, x=data.x[~part], y=data.y[~part], x_test=data.x[part], y_test=data.y[part])
        found.append(accuracy(learner, held, seed)["accuracy"])
    return {"accuracy": found}


def table(name: str) -> str:
    done, rows, all_means = BENCHMARK.done(name), [], []
    for data in DATA_SETS:
        ours, *others = (results.means(done[f"{learner}, {data}"], "accuracy")[0] for learner in SETTINGS)
        samples = done[f"{GATES}, {data}"][0]["samples"]
        under = max(others) - ours
        lead = f"{under:.1f} points, {under * samples / 100:.1f} of {samples} samples" if under > 0 else "above"
        rows.append([data, *(f"{value:.1f}" for value in (ours, *others)), lead])
        all_means.append((ours, *others))
    rows.append(["**mean**", *(f"**{value:.2f}**" for value in np.mean(all_means, axis=0)), ""])
    found = BENCHMARK.rows(name)
    about = (
        f"{BENCHMARK.command(name)} on {results.places(found)}, scikit-learn {found[0]['scikit-learn']}. Test accuracy in "
        f"per cent, mean of {len(SEEDS)} splits. Settings were chosen on parts of the training parts. No command of metabit makes "
        f"this network yet. {BENCHMARK.raw(PAGE)}"
    )
    head = ["dataset", *SETTINGS, "under the better"]
    return results.page(BENCHMARK.titles[name], about, results.markdown(head, rows), level=2)


def pages() -> dict[str, str]:
    return BENCHMARK.sections(PAGE, "# A network for features of any scale\n", table)


BENCHMARK = Benchmark(
    __file__, {"lab": "Accuracy before deployment on ten datasets"}, cells, pages, measure, validate=validate
)  # fmt: skip

if __name__ == "__main__":
    results.main(BENCHMARK)
