"""A fault that stops a chip stops the emulator with one sentence, and never the caller."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from probes import compile_probe

from metabit.firmware_sim import (
    Board,
    BuildError,
    Device,
    DeviceLost,
    DoesNotFit,
    FirmwareError,
    FirmwareFault,
    MissingExtra,
    build,
    load_board,
    load_budgets,
)
from metabit.firmware_sim.board import CORES
from metabit.runtime import InputError


@pytest.mark.parametrize(
    ("experiment", "function", "reason", "address"),
    [
        (4, "write_flash", "write to read-only memory", None),
        (5, "read_unmapped", "read from an address where the board has no memory", 0x60000000),
        (6, "?", "execution of RAM", None),
        (11, "?", "jump to flash that holds no code", None),
        (8, "overflow", "stack overflow: more than the 512 bytes reserved", None),
        (10, "port_exit", "the firmware stopped with mb_status -7", None),
    ],
)
def test_faults_are_caught_and_named(
    board: Board, probe: Path, experiment: int, function: str, reason: str, address: int | None
) -> None:
    with Device(probe, board) as device:
        assert device.predict([0, 3]).label == 0
        with pytest.raises(FirmwareFault, match=reason) as caught:
            device.predict(np.array([experiment, 0], np.uint8))
        assert caught.value.function == function
        assert address is None or caught.value.address == address
        assert f"pc {caught.value.pc:#010x}" in str(caught.value)
        with pytest.raises(FirmwareFault, match=reason):
            device.predict([0, 3])  # a chip that faulted stays down


def test_a_stack_overflow_is_caught_at_the_lowest_address_of_ram(board: Board, probe: Path) -> None:
    with Device(probe, board) as device, pytest.raises(FirmwareFault) as caught:
        device.predict([8, 0])
    assert caught.value.address is not None and board.ram.origin - 512 <= caught.value.address < board.ram.origin


def test_an_m0_plus_has_neither_division_nor_unaligned_loads() -> None:
    small, large = load_board("rp2040"), load_board("nrf52840")
    with Device(compile_probe(large, "probe.c", "counted.S"), large) as device:
        assert len(device.predict_many([[3, 0], [9, 0]])) == 2
    elf = compile_probe(small, "probe.c", "counted.S")
    for experiment, reason in ((3, "an instruction this core does not have"), (9, "unaligned access")):
        with Device(elf, small) as device, pytest.raises(FirmwareFault, match=reason):
            device.predict([experiment, 0])


def test_an_endless_call_ends(either_board: Board, either_probe: Path) -> None:
    impatient = replace(load_budgets(), instructions_per_call=100_000)
    with Device(either_probe, either_board, budgets=impatient) as device:
        with pytest.raises(
            FirmwareFault, match="no answer within 100,000 instructions .*in spin|instructions at pc .* in spin"
        ):
            device.predict([7, 0])


def test_a_refused_sample_is_an_error_but_not_the_end(either_board: Board, either_probe: Path) -> None:
    with Device(either_probe, either_board) as device:
        with pytest.raises(FirmwareError, match="sample 1: refused with mb_status -23"):
            device.predict_many([[0, 3], [99, 0]])
        assert device.predict([0, 3]).insns == 7


def test_wrong_inputs_never_reach_the_device(either_board: Board, either_probe: Path) -> None:
    with Device(either_probe, either_board) as device:
        with pytest.raises(ValueError, match=r"inputs have shape \(1, 3\), this device takes \(n, 2\)"):
            device.predict(np.zeros(3, np.uint8))
        with pytest.raises(ValueError, match=r"labels are int64 \(1,\), 2 inputs need integers \(2,\)"):
            device.learn_many(np.zeros((2, 2), np.uint8), [1])


@pytest.mark.parametrize("label", [-1, 1, 65536, 2**32])
def test_a_label_that_is_no_class_never_reaches_the_device(either_board: Board, either_probe: Path, label: int) -> None:
    """65536 would become class 0 in the 16 bits of the port."""
    with Device(either_probe, either_board) as device:
        with pytest.raises(InputError, match=rf"label {label} of sample 1 is outside 0..0: this model has 1 classes"):
            device.learn_many([[0, 1], [0, 1]], [0, label])
        with pytest.raises(InputError, match=rf"label {label} of sample 0"):
            device.learn([0, 1], label)
        assert device.predict([0, 3]).insns == 7


START = """
import sys, pathlib
{before}
from metabit.firmware_sim import Device, load_board
with Device({elf!r}, load_board({board!r})) as device:
    assert device.predict([0, 3]).insns == 7
assert "unicorn" not in sys.modules, "unicorn (GPLv2) stays out of the process of the caller"
print("ran")
"""


@pytest.mark.parametrize("before", ["", "sys.path.insert(0, str(pathlib.Path.cwd()))", "sys.path.insert(0, '.')"])
def test_modules_in_the_current_directory_are_never_executed(
    before: str, either_board: Board, either_probe: Path, tmp_path: Path
) -> None:
    """The caller imports metabit first; its module path then holds the directory in every form that Python gives it."""
    trap = "import pathlib; pathlib.Path(__file__).with_name('executed').write_text(__name__)\nraise SystemExit(9)\n"
    for name in ("unicorn.py", "capstone.py", "metabit/__init__.py", "numpy/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(trap)
    loaded = "import metabit.firmware_sim.run.emulate"  # with the directory out of the way
    code = START.format(
        before=f"sys.path.remove('')\n{loaded}\n{before}", elf=str(either_probe), board=either_board.name
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "ran\n", done.stderr
    assert not list(tmp_path.rglob("executed"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_dead_emulator_is_reported(either_board: Board, either_probe: Path) -> None:
    with Device(either_probe, either_board) as device:
        os.kill(device.pid, signal.SIGKILL)
        with pytest.raises(DeviceLost, match="ended with exit code -9"):
            device.predict([0, 1])
        with pytest.raises(DeviceLost, match="closed"):
            device.predict([0, 1])


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_the_emulator_with_the_call(either_board: Board, either_probe: Path) -> None:
    with Device(either_probe, either_board) as device:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            device.predict([7, 0])
        with pytest.raises(ProcessLookupError):
            os.kill(device.pid, 0)


def test_what_is_not_a_firmware_is_refused(either_board: Board, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not an ELF file")
    with pytest.raises(FirmwareError, match="not an ELF file"):
        Device(text, either_board)


def test_fpu_code_runs_where_there_is_an_fpu_and_is_refused_where_not() -> None:
    large, small = load_board("nrf52840"), load_board("rp2040")
    with Device(compile_probe(large, "fpu.S"), large) as device:
        assert device.input_size == 2
    with pytest.raises(
        BuildError, match=r"FPU instruction `vadd.f32 s0, s0, s0` at 0x1000.*, but Cortex-M0\+ has no FPU"
    ):
        compile_probe(small, "fpu.S")


def test_soft_float_is_refused() -> None:
    with pytest.raises(BuildError, match=r"soft-float helper __\w+ was linked: the runtime uses integers only"):
        compile_probe(replace(load_board("rp2040"), core=CORES["m3"]), "soft_float.c")


def test_a_compiler_error_is_shown(either_board: Board, tmp_path: Path) -> None:
    bad = tmp_path / "bad.c"
    bad.write_text("int main(void) { return missing; }\n")
    with pytest.raises(BuildError, match="bad.c:1:25: error: use of undeclared identifier 'missing'"):
        compile_probe(either_board, bad)


def test_too_big_says_how_big(either_board: Board, image: Path) -> None:
    tiny = replace(either_board, ram=replace(either_board.ram, size=4096))
    with pytest.raises(
        DoesNotFit,
        match=r"needs [45],\d{3} bytes of RAM \(state 2,188, arena [\d,]+, .*has 4,096: use fewer hidden bits or units",
    ):
        build(image, tiny)
    short = replace(either_board, flash=replace(either_board.flash, size=4096))
    with pytest.raises(DoesNotFit, match=r"bytes of flash \(image 2,\d{3}, code .*\), board \w+ has"):
        build(image, short)


@pytest.mark.parametrize(
    ("module", "package"), [("unicorn", "unicorn"), ("elftools", "pyelftools"), ("ziglang", "ziglang")]
)
def test_a_missing_extra_is_one_sentence(
    module: str, package: str, either_board: Board, either_probe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra) as caught:
        Device(either_probe, either_board)
    assert str(caught.value) == f"metabit.firmware_sim needs {package}: pip install 'metabit[firmware]'"
