"""model.onnx: the network in standard ONNX operators, one bit a weight in the file.

Each layer is one call of a model-local function (domain "metabit"). A viewer shows boxes such as BinaryDense, and a runtime
sees standard operators only. onnxruntime unpacks the sign planes once, at load, and then multiplies bytes (MatMulInteger,
ConvInteger), which is exact.

Signals between layers are uint8 codes that stand for ``code - zero_point``. Bits are 0 and 1 and bytes 0..255 with zero point 0;
signs are 0 and 2 with zero point 1. Images are rows (H, W, C) with C fastest. Level planes are initialisers and graph outputs
as well: a session can fetch them, no optimiser drops them, and inference does not compute them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.bits import unpack_rows
from metabit.export.errors import ExportError, require
from metabit.export.files import onnx_gates
from metabit.export.files.interchange import FACTS, KEPT, facts, named_tensors, rebuild
from metabit.export.frozen import ConvLayer, Cuts, Frozen

DOMAIN = "metabit"
OPSET, IR_VERSION = 18, 8  # not the newest, so that older runtimes read it (tested from onnxruntime 1.18)

_HEAD = f'<domain: "{DOMAIN}", opset_import: ["": {OPSET}, "{DOMAIN}": 1]>'
_INT32, _UINT8, _BOOL = 6, 2, 9  # TensorProto.DataType, for Cast

# An attribute reference must carry its type (`: int`): the checker rejects the untyped form.
_SAME_SHAPE = "<in_features: int = @in_features, zero_point: int = @zero_point>"

# `_functions` fills in the table of UnpackSigns, signs_of_byte int8 [256, 8].
_FUNCTIONS = {
    "Thermometer": f"""
        Thermometer (features, thresholds) => (codes) {{
            wide = Cast <to = {_INT32}> (features)
            limits = Cast <to = {_INT32}> (thresholds)
            plane_axis = Constant <value = int64[1] {{1}}> ()
            column = Unsqueeze (wide, plane_axis)
            reached = GreaterOrEqual (column, limits)
            planes = Cast <to = {_UINT8}> (reached)
            codes = Flatten <axis = 1> (planes)
        }}""",
    "SignCodes": f"""
        SignCodes (bits) => (codes) {{
            positive = Cast <to = {_BOOL}> (bits)
            plus = Constant <value = uint8 {{2}}> ()
            minus = Constant <value = uint8 {{0}}> ()
            codes = Where (positive, plus, minus)
        }}""",
    "UnpackSigns": f"""
        UnpackSigns <in_features> (sign_plane) => (weights) {{
            signs_of_byte = Constant <value = int8 {{0}}> ()
            index = Cast <to = {_INT32}> (sign_plane)
            octets = Gather <axis = 0> (signs_of_byte, index)
            padded = Flatten <axis = 1> (octets)
            begin = Constant <value = int64[1] {{0}}> ()
            axis = Constant <value = int64[1] {{1}}> ()
            count = Constant <value_int: int = @in_features> ()
            end = Unsqueeze (count, begin)
            weights = Slice (padded, begin, end, axis)
        }}""",
    "Accumulate": f"""
        Accumulate <in_features, zero_point> (codes, sign_plane) => (sums) {{
            weights = {DOMAIN}.UnpackSigns <in_features: int = @in_features> (sign_plane)
            columns = Transpose <perm = [1, 0]> (weights)
            zero = Constant <value_int: int = @zero_point> ()
            zero_code = Cast <to = {_UINT8}> (zero)
            sums = MatMulInteger (codes, columns, zero_code)
        }}""",
    "BinaryDense": f"""
        BinaryDense <in_features, zero_point> (codes, sign_plane, threshold) => (next_codes) {{
            sums = {DOMAIN}.Accumulate {_SAME_SHAPE} (codes, sign_plane)
            positive = GreaterOrEqual (sums, threshold)
            plus = Constant <value = uint8 {{2}}> ()
            minus = Constant <value = uint8 {{0}}> ()
            next_codes = Where (positive, plus, minus)
        }}""",
    "BinaryScores": f"""
        BinaryScores <in_features, zero_point> (codes, sign_plane, mul, add) => (scores, label) {{
            sums = {DOMAIN}.Accumulate {_SAME_SHAPE} (codes, sign_plane)
            scaled = Mul (sums, mul)
            scores = Add (scaled, add)
            label = ArgMax <axis = 1, keepdims = 0> (scores)
        }}""",
}

_CONV_FUNCTIONS = {
    "PixelsFirst": """
        PixelsFirst <planes_pixels_channels> (codes) => (ordered) {
            shape = Constant <value_ints: ints = @planes_pixels_channels> ()
            planes = Reshape (codes, shape)
            pixels = Transpose <perm = [0, 2, 1, 3]> (planes)
            ordered = Flatten <axis = 1> (pixels)
        }""",
    "BinaryConv": f"""
        BinaryConv <in_features, zero_point, image, filter, pads, outside, strides, pool> (codes, sign_plane, threshold)
            => (next_codes)
        {{
            weights = {DOMAIN}.UnpackSigns <in_features: int = @in_features> (sign_plane)
            filter_shape = Constant <value_ints: ints = @filter> ()
            squares = Reshape (weights, filter_shape)
            filters = Transpose <perm = [0, 3, 1, 2]> (squares)
            image_shape = Constant <value_ints: ints = @image> ()
            pixels = Reshape (codes, image_shape)
            picture = Transpose <perm = [0, 3, 1, 2]> (pixels)
            edges = Constant <value_ints: ints = @pads> ()
            beyond = Constant <value_int: int = @outside> ()
            beyond_code = Cast <to = {_UINT8}> (beyond)
            padded = Pad (picture, edges, beyond_code)
            zero = Constant <value_int: int = @zero_point> ()
            zero_code = Cast <to = {_UINT8}> (zero)
            by_unit = ConvInteger <strides: ints = @strides> (padded, filters, zero_code)
            sums = Transpose <perm = [0, 2, 3, 1]> (by_unit)
            positive = GreaterOrEqual (sums, threshold)
            plus = Constant <value = uint8 {{2}}> ()
            minus = Constant <value = uint8 {{0}}> ()
            signs = Where (positive, plus, minus)
            signs_by_unit = Transpose <perm = [0, 3, 1, 2]> (signs)
            pooled_by_unit = MaxPool <kernel_shape: ints = @pool, strides: ints = @pool> (signs_by_unit)
            pooled = Transpose <perm = [0, 2, 3, 1]> (pooled_by_unit)
            next_codes = Flatten <axis = 1> (pooled)
        }}""",
}
"""Functions that only networks with convolutions need."""


def write_onnx(frozen: Frozen) -> bytes:
    """Serialise a network as an ONNX model (opset 18, IR 8). Equal networks give equal bytes.

    Inputs: "features" uint8 or int16 [n, F] where the network has an encoder or takes bytes, else "bits" uint8 [n, K] holding 0
    or 1. Outputs: "scores" int32 [n, classes], "label" int64 [n] (lowest index on a tie), "layer{i}.hidden_planes" for each layer
    of 2 or more bits, and what a head learns. Raises MissingExtra without onnx, ExportError for layers that do not fit together.
    """
    for i, layer in enumerate(frozen.layers):
        if layer.kind in ("graded", "triples"):
            raise ExportError(
                f"layer {i} is {layer.kind}: ONNX holds units of signs and gates only, use --formats mbit"
            )
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
    graph = helper.make_graph(
        _nodes(frozen, helper.make_node),
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
        functions=_functions(frozen, require("onnx.parser").parse_function, onnx.numpy_helper.from_array),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        producer_name="metabit",
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, {FACTS: facts(frozen)})
    return bytes(model.SerializeToString(deterministic=True))


def read_onnx(data: bytes) -> Frozen:
    """The network inside a model that `write_onnx` wrote, hidden levels included.

    Raises MissingExtra without onnx, ExportError if the file is not one of ours.
    """
    onnx = require("onnx")
    try:
        model = onnx.load_from_string(data)
    except require("google.protobuf.message", "protobuf").DecodeError as broken:
        raise ExportError(f"not an ONNX file: {broken}") from broken
    pages = {entry.key: entry.value for entry in model.metadata_props}
    if FACTS not in pages:
        raise ExportError(f"this ONNX file has no {FACTS!r} metadata: it was not written by metabit")
    try:
        arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    except (KeyError, TypeError, ValueError) as broken:
        raise ExportError(f"damaged ONNX file: {broken}") from broken
    return rebuild(pages[FACTS], arrays)


def run_onnx(data: bytes, x: NDArray[Any]) -> NDArray[np.int32]:
    """Scores int32 (n, classes) by onnxruntime on one thread.

    x: uint8 or int16 (n, F), or 0 and 1 (n, K) for a network that takes bits.

    Raises MissingExtra without onnxruntime, ExportError if x has another shape or dtype.
    """
    onnxruntime = require("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    taken = source.type[len("tensor(") : -1]
    if x.dtype != taken or x.ndim != 2 or x.shape[1] != source.shape[1]:
        raise ExportError(f"{source.name} must be {taken} (n, {source.shape[1]}), not {x.dtype} {x.shape}")
    return np.asarray(session.run(["scores"], {source.name: x})[0], np.int32)


def _functions(frozen: Frozen, parse: Any, to_tensor: Any) -> list[Any]:
    texts = _FUNCTIONS | (_CONV_FUNCTIONS if frozen.layers[0].kind == "conv" else {})
    if isinstance(frozen.encode, Cuts) or frozen.layers[0].kind == "gates":
        texts = texts | onnx_gates.FUNCTIONS
    functions = {name: parse(_HEAD + text) for name, text in texts.items()}
    # Raw bytes: the parser would store the table as numbers, five times larger.
    signs = np.where(unpack_rows(np.arange(256, dtype=np.uint8)[:, None], 8), 1, -1).astype(np.int8)
    functions["UnpackSigns"].node[0].attribute[0].t.CopyFrom(to_tensor(signs))
    return list(functions.values())


def _nodes(frozen: Frozen, make_node: Any) -> list[Any]:
    """Calls of the graph: those that turn the input into codes, then one for each layer."""
    if isinstance(frozen.encode, Cuts):
        nodes, codes = [make_node("Cuts", ["features", "encode.cuts"], ["codes"], "encode", domain=DOMAIN)], "codes"
    elif frozen.encode:
        nodes = [make_node("Thermometer", ["features", "encode.thresholds"], ["codes"], "encode", domain=DOMAIN)]
        codes = "codes"
        channels = frozen.encode.channels
        if channels:
            order = [0, frozen.encode.planes, frozen.encode.features // channels, channels]
            nodes.append(
                make_node("PixelsFirst", [codes], ["pixels"], "order", domain=DOMAIN, planes_pixels_channels=order)
            )
            codes = "pixels"
    elif frozen.layers[0].takes != "signs":
        nodes, codes = [], "bits" if frozen.packed else "features"
    else:
        nodes, codes = [make_node("SignCodes", ["bits"], ["codes"], "encode", domain=DOMAIN)], "codes"
    if frozen.layers[0].kind == "gates":
        return nodes + onnx_gates.nodes(frozen, codes, make_node)
    for i, layer in enumerate(frozen.layers):
        name = f"layer{i}"
        more: dict[str, Any] = {}
        if isinstance(layer, ConvLayer):
            call, tensors, outputs, more = "BinaryConv", ["threshold"], [f"{name}.codes"], _geometry(layer)
        elif layer.kind == "dense":
            call, tensors, outputs = "BinaryDense", ["threshold"], [f"{name}.codes"]
        else:
            call, tensors, outputs = "BinaryScores", ["mul", "add"], ["scores", "label"]
        operands = [codes, *(f"{name}.{tensor}" for tensor in ["sign_plane", *tensors])]
        zero_point = int(layer.takes == "signs")
        sizes = {"in_features": layer.inputs, "zero_point": zero_point, **more}
        nodes.append(make_node(call, operands, outputs, name, domain=DOMAIN, **sizes))
        codes = outputs[0]
    return nodes


def _geometry(layer: ConvLayer) -> dict[str, Any]:
    """Attributes of BinaryConv. A 0 in a shape keeps the size that is there."""
    g = layer.geometry
    (top, bottom), (left, right) = g.pads(g.height), g.pads(g.width)
    return {
        "image": [0, g.height, g.width, g.channels],
        "filter": [0, g.kernel, g.kernel, g.channels],
        "pads": [0, 0, top, left, 0, 0, bottom, right],
        "outside": {"bits": 1, "signs": 2, "bytes": 255}[layer.takes],
        "strides": [g.stride, g.stride],
        "pool": [g.pool, g.pool],
    }
