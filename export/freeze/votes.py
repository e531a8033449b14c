"""Checkpoint of graded units -> Frozen, which learns by the vote rule (docs/learning-rule.md, "Graded units and votes")."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from metabit.data.task import MAX_PLANES
from metabit.export.errors import ExportError, need_number
from metabit.export.freeze.levels import check_finite, code_levels, dose_of, generator_state, quantise, tables
from metabit.export.freeze.returned import returned
from metabit.export.frozen import BATCHES, MAX_VOTES, PASSES, Encode, Frozen, GradedLayer, OutputLayer, Votes
from metabit.train.checkpoint import Checkpoint

SPREAD = 1.25
"""Standard deviation of a normal variable over its mean magnitude; the device divides the scores by the latter."""


@dataclass(frozen=True)
class VoteOptions:
    """Settings of the vote rule on the device.

    Args:
        bits: k, 2..8 bits a level.
        thresholds: 1 to 8 whole numbers 0..255, the same for every feature; an input is the number of them that its feature
            reaches. Only `fresh_votes` uses them: a trained network has its own.
        delta: >= 0, metaplasticity of one level: a level of magnitude r moves with probability 1 - tanh²(delta · (r + ½)),
            in both directions.
        vote_rate: above 0, at most 1; expected share of the hidden units that vote after a completely wrong sample, where each
            gives 0 to 3 votes, vote_rate * 3 on average. vote_rate times the units is at most 256.
        deviations: 0..100; a synapse is visited where the majority among n votes exceeds deviations * √n.
        chance_per_vote: above 0, at most 1; probability of a visit for each vote above that majority.
        passes: 4 or 8 forward passes with unsure weights drawn anew; the error of a sample is their mean.
        batch: 32, 64, ... 256 samples are kept until every input has counted their votes.
        scale: > 0, factor of the scores in the device's softmax, which divides them by their standard deviation over the classes.
        skip_below: 0..1, a sample is skipped where the error of its true class is below this.
        low, high: 0..7.99, low < high; ends of the ramp of graded units, in units of the layer's mean |V|. Only `fresh_votes` uses
            them: a trained network has its own.
        seed: 0..2**32-1, of the device's generator, and of the first levels and the output code of `fresh_votes`.

    Raises:
        ExportError: a value is outside its range; the message names it.
    """

    bits: int = 4
    thresholds: tuple[int, ...] = (40, 150)
    delta: float = 0.15
    vote_rate: float = 0.6
    deviations: float = 4.0
    chance_per_vote: float = 0.2
    passes: int = 4
    batch: int = 128
    scale: float = 1.0
    skip_below: float = 0.3
    low: float = 0.3
    high: float = 2.2
    seed: int = 0

    def __post_init__(self) -> None:
        least, most = 1e-9, 1e9
        need_number("bits", self.bits, 2, 8, "a whole number from 2 to 8", int)
        if not isinstance(self.thresholds, tuple) or not 1 <= len(self.thresholds) <= MAX_PLANES:
            raise ExportError(
                f"thresholds={self.thresholds!r}: must be 1 to {MAX_PLANES} whole numbers from 0 to 255, as a tuple"
            )
        for threshold in self.thresholds:
            need_number("thresholds", threshold, 0, 255, "whole numbers from 0 to 255", int)
        need_number("delta", self.delta, 0, most, "a finite number >= 0")
        need_number("vote_rate", self.vote_rate, least, 1, "above 0 and at most 1")
        need_number("deviations", self.deviations, 0, 100, "from 0 to 100")
        need_number("chance_per_vote", self.chance_per_vote, least, 1, "above 0 and at most 1")
        if not isinstance(self.passes, int) or self.passes not in PASSES:
            raise ExportError(f"passes={self.passes!r}: must be 4 or 8")
        if not isinstance(self.batch, int) or self.batch not in BATCHES:
            raise ExportError(f"batch={self.batch!r}: must be a multiple of 32 from 32 to 256")
        need_number("scale", self.scale, least, most, "a finite number above 0")
        need_number("skip_below", self.skip_below, 0, 1, "from 0 to 1")
        need_number("low", self.low, 0, 7.99, "from 0 to 7.99")
        need_number("high", self.high, 0, 7.99, "from 0 to 7.99")
        low, high = self.ramp
        if low >= high:
            raise ExportError(f"low={self.low!r}: must be at least 1/256 below high={self.high!r}")
        need_number("seed", self.seed, 0, 2**32 - 1, "a whole number from 0 to 4294967295", int)

    @property
    def ramp(self) -> tuple[int, int]:
        """low and high in 1/256."""
        return round(self.low * 256), round(self.high * 256)


VOTES_AFTER_TRAINING = VoteOptions(delta=0.35, deviations=3.5, chance_per_vote=0.33, skip_below=0.1)
"""Settings for a trained network, chosen on training samples held out (docs/results/deployment)."""


def freeze_graded(checkpoint: Checkpoint, options: VoteOptions | None = None, m: float | None = None) -> Frozen:
    """The integers of a trained network of graded units.

    Levels are clamp(floor(W / Δ)) with Δ = delta / m of training, so that the tables move a level as rarely as training moved
    its hidden weight. For a network trained with m = 0, Δ gives the largest |W| the highest level, as `freeze` does.

    options: `VOTES_AFTER_TRAINING` if None. A checkpoint that came back from a device keeps what that has, where neither options
        nor m is given (`returned.py`).
    m: >= 0, metaplasticity on the device in place of delta; 0 switches it off.

    Raises ExportError if the units are not graded, a tensor is not finite, or an option does not fit.
    """
    o, spec, trained = options or VOTES_AFTER_TRAINING, checkpoint.spec, checkpoint.m[0]
    if spec.units != "graded" or spec.thresholds is None:
        raise ExportError(f"units={spec.units!r} do not learn by votes: export this network with freeze")
    if options is None and m is None and checkpoint.device is not None:
        return returned(checkpoint)
    check_finite(checkpoint.tensors)
    weights = np.asarray(checkpoint.tensors["layers.0.hidden"], np.float64)
    levels, width = quantise(weights, o.bits, o.delta / trained if trained else None)  # likewise if delta is 0
    if m is not None:
        o = replace(o, delta=m * width)
    return vote_network(levels, code_levels(checkpoint, 1), spec.thresholds, spec.ramp, o)


def vote_network(
    levels: NDArray[np.int8],
    code: NDArray[np.int8],
    thresholds: NDArray[np.uint8],
    ramp: tuple[int, int],
    o: VoteOptions,
) -> Frozen:
    """Encoder, graded layer and output as one network.

    levels: int8 (N, F). code: levels 0 and -1 of the output, int8 (C, N). thresholds: uint8 (P, F). ramp: in 1/256.
    """
    (hidden, _), classes, planes = levels.shape, len(code), len(thresholds)
    temperature = int(np.clip(round(16 * classes * o.scale / SPREAD), 1, 65535))
    votes = np.arange(MAX_VOTES * o.batch * planes + 1)
    needed = np.minimum(np.round(16 * o.deviations * np.sqrt(votes)), 65535).astype(np.uint16)
    chance = max(1, min(65535, round(o.chance_per_vote * 65536)))
    tables_ = tables(1.0, o.delta, o.bits, "same")
    rule = Votes(*tables_, dose_of(o.vote_rate, hidden), needed, chance, o.passes, o.batch)
    graded = GradedLayer(levels, o.bits, np.zeros(hidden, np.int32), *ramp, planes, rule)
    output = OutputLayer(code, 1, "grades", np.ones(classes, np.int32), np.zeros(classes, np.int32))
    return Frozen(
        (graded, output), Encode(thresholds), temperature, round(4096 * o.skip_below), generator_state(o.seed)
    )
