"""The structs of hook.h for ctypes, and the check that both declarations agree."""

from __future__ import annotations

import ctypes as c
from collections.abc import Iterator
from typing import Any

from metabit.firmware_sim.errors import FirmwareError
from metabit.firmware_sim.run.protocol import REPLY

_u32, _u64, _p = c.c_uint32, c.c_uint64, c.c_void_p
PHASES, LAYERS = 8, 32
IDLE, EXIT, RUNAWAY, EXCEPTION, OUTSIDE = 1, 2, 3, 4, 7
"""Values of stop_reason in hook.h."""


def _fields(kind: Any, names: str) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


class Block(c.Structure):
    _fields_ = [
        *_fields(_u32, "address size next insns cycles taken entered mispredicted jump predicted"),
        *_fields(c.c_int32, "sp_low"),
    ]


class Tally(c.Structure):
    _fields_ = _fields(_u64, "insns cycles calls")


class DeviceState(c.Structure):
    """`device` of hook.h."""

    _fields_ = [
        *_fields(_p, "uc emu_stop reg_read decode blocks slot"),
        *_fields(_u64, "insns cycles insns_here cycles_here patience deadline"),
        *_fields(_u32, "code_start code_size block_count block_limit current sp_register sp_low"),
        *_fields(_u32, "stopped value fault_address fault_seen wait line_shift sets ways"),
        *_fields(_p, "lines"),
        *_fields(_u32, "opening profile_opening"),
        *_fields(Tally, "open boot"),
        *_fields(_u32, "profile_slot"),
        *_fields(Tally, "profile_open"),
        *_fields(Tally * (PHASES * LAYERS), "profile"),
        *_fields(_u32, "command count next width classes input_size"),
        *_fields(_p, "inputs labels replies scores states state sample"),
        *_fields(_u32, "state_size score"),
    ]


class _Field(c.Structure):
    _fields_ = [("name", c.c_char * 32), ("offset", _u32), ("size", _u32)]


def check_layout(library: Any) -> None:
    """Compare name, offset and size of every field with hook_fields of the compiled hook.c. Raises FirmwareError."""
    native, at = {}, 0
    first = _Field.in_dll(library, "hook_fields")
    while True:
        field = _Field.from_address(c.addressof(first) + at * c.sizeof(_Field))
        if not field.name:
            break
        native[field.name.decode()] = (int(field.offset), int(field.size))
        at += 1
    ours = dict(layout())
    wrong = [name for name in {**native, **ours} if native.get(name) != ours.get(name)]
    if wrong:
        name = wrong[0]
        raise FirmwareError(
            f"hook.h and structs.py disagree about {name}: (offset, size) is {native.get(name)} in C, {ours.get(name)} here"
        )


def layout() -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield (name, (offset, size)) of every field in this file, in the form of hook_fields."""
    kinds: dict[str, type[c.Structure]] = {"block": Block, "tally": Tally, "device": DeviceState}
    for name, kind in kinds.items():
        yield f"sizeof {name}", (0, c.sizeof(kind))
        for entry in kind._fields_:
            descriptor: Any = getattr(kind, entry[0])
            yield f"{name}.{entry[0]}", (descriptor.offset, descriptor.size)
    yield "sizeof reply", (0, REPLY.itemsize)
    for name, (dtype, offset, *_) in (REPLY.fields or {}).items():
        yield f"reply.{name}", (offset, dtype.itemsize)
