"""Errors that firmware_sim raises: one class for each case that a caller may want to handle."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any


class FirmwareError(Exception):
    """Base class of every error that this package raises on purpose."""


class MissingExtra(FirmwareError):
    """A package of the `firmware` extra is not installed."""


class BoardError(FirmwareError):
    """A board file, budget file or cycle model cannot be used."""


class BuildError(FirmwareError):
    """The compiler or linker failed, or the result must not be flashed."""


class DoesNotFit(BuildError):
    """The program is larger than the flash or the RAM of the board."""


class StackUnbounded(FirmwareError):
    """The stack of a firmware has no bound that can be computed."""


class FirmwareFault(FirmwareError):
    """The firmware did something that stops a real chip, or stopped with an error code of its own.

    pc: address of the instruction. function: name of the function around it, "?" when unknown.
    address: memory address of the access, None if the fault is not a memory access.
    """

    def __init__(self, reason: str, *, pc: int, function: str, address: int | None = None) -> None:
        self.reason, self.pc, self.function, self.address = reason, pc, function, address
        where = f" (address {address:#010x})" if address is not None else ""
        super().__init__(f"{reason}{where} at pc {pc:#010x} in {function}")


class DeviceLost(FirmwareError):
    """The emulator process ended without an answer."""


_DISTRIBUTION = {"elftools": "pyelftools"}


def require(module: str) -> Any:
    """Import and return a module of the `firmware` extra. Raises MissingExtra with the pip command."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(module) from error


def require_installed(*modules: str) -> None:
    """Check that modules can be found, without importing them. Raises MissingExtra for the first that cannot."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise _missing(module)


def _missing(module: str) -> MissingExtra:
    package = module.partition(".")[0]
    name = _DISTRIBUTION.get(package, package)
    return MissingExtra(f"metabit.firmware_sim needs {name}: pip install 'metabit[firmware]'")
