"""Errors and warnings of this room. Each message is one sentence: the value, the limit, the way out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DataError(ValueError):
    """A name, a file or an array cannot be used as data."""


class DataWarning(UserWarning):
    """The reader made a choice that changes what is learnt, such as leaving a column out."""


class MissingExtraError(ImportError):
    """An optional dependency is not installed."""


@contextmanager
def extra(package: str, room: str = "data") -> Iterator[None]:
    """Turns a failed import of ``package`` into one sentence with the pip line.

    Raises MissingExtraError: ``package`` itself is missing. A package that is present but broken keeps its own
    traceback.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise MissingExtraError(f"metabit.{room} needs {package}: pip install 'metabit[train]'", name=package) from None


def damaged(path: Path, reason: object) -> DataError:
    """The error for a file of a public dataset that cannot be read."""
    return DataError(f"{path} is damaged ({reason}): delete it and fetch it again")
