"""Large temporaries that come back.

A step of training frees matrices as large as its weights and asks for them again in the next step. The C library hands
blocks of that size back to the system, and touching fresh pages costs as much as the arithmetic on them; so they are
kept here. A block returns when the last tensor that lies in it is gone, whoever holds it: nothing is ever overwritten.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.train.errors import extra

with extra("torch"):
    import torch
    from torch import Tensor

SMALL = 1 << 18
"""Bytes; below it the C library keeps freed blocks itself."""

KEPT = 4
"""Free blocks of one size that are kept; a network whose layers are alike needs one or two."""

_free: dict[int, list[NDArray[np.uint8]]] = {}


class _Loan(np.ndarray[Any, np.dtype[np.uint8]]):
    """A view of a block; torch drops it together with the memory's last tensor."""

    block: NDArray[np.uint8]

    def __del__(self) -> None:
        block = getattr(self, "block", None)  # views of a loan are loans without one
        if block is not None and len(_free[block.nbytes]) < KEPT:
            _free[block.nbytes].append(block)


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """As torch.empty, on the CPU: contiguous, of arbitrary content."""
    size = math.prod(shape) * dtype.itemsize
    if size < SMALL:
        return torch.empty(tuple(shape), dtype=dtype)
    kept = _free.setdefault(size, [])
    try:
        block = kept.pop()
    except IndexError:
        block = torch.empty(size, dtype=torch.uint8).numpy()  # torch aligns to cache lines, NumPy does not
    loan = block.view(_Loan)
    loan.block = block
    return torch.from_numpy(loan).view(dtype).view(tuple(shape))


def convert(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x.to(dtype), in a block of ours where x lies on the CPU."""
    if x.dtype == dtype or not x.is_cpu:
        return x.to(dtype)
    return empty(x.shape, dtype).copy_(x)


def product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b of two matrices, likewise."""
    if not a.is_cpu:
        return a @ b
    return torch.mm(a, b, out=empty((a.shape[0], b.shape[1]), a.dtype))
