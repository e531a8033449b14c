"""Real firmware only: image + runtime + board -> measurements, budgets, report.

The program that runs is the program you would flash (`firmware/`: startup code, linker script, the C runtime, the image),
executed instruction by instruction with the board's memory map enforced::

    board = load_board("nrf52840")                  # board.py      a TOML file: core, memories, clock
    elf = build("model.mbit", board)                # toolchain.py  zig's clang; the ELF is yours to flash
    with Device(elf, board) as device:              # emulate.py    a chip in a process of its own
        reply = device.learn(x, y)
        print(reply.label, reply.insns, reply.cycles)
    measurement = measure("model.mbit", board, x_many, y_many)      # measure.py   flash, RAM, stack, time
    print(measurement.stack_bound)                  # stack.py     what no run can exceed, from the ELF alone
    for breach in breaches(check(measurement)):     # budgets.py    limits live in budgets.toml
        print(breach)
    write_report(report, "out")                     # report.py     report.json, report.html

Instruction counts are exact and repeatable. Cycles and milliseconds are estimates for zero-wait-state memory (cycles.toml)
and are never shown without their model and its error band.
"""

from __future__ import annotations

from metabit.firmware_sim.board import Board, boards, load_board
from metabit.firmware_sim.build.toolchain import build
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
from metabit.firmware_sim.report.budgets import Budgets, Check, breaches, check, load_budgets
from metabit.firmware_sim.report.measure import Measurement, measure
from metabit.firmware_sim.report.page import Deployment, Report, write_report
from metabit.firmware_sim.run.emulate import Device, Replies, Reply

__all__ = [
    "Board",
    "BoardError",
    "Budgets",
    "BuildError",
    "Check",
    "Deployment",
    "Device",
    "DeviceLost",
    "DoesNotFit",
    "FirmwareError",
    "FirmwareFault",
    "Measurement",
    "MissingExtra",
    "Replies",
    "Reply",
    "Report",
    "StackBound",
    "StackUnbounded",
    "boards",
    "breaches",
    "build",
    "check",
    "load_board",
    "load_budgets",
    "measure",
    "stack_bound",
    "write_report",
]
