"""The layers below those that learn, for all samples of a call at once: docs/learning-rule.md, "Input" to "Gates".

Signals are uint8 codes that stand for ``code - zero_point``: bits 0 and 1 and bytes with zero point 0, signs 0 and 2 with zero
point 1. Sums are exact, MatMulInteger and ConvInteger of codes and weights ±1.
"""

from __future__ import annotations

import numpy as np

from metabit.export import frozen as f
from metabit.export.bits import SIGNS_OF_BYTE
from metabit.export.learning.onnx_graph import Graph, Value
from metabit.export.oracle.gates import GATE_SHIFT, LEVELS, GateLayer
from metabit.export.oracle.triples import REACH, UNIT_SHIFT


def below(g: Graph, frozen: f.Frozen, source: Value, lowest: int) -> Value:
    """The inputs (n, ..) of layer `lowest`: codes of bits or signs, or int64 levels of gates or values of a head."""
    first = frozen.layers[0]
    if isinstance(first, f.TriplesLayer):
        return _triples(g, first, source)
    codes = _encoded(g, frozen, source)
    if isinstance(first, f.GatesLayer):
        return _gates(g, first, frozen.layers[1], codes)
    for i, layer in enumerate(frozen.layers[:lowest]):
        sums = _conv_sums(g, i, layer, codes) if isinstance(layer, f.ConvLayer) else _sums(g, i, layer, codes)
        codes = _signs(g, sums >= g.named(f"layer{i}.threshold"))
        if isinstance(layer, f.ConvLayer):
            codes = _pooled(g, layer, codes)
    return codes


def _encoded(g: Graph, frozen: f.Frozen, source: Value) -> Value:
    """Codes of the input (n, values)."""
    code = frozen.encode
    if code is None:
        return _signs(g, source.cast(np.bool_)) if frozen.layers[0].takes == "signs" else source
    wide, features = source.cast(np.int32).reshape(0, 1, code.features), code.features
    if isinstance(code, f.Cuts):
        on = wide > g.named("encode.cuts").cast(np.int32)
    else:
        on = wide >= g.named("encode.thresholds").cast(np.int32)
    channels = code.channels or features
    pixels = on.reshape(0, code.planes, features // channels, channels).transpose(0, 2, 1, 3)
    return pixels.reshape(0, code.planes * features).cast(np.uint8)


def _signs(g: Graph, positive: Value) -> Value:
    """Codes of signs: 2 where positive, else 0."""
    return g.where(positive, g.constant(2, np.uint8), 0)


def weights(g: Graph, name: str, inputs: int, code: bool = False) -> Value:
    """int8 (N, K), ±1, of a sign plane; as code uint8, 0 and 2."""
    table = g.constant(SIGNS_OF_BYTE + 1, np.uint8) if code else g.constant(SIGNS_OF_BYTE, np.int8)
    octets = table.take(g.named(name).cast(np.int64))
    return octets.reshape(0, -1).slice(0, inputs, 1)


def _sums(g: Graph, i: int, layer: f.Layer, codes: Value) -> Value:
    columns = weights(g, f"layer{i}.sign_plane", layer.inputs).transpose(1, 0)
    return g.op("MatMulInteger", codes, columns, _zero_point(g, layer), dtype=np.int32)


def _zero_point(g: Graph, layer: f.Layer) -> Value:
    return g.constant(int(layer.takes == "signs"), np.uint8)


def _conv_sums(g: Graph, i: int, layer: f.ConvLayer, codes: Value) -> Value:
    """int32 (n, H', W', N)."""
    geometry = layer.geometry
    kernel, channels = geometry.kernel, geometry.channels
    squares = weights(g, f"layer{i}.sign_plane", layer.inputs, code=True).reshape(0, kernel, kernel, channels)
    filters = squares.transpose(0, 3, 1, 2)  # of codes: onnxruntime 1.18 has no ConvInteger of int8
    picture = codes.reshape(0, geometry.height, geometry.width, channels).transpose(0, 3, 1, 2)
    (top, bottom), (left, right) = geometry.pads(geometry.height), geometry.pads(geometry.width)
    outside = g.constant({"bits": 1, "signs": 2, "bytes": 255}[layer.takes], np.uint8)
    padded = g.op("Pad", picture, g.constant([0, 0, top, left, 0, 0, bottom, right]), outside)
    strides = [geometry.stride, geometry.stride]
    zero_points = _zero_point(g, layer), g.constant(1, np.uint8)
    sums = g.op("ConvInteger", padded, filters, *zero_points, dtype=np.int32, strides=strides)
    return sums.transpose(0, 2, 3, 1)


def _pooled(g: Graph, layer: f.ConvLayer, codes: Value) -> Value:
    side = [layer.geometry.pool, layer.geometry.pool]
    squares = g.op("MaxPool", codes.transpose(0, 3, 1, 2), kernel_shape=side, strides=side)
    return squares.transpose(0, 2, 3, 1).reshape(0, layer.outputs)


def _gates(g: Graph, layer: f.GatesLayer, last: f.Layer, codes: Value) -> Value:
    def named(i: int, name: str) -> Value:
        return g.named(f"layer{i}.{name}").cast(np.int64)

    sums = _sums(g, 0, layer, codes).cast(np.int64)
    top = GateLayer(layer.inputs, layer.mul, layer.add, layer.shift).top
    levels = ((top - (sums * named(0, "mul") + named(0, "add")).abs()) >> layer.shift).clip(-LEVELS, LEVELS)
    if not isinstance(last, f.HeadLayer):
        return levels
    assert last.scale is not None
    gate = (levels * named(1, "gate_mul") + named(1, "gate_add")) >> GATE_SHIFT
    z = (sums * named(1, "z_mul") + named(1, "z_add")) >> last.scale.z_shift
    return g.concat(gate, z, axis=1).clip(-127, 127)


def _triples(g: Graph, layer: f.TriplesLayer, source: Value) -> Value:
    def named(name: str) -> Value:
        return g.named(f"layer0.{name}").cast(np.int64)

    unit = g.constant([1 << int(s) for s in range(25)]).take(named("feature_shift"))
    scaled = source.cast(np.int64) * named("feature_mul") + named("feature_add")
    t = ((scaled - (scaled & (unit - 1))) // unit).clip(-REACH, REACH)
    a = (t.take(named("index"), 1) * named("weights")).sum(2)
    v = a * named("mul") + named("add")
    half = len(layer.top)
    gates, steps = named("top") - v.slice(0, half, 1).abs(), v.slice(half, 2 * half, 1)
    return (g.concat(gates, steps, axis=1) >> UNIT_SHIFT).clip(named("low"), named("high"))
