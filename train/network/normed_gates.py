"""The default network: one hidden layer of gates, each with a normalisation of its own, and an output of k-bit levels.

A unit j sums its inputs (bits 0/1 times weights ±1) to an integer a, and batch normalisation gives
z = γ(a - μ)/σ + β. Its activation is clip(1.6 - 1.6·|z|, -1, 1) rounded to a multiple of 1/8: a level from -8 to 8 in
eighths, 8 where z is near 0. `metabit.export.oracle.gates` computes the same levels in integers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.train.errors import TrainError, extra
from metabit.train.network.binarize import BinaryLinear
from metabit.train.network.gate_integers import SLOPE as INTEGER_SLOPE
from metabit.train.network.gate_integers import fixed_point

with extra("torch"):
    import torch
    from torch import Tensor
    from torch.autograd.function import once_differentiable

STEPS = 8
"""Levels of an activation on either side of 0."""
SLOPE = 1.6
"""Value of a gate at z = 0 before clipping, and its fall per unit of |z|: it is 0 at |z| = 1 and -1 from 1.625 on."""
OFFSET_INPUTS = 4
"""The offset of a class counts as so many inputs that are always 8, with one level for all of them."""
_RANGE = 1.5
_SPREAD = 0.5


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        exact = SLOPE - SLOPE * z.abs()
        ctx.save_for_backward(torch.where(exact.abs() < 1, -SLOPE * z.sign(), 0.0))
        return torch.round(STEPS * exact.clamp_(-1, 1)) / STEPS

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        slope: Tensor = ctx.saved_tensors[0]
        return grads[0] * slope


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def rounded(x: Tensor) -> Tensor:
    """x, any shape, rounded to integers; the gradient passes unchanged."""
    y: Tensor = _Round.apply(x)  # type: ignore[no-untyped-call]
    return y


def gate(z: Tensor) -> Tensor:
    """clip(1.6 - 1.6·|z|, -1, 1), a multiple of 1/8; the gradient is that of the unrounded function. Same shape."""
    y: Tensor = _Gate.apply(z)  # type: ignore[no-untyped-call]
    return y


class LevelOutput(torch.nn.Module):
    """Scores from k-bit levels: score_c = u·(Σ_j level_cj·v_j + 4·8·offset_c) for activations v/8, v from -8 to 8.

    Levels and offsets are integers of ±L, L = 2^(k-1) - 1, and u = 3/(8·L·√units). The straight-through estimator
    gives their hidden weights the gradient.

    Args:
        units, classes: >= 1.
        bits: k, 2..8.
        generator: source of the initial weights; torch's global one if None.

    Attributes:
        weight: Parameter, float32 (classes, units). The level is round(L·clip(weight/1.5, -1, 1)).
        offset: Parameter, float32 (classes,), in the same unit, at first 0.

    Raises:
        TrainError: bits out of range.
    """

    def __init__(self, units: int, classes: int, bits: int = 5, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if not 2 <= bits <= 8:
            raise TrainError(f"an output of {bits} bits: must be from 2 to 8")
        self.bits = bits
        self.weight = torch.nn.Parameter(torch.empty(classes, units).normal_(0, _SPREAD, generator=generator))
        self.offset = torch.nn.Parameter(torch.zeros(classes))

    @property
    def largest(self) -> int:
        """L, the largest level."""
        return int(2 ** (self.bits - 1) - 1)

    @property
    def unit(self) -> float:
        """u, the score of one level times one eighth of an activation."""
        return 2 * _RANGE / (STEPS * self.largest * math.sqrt(self.weight.shape[1]))

    def forward(self, v: Tensor) -> Tensor:
        """(batch, units) in -1..1 -> (batch, classes)."""
        scale = STEPS * self.unit
        return scale * (v @ self._levels(self.weight).T + OFFSET_INPUTS * self._levels(self.offset))

    @torch.no_grad()
    def levels(self) -> Tensor:
        """int8 (classes, units + 1), the offset's level last."""
        return torch.cat([self._levels(self.weight), self._levels(self.offset)[:, None]], dim=1).to(torch.int8)

    def _levels(self, w: Tensor) -> Tensor:
        return rounded((w / _RANGE).clamp(-1, 1) * self.largest)


class NormedGates(torch.nn.Module):
    """Bits -> gates -> scores.

    Args:
        inputs: bits of the encoder, >= 1.
        units: gates, >= 1.
        classes: >= 2.
        bits: k of the output's levels, 2..8.
        seed: of the initial weights.

    Attributes:
        linear: `BinaryLinear`, its parameter `hidden` float32 (units, inputs).
        norm: `torch.nn.BatchNorm1d`, one gain γ and shift β for each unit.
        output: `LevelOutput`.

    Raises:
        TrainError: a size out of range.
    """

    def __init__(self, inputs: int, units: int, classes: int, bits: int = 5, seed: int = 0) -> None:
        super().__init__()
        if inputs < 1 or units < 1 or classes < 2:
            found = f"{inputs} inputs, {units} units, {classes} classes"
            raise TrainError(f"{found}: a network needs at least 1 input, 1 unit and 2 classes")
        generator = torch.Generator().manual_seed(seed)
        self.linear = BinaryLinear(inputs, units, generator)
        self.norm = torch.nn.BatchNorm1d(units)
        self.output = LevelOutput(units, classes, bits, generator)

    def sums(self, bits: Tensor) -> Tensor:
        """0/1 (batch, inputs) -> the integers a as float32 (batch, units)."""
        a: Tensor = self.linear(bits)
        return a

    def forward(self, bits: Tensor) -> Tensor:
        """0/1 (batch, inputs) of any dtype -> float32 scores (batch, classes)."""
        scores: Tensor = self.output(gate(self.norm(self.sums(bits))))
        return scores

    @torch.no_grad()
    def integers(self, bits: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the integers of a device for 0/1 (batch, inputs): levels of the gates (batch, units), -8..8, and the scores of the
        output's levels (batch, classes). `forward` rounds floats, which differ from them once in a million levels.
        """
        norm, sums = self.norm, self.sums(bits).numpy().astype(np.int64)
        assert norm.running_mean is not None and norm.running_var is not None
        gamma, beta, mean, var = (
            np.asarray(a.numpy(), np.float64) for a in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        )
        slope = INTEGER_SLOPE * gamma / np.sqrt(var + norm.eps)
        mul, add, shift = fixed_point(slope, INTEGER_SLOPE * beta, mean, 0.0)
        top = round(INTEGER_SLOPE * 2**shift) + (1 << shift >> 1)
        levels = np.clip((top - np.abs(sums * mul + add)) >> shift, -STEPS, STEPS)
        output = self.output.levels().numpy().astype(np.int64)
        return levels, levels @ output[:, :-1].T + OFFSET_INPUTS * STEPS * output[:, -1]
