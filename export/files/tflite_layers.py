"""Encoders and layers of signs in TFLite's operators."""

from __future__ import annotations

import numpy as np

from metabit.export.files.flatbuffer import Value
from metabit.export.files.tflite_graph import Graph
from metabit.export.files.tflite_schema import ANY, VALID, Op
from metabit.export.frozen import ConvLayer, Cuts, DenseLayer, Frozen, GradedLayer, Layer


class Layers(Graph):
    """Builds "infer". Signals between layers are float32 [n, width]: signs -1 and +1, bits 0 and 1, or bytes 0..255."""

    def encode(self, frozen: Frozen) -> tuple[int, int]:
        """The input tensor and the first signal."""
        encode, width, first = frozen.encode, frozen.input_bits, frozen.layers[0]
        if encode is None:
            source = self.subgraph.tensor("bits" if frozen.packed else "features", [ANY, width], np.uint8)
            if first.takes == "bytes":
                return source, self.take_bytes(source, first)
            return source, self.take_bits(self.cast(source, "encode.on", [ANY, width], np.uint8, np.bool_), first)
        planes, features, taken = encode.planes, encode.features, np.dtype(frozen.integers).type
        source = self.subgraph.tensor("features", [ANY, features], taken)
        wide = self.cast(source, "encode.features", [ANY, features], taken, np.float32)
        if isinstance(encode, Cuts):  # integers of 16 bits are exact in float32
            shape = list(encode.cuts.shape)
            cuts = self.cast(self.constant("encode.cuts"), "encode.highest_off", shape, taken, np.float32)
            limits = self.plus_one(cuts, "encode.limits", shape)
        else:
            packed = self.constant("encode.thresholds")
            limits = self.cast(packed, "encode.limits", [planes, features], np.uint8, np.float32)
        column, shape = [ANY, 1, features], [ANY, planes, features]
        if encode.channels:  # the bits of a pixel are (plane, channel)
            pixels = features // encode.channels
            column, shape = [ANY, pixels, 1, encode.channels], [ANY, pixels, planes, encode.channels]
            by_plane = self.reshape(limits, "encode.limits_by_plane", [planes, pixels, encode.channels], np.float32)
            order = self.subgraph.constant("encode.order", np.array([1, 0, 2], np.int32))
            limits = self.apply(Op.TRANSPOSE, [by_plane, order], "encode.limits_by_pixel", shape[1:], np.float32)
        values = self.reshape(wide, "encode.column", column, np.float32)
        reached = self.apply(Op.GREATER_EQUAL, [values, limits], "encode.reached", shape, np.bool_)
        return source, self.take_bits(self.reshape(reached, "encode.on", [ANY, width], np.bool_), first)

    def take_bits(self, on: int, layer: Layer) -> int:
        """The signal of bool [n, width], which this layer takes."""
        if layer.takes == "signs":
            return self.signs(on, "encode.signal", [layer.values])
        return self.cast(on, "encode.signal", [ANY, layer.values], np.bool_, np.float32)

    def take_bytes(self, source: int, layer: Layer) -> int:
        """The signal of uint8 [n, width], which this layer takes."""
        return self.cast(source, "encode.signal", [ANY, layer.values], np.uint8, np.float32)

    def planes_on(self, name: str, layer: GradedLayer, signal: int, signs: bool) -> int:
        """The number of planes that are on for each input, as a signal; signs: the signal is of signs."""
        constant = self.subgraph.constant
        if signs:
            for op, number, said in ((Op.ADD, 1, "twice"), (Op.MUL, 0.5, "on")):
                value = constant(f"{name}.{said}_by", np.array([number], np.float32))
                signal = self.apply(op, [signal, value], f"{name}.{said}", [ANY, layer.values], np.float32)
        if layer.planes == 1:
            return signal
        rows = self.reshape(signal, f"{name}.planes", [ANY, layer.planes, layer.inputs], np.float32)
        axis = constant(f"{name}.plane_axis", np.array([1], np.int32))
        return self.apply(Op.SUM, [rows, axis], f"{name}.planes_on", [ANY, layer.inputs], np.float32)

    def hidden_layer(self, name: str, layer: DenseLayer, signal: int) -> int:
        """sums >= threshold, as signs."""
        sums = self.accumulate(name, layer, signal)
        positive = self.subgraph.tensor(f"{name}.positive", [ANY, layer.units], np.bool_)
        self.subgraph.apply(Op.GREATER_EQUAL, [sums, self.constant(f"{name}.threshold")], positive)
        return self.signs(positive, f"{name}.signal", [layer.units])

    def convolution(self, name: str, layer: ConvLayer, signal: int) -> int:
        """Signs of the sums at every place, pooled, as one row."""
        c, apply = layer.geometry, self.apply
        image = self.reshape(signal, f"{name}.image", [ANY, c.height, c.width, c.channels], np.float32)
        pads = np.array([(0, 0), c.pads(c.height), c.pads(c.width), (0, 0)], np.int32)
        if pads.any():
            outside = self.subgraph.constant(
                f"{name}.outside", np.array([255 if layer.takes == "bytes" else 1], np.float32)
            )
            edges = self.subgraph.constant(f"{name}.pads", pads)
            sides = (c.height + int(pads[1].sum()), c.width + int(pads[2].sum()))
            image = apply(Op.PADV2, [image, edges, outside], f"{name}.padded", [ANY, *sides, c.channels], np.float32)
        units, octets = self.arrays[f"{name}.sign_plane"].shape
        weights = self.weights(name, self.constant(f"{name}.sign_plane"), units, octets)
        # rows end in whole bytes: cut the padding
        begin = self.subgraph.constant(f"{name}.begin", np.zeros(2, np.int32))
        shape = [layer.units, layer.inputs]
        size = self.subgraph.constant(f"{name}.size", np.array(shape, np.int32))
        weights = apply(Op.SLICE, [weights, begin, size], f"{name}.exact", shape, np.float32)
        filters = self.reshape(weights, f"{name}.filters", [layer.units, c.kernel, c.kernel, c.channels], np.float32)
        bias = self.subgraph.constant(f"{name}.bias", np.zeros(layer.units, np.float32))
        options: dict[int, Value] = {0: VALID, 1: np.int32(c.stride), 2: np.int32(c.stride)}
        places = [ANY, *c.convolved, layer.units]
        sums = apply(Op.CONV_2D, [image, filters, bias], f"{name}.sums", places, np.float32, options=options)
        whole = self.cast(sums, f"{name}.integer_sums", places, np.float32, np.int32)
        positive = self.subgraph.tensor(f"{name}.positive", places, np.bool_)
        self.subgraph.apply(Op.GREATER_EQUAL, [whole, self.constant(f"{name}.threshold")], positive)
        signs = self.signs(positive, f"{name}.signs", [*c.convolved, layer.units])
        if c.pool > 1:
            side, shape = np.int32(c.pool), [ANY, *c.pooled, layer.units]
            square: dict[int, Value] = {0: VALID, 1: side, 2: side, 3: side, 4: side}  # strides, then sides
            signs = apply(Op.MAX_POOL_2D, [signs], f"{name}.pooled", shape, np.float32, options=square)
        return self.reshape(signs, f"{name}.signal", [ANY, layer.outputs], np.float32)

    def output_layer(self, name: str, layer: Layer, signal: int) -> tuple[int, int]:
        """sums * mul + add, and the first index of the largest."""
        sums, shape = self.accumulate(name, layer, signal), [ANY, layer.units]
        scaled = self.subgraph.tensor(f"{name}.scaled", shape, np.int32)
        self.subgraph.apply(Op.MUL, [sums, self.constant(f"{name}.mul")], scaled)
        scores = self.subgraph.tensor("scores", shape, np.int32)
        self.subgraph.apply(Op.ADD, [scaled, self.constant(f"{name}.add")], scores)
        return scores, self.label(scores)
