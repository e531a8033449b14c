"""Arrays of an image: the sections that a writer fills and the free parts from which a reader takes them (runtime/FORMAT.md)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.files import image_layout as layout
from metabit.export.validate import need

Place = tuple[int, bool]
"""Offset of an array, and True if it counts from the start of the state section, whose place is not known yet."""
ABSENT: Place = (0, False)
Record = tuple[tuple[int, ...], list[Place], tuple[int, ...]]
"""Fields before the six offsets, the offsets, fields after them."""


class Section:
    """Bytes of a section, to which 4-byte aligned arrays are appended. begin: of the constants in the image; 0 for the state."""

    def __init__(self, begin: int, head: bytes = b"") -> None:
        self.begin, self.data = begin, bytearray(head)

    def add(self, array: NDArray[Any]) -> Place:
        """Appends an array and returns its place."""
        at, data = self.begin + len(self.data), np.ascontiguousarray(array).tobytes()
        self.data += data + bytes(-len(data) % 4)
        return at, self.begin == 0


class Parts:
    """An image that is read. ``free``: begin and end of the part of each section that no array has taken yet."""

    def __init__(self, image: bytes, h: layout.Header) -> None:
        self.image, self.h = image, h
        const_end, state_end = h.const_offset + h.const_size, h.state_offset + h.state_size
        self.free = {"constant": [h.const_offset, const_end], "state": [h.state_offset + layout.STATE.size, state_end]}

    def reserved(self, where: str, at: int, places: Iterable[int]) -> None:
        """Raises ExportError for a reserved byte that is not 0. A newer minor version may use it."""
        for place in places if self.h.minor <= layout.MINOR else ():
            value = self.image[at + place]
            need(value == 0, f"byte {place} of {where} is {value}, this format reserves it as 0: export it again")

    def array(self, section: str, at: int, dtype: str, *shape: int) -> NDArray[Any]:
        """Takes an array from the free part of a section. An array without entries has the offset 0."""
        size, (begin, end) = math.prod(shape) * np.dtype(dtype).itemsize, self.free[section]
        if size == 0:
            need(at == 0, f"an array without entries has offset {at}, not 0")
        else:
            need(at % 4 == 0 and begin <= at <= at + size <= end,
                 f"an array of {size} bytes at {at} lies outside {begin}..{end}, the rest of the {section} section")  # fmt: skip
            self.free[section][0] = at + size
        return np.frombuffer(self.image[at : at + size], dtype).reshape(shape).copy()
