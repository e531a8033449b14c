"""What accuracy on an endless stream costs on a board: docs/results/streams/frontier.{json,md,svg}.

    METABIT_DATA_DIR=... python benchmarks/frontier.py

The devices of the stream of 100 tasks, their accuracy from its runs (benchmarks/streams.py), their memory and their time on an
emulated nRF52840, predicting and learning.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np
import streams
from lab import digest

from metabit import firmware_sim
from metabit.data.rows import write_whole
from metabit.experiments import plots
from metabit.runtime import Model, sources

NAME = "permuted-mnist-100"
BOARD = "nrf52840"
MEASURED = 500
"""Samples behind a latency."""
WARM = 3000
"""Samples learnt on the board before, so that the slots are full: counting them is most of the work."""
SOURCES = digest(b"".join(path.read_bytes() for path in sources()))
"""Cycles belong to the library that took them."""


def point(device: str, runs: list[streams.Row]) -> dict[str, Any]:
    """One device: what it reached, and what it takes on the board in the middle of the stream's second task."""
    experiment = streams.EXPERIMENTS[NAME]
    built = experiment.devices[device]
    stream = streams.Stream(experiment, seed=0)
    model = Model(streams.first_image(experiment, built, 0))
    streams.learn_task(model, stream, 0)
    x, y = (np.concatenate(part) for part in zip(*islice(stream.samples(1), 30), strict=True))
    host = len(x) - WARM - MEASURED
    model.learn_many(x[:host], y[:host])
    image, x, y = model.image(), x[host:], y[host:]
    board = firmware_sim.load_board(BOARD)
    found = firmware_sim.measure(image, board, x[:MEASURED])
    with firmware_sim.Device(firmware_sim.build(image, board), board) as on_board:
        taught = int((~on_board.learn_many(x[:WARM], y[:WARM]).skipped.astype(bool)).sum())
        learnt = on_board.learn_many(x[WARM:], y[WARM:])
    assert taught > built.options.batch, f"only {taught} of {WARM} samples taught {device}: its slots are not full"
    cycles = {"mean": float(learnt.cycles.mean()), "max": int(learnt.cycles.max())}
    return {
        "device": device, **streams.key(experiment, streams.first_image(experiment, built, 0)), "sources": SOURCES,
        "bits": built.options.bits, "accuracy": [row["accuracy"] for row in runs],
        "state_bytes": model.state_size, "arena_bytes": model.arena_size(), "flash_bytes": found.flash.total,
        "ram_bytes": found.ram.total, "visited": float(np.mean([t["visited"] for row in runs for t in row["told"]])),
        "predict": asdict(found.predict), "learn_cycles": cycles, "learn_ms": board.milliseconds(cycles["mean"]),
        "core": found.core, "clock_hz": found.clock_hz,
        "model": found.model, "band_percent": found.band_percent, "compiler": found.compiler,
    }  # fmt: skip


def table(points: list[dict[str, Any]]) -> str:
    """The page."""
    one = points[0]
    lines = [
        "# Accuracy, bytes and cycles",
        "",
        f"`METABIT_DATA_DIR=... python benchmarks/frontier.py`: permuted MNIST, 100 tasks, mean of the last five "
        f"([{NAME}]({NAME}.md)), and what it takes on an emulated {BOARD} ({one['core']}, {one['clock_hz'] / 1e6:.0f} MHz, "
        f"{one['compiler']}). Cycles are estimates ({one['model']}); learning is the "
        f"mean of {MEASURED} steps in the middle of the second task, with all slots full. Library sources {one['sources']}.",
        "",
        "![Accuracy against state](frontier.svg)",
        "",
        "| device | accuracy | state, bytes | scratch, bytes | RAM in all | flash | predict, kcycles | learn, kcycles "
        f"| worst of {MEASURED} | learn, ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for p in points:
        lines.append(
            f"| {p['device']} | {streams.spread(p['accuracy'])} | {p['state_bytes']:,} | {p['arena_bytes']:,} "
            f"| {p['ram_bytes']:,} | {p['flash_bytes']:,} | {p['predict']['cycles_mean'] / 1e3:.0f} "
            f"| {p['learn_cycles']['mean'] / 1e3:.0f} | {p['learn_cycles']['max'] / 1e3:.0f} | {p['learn_ms']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    found = streams.done(NAME)
    points = [point(device, runs) for device, runs in found.items()]
    if not points:
        raise SystemExit(f"no run of {NAME} is there to place: python benchmarks/streams.py {NAME}")
    write_whole(streams.RESULTS / "frontier.json", json.dumps(points, indent=1) + "\n")
    write_whole(streams.RESULTS / "frontier.md", table(points))
    plots.frontier(
        streams.RESULTS / "frontier.svg",
        {
            p["device"]: (p["state_bytes"] / 1024, p["accuracy"], f"{p['learn_cycles']['mean'] / 1e3:.0f} kcycles")
            for p in points
        },
        "Permuted MNIST, 100 tasks: accuracy against state",
    )
    print(table(points))


if __name__ == "__main__":
    main()
