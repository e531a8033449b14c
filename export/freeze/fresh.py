"""A network that has learnt nothing: random integers -> Frozen, to learn on the device from the first sample.

A thermometer code, one graded layer that learns by votes, and a fixed output code (docs/learning-rule.md, "Graded units and
votes"). No training on a computer comes before it, and no checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.freeze.visits import generator_state, need_number, tables
from metabit.export.frozen import (
    BATCHES,
    DRAWS,
    MAX_GRADED,
    MAX_UNITS,
    MAX_VOTES,
    Encode,
    Frozen,
    Graded,
    Layer,
    Rule,
    Votes,
)

SPREAD = 1.25
"""A normal variable's standard deviation over its mean magnitude: the device knows the latter of a sample's scores."""


@dataclass(frozen=True)
class FreshOptions:
    """How the network is to learn from its first sample on.

    Args:
        bits: k, 2..8 hidden bits a synapse.
        thresholds: 1 to 8 whole numbers 0..255, the same for every feature; an input counts how many of them it reaches.
        delta: metaplasticity of one level: a level r from zero moves with probability 1 - tanh²(delta · (r + ½)), either way.
        asks: a third of the votes after a wholly wrong sample, over the hidden units, each of which gives 3 votes at most;
            256 units' worth at most.
        deviations: 0..100, times √n votes must agree, of n, to visit a synapse; a unit asks with up to 3 votes a sample.
        gain: 0..1, chance of a visit for each vote beyond those needed.
        draws: 4 or 8 passes with weights drawn anew, over which one sample's error is averaged.
        batch: 32, 64, ... 256 samples are kept until every input has counted their votes.
        scale: of the device's softmax, which sees scores in units of their standard deviation over the classes, times this.
        margin: 0..1, a sample whose true class has an error below this teaches nothing.
        low, high: 0..7.99, low < high: a unit's gate is open up to low and closed from high on, in units of the layer's mean |V|.
        seed: of the first levels, the output code and the device's generator.

    Raises:
        ExportError: a value outside its range; the message names it.
    """

    bits: int = 4
    thresholds: tuple[int, ...] = (40, 150)
    delta: float = 0.15
    asks: float = 0.6
    deviations: float = 4.0
    gain: float = 0.2
    draws: int = 4
    batch: int = 128
    scale: float = 1.0
    margin: float = 0.3
    low: float = 0.3
    high: float = 2.2
    seed: int = 0

    def __post_init__(self) -> None:
        least, most = 1e-9, 1e9
        need_number("bits", self.bits, 2, 8, "a whole number from 2 to 8", int)
        if not isinstance(self.thresholds, tuple) or not 1 <= len(self.thresholds) <= 8:
            raise ExportError(f"thresholds={self.thresholds!r}: must be 1 to 8 whole numbers from 0 to 255, as a tuple")
        for threshold in self.thresholds:
            need_number("thresholds", threshold, 0, 255, "whole numbers from 0 to 255", int)
        need_number("delta", self.delta, 0, most, "a finite number >= 0")
        need_number("asks", self.asks, least, 1, "above 0 and at most 1")
        need_number("deviations", self.deviations, 0, 100, "from 0 to 100")
        need_number("gain", self.gain, least, 1, "above 0 and at most 1")
        if not isinstance(self.draws, int) or self.draws not in DRAWS:
            raise ExportError(f"draws={self.draws!r}: must be 4 or 8")
        if not isinstance(self.batch, int) or self.batch not in BATCHES:
            raise ExportError(f"batch={self.batch!r}: must be a multiple of 32 from 32 to 256")
        need_number("scale", self.scale, least, most, "a finite number above 0")
        need_number("margin", self.margin, 0, 1, "from 0 to 1")
        need_number("low", self.low, 0, 7.99, "from 0 to 7.99")
        need_number("high", self.high, 0, 7.99, "from 0 to 7.99")
        lo, hi = self.ramp
        if lo >= hi:
            raise ExportError(f"low={self.low!r}: must be at least 1/256 below high={self.high!r}")
        need_number("seed", self.seed, 0, 2**32 - 1, "a whole number from 0 to 4294967295", int)

    @property
    def ramp(self) -> tuple[int, int]:
        """low and high in 1/256."""
        return round(self.low * 256), round(self.high * 256)


def fresh(features: int, hidden: int, classes: int, options: FreshOptions | None = None) -> Frozen:
    """A network features -> hidden -> classes with random weights; its hidden layer learns on the device.

    features: F uint8 features, 1..16384 over the number of thresholds. hidden: 1..1024 graded units. classes: 2..1024.

    Raises ExportError if a size is outside its range.
    """
    o = options or FreshOptions()
    planes = len(o.thresholds)
    most = MAX_UNITS // planes
    need_number(
        "features", features, 1, most, f"a whole number from 1 to {most} with {planes} thresholds: fewer of either", int
    )
    thresholds = np.repeat(np.array(o.thresholds, np.uint8)[:, None], features, axis=1)
    return voting(*_nothing(features, hidden, classes, o), thresholds, o.ramp, o)


def _nothing(inputs: int, hidden: int, classes: int, o: FreshOptions) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Levels next to zero, int8 (N, K), and the output's, int8 (C, N)."""
    need_number("hidden", hidden, 1, MAX_GRADED, f"a whole number from 1 to {MAX_GRADED}", int)
    need_number("classes", classes, 2, MAX_GRADED, f"a whole number from 2 to {MAX_GRADED}", int)
    rng = np.random.default_rng(o.seed)
    return rng.integers(-1, 1, (hidden, inputs)).astype(np.int8), _code(classes, hidden, rng)


def voting(
    levels: NDArray[np.int8],
    code: NDArray[np.int8],
    thresholds: NDArray[np.uint8],
    ramp: tuple[int, int],
    o: FreshOptions,
) -> Frozen:
    """Levels int8 (N, F), code levels int8 (C, N) of 0 and -1, thresholds uint8 (P, F) and a ramp as a network that learns
    by votes; of the options, their own thresholds, low and high are not looked at."""
    (hidden, _), classes, planes = levels.shape, len(code), len(thresholds)
    temperature = int(np.clip(round(16 * classes * o.scale / SPREAD), 1, 65535))
    graded = Layer(
        kind="graded", hidden=levels, bits=o.bits, on_off=True, theta=np.zeros(hidden, np.int32), window=0,
        mul=np.ones(hidden, np.int32), add=np.zeros(hidden, np.int32), rule=_rule(o, hidden, planes),
        graded=Graded(*ramp, planes),
    )  # fmt: skip
    output = Layer(
        kind="output", hidden=code, bits=1, on_off=False, theta=np.zeros(classes, np.int32), window=0,
        mul=np.ones(classes, np.int32), add=np.zeros(classes, np.int32), graded_input=True,
    )  # fmt: skip
    return Frozen((graded, output), Encode(thresholds), temperature, round(4096 * o.margin), generator_state(o.seed))


def _rule(o: FreshOptions, hidden: int, planes: int) -> Rule:
    votes = np.arange(MAX_VOTES * o.batch * planes + 1)
    need = np.minimum(np.round(16 * o.deviations * np.sqrt(votes)), 65535).astype(np.uint16)
    rule = Votes(need, _clip(o.gain * 65536, 65535), o.draws, o.batch)
    return Rule(*tables(1.0, o.delta, o.bits, "same"), dose=_clip(o.asks * hidden * 4096, 2**20 - 1), votes=rule)


def _clip(value: float, most: int) -> int:
    return max(1, min(most, round(value)))


def _code(classes: int, hidden: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """Levels 0 and -1, int8 (C, N): each hidden unit is for half of the classes and against the others."""
    sides = np.where(np.arange(classes) < classes // 2, 0, -1).astype(np.int8)
    return rng.permuted(np.repeat(sides[:, None], hidden, axis=1), axis=0)
