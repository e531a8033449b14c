"""The frozen layer of units from nothing, which no training made (docs/learning-rule.md, "Units from nothing").

Letters of the shapes: F features, H units.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metabit.export.frozen_gates import Integers
from metabit.export.frozen_layers import Layer


@dataclass(frozen=True)
class TriplesLayer(Layer):
    """Units of three features, the first half gates and the others steps. It is the first layer and never learns on the device.

    hidden: int8 (H, 3), -2..2, the weights of the features. H is even, 2..128.
    integers: dtype of the features that the device takes.
    scale: float32 (2, F), low and steps of `metabit.data.Encoder`, by which a feature becomes an integer. None where every
        feature is the integer it is.
    feature_mul: int16 (F,), 0..32767. feature_add: int32 (F,), |.| <= 2**30. feature_shift: uint8 (F,), 0..24.
    index: uint16 (H, 3), 0..F-1.
    mul: int32 (H,), |.| <= 2**17. add: int32 (H,), |.| <= 2**30. top: int32 (H / 2,), 0..2**30.
    low, high: int8 (H,), -127 <= low <= high.
    """

    bits: int = field(default=8, init=False)
    takes: Literal["features"] = field(default="features", init=False)
    integers: Integers
    scale: NDArray[np.float32] | None
    feature_mul: NDArray[np.int16]
    feature_add: NDArray[np.int32]
    feature_shift: NDArray[np.uint8]
    index: NDArray[np.uint16]
    mul: NDArray[np.int32]
    add: NDArray[np.int32]
    top: NDArray[np.int32]
    low: NDArray[np.int8]
    high: NDArray[np.int8]

    kind = "triples"
    gives = "values"

    @property
    def inputs(self) -> int:
        return len(self.feature_mul)
