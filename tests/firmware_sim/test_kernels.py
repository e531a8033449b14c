"""Every kernel on every emulated core, from no input on to all of them: sums cross every power of two, lists every remainder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from networks import conv, gates_network, inputs_of_density, network, ternary, windowed

from metabit.export.files.image import write_image
from metabit.export.frozen import Cuts, Frozen, HeadLayer, HeadRows
from metabit.firmware_sim import Device, boards, build, load_board
from metabit.firmware_sim.build.elf import Program
from metabit.firmware_sim.build.toolchain import Compiler
from metabit.runtime import Model, left_out

DENSITIES = np.linspace(0, 1, 17)
BUILDS: list[tuple[str, Compiler, str]] = [
    *((board, "zig", "-Os") for board in boards()),
    *((board, "zig", "-O2") for board in ("rp2040", "nrf52840")),
    *((board, "gcc", opt) for board in ("rp2040", "nrf52840") for opt in ("-O2", "-Os")),
]
GCC = shutil.which("arm-none-eabi-gcc") is not None


def shared_cuts() -> Frozen:
    """A cut below 128 and one from there on: the assembler of a Cortex-M0+ compares with them in two ways."""
    made = gates_network(10, 331, 2, 70, 10, "levels", "uint8", 5, True, shared=True)
    assert isinstance(made.encode, Cuts)
    made.encode.cuts[:] = [[127], [128]]
    return made


def beside_cuts(network: Frozen) -> np.ndarray:
    """Features equal to a cut and one above it, then any features; none of a network without cuts."""
    if not isinstance(network.encode, Cuts):
        return np.zeros((0, network.input_bytes), np.uint8)
    cuts = network.encode.cuts
    near = np.resize(cuts, (2, network.input_bytes // cuts.itemsize)) + [[0], [1]]
    anything = np.random.default_rng(0).integers(0, 256, (4, network.input_bytes))
    return np.concatenate([near.astype(cuts.dtype).view(np.uint8), anything.astype(np.uint8)])


@cache
def frozen(name: str) -> Frozen:
    return {
        # more than 16 * 16 active inputs, three words of units, 10 classes in half words
        "dense": lambda: network(5, (331, 70, 45, 10), 3, 0, (True, True, True), 9000),
        # classes in two words; one learning layer in the middle
        "wide output": lambda: network(6, (97, 33, 64, 37), 5, 0, (False, True, False), 20000),
        # ten words of signs, filled up to sixteen; few enough visits that half of the open units do
        "ternary": lambda: ternary(network(9, (60, 150, 300, 10), 3, 0, (True, True, True), 9000)),
        # two rows of strips: 1,024 entries hold 21 of these 41 columns; then odd channels and an odd stride
        "conv": lambda: windowed(7, (6, 41, 47), (conv(35, 3, 1, True, 2), conv(9, 2, 2)), (7,), "bits", 2),
        "uint8": lambda: windowed(8, (1, 1, 77), (), (67, 5), "uint8", 4, (False, True)),
        # two cuts for all, counts beyond a byte, two blocks of 32 levels and six more
        "gates": shared_cuts,
        # planes whose cuts begin at any byte, less than one block of levels, then levels of 4 bits
        "cuts": lambda: gates_network(11, 47, 7, 31, 5, "levels", "uint8", 5, True),
        "wide cuts": lambda: gates_network(12, 23, 9, 33, 3, "levels", "int16", 4, True),
        "head": lambda: gates_network(13, 36, 8, 32, 4, "head", "uint8"),
    }[name]()


NAMES = ("dense", "ternary", "wide output", "conv", "uint8", "gates", "cuts", "wide cuts", "head")
HALVES: tuple[set[tuple[str, Compiler, str]], ...] = (
    {("rp2040", "zig", "-Os"), ("rp2040", "gcc", "-O2"), ("nrf52840", "zig", "-O2"), ("nrf52840", "gcc", "-Os")},
    {("rp2040", "zig", "-O2"), ("rp2040", "gcc", "-Os"), ("nrf52840", "zig", "-Os"), ("nrf52840", "gcc", "-O2")},
)
"""Builds for the two cores where the kernels differ; the other cores run the same C as the second. A network runs on one half of
the builds, which has every core, compiler and level."""


@pytest.mark.parametrize(
    ("name", "board", "compiler", "opt"),
    [(name, *of) for of in BUILDS for at, name in enumerate(NAMES) if of in HALVES[at % 2] or name == "dense"],
)
def test_kernels_equal_the_host_at_every_density(name: str, board: str, compiler: Compiler, opt: str) -> None:
    if compiler == "gcc" and not GCC:
        pytest.skip("no arm-none-eabi-gcc")
    agrees(frozen(name), board, build(write_image(frozen(name)), load_board(board), compiler=compiler, opt=opt))


def agrees(network: Frozen, board: str, program: Path) -> None:
    """Board and host agree on scores, moves and state at every density and beside the cuts."""
    model = Model(write_image(network))
    x = np.concatenate([*(inputs_of_density(network, d, 2, i) for i, d in enumerate(DENSITIES)), beside_cuts(network)])
    y = np.random.default_rng(9).integers(0, model.classes, len(x))
    with Device(program, load_board(board)) as device:
        assert np.array_equal(np.asarray(device.predict_many(x).scores), model.scores(x))
        learnt, steps = device.learn_many(x, y), model.learn_many(x, y)
        for got, expected in (
            (learnt.visited, steps.visited),
            (learnt.moved, steps.moved),
            (learnt.flipped, steps.flipped),
        ):
            assert np.array_equal(got, expected)
        assert steps.moved.sum() > 0 or model.learner == "head"
        assert device.state() == model.state()


@pytest.mark.parametrize("board", ["rp2040", "nrf52840"])
@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_levels_beside_a_head_equal_the_host_and_cost_a_kilobyte(compiler: Compiler, board: str) -> None:
    """Compiled for size, such a program reads levels one by one."""
    if compiler == "gcc" and not GCC:
        pytest.skip("no arm-none-eabi-gcc")
    core, head = load_board(board), write_image(frozen("head"))
    alone = left_out(head)
    both = [part for part in alone if part != "MB_WITHOUT_LEVELS"]
    for name in ("gates", "cuts", "wide cuts"):
        image = write_image(frozen(name))
        agrees(frozen(name), board, build(image, core, compiler=compiler, without=both))
    code = [Program.read(build(head, core, compiler=compiler, without=parts)).sizes.code for parts in (both, alone)]
    assert 0 < code[0] - code[1] <= {"nrf52840": 1024, "rp2040": 1152}[board]


def utmost() -> Frozen:
    """A head whose state lies at the ends of what int16 and int8 hold, so that every sum is as large as it can be."""
    frozen, rng = gates_network(5, units=63, classes=6), np.random.default_rng(5)
    last = frozen.layers[-1]
    assert isinstance(last, HeadLayer)

    def ends(like: np.ndarray, low: int) -> np.ndarray:
        return rng.choice([low, low + 1, -low - 1], like.shape).astype(like.dtype)

    state = {"covariance": -32768, "means": -32768, "hidden": -128}
    changed = replace(last, **{name: ends(getattr(last, name), low) for name, low in state.items()}, seen=64)
    return replace(frozen, layers=(*frozen.layers[:-1], changed))


@cache
def head(name: str) -> Frozen:
    return {
        # 34 values, no multiple of four; seven rows, which are not even; two classes are new
        "rows": lambda: gates_network(11, units=17, classes=5, spare=2, rows=HeadRows(2, 1, 1), row_count=7),
        "utmost": utmost,
    }[name]()


@pytest.mark.parametrize(
    ("name", "board", "compiler", "opt"),
    [
        (name, *of)
        for of in BUILDS
        for at, name in enumerate(("rows", "utmost"))
        if of in HALVES[at] or of[0] == "sam3x8e"
    ],
)
def test_heads_equal_the_host(name: str, board: str, compiler: Compiler, opt: str) -> None:
    if compiler == "gcc" and not GCC:
        pytest.skip("no arm-none-eabi-gcc")
    image, core = write_image(head(name)), load_board(board)
    model, rng = Model(image), np.random.default_rng(13)
    x = rng.integers(0, 256, (24, model.input_size)).astype(np.uint8)
    y = rng.integers(0, 3, len(x))
    y[-1] = 4
    with Device(build(image, core, compiler=compiler, opt=opt), core) as device:
        assert np.array_equal(np.asarray(device.predict_many(x).scores), model.scores(x))
        states = device.learn_many(x, y, states=True).states
        assert states is not None
        for sample, label, state in zip(x, y.tolist(), states, strict=True):
            model.learn_one(sample, label)
            assert state.tobytes() == model.state()
