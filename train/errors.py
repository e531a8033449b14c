"""Errors of training. Every message is one sentence with the value, the limit and the way out."""

from __future__ import annotations

import functools

from metabit.data.errors import MissingExtraError
from metabit.data.errors import extra as _extra

__all__ = ["DivergedError", "MissingExtraError", "TrainError", "extra"]

extra = functools.partial(_extra, room="train")
"""Context manager that turns a failed import into a MissingExtraError with the pip line."""


class TrainError(ValueError):
    """Training cannot use a value."""


class DivergedError(TrainError):
    """A loss or a parameter became NaN or infinite. The message names the step and the layer."""
