"""model.tflite: the network in stock TFLite operators, one bit a weight in the file.

TFLite cannot shift or multiply bits. GATHER therefore looks up each byte of a sign plane as eight weights of +1.0 or -1.0, at
every call. Sums are exact in float32, because they are integers of at most 255 * 2**14; thresholds and scores are int32. The file
has two signatures:

* "infer": "features" uint8 [n, F], or "bits" uint8 [n, K] holding 0 or 1 for a network that takes bits -> "scores" int32
  [n, classes], "label" int32 [n] (lowest index on a tie). It is stored for n = 1; a signature runner resizes it to the n of its
  input.
* "hidden_state": () -> "layer{i}.hidden_planes" of each layer of 2 or more bits. It is a subgraph without operators, which
  inference does not run; it is missing where every layer has 1 bit.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.bits import unpack_rows
from metabit.export.errors import ExportError, MissingExtra, require
from metabit.export.files.flatbuffer import Value
from metabit.export.files.interchange import FACTS, Tensors, facts, named_tensors, rebuild
from metabit.export.files.tflite_schema import ABSENT, ANY, VALID, Model, Op, Subgraph, read_constants, type_number
from metabit.export.frozen import ConvLayer, Frozen, Layer


def write_tflite(frozen: Frozen) -> bytes:
    """Serialise a network as a TFLite file. Equal networks give equal bytes.

    Raises MissingExtra without flatbuffers, ExportError for a network that does not fit together.
    """
    model, arrays = Model(), named_tensors(frozen)
    graph = _Graph(model.subgraph("infer"), arrays)
    source, signal = graph.encode(frozen)
    for i, layer in enumerate(frozen.layers[:-1]):
        if isinstance(layer, ConvLayer):
            signal = graph.convolution(f"layer{i}", layer, signal)
        else:
            signal = graph.hidden_layer(f"layer{i}", layer, signal)
    outputs = graph.output_layer(f"layer{len(frozen.layers) - 1}", frozen.layers[-1], signal)
    model.signature("infer", graph.subgraph, [source], outputs)
    planes = {name: array for name, array in arrays.items() if name.endswith(".hidden_planes")}
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


def run_tflite(data: bytes, x: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Scores int32 (n, classes) by TFLite on one thread; x is uint8 (n, F), or 0 and 1 (n, K) for a network that takes bits.

    Raises MissingExtra without a TFLite runtime, ExportError if x has another shape or dtype.
    """
    interpreter = _runtime().Interpreter(model_content=data, num_threads=1)
    infer = interpreter.get_signature_runner("infer")
    ((source, details),) = infer.get_input_details().items()
    width = int(details["shape"][1])
    if x.dtype != np.uint8 or x.ndim != 2 or x.shape[1] != width:
        raise ExportError(f"{source} must be uint8 (n, {width}), not {x.dtype} {x.shape}")
    return np.asarray(infer(**{source: x})["scores"], np.int32)


def _runtime() -> Any:
    """Google's runtime, under whichever of its two names is installed."""
    for module in ("tflite_runtime.interpreter", "ai_edge_litert.interpreter"):
        with suppress(MissingExtra):
            return require(module)
    raise MissingExtra("tflite-runtime or ai-edge-litert")


class _Graph:
    """Builds "infer". Signals between layers are float32 [n, width]: signs -1 and +1, bits 0 and 1, or bytes 0..255."""

    def __init__(self, subgraph: Subgraph, arrays: Tensors) -> None:
        self.subgraph, self.arrays = subgraph, arrays
        signs = np.where(unpack_rows(np.arange(256, dtype=np.uint8)[:, None], 8), 1, -1)
        self.signs_of_byte = subgraph.constant("signs_of_byte", signs.astype(np.float32))
        self.plus = subgraph.constant("plus", np.array([1], np.float32))
        self.minus = subgraph.constant("minus", np.array([-1], np.float32))

    def encode(self, frozen: Frozen) -> tuple[int, int]:
        """The input tensor and the first signal."""
        encode, width = frozen.encode, frozen.input_bits
        if encode is None:
            bits = self.subgraph.tensor("bits" if frozen.packed else "features", [ANY, width], np.uint8)
            if frozen.layers[0].takes != "signs":
                return bits, self._cast(bits, "encode.signal", [ANY, width], np.uint8, np.float32)
            on = self._cast(bits, "encode.on", [ANY, width], np.uint8, np.bool_)
            return bits, self._signs(on, "encode.signal", [width])
        planes, features = encode.planes, encode.features
        source = self.subgraph.tensor("features", [ANY, features], np.uint8)
        wide = self._cast(source, "encode.features", [ANY, features], np.uint8, np.int32)
        column = self._reshape(wide, "encode.column", [ANY, 1, features], np.int32)
        packed = self._constant("encode.thresholds")
        limits = self._cast(packed, "encode.limits", [planes, features], np.uint8, np.int32)
        reached = self.subgraph.tensor("encode.reached", [ANY, planes, features], np.bool_)
        self.subgraph.apply(Op.GREATER_EQUAL, [column, limits], reached)
        ones = self._cast(reached, "encode.planes", [ANY, planes, features], np.bool_, np.float32)
        if encode.channels:
            shape = [ANY, planes, features // encode.channels, encode.channels]
            ones = self._reshape(ones, "encode.pixels", shape, np.float32)
            order = self.subgraph.constant("encode.order", np.array([0, 2, 1, 3], np.int32))
            pixels = self.subgraph.tensor("encode.pixels_first", [shape[i] for i in (0, 2, 1, 3)], np.float32)
            ones = self.subgraph.apply(Op.TRANSPOSE, [ones, order], pixels)
        return source, self._reshape(ones, "encode.signal", [ANY, width], np.float32)

    def hidden_layer(self, name: str, layer: Layer, signal: int) -> int:
        """sums >= threshold, as signs."""
        sums = self._accumulate(name, layer, signal)
        positive = self.subgraph.tensor(f"{name}.positive", [ANY, layer.units], np.bool_)
        self.subgraph.apply(Op.GREATER_EQUAL, [sums, self._constant(f"{name}.threshold")], positive)
        return self._signs(positive, f"{name}.signal", [layer.units])

    def convolution(self, name: str, layer: ConvLayer, signal: int) -> int:
        """Signs of the sums at every place, pooled, as one row."""
        c, apply, tensor = layer.geometry, self.subgraph.apply, self.subgraph.tensor
        image = self._reshape(signal, f"{name}.image", [ANY, c.height, c.width, c.channels], np.float32)
        pads = np.array([(0, 0), c.pads(c.height), c.pads(c.width), (0, 0)], np.int32)
        if pads.any():
            outside = self.subgraph.constant(
                f"{name}.outside", np.array([255 if layer.takes == "bytes" else 1], np.float32)
            )
            edges = self.subgraph.constant(f"{name}.pads", pads)
            sides = (c.height + int(pads[1].sum()), c.width + int(pads[2].sum()))
            padded = tensor(f"{name}.padded", [ANY, *sides, c.channels], np.float32)
            image = apply(Op.PADV2, [image, edges, outside], padded)
        weights = self._weights(name)
        # rows end in whole bytes: cut the padding
        begin = self.subgraph.constant(f"{name}.begin", np.zeros(2, np.int32))
        shape = [layer.units, layer.inputs]
        size = self.subgraph.constant(f"{name}.size", np.array(shape, np.int32))
        weights = apply(Op.SLICE, [weights, begin, size], tensor(f"{name}.exact", shape, np.float32))
        filters = self._reshape(weights, f"{name}.filters", [layer.units, c.kernel, c.kernel, c.channels], np.float32)
        bias = self.subgraph.constant(f"{name}.bias", np.zeros(layer.units, np.float32))
        sums = tensor(f"{name}.sums", [ANY, *c.convolved, layer.units], np.float32)
        options: dict[int, Value] = {0: VALID, 1: np.int32(c.stride), 2: np.int32(c.stride)}
        apply(Op.CONV_2D, [image, filters, bias], sums, options)
        whole = self._cast(sums, f"{name}.integer_sums", [ANY, *c.convolved, layer.units], np.float32, np.int32)
        positive = tensor(f"{name}.positive", [ANY, *c.convolved, layer.units], np.bool_)
        apply(Op.GREATER_EQUAL, [whole, self._constant(f"{name}.threshold")], positive)
        signs = self._signs(positive, f"{name}.signs", [*c.convolved, layer.units])
        if c.pool > 1:
            square: dict[int, Value] = {place: np.int32(c.pool) for place in (1, 2, 3, 4)}  # strides, then sides
            pooled = tensor(f"{name}.pooled", [ANY, *c.pooled, layer.units], np.float32)
            signs = apply(Op.MAX_POOL_2D, [signs], pooled, {0: VALID, **square})
        return self._reshape(signs, f"{name}.signal", [ANY, layer.outputs], np.float32)

    def output_layer(self, name: str, layer: Layer, signal: int) -> tuple[int, int]:
        """sums * mul + add, and the first index of the largest."""
        sums, shape = self._accumulate(name, layer, signal), [ANY, layer.units]
        scaled = self.subgraph.tensor(f"{name}.scaled", shape, np.int32)
        self.subgraph.apply(Op.MUL, [sums, self._constant(f"{name}.mul")], scaled)
        scores = self.subgraph.tensor("scores", shape, np.int32)
        self.subgraph.apply(Op.ADD, [scaled, self._constant(f"{name}.add")], scores)
        axis = self.subgraph.constant("class_axis", np.array(1, np.int32))
        label = self.subgraph.tensor("label", [ANY], np.int32)
        self.subgraph.apply(Op.ARG_MAX, [scores, axis], label, {0: type_number(np.int32)})
        return scores, label

    def _accumulate(self, name: str, layer: Layer, signal: int) -> int:
        """int32 sums [n, N] of weight times signal."""
        apply, tensor, constant = self.subgraph.apply, self.subgraph.tensor, self.subgraph.constant
        units, octets = self.arrays[f"{name}.sign_plane"].shape
        weights = self._weights(name)
        padding = 8 * octets - layer.inputs
        if padding:  # rows end in whole bytes: the padding, looked up as -1, is multiplied by zeros
            end = constant(f"{name}.padding", np.array([[0, 0], [0, padding]], np.int32))
            signal = apply(Op.PAD, [signal, end], tensor(f"{name}.padded", [ANY, 8 * octets], np.float32))
        sums = tensor(f"{name}.sums", [ANY, units], np.float32)
        apply(Op.FULLY_CONNECTED, [signal, weights, ABSENT], sums)
        return self._cast(sums, f"{name}.integer_sums", [ANY, units], np.float32, np.int32)

    def _weights(self, name: str) -> int:
        """float32 [N, 8 * ceil(K / 8)] of +1 / -1."""
        units, octets = self.arrays[f"{name}.sign_plane"].shape
        packed = self._constant(f"{name}.sign_plane")
        index = self._cast(packed, f"{name}.index", [units, octets], np.uint8, np.int32)
        looked_up = self.subgraph.tensor(f"{name}.octets", [units, octets, 8], np.float32)
        self.subgraph.apply(Op.GATHER, [self.signs_of_byte, index], looked_up)
        return self._reshape(looked_up, f"{name}.weights", [units, 8 * octets], np.float32)

    def _constant(self, name: str) -> int:
        return self.subgraph.constant(name, self.arrays[name])

    def _signs(self, positive: int, name: str, shape: list[int]) -> int:
        output = self.subgraph.tensor(name, [ANY, *shape], np.float32)
        return self.subgraph.apply(Op.SELECT_V2, [positive, self.plus, self.minus], output)

    def _cast(self, x: int, name: str, shape: list[int], old: type[np.generic], new: type[np.generic]) -> int:
        options = {0: type_number(old), 1: type_number(new)}
        return self.subgraph.apply(Op.CAST, [x], self.subgraph.tensor(name, shape, new), options)

    def _reshape(self, x: int, name: str, shape: list[int], dtype: type[np.generic]) -> int:
        to = self.subgraph.constant(f"{name}.shape", np.array(shape, np.int32))
        return self.subgraph.apply(Op.RESHAPE, [x, to], self.subgraph.tensor(name, shape, dtype))
