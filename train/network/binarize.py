"""Signs with straight-through gradients, and the binary linear layer.

sign(0) is +1 everywhere, as a weight on the device is +1 where its level is >= 0. (`torch.sign` is 0 at 0.)

Under torch.compile, torch.export and torch.func every function here is an operator of `metabit.train.network.ops`.
"""

from __future__ import annotations

from typing import Any

from metabit.train.errors import extra
from metabit.train.network import ops
from metabit.train.network.products import factor_dtype, product
from metabit.train.rule import buffer_pool, fused

with extra("torch"):
    import torch
    from torch import Tensor
    from torch.autograd.function import once_differentiable

INITIAL_SPREAD = 0.05
"""Initial hidden weights are uniform in ±0.05, at most ten steps of the default lr from zero, as in the paper's code."""


def sign(x: Tensor) -> Tensor:
    """Return +1 where x >= 0, -1 elsewhere (also for NaN), of x's shape and dtype. It has no gradient."""
    return fused.signs(x, x.dtype) if ops.is_eager(x) else ops.sign(x.detach())


class _Activation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return sign(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return ops.straight_through(grads[0], ctx.saved_tensors[0])


class _Weight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor) -> Tensor:
        return sign(hidden)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class _Linear(torch.autograd.Function):
    """x (..., K), hidden (N, K) -> x · sign(hidden)ᵀ (..., N) of hidden's dtype."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, hidden: Tensor) -> Tensor:
        y, rows, signs = product(x, hidden)
        ctx.save_for_backward(rows, signs)
        ctx.like = x.shape, x.dtype
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows, signs = ctx.saved_tensors
        shape, dtype = ctx.like
        g = grads[0].reshape(len(rows), -1)
        out, factor = g.dtype, factor_dtype(g)
        g = g.to(factor)
        for_x = (g @ buffer_pool.convert(signs, factor)).to(dtype).reshape(shape) if ctx.needs_input_grad[0] else None
        made = buffer_pool.product(g.T, rows.to(factor)) if ctx.needs_input_grad[1] else None
        for_hidden = None if made is None else buffer_pool.convert(made, out)
        return for_x, for_hidden


def binarize_activation(x: Tensor) -> Tensor:
    """Return sign(x). Straight-through estimator: the gradient passes unchanged where |x| <= 1 and is 0 elsewhere."""
    if not ops.is_eager(x):
        return ops.binarize_activation(x)
    y: Tensor = _Activation.apply(x)  # type: ignore[no-untyped-call]
    return y


def binarize_weight(hidden: Tensor) -> Tensor:
    """Return sign(hidden). The gradient always passes unchanged, so that large hidden weights can still change."""
    if not ops.is_eager(hidden):
        return ops.binarize_weight(hidden)
    w: Tensor = _Weight.apply(hidden)  # type: ignore[no-untyped-call]
    return w


def binary_linear(x: Tensor, hidden: Tensor) -> Tensor:
    """Return x · sign(hidden)ᵀ with the straight-through gradient of `binarize_weight`.

    Inputs of any dtype that are all integers in -128..127, or all in 0..255, give exact accumulators. Other inputs give
    a float32 product, which is exact for integers up to 2**24.

    Args:
        x: (..., K), floats or int8 or uint8.
        hidden: float (N, K).

    Returns:
        (..., N) of hidden's dtype.
    """
    if not ops.is_eager(x, hidden):
        return ops.binary_linear(x, hidden)
    y: Tensor = _Linear.apply(x, hidden)  # type: ignore[no-untyped-call]
    return y


class Sign(torch.nn.Module):
    """`binarize_activation` as a layer: +1 where x >= 0, else -1."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape and dtype."""
        return binarize_activation(x)


class BinaryLinear(torch.nn.Module):
    """y = x · sign(hidden)ᵀ, without bias.

    Integer inputs, such as {-1, +1}, {0, 1} or pixels of 0 to 255, give exact integers.

    Args:
        in_features: K >= 1.
        out_features: N >= 1.
        generator: draws the initial hidden weights; None is torch's global generator.

    Attributes:
        hidden: Parameter, float32 (N, K), the hidden weights, initially uniform in ±0.05. Never clipped.
    """

    def __init__(self, in_features: int, out_features: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.hidden = torch.nn.Parameter(torch.empty(out_features, in_features))
        torch.nn.init.uniform_(self.hidden, -INITIAL_SPREAD, INITIAL_SPREAD, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) floats, int8 or uint8 -> (..., N) of hidden's dtype."""
        return binary_linear(x, self.hidden)

    def extra_repr(self) -> str:
        return f"in_features={self.hidden.shape[1]}, out_features={self.hidden.shape[0]}"
