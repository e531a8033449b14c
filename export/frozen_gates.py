"""The frozen network of gates: thresholds of each feature, gates, and the two layers that may follow them.

Letters of the shapes: P thresholds a feature, F features, N gates, K inputs, C classes, H values of a head, R rows of a head.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.frozen_layers import Layer, LevelsRule

Integers = Literal["uint8", "int16"]
LOWEST = {"uint8": 0, "int16": -32768}
FREE = 255
"""Owner of a row of a head that belongs to no class."""
COUNT_LIMIT = 1024
"""A count of a head that reaches it makes all counts halve."""
COUNT_FLOOR = 64
"""Halving leaves no count below min(count, COUNT_FLOOR): a class unseen for long keeps this many samples."""


@dataclass(frozen=True, eq=False)
class Cuts:
    """Thresholds of each feature on the integers that the device takes: bit ``p * F + f`` is ``x[f] > cuts[p, f]``.

    kind: dtype of those integers.
    cuts: uint8 or int16, as kind says, (P, F), or (P, 1) if all features share them; 1 <= P <= 16.
    scale: float32 (2, F), low and steps of `metabit.data.Encoder`, by which a feature becomes an integer. None where every
        feature is the integer it is.
    shared: F if all features share their thresholds, else 0.
    """

    kind: Integers
    cuts: NDArray[np.uint8] | NDArray[np.int16]
    scale: NDArray[np.float32] | None = None
    shared: int = 0

    channels: ClassVar[int] = 0

    @property
    def features(self) -> int:
        return self.shared or int(self.cuts.shape[1])

    @property
    def planes(self) -> int:
        return int(self.cuts.shape[0])

    @property
    def thresholds(self) -> NDArray[np.int32]:
        """int32 (P, F), a bit is ``x[f] >= thresholds[p, f]``."""
        return np.repeat(self.cuts.astype(np.int32) + 1, self.shared or 1, axis=1)


@dataclass(frozen=True)
class GatesLayer(Layer):
    """Units with a normalisation of their own (docs/learning-rule.md, "Gates"). It never learns on the device.

    hidden: int8 (N, K), 0 for the weight +1 and -1 for -1.
    mul: int16 (N,), so |mul| * K <= 2**29. add: int32 (N,), |add| <= 2**30.
    shift: 10..20.
    """

    bits: int = field(default=1, init=False)
    takes: Literal["bits"] = field(default="bits", init=False)
    mul: NDArray[np.int16]
    add: NDArray[np.int32]
    shift: int

    kind = "gates"
    gives = "levels"


@dataclass(frozen=True)
class LevelsLayer(Layer):
    """The output above gates: levels of k bits, which are weights themselves.

    hidden: int8 (C, N + 1), the offset's level last, |h| <= 2**(k-1) - 1.
    bits: k, 2..8.
    rule: None if it does not learn.
    """

    takes: Literal["levels"] = field(default="levels", init=False)
    rule: LevelsRule | None = None

    kind = "levels"
    gives = "scores"

    @property
    def inputs(self) -> int:
        return int(self.hidden.shape[1]) - 1


@dataclass(frozen=True)
class HeadSettings:
    """The constants of a head.

    Args:
        memory: N, 1..1023. A class mean moves by 1/min(n + 1, N + 1) of the way to a new sample.
        covariance_memory: TMAX, 0 or 64..8192 samples; 0 keeps the covariance as it was before deployment.
        ridge: EPS, 1..32767, added to every variance; 4096 is one variance before deployment.
        prior: whether frequent classes score higher: ln(count), at most ln 4 below the most frequent class.
        sweep_every: 1, 2, 4, .. 128. Weights follow every so many steps; the first sample of a row moves them always.
    """

    memory: int = 255
    covariance_memory: int = 2048
    ridge: int = 410
    prior: bool = True
    sweep_every: int = 1

    def __post_init__(self) -> None:
        """Raises ExportError for a constant out of its range."""
        if self.sweep_every not in (1, 2, 4, 8, 16, 32, 64, 128):
            raise ExportError(f"sweep_every={self.sweep_every}: must be 1, 2, 4, 8, 16, 32, 64 or 128 steps")
        if not 1 <= self.memory < COUNT_LIMIT:
            raise ExportError(f"memory={self.memory}: must be from 1 to {COUNT_LIMIT - 1} samples")
        if self.covariance_memory and not 64 <= self.covariance_memory <= 8192:
            raise ExportError(f"covariance_memory={self.covariance_memory}: must be 0, or from 64 to 8192 samples")
        if not 1 <= self.ridge <= 32767:
            raise ExportError(f"ridge={self.ridge}: must be from 1 to 32767")


@dataclass(frozen=True, eq=False)
class HeadScale:
    """Constants that scale level and sum of each of N gates for the head.

    Args:
        gate_mul, gate_add: int16 (N,), |gate_mul| <= 2560, |gate_add| <= 20496.
        z_mul: int16 (N,), z_add: int32 (N,), in the ranges of mul and add; z_shift: 10..20, one for all units.
    """

    gate_mul: NDArray[np.int16]
    gate_add: NDArray[np.int16]
    z_mul: NDArray[np.int16]
    z_add: NDArray[np.int32]
    z_shift: int


@dataclass(frozen=True)
class HeadRows:
    """How a head takes further rows for a class (docs/learning-rule.md, "Rows of a class").

    per_class: 1..8 rows of one class at most. With 1, row r is class r.
    far: 1..63 nats, by which a row of another class must score higher than all rows of the sample's class; 0 with 1 row a class.
    doubt_limit: 1..255 such samples, in excess of the others, open a row; 0 with 1 row a class.
    """

    per_class: int = 1
    far: int = 0
    doubt_limit: int = 0


@dataclass(frozen=True)
class HeadLayer(Layer):
    """The head that learns in place (docs/learning-rule.md, "The head"). A class whose rows have no sample is a spare class.

    hidden: int8 (R, H), the weights W of the rows.
    takes: "levels" above gates, of which the head takes level and sum, H = 2N; "values" if the H values come as they are.
    classes: C, 2..R; R if each class has one row.
    scale: with "levels" only.
    covariance: int16 (H (H + 2) / 2,), row p holds the columns q = 0..p|1.
    means: int16 (R, H). counts: uint16 (R,), 0..1023.
    seen, dither, turn: 0..65535; T, z and turn.
    owners: uint8 (R,), class of each row or 255; doubts: uint8 (C,). Both empty with one row a class.
    """

    bits: int = field(default=8, init=False)
    classes: int
    settings: HeadSettings
    scale: HeadScale | None
    covariance: NDArray[np.int16]
    means: NDArray[np.int16]
    counts: NDArray[np.uint16]
    seen: int
    dither: int
    turn: int
    rows: HeadRows = HeadRows()
    owners: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    doubts: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))

    kind = "head"
    gives = "scores"

    @property
    def learns(self) -> bool:
        return True

    @property
    def units(self) -> int:
        return self.classes

    @property
    def values(self) -> int:
        return self.inputs // 2 if self.takes == "levels" else self.inputs


@dataclass(frozen=True)
class Notes:
    """Names that travel with a network: one for each class, and one for each feature, or none. Spare classes may lack a name."""

    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
