"""FlatBuffers without generated code: a table is a dictionary, slot number -> value.

The type of a value decides how it is stored: a NumPy scalar (in its own width), str, bytes (a byte vector aligned to 16, as TFLite
requires for buffers), a one-dimensional array, a table, or a list of tables. A slot that is left out, or zero, has its default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError, require

LONGEST_NAME = 256
"""Bytes of a text that are read, at most: many tables of a hostile file may share a long one."""
MOST_TABLES = 1 << 16
"""Tables of a list, at most: a hostile file may list one table millions of times."""
Scalar = np.int8 | np.uint8 | np.int32 | np.uint32
Value = Union[Scalar, str, bytes, NDArray[Any], "Table", Sequence["Table"]]
Table = Mapping[int, Value]


def serialize(root: Table, identifier: bytes) -> bytes:
    """A flatbuffer file as bytes. Equal tables give equal bytes. Raises MissingExtra without flatbuffers."""
    builder = require("flatbuffers").Builder(1024)
    builder.Finish(_write_table(builder, root), identifier)
    return bytes(builder.Output())


def _write_table(builder: Any, table: Table) -> int:
    # Children first: a flatbuffer is written back to front and refers only to bytes that are already there.
    children = {slot: _write(builder, value) for slot, value in table.items() if not isinstance(value, np.integer)}
    prepend = {
        np.int8: builder.PrependInt8Slot,
        np.uint8: builder.PrependUint8Slot,
        np.int32: builder.PrependInt32Slot,
        np.uint32: builder.PrependUint32Slot,
    }
    builder.StartObject(max(table, default=-1) + 1)
    for slot, value in table.items():
        if isinstance(value, np.integer):
            prepend[type(value)](slot, int(value), 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, children[slot], 0)
    return int(builder.EndObject())


def _write(builder: Any, value: Any) -> int:
    """Writes one value that is not a scalar and returns the offset that refers to it."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, bytes):
        builder.StartVector(1, len(value), 16)
        builder.head -= len(value)
        builder.Bytes[builder.head : builder.head + len(value)] = value
        return int(builder.EndVector())
    if isinstance(value, np.ndarray):
        return int(builder.CreateNumpyVector(value))
    if isinstance(value, Mapping):
        return _write_table(builder, value)
    offsets = [_write_table(builder, table) for table in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


@dataclass(frozen=True, slots=True)
class View:
    """Reader of one table in a file that may be damaged, with NumPy alone. A reference beyond the file raises ExportError."""

    data: bytes
    position: int

    @classmethod
    def root(cls, data: bytes, identifier: bytes) -> View:
        if data[4:8] != identifier:
            raise ExportError(f"this file does not begin as a {identifier.decode()} flatbuffer")
        return cls(data, int.from_bytes(data[:4], "little"))

    def number(self, slot: int, dtype: type[np.integer[Any]]) -> int:
        at = self._offset(slot)
        return self._one(at, dtype) if at else 0

    def string(self, slot: int) -> str:
        """The text of a slot, its first `LONGEST_NAME` bytes."""
        return self.array(slot, np.uint8)[:LONGEST_NAME].tobytes().decode(errors="replace")

    def array(self, slot: int, dtype: type[np.integer[Any]]) -> NDArray[Any]:
        return self._many(*self.span(slot), dtype)

    def tables(self, slot: int) -> list[View]:
        start, length = self.span(slot)
        if length > MOST_TABLES:
            raise ExportError(f"damaged flatbuffer: a list of {length} tables; metabit reads up to {MOST_TABLES}")
        offsets = self._many(start, length, np.uint32)
        return [View(self.data, start + 4 * i + int(offset)) for i, offset in enumerate(offsets)]

    def child(self, slot: int) -> View | None:
        """The table in a slot; None if the slot is left out."""
        at = self._offset(slot)
        return View(self.data, at + self._one(at, np.uint32)) if at else None

    def _offset(self, slot: int) -> int:
        """Position of the slot's value, or of the distance to it; 0 if the slot is left out."""
        index = self.position - self._one(self.position, np.int32)
        entry = 4 + 2 * slot
        distance = self._one(index + entry, np.uint16) if entry < self._one(index, np.uint16) else 0
        return self.position + distance if distance else 0

    def span(self, slot: int) -> tuple[int, int]:
        """Start and length of a vector or string; length 0 if the slot is left out."""
        at = self._offset(slot)
        if not at:
            return 0, 0
        start = at + self._one(at, np.uint32)
        return start + 4, self._one(start, np.uint32)

    def _one(self, start: int, dtype: type[np.integer[Any]]) -> int:
        return int(self._many(start, 1, dtype)[0])

    def _many(self, start: int, length: int, dtype: type[np.integer[Any]]) -> NDArray[Any]:
        end = start + length * np.dtype(dtype).itemsize
        if not 0 <= start <= end <= len(self.data):
            raise ExportError(f"damaged flatbuffer: it points to bytes {start}..{end} of {len(self.data)}")
        return np.frombuffer(self.data, np.dtype(dtype).newbyteorder("<"), length, start)
