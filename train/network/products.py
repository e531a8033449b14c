"""Matrix products with signs: exact ones forward, and the dtype of the factors backward.

Forward products of small integers, so of all inputs except other floats, use int8 factors and int32 accumulators if the
processor has instructions for them (VNNI). They are exact, as float32 products of integers are, and several times faster.

Backward products are float32. `set_gradient_products` takes bfloat16 factors for them, with float32 accumulators: signs are
exact in bfloat16, the other factor keeps 8 significant bits, so a gradient is about 0.3 % off. A processor with AVX-512 BF16
then needed a quarter less time for a step (docs/results/train/train-step.md).
"""

from __future__ import annotations

from functools import lru_cache

from metabit.train.errors import TrainError, extra
from metabit.train.rule import fused

with extra("torch"):
    import torch
    from torch import Tensor

_products: torch.dtype = torch.float32


def set_gradient_products(dtype: torch.dtype) -> None:
    """Choose the factors of the backward products of float32 layers on a CPU, in this process.

    torch.float32, the initial choice, gives equal hidden weights on every processor, up to the order of float sums.
    torch.bfloat16 is for training time on processors that multiply it natively, and each gradient is about 0.3 % off.
    Raises TrainError for another dtype.
    """
    if dtype not in (torch.float32, torch.bfloat16):
        raise TrainError(f"gradient products in {dtype}: must be torch.float32 or torch.bfloat16")
    global _products
    _products = dtype


def gradient_products() -> torch.dtype:
    """Return the dtype that `set_gradient_products` chose."""
    return _products


def factor_dtype(g: Tensor) -> torch.dtype:
    """Return the dtype of the factors of a product with g, the gradient of a layer's accumulators."""
    return _products if g.dtype == torch.float32 and g.is_cpu else g.dtype


def product(x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return x · sign(hidden)ᵀ (..., N) of hidden's dtype, and both factors: rows (n, K) and signs (N, K).

    x: (..., K). hidden: (N, K). No gradient passes.
    """
    rows = x.reshape(-1, x.shape[-1])
    exact = hidden.dtype == torch.float32 and hidden.is_cpu and _integer_products()
    narrow = fused.small_integers(rows) if exact else None
    if narrow is None:
        signs = fused.signs(hidden, hidden.dtype)
        rows = rows.to(hidden.dtype)
        y = rows @ signs.T
    else:
        signs, rows = fused.signs(hidden, torch.int8), narrow
        y = torch._int_mm(rows, signs.T).to(hidden.dtype)
    return y.reshape(*x.shape[:-1], hidden.shape[0]), rows, signs


@lru_cache(maxsize=1)
def _integer_products() -> bool:
    """True if this torch multiplies (u)int8 with int32 accumulators by native instructions, with correct results."""
    if not getattr(torch.cpu, "_is_vnni_supported", bool)():
        return False
    x, w = torch.full((1, 64), 255, dtype=torch.uint8), torch.full((64, 1), -1, dtype=torch.int8)
    try:
        return torch._int_mm(x, w).item() == -255 * 64 and torch._int_mm(x.to(torch.int8), w).item() == 64
    except (RuntimeError, AttributeError):
        return False
