"""Which parts of the C library an image can do without, from its layer records (runtime/FORMAT.md)."""

from __future__ import annotations

import struct
from typing import Literal

from metabit.runtime.inputs import LAYERS, RECORD, RECORD_SIZE

_DENSE, _OUTPUT, _CONV, _GRADED, _TERNARY = 2, 3, 4, 5, 6
_CUTS, _GATES, _LEVELS, _HEAD, _TRIPLES = 7, 8, 9, 10, 11
_BYTES = 2
_ROWS_PER_CLASS = 49  # offset in the record of a head


def left_out(image: bytes, mode: Literal["learn", "infer"] = "learn") -> tuple[str, ...]:
    """Returns the macros (metabit.h, "Build") of the library parts that an image does not need.

    image: one that the runtime has checked. mode: "infer" leaves learning out.
    """
    (count,) = struct.unpack_from("<H", image, LAYERS)
    records = [image[RECORD + RECORD_SIZE * i :][:RECORD_SIZE] for i in range(count)]
    kinds = {record[0] for record in records}
    learning = {record[0] for record in records if record[9]} if mode == "learn" else set()
    needed = {
        "MB_WITHOUT_LEARN": bool(learning),
        "MB_WITHOUT_CONV": _CONV in kinds,
        "MB_WITHOUT_BYTES": any(record[0] in (_DENSE, _OUTPUT, _CONV) and record[1] == _BYTES for record in records),
        "MB_WITHOUT_GRADED": _GRADED in kinds,
        "MB_WITHOUT_GATES": bool(kinds & {_CUTS, _GATES, _LEVELS, _HEAD, _TRIPLES}),
        "MB_WITHOUT_VISITS": _GRADED not in kinds and bool(learning & {_DENSE, _OUTPUT, _TERNARY}),
        "MB_WITHOUT_TERNARY": mode == "learn" and _TERNARY in kinds,
        "MB_WITHOUT_DENSE": not kinds & {_GATES, _TRIPLES},
        "MB_WITHOUT_LEVELS": _LEVELS in kinds,
        "MB_WITHOUT_HEAD": _HEAD in kinds,
        "MB_WITHOUT_ROWS": any(record[0] == _HEAD and record[_ROWS_PER_CLASS] > 1 for record in records),
        "MB_WITHOUT_TRIPLES": _TRIPLES in kinds,
    }
    return tuple(macro for macro, is_needed in needed.items() if not is_needed)
