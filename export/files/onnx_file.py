"""model.onnx: the network in standard ONNX operators, one bit a weight in the file.

Each layer is one call of a model-local function (domain "metabit"). A viewer shows boxes such as BinaryDense, and a runtime
sees standard operators only. onnxruntime unpacks the sign planes once, at load, and then multiplies bytes (MatMulInteger,
QLinearConv), which is exact.

Signals between layers are uint8 codes: bits are 0 and 1, bytes 0..255, signs 0 and 1, or 0 and 255 between convolutions. Images are
rows (H, W, C) with C fastest. Level planes are initialisers and graph outputs as well: a session can fetch them, no optimiser drops
them, and inference reads those of a graded layer only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import need_rows, require
from metabit.export.files import onnx_gates, onnx_reader
from metabit.export.files.interchange import FACTS, KEPT, facts, named_tensors, rebuild
from metabit.export.files.onnx_functions import DOMAIN, OPSET, functions
from metabit.export.frozen import ConvLayer, Cuts, Frozen, GradedLayer, Layer, OutputLayer

IR_VERSION = 8  # with opset 18 not the newest, so that older runtimes read it (tested from onnxruntime 1.18)


def write_onnx(frozen: Frozen, *, inline: bool = False) -> bytes:
    """Serialise a network as an ONNX model (opset 18, IR 8). Equal networks give equal bytes.

    inline: write no functions, for runtimes and tools that stop at them.

    Inputs: "features" uint8 or int16 [n, F] where the network has an encoder or takes bytes, else "bits" uint8 [n, K] holding 0
    or 1. Outputs: "scores" int32 [n, classes], "label" int64 [n] (lowest index on a tie), "layer{i}.hidden_planes" uint8
    [k - 1, N, ceil(K / 8)] for each layer of 2 or more bits, and what a head learns. Raises MissingExtra without onnx, ExportError
    for layers that do not fit together.
    """
    onnx, helper = require("onnx"), require("onnx.helper")
    arrays = named_tensors(frozen)
    uint8, int32, int64 = onnx.TensorProto.UINT8, onnx.TensorProto.INT32, onnx.TensorProto.INT64
    hidden = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in arrays.items()
        if name.partition(".")[2] in KEPT
    ]
    source = "bits" if frozen.packed else "features"
    taken = uint8 if frozen.integers == "uint8" else onnx.TensorProto.INT16
    nodes = _nodes(frozen, helper.make_node)
    graph = helper.make_graph(
        nodes,
        "metabit",
        [helper.make_tensor_value_info(source, taken, ["n", frozen.features])],
        [
            helper.make_tensor_value_info("scores", int32, ["n", frozen.classes]),
            helper.make_tensor_value_info("label", int64, ["n"]),
            *hidden,
        ],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in arrays.items()],
    )
    model = helper.make_model(
        graph,
        functions=functions(frozen, {node.op_type for node in nodes}),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        producer_name="metabit",
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, {FACTS: facts(frozen)})
    return bytes((_inlined(model) if inline else model).SerializeToString(deterministic=True))


def read_onnx(data: bytes) -> Frozen:
    """The network inside a model that `write_onnx` wrote, hidden levels included.

    Raises MissingExtra without onnx, ExportError if the file is not one of ours or is damaged.
    """
    model = onnx_reader.parse(data)
    return rebuild(onnx_reader.pages(model)[FACTS], onnx_reader.arrays(model))


def run_onnx(data: bytes, x: NDArray[Any]) -> NDArray[np.int32]:
    """Scores int32 (n, classes) by onnxruntime on one thread.

    x: uint8 or int16 (n, F), or 0 and 1 (n, K) for a network that takes bits.

    Raises MissingExtra without onnxruntime, ExportError if x has another shape or dtype.
    """
    runner = session(data)
    (source,) = runner.get_inputs()
    need_rows(source.name, x, dtype_of(source), source.shape[1])
    return np.asarray(runner.run(["scores"], {source.name: x})[0], np.int32)


def session(data: bytes, threads: int = 1, log_severity: int = -1) -> Any:
    """A session of onnxruntime on the CPU. Raises MissingExtra without it."""
    onnxruntime = require("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = log_severity
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def dtype_of(source: Any) -> str:
    """Name of the dtype of an input of a session."""
    return str(source.type[len("tensor(") : -1])


def _nodes(frozen: Frozen, make_node: Any) -> list[Any]:
    """Calls of the graph: those that turn the input into codes, then one for each layer."""
    if isinstance(frozen.encode, Cuts):
        nodes, codes = [make_node("Cuts", ["features", "encode.cuts"], ["codes"], "encode", domain=DOMAIN)], "codes"
    elif frozen.encode:
        kind = "Thermometer" if frozen.encode.planes > 1 else "Threshold"
        nodes = [make_node(kind, ["features", "encode.thresholds"], ["codes"], "encode", domain=DOMAIN)]
        codes = "codes"
        channels = frozen.encode.channels
        if channels:
            order = [0, frozen.encode.planes, frozen.encode.features // channels, channels]
            nodes.append(
                make_node("PixelsFirst", [codes], ["pixels"], "order", domain=DOMAIN, planes_pixels_channels=order)
            )
            codes = "pixels"
    elif frozen.layers[0].takes != "signs" or frozen.layers[0].kind != "conv":
        nodes, codes = [], "bits" if frozen.packed else "features"
    else:
        nodes, codes = [make_node("SignCodes", ["bits"], ["codes"], "encode", domain=DOMAIN)], "codes"
    if frozen.layers[0].kind in ("gates", "triples"):
        return nodes + onnx_gates.nodes(frozen, codes, make_node)
    for i, layer in enumerate(frozen.layers):
        name, on_off = f"layer{i}", "OnOff" * (layer.takes != "signs")
        more: dict[str, Any] = {}
        outputs, tensors = [f"{name}.codes"], ["threshold"]
        if isinstance(layer, ConvLayer):
            call, more = f"BinaryConv{on_off}{'Pool' * (layer.geometry.pool > 1)}", _geometry(layer)
        elif isinstance(layer, GradedLayer):
            call, tensors = "Graded", [*["hidden_planes"] * (layer.bits > 1), "threshold"]
        elif layer.kind == "dense":
            call = f"BinaryDense{on_off}"
        else:
            call = "GradedScores" if layer.takes == "grades" else f"BinaryScores{on_off}"
            call += "Wide" * (call == "BinaryScores" and _most(layer) >= 2**31)
            tensors, outputs = ["mul", "add"], ["scores", "label"]
        operands = [codes, *(f"{name}.{tensor}" for tensor in ["sign_plane", *tensors])]
        nodes.append(make_node(call, operands, outputs, name, domain=DOMAIN, in_features=layer.inputs, **more))
        codes = outputs[0]
        if layer.kind == "conv" and frozen.layers[i + 1].kind != "conv":
            nodes.append(make_node("BitsOfSigns", [codes], [f"{name}.bits"], f"{name}.bits", domain=DOMAIN))
            codes = f"{name}.bits"
    return nodes


def _inlined(model: Any) -> Any:
    """The model without functions. Values inside a call are named by it, "layer0.sums"; equal constants are one initialiser."""
    helper, arrays = require("onnx.helper"), require("onnx.numpy_helper")
    flat = require("onnx.inliner").inline_local_functions(model)
    calls = {name: call.name for call in model.graph.node for name in call.output}
    names, taken, call = {name: name for name in calls}, {tensor.name for tensor in flat.graph.initializer}, ""
    for node in reversed(flat.graph.node):  # the last node of a call gives one of its outputs
        call = calls.get(node.output[0], call)
        for name in node.output:  # the inliner names it "sums__2"
            short = f"{call}.{name.rpartition('__')[0]}"
            names.setdefault(name, f"{call}.{name}" if short in taken else short)
            taken.add(short)
    nodes, known = [], dict[bytes, str]()
    for node in flat.graph.node:
        name = names[node.output[0]]
        if node.op_type == "Constant":
            value = helper.get_attribute_value(node.attribute[0])
            tensor = arrays.from_array(
                arrays.to_array(value) if node.attribute[0].name == "value" else np.array(value, np.int64)
            )
            tensor.name = names[node.output[0]] = known.setdefault(tensor.SerializeToString(), name)
            if tensor.name == name:
                flat.graph.initializer.append(tensor)
            continue
        node.name = name
        node.input[:], node.output[:] = [names.get(one, one) for one in node.input], [names[one] for one in node.output]
        nodes.append(node)
    opsets = [one for one in flat.opset_import if one.domain != DOMAIN]
    for field, kept in ((flat.graph.node, nodes), (flat.opset_import, opsets)):
        del field[:]
        field.extend(kept)
    return flat


def _most(layer: Layer) -> int:
    """The largest magnitude of 2·mul·sum and of add - mul·total, for an output."""
    assert isinstance(layer, OutputLayer)
    return int((2 * layer.inputs * np.abs(layer.mul.astype(np.int64)) + np.abs(layer.add.astype(np.int64))).max())


def _geometry(layer: ConvLayer) -> dict[str, Any]:
    """Attributes of a convolution. A 0 in a shape keeps the size that is there."""
    g = layer.geometry
    (top, bottom), (left, right) = g.pads(g.height), g.pads(g.width)
    return {
        "image": [0, g.height, g.width, g.channels],
        "filter": [0, g.kernel, g.kernel, g.channels],
        "pads": [top, left, bottom, right],
        "top": 1 if layer.takes == "bits" else 255,
        "strides": [g.stride, g.stride],
        **({"pool": [g.pool, g.pool]} if g.pool > 1 else {}),
    }
