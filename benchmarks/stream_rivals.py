"""Float learners on the streams of permuted MNIST: docs/results/streams/rivals.md from results/stream_rivals.jsonl.

    METABIT_DATA_DIR=... python benchmarks/stream_rivals.py all

The streams of benchmarks/streams.py, in the same order, one image at a time and once. A pixel counts 0..1: no learner sees
statistics of a task. The rate of softmax regression is the best of `RATES` on a stream of other permutations, at most eleven tasks,
tested as the stream itself but on training images held out.
"""

from __future__ import annotations

import functools
import time
from dataclasses import replace
from typing import Any

import numpy as np
import streams

from metabit.experiments import results, rivals
from metabit.experiments.learner_streams import RIVALS
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.experiments.rivals import Learner

PAGE = "docs/results/streams/rivals.md"
CLASSES = 10
SEEDS = {"permuted-mnist-1": (0, 1, 2), "permuted-mnist-6": (0, 1, 2), "permuted-mnist-100": (0,)}
RATES = (0.0001, *rivals.RATES)
MOST_TASKS, HELD_OUT_SEED = 11, 100
"""Tasks and seed of the stream on which a rate is chosen. Eleven tasks are the fewest whose last five are tested."""
AT_ONCE = 1_000
"""Samples whose products SLDA adds at once; the sum is that of one at a time but for rounding."""
SOFTMAX, COVARIANCE = "softmax SGD", "SLDA"
LEARNERS = tuple(RIVALS)
OURS = ("784-192-10, 4 bits", "head, 128 units")
"""Devices of benchmarks/streams.py that the page shows beside them."""


def cells(name: str) -> dict[str, list[Cell]]:
    return {
        learner: [
            {
                "experiment": name,
                "learner": learner,
                "seed": seed,
                **({"rates": list(RATES)} if learner == SOFTMAX else {}),
            }
            for seed in SEEDS[name]
        ]
        for learner in LEARNERS
    }


def new_learner(name: str, rate: float = 0.0) -> Learner:
    """A learner of pixels 0..1 (784,) that has seen nothing. rate: of softmax regression."""
    given = {SOFTMAX: {"rate": rate}, COVARIANCE: {"every": AT_ONCE}}.get(name, {})
    learner: Learner = RIVALS[name](streams.PIXELS, CLASSES, **given)
    return learner


def learn(learner: Learner, stream: streams.Stream) -> list[float]:
    """Learn a stream; accuracy 0..1 on the test images of each task that the stream tests at its end."""
    experiment = stream.experiment
    for task in range(experiment.tasks):
        for x, y in stream.samples(task):
            for sample, label in zip(x / 255.0, y.tolist(), strict=True):
                learner.learn(sample, label)
    x, y = stream.test
    return [
        float((learner.predict(x[:, stream.pixels(task)] / 255.0) == y).mean())
        for task in experiment.tested(experiment.tasks - 1)
    ]


@functools.cache
def best_rate(name: str) -> tuple[float, dict[str, float]]:
    """The rate of softmax regression for a stream, and the mean accuracy 0..1 of each on its development stream."""
    experiment = streams.EXPERIMENTS[name]
    experiment = replace(experiment, tasks=min(experiment.tasks, MOST_TASKS))
    found = {}
    for rate in RATES:
        stream = streams.Stream(experiment, HELD_OUT_SEED, validate=True)
        found[rate] = float(np.mean(learn(new_learner(SOFTMAX, rate), stream)))
    return max(found, key=found.__getitem__), {f"{rate:g}": round(mean, 4) for rate, mean in found.items()}


def measure(asked: Cell) -> Row:
    extra: Row = {}
    if asked["learner"] == SOFTMAX:
        extra["rate"], extra["validated"] = best_rate(asked["experiment"])
    start, learner = time.perf_counter(), new_learner(asked["learner"], extra.get("rate", 0.0))
    final = learn(learner, streams.Stream(streams.EXPERIMENTS[asked["experiment"]], asked["seed"]))
    return {
        "final": final, "accuracy": float(np.mean(final)), "bytes": learner.bytes(), **extra,
        "seconds": round(time.perf_counter() - start, 1), **results.provenance("numpy"),
    }  # fmt: skip


def pages() -> dict[str, str]:
    found = {name: BENCHMARK.done(name) for name in SEEDS}
    measured = [row for name in SEEDS for row in BENCHMARK.rows(name)]
    if not measured:
        return {}
    ours = {name: streams.BENCHMARK.done(name) for name in SEEDS}
    rows: list[list[Any]] = [
        [f"metabit: {device}", *(_accuracy(ours[name].get(device)) for name in SEEDS),
         f"{next(rows[device] for rows in ours.values() if device in rows)[0]['state_bytes']:,}"]
        for device in OURS
    ]  # fmt: skip
    rows += [
        [learner, *(_accuracy(found[name].get(learner)) for name in SEEDS),
         f"{next(rows[learner] for rows in found.values() if learner in rows)[0]['bytes']:,}"]
        for learner in LEARNERS if any(learner in rows for rows in found.values())
    ]  # fmt: skip
    rates = [f"{rows[SOFTMAX][0]['rate']:g}" for rows in found.values() if SOFTMAX in rows]
    about = (
        f"{BENCHMARK.command('all')} on {results.places(measured)}. Test accuracy in per cent, ± standard deviation over three "
        f"seeds, or of seed 0: all tasks of 1 and 6, the last {streams.LAST} of 100. Each image once, one at a time. Float "
        f"learners take pixels as 0..1 in float32. Rates of softmax regression: {', '.join(rates)}, each the best of "
        f"{', '.join(f'{rate:g}' for rate in RATES)} on another stream, of at most {MOST_TASKS} tasks; shrinkage of SLDA: 0.01. "
        f"Bytes are what learning changes. Rows of metabit are those of [streams](README.md). {BENCHMARK.raw(PAGE)}"
    )
    head = ["learner", *(streams.EXPERIMENTS[name].title.partition(", ")[2] for name in SEEDS), "bytes"]
    return {PAGE: results.page("Permuted MNIST beside float learners", about, results.markdown(head, rows))}


def _accuracy(rows: list[Row] | None) -> str:
    return results.spread([row["accuracy"] for row in rows]) if rows else "–"


BENCHMARK = Benchmark(
    __file__, {name: streams.EXPERIMENTS[name].title for name in SEEDS}, cells, pages, measure
)  # fmt: skip

if __name__ == "__main__":
    results.main(BENCHMARK)
