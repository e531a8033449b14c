"""The stack by computation: never below a run, equal to one that goes all the way down, and equal to what gcc says."""

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from probes import compile_probe

from metabit import runtime
from metabit.firmware_sim import Board, Device, StackUnbounded, build, load_board, stack_bound
from metabit.firmware_sim.build.elf import Program
from metabit.firmware_sim.build.toolchain import FIRMWARE, compile_command
from metabit.firmware_sim.price.stack import Stack
from metabit.runtime import Model, left_out

GCC = pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not on PATH")
COMPILERS = ["zig", pytest.param("gcc", marks=GCC)]


def probe(board: Board, compiler: str) -> Path:
    return compile_probe(board, "stack_probe.c", stack_size=4096, compiler=compiler)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_run_all_the_way_down_takes_exactly_the_bound(board: Board, compiler: str) -> None:
    """Through a jump table, a tail call and a frame of 2,000 bytes."""
    elf = probe(board, compiler)
    bound = stack_bound(Program.read(elf))
    with Device(elf, board) as device:
        assert device.stack_high_water == bound.total
    assert bound.total is not None and 2_000 + 40 < bound.total < 2_200
    assert bound.way[-3:] == ("choose", "tail", "big") and bound.way[0] == "Reset_Handler" and not bound.refused


@pytest.mark.parametrize("compiler", COMPILERS)
def test_what_has_no_bound_is_refused_by_name(either_board: Board, compiler: str) -> None:
    stack = Stack(Program.read(probe(either_board, compiler)))
    for name, message in (
        ("itself", r"itself calls itself \(itself → itself\)"),
        ("ping", r"ping calls itself \(ping → pong → ping\)"),
        ("through", r"through calls through a pointer at 0x\w+ \(`blx r\d+`\)"),
        ("dynamic", r"dynamic moves the stack pointer by an amount known only at run time at 0x\w+ \(`[\w.]+ sp, "),
    ):
        with pytest.raises(StackUnbounded, match=f"^the stack has no bound: {message}"):
            stack.deepest(name)


def test_a_refusal_is_part_of_the_answer(board: Board) -> None:
    bound = stack_bound(Program.read(compile_probe(board, "probe.c", "counted.S")))
    assert bound.total is None and bound.refused.startswith("the stack has no bound: ") and str(bound) == "none"


def test_ways_that_join_and_helpers_inside(either_board: Board) -> None:
    stack = Stack(Program.read(compile_probe(either_board, "probe.c", "counted.S", "joined.S")))
    with pytest.raises(StackUnbounded, match="joined moves the stack pointer by an amount known only at run time"):
        stack.deepest("joined")
    assert stack.frame("helped") >= 8 + 400


def test_frames_counted_by_hand(board: Board) -> None:
    """counted.S: push of 5 and sub 16; push of 2, then a leaf that pushes 3."""
    stack = Stack(Program.read(compile_probe(board, "probe.c", "counted.S")))
    assert stack.frame("counted_memory") == 36
    assert stack.frame("counted_call") == 8
    assert stack.deepest("counted_call") == (20, ("counted_call", "leaf"))


@pytest.mark.parametrize(
    ("name", "compiler", "opt"),
    [
        ("nrf52840", "zig", "-O3"),
        ("rp2040", "zig", "-O3"),
        pytest.param("nrf52840", "gcc", "-O2", marks=GCC),
        pytest.param("rp2040", "gcc", "-Os", marks=GCC),
    ],
)
def test_no_run_of_another_build_takes_more(image: Path, name: str, compiler: str, opt: str) -> None:
    """test_device.py tests this for every board and kind of network with the default compiler and -Os."""
    board, image = load_board(name), image.with_stem("votes-3bit")
    model, rng = Model.open(image), np.random.default_rng(2)
    elf = build(image, board, compiler=compiler, opt=opt, stack_size=2048)
    with Device(elf, board) as device:
        device.learn_many(
            rng.integers(0, 256, (60, model.input_size)).astype(np.uint8), rng.integers(0, model.classes, 60)
        )
        bound = stack_bound(Program.read(elf))
        assert bound.total is not None and device.stack_high_water <= bound.total
        assert bound.calls["mb_predict"] < bound.calls["mb_learn"] < bound.total
        assert bound.calls["mb_learn"] < (1024 if opt == "-Os" else 1280), "as metabit.h says"


PUSHED = {("nrf52840", "add_words"): 4}
"""Board, function -> bytes that its assembler pushes, which gcc does not report."""


@GCC
@pytest.mark.parametrize(("name", "opt"), [("rp2040", "-Os"), ("nrf52840", "-O2")])
def test_every_frame_is_the_one_gcc_reports(image: Path, tmp_path: Path, name: str, opt: str) -> None:
    board, votes = load_board(name), image.with_stem("votes-3bit")
    sources = [*runtime.sources(), *(FIRMWARE / file for file in ("startup.c", "memory.c", "port_emulated.c"))]
    includes = [f"-I{path}" for path in (runtime.include_dir(), FIRMWARE, FIRMWARE / "freestanding")]
    command = [
        *compile_command(board, "gcc", opt),
        *includes,
        *(f"-D{macro}" for macro in left_out(votes.read_bytes())),
    ]
    command += ["-fstack-usage", "-c", *map(str, sources)]
    subprocess.run(command, cwd=tmp_path, check=True)
    reported: dict[str, set[int]] = defaultdict(set)
    for file in tmp_path.glob("*.su"):
        for line in file.read_text().splitlines():
            place, size, kind = line.split("\t")
            assert kind == "static"
            reported[place.rpartition(":")[2]].add(int(size))
    program = Program.read(build(votes, board, compiler="gcc", opt=opt, stack_size=2048))
    stack, checked = Stack(program), 0
    for function in program.functions:
        name = re.sub(r"\.\d+$", "", function.name)  # gcc counts its clones in the ELF, not in its report
        if name in reported:
            frame = stack.frame(function.name)
            assert frame is not None and reported[name] == {frame - PUSHED.get((board.name, name), 0)}, name
            checked += 1
    assert checked > 40
