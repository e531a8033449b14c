"""Cost of every kernel on every core, by both compilers: docs/results/runtime/kernels.md from results/kernels.jsonl.

    METABIT_DATA_DIR=... python benchmarks/kernels.py all
    METABIT_DATA_DIR=... python benchmarks/kernels.py kernels --only "784→512, MNIST" --print

Networks are random: a kernel's time does not depend on the values of its weights. The firmware is the one a user would flash, on
the emulator; instructions are exact, cycles estimates with the bands of firmware_sim/price/cycles.toml, from memory without wait
states.
Without arm-none-eabi-gcc only zig's columns are measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from checkpoints import digest
from numpy.typing import NDArray

from metabit import firmware_sim
from metabit.data.image_sets import load
from metabit.experiments import results
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.export.files.image import write_image
from metabit.export.frozen import ConvGeometry, ConvLayer, DenseLayer, Frozen, Layer, OutputLayer, Rule, Takes
from metabit.firmware_sim.build.elf import Program
from metabit.firmware_sim.build.toolchain import compiler_version
from metabit.firmware_sim.errors import BuildError
from metabit.firmware_sim.price.cycles import load_model
from metabit.runtime import Model, left_out, sources

PAGE = "docs/results/runtime/kernels.md"
SEED = 0
SAMPLES = 5
DIGITS = 20
ROOMY = 1 << 20
"""Bytes of RAM that every board has here: 784-512-512-10 at 4 bits a synapse does not fit into any of the real ones."""
CLASSES = 10
FLAGS = ("zig -O2", "gcc -O2", "zig -Os")
FOR_SIZE = ("zig -Os", "gcc -Os")
Bits = NDArray[np.uint8]


def levels(rng: np.random.Generator, inputs: int, units: int, k: int) -> NDArray[np.int8]:
    return rng.integers(-(2 ** (k - 1)), 2 ** (k - 1), (units, inputs)).astype(np.int8)


def output(
    rng: np.random.Generator, inputs: int, k: int, rule: Rule | None = None, takes: Takes = "signs"
) -> OutputLayer:
    rng.integers(-8, 9, CLASSES)  # drawn and not used, so that the networks stay those of the recorded rows
    ones, zeros = np.ones(CLASSES, np.int32), np.zeros(CLASSES, np.int32)
    return OutputLayer(levels(rng, inputs, CLASSES, k), k, takes, ones, zeros, rule)


def rule(k: int, dose: int) -> Rule:
    """Probabilities of the paper's form: 1 away from zero, f(r) = 1 / (1 + r/4) toward it."""
    weaken = np.round(65535 / (1 + np.arange(2 ** (k - 1)) / 4)).astype(np.uint16)
    return Rule(np.full(2 ** (k - 1), 65535, np.uint16), weaken, dose)


def dense(*sizes: int, uint8: bool = False, k: int = 1, dose: int = 0, ternary: bool = False) -> Frozen:
    """Dense layers that learn if k > 1; ternary: the backward pass of hidden layers above the first.

    Random levels, and thresholds and straight-through window within 8 of zero: about half of the units lie inside. Thresholds of a
    first layer that takes bytes are spread as its sums are.
    """
    rng = np.random.default_rng(SEED)
    layers: list[Layer] = []
    takes: Takes = "bytes" if uint8 else "bits"
    taught = rule(k, dose) if k > 1 else None
    for i, (inputs, units) in enumerate(zip(sizes[:-2], sizes[1:-1], strict=True)):
        theta = rng.integers(-2000, 2001, units) if takes == "bytes" else rng.integers(-8, 9, units)
        if takes == "bytes":
            rng.integers(-8, 9, units)  # as in `output`
        hidden, ste_window = levels(rng, inputs, units, k), 0 if takes == "bytes" else 8
        layers.append(DenseLayer(hidden, k, takes, theta.astype(np.int32), ste_window, taught, ternary and i > 0))
        takes = "signs"
    return Frozen((*layers, output(rng, sizes[-2], k, taught, takes)), None, 64, 0, 1)


def conv(side: int, channels: int, units: int, uint8: bool = False) -> Frozen:
    rng = np.random.default_rng(SEED)
    theta = (rng.integers(-8, 9, units) * (255 if uint8 else 1)).astype(np.int32)
    rng.integers(-8, 9, units)  # as in `output`
    geometry = ConvGeometry(side, side, channels, 3, same=True)
    first = ConvLayer(levels(rng, 9 * channels, units, 1), 1, "bytes" if uint8 else "bits", theta, geometry)
    return Frozen((first, output(rng, side * side * units, 1)), None, 64, 0, 1)


def random_bits(density: float) -> Callable[[Frozen, int], Bits]:
    def make(frozen: Frozen, n: int) -> Bits:
        on = np.random.default_rng(SEED + 1).random((n, frozen.layers[0].values)) < density
        return np.packbits(on, axis=1, bitorder="little")

    return make


def random_bytes(frozen: Frozen, n: int) -> Bits:
    return np.random.default_rng(SEED + 1).integers(0, 256, (n, frozen.layers[0].values)).astype(np.uint8)


def digits(frozen: Frozen, n: int) -> Bits:
    """The first MNIST test images: pixels, or bits that are on where a pixel is above 127."""
    pixels = np.asarray(load("mnist").x_test[:n]).reshape(n, -1)
    return pixels if frozen.layers[0].takes == "bytes" else np.packbits(pixels > 127, axis=1, bitorder="little")


@dataclass(frozen=True)
class Case:
    """A row of the tables. of: index of the layer measured, or "predict" or "learn" for a whole call."""

    name: str
    frozen: Frozen
    inputs: Callable[[Frozen, int], Bits]
    samples: int
    of: int | str

    @property
    def macs(self) -> int:
        layers = self.frozen.layers if isinstance(self.of, str) else (self.frozen.layers[self.of],)
        places = [int(np.prod(row.geometry.convolved)) if isinstance(row, ConvLayer) else 1 for row in layers]
        return sum(row.units * row.inputs * n for row, n in zip(layers, places, strict=True))


def cases() -> list[Case]:
    wide, b = dense(784, 512, 10), (784, 512, 512, 10)
    half, fifth = random_bits(0.5), random_bits(0.19)
    return [
        Case("dense 784→512, 50 % on", wide, half, SAMPLES, 0),
        Case("dense 784→512, 19 % on", wide, fifth, SAMPLES, 0),
        Case("dense 784→512, MNIST", wide, digits, DIGITS, 0),
        Case("dense 512→512, ±1", dense(*b), half, SAMPLES, 1),
        Case("conv 3×3 64→64, 16×16", conv(16, 64, 64), half, 1, 0),
        Case("dense 784→512, 8 bits, MNIST", dense(784, 512, 10, uint8=True), digits, DIGITS, 0),
        Case("dense 784→512, 8 bits, noise", dense(784, 512, 10, uint8=True), random_bytes, SAMPLES, 0),
        Case("conv 3×3 3→64, 16×16, 8 bits", conv(16, 3, 64, uint8=True), random_bytes, 1, 0),
        Case("conv 3×3 3→64, 16×16, bits", conv(16, 3, 64), half, 1, 0),
        Case("784-512-512-10 predict", dense(*b), digits, DIGITS, "predict"),
        Case("784-512-512-10 learn, k = 4", dense(*b, k=4, dose=DOSE_B), digits, DIGITS, "learn"),
        Case("784-512-512-10 learn, k = 4, ternary", dense(*b, k=4, dose=DOSE_B, ternary=True), digits, DIGITS, "learn"),
        Case("784-256-10 predict", dense(784, 256, 10), digits, DIGITS, "predict"),
        Case("784-256-10 learn, k = 4", dense(784, 256, 10, k=4, dose=DOSE_A), digits, DIGITS, "learn"),
    ]  # fmt: skip


DOSE_A, DOSE_B = 1300, 3700
"""For about 100 and about 900 visits a step."""


def cells(name: str) -> dict[str, list[Cell]]:
    if name == "code":
        return {build: [{"experiment": name, "build": build, "flags": f} for f in FOR_SIZE] for build in builds()}
    return {
        case.name: [
            {"experiment": name, "case": case.name, "board": board, "flags": flags}
            for board in firmware_sim.boards()
            for flags in FLAGS
        ]
        for case in cases()
    }


def here(asked: Cell) -> bool:
    """True if the compiler is installed."""
    try:
        return bool(compiler_version(asked["flags"].split()[0]))
    except BuildError:
        return False


def measure(asked: Cell) -> Row:
    """Figures of one cell, with the digest of the library's sources and the compiler they belong to."""
    figures = code_size(asked) if asked["experiment"] == "code" else kernel(asked)
    library = digest(b"".join(path.read_bytes() for path in sources()))
    compiler = compiler_version(asked["flags"].split()[0])
    return figures | {"sources": library, "compiler": compiler} | results.provenance()


def kernel(asked: Cell) -> Row:
    """Means over the samples, checked against the host."""
    case = next(case for case in cases() if case.name == asked["case"])
    board = firmware_sim.load_board(asked["board"])
    board = replace(board, ram=replace(board.ram, size=ROOMY))
    compiler, opt = asked["flags"].split()
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
        "core": board.cycle_model, "model": load_model(board.cycle_model).label, "insns": round(insns),
        "cycles": round(cycles), "macs": case.macs, "visited": round(float(replies.visited.mean()), 1),
    }  # fmt: skip


HARNESS = {"main", "scores", "model", "vectors", "image", "arena_memory", "state_memory", "memcpy", "memset"}
"""Symbols of the firmware, beside those that start with port_ and the handlers, that are not of the library."""


def builds() -> dict[str, tuple[Frozen, tuple[str, ...]]]:
    """Build -> an image for it, and the macros of the parts it leaves out."""
    learner, frozen = dense(784, 256, 10, k=4, dose=DOSE_A), dense(784, 256, 10)
    features = left_out(write_image(frozen), "infer")
    parts = ("LEARN", "CONV", "BYTES", "GRADED", "GATES", "VISITS", "TERNARY", "CHECKS")
    return {
        "predict only, an image that is part of the program": (frozen, (*features, "MB_WITHOUT_CHECKS")),
        "predict only": (frozen, features),
        "predict and learn, dense layers": (learner, left_out(write_image(learner))),
        "everything": (learner, ()),
        **{f"everything but {part.lower()}": (learner, (f"MB_WITHOUT_{part}",)) for part in parts},
    }


def code_size(asked: Cell) -> Row:
    """Bytes of code and constant tables of a Cortex-M4F build: of the library, and of the whole program."""
    compiler, opt = asked["flags"].split()
    network, without = builds()[asked["build"]]
    elf = firmware_sim.build(
        write_image(network), firmware_sim.load_board("nrf52840"), opt=opt, compiler=compiler, without=without,
        mode="infer" if "MB_WITHOUT_LEARN" in without else "learn",
    )  # fmt: skip
    program = Program.read(elf)
    library = sum(
        symbol.size for of, symbol in program.symbols.items()
        if of not in HARNESS and not of.startswith("port_") and not of.endswith("Handler")
    )  # fmt: skip
    return {"library": library, "program": program.sizes.code}


def page() -> str:
    """docs/results/runtime/kernels.md"""
    found, code = BENCHMARK.rows("kernels"), BENCHMARK.rows("code")

    def one_of(key: str) -> str:
        return ", ".join(sorted({row[key] for row in found}))

    lines = [
        "# Kernels",
        "",
        f"{one_of('date')} · sources {one_of('sources')} · seed {SEED} · {one_of('compiler')} · "
        f"{BENCHMARK.command('all')} · {BENCHMARK.raw(PAGE)}",
        "",
        "Cycles of one binary multiply-accumulate (list of active inputs, thresholds and packing included), or thousands of cycles",
        "of a call; in *italics* the instructions, likewise. Instructions are exact, cycles estimates from memory without wait",
        f"states: {'; '.join(sorted({row['model'] for row in found}))}.",
    ]
    for board in dict.fromkeys(row["board"] for row in found):
        of_board = {(row["case"], row["flags"]): row for row in found if row["board"] == board}
        flags = [f for f in FLAGS if any(f == key[1] for key in of_board)]
        rows = []
        for case in cases():
            some = [of_board[case.name, f] for f in flags if (case.name, f) in of_board]
            if some:
                whole = isinstance(case.of, str)
                name = f"{case.name}, {some[0]['visited']:.0f} visits" if some[0]["visited"] else case.name
                texts = [
                    f"{row['cycles'] / 1e3:.1f} k *{row['insns'] / 1e3:.1f} k*" if whole
                    else f"{row['cycles'] / row['macs']:.3f} *{row['insns'] / row['macs']:.3f}*"
                    for row in some
                ]  # fmt: skip
                rows.append([name, *texts])
        lines += ["", f"## {board}", "", *results.markdown(["", *flags], rows)]
    sizes = {(row["build"], row["flags"]): f"{row['library']:,} *{row['program']:,}*" for row in code}
    flags = [f for f in FOR_SIZE if any(f == key[1] for key in sizes)]
    rows = [[build, *(sizes.get((build, f), "–") for f in flags)] for build in builds()]
    lines += [
        "", "## Code", "",
        "Bytes of the library on a Cortex-M4F, constant tables included; in *italics* the whole program: with start-up, vectors,",
        "memcpy, memset and the port.", "", *results.markdown(["", *flags], rows),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


BENCHMARK = Benchmark(
    __file__,
    {"kernels": "Cycles of every kernel, board and compiler", "code": "Bytes of every build"},
    cells, lambda: {PAGE: page()} if BENCHMARK.rows("kernels") else {}, measure, here=here,
)  # fmt: skip

if __name__ == "__main__":
    results.main(BENCHMARK)
