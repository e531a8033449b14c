"""Graded units: gates that close as their sum grows, in the integers of the device, with a slope to learn by.

docs/learning-rule.md, "Graded units and votes", has the ramp. Every weight counts alike here; on the device unsure ones count
half, and sums are twice as large, so that the ramp is rounded to finer steps.
"""

from __future__ import annotations

from typing import Any

from metabit.train.errors import extra

with extra("torch"):
    import torch
    from torch import Tensor
    from torch.autograd.function import once_differentiable

STEPS = 8
"""A gate's value has so many steps on either side of 0."""


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


class Gates(torch.nn.Module):
    """From 1 (open, a small sum) to -1 (closed, a large one of either sign), in units of the sample's mean |sum| over the layer.

    The mean counts as a constant in the gradient, as it does on the device.

    Args:
        low, high: a gate is open up to low and closed from high on, in 1/256 of that mean; 0 <= low < high <= 2047.
    """

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, sums: Tensor) -> Tensor:
        """Whole numbers (batch, N), of a float dtype -> the same dtype and shape, multiples of 1/8 in -1..1."""
        y: Tensor = _Ramp.apply(sums, self.low, self.high)  # type: ignore[no-untyped-call]
        return y
