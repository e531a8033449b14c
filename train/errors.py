"""The errors of this room. Every message is one sentence: the value, the limit, the way out."""

from __future__ import annotations

import functools

from metabit.data.errors import MissingExtraError
from metabit.data.errors import extra as _extra

__all__ = ["DivergedError", "MissingExtraError", "TrainError", "extra"]

extra = functools.partial(_extra, room="train")
"""Turns a failed import into one sentence with the pip line (`metabit.data.errors.extra`)."""


class TrainError(ValueError):
    """A value that training cannot use."""


class DivergedError(TrainError):
    """Training met a NaN or an infinity. The message names the step and the layer."""
