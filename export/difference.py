"""How two networks of one shape differ: weights that flipped, levels that moved, by layer and by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.frozen import Frozen, HeadLayer, Layer


@dataclass(frozen=True, eq=False)
class LayerDifference:
    """Changes in one layer of N rows.

    Args:
        kind: of the layer.
        weights: N * K.
        moved: int64 (N,), weights of each row whose level changed.
        flipped: int64 (N,), weights of each row whose sign changed. 0 in levels, a head and triples, where a level is the weight.
        farthest: the largest change of a level.
        by_class: True if row r belongs to class r.
        other: names of further arrays and numbers that changed, such as theta, covariance or counts.
    """

    kind: str
    weights: int
    moved: NDArray[np.int64]
    flipped: NDArray[np.int64]
    farthest: int
    by_class: bool
    other: tuple[str, ...]

    @property
    def any(self) -> bool:
        return bool(self.moved.any()) or bool(self.other)


@dataclass(frozen=True)
class Difference:
    """Changes between two networks.

    Args:
        layers: of each layer, first to last.
        steps: learning steps of the second network beyond the first, modulo 2**32.
        other: what changed outside the layers: encode, temperature, skip_below, generator, notes.
    """

    layers: tuple[LayerDifference, ...]
    steps: int
    other: tuple[str, ...]


def difference(a: Frozen, b: Frozen) -> Difference:
    """The changes from a to b. Raises ExportError, which names the first layer of another shape."""
    shapes = [[(layer.kind, layer.hidden.shape) for layer in frozen.layers] for frozen in (a, b)]
    for i, (first, second) in enumerate(zip(*shapes, strict=False)):
        if first != second:
            (k1, s1), (k2, s2) = first, second
            raise ExportError(
                f"layer {i} is {k1} {s1[1]} -> {s1[0]} in the first and {k2} {s2[1]} -> {s2[0]} in the second: give two "
                "networks of one shape"
            )
    if len(shapes[0]) != len(shapes[1]):
        raise ExportError(
            f"the first network has {len(shapes[0])} layers and the second {len(shapes[1])}: give two networks of one shape"
        )
    other = _changed(a, b, ("layers", "counters"))
    return Difference(
        tuple(_layer(one, two) for one, two in zip(a.layers, b.layers, strict=True)),
        (b.counters.steps - a.counters.steps) % 2**32,
        other,
    )


def _layer(a: Layer, b: Layer) -> LayerDifference:
    size = np.abs(a.hidden.astype(np.int64) - b.hidden)
    signed = a.kind not in ("levels", "head", "triples")
    flipped = ((a.hidden >= 0) != (b.hidden >= 0)).sum(1) if signed else np.zeros(len(size), np.int64)
    last = a.kind in ("output", "levels") or (isinstance(a, HeadLayer) and a.rows.per_class == 1)
    return LayerDifference(
        a.kind, size.size, (size > 0).sum(1), flipped.astype(np.int64), int(size.max(initial=0)), last, _changed(a, b, ("hidden",))
    )  # fmt: skip


def _changed(a: Any, b: Any, skipped: Sequence[str]) -> tuple[str, ...]:
    """Names of the fields of two dataclasses that differ."""
    return tuple(
        one.name
        for one in fields(a)
        if one.name not in skipped and not _equal(getattr(a, one.name), getattr(b, one.name))
    )


def _equal(a: Any, b: Any) -> bool:
    if is_dataclass(a) and type(a) is type(b):
        return not _changed(a, b, ())
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return bool(type(a) is type(b) and a == b)
