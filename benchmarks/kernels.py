"""What every kernel costs on every core, by both compilers: docs/results/runtime/kernels.{json,md}.

    METABIT_DATA_DIR=... python benchmarks/kernels.py

Random networks: a kernel's time does not depend on what its weights mean. The firmware is the one a user would flash, on the
emulator; instructions are exact, cycles estimates with the bands of firmware_sim/cycles.toml, from memory without wait states.
Without arm-none-eabi-gcc only zig's columns are measured. --smoke writes nothing and runs one small cell.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from lab import digest
from numpy.typing import NDArray

from metabit import firmware_sim
from metabit.data.image_sets import load
from metabit.data.rows import write_whole
from metabit.export.files.image import write_image
from metabit.export.frozen import Frozen, Layer, Rule, Window
from metabit.firmware_sim.build.elf import Program
from metabit.firmware_sim.build.toolchain import compiler_version, left_out
from metabit.firmware_sim.errors import BuildError
from metabit.firmware_sim.price.cycles import load_model
from metabit.runtime import Model, sources

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "runtime"
SEED = 0
SAMPLES = 5
DIGITS = 20
ROOMY = 1 << 20
"""Bytes of RAM that every board gets here: 784-512-512-10 at 4 bits a synapse does not fit a real one of them."""
FLAGS = ("zig -O2", "gcc -O2", "zig -Os")
FOR_SIZE = ("zig -Os", "gcc -Os")
SOURCES = digest(b"".join(path.read_bytes() for path in sources()))
Bits = NDArray[np.uint8]


def layer(rng: np.random.Generator, inputs: int, units: int, **of: Any) -> Layer:
    """Random levels, thresholds within 8 of zero, and so is the window: about half of the units lie inside."""
    settings: dict[str, Any] = dict(
        kind="dense", bits=1, on_off=False, theta=rng.integers(-8, 9, units), window=8, mul=np.ones(units),
        add=np.zeros(units)
    ) | of  # fmt: skip
    half = 2 ** (settings["bits"] - 1)
    if settings["kind"] == "output":
        settings["theta"], settings["window"] = np.zeros(units), 0
    for name in ("theta", "mul", "add"):
        settings[name] = settings[name].astype(np.int32)
    return Layer(hidden=rng.integers(-half, half, (units, inputs)).astype(np.int8), **settings)


def rule(k: int, dose: int) -> Rule:
    """The paper's: always away from zero, towards it by f(r) = 1 / (1 + r/4)."""
    weaken = np.round(65535 / (1 + np.arange(2 ** (k - 1)) / 4)).astype(np.uint16)
    return Rule(np.full(2 ** (k - 1), 65535, np.uint16), weaken, dose)


def dense(*sizes: int, uint8: bool = False, k: int = 1, dose: int = 0, ternary: bool = False) -> Frozen:
    """Fully connected; learns at k > 1. A first layer on 8-bit inputs has thresholds as wide as its sums.

    ternary: of hidden layers above the first.
    """
    rng = np.random.default_rng(SEED)
    layers = []
    for i, (inputs, units) in enumerate(zip(sizes, sizes[1:], strict=False)):
        of: dict[str, Any] = {"kind": "output" if i == len(sizes) - 2 else "dense", "on_off": i == 0, "bits": k}
        if k > 1:
            of["rule"] = rule(k, dose)
        of["ternary"] = ternary and 0 < i < len(sizes) - 2
        if uint8 and i == 0:
            of |= {"uint8": True, "theta": rng.integers(-2000, 2001, units), "window": 0}
        layers.append(layer(rng, inputs, units, **of))
    return Frozen(tuple(layers), None, 64, 0, 1)


def conv(side: int, channels: int, units: int, uint8: bool = False) -> Frozen:
    rng = np.random.default_rng(SEED)
    inputs = 9 * channels
    theta = rng.integers(-8, 9, units) * (255 if uint8 else 1)
    window = Window(side, side, channels, 3, same=True)
    first = layer(rng, inputs, units, kind="conv", on_off=True, theta=theta, window=0, conv=window, uint8=uint8)
    return Frozen((first, layer(rng, side * side * units, 10, kind="output")), None, 64, 0, 1)


def random_bits(density: float) -> Callable[[Frozen, int], Bits]:
    def make(frozen: Frozen, n: int) -> Bits:
        on = np.random.default_rng(SEED + 1).random((n, frozen.layers[0].values)) < density
        return np.packbits(on, axis=1, bitorder="little")

    return make


def random_bytes(frozen: Frozen, n: int) -> Bits:
    return np.random.default_rng(SEED + 1).integers(0, 256, (n, frozen.layers[0].values)).astype(np.uint8)


def digits(frozen: Frozen, n: int) -> Bits:
    """The first MNIST test digits: pixels, or on where above 127."""
    pixels = np.asarray(load("mnist").x_test[:n]).reshape(n, -1)
    return pixels if frozen.layers[0].uint8 else np.packbits(pixels > 127, axis=1, bitorder="little")


@dataclass(frozen=True)
class Case:
    """One row. of: the layer measured, or "predict" or "learn" for a whole call, whose unit is then the synapse."""

    name: str
    frozen: Frozen
    inputs: Callable[[Frozen, int], Bits]
    samples: int
    of: int | str
    study: dict[str, float]
    """Cycles a MAC (of a whole call: kcycles) of the study's prototype, gcc -O2 (../research is not part of the project)."""

    @property
    def macs(self) -> int:
        layers = self.frozen.layers if isinstance(self.of, str) else (self.frozen.layers[self.of],)
        places = [int(np.prod(row.conv.convolved)) if row.conv else 1 for row in layers]
        return sum(row.units * row.inputs * n for row, n in zip(layers, places, strict=True))


def cases() -> list[Case]:
    wide, b = dense(784, 512, 10), (784, 512, 512, 10)
    half, fifth = random_bits(0.5), random_bits(0.19)
    return [
        Case("dense 784→512, 50 % on", wide, half, SAMPLES, 0, {"m0plus": 0.309, "m3": 0.180, "m4": 0.177, "m7": 0.108}),
        Case("dense 784→512, 19 % on", wide, fifth, SAMPLES, 0, {"m0plus": 0.139, "m3": 0.079, "m4": 0.077, "m7": 0.048}),
        Case("dense 784→512, MNIST", wide, digits, DIGITS, 0, {"m0plus": 0.111, "m3": 0.068, "m4": 0.066, "m7": 0.040}),
        Case("dense 512→512, ±1", dense(*b), half, SAMPLES, 1, {"m0plus": 0.328, "m3": 0.193, "m4": 0.189, "m7": 0.115}),
        Case("conv 3×3 64→64, 16×16", conv(16, 64, 64), half, 1, 0,
             {"m0plus": 0.426, "m3": 0.251, "m4": 0.247, "m7": 0.155}),
        Case("dense 784→512, 8 bits, MNIST", dense(784, 512, 10, uint8=True), digits, DIGITS, 0, {}),
        Case("dense 784→512, 8 bits, noise", dense(784, 512, 10, uint8=True), random_bytes, SAMPLES, 0, {}),
        Case("conv 3×3 3→64, 16×16, 8 bits", conv(16, 3, 64, uint8=True), random_bytes, 1, 0, {}),
        Case("conv 3×3 3→64, 16×16, bits", conv(16, 3, 64), half, 1, 0, {}),
        Case("784-512-512-10 predict", dense(*b), digits, DIGITS, "predict",
             {"m0plus": 136.1, "m3": 80.3, "m4": 78.6, "m7": 48.1}),
        Case("784-512-512-10 learn, k = 4", dense(*b, k=4, dose=DOSE_B), digits, DIGITS, "learn",
             {"m0plus": 853, "m3": 484, "m4": 488, "m7": 303}),
        Case("784-512-512-10 learn, k = 4, ternary", dense(*b, k=4, dose=DOSE_B, ternary=True), digits, DIGITS, "learn",
             {"m0plus": 629, "m3": 345, "m4": 346, "m7": 220}),
        Case("784-256-10 predict", dense(784, 256, 10), digits, DIGITS, "predict",
             {"m0plus": 27.8, "m3": 16.1, "m4": 15.8, "m7": 9.8}),
        Case("784-256-10 learn, k = 4", dense(784, 256, 10, k=4, dose=DOSE_A), digits, DIGITS, "learn",
             {"m0plus": 76.4, "m3": 41.8, "m4": 41.6, "m7": 28.5}),
    ]  # fmt: skip


DOSE_A, DOSE_B = 1300, 3700
"""For about 100 and about 900 visits a step."""


def measure(case: Case, board_name: str, flags: str) -> dict[str, Any]:
    """One cell: means over the samples, checked against the host."""
    board = firmware_sim.load_board(board_name)
    board = replace(board, ram=replace(board.ram, size=ROOMY))
    compiler, opt = flags.split()
    image = write_image(case.frozen)
    x = case.inputs(case.frozen, case.samples)
    build: dict[str, Any] = {"opt": opt, "compiler": compiler}
    whole = isinstance(case.of, str)
    with firmware_sim.Device(firmware_sim.build(image, board, profile=not whole, **build), board) as device:
        model = Model(image)
        if case.of == "learn":
            y = np.random.default_rng(SEED + 2).integers(0, 10, case.samples)
            replies, steps = device.learn_many(x, y), model.learn_many(x, y)
            assert np.array_equal(replies.visited, steps.visited), f"{case.name}: board and host disagree"
        else:
            replies = device.predict_many(x)
            assert np.array_equal(np.asarray(replies.scores), model.scores(x)), f"{case.name}: board and host disagree"
    if whole:
        insns, cycles = float(replies.insns.mean()), float(replies.cycles.mean())
    else:
        row = next(row for row in replies.profile if row.layer == case.of)
        insns, cycles = row.insns / case.samples, row.cycles / case.samples
    return {
        "case": case.name, "board": board_name, "model": board.cycle_model, "flags": flags, "insns": round(insns),
        "cycles": round(cycles), "macs": case.macs, "per_mac": round(cycles / case.macs, 4),
        "visited": round(float(replies.visited.mean()), 1),
    }  # fmt: skip


HARNESS = {"main", "scores", "model", "vectors", "image", "arena_memory", "state_memory", "memcpy", "memset"}
"""Of the firmware, beside what starts with port_ and the handlers; the rest is the library."""


ALONE = tuple(f"MB_WITHOUT_{part}" for part in ("LEARN", "CONV", "BYTES", "GRADED", "TERNARY", "CHECKS"))


def code_sizes(flags: str) -> list[dict[str, Any]]:
    """Bytes of code and constant tables that a Cortex-M4F build of the library takes, part by part."""
    compiler, opt = flags.split()
    learner, frozen = dense(784, 256, 10, k=4, dose=DOSE_A), dense(784, 256, 10)
    features = left_out(write_image(frozen), "infer")
    rows: list[tuple[str, Frozen, tuple[str, ...]]] = [
        ("predict only, an image that is part of the program", frozen, (*features, "MB_WITHOUT_CHECKS")),
        ("predict only", frozen, features),
        ("predict and learn, dense layers", learner, left_out(write_image(learner))),
        ("everything", learner, ()),
        *((f"everything but {macro.removeprefix('MB_WITHOUT_').lower()}", learner, (macro,)) for macro in ALONE),
    ]
    found = []
    for name, network, without in rows:
        elf = firmware_sim.build(
            write_image(network), firmware_sim.load_board("nrf52840"), opt=opt, compiler=compiler, without=without,
            mode="infer" if "MB_WITHOUT_LEARN" in without else "learn",
        )  # fmt: skip
        program = Program.read(elf)
        library = sum(
            symbol.size for of, symbol in program.symbols.items()
            if of not in HARNESS and not of.startswith("port_") and not of.endswith("Handler")
        )  # fmt: skip
        found.append({"build": name, "flags": flags, "library": library, "program": program.sizes.code})
    return found


def table(found: dict[str, Any]) -> str:
    """Markdown from the JSON."""
    lines = [
        "# Kernels",
        "",
        f"{found['date']} · sources {found['sources']} · seed {SEED} · {', '.join(found['compilers'])} · "
        "`METABIT_DATA_DIR=... python benchmarks/kernels.py`",
        "",
        "Cycles a binary multiply-accumulate (list of active inputs, thresholds and packing included), or thousands of cycles a",
        "call, in *italics* the instructions a MAC or the thousands a call. Instructions are exact, cycles estimates from memory",
        "without wait states: "
        + "; ".join(found["models"])
        + ". Study: the prototype this scheme was found with, gcc -O2.",
    ]
    for board in dict.fromkeys(cell["board"] for cell in found["cells"]):
        of_board = [cell for cell in found["cells"] if cell["board"] == board]
        flags = list(dict.fromkeys(cell["flags"] for cell in of_board))
        lines += ["", f"## {board}", "", f"| | study | {' | '.join(flags)} |", "|---|---|" + "---|" * len(flags)]
        for case in cases():
            cells = {cell["flags"]: cell for cell in of_board if cell["case"] == case.name}
            if not cells:
                continue
            whole = isinstance(case.of, str)
            study = case.study.get(next(iter(cells.values()))["model"])
            texts = [
                f"{c['cycles'] / 1e3:.1f} k *{c['insns'] / 1e3:.1f} k*" if whole
                else f"{c['per_mac']:.3f} *{c['insns'] / c['macs']:.3f}*"
                for c in (cells[f] for f in flags)
            ]  # fmt: skip
            visits = next(iter(cells.values()))["visited"]
            name = f"{case.name}, {visits:.0f} visits" if visits else case.name
            lines.append(f"| {name} | {study or '–'}{' k' if whole and study else ''} | {' | '.join(texts)} |")
    lines += [
        "", "## Code", "",
        "Bytes of the library on a Cortex-M4F, constant tables included; in *italics* the whole program: with start-up, vectors,",
        "memcpy, memset and the port.", "",
    ]  # fmt: skip
    flags = list(dict.fromkeys(row["flags"] for row in found["code"]))
    lines += [f"| | {' | '.join(flags)} |", "|---|" + "---|" * len(flags)]
    for build in dict.fromkeys(row["build"] for row in found["code"]):
        of_build = {row["flags"]: row for row in found["code"] if row["build"] == build}
        cells = [f"{of_build[f]['library']:,} *{of_build[f]['program']:,}*" for f in flags]
        lines.append(f"| {build} | {' | '.join(cells)} |")
    memory = found["memory"]
    lines += ["", f"784-256-10 learning at 4 bits: {memory['state']:,} B of state, {memory['arena']:,} B of arena."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="part of a case's name; prints, writes nothing")
    parser.add_argument("--boards", nargs="+", default=firmware_sim.boards())
    parser.add_argument("--flags", nargs="+", default=list(FLAGS), help='such as "zig -O2"')
    parser.add_argument("--smoke", action="store_true", help="one small cell, to see that it runs")
    args = parser.parse_args()
    if args.smoke:
        tiny = Case("dense 40→33, 50 % on", dense(40, 33, 10), random_bits(0.5), 2, 0, {})
        print(measure(tiny, args.boards[0], FLAGS[0]))
        return
    try:
        compilers = [compiler_version("zig"), compiler_version("gcc")]
    except BuildError as missing:
        print(f"{missing}: its columns are left out")
        compilers, args.flags = [compiler_version("zig")], [f for f in args.flags if not f.startswith("gcc")]
    cells = []
    for board in args.boards:
        for case in cases():
            if args.only in case.name:
                for flags in args.flags:
                    cells.append(measure(case, board, flags))
                    cell = cells[-1]
                    print(f"{board:12} {case.name:36} {flags:8} {cell['cycles']:>9,} cycles {cell['per_mac']:.4f} a MAC "
                          f"{cell['insns']:>9,} insns {cell['visited']:7.1f} visits", flush=True)  # fmt: skip
    if args.only:
        return
    models = sorted({load_model(firmware_sim.load_board(name).cycle_model).label for name in args.boards})
    learner = Model(write_image(dense(784, 256, 10, k=4, dose=DOSE_A)))
    found = {
        "code": [row for flags in FOR_SIZE if flags.split()[0] in " ".join(compilers) for row in code_sizes(flags)],
        "memory": {"state": learner.state_size, "arena": learner.arena_size()},
        "date": datetime.date.today().isoformat(), "seed": SEED, "sources": SOURCES, "compilers": compilers,
        "models": models, "cells": cells,
    }  # fmt: skip
    write_whole(RESULTS / "kernels.json", json.dumps(found, indent=1) + "\n")
    write_whole(RESULTS / "kernels.md", table(found))


if __name__ == "__main__":
    main()
