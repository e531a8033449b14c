"""Runs real firmware on emulated boards: an image, the C runtime and a board give measurements, budgets and a report.

The program that runs is the program that a user would flash (`build/firmware/`: startup code, linker script, the C runtime, the
image). It is executed instruction by instruction, and every access outside the memory map of the board is a fault::

    board = load_board("nrf52840")                  # board.py       a TOML file: core, memories, clock
    elf = build("model.mbit", board)                # build/         zig's clang; the ELF can be flashed
    with Device(elf, board) as device:              # run/           the emulator, in a process of its own
        meter = Meter(device)                       # report/        keeps the cost of every call
        reply = meter.learn(x, y, "my data")[0]
        print(reply.label, reply.insns, reply.cycles)
        meter.predict(x_test, "my test data")
        found = meter.measurement("all calls above", opt="-Os")
    found = measure("model.mbit", board, x, y)      # report/        all of this in one call
    print(found.learn.ms_max, found.learn.worst)    # report/cost.py mean, 95th percentile, worst call
    print(found.stack_bound)                        # price/stack.py a bound for every input, from the ELF
    for breach in breaches(check(found)):           # budgets.py     limits of budgets.toml
        print(breach)
    write_report(report, "out")                     # report/page.py report.json, report.html
    program = build_serial(image, load_target("rp2040"))  # serial/  a program with a serial line, for a chip or for QEMU
    with SerialDevice("/dev/ttyACM0") as device:    # serial/device.py  the host's end of that line
        device.learn_many(x, y)

Instruction counts are exact and repeatable. Cycles and milliseconds are estimates for memory without wait states
(price/cycles.toml) and always come with the name and the error band of their model.

A name is loaded at its first use: the emulator process needs few of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from metabit.firmware_sim.build.toolchain import build

if TYPE_CHECKING:
    from metabit.firmware_sim.board import Board, boards, load_board
    from metabit.firmware_sim.budgets import Budgets, Check, breaches, check, load_budgets
    from metabit.firmware_sim.build.elf import Program
    from metabit.firmware_sim.errors import (
        BoardError,
        BuildError,
        DeviceLost,
        DoesNotFit,
        FirmwareError,
        FirmwareFault,
        MissingExtra,
        StackUnbounded,
    )
    from metabit.firmware_sim.price.stack import StackBound, stack_bound
    from metabit.firmware_sim.report.cost import Cost
    from metabit.firmware_sim.report.measure import Measurement, Meter, measure
    from metabit.firmware_sim.report.page import Chapter, Comparison, Deployment, Line, Provenance, Report, write_report
    from metabit.firmware_sim.run.emulate import Device, Replies, Reply
    from metabit.firmware_sim.serial.device import SerialDevice
    from metabit.firmware_sim.serial.line import LineError
    from metabit.firmware_sim.serial.program import build_serial, write_firmware
    from metabit.firmware_sim.serial.protocol import Info, NoAnswer, Restarted, SerialError
    from metabit.firmware_sim.serial.qemu import Qemu
    from metabit.firmware_sim.serial.target import Target, load_target, machines, targets

__all__ = [
    "Board", "BoardError", "Budgets", "BuildError", "Chapter", "Check", "Comparison", "Cost", "Deployment", "Device",
    "DeviceLost", "DoesNotFit", "FirmwareError", "FirmwareFault", "Info", "Line", "LineError", "Measurement", "Meter",
    "MissingExtra", "NoAnswer", "Program", "Provenance", "Qemu", "Replies", "Reply", "Report", "Restarted",
    "SerialDevice", "SerialError", "StackBound", "StackUnbounded", "Target", "boards", "breaches", "build",
    "build_serial", "check", "load_board", "load_budgets", "load_target", "machines", "measure", "stack_bound",
    "targets", "write_firmware", "write_report",
]  # fmt: skip

_MODULES = {
    "board": ("Board", "boards", "load_board"),
    "budgets": ("Budgets", "Check", "breaches", "check", "load_budgets"),
    "errors": (
        "BoardError", "BuildError", "DeviceLost", "DoesNotFit", "FirmwareError", "FirmwareFault", "MissingExtra",
        "StackUnbounded",
    ),
    "price.stack": ("StackBound", "stack_bound"),
    "report.cost": ("Cost",),
    "report.measure": ("Measurement", "Meter", "measure"),
    "report.page": ("Chapter", "Comparison", "Deployment", "Line", "Provenance", "Report", "write_report"),
    "run.emulate": ("Device", "Replies", "Reply"),
    "build.elf": ("Program",),
    "serial.device": ("SerialDevice",),
    "serial.protocol": ("Info", "NoAnswer", "Restarted", "SerialError"),
    "serial.line": ("LineError",),
    "serial.program": ("build_serial", "write_firmware"),
    "serial.qemu": ("Qemu",),
    "serial.target": ("Target", "load_target", "machines", "targets"),
}  # fmt: skip
_HOME = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}
"""Public name -> its module; `build`, which is also the name of a folder, is imported at once."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
