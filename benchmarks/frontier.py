"""What accuracy on an endless stream costs on a board: docs/results/streams/frontier.{json,md,svg}.

    METABIT_DATA_DIR=... python benchmarks/frontier.py

The devices of the stream of 100 tasks, their accuracy from its runs (benchmarks/streams.py), their memory and their time on an
emulated nRF52840, predicting and learning.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import streams

from metabit import firmware_sim
from metabit.runtime import Model
from metabit.train import plots
from metabit.train.files import write_whole

NAME = "permuted-mnist-100"
BOARD = "nrf52840"
MEASURED = 500
"""Samples behind a latency; slots fill up in the first 128."""


def point(device: str, runs: list[streams.Row]) -> dict[str, Any]:
    """One device: what it reached, and what it takes on the board after it has learnt some samples of the stream's first task."""
    experiment = streams.EXPERIMENTS[NAME]
    built = experiment.devices[device]
    x, y = next(streams.Stream(experiment, seed=0).samples(0))
    model = Model(streams.first_image(experiment, built, 0))
    model.learn_many(x, y)
    image = model.image()
    found = firmware_sim.measure(image, firmware_sim.load_board(BOARD), x[:MEASURED], y[:MEASURED])
    assert found.learn is not None
    return {
        "device": device, "bits": built.options.bits, "accuracy": [row["accuracy"] for row in runs],
        "state_bytes": model.state_size, "arena_bytes": model.arena_size(), "flash_bytes": found.flash.total,
        "ram_bytes": found.ram.total, "visited": float(np.mean([t["visited"] for row in runs for t in row["told"]])),
        "predict": asdict(found.predict), "learn": asdict(found.learn), "core": found.core, "clock_hz": found.clock_hz,
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
        f"{one['compiler']}). Cycles are estimates of model {one['model']}, ±{one['band_percent']} %; learning is the "
        f"mean of {MEASURED} steps, in the first 128 of which slots are still empty.",
        "",
        "![Accuracy against state](frontier.svg)",
        "",
        "| device | accuracy | state, bytes | scratch, bytes | RAM in all | flash | predict, kcycles | learn, kcycles | worst "
        "| learn, ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for p in points:
        learn = p["learn"]
        lines.append(
            f"| {p['device']} | {streams.spread(p['accuracy'])} | {p['state_bytes']:,} | {p['arena_bytes']:,} "
            f"| {p['ram_bytes']:,} | {p['flash_bytes']:,} | {p['predict']['cycles_mean'] / 1e3:.0f} "
            f"| {learn['cycles_mean'] / 1e3:.0f} | {learn['cycles_max'] / 1e3:.0f} | {learn['ms_mean']:.1f} |"
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
            p["device"]: (p["state_bytes"] / 1024, p["accuracy"], f"{p['learn']['cycles_mean'] / 1e3:.0f} kcycles")
            for p in points
        },
        "Permuted MNIST, 100 tasks: accuracy against state",
    )
    print(table(points))


if __name__ == "__main__":
    main()
