"""What `metabit export --m auto` chooses against the m of training: docs/results/auto-m/README.md from runs.jsonl.

    METABIT_DATA_DIR=... python benchmarks/auto_m.py
    METABIT_DATA_DIR=... python benchmarks/auto_m.py --validate     on training images held out, for several GUARDs

A network is trained on one world, learns another on the host's C runtime, one sample at a time, and is asked about both.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit import export, train
from metabit.data import Task, load, thermometer
from metabit.data import image_sets as datasets
from metabit.data.rows import append_row, read_rows, write_whole
from metabit.experiments.demo_settings import RECIPE
from metabit.runtime import Model

freezing = importlib.import_module(
    "metabit.export.freeze.visits"
)  # the module: the room exports a function of this name
RESULTS = Path(__file__).parents[1] / "docs" / "results" / "auto-m"
RUNS = RESULTS / "runs.jsonl"
SEEDS = (0, 1, 2)
GUARDS = (1 / 4, 1 / 8, 1 / 16, 1 / 32)
BITS = (5, 4)
SHOWN = 20_000
"""Images of MNIST and of Fashion-MNIST; the last 10,000 of the training sets are what --validate tests on."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """hidden, planes, epochs: of the training. passes: over the second world."""

    old: str
    new: str
    hidden: tuple[int, ...]
    planes: int
    epochs: int
    passes: int


PAIRS = {
    "MNIST, then Fashion-MNIST": Pair("mnist", "fashion-mnist", (256,), 2, 8, 1),
    "digits, then turned by 90°": Pair("digits", "digits:sideways", RECIPE.hidden, RECIPE.planes, RECIPE.epochs, RECIPE.passes),
}  # fmt: skip


def world(name: str, seed: int, validate: bool) -> Task:
    """Training and test part; with validate the test part is of the training images, and they are not learnt."""
    if name.startswith("digits"):
        task = load(name).whole()
        if not validate:
            return task
        held = np.random.default_rng(seed).permutation(len(task.y_train)) < len(task.y_train) // 5
        return _task(name, task.x_train[~held], task.y_train[~held], task.x_train[held], task.y_train[held])
    data = datasets.load(name)
    x, y = data.x_train, data.y_train
    test = (x[50_000:], y[50_000:]) if validate else (data.x_test, data.y_test)
    return _task(name, x[:SHOWN], y[:SHOWN], *test)


def _task(name: str, *parts: NDArray[Any]) -> Task:
    x, y, x_test, y_test = parts
    flat = [a.reshape(len(a), -1) for a in (x, x_test)]
    return Task(name, flat[0], y.astype(np.int64), flat[1], y_test.astype(np.int64))


def run(name: str, seed: int, validate: bool) -> list[Row]:
    """A row for each number of bits and each way to come to m, all of one trained network."""
    pair = PAIRS[name]
    old, new = world(pair.old, seed, validate), world(pair.new, seed, validate)
    encode = thermometer(old.x_train, pair.planes)
    spec = train.Spec(old.features, pair.hidden, old.classes, encode, output=RECIPE.output, seed=seed)
    network = train.Network(spec)
    train.fit(network, old, epochs=pair.epochs, m=RECIPE.m, seed=seed)
    checkpoint = train.Checkpoint(spec, network.tensors(), train.Rule.of(spec, RECIPE.m))
    rows = []
    for bits in BITS:
        for guard in (None, *(GUARDS if validate else (freezing.GUARD,))):
            if validate and guard:
                freezing.GUARD = guard
            options = export.Options(bits=bits, m="auto" if guard else None, seed=seed)
            model = Model(export.write_image(export.freeze(checkpoint, options)))
            order = np.random.default_rng(seed)
            for _ in range(pair.passes):
                shown = order.permutation(len(new.y_train))
                model.learn_many(new.x_train[shown], new.y_train[shown])
            ends = [float((model.predict_many(t.x_test) == t.y_test).mean()) for t in (old, new)]
            rows.append(
                {"pair": name, "seed": seed, "bits": bits, "guard": guard, "old": ends[0], "new": ends[1],
                 "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores", "date": str(date.today())}
            )  # fmt: skip
    return rows


def done() -> list[Row]:
    """Finished runs with the GUARD of today."""
    return [row for row in read_rows(RUNS) if row["guard"] in (None, freezing.GUARD)]


def table(rows: list[Row]) -> str:
    """Markdown: per cent, mean ± standard deviation over seeds."""
    lines = ["| pair | bits | m | first world | second world | mean |", "|---|---|---|---|---|---|"]
    for pair, bits, guard in dict.fromkeys((row["pair"], row["bits"], row["guard"]) for row in rows):
        same = [row for row in rows if (row["pair"], row["bits"], row["guard"]) == (pair, bits, guard)]
        old, new = (100 * np.array([row[key] for row in same]) for key in ("old", "new"))
        way = f"{RECIPE.m:g}, as trained" if guard is None else f"auto, {guard:g}"
        cells = [
            f"{a.mean():.1f} ± {a.std(ddof=1):.1f}" if len(a) > 1 else f"{a.mean():.1f}"
            for a in (old, new, (old + new) / 2)
        ]
        lines.append(f"| {pair} | {bits} | {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page(rows: list[Row]) -> str:
    """docs/results/auto-m/README.md"""
    places = sorted({f"{row['machine']}, {row['date']}" for row in rows})
    seeds = ", ".join(map(str, sorted({row["seed"] for row in rows})))
    return f"""# An m that suits the levels

`METABIT_DATA_DIR=... python benchmarks/auto_m.py` on {"; ".join(places)}, seeds {seeds}. Raw: [runs.jsonl](runs.jsonl).

A network is trained on the first world with the m of the demo, exported, and learns the second world by the device rule, one
sample at a time; test accuracy on both at the end, in per cent. What m does on the device depends on how large training made the
hidden weights: the m of the demo's digits stops all learning after MNIST. `--m auto` sets it layer by layer, so that a synapse at
the highest level is weakened {freezing.GUARD:g} of the times a step asks for it. That number was chosen with `--validate`: on
training images held out, other seeds.

{table(rows)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--validate", action="store_true", help="print what several GUARDs reach at seeds 10 and 11")
    asked = parser.parse_args()
    if asked.validate:
        print(table([row for name in PAIRS for seed in (10, 11) for row in run(name, seed, True)]))
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in PAIRS:
        for seed in SEEDS:
            if not any((row["pair"], row["seed"], row["guard"]) == (name, seed, freezing.GUARD) for row in done()):
                for row in run(name, seed, False):
                    append_row(RUNS, row)
    write_whole(RESULTS / "README.md", page(done()))
    print(table(done()))


if __name__ == "__main__":
    main()
