"""Accuracy on an endless stream against cost on a board: docs/results/streams/frontier.md from results/frontier.jsonl.

    METABIT_DATA_DIR=... python benchmarks/frontier.py all

The devices of the stream of 100 tasks: their accuracy from the rows of benchmarks/streams.py, and their memory and cycles on an
emulated nRF52840, predicting and learning.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import streams
from checkpoints import digest

from metabit import firmware_sim
from metabit.experiments import plots, results
from metabit.experiments.results import Benchmark, Cell, Draw, Row
from metabit.runtime import Model, sources

NAME = "permuted-mnist-100"
PAGE = "docs/results/streams/frontier.md"
BOARD = "nrf52840"
MEASURED = 500
"""Samples behind a mean number of cycles."""
WARM = 3000
"""Samples learnt on the board before, so that the batch is full: counting its votes is most of the work."""


def cells(name: str) -> dict[str, list[Cell]]:
    return {
        device: [{key: value for key, value in some[0].items() if key != "seed"} | {"board": BOARD}]
        for device, some in streams.cells(NAME).items()
    }


def measure(asked: Cell) -> Row:
    """Cost of one device on the board in the middle of the stream's second task."""
    experiment = streams.EXPERIMENTS[NAME]
    built = experiment.devices[asked["device"]]
    stream = streams.Stream(experiment, seed=0)
    model = Model(streams.first_image(experiment, built, 0))
    streams.learn(model, stream.samples(0))
    x, y = (np.concatenate(part) for part in zip(*islice(stream.samples(1), 30), strict=True))
    host = len(x) - WARM - MEASURED
    model.learn_many(x[:host], y[:host])
    image, x, y = model.image(), x[host:], y[host:]
    board = firmware_sim.load_board(BOARD)
    found = firmware_sim.measure(image, board, x[:MEASURED])
    with firmware_sim.Device(firmware_sim.build(image, board), board) as on_board:
        taught = int((~on_board.learn_many(x[:WARM], y[:WARM]).skipped.astype(bool)).sum())
        learnt = on_board.learn_many(x[WARM:], y[WARM:])
    assert taught > built.options.batch, f"{taught} of {WARM} samples taught {asked['device']}: its batch is not full"
    predict = asdict(found.predict)
    del predict["course"]  # only a report draws it
    cycles = {"mean": float(learnt.cycles.mean()), "max": int(learnt.cycles.max())}
    return {
        "sources": digest(b"".join(path.read_bytes() for path in sources())), "bits": built.options.bits,
        "state_bytes": model.state_size, "arena_bytes": model.arena_size(), "flash_bytes": found.flash.total,
        "ram_bytes": found.ram.total, "predict": predict, "learn_cycles": cycles,
        "learn_ms": board.milliseconds(cycles["mean"]), "core": found.core, "clock_hz": found.clock_hz,
        "model": found.model, "band_percent": found.band_percent, "compiler": found.compiler, **results.provenance(),
    }  # fmt: skip


def points() -> dict[str, tuple[Row, list[float]]]:
    """Device -> its costs, and its accuracies 0..1 by seed."""
    accuracy = {device: [row["accuracy"] for row in rows] for device, rows in streams.BENCHMARK.done(NAME).items()}
    found = BENCHMARK.done("frontier").items()
    return {device: (rows[0], accuracy[device]) for device, rows in found if device in accuracy}


def pages() -> dict[str, str]:
    found = points()
    if not found:
        return {}
    one = next(iter(found.values()))[0]
    rows: list[list[Any]] = [
        [
            device, results.spread(accuracy), f"{p['state_bytes']:,}", f"{p['arena_bytes']:,}", f"{p['ram_bytes']:,}",
            f"{p['flash_bytes']:,}", f"{p['predict']['cycles_mean'] / 1e3:.0f}", f"{p['learn_cycles']['mean'] / 1e3:.0f}",
            f"{p['learn_cycles']['max'] / 1e3:.0f}", f"{p['learn_ms']:.1f}",
        ]
        for device, (p, accuracy) in found.items()
    ]  # fmt: skip
    head = [
        "device", "accuracy", "state, bytes", "arena, bytes", "RAM in all", "flash", "predict, kcycles", "learn, kcycles",
        f"worst of {MEASURED}", "learn, ms",
    ]  # fmt: skip
    about = (
        f"{BENCHMARK.command('all')}: permuted MNIST, 100 tasks, mean of the last five ([streams](README.md)), and its cost on an "
        f"emulated {BOARD} ({one['core']}, {one['clock_hz'] / 1e6:.0f} MHz, {one['compiler']}). Cycles are estimates "
        f"({one['model']}); learning is the mean of {MEASURED} steps in the middle of the second task, with a full batch. "
        f"Library sources {', '.join(sorted({p['sources'] for p, _ in found.values()}))}. {BENCHMARK.raw(PAGE)}"
    )
    return {PAGE: results.page("Accuracy, bytes and cycles", about, results.markdown(head, rows))}


def pictures() -> dict[str, Draw]:
    lines = {
        f"{device}, {p['learn_cycles']['mean'] / 1e3:.0f} kcycles": ([p["state_bytes"] / 1024] * len(shares), shares)
        for device, (p, shares) in points().items()
    }
    panels = {"permuted MNIST, 100 tasks": lines}
    draw = partial(plots.curves, panels=panels, xlabel="state, KiB", ylabel="test accuracy, %")
    return {"build/pictures/streams/frontier.svg": draw}


BENCHMARK = Benchmark(
    __file__, {"frontier": "Accuracy, bytes and cycles of the devices of 100 tasks"}, cells, pages, measure, pictures=pictures
)  # fmt: skip

if __name__ == "__main__":
    results.main(BENCHMARK)
