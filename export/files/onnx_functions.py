"""Functions of model.onnx that networks of sign units need, in integers.

Sums of layers on signs are sums over the inputs that are +1: with b = 0 or 1 for each input and w for each weight,
Σ w·(2b - 1) = 2·Σ w·b - Σ w, so that a unit is +1 where Σ w·b reaches ⌈(threshold + Σ w) / 2⌉. A runtime computes this limit once.
Scores take the factor 2 and Σ w into mul and add, unless that could leave 32 bits (BinaryScoresWide).

A convolution is one QLinearConv. Its codes stand for code - top, where top is the value outside the image: 0 lies outside, as in
any convolution. Its result is 255 where sum and bias are not negative, and else 0, because both ends saturate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from metabit.export.bits import SIGNS_OF_BYTE
from metabit.export.errors import require
from metabit.export.files import onnx_gates, onnx_graded, onnx_triples
from metabit.export.frozen import Frozen, GradedLayer

DOMAIN = "metabit"
OPSET = 18
_HEAD = f'<domain: "{DOMAIN}", opset_import: ["": {OPSET}, "{DOMAIN}": 1]>'
_UINT8, _INT32, _BOOL = 2, 6, 9  # TensorProto.DataType, for Cast

# An attribute reference must carry its type (`: int`): the checker rejects the untyped form.
_COUNT = "<in_features: int = @in_features>"

# `functions` fills in the table of UnpackSigns, signs_of_byte int8 [256, 8].
FUNCTIONS = {
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
    "Threshold": f"""
        Threshold (features, thresholds) => (codes) {{
            wide = Cast <to = {_INT32}> (features)
            limits = Cast <to = {_INT32}> (thresholds)
            reached = GreaterOrEqual (wide, limits)
            codes = Cast <to = {_UINT8}> (reached)
        }}""",
    "PixelsFirst": """
        PixelsFirst <planes_pixels_channels> (codes) => (ordered) {
            shape = Constant <value_ints: ints = @planes_pixels_channels> ()
            planes = Reshape (codes, shape)
            pixels = Transpose <perm = [0, 2, 1, 3]> (planes)
            ordered = Flatten <axis = 1> (pixels)
        }""",
    "SignCodes": f"""
        SignCodes (bits) => (codes) {{
            positive = Cast <to = {_BOOL}> (bits)
            plus = Constant <value = uint8 {{255}}> ()
            minus = Constant <value = uint8 {{0}}> ()
            codes = Where (positive, plus, minus)
        }}""",
    "BitsOfSigns": f"""
        BitsOfSigns (codes) => (bits) {{
            positive = Cast <to = {_BOOL}> (codes)
            bits = Cast <to = {_UINT8}> (positive)
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
    "WeightTotals": """
        WeightTotals <in_features> (columns) => (totals) {
            count = Constant <value_int: int = @in_features> ()
            first = Constant <value = int64[1] {0}> ()
            shape = Unsqueeze (count, first)
            ones = ConstantOfShape <value = uint8[1] {1}> (shape)
            totals = MatMulInteger (ones, columns)
        }""",
    "HalfLimit": f"""
        HalfLimit <in_features> (threshold, totals) => (limit) {{
            count = Constant <value_int: int = @in_features> ()
            inputs = Cast <to = {_INT32}> (count)
            one = Constant <value = int32 {{1}}> ()
            two = Constant <value = int32 {{2}}> ()
            most = Add (inputs, one)
            least = Neg (most)
            not_less = Max (threshold, least)
            near = Min (not_less, most)
            whole = Add (near, totals)
            twice = Mul (most, two)
            raised = Add (whole, twice)
            rounded = Add (raised, one)
            halves = Div (rounded, two)
            limit = Sub (halves, most)
        }}""",
    "Accumulate": f"""
        Accumulate <in_features> (codes, sign_plane) => (sums) {{
            weights = {DOMAIN}.UnpackSigns {_COUNT} (sign_plane)
            columns = Transpose <perm = [1, 0]> (weights)
            sums = MatMulInteger (codes, columns)
        }}""",
    "BinaryDenseOnOff": f"""
        BinaryDenseOnOff <in_features> (codes, sign_plane, threshold) => (bits) {{
            sums = {DOMAIN}.Accumulate {_COUNT} (codes, sign_plane)
            positive = GreaterOrEqual (sums, threshold)
            bits = Cast <to = {_UINT8}> (positive)
        }}""",
    "BinaryDense": f"""
        BinaryDense <in_features> (bits, sign_plane, threshold) => (next_bits) {{
            weights = {DOMAIN}.UnpackSigns {_COUNT} (sign_plane)
            columns = Transpose <perm = [1, 0]> (weights)
            totals = {DOMAIN}.WeightTotals {_COUNT} (columns)
            limit = {DOMAIN}.HalfLimit {_COUNT} (threshold, totals)
            sums = MatMulInteger (bits, columns)
            positive = GreaterOrEqual (sums, limit)
            next_bits = Cast <to = {_UINT8}> (positive)
        }}""",
    "BinaryScoresOnOff": f"""
        BinaryScoresOnOff <in_features> (codes, sign_plane, mul, add) => (scores, label) {{
            sums = {DOMAIN}.Accumulate {_COUNT} (codes, sign_plane)
            scaled = Mul (sums, mul)
            scores = Add (scaled, add)
            label = ArgMax <axis = 1, keepdims = 0> (scores)
        }}""",
    "BinaryScores": f"""
        BinaryScores <in_features> (bits, sign_plane, mul, add) => (scores, label) {{
            weights = {DOMAIN}.UnpackSigns {_COUNT} (sign_plane)
            columns = Transpose <perm = [1, 0]> (weights)
            totals = {DOMAIN}.WeightTotals {_COUNT} (columns)
            two = Constant <value = int32 {{2}}> ()
            twice = Mul (mul, two)
            from_totals = Mul (totals, mul)
            offset = Sub (add, from_totals)
            sums = MatMulInteger (bits, columns)
            scaled = Mul (sums, twice)
            scores = Add (scaled, offset)
            label = ArgMax <axis = 1, keepdims = 0> (scores)
        }}""",
    "BinaryScoresWide": f"""
        BinaryScoresWide <in_features> (bits, sign_plane, mul, add) => (scores, label) {{
            weights = {DOMAIN}.UnpackSigns {_COUNT} (sign_plane)
            columns = Transpose <perm = [1, 0]> (weights)
            totals = {DOMAIN}.WeightTotals {_COUNT} (columns)
            sums_on = MatMulInteger (bits, columns)
            two = Constant <value = int32 {{2}}> ()
            twice = Mul (sums_on, two)
            sums = Sub (twice, totals)
            scaled = Mul (sums, mul)
            scores = Add (scaled, add)
            label = ArgMax <axis = 1, keepdims = 0> (scores)
        }}""",
    "GradedScores": f"""
        GradedScores <in_features> (grade_codes, sign_plane, mul, add) => (scores, label) {{
            weights = {DOMAIN}.UnpackSigns {_COUNT} (sign_plane)
            columns = Transpose <perm = [1, 0]> (weights)
            zero_code = Constant <value = uint8 {{8}}> ()
            sums = MatMulInteger (grade_codes, columns, zero_code)
            scaled = Mul (sums, mul)
            scores = Add (scaled, add)
            label = ArgMax <axis = 1, keepdims = 0> (scores)
        }}""",
    "BiasOnOff": f"""
        BiasOnOff <in_features, top> (threshold, totals) => (bias) {{
            count = Constant <value_int: int = @in_features> ()
            inputs = Cast <to = {_INT32}> (count)
            top_wide = Constant <value_int: int = @top> ()
            top_32 = Cast <to = {_INT32}> (top_wide)
            one = Constant <value = int32 {{1}}> ()
            largest = Mul (inputs, top_32)
            most = Add (largest, one)
            least = Neg (most)
            not_less = Max (threshold, least)
            near = Min (not_less, most)
            outside = Mul (totals, top_32)
            bias = Sub (outside, near)
        }}""",
    "BiasOfSigns": f"""
        BiasOfSigns <in_features, top> (threshold, totals) => (bias) {{
            negative = Neg (totals)
            limit = {DOMAIN}.HalfLimit {_COUNT} (threshold, negative)
            top_wide = Constant <value_int: int = @top> ()
            top_32 = Cast <to = {_INT32}> (top_wide)
            in_codes = Mul (limit, top_32)
            bias = Neg (in_codes)
        }}""",
}

_GEOMETRY = "in_features, top, image, filter, pads, strides"
_POOLED = """signs_by_unit = MaxPool <kernel_shape: ints = @pool, strides: ints = @pool> (convolved)"""


def _convolution(name: str, bias: str, pooled: bool) -> str:
    return f"""
        {name} <{_GEOMETRY}{", pool" * pooled}> (codes, sign_plane, threshold) => (next_codes) {{
            weights = {DOMAIN}.UnpackSigns {_COUNT} (sign_plane)
            columns = Transpose <perm = [1, 0]> (weights)
            totals = {DOMAIN}.WeightTotals {_COUNT} (columns)
            bias = {DOMAIN}.{bias} <in_features: int = @in_features, top: int = @top> (threshold, totals)
            filter_shape = Constant <value_ints: ints = @filter> ()
            squares = Reshape (weights, filter_shape)
            filters = Transpose <perm = [0, 3, 1, 2]> (squares)
            image_shape = Constant <value_ints: ints = @image> ()
            pixels = Reshape (codes, image_shape)
            picture = Transpose <perm = [0, 3, 1, 2]> (pixels)
            one = Constant <value = float {{1}}> ()
            top_wide = Constant <value_int: int = @top> ()
            top_code = Cast <to = {_UINT8}> (top_wide)
            no_weight = Constant <value = int8 {{0}}> ()
            step = Constant <value = float {{0.003921569}}> ()
            plus = Constant <value = uint8 {{255}}> ()
            {"convolved" if pooled else "signs_by_unit"} = QLinearConv <pads: ints = @pads, strides: ints = @strides>
                (picture, one, top_code, filters, one, no_weight, step, plus, bias)
            {_POOLED * pooled}
            signs = Transpose <perm = [0, 2, 3, 1]> (signs_by_unit)
            next_codes = Flatten <axis = 1> (signs)
        }}"""


for _name, _bias in (("BinaryConv", "BiasOfSigns"), ("BinaryConvOnOff", "BiasOnOff")):
    FUNCTIONS[_name] = _convolution(_name, _bias, pooled=False)
    FUNCTIONS[f"{_name}Pool"] = _convolution(f"{_name}Pool", _bias, pooled=True)


def functions(frozen: Frozen, called: Iterable[str]) -> list[Any]:
    """The functions that a graph calls by these names, and those that they call. Raises MissingExtra without onnx."""
    texts = FUNCTIONS | onnx_gates.FUNCTIONS | onnx_triples.FUNCTIONS
    for layer in frozen.layers:
        texts |= onnx_graded.functions(layer) if isinstance(layer, GradedLayer) else {}
    used, new = set[str](), set(called)
    while new:
        used |= new
        new = {name for one in new for name in re.findall(rf"\b{DOMAIN}\.(\w+)", texts[one])} - used
    parse, to_tensor = require("onnx.parser").parse_function, require("onnx.numpy_helper").from_array
    parsed = {name: parse(_HEAD + text) for name, text in texts.items() if name in used}
    if "UnpackSigns" in parsed:  # raw bytes: the parser would store the table as numbers, five times larger
        parsed["UnpackSigns"].node[0].attribute[0].t.CopyFrom(to_tensor(SIGNS_OF_BYTE))
    return list(parsed.values())
