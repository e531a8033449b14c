"""Activation of graded units, computed in the device's integers, with the slope of its ramp as gradient.

docs/learning-rule.md, "Graded units and votes", defines the ramp. On the device a weight of small magnitude counts half,
and accumulators are twice as large, so that the ramp has finer steps there: so does `UnsureLinear`, for a network that came
back from a device. In other networks all weights count fully.
"""

from __future__ import annotations

from typing import Any

from metabit.train.errors import extra
from metabit.train.network.binarize import BinaryLinear, binarize_weight

with extra("torch"):
    import torch
    from torch import Tensor
    from torch.autograd.function import once_differentiable

STEPS = 8
"""Number of steps of a grade on either side of 0."""


class _Ramp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sums: Tensor, low: int, high: int) -> Tensor:
        a = sums.to(torch.int64)
        size = a.abs()
        mean = 16 * size.sum(1, keepdim=True) // size.shape[1]
        closes, closed = mean * low >> 12, mean * high >> 12
        width = (closed - closes).clamp_(min=1)
        inside = torch.minimum((size - closes).clamp_(min=0), width)
        value = STEPS - (inside * (2**20 // width) + 2**15 >> 16)
        slope = torch.where((closes < size) & (size < closed), -2.0 * a.sign() / width, 0.0)
        ctx.save_for_backward(slope.to(sums.dtype))
        return value.to(sums.dtype) / STEPS

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        slope: Tensor = ctx.saved_tensors[0]
        return grads[0] * slope, None, None


class UnsureLinear(BinaryLinear):
    """y = x · (2 · sign(hidden))ᵀ, where hidden weights of a magnitude below `unsure` count once, not twice.

    Args:
        inputs, units, generator: in_features, out_features and generator of `BinaryLinear`.
        unsure: > 0.
    """

    def __init__(self, inputs: int, units: int, unsure: float, generator: torch.Generator | None = None) -> None:
        super().__init__(inputs, units, generator)
        self.unsure = unsure

    def forward(self, x: Tensor) -> Tensor:
        """(batch, K) whole numbers -> float32 (batch, N), exact."""
        count = 2.0 - (self.hidden.detach().abs() < self.unsure).to(self.hidden.dtype)
        return torch.nn.functional.linear(x.to(self.hidden.dtype), binarize_weight(self.hidden) * count)


class Gates(torch.nn.Module):
    """Grades that fall from 1 for a small accumulator to -1 for a large one of either sign.

    Magnitudes are measured in units of the sample's mean accumulator magnitude over the layer. That mean counts as a
    constant in the gradient, as on the device.

    Args:
        low, high: the grade is 1 up to low and -1 from high on, in 1/256 of that mean; 0 <= low < high <= 2047.
    """

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, sums: Tensor) -> Tensor:
        """Accumulators (batch, N), whole numbers of a float dtype -> grades of equal shape and dtype: multiples of 1/8."""
        y: Tensor = _Ramp.apply(sums, self.low, self.high)  # type: ignore[no-untyped-call]
        return y
