"""What can go wrong in export, in the caller's words."""

from __future__ import annotations

import importlib
from typing import Any


class ExportError(ValueError):
    """A network, a file or an array that export cannot use; the message says what was passed and what to do."""


class MissingExtra(ImportError):
    """An optional package is absent."""

    def __init__(self, package: str) -> None:
        super().__init__(f"metabit.export needs {package}: pip install 'metabit[export]'")
        self.package = package


def require(module: str, package: str | None = None) -> Any:
    """Import an optional module on first use, so that the core install never needs it.

    package: the name pip knows it by, where it differs from the module's first part. Raises MissingExtra.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as absent:
        raise MissingExtra(package or module.partition(".")[0]) from absent
