"""Functions of model.onnx that networks of gates need, in integers of 32 bits (docs/learning-rule.md, "Gates" and "The head").

ONNX has no shift of signed integers, and its division rounds toward zero. A floor of x / 2^s, clipped at ±m, is therefore computed
from max(x, -m·2^s) + m·2^s, which is not negative. The head's sums of products are below 2^21 and therefore exact in float32; a
product of bytes would saturate in some processors' instructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metabit.export import frozen as f
from metabit.export.files.onnx_triples import OPERANDS as TRIPLES
from metabit.export.oracle.gates import GateLayer

DOMAIN = "metabit"
_FLOAT, _INT32, _UINT8 = 1, 6, 2  # TensorProto.DataType, for Cast

FUNCTIONS = {
    "Cuts": f"""
        Cuts (features, cuts) => (codes) {{
            wide = Cast <to = {_INT32}> (features)
            limits = Cast <to = {_INT32}> (cuts)
            plane_axis = Constant <value = int64[1] {{1}}> ()
            column = Unsqueeze (wide, plane_axis)
            above = Greater (column, limits)
            planes = Cast <to = {_UINT8}> (above)
            codes = Flatten <axis = 1> (planes)
        }}""",
    "FloorClip": f"""
        FloorClip <step, most, reach> (x) => (y) {{
            step_wide = Constant <value_int: int = @step> ()
            step_32 = Cast <to = {_INT32}> (step_wide)
            most_wide = Constant <value_int: int = @most> ()
            most_32 = Cast <to = {_INT32}> (most_wide)
            reach_wide = Constant <value_int: int = @reach> ()
            reach_32 = Cast <to = {_INT32}> (reach_wide)
            low = Neg (reach_32)
            raised = Max (x, low)
            shifted = Add (raised, reach_32)
            steps = Div (shifted, step_32)
            centred = Sub (steps, most_32)
            y = Min (centred, most_32)
        }}""",
    "Gates": f"""
        Gates <in_features, top, step, reach> (codes, sign_plane, mul, add) => (levels, sums) {{
            sums = {DOMAIN}.Accumulate <in_features: int = @in_features> (codes, sign_plane)
            mul_32 = Cast <to = {_INT32}> (mul)
            product = Mul (sums, mul_32)
            place = Add (product, add)
            distance = Abs (place)
            top_wide = Constant <value_int: int = @top> ()
            top_32 = Cast <to = {_INT32}> (top_wide)
            left = Sub (top_32, distance)
            levels = {DOMAIN}.FloorClip <step: int = @step, most: int = 8, reach: int = @reach> (left)
        }}""",
    "LevelScores": f"""
        LevelScores <in_features> (levels, output) => (scores, label) {{
            begin = Constant <value = int64[1] {{0}}> ()
            axis = Constant <value = int64[1] {{1}}> ()
            count = Constant <value_int: int = @in_features> ()
            middle = Unsqueeze (count, begin)
            end = Constant <value = int64[1] {{2147483647}}> ()
            weights = Slice (output, begin, middle, axis)
            offset = Slice (output, middle, end, axis)
            columns = Transpose <perm = [1, 0]> (weights)
            eight = Constant <value = int32 {{8}}> ()
            raised = Add (levels, eight)
            codes = Cast <to = {_UINT8}> (raised)
            zero_code = Constant <value = uint8 {{8}}> ()
            sums = MatMulInteger (codes, columns, zero_code)
            offset_row = Transpose <perm = [1, 0]> (offset)
            offset_32 = Cast <to = {_INT32}> (offset_row)
            inputs = Constant <value = int32 {{32}}> ()
            offsets = Mul (offset_32, inputs)
            scores = Add (sums, offsets)
            label = ArgMax <axis = 1, keepdims = 0> (scores)
        }}""",
    "HeadValues": f"""
        HeadValues <z_step, z_reach> (levels, sums, gate_mul, gate_add, z_mul, z_add) => (values) {{
            gate_mul_32 = Cast <to = {_INT32}> (gate_mul)
            gate_add_32 = Cast <to = {_INT32}> (gate_add)
            z_mul_32 = Cast <to = {_INT32}> (z_mul)
            gate_product = Mul (levels, gate_mul_32)
            gate_place = Add (gate_product, gate_add_32)
            gate = {DOMAIN}.FloorClip <step: int = 32, most: int = 127, reach: int = 4064> (gate_place)
            z_product = Mul (sums, z_mul_32)
            z_place = Add (z_product, z_add)
            z = {DOMAIN}.FloorClip <step: int = @z_step, most: int = 127, reach: int = @z_reach> (z_place)
            values = Concat <axis = 1> (gate, z)
        }}""",
    "HeadRows": f"""
        HeadRows (values, weights, offsets, priors, counts) => (scores) {{
            values_float = Cast <to = {_FLOAT}> (values)
            weights_float = Cast <to = {_FLOAT}> (weights)
            columns = Transpose <perm = [1, 0]> (weights_float)
            sums_float = MatMul (values_float, columns)
            sums = Cast <to = {_INT32}> (sums_float)
            unit = Constant <value = int32 {{32}}> ()
            scaled = Mul (sums, unit)
            told = Add (offsets, priors)
            all_scores = Add (scaled, told)
            samples = Cast <to = {_INT32}> (counts)
            none = Constant <value = int32 {{0}}> ()
            known = Greater (samples, none)
            unknown = Constant <value = int32 {{-2147483648}}> ()
            scores = Where (known, all_scores, unknown)
        }}""",
    "RowOfEachClass": """
        RowOfEachClass (row_scores) => (scores, label) {
            scores = Identity (row_scores)
            label = ArgMax <axis = 1, keepdims = 0> (scores)
        }""",
    "BestRowOfEachClass": f"""
        BestRowOfEachClass <classes> (row_scores, owners) => (scores, label) {{
            zero = Constant <value = int32 {{0}}> ()
            one = Constant <value = int32 {{1}}> ()
            count = Constant <value_int: int = @classes> ()
            count_32 = Cast <to = {_INT32}> (count)
            numbers = Range (zero, count_32, one)
            owner_32 = Cast <to = {_INT32}> (owners)
            class_axis = Constant <value = int64[1] {{1}}> ()
            class_column = Unsqueeze (numbers, class_axis)
            owned = Equal (class_column, owner_32)
            rows = Unsqueeze (row_scores, class_axis)
            unknown = Constant <value = int32 {{-2147483648}}> ()
            candidates = Where (owned, rows, unknown)
            row_axis = Constant <value = int64[1] {{2}}> ()
            scores = ReduceMax <keepdims = 0> (candidates, row_axis)
            label = ArgMax <axis = 1, keepdims = 0> (scores)
        }}""",
}


def nodes(frozen: f.Frozen, codes: str, make_node: Any) -> list[Any]:
    """Calls from the bits, or the features of units from nothing, to scores and label."""
    first, last = frozen.layers
    calls: list[Any] = []

    def call(
        kind: str, given: list[str], tensors: Sequence[str], gives: list[str], layer: int = 1, **sizes: int
    ) -> None:
        name = f"layer{layer}"
        names = [*given, *(f"{name}.{tensor}" for tensor in tensors)]
        calls.append(make_node(kind, names, gives, f"{name}.{kind}" if layer else name, domain=DOMAIN, **sizes))

    if isinstance(first, f.TriplesLayer):
        call("Triples", ["features"], TRIPLES, ["layer1.values"], 0)
    else:
        assert isinstance(first, f.GatesLayer)
        step, top = 2**first.shift, GateLayer(first.inputs, first.mul, first.add, first.shift).top
        call("Gates", [codes], ["sign_plane", "mul", "add"], ["layer0.gates", "layer0.sums"], 0, in_features=first.inputs, top=top,
             step=step, reach=8 * step)  # fmt: skip
    if isinstance(last, f.LevelsLayer):
        call("LevelScores", ["layer0.gates"], ["levels"], ["scores", "label"], in_features=last.inputs)
        return calls
    assert isinstance(last, f.HeadLayer)
    if last.scale is not None:
        z_step, scaled = 2**last.scale.z_shift, ["gate_mul", "gate_add", "z_mul", "z_add"]
        call(
            "HeadValues",
            ["layer0.gates", "layer0.sums"],
            scaled,
            ["layer1.values"],
            z_step=z_step,
            z_reach=127 * z_step,
        )
    call("HeadRows", ["layer1.values"], ["weights", "offsets", "priors", "counts"], ["layer1.row_scores"])
    if last.rows.per_class > 1:
        call("BestRowOfEachClass", ["layer1.row_scores"], ["owners"], ["scores", "label"], classes=last.classes)
    else:
        call("RowOfEachClass", ["layer1.row_scores"], [], ["scores", "label"])
    return calls
