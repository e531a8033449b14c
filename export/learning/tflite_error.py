"""The error of a sample in TFLite's operators (docs/learning-rule.md, "Error"), in int32."""

from __future__ import annotations

import numpy as np

from metabit.export.frozen import Frozen
from metabit.export.learning.tflite_values import Code, Value
from metabit.export.oracle.visits import EXP, ONE


def output_error(code: Code, frozen: Frozen, scores: Value, label: Value) -> tuple[Value, Value, Value]:
    """Error (C,) of scores (C,), E (1,), and bool (1,): the sample is learnt. label: (1,)."""
    below = scores.max() - scores
    below = code.where(below >= 0, below.at_most(65535), 65535)  # a difference beyond int32 comes out below 0
    most = (1 << 20) // frozen.temperature + 1  # from here on n is 255, and the product stays below 2^21
    n = ((below.at_most(most) * frozen.temperature) >> 12).at_most(255)
    q = code.table(EXP).take(n)
    total = q.sum()
    truth = code.table(np.arange(frozen.classes)).equals(label)
    error = (q * ONE + (total >> 1)) // total - truth.wide() * ONE
    true_error = (0 - error.take(label)).at_least(0)
    return error, true_error, true_error >= max(frozen.skip_below, 1)


def product(value: Value, factor: int, half: int, shift: int) -> Value:
    """(factor * value + half) >> shift for 0 <= value <= 4096, factor < 2^20, shift 8..12: the product may exceed int32."""
    return value * (factor >> shift) + ((value * (factor % (1 << shift)) + half) >> shift)
