"""Native passes of `native/`: each takes float32 tensors that are dense in CPU memory and runs on torch's own threads.

Callers compute every other tensor, and all tensors where the extension was not built, with torch operations. Both ways
agree up to float rounding.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from metabit.train.errors import extra
from metabit.train.rule import buffer_pool

with extra("torch"):
    import torch
    from torch import Tensor


class _Job(ctypes.Structure):
    """`mt_job` of native/fused.c, which describes the fields."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("w", "g", "m", "v", "bytes", "floats")),
        ("n", ctypes.c_size_t),
        *((name, ctypes.c_float) for name in ("rate", "keep1", "add1", "keep2", "add2", "eps", "decay", "gate")),
    ]


def _library() -> ctypes.CDLL | None:
    """Return the compiled passes; None without a C compiler at installation, or without UNIX."""
    found = find_spec("metabit.train.rule._fused")
    if found is None or found.origin is None:
        return None
    library = ctypes.CDLL(found.origin)
    library.mt_run.argtypes = (ctypes.POINTER(_Job), ctypes.c_size_t, ctypes.c_uint)
    library.mt_narrow.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    return library


extension = _library()


@dataclass(frozen=True)
class Update:
    """One optimizer step of one parameter, in the symbols of `metabit.train.MetaplasticAdam`.

    Args:
        w, g, first, second: parameter, gradient and moments, all of one shape.
        rate: lr · √(1 - β₂ᵗ)/(1 - β₁ᵗ).
        decay: weight_decay.
        m: metaplasticity; 0 leaves the factor f out.
        beta1, beta2: decay of the moments.
        eps: added to the root of the second moment.
    """

    w: Tensor
    g: Tensor
    first: Tensor
    second: Tensor
    rate: float
    decay: float
    m: float
    beta1: float
    beta2: float
    eps: float


def fits(update: Update) -> bool:
    """True if `step` can compute this update."""
    return extension is not None and all(_plain(t) for t in (update.w, update.g, update.first, update.second))


def step(updates: list[Update]) -> None:
    """Compute w and the moments of every update in place. Every update must fit (`fits`)."""
    _run(
        _Job(u.w.data_ptr(), u.g.data_ptr(), u.first.data_ptr(), u.second.data_ptr(), None, None, u.w.numel(),
             u.rate, u.beta1, 1 - u.beta1, u.beta2, 1 - u.beta2, u.eps, u.decay, u.m)
        for u in updates
    )  # fmt: skip
    written = [t for u in updates for t in (u.w, u.first, u.second)]
    torch.autograd.graph.increment_version(written)  # autograd did not see the writes and must refuse stale graphs


def signs(w: Tensor, dtype: torch.dtype) -> Tensor:
    """Tensor of w's shape and the given dtype: +1 where w >= 0, -1 elsewhere (also for NaN). It has no gradient."""
    w = w.detach()
    if extension is None or not _plain(w) or dtype not in (torch.int8, torch.float32):
        ones = torch.ge(w, 0, out=torch.empty_like(w)) if dtype == w.dtype else torch.ge(w, 0).to(dtype)
        return ones.mul_(2).sub_(1)  # a third of the time of torch.where
    out = buffer_pool.empty(w.shape, dtype)
    target = "floats" if dtype == torch.float32 else "bytes"
    _run([_Job(w=w.data_ptr(), n=w.numel(), **{target: out.data_ptr()})])
    return out


def small_integers(x: Tensor) -> Tensor | None:
    """Return x as int8, else as uint8, if that dtype holds every value exactly; else None. It has no gradient."""
    x = x.detach()
    if x.dtype in (torch.int8, torch.uint8):
        return x
    if extension is not None and _plain(x):
        out = buffer_pool.empty(x.shape, torch.int8)
        kind = extension.mt_narrow(x.data_ptr(), out.data_ptr(), x.numel())
        return (None, out, out.view(torch.uint8))[kind]
    for dtype in (torch.int8, torch.uint8):
        narrow = x.to(dtype)
        if torch.equal(narrow.to(x.dtype), x):
            return narrow
    return None


def _run(jobs: Iterable[_Job]) -> None:
    array = [*jobs]
    assert extension is not None
    extension.mt_run((_Job * len(array))(*array), len(array), torch.get_num_threads())


def _plain(t: Tensor) -> bool:
    # Subclasses (fake, distributed, functorch tensors) have no memory that C code could read.
    return t.dtype is torch.float32 and t.is_cpu and t.is_contiguous() and type(t) in (Tensor, torch.nn.Parameter)
