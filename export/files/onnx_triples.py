"""Functions of model.onnx for units from nothing, in integers of 32 bits (docs/learning-rule.md, "Units from nothing").

ONNX has no shift of signed integers. x - Mod(x, 2^s) is a multiple of 2^s, as Mod takes the sign of the divisor, so its quotient is
the floor of x / 2^s; the multiple does not leave 32 bits, because 2^s divides 2^31.
"""

from __future__ import annotations

from metabit.export.oracle.triples import REACH, UNIT_SHIFT
from metabit.export.validate_triples import MAX_SHIFT

DOMAIN = "metabit"
_INT32, _INT64 = 6, 7  # TensorProto.DataType, for Cast
_POWERS = ", ".join(str(2**shift) for shift in range(MAX_SHIFT + 1))

FUNCTIONS = {
    "FloorShift": """
        FloorShift (x, step) => (floor) {
            rest = Mod (x, step)
            multiple = Sub (x, rest)
            floor = Div (multiple, step)
        }""",
    "Standardise": f"""
        Standardise (features, mul, add, shift) => (deviations) {{
            wide = Cast <to = {_INT32}> (features)
            mul_32 = Cast <to = {_INT32}> (mul)
            product = Mul (wide, mul_32)
            place = Add (product, add)
            shift_64 = Cast <to = {_INT64}> (shift)
            powers = Constant <value = int32[{MAX_SHIFT + 1}] {{{_POWERS}}}> ()
            step = Gather <axis = 0> (powers, shift_64)
            scaled = {DOMAIN}.FloorShift (place, step)
            least = Constant <value = int32 {{-{REACH}}}> ()
            most = Constant <value = int32 {{{REACH}}}> ()
            not_less = Max (scaled, least)
            deviations = Min (not_less, most)
        }}""",
    "Triples": f"""
        Triples (features, weights, index, feature_mul, feature_add, feature_shift, mul, add, top, low, high) => (values) {{
            deviations = {DOMAIN}.Standardise (features, feature_mul, feature_add, feature_shift)
            taken = Gather <axis = 1> (deviations, index)
            weights_32 = Cast <to = {_INT32}> (weights)
            weighted = Mul (taken, weights_32)
            input_axis = Constant <value = int64[1] {{2}}> ()
            sums = ReduceSum <keepdims = 0> (weighted, input_axis)
            product = Mul (sums, mul)
            place = Add (product, add)
            gates_at, steps = Split <axis = 1, num_outputs = 2> (place)
            distance = Abs (gates_at)
            gates = Sub (top, distance)
            both = Concat <axis = 1> (gates, steps)
            unit = Constant <value = int32 {{{2**UNIT_SHIFT}}}> ()
            floor = {DOMAIN}.FloorShift (both, unit)
            low_32 = Cast <to = {_INT32}> (low)
            high_32 = Cast <to = {_INT32}> (high)
            not_less = Max (floor, low_32)
            values = Min (not_less, high_32)
        }}""",
}
OPERANDS = ("weights", "index", "feature_mul", "feature_add", "feature_shift", "mul", "add", "top", "low", "high")
