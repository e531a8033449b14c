"""Main function of the emulator process, which emulate.py starts. It reads requests from stdin and writes answers to stdout.

The emulator runs in a process of its own for three reasons: a crash of the emulator does not end the caller, its gigabyte of
address space is freed with the process, and unicorn (GPLv2) is never loaded into the process of the caller.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from metabit.firmware_sim.errors import FirmwareError, FirmwareFault
from metabit.firmware_sim.run.machine import Machine
from metabit.firmware_sim.run.protocol import LEARN, receive, send

Answer = tuple[dict[str, Any], bytes]


def main() -> None:
    """Answer requests until the parent closes stdin. The first request holds the firmware and the board."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # stdout carries answers only
    machine: Machine | None = None
    handlers: dict[str, Callable[[Machine, dict[str, Any], bytes], Answer]] = {"run": _run, "state": _state}
    while True:
        try:
            request, payload = receive(requests)
        except EOFError:
            return
        try:
            if machine is None:
                machine = Machine(payload, request)
                answer, blob = _boot(machine)
            else:
                answer, blob = handlers[request["op"]](machine, request, payload)
            answer["stack_high_water"] = machine.stack_high_water
        except FirmwareFault as fault:
            answer, blob = {"fault": vars(fault)}, b""
        except Exception as error:
            answer, blob = {"error": str(error) if isinstance(error, FirmwareError) else traceback.format_exc()}, b""
        send(answers, answer, blob)


def _boot(machine: Machine) -> Answer:
    machine.boot()
    d = machine.device
    boot = {"insns": d.boot.insns, "cycles": d.boot.cycles}
    return {"input_size": d.input_size, "classes": d.classes, "boot": boot}, b""


def _run(machine: Machine, request: dict[str, Any], payload: bytes) -> Answer:
    count, width = request["count"], request["width"]
    labels = np.frombuffer(payload, np.uint16, count if request["command"] == LEARN else 0)
    inputs = np.frombuffer(payload, np.uint8, count * width, labels.nbytes).reshape(count, width)
    parts = machine.serve(request["command"], inputs, labels, request["states"])
    return {"profile": machine.profile}, b"".join(part.tobytes() for part in parts)


def _state(machine: Machine, request: dict[str, Any], payload: bytes) -> Answer:
    return {}, machine.state
