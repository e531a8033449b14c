"""Checks of units from nothing (`metabit.export.validate` calls them)."""

from __future__ import annotations

import numpy as np

from metabit.export import frozen as f
from metabit.export.validate_gates import MAX_ADD, MAX_MUL, MAX_VALUES, check_array, check_scale, need
from metabit.train.network.spec import MAX_UNITS

INPUTS = 3
"""Features of a unit."""
HEAVIEST = 2
"""Largest weight of a feature in a unit."""
MAX_SHIFT = 24
STEEPEST = 2**17
"""Largest |mul|. A step of 1 in a then moves a value by 8, so one of 1/8 deviation of a feature moves it from end to end."""


def check_triples(i: int, layer: f.TriplesLayer) -> None:
    """Raises ExportError if the layer exceeds a limit of the format, or a sum could exceed 32 bits."""
    units, features = layer.units, layer.inputs
    need(units % 2 == 0 and 2 <= units <= MAX_VALUES,
         f"layer {i} has {units} units from nothing: must be an even number from 2 to {MAX_VALUES}")  # fmt: skip
    need(1 <= features <= MAX_UNITS, f"layer {i} takes {features} features, the format holds 1..{MAX_UNITS}")
    need(layer.integers in f.LOWEST, f"layer {i} takes {layer.integers!r}: must be uint8 or int16")
    if layer.scale is not None:
        check_scale(layer.scale, features)
    check_array(i, "feature_mul", layer.feature_mul, "int16", (features,), MAX_MUL)
    check_array(i, "feature_add", layer.feature_add, "int32", (features,), MAX_ADD)
    check_array(i, "feature_shift", layer.feature_shift, "uint8", (features,), MAX_SHIFT)
    check_array(i, "index", layer.index, "uint16", (units, INPUTS), features - 1)
    check_array(i, "weights", layer.hidden, "int8", (units, INPUTS), HEAVIEST)
    check_array(i, "mul", layer.mul, "int32", (units,), STEEPEST)
    check_array(i, "add", layer.add, "int32", (units,), MAX_ADD)
    check_array(i, "top", layer.top, "int32", (units // 2,), MAX_ADD)
    check_array(i, "low", layer.low, "int8", (units,), 127)
    check_array(i, "high", layer.high, "int8", (units,), 127)
    need(
        bool((layer.feature_mul >= 0).all() and (layer.top >= 0).all()),
        f"layer {i}: feature_mul and top must not be negative",
    )
    need(not np.any(layer.low > layer.high), f"layer {i}: low must not be above high")
