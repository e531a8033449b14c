"""What a network knows of its own predictions: docs/results/confidence/mnist-fashion.{md,svg} from runs.jsonl.

    METABIT_DATA_DIR=... python benchmarks/confidence.py

A fresh network learns 50,000 MNIST images in one pass. Signals that a prediction leaves behind are then asked two things, as
AUROC: is this prediction wrong (MNIST), and is this image nothing the network has learnt (MNIST against Fashion-MNIST). The
10,000 images of either training set that were held out choose the signal, the test images only report it.
"""

from __future__ import annotations

import argparse
import os
import platform
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from lab import RULE, digest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from metabit.data import image_sets as datasets
from metabit.data.rows import append_row, read_rows, write_whole
from metabit.experiments import plots
from metabit.export import FreshOptions, fresh, read_image, write_image
from metabit.export.oracle.device_rule import DeviceRule
from metabit.runtime import Model

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "confidence"
RUNS = RESULTS / "runs.jsonl"
NAME = "mnist-fashion"
SEEDS = (0, 1, 2)
HIDDEN = 192
OPTIONS = FreshOptions()
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Row = dict[str, Any]

SIGNALS = {
    "margin": "best less second score, `Model.margins` and `mb_margin`; small is unsure",
    "best score": "small is unsure",
    "best score / spread": "over the scores' mean magnitude; small is unsure",
    "spread": "the scores' mean magnitude; small is unsure",
    "mean |V|": "of the graded layer; small is unsure",
    "mean |V| / on": "for each input that is on; small is unsure",
    "mean |V| / on^¾": "what `Model.novelties` and `mb_novelty` turn over; small is unsure",
    "mean |V| / √on": "small is unsure",
    "open gates": "graded units above 0; many is unsure",
    "inputs on": "the baseline, which no network is needed for; many is unsure",
}
WORLDS = {
    "fashion": "Fashion-MNIST",
    "equal ink": "Fashion-MNIST, equally many inputs on",
    "shuffled": "the same MNIST images, pixels shuffled",
}


# Measures


def signals(model: Model, x: Bytes) -> dict[str, Floats]:
    """Each of SIGNALS, float64 (n,), turned so that larger is less sure, of inputs uint8 (n, features)."""
    frozen = read_image(model.image())
    assert frozen.encode is not None
    graded, ramp = frozen.layers[0], frozen.layers[0].graded
    assert ramp is not None
    count = (x[:, None, :] >= frozen.encode.thresholds).sum(1, dtype=np.float32)
    half = DeviceRule.unsure(graded.hidden.astype(np.int64), graded.bits)
    weights = (graded.weights * (2 - half)).astype(np.float32)
    size = np.abs(count @ weights.T - 2 * graded.theta).astype(np.float64)
    on, mean = np.maximum(count.sum(1, dtype=np.float64), 1), size.mean(1)
    half_open = mean * (ramp.lo + ramp.hi) / 512
    scores = model.scores(x).astype(np.float64)
    best, spread = scores.max(1), np.maximum(np.abs(scores - scores.mean(1, keepdims=True)).mean(1), 1)
    return {
        "margin": -model.margins(x).astype(np.float64),
        "best score": -best,
        "best score / spread": -best / spread,
        "spread": -spread,
        "mean |V|": -mean,
        "mean |V| / on": -mean / on,
        "mean |V| / on^¾": model.novelties(x).astype(np.float64),
        "mean |V| / √on": -mean / on**0.5,
        "open gates": (size < half_open[:, None]).sum(1).astype(np.float64),
        "inputs on": on,
    }


def auroc(sure: Floats, unsure: Floats) -> float:
    """Chance that a sample of the second kind is found less sure than one of the first, 0..1."""
    truth = np.r_[np.zeros(len(sure)), np.ones(len(unsure))]
    return float(roc_auc_score(truth, np.r_[sure, unsure]))


def equal_ink(known: Floats, novel: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of both, equally many for each number of inputs on: what is left of a signal that only counts ink is 0.5."""
    pairs = []
    for on in np.intersect1d(known, novel):
        rows = np.flatnonzero(known == on), np.flatnonzero(novel == on)
        least = min(map(len, rows))
        pairs.append([side[:least] for side in rows])
    mine, theirs = zip(*pairs, strict=True)
    return np.concatenate(mine), np.concatenate(theirs)


def measure(model: Model, x: Bytes, y: NDArray[Any], novel: Bytes, seed: int) -> Row:
    """{"accuracy", "wrong": signal -> AUROC, each world of WORLDS: signal -> AUROC}"""
    wrong = model.predict_many(x) != y
    pixels = np.random.default_rng([seed, 3]).permutation(x.shape[1])
    known, other, moved = signals(model, x), signals(model, novel), signals(model, x[:, pixels])
    mine, theirs = equal_ink(known["inputs on"], other["inputs on"])
    return {
        "accuracy": float(1 - wrong.mean()),
        "wrong": {name: auroc(found[~wrong], found[wrong]) for name, found in known.items()},
        "fashion": {name: auroc(known[name], other[name]) for name in SIGNALS},
        "equal ink": {name: auroc(known[name][mine], other[name][theirs]) for name in SIGNALS},
        "shuffled": {name: auroc(known[name], moved[name]) for name in SIGNALS},
    }


def run(seed: int) -> Row:
    """One network, learnt and measured on what was held out and on the test images."""
    mnist, fashion = datasets.load("mnist"), datasets.load("fashion-mnist")
    held = np.random.default_rng(10_000).permutation(len(mnist.x_train)) < 10_000
    model = Model(first_image(seed))
    order = np.random.default_rng([seed, 1]).permutation(np.flatnonzero(~held))
    model.learn_many(_flat(mnist.x_train[order]), mnist.y_train[order])
    return key(seed) | {
        "held": measure(model, _flat(mnist.x_train[held]), mnist.y_train[held], _flat(fashion.x_train[held]), seed),
        "test": measure(model, _flat(mnist.x_test), mnist.y_test, _flat(fashion.x_test), seed),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores", "date": str(date.today()),
    }  # fmt: skip


def _flat(images: Bytes) -> Bytes:
    return images.reshape(len(images), -1)


def first_image(seed: int) -> bytes:
    return write_image(fresh(784, HIDDEN, 10, replace(OPTIONS, seed=seed)))


# What is done


def key(seed: int) -> Row:
    """What a run is recognised by: a network built otherwise is another run."""
    return {"experiment": NAME, "seed": seed, "image": digest(first_image(seed)), "rule": RULE}


def done() -> list[Row]:
    """Finished runs, as the network is built today, in the order of the seeds."""
    rows = read_rows(RUNS)
    found = [[row for row in rows if key(seed).items() <= row.items()] for seed in SEEDS]
    return [some[-1] for some in found if some]


def table(rows: list[Row]) -> str:
    """The page."""
    sure, novel = chosen(rows, "wrong"), chosen(rows, "fashion")
    places = sorted({f"{row['machine']}, {row['date']}" for row in rows})
    accuracy = spread([100 * row["test"]["accuracy"] for row in rows], 1)
    lines = [
        "# Confidence and novelty",
        "",
        f"`METABIT_DATA_DIR=... python benchmarks/confidence.py` on {'; '.join(places)}. 784-{HIDDEN}-10, {OPTIONS.bits} bits, "
        f"one pass over 50,000 MNIST training images, seeds {', '.join(str(row['seed']) for row in rows)}; accuracy on MNIST's "
        f"test images {accuracy} %. Raw: [runs.jsonl](runs.jsonl).",
        "",
        f"Chosen on images held out: **{sure}** to tell wrong predictions from right ones, **{novel}** to tell Fashion-MNIST from "
        "MNIST. Below, AUROC on the test images, mean ± standard deviation over seeds; 0.5 is a guess.",
        "",
        f"![AUROC of each signal]({NAME}.svg)",
        "",
        "| signal | wrong prediction | " + " | ".join(WORLDS.values()) + " | |",
        "|---|" + "---|" * (len(WORLDS) + 2),
    ]
    for name, meaning in SIGNALS.items():
        cells = [spread([row["test"][asked][name] for row in rows], 3) for asked in ("wrong", *WORLDS)]
        lines.append("| " + " | ".join([name.replace("|", "\\|"), *cells, meaning]) + " |")
    return "\n".join([*lines, "", *NOTES]) + "\n"


NOTES = (
    "Scores, and so the margin, come with every prediction, and so does the novelty, from sums of the graded layer. The other "
    "signals are computed in NumPy.",
    "",
    "Fashion images have more ink than digits, so the number of inputs on tells them apart by itself. The column of equal ink "
    "compares images with the same number of inputs on, as many of either for each number; it and the shuffled pixels are what "
    "a signal knows beyond ink.",
)  # fmt: skip


def chosen(rows: list[Row], asked: str) -> str:
    """The signal of the largest mean AUROC on what was held out."""
    means = {name: float(np.mean([row["held"][asked][name] for row in rows])) for name in SIGNALS}
    return max(means, key=lambda name: means[name])


def spread(values: list[float], digits: int) -> str:
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


def write_page(rows: list[Row]) -> None:
    plots.final_accuracy(
        RESULTS / f"{NAME}.svg",
        {name: [[row["test"][asked][name] for asked in ("wrong", *WORLDS)] for row in rows] for name in SIGNALS},
        "AUROC of what a prediction leaves behind: wrong predictions, and images of another kind",
        ["wrong prediction", *WORLDS.values()],
        unit="AUROC, %",
    )
    write_whole(RESULTS / f"{NAME}.md", table(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="run nothing: only write the page anew")
    asked = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    known = {row["seed"] for row in done()}
    for seed in () if asked.tables else SEEDS:
        if seed not in known:
            append_row(RUNS, run(seed))
    if rows := done():
        write_page(rows)
        print(table(rows))


if __name__ == "__main__":
    main()
