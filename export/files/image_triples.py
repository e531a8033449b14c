"""Records of units from nothing: written and read (runtime/FORMAT.md)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.files import image_layout as layout
from metabit.export.files.image_parts import ABSENT, Parts, Record, Section
from metabit.export.frozen import TriplesLayer
from metabit.export.validate import need


def triples_record(layer: TriplesLayer, constants: Section) -> Record:
    head = (layout.TRIPLES, layout.INTEGERS.index(layer.integers), 8, 0, layer.inputs, layer.units, 0, 0, 0, 0)
    places = [
        constants.add(_block((layer.hidden, "i1"), (layer.low, "i1"), (layer.high, "i1"))),
        ABSENT,
        constants.add(_block((layer.mul, "<i4"), (layer.add, "<i4"), (layer.top, "<i4"))),
        constants.add(layer.index.astype("<u2")),
        ABSENT if layer.scale is None else constants.add(layer.scale.astype("<f4")),
        constants.add(_block((layer.feature_add, "<i4"), (layer.feature_mul, "<i2"), (layer.feature_shift, "u1"))),
    ]
    return head, places, (0,) * 9


def read_triples(parts: Parts, i: int, record: tuple[int, ...]) -> TriplesLayer:
    """Raises ExportError where the record is not as runtime/FORMAT.md says."""
    _, source, k, _, features, units, *_ = record
    need(i == 0 and source < len(layout.INTEGERS) and k == 8 and units % 2 == 0,
         f"record {i}: units from nothing come first, an even number, on uint8 or int16, with 8 bits")  # fmt: skip
    weights = parts.array("constant", record[10], "i1", 5 * units)
    sums = parts.array("constant", record[12], "<i4", 5 * units // 2).astype(np.int32)
    index = parts.array("constant", record[13], "<u2", units, 3)
    scale = parts.array("constant", record[14], "<f4", 2, features if record[14] else 0)
    block = parts.array("constant", record[15], "u1", 7 * features)
    return TriplesLayer(
        weights[: 3 * units].reshape(units, 3), layout.INTEGERS[source], scale.astype(np.float32) if record[14] else None,
        block[4 * features : 6 * features].view("<i2").astype(np.int16), block[: 4 * features].view("<i4").astype(np.int32),
        block[6 * features :], index.astype(np.uint16), sums[:units], sums[units : 2 * units], sums[2 * units :],
        weights[3 * units : 4 * units], weights[4 * units :],
    )  # fmt: skip


def _block(*arrays: tuple[NDArray[Any], str]) -> NDArray[np.uint8]:
    """Arrays one behind the other, without gaps."""
    return np.frombuffer(b"".join(np.ascontiguousarray(a).astype(dtype).tobytes() for a, dtype in arrays), np.uint8)
