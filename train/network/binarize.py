"""Signs with straight-through gradients, and the binary linear layer.

sign(0) is +1 everywhere, as a weight on the device is +1 where its level is >= 0. (`torch.sign` is 0 at 0.)

Forward products of small integers, so of all inputs except other floats, use int8 factors and int32 accumulators if the
processor has instructions for them (VNNI). They are exact, as float32 products of integers are, and several times faster.

Backward products use bfloat16 factors and float32 accumulators if the processor multiplies bfloat16 natively (AVX-512
BF16, AMX), and float32 elsewhere. Signs are exact in bfloat16, and the other factor keeps 8 significant bits. So equal
seeds give other hidden weights on a processor with bfloat16 than on one without. For results that do not depend on
that, call ``set_gradient_products(torch.float32)`` first.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from metabit.train.errors import TrainError, extra
from metabit.train.rule import buffer_pool, fused

with extra("torch"):
    import torch
    from torch import Tensor
    from torch.autograd.function import once_differentiable

INITIAL_SPREAD = 0.05
"""Initial hidden weights are uniform in ±0.05, at most ten steps of the default lr from zero, as in the paper's code."""

_products: torch.dtype | None = None


def set_gradient_products(dtype: torch.dtype | None) -> None:
    """Choose torch.float32 or torch.bfloat16 for the factors in the backward products on a CPU, in this process.

    None, the initial choice, is bfloat16 if the processor multiplies it natively and float32 elsewhere. Raises
    TrainError for another dtype.
    """
    if dtype not in (None, torch.float32, torch.bfloat16):
        raise TrainError(f"gradient products in {dtype}: must be torch.float32, torch.bfloat16 or None")
    global _products
    _products = dtype


def gradient_products() -> torch.dtype:
    """Return the dtype in use: the one that `set_gradient_products` chose, or what None means on this machine."""
    native = _has("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return _products or (torch.bfloat16 if native else torch.float32)


def sign(x: Tensor) -> Tensor:
    """Return +1 where x >= 0, -1 elsewhere (also for NaN), of x's shape and dtype. It has no gradient."""
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
        # The gradient of hardtanh in one pass. Its limits are exclusive; the estimator includes |x| = 1.
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
        exact = hidden.dtype == torch.float32 and hidden.is_cpu and _integer_products()
        narrow = fused.small_integers(rows) if exact else None
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
        for_x = (g @ buffer_pool.convert(signs, factor)).to(dtype).reshape(shape) if ctx.needs_input_grad[0] else None
        product = buffer_pool.product(g.T, rows.to(factor)) if ctx.needs_input_grad[1] else None
        for_hidden = None if product is None else buffer_pool.convert(product, out)
        return for_x, for_hidden


def binarize_activation(x: Tensor) -> Tensor:
    """Return sign(x). Straight-through estimator: the gradient passes unchanged where |x| <= 1 and is 0 elsewhere."""
    y: Tensor = _Activation.apply(x)  # type: ignore[no-untyped-call]
    return y


def binarize_weight(hidden: Tensor) -> Tensor:
    """Return sign(hidden). The gradient always passes unchanged, so that large hidden weights can still change."""
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
    y: Tensor = _Linear.apply(x, hidden)  # type: ignore[no-untyped-call]
    return y


class BinaryLinear(torch.nn.Module):
    """y = x · sign(hidden)ᵀ, without bias.

    Integer inputs, such as {-1, +1}, {0, 1} or pixels of 0 to 255, give exact integers.

    Args:
        inputs: K >= 1.
        units: N >= 1.
        generator: draws the initial hidden weights; None is torch's global generator.

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


@lru_cache(maxsize=1)
def _integer_products() -> bool:
    """True if this torch multiplies (u)int8 with int32 accumulators by native instructions, with correct results."""
    if not _has("_is_vnni_supported"):
        return False
    x, w = torch.full((1, 64), 255, dtype=torch.uint8), torch.full((64, 1), -1, dtype=torch.int8)
    try:
        return torch._int_mm(x, w).item() == -255 * 64 and torch._int_mm(x.to(torch.int8), w).item() == 64
    except (RuntimeError, AttributeError):
        return False
