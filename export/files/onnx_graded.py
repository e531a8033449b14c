"""Functions of model.onnx for a graded layer, in integers (docs/learning-rule.md, "Graded units and votes").

An unsure weight counts half: with w and p = +1 or -1, the sign and the highest bit of the magnitude, it is (3w + p) / 2. The
ends of the ramp are computed in int64: mean times low may exceed 32 bits. Grades are codes, grade + 8.
"""

from __future__ import annotations

from metabit.export.frozen import GradedLayer

DOMAIN = "metabit"
_INT8, _UINT8, _INT32, _INT64 = 3, 2, 6, 7  # TensorProto.DataType, for Cast
_COUNT = "<in_features: int = @in_features>"


def functions(layer: GradedLayer) -> dict[str, str]:
    """Name -> text. The sizes in them are those of this layer: a network has one graded layer at most."""
    k, width = layer.bits, 2**20
    mean_weights = f"""
        MeanWeights <in_features> (sign_plane, hidden_planes) => (weights) {{
            signs = {DOMAIN}.UnpackSigns {_COUNT} (sign_plane)
            middle = Constant <value = int64 {{{k - 2}}}> ()
            plane = Gather <axis = 0> (hidden_planes, middle)
            below = {DOMAIN}.UnpackSigns {_COUNT} (plane)
            signs_32 = Cast <to = {_INT32}> (signs)
            below_32 = Cast <to = {_INT32}> (below)
            three = Constant <value = int32 {{3}}> ()
            two = Constant <value = int32 {{2}}> ()
            thrice = Mul (signs_32, three)
            both = Add (thrice, below_32)
            halves = Div (both, two)
            weights = Cast <to = {_INT8}> (halves)
        }}"""
    counted = f"""
            shape = Constant <value = int64[3] {{0, {layer.planes}, -1}}> ()
            planes = Reshape (bits, shape)
            planes_32 = Cast <to = {_INT32}> (planes)
            plane_axis = Constant <value = int64[1] {{1}}> ()
            counts_32 = ReduceSum <keepdims = 0> (planes_32, plane_axis)
            counts = Cast <to = {_UINT8}> (counts_32)"""
    doubled = """
            apart = Sub (sums, threshold)
            v = Mul (apart, two)"""
    once = """
            twice = Mul (threshold, two)
            v = Sub (sums, twice)"""
    planes = ", hidden_planes" * (k > 1)
    unpack = "MeanWeights" if k > 1 else "UnpackSigns"
    body = f"""
        Graded <in_features> (bits, sign_plane{planes}, threshold) => (grade_codes) {{
            weights = {DOMAIN}.{unpack} {_COUNT} (sign_plane{planes})
            columns = Transpose <perm = [1, 0]> (weights){counted if layer.planes > 1 else ""}
            sums = MatMulInteger ({"counts" if layer.planes > 1 else "bits"}, columns)
            two = Constant <value = int32 {{2}}> (){once if k > 1 else doubled}
            size = Abs (v)
            unit_axis = Constant <value = int64[1] {{1}}> ()
            total = ReduceSum <keepdims = 1> (size, unit_axis)
            sixteen = Constant <value = int32 {{16}}> ()
            units = Constant <value = int32 {{{layer.units}}}> ()
            scaled = Mul (total, sixteen)
            mean = Div (scaled, units)
            wide_mean = Cast <to = {_INT64}> (mean)
            ends = Constant <value = int64[2] {{{layer.low}, {layer.high}}}> ()
            part = Constant <value = int64 {{4096}}> ()
            wide_ends = Mul (wide_mean, ends)
            places = Div (wide_ends, part)
            places_32 = Cast <to = {_INT32}> (places)
            zero_at = Constant <value = int64[1] {{0}}> ()
            two_at = Constant <value = int64[1] {{2}}> ()
            low = Slice (places_32, zero_at, unit_axis, unit_axis)
            high = Slice (places_32, unit_axis, two_at, unit_axis)
            zero = Constant <value = int32 {{0}}> ()
            one = Constant <value = int32 {{1}}> ()
            span = Sub (high, low)
            width = Max (span, one)
            beyond = Sub (size, low)
            not_below = Max (beyond, zero)
            rise = Min (not_below, width)
            whole = Constant <value = int32 {{{width}}}> ()
            step = Div (whole, width)
            risen = Mul (rise, step)
            half = Constant <value = int32 {{{width // 32}}}> ()
            rounded = Add (risen, half)
            sixteenth = Constant <value = int32 {{{width // 16}}}> ()
            fall = Div (rounded, sixteenth)
            codes_32 = Sub (sixteen, fall)
            grade_codes = Cast <to = {_UINT8}> (codes_32)
        }}"""
    return {"MeanWeights": mean_weights, "Graded": body}
