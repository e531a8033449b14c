"""Signs, and the gradients that pretend they are not there.

sign(0) = +1 everywhere: on the device a weight is +1 iff its hidden level is >= 0. (`torch.sign` is 0 at 0.)

Where a product's inputs are small integers, as all but a network's first may be, it is computed on int8 with int32
accumulators, which is exact and several times faster than float32. Gradients go through bfloat16 products with float32
accumulators where the processor has them: signs are exact in it, the other factor keeps 8 significant bits.
`set_gradient_products` chooses otherwise.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from metabit.train.errors import TrainError, extra
from metabit.train.rule import buffer_pool as scratch
from metabit.train.rule import fused

with extra("torch"):
    import torch
    from torch import Tensor
    from torch.autograd.function import once_differentiable

INITIAL_SPREAD = 0.05
"""Hidden weights start uniform in ±0.05, ten steps of the default learning rate from either sign (paper's code)."""

_products: torch.dtype | None = None


def set_gradient_products(dtype: torch.dtype | None) -> None:
    """Choose the factors' dtype in the backward products of every `BinaryLinear` on a CPU.

    Args:
        dtype: torch.float32 for results that agree with another engine's up to float order, torch.bfloat16, or None
            (as at first) for bfloat16 where the processor multiplies it natively and float32 elsewhere.

    Raises:
        TrainError: another dtype.
    """
    if dtype not in (None, torch.float32, torch.bfloat16):
        raise TrainError(f"gradient products in {dtype}: must be torch.float32, torch.bfloat16 or None")
    global _products
    _products = dtype


def gradient_products() -> torch.dtype:
    """The dtype that `set_gradient_products` chose, or that None stands for on this machine."""
    return _products or (
        torch.bfloat16 if _has("_is_avx512_bf16_supported", "_is_amx_tile_supported") else torch.float32
    )


def sign(x: Tensor) -> Tensor:
    """+1 where x >= 0, -1 elsewhere (also for NaN). Same shape and dtype as x. No gradient."""
    return fused.signs(x, x.dtype)


class _Activation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return sign(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        x: Tensor = ctx.saved_tensors[0]
        # hardtanh's own gradient in one pass; its limits are exclusive, ours are not
        edge = 1 + torch.finfo(x.dtype).eps
        inside: Tensor = torch.ops.aten.hardtanh_backward(grads[0], x, -edge, edge)
        return inside


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
        rows = x.reshape(-1, x.shape[-1])
        narrow = fused.small_integers(rows) if _integers(hidden) else None
        if narrow is None:
            signs = sign(hidden)
            rows = rows.to(hidden.dtype)
            y = rows @ signs.T
        else:
            signs, rows = fused.signs(hidden, torch.int8), narrow
            y = torch._int_mm(rows, signs.T).to(hidden.dtype)
        ctx.save_for_backward(rows, signs)
        ctx.like = x.shape, x.dtype
        return y.reshape(*x.shape[:-1], hidden.shape[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows, signs = ctx.saved_tensors
        shape, dtype = ctx.like
        g = grads[0].reshape(len(rows), -1)
        out = g.dtype
        factor = gradient_products() if out == torch.float32 and g.is_cpu else out
        g = g.to(factor)
        for_x = (g @ scratch.convert(signs, factor)).to(dtype).reshape(shape) if ctx.needs_input_grad[0] else None
        product = scratch.product(g.T, rows.to(factor)) if ctx.needs_input_grad[1] else None
        for_hidden = None if product is None else scratch.convert(product, out)
        return for_x, for_hidden


def binarize_activation(x: Tensor) -> Tensor:
    """sign(x); straight-through estimator: the gradient passes unchanged where abs(x) <= 1 and is 0 elsewhere."""
    y: Tensor = _Activation.apply(x)  # type: ignore[no-untyped-call]
    return y


def binarize_weight(hidden: Tensor) -> Tensor:
    """sign(hidden); identity straight-through estimator: no window, or a sure synapse could never be revised."""
    w: Tensor = _Weight.apply(hidden)  # type: ignore[no-untyped-call]
    return w


def binary_linear(x: Tensor, hidden: Tensor) -> Tensor:
    """x · sign(hidden)ᵀ with the straight-through gradient of `binarize_weight`.

    On a CPU with native int8 products, inputs that are all integers in -128..127, or all in 0..255, whatever their
    dtype, give exact sums; other inputs, and other machines, a float32 product (exact up to 2**24 for integers).

    Args:
        x: (..., K), floats or int8 or uint8.
        hidden: float (N, K).

    Returns:
        (..., N) of hidden's dtype.
    """
    y: Tensor = _Linear.apply(x, hidden)  # type: ignore[no-untyped-call]
    return y


class BinaryLinear(torch.nn.Module):
    """y = x · sign(hidden)ᵀ, without bias.

    With integer inputs, such as {-1, +1}, {0, 1} or pixels of 0 to 255, the result is an exact integer.

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
        """(batch, K) floats, int8 or uint8 -> float32 (batch, N)."""
        return binary_linear(x, self.hidden)

    def extra_repr(self) -> str:
        units, inputs = self.hidden.shape
        return f"inputs={inputs}, units={units}"


def _has(*features: str) -> bool:
    return any(getattr(torch.cpu, feature, bool)() for feature in features)


def _integers(hidden: Tensor) -> bool:
    return hidden.dtype == torch.float32 and hidden.is_cpu and _integer_products()


@lru_cache(maxsize=1)
def _integer_products() -> bool:
    """Whether this torch multiplies (u)int8 with int32 accumulators, right and by native instructions."""
    if not _has("_is_vnni_supported"):
        return False
    x, w = torch.full((1, 64), 255, dtype=torch.uint8), torch.full((64, 1), -1, dtype=torch.int8)
    try:
        return torch._int_mm(x, w).item() == -255 * 64 and torch._int_mm(x.to(torch.int8), w).item() == 64
    except (RuntimeError, AttributeError):
        return False
