"""model.tflite: the network in stock TFLite operators, one bit a weight in the file.

TFLite cannot shift or multiply bits. GATHER therefore looks up each byte of a sign plane as eight weights of +1.0 or -1.0, at
every call. Sums are exact in float32, because they are integers of at most 255 * 2**14; thresholds and scores are int32. The file
has two signatures:

* "infer": "features" uint8 or int16 [n, F], or "bits" uint8 [n, K] holding 0 or 1 for a network that takes bits -> "scores" int32
  [n, classes], "label" int32 [n] (lowest index on a tie). It is stored for n = 1; a signature runner resizes it to the n of its
  input.
* "hidden_state": () -> "layer{i}.hidden_planes" of each layer of 2 or more bits, and the arrays of a head or an encoder that
  inference does not read. It is a subgraph without operators, which inference does not run; it is missing where it has no array.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError, MissingExtra, require
from metabit.export.files import tflite_gates
from metabit.export.files.flatbuffer import Value
from metabit.export.files.interchange import FACTS, KEPT, facts, named_tensors, rebuild
from metabit.export.files.tflite_graph import Graph
from metabit.export.files.tflite_schema import ANY, VALID, Model, Op, read_constants, type_number
from metabit.export.frozen import ConvLayer, Cuts, Frozen, Layer


def write_tflite(frozen: Frozen) -> bytes:
    """Serialise a network as a TFLite file. Equal networks give equal bytes.

    Raises MissingExtra without flatbuffers, ExportError for a network that does not fit together.
    """
    for i, layer in enumerate(frozen.layers):
        if layer.kind in ("graded", "triples"):
            raise ExportError(
                f"layer {i} is {layer.kind}: TFLite holds units of signs and gates only, use --formats mbit,onnx"
            )
    model, arrays = Model(), named_tensors(frozen)
    graph = _Layers(model.subgraph("infer"), arrays)
    source, signal = graph.encode(frozen)
    for i, layer in enumerate(frozen.layers[:-1] if frozen.layers[0].kind != "gates" else ()):
        if isinstance(layer, ConvLayer):
            signal = graph.convolution(f"layer{i}", layer, signal)
        else:
            signal = graph.hidden_layer(f"layer{i}", layer, signal)
    if frozen.layers[0].kind == "gates":
        outputs = tflite_gates.network(graph, frozen, signal)
    else:
        outputs = graph.output_layer(f"layer{len(frozen.layers) - 1}", frozen.layers[-1], signal)
    model.signature("infer", graph.subgraph, [source], outputs)
    planes = {name: array for name, array in arrays.items() if name.partition(".")[2] in KEPT}
    if planes:
        state = model.subgraph("hidden_state")
        model.signature("hidden_state", state, [], [state.constant(*item) for item in planes.items()])
    model.metadata(FACTS, facts(frozen))
    return model.serialize()


def read_tflite(data: bytes) -> Frozen:
    """The network inside a file that `write_tflite` wrote, hidden levels included; needs NumPy only.

    Raises ExportError if the file is damaged or not one of ours.
    """
    pages, arrays = read_constants(data)
    if FACTS not in pages:
        raise ExportError(f"this TFLite file has no {FACTS!r} metadata: it was not written by metabit")
    return rebuild(pages[FACTS], arrays)


def run_tflite(data: bytes, x: NDArray[Any]) -> NDArray[np.int32]:
    """Scores int32 (n, classes) by TFLite on one thread.

    x: uint8 or int16 (n, F), or 0 and 1 (n, K) for a network that takes bits.

    Raises MissingExtra without a TFLite runtime, ExportError if x has another shape or dtype.
    """
    interpreter = _runtime().Interpreter(model_content=data, num_threads=1)
    infer = interpreter.get_signature_runner("infer")
    ((source, details),) = infer.get_input_details().items()
    width = int(details["shape"][1])
    taken = np.dtype(details["dtype"])
    if x.dtype != taken or x.ndim != 2 or x.shape[1] != width:
        raise ExportError(f"{source} must be {taken} (n, {width}), not {x.dtype} {x.shape}")
    if not len(x):  # some networks would divide by zero in TFLite, which ends the process
        return np.empty((0, int(infer.get_output_details()["scores"]["shape"][1])), np.int32)
    return np.asarray(infer(**{source: x})["scores"], np.int32)


def _runtime() -> Any:
    """Google's runtime, under whichever of its two names is installed."""
    for module in ("tflite_runtime.interpreter", "ai_edge_litert.interpreter"):
        with suppress(MissingExtra):
            return require(module)
    raise MissingExtra("tflite-runtime or ai-edge-litert")


class _Layers(Graph):
    """Builds "infer". Signals between layers are float32 [n, width]: signs -1 and +1, bits 0 and 1, or bytes 0..255."""

    def encode(self, frozen: Frozen) -> tuple[int, int]:
        """The input tensor and the first signal."""
        encode, width = frozen.encode, frozen.input_bits
        if encode is None:
            bits = self.subgraph.tensor("bits" if frozen.packed else "features", [ANY, width], np.uint8)
            if frozen.layers[0].takes != "signs":
                return bits, self.cast(bits, "encode.signal", [ANY, width], np.uint8, np.float32)
            on = self.cast(bits, "encode.on", [ANY, width], np.uint8, np.bool_)
            return bits, self.signs(on, "encode.signal", [width])
        planes, features, taken = encode.planes, encode.features, np.dtype(frozen.integers).type
        source = self.subgraph.tensor("features", [ANY, features], taken)
        wide = self.cast(source, "encode.features", [ANY, features], taken, np.int32)
        column = self.reshape(wide, "encode.column", [ANY, 1, features], np.int32)
        if isinstance(encode, Cuts):
            shape = list(encode.cuts.shape)
            cuts = self.cast(self.constant("encode.cuts"), "encode.highest_off", shape, taken, np.int32)
            limits = self.plus_one(cuts, "encode.limits", shape)
        else:
            packed = self.constant("encode.thresholds")
            limits = self.cast(packed, "encode.limits", [planes, features], np.uint8, np.int32)
        reached = self.subgraph.tensor("encode.reached", [ANY, planes, features], np.bool_)
        self.subgraph.apply(Op.GREATER_EQUAL, [column, limits], reached)
        ones = self.cast(reached, "encode.planes", [ANY, planes, features], np.bool_, np.float32)
        if encode.channels:
            shape = [ANY, planes, features // encode.channels, encode.channels]
            ones = self.reshape(ones, "encode.pixels", shape, np.float32)
            order = self.subgraph.constant("encode.order", np.array([0, 2, 1, 3], np.int32))
            pixels = self.subgraph.tensor("encode.pixels_first", [shape[i] for i in (0, 2, 1, 3)], np.float32)
            ones = self.subgraph.apply(Op.TRANSPOSE, [ones, order], pixels)
        return source, self.reshape(ones, "encode.signal", [ANY, width], np.float32)

    def hidden_layer(self, name: str, layer: Layer, signal: int) -> int:
        """sums >= threshold, as signs."""
        sums = self.accumulate(name, layer, signal)
        positive = self.subgraph.tensor(f"{name}.positive", [ANY, layer.units], np.bool_)
        self.subgraph.apply(Op.GREATER_EQUAL, [sums, self.constant(f"{name}.threshold")], positive)
        return self.signs(positive, f"{name}.signal", [layer.units])

    def convolution(self, name: str, layer: ConvLayer, signal: int) -> int:
        """Signs of the sums at every place, pooled, as one row."""
        c, apply, tensor = layer.geometry, self.subgraph.apply, self.subgraph.tensor
        image = self.reshape(signal, f"{name}.image", [ANY, c.height, c.width, c.channels], np.float32)
        pads = np.array([(0, 0), c.pads(c.height), c.pads(c.width), (0, 0)], np.int32)
        if pads.any():
            outside = self.subgraph.constant(
                f"{name}.outside", np.array([255 if layer.takes == "bytes" else 1], np.float32)
            )
            edges = self.subgraph.constant(f"{name}.pads", pads)
            sides = (c.height + int(pads[1].sum()), c.width + int(pads[2].sum()))
            padded = tensor(f"{name}.padded", [ANY, *sides, c.channels], np.float32)
            image = apply(Op.PADV2, [image, edges, outside], padded)
        weights = self.weights(name)
        # rows end in whole bytes: cut the padding
        begin = self.subgraph.constant(f"{name}.begin", np.zeros(2, np.int32))
        shape = [layer.units, layer.inputs]
        size = self.subgraph.constant(f"{name}.size", np.array(shape, np.int32))
        weights = apply(Op.SLICE, [weights, begin, size], tensor(f"{name}.exact", shape, np.float32))
        filters = self.reshape(weights, f"{name}.filters", [layer.units, c.kernel, c.kernel, c.channels], np.float32)
        bias = self.subgraph.constant(f"{name}.bias", np.zeros(layer.units, np.float32))
        sums = tensor(f"{name}.sums", [ANY, *c.convolved, layer.units], np.float32)
        options: dict[int, Value] = {0: VALID, 1: np.int32(c.stride), 2: np.int32(c.stride)}
        apply(Op.CONV_2D, [image, filters, bias], sums, options)
        whole = self.cast(sums, f"{name}.integer_sums", [ANY, *c.convolved, layer.units], np.float32, np.int32)
        positive = tensor(f"{name}.positive", [ANY, *c.convolved, layer.units], np.bool_)
        apply(Op.GREATER_EQUAL, [whole, self.constant(f"{name}.threshold")], positive)
        signs = self.signs(positive, f"{name}.signs", [*c.convolved, layer.units])
        if c.pool > 1:
            square: dict[int, Value] = {place: np.int32(c.pool) for place in (1, 2, 3, 4)}  # strides, then sides
            pooled = tensor(f"{name}.pooled", [ANY, *c.pooled, layer.units], np.float32)
            signs = apply(Op.MAX_POOL_2D, [signs], pooled, {0: VALID, **square})
        return self.reshape(signs, f"{name}.signal", [ANY, layer.outputs], np.float32)

    def output_layer(self, name: str, layer: Layer, signal: int) -> tuple[int, int]:
        """sums * mul + add, and the first index of the largest."""
        sums, shape = self.accumulate(name, layer, signal), [ANY, layer.units]
        scaled = self.subgraph.tensor(f"{name}.scaled", shape, np.int32)
        self.subgraph.apply(Op.MUL, [sums, self.constant(f"{name}.mul")], scaled)
        scores = self.subgraph.tensor("scores", shape, np.int32)
        self.subgraph.apply(Op.ADD, [scaled, self.constant(f"{name}.add")], scores)
        axis = self.subgraph.constant("class_axis", np.array(1, np.int32))
        label = self.subgraph.tensor("label", [ANY], np.int32)
        self.subgraph.apply(Op.ARG_MAX, [scores, axis], label, {0: type_number(np.int32)})
        return scores, label
