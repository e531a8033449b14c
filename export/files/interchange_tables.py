"""Tables of uint16 in the JSON text of a file: one number where all entries are equal, else base64 of the bytes, low byte first."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.validate import need


def told(table: NDArray[np.uint16]) -> int | str:
    if len(table) and (table == table[0]).all():
        return int(table[0])
    return base64.b64encode(table.astype("<u2").tobytes()).decode()


def table_of(written: Any, entries: int, what: str) -> NDArray[np.uint16]:
    """Inverse of `told`, and of the lists of numbers that older files hold. entries: at most 2**14.

    Raises ExportError, which names `what`, for another number of entries or one outside 0..65535; ValueError for text that is not
    base64.
    """
    need(0 < entries <= 1 << 14, f"{what} has {entries} entries, at most {1 << 14} can be")
    if isinstance(written, str):
        data = base64.b64decode(written, validate=True)
        numbers = np.frombuffer(data, "<u2").tolist()
    else:
        listed = written if isinstance(written, list) else [written] * entries
        numbers = [int(entry) for entry in listed]
    inside = len(numbers) == entries and all(0 <= number < 1 << 16 for number in numbers)
    need(inside, f"{what} has {entries} entries of 0..65535, not what this file holds")
    return np.array(numbers, np.uint16)
