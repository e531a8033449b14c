"""A trained network of gates as arrays, which the makers of frozen networks take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from metabit.data.encoder import Encoder

Doubles = NDArray[np.float64]


class GatesSource(Protocol):
    """A trained network as arrays: K bits of the encoder, N units, C classes, n samples of the training part."""

    @property
    def encoder(self) -> Encoder: ...

    @property
    def bits(self) -> int:
        """k of the output's levels, 2..8."""

    @property
    def weights(self) -> NDArray[np.int8]:
        """int8 (N, K), +1 or -1."""

    @property
    def gamma(self) -> Doubles:
        """float64 (N,), as `beta`, `mean` and `deviation`; the last above 0, with the constant that normalisation adds."""

    @property
    def beta(self) -> Doubles: ...

    @property
    def mean(self) -> Doubles: ...

    @property
    def deviation(self) -> Doubles: ...

    @property
    def levels(self) -> NDArray[np.int8]:
        """int8 (C, N + 1), the offset's level last."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """(C,), or () without names."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """(F,), or () without names."""

    @property
    def sums(self) -> NDArray[Any]:
        """Integers (n, N), the sums of the units; n = 0 if none are kept."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 (n,), 0..C-1."""


@dataclass(frozen=True, eq=False)
class GatesArrays:
    """A `GatesSource` of plain arrays."""

    encoder: Encoder
    bits: int
    weights: NDArray[np.int8]
    gamma: Doubles
    beta: Doubles
    mean: Doubles
    deviation: Doubles
    levels: NDArray[np.int8]
    sums: NDArray[Any]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
