"""Layers in the operators of Larq Compute Engine, which multiply bits of +1 and -1 by exclusive or and count them.

A signal is int32 [planes, H, W, ceil(C / 32)], bit 1 for -1; a row of values is an image of one pixel. LceBconv2d counts the unlike
bits u of K, so that the sum over +1 and -1 is K - 2u. Inputs that are on or off are x = (1 + s) / 2, and a sum w·x is (w·s + S) / 2
with S the unit's sum of weights. A layer that takes bytes gets eight images of one bit each. Sums are exact in float32, because
they are integers of at most 255 * 2**14.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from metabit.export.bits import pack_minus, unpack_rows
from metabit.export.files.interchange import Tensors
from metabit.export.files.tflite_layers import Layers
from metabit.export.files.tflite_schema import ABSENT, ANY, KEEP_AXES, Op, Subgraph
from metabit.export.frozen import ConvGeometry, ConvLayer, DenseLayer, GradedLayer, Layer

SAME, VALID = 0, 1
PLUS = 1
"""pad_values: an image is surrounded by +1."""
OCTET = 8

Shape = tuple[int, int, int, int]


class BinaryLayers(Layers):
    """Builds "infer" for one input."""

    def __init__(self, subgraph: Subgraph, arrays: Tensors) -> None:
        super().__init__(subgraph, arrays)
        self.sizes: dict[int, Shape] = {}
        """Planes, height, width and channels of each signal."""

    # Signals

    def take_bits(self, on: int, layer: Layer) -> int:
        return self.quantize(on, "encode.signal", _taken(layer))

    def take_bytes(self, source: int, layer: Layer) -> int:
        """Bit b of all bytes is plane b."""
        _, *image = _taken(layer)
        constant = self.subgraph.constant
        wide = self.cast(source, "encode.features", [ANY, layer.values], np.uint8, np.int32)
        place = self.reshape(wide, "encode.image", [1, *image], np.int32)
        steps = constant("encode.steps", (1 << np.arange(OCTET, dtype=np.int32))[:, None, None, None])
        shifted = self.apply(Op.FLOOR_DIV, [place, steps], "encode.shifted", [OCTET, *image])
        two = constant("encode.two", np.array([2], np.int32))
        bit = self.apply(Op.FLOOR_MOD, [shifted, two], "encode.bit", [OCTET, *image])
        on = self.cast(bit, "encode.on", [OCTET, *image], np.int32, np.bool_)
        return self.quantize(on, "encode.signal", _taken(layer))

    def quantize(self, on: int, name: str, shape: Shape) -> int:
        """The signal of bool values, true for +1."""
        image = self.reshape(on, f"{name}.image", [*shape], np.bool_)
        return self.custom("LceQuantize", [image], name, shape)

    def custom(self, op: str, inputs: list[int], name: str, shape: Shape, options: dict[str, int] | None = None) -> int:
        """An operator that gives a signal."""
        output = self.subgraph.tensor(name, [*shape[:3], _words(shape[3])], np.int32)
        self.sizes[output] = shape
        return self.subgraph.custom(op, inputs, output, options)

    def arrange(self, signal: int, name: str, wanted: Shape) -> int:
        """The signal with other sides. Rows of whole words keep their words, others are unpacked in between."""
        shape = self.sizes[signal]
        if shape == wanted:
            return signal
        if shape[3] % 32 == wanted[3] % 32 == 0:
            row = self.reshape(signal, f"{name}.row", [*wanted[:3], wanted[3] // 32], np.int32)
            self.sizes[row] = wanted
            return row
        on = self.subgraph.custom("LceDequantize", [signal], self.subgraph.tensor(f"{name}.on", shape, np.bool_))
        return self.quantize(on, f"{name}.row", wanted)

    # Layers

    def hidden_layer(self, name: str, layer: ConvLayer | DenseLayer, signal: int) -> int:
        """Signs of the sums at every place, pooled."""
        signal = self.arrange(signal, name, _taken(layer))
        shape = (1, *_places(layer), layer.units)
        if layer.takes == "bytes":
            sums = self.sums(name, layer, signal)
            positive = self.subgraph.tensor(f"{name}.positive", shape, np.bool_)
            self.subgraph.apply(Op.GREATER_EQUAL, [sums, self.constant(f"{name}.threshold")], positive)
            signs = self.quantize(positive, f"{name}.signal", shape)
        else:
            most = self.subgraph.constant(f"{name}.most_unlike", most_unlike(layer))
            inputs = [signal, self.filter(name, layer, layer.hidden >= 0), ABSENT, ABSENT, most]
            signs = self.custom("LceBconv2d", inputs, f"{name}.signal", shape, _options(layer))
        if not isinstance(layer, ConvLayer) or layer.geometry.pool == 1:
            return signs
        side = layer.geometry.pool
        square = {
            "filter_height": side,
            "filter_width": side,
            "padding": VALID,
            "stride_height": side,
            "stride_width": side,
        }
        pooled = (1, *layer.geometry.pooled, layer.units)
        return self.custom("LceBMaxPool2d", [signs], f"{name}.pooled", pooled, square)

    convolution = hidden_layer

    def planes_on(self, name: str, layer: GradedLayer, signal: int, signs: bool) -> int:
        return self.arrange(signal, name, _taken(layer))

    def accumulate(self, name: str, layer: Layer, signal: int, second: bool = False) -> int:
        if layer.takes == "grades":
            return self.products(name, signal, self.unpacked(name, layer), layer.units)
        sums = self.sums(name, layer, self.arrange(signal, name, _taken(layer)), second)
        name = f"{name}.second" if second else name
        return self.reshape(sums, f"{name}.row_of_sums", [ANY, layer.units], np.int32)

    def unpacked(self, name: str, layer: Layer) -> int:
        """Weights float32 [N, K]."""
        floats = self.subgraph.tensor(f"{name}.unpacked", [layer.units, *filter_sides(layer)], np.float32)
        self.subgraph.custom("LceDequantize", [self.filter(name, layer, layer.hidden >= 0)], floats)
        return self.reshape(floats, f"{name}.weights", [layer.units, layer.inputs], np.float32)

    def sums(self, name: str, layer: Layer, signal: int, second: bool = False) -> int:
        """int32 [1, H', W', N], sums of weight times input."""
        constant = self.subgraph.constant
        planes, shape = self.sizes[signal][0], [*_places(layer), layer.units]
        positive = layer.hidden >= 0
        if second:
            name, positive = f"{name}.second", unpack_rows(self.arrays[f"{name}.hidden_planes"][-1], layer.inputs)
        half = 1 if layer.takes == "signs" else 0.5
        add = np.zeros(layer.units) if layer.takes == "signs" else positive.sum(1) - layer.inputs / 2
        scale = [np.full(layer.units, half), add]
        inputs = [signal, self.filter(name, layer, positive)]
        inputs += [
            constant(f"{name}.post_{i}", one.astype(np.float32)) for i, one in zip(("mul", "add"), scale, strict=True)
        ]
        found = self.subgraph.tensor(
            f"{name}.plane_sums" if planes > 1 else f"{name}.sums", [planes, *shape], np.float32
        )
        self.subgraph.custom("LceBconv2d", [*inputs, ABSENT], found, _options(layer))
        if layer.takes == "bytes":
            places = constant(f"{name}.places", (2.0 ** np.arange(OCTET, dtype=np.float32))[:, None, None, None])
            found = self.apply(Op.MUL, [found, places], f"{name}.placed", [planes, *shape], np.float32)
        if planes > 1:
            axis = constant(f"{name}.plane_axis", np.array([0], np.int32))
            found = self.apply(Op.SUM, [found, axis], f"{name}.sums", [1, *shape], np.float32, options=KEEP_AXES)
        return self.cast(found, f"{name}.integer_sums", [1, *shape], np.float32, np.int32)

    def filter(self, name: str, layer: Layer, positive: NDArray[np.bool_]) -> int:
        """Weights bool (N, K), true for +1, as int32 [N, kernel, kernel, ceil(C / 32)]; a dense layer has a kernel of one pixel."""
        return self.subgraph.constant(f"{name}.filter", pack_minus(positive.reshape(layer.units, *filter_sides(layer))))


def filter_sides(layer: Layer) -> tuple[int, int, int]:
    """Height, width and channels of the filter."""
    if isinstance(layer, ConvLayer):
        return layer.geometry.kernel, layer.geometry.kernel, layer.geometry.channels
    return 1, 1, layer.inputs


def most_unlike(layer: ConvLayer | DenseLayer) -> NDArray[np.int32]:
    """int32 (N,), the most unlike bits with which a unit gives +1: -1 where it never does, K where it always does.

    w·s = K - 2u >= θ for inputs that are signs, (K - 2u + S) / 2 >= θ for bits.
    """
    least = layer.theta.astype(np.int64)
    if layer.takes == "bits":
        least = 2 * least - layer.weights.sum(1, dtype=np.int64)
    return np.clip((layer.inputs - least) // 2, -1, layer.inputs).astype(np.int32)


def _taken(layer: Layer) -> Shape:
    """Planes, height, width and channels of what a layer takes."""
    if isinstance(layer, GradedLayer):
        return layer.planes, 1, 1, layer.inputs
    planes = OCTET if layer.takes == "bytes" else 1
    if isinstance(layer, ConvLayer):
        return planes, layer.geometry.height, layer.geometry.width, layer.geometry.channels
    return planes, 1, 1, layer.inputs


def _places(layer: Layer) -> tuple[int, int]:
    return layer.geometry.convolved if isinstance(layer, ConvLayer) else (1, 1)


def _options(layer: Layer) -> dict[str, int]:
    geometry = layer.geometry if isinstance(layer, ConvLayer) else ConvGeometry(1, 1, layer.inputs, 1)
    return {
        "channels_in": geometry.channels, "dilation_height_factor": 1, "dilation_width_factor": 1,
        "fused_activation_function": 0, "pad_values": PLUS if geometry.same else 0, "padding": SAME if geometry.same else VALID,
        "stride_height": geometry.stride, "stride_width": geometry.stride,
    }  # fmt: skip


def _words(channels: int) -> int:
    return math.ceil(channels / 32)
