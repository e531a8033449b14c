"""Networks that learn from nothing: docs/results/learner/fresh.md from results/fresh.jsonl.

    METABIT_DATA_DIR=... python benchmarks/fresh.py stream

`metabit fresh` beside float learners that also begin with nothing: they standardise the features by the same 64 unlabelled
samples and learn the training part once, a sample at a time. The model is the device's: its image in the C library.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data import download
from metabit.data.errors import DataError
from metabit.experiments import results, stream
from metabit.experiments.development_sets import DataSet, data_set, split_rows
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.experiments.rivals import SLDA, Learner, Majority, NearestMean, Softmax
from metabit.export import fresh, sample_of_ranges, write_image
from metabit.runtime import Model

PAGE = "docs/results/learner/fresh.md"
SETS = ("wine", "iris", "cancer", "blobs8", "digits", "wisdm", "watch")
ORDERS = ("shuffled", "sorted")
SEEDS = (0, 1, 2)
COUNTS = (25, 50, 100, 300)
FILES = ("good", "mixed_ranges", "bitmaps_float")
SAMPLE = 64
RATES = {"softmax 0.01": 0.01, "softmax 0.0003": 0.0003}
"""Rates of softmax regression: the `rivals.RATES` best on the shuffled and on the sorted streams of splits 10, 11 and 12."""
OURS: dict[str, dict[str, Any]] = {
    "64 units": {"units": 64, "sample": SAMPLE},
    "128 units": {"units": 128, "sample": SAMPLE},
    "64 units, from ranges": {"units": 64, "ranges": "least and greatest value of the training part"},
}
RIVALS: dict[str, dict[str, Any]] = {
    "SLDA": {"sample": SAMPLE, "shrinkage": 0.01},
    **{name: {"sample": SAMPLE, "rate": rate} for name, rate in RATES.items()},
    "nearest mean": {"sample": SAMPLE},
    "majority": {},
    "none": {},
}
ALL = OURS | RIVALS


class Fresh:
    """`metabit fresh` in the C library, with the interface of `rivals.Learner`."""

    def __init__(self, data: DataSet, units: int, seed: int, sample: NDArray[Any] | None) -> None:
        if sample is None:
            ends = np.stack([data.x.min(0), data.x.max(0)], axis=1)
            ends[:, 1] += ends[:, 0] == ends[:, 1]  # a constant feature: a user states some range
            sample = sample_of_ranges(ends, seed)
        self.model = Model(write_image(fresh(sample, data.classes, units=units, seed=seed)))

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self.model.predict_many(x.astype(np.float32)))

    def stream(self, x: NDArray[Any], y: NDArray[np.int64]) -> NDArray[Any]:
        """Learns all samples in order; returns the prediction before each."""
        return np.asarray(self.model.learn_many(x.astype(np.float32), y).predicted)

    def bytes(self) -> int:
        return self.model.state_size


class Float:
    """A rival: without a training part it knows how features are standardised, and nothing else."""

    def __init__(self, name: str, data: DataSet, sample: NDArray[Any]) -> None:
        sizes = data.x.shape[1], data.classes
        self.learns = name != "none"
        self.rival: Learner
        if name in RATES:
            self.rival = Softmax(*sizes, RATES[name])
        else:
            self.rival = {"SLDA": SLDA, "nearest mean": NearestMean}.get(name, Majority)(*sizes)
        if isinstance(self.rival, SLDA | Softmax | NearestMean):
            self.rival.scale(sample)

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        return self.rival.predict(x)

    def stream(self, x: NDArray[Any], y: NDArray[np.int64]) -> NDArray[Any]:
        told = np.zeros(len(y), np.int64)
        for i, label in enumerate(y.tolist()):
            told[i] = self.rival.predict(x[i : i + 1])[0]
            if self.learns:
                self.rival.learn(x[i], label)
        return told

    def bytes(self) -> int:
        return self.rival.bytes() if self.learns else 0


def cells(name: str) -> dict[str, list[Cell]]:
    if name == "stream":
        return {
            f"{learner}, {order}, {data}": [
                {"experiment": name, "learner": learner, "set": data, "order": order, "seed": seed, "settings": ALL[learner]}
                for seed in SEEDS
            ]
            for learner in ALL
            for order in ORDERS
            for data in SETS
        }  # fmt: skip
    if name == "first":
        return {
            f"{learner}, {count}": [
                {"experiment": name, "learner": learner, "set": "digits", "count": count, "seed": seed, "settings": ALL[learner]}
                for seed in range(4)
            ]
            for learner in ("64 units", "128 units", "SLDA", *RATES, "nearest mean")
            for count in COUNTS
        }  # fmt: skip
    return {
        f"64 units, {file}": [
            {"experiment": name, "learner": "64 units", "set": file, "seed": seed, "passes": 2, "settings": ALL["64 units"]}
            for seed in range(10)
        ]
        for file in FILES
    }  # fmt: skip


def measure(asked: Cell) -> Row:
    seed = asked["seed"]
    data = own_file(asked["set"], seed) if asked["experiment"] == "files" else data_set(asked["set"], seed)
    return learnt(
        asked["learner"], data, seed, asked.get("order", "shuffled"), asked.get("count"), asked.get("passes", 1)
    )


def own_file(name: str, seed: int) -> DataSet:
    """A file of a user, in the folder "inputs" beside the data: 20 % of every class are for the test."""
    path = Path(os.environ.get(download.DIRECTORY, "")) / ".." / "inputs" / f"{name}.npz"
    if not path.is_file():
        raise DataError(f"{path} is missing: it is one of the files that failed once, ask the authors for it")
    with np.load(path) as file:
        x, y = file["x"], file["y"].astype(np.int64)
    test = split_rows(y, 0.2, np.random.default_rng(seed))
    return DataSet(name, x[~test], y[~test], x[test], y[test], int(y.max()) + 1)


def learnt(name: str, data: DataSet, seed: int, order: str, count: int | None = None, passes: int = 1) -> Row:
    """Lets one learner see a stream from nothing; accuracies in per cent."""
    rng = np.random.default_rng([seed, 3])
    sample = data.x[rng.permutation(len(data.x))[:SAMPLE]]
    rows = rng.permutation(len(data.x))
    if order == "sorted":
        rows = rows[stream.by_class(data.y[rows], data.classes, rng)]
    rows = np.concatenate([rows, *(rng.permutation(rows) for _ in range(passes - 1))])[:count]
    start = time.perf_counter()
    settings = OURS.get(name)
    learner = (
        Fresh(data, settings["units"], seed, sample if "sample" in settings else None)
        if settings
        else Float(name, data, sample)
    )
    told = learner.stream(data.x[rows], data.y[rows])
    right = 100 * stream.accuracy(learner.predict, data.x_test, data.y_test)
    return {
        "accuracy": round(right, 3), "prequential": round(100 * float((told == data.y[rows]).mean()), 3), "bytes": learner.bytes(),
        "learnt": len(rows), "samples": len(data.y_test), "seconds": round(time.perf_counter() - start, 2),
        **results.provenance("numpy"),
    }  # fmt: skip


def validate(name: str, variant: str, changes: Cell) -> Row:
    """A stream of the training part of splits that the pages do not use. `changes` are constants of this file."""
    globals().update(changes)
    found = [measure(cell | {"seed": 10 + cell["seed"]}) for cell in cells(name)[variant]]
    return {figure: [row[figure] for row in found] for figure in ("accuracy", "prequential")}


def table(name: str) -> str:
    done, found = BENCHMARK.done(name), BENCHMARK.rows(name)
    head, rows, notes = TABLES[name](done)
    about = f"{BENCHMARK.command(name)} on {results.places(found)}. {ABOUT[name]} {BENCHMARK.raw(PAGE)}"
    return results.page(BENCHMARK.titles[name], about, results.markdown(head, rows), notes, level=2)


def stream_table(done: dict[str, list[Row]]) -> tuple[list[str], list[list[str]], list[str]]:
    def mean(learner: str, order: str, figure: str) -> list[float]:
        return [results.means(done[f"{learner}, {order}, {data}"], figure)[0] for data in SETS]

    rows = []
    for learner in ALL:
        found = [mean(learner, order, "accuracy") for order in ORDERS]
        by_set = [f"{a:.1f} · {b:.1f}" for a, b in zip(*found, strict=True)]
        size = [done[f"{learner}, shuffled, {data}"][0]["bytes"] for data in SETS]
        bytes_ = f"{min(size):,}–{max(size):,}" if min(size) != max(size) else f"{size[0]:,}"
        prequential = np.mean(mean(learner, "shuffled", "prequential"))
        rows.append(
            [learner, f"**{np.mean(found[0]):.2f} · {np.mean(found[1]):.2f}**", f"{prequential:.2f}", *by_set, bytes_]
        )
    best = max((name for name in RIVALS), key=lambda name: np.mean(mean(name, "shuffled", "accuracy")))
    ours, theirs = (mean(name, "shuffled", "accuracy") for name in ("64 units", best))
    worse = [data for data, a, b in zip(SETS, ours, theirs, strict=True) if b > a]
    notes = [f"{best} is the best of the others. Shuffled, it is above 64 units on {', '.join(worse) or 'no set'}."]
    return ["learner", "mean", "prequential", *SETS, "bytes that learn"], rows, notes


def first_table(done: dict[str, list[Row]]) -> tuple[list[str], list[list[str]], list[str]]:
    learners = dict.fromkeys(variant.rsplit(", ", 1)[0] for variant in done)
    rows = [
        [learner, *(results.spread([r["accuracy"] for r in done[f"{learner}, {n}"]], scale=1) for n in COUNTS)]
        for learner in learners
    ]
    return ["learner", *(f"{n} samples" for n in COUNTS)], rows, []


def files_table(done: dict[str, list[Row]]) -> tuple[list[str], list[list[str]], list[str]]:
    rows = []
    for file in FILES:
        found = [row["accuracy"] for row in done[f"64 units, {file}"]]
        rows.append([file, f"{np.mean(found):.1f}", f"{min(found):.1f}"])
    return ["file", "mean of 10 seeds", "lowest"], rows, []


def pages() -> dict[str, str]:
    text = """# Learning from nothing

`metabit fresh` makes units of one to three random features below a head that knows no class ([the rule](../../learning-rule.md),
"Units from nothing"). No computer trains it. Float learners stand beside it; they too standardise the features by 64 unlabelled
samples and learn a sample at a time. The shape of the units and the head's first variance were chosen on other splits of the
same seven datasets.
"""
    return BENCHMARK.sections(PAGE, text, table)


TABLES = {"stream": stream_table, "first": first_table, "files": files_table}
ABOUT = {
    "stream": f"Test accuracy in per cent after one pass over the training part, shuffled · sorted by class; mean of {len(SEEDS)} "
    "splits. Prequential: shuffled, right before a sample is learnt. It says nothing of sorted streams: who repeats the last label "
    "is right. The two rates of softmax regression are best for shuffled and for sorted streams of other splits. From ranges: no "
    "sample is seen, only the least and the greatest value of each feature.",
    "first": "Digits, test accuracy in per cent after so many samples, 4 seeds.",
    "files": "Files that `metabit fresh` by votes once failed to learn: test accuracy in per cent after two passes in random "
    "order.",
}
BENCHMARK = Benchmark(
    __file__,
    {"stream": "One pass over seven datasets", "first": "The first samples", "files": "Small files of any ranges"},
    cells, pages, measure, validate=validate,
)  # fmt: skip

if __name__ == "__main__":
    results.main(BENCHMARK)
