"""model.qonnx.onnx: a network of sign units in the QONNX dialect, which FINN, Brevitas and qonnx read.

Weights and activations pass through BipolarQuant (domain "qonnx.custom_op.general"): +1 where a value is >= 0, else -1. Tensors are
float32 with integer values, and annotations (finn_datatype) say which. BipolarQuant has a function body in the file, so that any
runtime of standard operators runs it as well. The batch is 1, as those tools want it.

Padding of a convolution is a Pad with the value outside the image, +1, 1 or 255: Conv itself would pad with 0. Hidden levels are in
the metadata, as the network's image in base64.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError, need_rows, require
from metabit.export.files import onnx_reader
from metabit.export.files.image import read_image, write_image
from metabit.export.files.interchange import IMAGE
from metabit.export.files.onnx_file import IR_VERSION, session
from metabit.export.files.onnx_functions import OPSET
from metabit.export.frozen import ConvLayer, DenseLayer, Encode, Frozen, Layer, OutputLayer

DOMAIN = "qonnx.custom_op.general"
EXACT = 2**24
"""Integers up to this one are exact in float32."""
_FLOAT, _INT32 = 1, 6  # TensorProto.DataType

_BIPOLAR = f"""
    <domain: "{DOMAIN}", opset_import: ["": {OPSET}]>
    BipolarQuant (x, scale) => (y) {{
        zero = Constant <value = float {{0}}> ()
        positive = GreaterOrEqual (x, zero)
        negative_scale = Neg (scale)
        y = Where (positive, scale, negative_scale)
    }}"""


def write_qonnx(frozen: Frozen) -> bytes:
    """Serialise a network of sign units. Equal networks give equal bytes.

    Input: "features" float32 [1, F] holding uint8 values, or "bits" float32 [1, K] holding 0 and 1. Output: "scores" int32
    [1, classes]. Raises MissingExtra without onnx, ExportError for another kind of network.
    """
    for i, layer in enumerate(frozen.layers):
        if not isinstance(layer, ConvLayer | DenseLayer | OutputLayer):
            raise ExportError(
                f"layer {i} is {layer.kind}: the QONNX dialect holds networks of sign units only, use the format onnx"
            )
    if not isinstance(frozen.encode, Encode | None):
        raise ExportError("QONNX holds thresholds of uint8 features only, this network has cuts: use the format onnx")
    onnx, helper = require("onnx"), require("onnx.helper")
    source, graph = "bits" if frozen.packed else "features", _Graph()
    graph.of_type["bits" if frozen.packed else "features"] = "BINARY" if frozen.packed else "UINT8"
    signal = graph.encode(frozen, source)
    for i, layer in enumerate(frozen.layers):
        signal = graph.layer(f"layer{i}", layer, signal)
    made = helper.make_graph(
        graph.nodes,
        "metabit",
        [helper.make_tensor_value_info(source, _FLOAT, [1, frozen.features])],
        [helper.make_tensor_value_info("scores", _INT32, [1, frozen.classes])],
        [onnx.numpy_helper.from_array(array, name) for name, array in graph.arrays.items()],
    )
    for name, kind in graph.of_type.items():
        note = made.quantization_annotation.add()
        note.tensor_name = name
        note.quant_parameter_tensor_names.add(key="finn_datatype", value=kind)
    model = helper.make_model(
        made,
        functions=[require("onnx.parser").parse_function(_BIPOLAR)],
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        producer_name="metabit",
        ir_version=IR_VERSION,
    )
    model = require("onnx.shape_inference").infer_shapes(model)  # qonnx wants the shape of every tensor
    helper.set_model_props(model, {IMAGE: base64.b64encode(write_image(frozen)).decode()})
    return bytes(model.SerializeToString(deterministic=True))


def read_qonnx(data: bytes) -> Frozen:
    """The network inside a file that `write_qonnx` wrote, hidden levels included.

    Raises MissingExtra without onnx, ExportError if the file is damaged, not one of ours, or has other weights by now.
    """
    model = onnx_reader.parse(data)
    text = onnx_reader.pages(model, IMAGE)[IMAGE]
    try:
        frozen = read_image(base64.b64decode(text, validate=True))
    except binascii.Error as wrong:
        raise ExportError(f"damaged QONNX file: its image is not base64 ({wrong})") from None
    found = onnx_reader.arrays(model)
    for i, layer in enumerate(frozen.layers):
        weights = found.get(f"layer{i}.weights")
        if weights is None or not np.array_equal(weights, _weights(layer)):
            raise ExportError(f"layer {i} of this QONNX file has other weights than its image: another tool changed it")
    return frozen


def run_qonnx(data: bytes, x: NDArray[Any]) -> NDArray[np.int32]:
    """Scores int32 (n, classes) by onnxruntime, one input after the other.

    x: uint8 (n, F), or 0 and 1 (n, K) for a network that takes bits. Raises MissingExtra without onnxruntime, ExportError for
    another shape or dtype.
    """
    runner = session(data)
    (source,), (scores,) = runner.get_inputs(), runner.get_outputs()
    need_rows(source.name, x, np.uint8, source.shape[1])
    rows = [runner.run(["scores"], {source.name: one[None].astype(np.float32)})[0] for one in x]
    return np.concatenate(rows) if rows else np.zeros((0, scores.shape[1]), np.int32)


class _Graph:
    """Nodes, initialisers and the integer type of each tensor."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.arrays: dict[str, NDArray[Any]] = {"scale": np.array(1, np.float32)}
        self.of_type: dict[str, str] = {}

    def encode(self, frozen: Frozen, source: str) -> str:
        """The values that the first layer takes."""
        if frozen.encode is None:
            return source if frozen.layers[0].takes != "signs" else self._bits_to_signs(source)
        planes = []
        for p, thresholds in enumerate(frozen.encode.thresholds):
            reached = self._signs(source, f"encode.plane{p}", thresholds.astype(np.float32)[None], "UINT8")
            planes.append(self._signs_to_bits(reached, f"encode.bits{p}"))
        bits, channels = planes[0], frozen.encode.channels
        if len(planes) > 1:
            bits = self._add("Concat", planes, "encode.bits", "BINARY", axis=1)
        if channels and len(planes) > 1:  # (plane, pixel, channel) -> (pixel, plane, channel)
            by_plane = self._reshape(bits, "encode.planes", [1, len(planes), -1, channels], "BINARY")
            by_pixel = self._add("Transpose", [by_plane], "encode.pixels", "BINARY", perm=[0, 2, 1, 3])
            bits = self._reshape(by_pixel, "encode.ordered", [1, -1], "BINARY")
        return bits

    def layer(self, name: str, layer: Layer, signal: str) -> str:
        self.arrays[f"{name}.weights"] = _weights(layer)
        weights = self._add("BipolarQuant", [f"{name}.weights", "scale"], f"{name}.signs", "BIPOLAR", domain=DOMAIN)
        if isinstance(layer, ConvLayer):
            return self._convolution(name, layer, signal, weights)
        sums = self._add("MatMul", [signal, weights], f"{name}.sums", "INT32")
        if isinstance(layer, DenseLayer):
            return self._signs(sums, f"{name}.activation", _near(layer)[None], "INT32")
        assert isinstance(layer, OutputLayer)
        whole = layer.inputs * int(np.abs(layer.mul.astype(np.int64)).max()) + int(
            np.abs(layer.add.astype(np.int64)).max()
        )
        dtype = np.float32 if whole <= EXACT else np.int32
        if dtype == np.int32:
            sums = self._add("Cast", [sums], f"{name}.integers", "INT32", to=_INT32)
        self.arrays |= {f"{name}.mul": layer.mul.astype(dtype), f"{name}.add": layer.add.astype(dtype)}
        self.of_type |= {f"{name}.mul": "INT32", f"{name}.add": "INT32"}
        scaled = self._add("Mul", [sums, f"{name}.mul"], f"{name}.scaled", "INT32")
        if dtype == np.int32:
            return self._add("Add", [scaled, f"{name}.add"], "scores", "INT32")
        total = self._add("Add", [scaled, f"{name}.add"], f"{name}.total", "INT32")
        return self._add("Cast", [total], "scores", "INT32", to=_INT32)

    def _convolution(self, name: str, layer: ConvLayer, signal: str, weights: str) -> str:
        """Signs of a convolution, (row, column, unit) in one row."""
        g, kind = layer.geometry, {"bits": "BINARY", "bytes": "UINT8", "signs": "BIPOLAR"}[layer.takes]
        pixels = self._reshape(signal, f"{name}.pixels", [1, g.height, g.width, g.channels], kind)
        picture = self._add("Transpose", [pixels], f"{name}.picture", kind, perm=[0, 3, 1, 2])
        if g.same:
            (top, bottom), (left, right) = g.pads(g.height), g.pads(g.width)
            self.arrays[f"{name}.pads"] = np.array([0, 0, top, left, 0, 0, bottom, right])
            self.arrays[f"{name}.outside"] = np.array(255 if layer.takes == "bytes" else 1, np.float32)
            picture = self._add("Pad", [picture, f"{name}.pads", f"{name}.outside"], f"{name}.padded", kind)
        sides = {
            "kernel_shape": [g.kernel] * 2,
            "strides": [g.stride] * 2,
            "pads": [0] * 4,
            "dilations": [1, 1],
            "group": 1,
        }
        sums = self._add("Conv", [picture, weights], f"{name}.sums", "INT32", **sides)
        signs = self._signs(sums, f"{name}.activation", _near(layer)[None, :, None, None], "INT32")
        if g.pool > 1:
            square = {"kernel_shape": [g.pool] * 2, "strides": [g.pool] * 2, "pads": [0] * 4}
            signs = self._add("MaxPool", [signs], f"{name}.pooled", "BIPOLAR", **square)
        last = self._add("Transpose", [signs], f"{name}.by_pixel", "BIPOLAR", perm=[0, 2, 3, 1])
        return self._reshape(last, f"{name}.row", [1, -1], "BIPOLAR")

    def _signs(self, x: str, name: str, threshold: NDArray[np.float32], kind: str) -> str:
        """+1 where x >= threshold, else -1."""
        self.arrays[f"{name}.threshold"], self.of_type[f"{name}.threshold"] = threshold, kind
        above = self._add("Sub", [x, f"{name}.threshold"], f"{name}.above", "INT32")
        return self._add("BipolarQuant", [above, "scale"], name, "BIPOLAR", domain=DOMAIN)

    def _signs_to_bits(self, signs: str, name: str) -> str:
        self.arrays["half"] = np.array(0.5, np.float32)
        raised = self._add("Add", [signs, "scale"], f"{name}.raised", "UINT2")
        return self._add("Mul", [raised, "half"], name, "BINARY")

    def _bits_to_signs(self, bits: str) -> str:
        return self._signs(bits, "encode.signs", np.ones((1, 1), np.float32), "BINARY")

    def _reshape(self, x: str, name: str, shape: list[int], kind: str) -> str:
        self.arrays[f"{name}.shape"] = np.array(shape)
        return self._add("Reshape", [x, f"{name}.shape"], name, kind)

    def _add(self, op: str, inputs: list[str], output: str, kind: str, **attributes: Any) -> str:
        self.nodes.append(require("onnx.helper").make_node(op, inputs, [output], output, **attributes))
        self.of_type[output] = kind
        return output


def _weights(layer: Layer) -> NDArray[np.float32]:
    """float32 +1 or -1: (K, N), or of a convolution (N, C, row, column)."""
    weights = layer.weights.astype(np.float32)
    if isinstance(layer, ConvLayer):
        g = layer.geometry
        return np.ascontiguousarray(weights.reshape(-1, g.kernel, g.kernel, g.channels).transpose(0, 3, 1, 2))
    return np.ascontiguousarray(weights.T)


def _near(layer: ConvLayer | DenseLayer) -> NDArray[np.float32]:
    """Thresholds limited to one beyond the sums, so that float32 holds them exactly."""
    most = layer.inputs * (255 if layer.takes == "bytes" else 1) + 1
    return np.clip(layer.theta, -most, most).astype(np.float32)
