"""The default network and its head: docs/results/learner/README.md from results/learner.jsonl.

    METABIT_DATA_DIR=... python benchmarks/learner.py lab

lab: the training of `metabit.train.recipe` with 64 gates beside logistic regression and a perceptron of 64 units (scikit-learn, on
standardised features, C and learning rate chosen on a part of the training part). The other experiments are the streams of
`metabit.experiments.learner_streams`, which says what each of them is. All learners see the numbers as they are in the dataset.
The seed is that of the split, of the training and of the order.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.encoder import MAX_PLANES
from metabit.experiments import learner_streams, results
from metabit.experiments.development_problems import PROBLEMS
from metabit.experiments.development_sets import DATA_SETS, DataSet, data_set, split_rows
from metabit.experiments.learner_streams import RIVALS, Device, Rival
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


TWO_ROWS: dict[str, Any] = {"rows_per_class": 2, "far": 5, "doubt_limit": 4, "memory": 1023}
HEADS: dict[str, dict[str, Any]] = {
    "32 gates": {"units": 32},
    "64 gates": {"units": 64},
    "32 gates, two rows": {"units": 32, **TWO_ROWS},
    "64 gates, two rows": {"units": 64, **TWO_ROWS},
    "32 gates, not learning": {"units": 32, "learner": "none"},
    "64 gates, not learning": {"units": 64, "learner": "none"},
}
"""Learner -> arguments of `learner_streams.Device`."""
SWEEPS: dict[str, dict[str, Any]] = {
    f"{units} gates, a sweep in {n} steps": {"units": units, "sweep_every": n} for units in (32, 64) for n in (2, 4)
}
"""As HEADS, in place only."""
WIDE = tuple(learner for learner in HEADS if learner.startswith("64"))
ORDERS = ("shuffled", "sorted")
CLASS_PROBLEMS = ("wisdm", "watch", "digits", "usps-mnist")
PICTURE_UNITS = (64, 96, 128, 256)


def cells(name: str) -> dict[str, list[Cell]]:
    if name == "lab":
        return {
            f"{learner}, {data}": [
                {"experiment": name, "learner": learner, "set": data, "seed": seed, "settings": settings}
                for seed in SEEDS
            ]
            for data in DATA_SETS
            for learner, settings in SETTINGS.items()
        }
    if name == "pictures":
        return {f"784-{n}": [{"experiment": name, "units": n, "seed": seed} for seed in SEEDS] for n in PICTURE_UNITS}

    def planned(learner: str, **settings: Any) -> list[Cell]:
        device = {"device": (HEADS | SWEEPS)[learner]} if learner in HEADS | SWEEPS else {}
        return [{"experiment": name, "learner": learner, "seed": seed, **device, **settings} for seed in SEEDS]

    if name == "unrelated":
        return {learner: planned(learner) for learner in (*WIDE, *RIVALS)}
    problems, learners = (PROBLEMS, (*HEADS, *SWEEPS)) if name == "in-place" else (CLASS_PROBLEMS, (*HEADS,))
    return {f"{one}, {data}": planned(one, problem=data) for data in problems for one in (*learners, *RIVALS)}


def measure(asked: Cell) -> Row:
    name, seed = asked["experiment"], asked["seed"]
    if name == "lab":
        return accuracy(asked["learner"], data_set(asked["set"], seed), seed)
    start = time.perf_counter()
    if name == "pictures":
        found = learner_streams.picture_network(asked["units"], seed)
    else:
        shared = {"shared": True} if name == "unrelated" else {}
        device = asked.get("device")
        learner = Rival(asked["learner"]) if device is None else Device(**device, **shared)
        if name == "unrelated":
            found = learner_streams.unrelated(learner, seed)
        else:
            stream = learner_streams.in_place if name == "in-place" else learner_streams.new_class
            found = stream(learner, asked["problem"], seed)
    took = round(time.perf_counter() - start, 2)
    return {**found, "seconds": took, **results.provenance("numpy", "torch")}


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
    """Section of the page."""
    text = {"lab": lab, "in-place": in_place, "new-class": new_class, "unrelated": unrelated, "pictures": pictures}
    about, *lines = text[name]()
    about = f"{BENCHMARK.command(name)} on {results.places(BENCHMARK.rows(name))}. {about} {BENCHMARK.raw(PAGE)}"
    return results.page(BENCHMARK.titles[name], about, lines, level=2)


def lab() -> list[str]:
    """The lines of a table; the first says what it shows. The functions below are alike."""
    done, rows, all_means = BENCHMARK.done("lab"), [], []
    for data in DATA_SETS:
        ours, *others = (results.means(done[f"{learner}, {data}"], "accuracy")[0] for learner in SETTINGS)
        samples = done[f"{GATES}, {data}"][0]["samples"]
        rows.append([data, *(f"{value:.1f}" for value in (ours, *others)), behind(ours, max(others), samples)])
        all_means.append((ours, *others))
    rows.append(["**mean**", *(f"**{value:.2f}**" for value in np.mean(all_means, axis=0)), ""])
    version = BENCHMARK.rows("lab")[0]["scikit-learn"]
    about = (
        f"scikit-learn {version}. Test accuracy in per cent, mean of {len(SEEDS)} splits. Settings were chosen on parts of the "
        "training parts."
    )
    return [about, *results.markdown(["dataset", *SETTINGS, "under the better"], rows)]


def behind(ours: float, best: float, samples: int) -> str:
    """How far ours lies below the best, in points and in test samples."""
    under = best - ours
    return f"{under:.1f} points, {under * samples / 100:.1f} of {samples} samples" if under > 0 else "above"


def in_place() -> list[str]:
    done, rows = BENCHMARK.done("in-place"), []
    for learner in (*HEADS, *SWEEPS, *RIVALS):
        found = [row for data in PROBLEMS for row in done.get(f"{learner}, {data}", [])]
        if len(found) == len(PROBLEMS) * len(SEEDS):
            size = done[f"{learner}, wisdm"][0]["bytes"]
            noisy, first = results.means(found, "wrong labels")[0], mean(found, "before")[0]
            two = mean(found, "two classes")
            figures = [pair(found, stream) for stream in ("before", "shuffled", "sorted")]
            rows.append(
                [learner, *figures, f"{noisy:.1f}, falls {first - noisy:.1f}", f"{two[0]:.1f}, {two[1]:.1f}", size]
            )
    seeds = ", ".join(map(str, SEEDS))
    about = (
        f"Seven problems, mean of seeds {seeds}: old/new test accuracy in per cent before deployment and at the end of the stream, "
        "shuffled and sorted by class. Wrong labels: old after the shuffled stream, each label with probability 1/2 another one. "
        "Two classes: old after 20,000 samples of two classes only, then after all of them once. Bytes of what learning changes, "
        f"six classes. Two rows: {spelt(TWO_ROWS)}."
    )
    head = ["learner", "before", "shuffled", "sorted", "wrong labels", "two classes, then all", "bytes"]
    return [about, *results.markdown(head, rows), "", *by_problem(done)]


def by_problem(done: dict[str, list[Row]]) -> list[str]:
    """Lines of the table of each problem: shuffled · sorted, and how far the heads lie below SLDA and softmax."""
    learners, rows = ("32 gates", "64 gates", "SLDA", "softmax SGD"), []
    for data in PROBLEMS:
        found = {learner: done.get(f"{learner}, {data}", []) for learner in learners}
        if all(len(some) == len(SEEDS) for some in found.values()):
            cell = {learner: " · ".join(pair(some, o) for o in ORDERS) for learner, some in found.items()}
            both = {learner: [mean(some, o).mean() for o in ORDERS] for learner, some in found.items()}
            best, samples = np.maximum(both["SLDA"], both["softmax SGD"]), found["SLDA"][0]["old samples"]
            lead = " · ".join(behind(*values, samples) for values in zip(both["32 gates"], best, strict=True))
            rows.append([data, *cell.values(), lead])
    return results.markdown(["problem, shuffled · sorted", *learners, "32 gates under the better"], rows)


def new_class() -> list[str]:
    done, rows = BENCHMARK.done("new-class"), []
    for learner in (*HEADS, *RIVALS):
        found = [row for data in CLASS_PROBLEMS for row in done.get(f"{learner}, {data}", [])]
        if len(found) == len(CLASS_PROBLEMS) * len(SEEDS):
            rows.append([learner, pair(found, "mixed"), pair(found, "alone"), done[f"{learner}, wisdm"][0]["bytes"]])
    problems, seeds = ", ".join(CLASS_PROBLEMS), ", ".join(map(str, SEEDS))
    about = (
        f"Problems {problems}, two classes of each, drawn by the seed, seeds {seeds}: mean of 24 runs. Half of the old training "
        "part without the class is known before deployment. Mixed: the other half, with the class, shuffled, is the stream. Alone: "
        f"at most {learner_streams.ALONE} samples of the class are the stream. Test accuracy in per cent of all other "
        "classes/of the class."
    )
    return [about, *results.markdown(["learner", "mixed", "alone", "bytes"], rows)]


def unrelated() -> list[str]:
    done = BENCHMARK.done("unrelated")
    rows = [
        [learner, *(pair(found, order) for order in ORDERS), len(found), found[0]["bytes"]]
        for learner, found in done.items()
    ]
    about = (
        "60,000 MNIST images before deployment, one threshold for all pixels, then 10,000 images of Fashion-MNIST in the same ten "
        f"classes: test accuracy MNIST/Fashion-MNIST in per cent. Two rows: {spelt(TWO_ROWS)}."
    )
    return [about, *results.markdown(["learner", *ORDERS, "seeds", "bytes"], rows)]


def pictures() -> list[str]:
    rows = [
        [f"{network} gates", results.spread([row["accuracy"] for row in found], 2, 1), len(found), found[0]["bytes"]]
        for network, found in BENCHMARK.done("pictures").items()
    ]
    about = (
        "60,000 training images, one threshold for all pixels, output levels of 5 bits: test accuracy in per cent and bytes of the "
        "image, encoder included."
    )
    return [about, *results.markdown(["network", "accuracy", "seeds", "bytes of constants"], rows)]


def spelt(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def mean(rows: Sequence[Row], stream: str) -> NDArray[np.float64]:
    """(2,), old and new, over rows and, where a row has several, over their classes."""
    found: NDArray[np.float64] = np.array([row[stream] for row in rows]).reshape(-1, 2).mean(0)
    return found


def pair(rows: Sequence[Row], stream: str) -> str:
    return "{:.1f}/{:.1f}".format(*mean(rows, stream))


def pages() -> dict[str, str]:
    return BENCHMARK.sections(PAGE, "# The default network and its head\n", table)


TITLES = {
    "lab": "Accuracy before deployment on ten datasets",
    "in-place": "Learning in place on seven problems",
    "new-class": "A class that was unknown before deployment",
    "unrelated": "MNIST, then Fashion-MNIST under the same labels",
    "pictures": "MNIST by networks that only predict",
}
BENCHMARK = Benchmark(__file__, TITLES, cells, pages, measure, validate=validate)

if __name__ == "__main__":
    results.main(BENCHMARK)
