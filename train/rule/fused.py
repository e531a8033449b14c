"""Native passes of `native/`: each takes float32 tensors that are dense in CPU memory and runs on torch's own threads.

Callers compute every other tensor, and all tensors where the extension was not built, with torch operations. Both ways
agree up to float rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from metabit.train.errors import extra
from metabit.train.rule import buffer_pool

with extra("torch"):
    import torch
    from torch import Tensor

if TYPE_CHECKING:
    from metabit.train.rule._fused import Job

try:
    from metabit.train.rule import _fused as extension
except ImportError:  # no C compiler at installation, or no UNIX
    extension = None  # type: ignore[assignment]


_USUAL = (Tensor, torch.nn.Parameter)


@dataclass(frozen=True)
class StepSettings:
    """Numbers of one optimizer step of one parameter, in the symbols of `metabit.train.MetaplasticAdam`.

    Args:
        rate: lr · √(1 - β₂ᵗ)/(1 - β₁ᵗ).
        decay: weight_decay.
        m: metaplasticity; 0 leaves the factor f out.
        beta1, beta2: decay of the moments.
        eps: added to the root of the second moment.
    """

    rate: float
    decay: float
    m: float
    beta1: float
    beta2: float
    eps: float


@dataclass(frozen=True)
class Update:
    """A parameter w, its gradient g and its two moments, all of one shape."""

    w: Tensor
    g: Tensor
    first: Tensor
    second: Tensor
    settings: StepSettings


def fits(update: Update) -> bool:
    """True if `step` can compute this update."""
    return extension is not None and all(_plain(t) for t in (update.w, update.g, update.first, update.second))


def step(updates: list[Update]) -> None:
    """Compute w and the moments of every update in place. Every update must fit (`fits`)."""
    assert extension is not None
    extension.step([_job(update) for update in updates], torch.get_num_threads())
    written = [t for u in updates for t in (u.w, u.first, u.second)]
    torch.autograd.graph.increment_version(written)  # autograd did not see the writes and must refuse stale graphs


def signs(w: Tensor, dtype: torch.dtype) -> Tensor:
    """Tensor of w's shape and the given dtype: +1 where w >= 0, -1 elsewhere (also for NaN). It has no gradient."""
    w = w.detach()
    if extension is None or not _plain(w) or dtype not in (torch.int8, torch.float32):
        ones = torch.ge(w, 0, out=torch.empty_like(w)) if dtype == w.dtype else torch.ge(w, 0).to(dtype)
        return ones.mul_(2).sub_(1)  # a third of the time of torch.where
    out = buffer_pool.empty(w.shape, dtype)
    extension.signs(w.data_ptr(), out.data_ptr(), w.numel(), dtype == torch.float32, torch.get_num_threads())
    return out


def small_integers(x: Tensor) -> Tensor | None:
    """Return x as int8, else as uint8, if that dtype holds every value exactly; else None. It has no gradient."""
    x = x.detach()
    if x.dtype in (torch.int8, torch.uint8):
        return x
    if extension is not None and _plain(x):
        out = buffer_pool.empty(x.shape, torch.int8)
        kind = extension.narrow(x.data_ptr(), out.data_ptr(), x.numel())
        return (None, out, out.view(torch.uint8))[kind]
    for dtype in (torch.int8, torch.uint8):
        narrow = x.to(dtype)
        if torch.equal(narrow.to(x.dtype), x):
            return narrow
    return None


def _plain(t: Tensor) -> bool:
    # Subclasses (fake, distributed, functorch tensors) have no memory that C code could read.
    return t.dtype is torch.float32 and t.is_cpu and t.is_contiguous() and type(t) in _USUAL


def _job(update: Update) -> Job:
    s = update.settings
    addresses = (update.w.data_ptr(), update.g.data_ptr(), update.first.data_ptr(), update.second.data_ptr())
    return (
        *addresses, update.w.numel(),
        s.rate, s.beta1, 1 - s.beta1, s.beta2, 1 - s.beta2, s.eps, s.decay, s.m,
    )  # fmt: skip
