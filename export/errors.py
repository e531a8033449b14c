"""Errors of export, and the checks that raise them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class ExportError(ValueError):
    """A network, a file or an array that export cannot use; the message names it, its limit and the way out."""


class MissingExtra(ImportError):
    """An optional package is absent, or cannot be used here."""

    def __init__(self, package: str, way_out: str = "pip install 'metabit[export]'") -> None:
        super().__init__(f"metabit.export needs {package}: {way_out}")
        self.package = package


def require(module: str, package: str | None = None) -> Any:
    """Imports an optional module on first use, so that the core install never needs it.

    package: its name for pip, if that is not the first part of the module's name. Raises MissingExtra.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as absent:
        raise MissingExtra(package or module.partition(".")[0]) from absent


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Puts the name of a file before the message of an ExportError that is raised inside."""
    try:
        yield
    except ExportError as wrong:
        raise type(wrong)(f"{os.fspath(path)}: {wrong}") from None


def need_rows(name: str, x: NDArray[Any], dtype: DTypeLike, width: int) -> None:
    """Raises ExportError unless the array has this dtype and the shape (n, width)."""
    if x.dtype != dtype or x.ndim != 2 or x.shape[1] != width:
        raise ExportError(f"{name} must be {np.dtype(dtype)} (n, {width}), not {x.dtype} {x.shape}")


def need_number(name: str, value: object, low: float, high: float, range_: str, kind: type = float) -> None:
    """Raises ExportError, which says that `name` must be `range_`, unless value is a number from low to high.

    kind: int accepts whole numbers only.
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    number = whole or (kind is float and isinstance(value, float | np.floating))
    if not number or not low <= value <= high:  # type: ignore[operator]
        raise ExportError(f"{name}={value!r}: must be {range_}")
