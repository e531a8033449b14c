"""Reuse of large temporary tensors on the CPU.

One training step allocates and frees matrices as large as the weights. The C library returns blocks of that size to the
system, and the page faults of fresh blocks take a tenth of a step. This module keeps the blocks. A block is free
again when the last tensor that uses its memory is deleted, so no live tensor is ever overwritten.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metabit.train.errors import extra

with extra("torch"):
    import torch
    from torch import Tensor

SMALL = 1 << 18
"""Bytes; the C library itself keeps freed blocks that are smaller."""

KEPT = 4
"""Largest number of free blocks of one size. A network of equal layers needs one or two."""

_free: dict[int, list[NDArray[np.uint8]]] = {}


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Contiguous CPU tensor with arbitrary content, as `torch.empty` returns it."""
    size = math.prod(shape) * dtype.itemsize
    if size < SMALL:
        return torch.empty(tuple(shape), dtype=dtype)
    free = _free.setdefault(size, [])
    try:
        block = free.pop()
    except IndexError:
        block = torch.empty(size, dtype=torch.uint8).numpy()  # torch aligns to cache lines, NumPy does not
    view = block.view()  # torch keeps a reference to this object until the last tensor is deleted
    weakref.finalize(view, _keep, free, block).atexit = False
    return torch.from_numpy(view).view(dtype).view(tuple(shape))


def _keep(free: list[NDArray[np.uint8]], block: NDArray[np.uint8]) -> None:
    if len(free) < KEPT:
        free.append(block)


def convert(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x.to(dtype), in a pooled block if x is on the CPU."""
    if x.dtype == dtype or not x.is_cpu:
        return x.to(dtype)
    return empty(x.shape, dtype).copy_(x)


def product(a: Tensor, b: Tensor) -> Tensor:
    """Product a @ b of two matrices, in a pooled block if a is on the CPU."""
    if not a.is_cpu:
        return a @ b
    return torch.mm(a, b, out=empty((a.shape[0], b.shape[1]), a.dtype))
