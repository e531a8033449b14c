"""Exceptions that the user can correct, and their text."""

from __future__ import annotations

from metabit.data.errors import DataError
from metabit.experiments.errors import UsageError
from metabit.export.errors import ExportError
from metabit.export.errors import MissingExtra as ExportExtra
from metabit.firmware_sim.errors import FirmwareError
from metabit.runtime import InputError, ModelError
from metabit.runtime.package import PackageError
from metabit.train.errors import MissingExtraError, TrainError

__all__ = ["KNOWN", "UsageError", "sentence", "with_options"]

KNOWN = (
    UsageError, DataError, TrainError, MissingExtraError, ExportError, ExportExtra, ModelError, InputError, FirmwareError,
    PackageError,
)  # fmt: skip


def sentence(error: Exception) -> str | None:
    """The sentence of an error that the user can correct. None means a defect of metabit, which keeps its traceback."""
    if isinstance(error, KNOWN):
        return str(error)
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{error.filename}: {error.strerror}: give the path of a file that exists"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return None


def with_options(text: str) -> str:
    """The text of an error of export with the names of options in place of those of arguments."""
    options = {"visit_rate=": "--visits ", "skip_below=": "--margin ", "spare_classes=": "--spare-classes ",
               "rows_per_class=": "--rows ", "sweep_every=": "--sweep-every ", "numbers=-": "--input=-",
               "numbers=": "--input ", "hidden=": "--hidden "}  # fmt: skip
    for name, option in options.items():
        text = text.replace(name, option)
    return text.rstrip()
