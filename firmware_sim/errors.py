"""What can go wrong in this room, one class per thing a caller may want to handle."""

from __future__ import annotations

import importlib
from typing import Any


class FirmwareError(Exception):
    """Base of everything this room raises on purpose."""


class MissingExtra(FirmwareError):
    """A package of the `firmware` extra is not installed."""


class BoardError(FirmwareError):
    """A board or budget file that cannot be used."""


class BuildError(FirmwareError):
    """The compiler or linker refused, or built something that must not be flashed."""


class DoesNotFit(BuildError):
    """The program is larger than the board's flash or RAM."""


class StackUnbounded(FirmwareError):
    """No bound can be given for the stack of a firmware."""


class FirmwareFault(FirmwareError):
    """The firmware did what would stop a real chip, or asked to stop with an error.

    pc: address of the offending instruction. function: its name, "?" when unknown.
    address: the memory it touched, None where the fault is not about memory.
    """

    def __init__(self, reason: str, *, pc: int, function: str, address: int | None = None) -> None:
        self.reason, self.pc, self.function, self.address = reason, pc, function, address
        where = f" (address {address:#010x})" if address is not None else ""
        super().__init__(f"{reason}{where} at pc {pc:#010x} in {function}")


class DeviceLost(FirmwareError):
    """The emulator process ended without an answer."""


_DISTRIBUTION = {"elftools": "pyelftools"}


def require(module: str) -> Any:
    """Import a module of the `firmware` extra, or say in one sentence what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        name = _DISTRIBUTION.get(package, package)
        raise MissingExtra(f"metabit.firmware_sim needs {name}: pip install 'metabit[firmware]'") from error
