"""The default network in integers: bits -> sums -> levels -> scores, and the two values of a unit that the head sees.

Plain and slow. It needs no product of more than 32 bits and no division, so a C implementation needs none.

A unit sums the weights ±1 of its inputs that are on: |a| <= K, the number of inputs, at most 16384 = 2^14. Training gives
z = γ(a - μ)/σ + β, a linear function of a, and the activation clip(1.6 - 1.6·|z|, -1, 1) in eighths. With
12.8·z·2^s = mul·a + add, rounded to integers mul and add::

    level = clip((TOP_s - |mul·a + add|) >> s, -8, 8),    TOP_s = round(12.8·2^s) + 2^(s-1)

Half of a level is part of TOP_s, so the shift, which rounds down, gives the nearest level. The head sees two values in
32 per deviation before deployment, both int8::

    gate = clip((gate_mul·level + gate_add) >> 5,    -127, 127)
    z    = clip((z_mul·a        + z_add)    >> z_shift, -127, 127)

Half of a unit is part of gate_add and of z_add. The output has a level h of k bits, |h| <= 2^(k-1) - 1 <= 127, for each
unit and class, and one for four inputs that are always 8::

    score_c = Σ_j h_cj·level_j + 32·offset_c

Bounds in int32, kept when the constants are made: mul is an int16, so |mul|·K <= 2^29, and |add| <= 2^30, so
|mul·a + add| < 2^31; with 0 <= TOP_s < 2^24 the difference is above -2^31. z_mul and z_add likewise. |gate_mul·level| <= 8·2560 and
|gate_add| <= 20496. With N <= 16384 units |score| <= 127·8·16384 + 32·127 < 2^25.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.frozen import HeadScale
from metabit.train.network.gate_integers import SLOPE, fixed_point

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]

LEVELS = 8
DEVIATION = 32
"""One deviation before deployment, in the head's int8 values."""
OFFSET_INPUTS = 4
MAX_INPUTS = 16384
GATE_SHIFT = 5
_SMALLEST_DEVIATION = 0.05


@dataclass(frozen=True, eq=False)
class GateLayer:
    """Constants of N units with K inputs.

    Args:
        inputs: K, 1..16384.
        mul: int16 (N,), |mul| <= 32767; add: int32 (N,), |add| <= 2^30; shift: 10..20, one for all units.
    """

    inputs: int
    mul: NDArray[np.int16]
    add: NDArray[np.int32]
    shift: int

    @property
    def top(self) -> int:
        """TOP_s."""
        return int(round(SLOPE * 2**self.shift)) + (1 << self.shift >> 1)

    def levels(self, sums: NDArray[Any]) -> NDArray[np.int8]:
        """Integers a (..., N) -> int8 (..., N), -8..8."""
        distance = np.abs(sums.astype(np.int64) * self.mul + self.add.astype(np.int64))
        levels: NDArray[np.int8] = np.clip((self.top - distance) >> self.shift, -LEVELS, LEVELS).astype(np.int8)
        return levels


class HeadValues(HeadScale):
    """Scale of the head's values, which it computes."""

    def values(self, sums: NDArray[Any], levels: NDArray[np.int8]) -> NDArray[np.int8]:
        """Sums (n, N) and their levels (n, N) -> int8 (n, 2N): the gates of all units, then z of all units."""
        gate = (levels.astype(np.int64) * self.gate_mul + self.gate_add) >> GATE_SHIFT
        z = (sums.astype(np.int64) * self.z_mul + self.z_add) >> self.z_shift
        values: NDArray[np.int8] = np.clip(np.concatenate([gate, z], axis=-1), -127, 127).astype(np.int8)
        return values


def gate_layer(gamma: Doubles, beta: Doubles, mean: Doubles, deviation: Doubles, inputs: int) -> GateLayer:
    """Integer constants of z = gamma·(a - mean)/deviation + beta.

    Where a step of one in a moves a gate by more than 32 levels, as for a unit whose sum hardly varied in training, the
    slope is limited to that; z at the mean stays as it is.

    Args:
        gamma, beta, mean, deviation: float (N,), finite; deviation > 0, with the constant that normalisation adds.
        inputs: K.

    Raises:
        ExportError: a value that is not finite, a deviation that is not above 0, or inputs out of range.
    """
    numbers = [np.asarray(a, dtype=np.float64) for a in (gamma, beta, mean, deviation)]
    gamma, beta, mean, deviation = numbers
    if not all(np.isfinite(a).all() and a.shape == gamma.shape and a.ndim == 1 for a in numbers):
        raise ExportError("a unit's normalisation is not finite: train again with a lower rate")
    if (deviation <= 0).any():
        raise ExportError(f"a unit's deviation is {deviation.min()}: must be above 0")
    if not 1 <= inputs <= MAX_INPUTS:
        raise ExportError(f"{inputs} inputs of a gate: must be from 1 to {MAX_INPUTS}, lower the planes")
    return GateLayer(inputs, *fixed_point(SLOPE * gamma / deviation, SLOPE * beta, mean, 0.0))


def head_values(layer: GateLayer, gamma: Doubles, deviation: Doubles, sums: NDArray[Any]) -> HeadValues:
    """Scale of each unit's two values, from the sums of the training part.

    There are two values, of the gate (-1..1) and of z, each in units of 1/32: (value - mean)/max(deviation, 0.05). A unit
    that hardly varies is not amplified: its deviation counts as 0.05.

    Args:
        gamma, deviation: as for `gate_layer`.
        sums: integers (n, N) of the training part, n >= 1.
    """
    gates = layer.levels(sums) / LEVELS
    spread = np.maximum(gates.std(0), _SMALLEST_DEVIATION)
    scale = DEVIATION / LEVELS / spread * 2**GATE_SHIFT  # at most 2560
    gate_mul = np.rint(scale).astype(np.int16)
    centre = -DEVIATION * gates.mean(0) / spread * 2**GATE_SHIFT  # at most 20480 in magnitude
    gate_add = (np.rint(centre) + (1 << GATE_SHIFT >> 1)).astype(np.int16)
    mean, slope = sums.mean(0), np.asarray(gamma, np.float64) / deviation
    z_slope = DEVIATION * slope / np.maximum(np.abs(slope) * sums.std(0), _SMALLEST_DEVIATION)
    z_mul, z_add, z_shift = fixed_point(z_slope, np.zeros_like(mean), mean, 0.5)
    return HeadValues(gate_mul, gate_add, z_mul, z_add, z_shift)


def scores(levels: NDArray[np.int8], output: NDArray[np.int8]) -> NDArray[np.int32]:
    """Levels of the units (n, N) and of the output, int8 (C, N + 1), the offset last -> int32 (n, C)."""
    weight, offset = output[:, :-1].astype(np.int64), output[:, -1].astype(np.int64)
    total = levels.astype(np.int64) @ weight.T + OFFSET_INPUTS * LEVELS * offset
    return total.astype(np.int32)
