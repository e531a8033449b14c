"""Cost of opening an image, old checksums and new, and of the re-open: docs/results/runtime/boot.md from results/boot.jsonl.

    python benchmarks/boot.py all

The firmware is boot.c, on the emulator; instructions are exact, cycles estimates (firmware_sim/price/cycles.toml) from memory
without wait states. Networks are random: no cost here depends on the values of weights. Without arm-none-eabi-gcc only zig's rows
are measured.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from checkpoints import digest
from kernels import FLAGS, ROOMY, SEED, dense, here, levels

from metabit import export, firmware_sim
from metabit.experiments import results
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.export import Cuts, Frozen, GatesLayer, LevelsLayer, write_image
from metabit.firmware_sim.build.toolchain import FIRMWARE, compile_elf, compiler_version
from metabit.firmware_sim.price.cycles import load_model
from metabit.runtime import Model, include_dir, left_out, sources

PAGE = "docs/results/runtime/boot.md"
SUMS = {"CRC-32": True, "words": False}
FOR_SIZE = tuple(flags for flags in (*FLAGS, "gcc -Os") if flags.endswith("-Os"))
GCC_TOO = ("nrf52840", "rp2040")
WAYS = ("open", "attach", "again")
"""The calls that boot.c makes by the first byte of the sample: mb_open; mb_attach; mb_reopen and mb_reattach."""


def gates(features: int, units: int, classes: int) -> Frozen:
    """Features above 127, gates, levels of 8 bits that do not learn."""
    rng = np.random.default_rng(SEED)
    cuts = Cuts("uint8", np.full((1, 1), 127, np.uint8), None, features)
    layer = GatesLayer(levels(rng, features, units, 1), np.full(units, 9, np.int16), np.zeros(units, np.int32), 10)
    last = LevelsLayer(np.maximum(levels(rng, units + 1, classes, 8), -127), 8, None)
    return Frozen((layer, last), cuts, 64, 0, 1)


@cache
def networks() -> dict[str, Frozen]:
    """Name -> network. The second is the demo's of before: a fixed output above a hidden layer that learns."""
    large, small = dense(784, 512, 512, 10, k=5, dose=100), dense(256, 512, 10, k=5, dose=100)
    fixed = {"bits": 1, "rule": None}

    def first_fixed(frozen: Frozen, at: int) -> Frozen:
        hidden = np.sign(frozen.layers[at].hidden.astype(np.int8) * 2 + 1).clip(-1, 0).astype(np.int8)
        layers = list(frozen.layers)
        layers[at] = replace(layers[at], hidden=hidden, **fixed)
        return replace(frozen, layers=tuple(layers))

    sample = np.random.default_rng(SEED).integers(0, 256, (64, 64)).astype(np.uint8)
    return {
        "784-512-512-10, 5 bits above the first layer": first_fixed(large, 0),
        "256-512-10, 5 bits, output fixed": first_fixed(small, 1),
        "784-96-10, gates and levels": gates(784, 96, 10),
        "64 features, 64 units from nothing, head of 10": export.fresh(sample, 10),
    }


def cells(name: str) -> dict[str, list[Cell]]:
    return {
        f"{network}, {sums}": [
            {"experiment": name, "network": network, "sums": sums, "board": board, "flags": flags}
            for board in firmware_sim.boards()
            for flags in (FOR_SIZE if board in GCC_TOO else FOR_SIZE[:1])
        ]
        for network in networks()
        for sums in SUMS
    }


def measure(asked: Cell) -> Row:
    """Instructions and cycles of each way."""
    frozen = networks()[asked["network"]]
    image = write_image(frozen, crc32=SUMS[asked["sums"]])
    board = firmware_sim.load_board(asked["board"])
    board = replace(board, ram=replace(board.ram, size=ROOMY))
    compiler, opt = asked["flags"].split()
    model = Model(image)
    own = [FIRMWARE / name for name in ("startup.c", "memory.c", "port_emulated.c", "image.S")]
    main = Path(__file__).with_name("boot.c")
    elf = compile_elf(
        [*sources(), *own, main], board, files={"image.mbit": image}, opt=opt, compiler=compiler,
        apart={main: {"STATE_BYTES": model.state_size, "ARENA_BYTES": model.arena_size("learn")}},
        include_dirs=[include_dir(), FIRMWARE, FIRMWARE / "freestanding"], defines=dict.fromkeys(left_out(image), 1),
    )  # fmt: skip
    ways = np.zeros((len(WAYS), model.input_size), np.uint8)
    ways[:, 0] = range(len(WAYS))
    with firmware_sim.Device(elf, board) as device:
        replies = device.predict_many(ways)
    figures = {
        way: {"insns": int(i), "cycles": int(c)} for way, i, c in zip(WAYS, replies.insns, replies.cycles, strict=True)
    }
    return figures | {
        "bytes": len(image), "state": model.state_size, "clock_hz": board.clock_hz,
        "model": load_model(board.cycle_model).label, "compiler": compiler_version(compiler),
        "sources": digest(b"".join(path.read_bytes() for path in sources())),
    } | results.provenance()  # fmt: skip


def page() -> str:
    found = BENCHMARK.rows("boot")

    def one_of(key: str) -> str:
        return ", ".join(sorted({row[key] for row in found}))

    lines = [
        "# Boot",
        "",
        f"{one_of('date')} · sources {one_of('sources')} · seed {SEED} · {one_of('compiler')} · "
        f"`python benchmarks/boot.py all` · {BENCHMARK.raw(PAGE)}",
        "",
        "Milliseconds of library calls at the board's clock; in *italics* thousands of instructions. *open*: `mb_open`, by the",
        "checksums of images before 1.5 (CRC-32) and by those of 1.5; *attach*: `mb_attach`, which copies the state; *again*:",
        "`mb_reopen` and `mb_reattach`, for an image that the program has checked before and a state that sleep spared.",
        "Instructions are exact, cycles estimates from memory without wait states: "
        f"{'; '.join(sorted({row['model'] for row in found}))}.",
        "A program also clears its memory at start, which is not counted here, and `metabit simulate` counts it.",
    ]
    for network in networks():
        rows = []
        for board in firmware_sim.boards():
            for flags in FOR_SIZE:
                old, new = (
                    next((row for row in found if (row["network"], row["sums"], row["board"], row["flags"])
                          == (network, sums, board, flags)), None) for sums in SUMS
                )  # fmt: skip
                if old is None or new is None:
                    continue
                ratio = old["open"]["cycles"] / new["open"]["cycles"]
                rows.append([board, flags, told(old, "open"), told(new, "open"), f"{ratio:.1f}", told(new, "attach"),
                             told(new, "again")])  # fmt: skip
        size = next(
            (f"{row['bytes']:,} bytes, {row['state']:,} of them state" for row in found if row["network"] == network),
            "",
        )
        lines += ["", f"## {network}", "", f"{size}.", ""]
        head = ["board", "compiler", "open, CRC-32", "open, words", "times faster", "attach", "again"]
        lines += results.markdown(head, rows)
    return "\n".join(lines) + "\n"


def told(row: Row, way: str) -> str:
    figures = row[way]
    return f"{figures['cycles'] / row['clock_hz'] * 1e3:.2f} *{figures['insns'] / 1e3:.1f}*"


BENCHMARK = Benchmark(
    __file__, {"boot": "Cost of opening an image"}, cells, lambda: {PAGE: page()} if BENCHMARK.rows("boot") else {}, measure,
    here=here,
)  # fmt: skip

if __name__ == "__main__":
    results.main(BENCHMARK)
