"""Confidence of a head, and classes that it never saw: docs/results/telling/README.md from results/telling.jsonl.

    METABIT_DATA_DIR=... python benchmarks/telling.py confidence unseen

confidence: on the seven development problems a head learns the new task; how far is the confidence of its predictions from the
share of them that are right, before and after? unseen: a head is trained without one class of three or two of more; how well does a
measure tell test samples of these classes from the others? The seed is that of the split, of the training and of the classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabit.data.errors import extra
from metabit.experiments import results
from metabit.experiments.development_problems import PROBLEMS, Problem, problem
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.export import Frozen, GateOptions, HeadLayer, Oracle, freeze_gates, write_image
from metabit.export.oracle.head import triangle
from metabit.runtime import Model
from metabit.train.recipe import Trained, fit_recipe

PAGE = "docs/results/telling/README.md"
SEEDS = (0, 1, 2)
UNITS = 32
NATS = (1.0, 2.0, 3.0)
"""Score units of one nat of confidence, in 2**14; `Model.confidence` has 2."""
BINS = 15
TESTED = 500
"""Test samples of `unseen`, at most: the distances are computed by the oracle."""
MEASURES = ("margin", "highest score", "diagonal distance", "distance")
MOMENTS = ("old, before", "old, after", "new, after")

Floats = NDArray[np.float64]


def cells(name: str) -> dict[str, list[Cell]]:
    names = [one for one in PROBLEMS if name == "confidence" or one != "cancer"]  # without a class, cancer has one
    return {
        one: [{"experiment": name, "problem": one, "units": UNITS, "seed": seed} for seed in SEEDS] for one in names
    }


def measure(asked: Cell) -> Row:
    found, seed = problem(asked["problem"], asked["seed"]), asked["seed"]
    row = confidence(found, seed) if asked["experiment"] == "confidence" else unseen(found, seed)
    return row | results.provenance("numpy", "scikit-learn", "torch")


def confidence(found: Problem, seed: int) -> Row:
    """Expected calibration error, 0..1, of each unit in `NATS`, and the accuracy, at each of `MOMENTS`."""
    model = Model(write_image(trained(found.old.x, found.old.y, found.old.classes, seed)[1]))
    old, new = (found.old.x_test, found.old.y_test), found.new_test()
    row = {"old, before": calibration(model, *old)}
    for part in found.parts:
        model.learn_many(part.x, part.y)
    return row | {"old, after": calibration(model, *old), "new, after": calibration(model, *new)}


def calibration(model: Model, x: Floats, y: NDArray[np.int64]) -> Row:
    scores = model.scores(x).astype(np.float64)
    right = scores.argmax(1) == y
    found: Row = {"accuracy": float(right.mean())}
    for nat in NATS:
        chance = 1 / np.exp((scores - scores.max(1, keepdims=True)) / (nat * 2**14)).sum(1)
        place = np.minimum((chance * BINS).astype(int), BINS - 1)
        gaps = [abs(float((right[place == b] - chance[place == b]).sum())) for b in range(BINS)]
        found[f"{nat:g}"] = sum(gaps) / len(y)
    return found


def unseen(found: Problem, seed: int) -> Row:
    """Area under the ROC curve of each of `MEASURES`: 1 ranks every sample of an unseen class above all others."""
    with extra("sklearn"):
        from sklearn.metrics import roc_auc_score
    old, classes = found.old, found.old.classes
    hidden = np.random.default_rng([seed, 5]).permutation(classes)[: 2 if classes > 3 else 1]
    seen = np.flatnonzero(~np.isin(np.arange(classes), hidden))
    rows = np.isin(old.y, seen)
    network, frozen = trained(old.x[rows], np.searchsorted(seen, old.y[rows]), len(seen), seed)
    test = np.random.default_rng(seed).permutation(len(old.x_test))[:TESTED]
    x, new = old.x_test[test], np.isin(old.y_test[test], hidden)
    model, oracle = Model(write_image(frozen)), Oracle(frozen)
    values = np.array([oracle.forward(sample)[0][-1] for sample in network.encoder.quantise(x)], np.float64)
    diagonal, whole = distances(frozen, values)
    measures = (-model.margins(x), -model.scores(x).max(1), diagonal, whole)
    return {name: float(roc_auc_score(new, one)) for name, one in zip(MEASURES, measures, strict=True)}


def distances(frozen: Frozen, values: Floats) -> tuple[Floats, Floats]:
    """Distance (n,) to the nearest class mean, by the variances alone and by the whole covariance. values: (n, H)."""
    head = frozen.layers[-1]
    assert isinstance(head, HeadLayer)
    lower = np.zeros((values.shape[1],) * 2)
    lower[triangle(values.shape[1])] = head.covariance
    lower = np.tril(lower)
    covariance = (lower + np.tril(lower, -1).T + head.settings.ridge * np.eye(len(lower))) / 4
    apart = values[:, None] - head.means / 256
    nearest: list[Floats] = [
        np.einsum("nrh,hk,nrk->nr", apart, inverse, apart).min(1)
        for inverse in (np.diag(1 / np.diag(covariance)), np.linalg.inv(covariance))
    ]
    return nearest[0], nearest[1]


def trained(x: Floats, y: NDArray[np.int64], classes: int, seed: int) -> tuple[Trained, Frozen]:
    network = fit_recipe(x, y, classes=classes, units=UNITS, seed=seed)
    return network, freeze_gates(network, x, y, GateOptions(seed=seed))


def table(name: str) -> str:
    done = BENCHMARK.done(name)
    about = f"{BENCHMARK.command(name)} on {results.places(BENCHMARK.rows(name))}, {UNITS} gates, {len(SEEDS)} seeds. "
    about += BENCHMARK.raw(PAGE)
    if name == "unseen":
        rows = [[one, *(f"{value:.3f}" for value in results.means(found, *MEASURES))] for one, found in done.items()]
        means = results.means(BENCHMARK.rows(name), *MEASURES)
        rows.append(["**mean**", *(f"**{value:.3f}**" for value in means)])
        text = (
            "Area under the ROC curve: 0.5 is chance, 1 ranks every sample of an unseen class above all others. A distance is "
            "that to the nearest class mean, by the variances of the head's covariance alone or by all of it. "
        )
        return results.page(
            BENCHMARK.titles[name], text + about, results.markdown(["problem", *MEASURES], rows), level=2
        )
    rows = []
    for one, found in [*done.items(), ("**mean**", BENCHMARK.rows(name))]:
        line = [one]
        for moment in MOMENTS:
            parts = [row[moment] for row in found]
            errors = " / ".join(f"{100 * value:.1f}" for value in results.means(parts, *(f"{nat:g}" for nat in NATS)))
            line += [f"{100 * results.means(parts, 'accuracy')[0]:.1f}", errors]
        rows.append(line)
    units = " / ".join(f"{nat:g}" for nat in NATS)
    head = ["problem", *(column for moment in MOMENTS for column in (f"{moment}: right", f"error, {units}"))]
    text = (
        f"Expected calibration error in points ({BINS} bins): the distance of confidence from the share of right predictions, "
        f"where one nat is {units} times 2¹⁴ of score. The scores themselves have 1, `Model.confidence` has 2. "
    )
    return results.page(BENCHMARK.titles[name], text + about, results.markdown(head, rows), level=2)


def pages() -> dict[str, str]:
    return BENCHMARK.sections(PAGE, "# Confidence of a head, and samples of unknown classes\n", table)


BENCHMARK = Benchmark(
    __file__, {"confidence": "Confidence", "unseen": "Samples of classes that were never seen"}, cells, pages, measure
)  # fmt: skip

if __name__ == "__main__":
    results.main(BENCHMARK)
