"""Signs, and the gradients that pretend they are not there.

sign(0) = +1 everywhere: on the device a weight is +1 iff its hidden level is >= 0. (`torch.sign` is 0 at 0.)
"""

from __future__ import annotations

from typing import Any

from metabit.train.errors import extra

with extra("torch"):
    import torch
    from torch import Tensor

INITIAL_SPREAD = 0.05
"""Hidden weights start uniform in ±0.05, ten steps of the default learning rate from either sign (paper's code)."""


def sign(x: Tensor) -> Tensor:
    """+1 where x >= 0, -1 elsewhere (also for NaN). Same shape and dtype as x. No gradient."""
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


class _Activation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x.abs() <= 1)
        return sign(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        window: Tensor = ctx.saved_tensors[0]
        return grads[0] * window


class _Weight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor) -> Tensor:
        return sign(hidden)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def binarize_activation(x: Tensor) -> Tensor:
    """sign(x); straight-through estimator: the gradient passes unchanged where abs(x) <= 1 and is 0 elsewhere."""
    y: Tensor = _Activation.apply(x)  # type: ignore[no-untyped-call]
    return y


def binarize_weight(hidden: Tensor) -> Tensor:
    """sign(hidden); identity straight-through estimator: no window, or a sure synapse could never be revised."""
    w: Tensor = _Weight.apply(hidden)  # type: ignore[no-untyped-call]
    return w


class BinaryLinear(torch.nn.Module):
    """y = x · sign(hidden)ᵀ, without bias.

    With inputs in {-1, +1} or {0, 1} the result is an exact integer (float32 is exact up to 2**24).

    Args:
        inputs: K >= 1.
        units: N >= 1.
        generator: source of the initial hidden weights; torch's global one if None.

    Attributes:
        hidden: Parameter, float32 (N, K), the hidden weights, initially uniform in ±0.05. Never clipped.
    """

    def __init__(self, inputs: int, units: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.hidden = torch.nn.Parameter(torch.empty(units, inputs))
        torch.nn.init.uniform_(self.hidden, -INITIAL_SPREAD, INITIAL_SPREAD, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """float32 (batch, K) -> float32 (batch, N)."""
        return torch.nn.functional.linear(x, binarize_weight(self.hidden))

    def extra_repr(self) -> str:
        units, inputs = self.hidden.shape
        return f"inputs={inputs}, units={units}"
