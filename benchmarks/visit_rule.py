"""VisitOptions of the visit rule after deployment: docs/results/{auto-m,backward}/README.md from results/visit_rule.jsonl.

    METABIT_DATA_DIR=... python benchmarks/visit_rule.py auto-m
    METABIT_DATA_DIR=... python benchmarks/visit_rule.py backward

auto-m compares `metabit export --m auto` with the m of training, backward the exact with the ternary backward pass. A network is
trained on an old task, exported, and learns a new one on the host's C runtime, one sample at a time; then it is tested on both.
`--validate` does so on training images held out, at other seeds.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
from checkpoints import digest, digest_of_vectors, trained
from deployment import accuracies, stream
from numpy.typing import NDArray
from streams import learn
from tasks import turned

from metabit import train
from metabit.data import Task, load, thermometer
from metabit.experiments import results
from metabit.experiments.demo_settings import RECIPE
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.export import Frozen, VisitOptions, freeze, write_image
from metabit.export.freeze.levels import tables
from metabit.runtime import Model
from metabit.train.settings import Defaults, Settings

SEEDS = (0, 1, 2)
HELD = 10_000
"""Images at the end of the training sets of MNIST and Fashion-MNIST that --validate tests on."""
SHOWN = 20_000
"""Images of MNIST and of Fashion-MNIST that are trained and learnt with m auto, and learnt in a stream of `backward`."""


def task(name: str, validate: bool) -> Task:
    """With validate the test part is of training images, which nothing learns."""
    if name.startswith("digits"):
        found = load(name).whole()
        held = np.random.default_rng(0).permutation(len(found.y_train)) < len(found.y_train) // 5
    else:
        found = load("fashion" if name == "Fashion-MNIST" else "mnist").task(0)
        found = turned(found) if "turned" in name else found
        held = np.arange(len(found.y_train)) >= len(found.y_train) - HELD
    x, y = found.x_train, found.y_train
    return replace(found, x_train=x[~held], y_train=y[~held], x_test=x[held], y_test=y[held]) if validate else found


def fingerprint(options: VisitOptions) -> str:
    """The options by what they make of a small network: names and defaults may change, the image may not."""
    spec = train.Spec(features=8, hidden=(6, 5), classes=3, seed=0)
    network = train.Network(spec)
    return digest(write_image(freeze(train.Checkpoint(spec, network.tensors(), train.Rule.of(spec, 2.0)), options)))


# --m auto

LAST_WEAKEN = 1 / 16
"""Probability with which m "auto" weakens a synapse at the highest level, when a step would. It is part of the rows' cells."""
PAIRS = {
    "MNIST, then Fashion-MNIST": ("MNIST", "Fashion-MNIST"),
    "digits, then turned by 90°": ("digits", "digits:sideways"),
}
BITS = (5, 4)


def auto_cells() -> dict[str, list[Cell]]:
    return {
        f"{pair}, {bits} bits, {'as trained' if last is None else 'auto'}": [
            {"experiment": "auto-m", "pair": pair, "bits": bits, "last_weaken": last, "seed": seed} for seed in SEEDS
        ]
        for pair in PAIRS
        for bits in BITS
        for last in (None, LAST_WEAKEN)
    }


@cache
def auto_trained(name: str, seed: int, validate: bool) -> train.Checkpoint:
    """The network of the demo on digits, a smaller one on MNIST, with the demo's m."""
    found = shown(name, validate)
    digits = name.startswith("digits")
    hidden, planes, epochs = (RECIPE.hidden, RECIPE.planes, RECIPE.epochs) if digits else ((256,), 2, 8)
    encode = thermometer(found.x_train, planes)
    spec = train.Spec(found.features, hidden, found.classes, encode, output=RECIPE.output, seed=seed)
    network = train.Network(spec)
    train.fit(network, found, epochs=epochs, m=RECIPE.m, seed=seed)
    return train.Checkpoint(spec, network.tensors(), train.Rule.of(spec, RECIPE.m))


def shown(name: str, validate: bool) -> Task:
    found = task(name, validate)
    return replace(found, x_train=found.x_train[:SHOWN], y_train=found.y_train[:SHOWN])


def with_last_weaken(frozen: Frozen, last: float) -> Frozen:
    """The network with tables whose last `weaken` probability is the given one: m "auto" with another LAST_WEAKEN."""

    def table(bits: int) -> NDArray[np.uint16]:
        return tables(float(np.arctanh(np.sqrt(1 - last))) / (2 ** (bits - 1) - 0.5), 1.0, bits, "certain")[1]

    layers = (replace(a, rule=replace(a.rule, weaken=table(a.bits))) if a.rule else a for a in frozen.layers)
    return replace(frozen, layers=tuple(layers))  # type: ignore[arg-type]


def auto_measure(asked: Cell, validate: bool = False) -> Row:
    names, seed, last = PAIRS[asked["pair"]], asked["seed"], asked["last_weaken"]
    old, new = (shown(name, validate) for name in names)
    options = VisitOptions(bits=asked["bits"], m="auto" if last else None, seed=seed)
    frozen = freeze(auto_trained(names[0], seed, validate), options)
    model = Model(write_image(with_last_weaken(frozen, last) if last and validate else frozen))
    order = np.random.default_rng(seed)
    for _ in range(RECIPE.passes if names[0] == "digits" else 1):
        rows = order.permutation(len(new.y_train))
        model.learn_many(new.x_train[rows], new.y_train[rows])
    return dict(zip(("old", "new"), accuracies(model, old, new), strict=True)) | results.provenance()


def auto_page() -> str:
    """docs/results/auto-m/README.md"""
    rows = []
    for runs in BENCHMARK.done("auto-m").values():
        one, both = runs[0], [(row["old"], row["new"], (row["old"] + row["new"]) / 2) for row in runs]
        way = f"{RECIPE.m:g}, as trained" if one["last_weaken"] is None else f"auto, {one['last_weaken']:g}"
        rows.append([one["pair"], one["bits"], way, *map(results.spread, zip(*both, strict=True))])
    text = f"""# An m that suits the levels

{BENCHMARK.command("auto-m")} on {results.places(BENCHMARK.rows("auto-m"))}, seeds {SEEDS[0]} to {SEEDS[-1]}.
{BENCHMARK.raw(PAGES["auto-m"])}

A network is trained on the old task with the m of the demo, exported, and learns the new task by the visit rule, one sample at a
time; test accuracy on both at the end, in per cent. The effect of m on the device depends on how large training made the hidden
weights: the m of the demo's digits stops all learning after MNIST. `--m auto` sets it layer by layer, so that a step that would
weaken a synapse at the highest level does so with probability {LAST_WEAKEN:g}. That number was chosen with `--validate`, on
training images held out, at seeds 10 and 11.
"""
    return "\n".join([text, *results.markdown(["tasks", "bits", "m", "old task", "new task", "mean"], rows)]) + "\n"


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


def backward_cells() -> dict[str, list[Cell]]:
    """Variants: new task, visit rate, way."""
    rule = digest_of_vectors("all-4bit", "ternary-4bit")
    return {
        f"{new}, {rate:g}, {way}": [
            {
                "experiment": "backward", "old": "MNIST", "new": new, "visit_rate": rate, "backward": way, "seed": seed,
                "training": TRAINING, "options": fingerprint(options(rate, way)), "streams": [STREAMS, SHOWN], "rule": rule,
            }
            for seed in SEEDS
        ]
        for new in NEW
        for rate in RATES
        for way in WAYS
    }  # fmt: skip


def measure(asked: Cell, validate: bool = False) -> Row:
    if asked["experiment"] == "auto-m":
        return auto_measure(asked, validate)
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

{BENCHMARK.command("backward")} on {results.places(BENCHMARK.rows("backward"))}. {BENCHMARK.raw(PAGES["backward"])}

784-512-512-10 at {OPTIONS.bits} bits a synapse, all layers learning with m = {OPTIONS.m:g}; trained on MNIST's pixels as bits,
{TRAINING["epochs"]} epochs with m = {TRAINING["m"]:g}, seeds {SEEDS[0]} to {SEEDS[-1]}.
Then {SHOWN:,} training images of the new task, one at a time, on the C runtime: {STREAMS} such streams of each network, each in
an order and with draws of its own. Test accuracy in per cent: mean over the streams, ± standard deviation over the networks. The
differences, in points, are of the {len(SEEDS) * STREAMS} runs from the same network on the same stream: mean ± standard error over
streams, given these networks.
"""
    return "\n".join([text, *results.markdown(head, backward_table(BENCHMARK.done("backward")))]) + "\n"


# Both


def cells(name: str) -> dict[str, list[Cell]]:
    return auto_cells() if name == "auto-m" else backward_cells()


def validate(name: str, variant: str, changes: Cell) -> dict[str, Any]:
    """On images held out: m auto with changes {"last_weaken": p} at seeds 10 and 11, the backward pass at seed 100."""
    asked = cells(name)[variant][0]
    asked |= changes if asked.get("last_weaken") else {}
    seeds = (10, 11) if name == "auto-m" else (100,)
    return {f"seed {seed}": measure(asked | {"seed": seed}, validate=True) for seed in seeds}


PAGES = {name: f"docs/results/{name}/README.md" for name in ("auto-m", "backward")}


def pages() -> dict[str, str]:
    both = {"auto-m": auto_page, "backward": backward_page}
    return {PAGES[name]: page() for name, page in both.items() if BENCHMARK.rows(name)}


BENCHMARK = Benchmark(
    __file__, {"auto-m": "m auto against the m of training", "backward": "Exact or ternary backward pass"}, cells, pages, measure,
    validate=validate,
)  # fmt: skip

if __name__ == "__main__":
    results.main(BENCHMARK)
