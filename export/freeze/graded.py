"""From the lab to the field: a trained network of graded units -> Frozen, to go on learning on the device by votes.

What training made sure of, the device guards: one level is as wide as makes the device's tables the gate of training.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from metabit.export.errors import ExportError
from metabit.export.freeze.fresh import FreshOptions, voting
from metabit.export.freeze.visits import CheckpointLike, quantise
from metabit.export.frozen import Frozen

FIELD = FreshOptions(delta=0.35, deviations=3.5, gain=0.33, margin=0.1)
"""How a trained network goes on learning, chosen on training samples held out (docs/results/deployment)."""


def hand_over(checkpoint: CheckpointLike, options: FreshOptions | None = None, m: float | None = None) -> Frozen:
    """The integers of a trained network: its weights, how sure it is of each, and the rule by which both go on moving.

    h = clamp(floor(W / Δ)) with Δ = delta / m of training, so that a level moves as rarely as training let it. A network
    trained with m = 0 has no such measure: its surest weights get the highest level, as with `freeze`.

    options: `FIELD` if None. thresholds, low and high are the network's own, not looked at here.
    m: of the device, in place of delta; 0 switches metaplasticity off.

    Raises ExportError if the units are not graded, a tensor is not finite, or an option does not fit.
    """
    o, spec, trained = options or FIELD, checkpoint.spec, checkpoint.m[0]
    if spec.units != "graded" or spec.thresholds is None:
        raise ExportError(f"units={spec.units!r} do not learn by votes: export this network with freeze")
    weights = np.asarray(checkpoint.tensors["layers.0.hidden"], np.float64)
    if not np.isfinite(weights).all():
        raise ExportError("tensor layers.0.hidden holds NaN or infinity: the training diverged, train again")
    levels, width = quantise(weights, o.bits, o.delta / trained if trained else None)  # of delta = 0 likewise
    if m is not None:
        o = replace(o, delta=m * width)
    code = np.where(np.asarray(checkpoint.tensors["layers.1.code"], np.int64) >= 0, 0, -1).astype(np.int8)
    return voting(levels, code, spec.thresholds, spec.ramp, o)
