"""The errors of this room. Every message is one sentence: the value, the limit, the way out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class DataError(ValueError):
    """A name, a file or an array that cannot be used as data."""


class MissingExtraError(ImportError):
    """An optional dependency is not installed."""


@contextmanager
def extra(package: str, room: str = "data") -> Iterator[None]:
    """Turns a failed import of ``package`` into one sentence with the pip line.

    Raises:
        MissingExtraError: ``package`` itself is missing. A package that is present but broken keeps its own traceback.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise MissingExtraError(f"metabit.{room} needs {package}: pip install 'metabit[train]'", name=package) from None
