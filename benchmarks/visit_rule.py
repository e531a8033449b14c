"""Exact and ternary backward pass of the visit rule: docs/results/backward/README.md from results/visit_rule.jsonl.

    METABIT_DATA_DIR=... python benchmarks/visit_rule.py backward

A network is trained on an old task, exported, and learns a new one on the host's C runtime, one sample at a time; then it is tested
on both. `--validate` does so on training images held out, at another seed.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from checkpoints import digest, digest_of_vectors, trained
from deployment import accuracies, stream
from numpy.typing import NDArray
from streams import learn
from tasks import turned

from metabit import train
from metabit.data import Task, load
from metabit.experiments import results
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.export import VisitOptions, freeze, write_image
from metabit.runtime import Model
from metabit.train.settings import Defaults, Settings

SEEDS = (0, 1, 2)
HELD = 10_000
"""Images at the end of the training sets of MNIST and Fashion-MNIST that --validate tests on."""
SHOWN = 20_000
"""Images that are learnt in one stream."""


def task(name: str, validate: bool) -> Task:
    """With validate the test part is of training images, which nothing learns."""
    found = load("fashion" if name == "Fashion-MNIST" else "mnist").task(0)
    found = turned(found) if "turned" in name else found
    held = np.arange(len(found.y_train)) >= len(found.y_train) - HELD
    x, y = found.x_train, found.y_train
    return replace(found, x_train=x[~held], y_train=y[~held], x_test=x[held], y_test=y[held]) if validate else found


def fingerprint(options: VisitOptions) -> str:
    """The options by what they make of a small network: names and defaults may change, the image may not."""
    spec = train.Spec(features=8, hidden=(6, 5), classes=3, seed=0)
    network = train.Network(spec)
    frozen = freeze(train.Checkpoint(spec, network.tensors(), train.Rule.of(spec, 2.0)), options)
    return digest(write_image(frozen, crc32=True))  # as when the rows were recorded


# Exact and ternary backward pass

STREAMS = 12
"""Streams of each network, each of SHOWN images in an order and with draws of its own."""
TRAINING = {"preset": "mlp-512", "input": "bits", "planes": 1, "epochs": 4, "m": 1.5}
OPTIONS = VisitOptions(bits=4, m=6.0)
"""m was chosen with --validate: the network keeps some of the old task and learns most of the new one."""
RATES = (0.002, 0.02)
"""Visit rates: about 900 synapses a completely wrong sample, as in benchmarks/kernels.py, and ten times as many."""
WAYS = ("exact", "ternary")
NEW = ("MNIST turned by 90°", "Fashion-MNIST")


def options(rate: float, way: str, seed: int = 1) -> VisitOptions:
    return replace(OPTIONS, visit_rate=rate, backward=way, seed=seed)  # type: ignore[arg-type]


def cells(name: str) -> dict[str, list[Cell]]:
    """Variants: new task, visit rate, way."""
    rule = digest_of_vectors("all-4bit", "ternary-4bit")
    return {
        f"{new}, {rate:g}, {way}": [
            {
                "experiment": name, "old": "MNIST", "new": new, "visit_rate": rate, "backward": way, "seed": seed,
                "training": TRAINING, "options": fingerprint(options(rate, way)), "streams": [STREAMS, SHOWN], "rule": rule,
            }
            for seed in SEEDS
        ]
        for new in NEW
        for rate in RATES
        for way in WAYS
    }  # fmt: skip


def measure(asked: Cell, validate: bool = False) -> Row:
    old, new = task(asked["old"], validate), task(asked["new"], validate)
    rest = {key: value for key, value in TRAINING.items() if key != "preset"} | {"evaluate_every": TRAINING["epochs"]}
    checkpoint = trained(asked["old"], old, Settings.of(Defaults(preset="mlp-512"), **rest, seed=asked["seed"]))
    before, after, work = [], [], []
    for number in range(STREAMS):
        own = 100 * asked["seed"] + number
        model = Model(write_image(freeze(checkpoint, options(asked["visit_rate"], asked["backward"], own))))
        before.append(accuracies(model, old, new))
        work.append(learn(model, islice(stream(new, 1, own), SHOWN // 1000)))
        after.append(accuracies(model, old, new))
    names = ("visited", "moved", "flipped")
    means = dict(zip(names, results.means(work, *names), strict=True))
    return {"before": before[0], "after": after, **means, **results.provenance()}


def ends(rows: list[Row]) -> NDArray[np.float64]:
    """Per cent after each stream: (seeds, streams, 3) of old, new and their mean."""
    after = 100 * np.array([row["after"] for row in rows])
    return np.concatenate([after, after.mean(2, keepdims=True)], axis=2)


def backward_table(found: dict[str, list[Row]]) -> list[list[str]]:
    """For each new task and visit rate a row of each way and one of their difference, where all of it is measured."""
    lines = []
    for new in NEW:
        for rate in RATES:
            both = [found.get(f"{new}, {rate:g}, {way}", []) for way in WAYS]
            if any(len(rows) < len(SEEDS) for rows in both):
                continue
            for way, rows in zip(WAYS, both, strict=True):
                before = [results.spread([row["before"][which] for row in rows]) for which in (0, 1)]
                after = [results.spread(list(one), scale=1) for one in ends(rows).mean(1).T]
                work = [f"{mean:.1f}" for mean in results.means(rows, "visited", "moved", "flipped")]
                lines.append([new, f"{rate:g}", way, before[0], after[0], before[1], after[1], after[2], *work])
            difference = (ends(both[1]) - ends(both[0])).reshape(-1, 3)
            errors = difference.std(0, ddof=1) / len(difference) ** 0.5
            old, other, mean = (f"{d:+.2f} ± {e:.2f}" for d, e in zip(difference.mean(0), errors, strict=True))
            lines.append(["", "", "*ternary − exact*", "", old, "", other, mean, "", "", ""])
    return lines


def backward_page() -> str:
    """docs/results/backward/README.md"""
    head = [
        "new task", "visit rate", "backward", "MNIST: before", "after", "new: before", "after", "mean after", "visited", "moved",
        "flipped",
    ]  # fmt: skip
    text = f"""# Exact or ternary backward pass

{BENCHMARK.command("backward")} on {results.places(BENCHMARK.rows("backward"))}. {BENCHMARK.raw(PAGE)}

784-512-512-10 at {OPTIONS.bits} bits a synapse, all layers learning with m = {OPTIONS.m:g}; trained on MNIST's pixels as bits,
{TRAINING["epochs"]} epochs with m = {TRAINING["m"]:g}, seeds {SEEDS[0]} to {SEEDS[-1]}.
Then {SHOWN:,} training images of the new task, one at a time, on the C runtime: {STREAMS} such streams of each network, each in
an order and with draws of its own. Test accuracy in per cent: mean over the streams, ± standard deviation over the networks. The
differences, in points, are of the {len(SEEDS) * STREAMS} runs from the same network on the same stream: mean ± standard error over
streams, given these networks.
"""
    return "\n".join([text, *results.markdown(head, backward_table(BENCHMARK.done("backward")))]) + "\n"


def validate(name: str, variant: str, changes: Cell) -> dict[str, Any]:
    """On images held out, at seed 100; no setting can be changed."""
    return {"seed 100": measure(cells(name)[variant][0] | changes | {"seed": 100}, validate=True)}


PAGE = "docs/results/backward/README.md"


def pages() -> dict[str, str]:
    return {PAGE: backward_page()} if BENCHMARK.rows("backward") else {}


BENCHMARK = Benchmark(
    __file__, {"backward": "Exact or ternary backward pass"}, cells, pages, measure, validate=validate
)  # fmt: skip

if __name__ == "__main__":
    results.main(BENCHMARK)
