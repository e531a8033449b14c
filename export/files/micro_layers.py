"""Encoders, sign layers and the output in TFLite Micro's integers.

A sign unit leaves 127 for +1 and 125 for -1, in a tensor of scale 1/2 and zero point 127, and RELU_N1_TO_1 limits it to them:
its accumulator minus the threshold is at least 0, or at most -2 in units of the output. So every product of scales is 1 or 2,
which every kernel multiplies exactly, and a convolution that TFLite pads has +1 outside.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabit.export.files.flatbuffer import Value
from metabit.export.files.micro_graph import ONES, MicroGraph, Signal
from metabit.export.files.micro_values import graded
from metabit.export.files.tflite_schema import ONE_AROUND_ZERO, SAME, VALID, Op
from metabit.export.frozen import ConvLayer, Cuts, DenseLayer, Encode, Frozen, GradedLayer, OutputLayer

SIGNS = Signal(0, 0, 0.5, 127, 1)
LIMITED = {0: ONE_AROUND_ZERO}


def encode(graph: MicroGraph, frozen: Frozen) -> tuple[int, Signal]:
    """The input tensor, and the bits or bytes that the first layer takes."""
    code, width = frozen.encode, frozen.input_bits
    if code is None and frozen.packed:
        source = graph.subgraph.tensor("bits", [1, width], np.int8, unit=ONES)
        return source, Signal(source, width, *ONES, 0)
    source = graph.features(frozen)
    if code is None:
        return source, Signal(source, width, 1.0, -128, 0)
    lowest = 128 if frozen.integers == "uint8" else 0
    count, planes = code.features, code.planes
    whole = graph.cast(source, "integers", [1, count], np.int8 if lowest else np.int16, np.int32)
    limits = code.thresholds.astype(np.int32) - lowest
    if isinstance(code, Cuts) and code.shared:
        limits = limits[:, :1]
    channels = code.channels or count
    shape = [1, count // channels, planes, channels]
    if isinstance(code, Encode) and code.channels:
        limits = limits.reshape(planes, -1, channels).transpose(1, 0, 2)
    pixels = graph.reshape(whole, "pixels", [1, shape[1], 1, channels], np.int32)
    reached = graph.apply(Op.GREATER_EQUAL, [pixels, graph.constant(_ranked(limits))], "reached", shape, np.bool_)
    on = graph.cast(reached, "on", shape, np.bool_, np.int8, (1.0, 1))
    bits = graph.reshape(on, "encoded", [1, width], np.int8, (1.0, 1))
    return source, Signal(bits, width, 1.0, 1, 1)


def network(graph: MicroGraph, frozen: Frozen, signal: Signal) -> int:
    """Scores of convolutions, dense layers, a graded layer and the output."""
    for i, layer in enumerate(frozen.layers[:-1]):
        if isinstance(layer, ConvLayer):
            signal = _convolution(graph, f"layer{i}", layer, signal)
        elif isinstance(layer, GradedLayer):
            grades = graded(graph, f"layer{i}", layer, signal)
        else:
            assert isinstance(layer, DenseLayer)
            signal = _dense(graph, f"layer{i}", layer, signal)
    last, name = frozen.layers[-1], f"layer{len(frozen.layers) - 1}"
    assert isinstance(last, OutputLayer)
    if last.takes == "grades":
        sums = graph.products(grades, last.weights, 8, name)
    else:
        sums = graph.accumulators(name, last, signal)
    return graph.linear(sums, last.mul, last.add, "scores", last.units)


def _ranked(limits: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.ascontiguousarray(limits.reshape((1,) * (4 - limits.ndim) + limits.shape))


def _constants(graph: MicroGraph, layer: ConvLayer | DenseLayer, signal: Signal, shape: list[int]) -> list[int]:
    """Weights, and the bias that makes an accumulator at its threshold 0.

    With signs as inputs, accumulator and threshold have the parity of K, so the sum is even as the output is.
    """
    weights, most = layer.weights, layer.inputs * (255 if layer.takes == "bytes" else 1)
    theta = np.clip(layer.theta.astype(np.int64), -most, most + 1)
    if layer.takes == "signs":
        theta += (theta - layer.inputs) & 1
    bias = (signal.base * weights.astype(np.int64).sum(1) - theta).astype(np.int32)
    return [graph.constant(weights.reshape(shape), ONES), graph.constant(bias, (signal.scale, 0))]


def _dense(graph: MicroGraph, name: str, layer: DenseLayer, signal: Signal) -> Signal:
    inputs = [signal.tensor, *_constants(graph, layer, signal, [layer.units, layer.inputs])]
    signs = graph.apply(Op.FULLY_CONNECTED, inputs, name, [1, layer.units], np.int8, SIGNS.unit, LIMITED)
    return SIGNS.moved(signs, layer.units)


def _convolution(graph: MicroGraph, name: str, layer: ConvLayer, signal: Signal) -> Signal:
    c, outside = layer.geometry, 255 if layer.takes == "bytes" else 1
    shape = [1, c.height, c.width, c.channels]
    image = graph.reshape(signal.tensor, f"{name}.image", shape, np.int8, signal.unit)
    pads = np.array([(0, 0), c.pads(c.height), c.pads(c.width), (0, 0)], np.int32)
    explicit = bool(pads.any()) and signal.base != outside
    if explicit:
        value = graph.constant(np.array([outside - signal.base + signal.zero], np.int8), signal.unit)
        padded = [int(size + edge.sum()) for size, edge in zip(shape, pads, strict=True)]
        image = graph.apply(
            Op.PADV2, [image, graph.constant(pads), value], f"{name}.padded", padded, np.int8, signal.unit
        )
    filters = [layer.units, c.kernel, c.kernel, c.channels]
    stride = np.int32(c.stride)
    options: dict[int, Value] = {0: VALID if explicit or not c.same else SAME, 1: stride, 2: stride, 3: ONE_AROUND_ZERO}
    signs = graph.apply(
        Op.CONV_2D, [image, *_constants(graph, layer, signal, filters)], name, [1, *c.convolved, layer.units], np.int8,
        SIGNS.unit, options,
    )  # fmt: skip
    if c.pool > 1:
        side = np.int32(c.pool)
        square: dict[int, Value] = {0: VALID, 1: side, 2: side, 3: side, 4: side}  # strides, then sides
        shape = [1, *c.pooled, layer.units]
        signs = graph.apply(Op.MAX_POOL_2D, [signs], f"{name}.pooled", shape, np.int8, SIGNS.unit, square)
    flat = graph.reshape(signs, f"{name}.signs", [1, layer.outputs], np.int8, SIGNS.unit)
    return SIGNS.moved(flat, layer.outputs)
