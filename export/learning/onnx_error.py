"""The error of the scores as ONNX nodes: docs/learning-rule.md, "Error". All arrays are int64."""

from __future__ import annotations

import numpy as np

from metabit.export import frozen as f
from metabit.export.learning.onnx_graph import Graph, Value
from metabit.export.oracle.visits import EXP, ONE


def error_of(g: Graph, frozen: f.Frozen, scores: Value, label: Value) -> tuple[Value, Value, Value]:
    """Errors (C,), the error of the true class (), and whether the sample teaches, bool ()."""
    distance = (scores.max(0) - scores).at_most(65535)
    q = g.constant(EXP).take(((distance * frozen.temperature) >> 12).at_most(255))
    total = q.sum(0)
    one = g.constant(np.arange(frozen.classes)).equals(label).cast(np.int64) * ONE
    error = (q * ONE + total // 2) // total - one
    true_error = (-error.take(label)).at_least(0)
    return error, true_error, true_error >= max(1, frozen.skip_below)
