"""Packed levels as ONNX nodes: bit planes of the file -> integers, and back (`metabit.export.bits` has the layout)."""

from __future__ import annotations

import numpy as np

from metabit.export import frozen as f
from metabit.export.bits import SIGNS_OF_BYTE
from metabit.export.learning.onnx_graph import Graph, Value


def levels_in(g: Graph, i: int, layer: f.Layer) -> Value:
    """Levels int32 (N, K) of layer i; of a layer that does not learn 0 and -1, its signs alone."""
    planes = g.named(f"layer{i}.sign_plane").reshape(1, layer.units, -1)
    k = layer.bits if layer.learns else 1
    if k > 1:
        planes = g.concat(g.named(f"layer{i}.hidden_planes"), planes)
    octets = g.constant(SIGNS_OF_BYTE > 0, np.int32)
    bits = octets.take(planes.cast(np.int64)).reshape(k, layer.units, -1).slice(0, layer.inputs, 2)
    place = g.constant(1 << np.arange(k)[:, None, None], np.int32)
    return (bits * place).sum(0) - (1 << (k - 1))


def planes_out(g: Graph, i: int, layer: f.Layer, levels: Value) -> dict[str, Value]:
    """The planes of layer i, uint8: ``sign_plane`` (N, ceil(K / 8)) and ``hidden_planes`` (k - 1, N, ceil(K / 8))."""
    k, padding = layer.bits, -layer.inputs % 8
    offset = levels + (1 << (k - 1))
    if padding:
        offset = g.concat(offset, g.constant(np.zeros((layer.units, padding)), np.int32), axis=1)
    bits = offset // g.constant(1 << np.arange(k)[:, None, None], np.int32) & 1
    octets = bits.reshape(k, layer.units, -1, 8) * g.constant(1 << np.arange(8), np.int32)
    planes = octets.sum(3).cast(np.uint8)
    signs = planes.slice(k - 1, k).reshape(layer.units, -1)
    return {f"layer{i}.sign_plane": signs, f"layer{i}.hidden_planes": planes.slice(0, k - 1)}
