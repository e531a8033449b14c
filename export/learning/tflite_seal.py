"""The sha256 of model.train.tflite, in its own metadata: a runtime that does not check what it loads gets no damaged file.

tflite-runtime 2.14 ends the process on some files with one wrong byte. The digest is that of the file with ASCII
zeros in its place.
"""

from __future__ import annotations

import hashlib

import numpy as np

from metabit.export.errors import ExportError
from metabit.export.files.flatbuffer import View
from metabit.export.files.tflite_schema import IDENTIFIER, Model

SEAL = "metabit.sha256"
_PLACE = hashlib.sha256(SEAL.encode()).hexdigest()
"""Stands where the digest will be: 64 bytes that no other buffer has."""


def sealed(model: Model) -> bytes:
    """The model with its digest."""
    model.metadata(SEAL, _PLACE)
    data = model.serialize()
    at = _place(data)
    return data[:at] + _digest(data, at) + data[at + len(_PLACE) :]


def check_seal(data: bytes) -> None:
    """Raises ExportError unless the file is as it was written."""
    at = _place(data)
    if data[at : at + len(_PLACE)] != _digest(data, at):
        raise ExportError("this training file was damaged or changed, its sha256 is another: export it again")


def _place(data: bytes) -> int:
    model = View.root(data, IDENTIFIER)
    numbers = [entry.number(1, np.uint32) for entry in model.tables(6) if entry.string(0) == SEAL]
    buffers = model.tables(4)
    if not numbers or numbers[0] >= len(buffers):
        raise ExportError(f"damaged training file: it has no {SEAL}; export it again")
    return buffers[numbers[0]].span(0)[0]


def _digest(data: bytes, at: int) -> bytes:
    whole = hashlib.sha256(data[:at])
    whole.update(b"0" * len(_PLACE))
    whole.update(data[at + len(_PLACE) :])
    return whole.hexdigest().encode()
