"""The ways this room says no. Every message is one sentence: what was passed, the limit, the way out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class TrainError(ValueError):
    """Something the user passed cannot be used."""


class DivergedError(TrainError):
    """Training met a NaN or an infinity. The message names the step and the layer."""


class MissingExtraError(ImportError):
    """An optional dependency of this room is not installed."""


@contextmanager
def extra(package: str) -> Iterator[None]:
    """Turn a failed import of ``package`` into one sentence with the pip line.

    Raises:
        MissingExtraError: ``package`` itself is missing. A package that is present but broken keeps its own traceback.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise MissingExtraError(f"metabit.train needs {package}: pip install 'metabit[train]'", name=package) from None
