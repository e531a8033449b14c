"""The door to the native passes of `native/`: what fits goes through in one pass over memory, on torch's own threads.

They take float32 tensors on the CPU that lie densely in memory. Whatever does not fit, and every tensor where the
extension was not built, is the callers' to compute in plain torch, with the same result up to float rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from metabit.train.errors import extra
from metabit.train.rule import buffer_pool as scratch
from metabit.train.rule.grid import Grid

with extra("torch"):
    import torch
    from torch import Tensor

if TYPE_CHECKING:
    from metabit.train.rule._fused import Job

try:
    from metabit.train.rule import _fused as extension
except ImportError:  # no C compiler when it was installed, or no UNIX
    extension = None  # type: ignore[assignment]


_USUAL = (Tensor, torch.nn.Parameter)


@dataclass(frozen=True)
class Rule:
    """The numbers of one parameter's step, for both optimizers.

    Args:
        rate: what the direction is multiplied by; Adam: lr · √(1 - β₂ᵗ)/(1 - β₁ᵗ).
        decay: g = g + decay · W.
        m: metaplasticity; 0 leaves the gate out.
        keep: β₁ of Adam; the momentum of SGD.
        keep2, eps: β₂ and eps of Adam; unused by SGD.
        grid: where W must lie after the step, or None.
        seed: two 32-bit words for the grid's stochastic rounding.
    """

    rate: float
    decay: float
    m: float
    keep: float
    keep2: float = 0.0
    eps: float = 0.0
    grid: Grid | None = None
    seed: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Update:
    """One parameter's step: w, its gradient, and the moments, all of one shape; `second` is Adam's alone."""

    w: Tensor
    g: Tensor
    first: Tensor | None
    second: Tensor | None
    rule: Rule

    @property
    def tensors(self) -> list[Tensor]:
        return [t for t in (self.w, self.g, self.first, self.second) if t is not None]


def fits(update: Update) -> bool:
    """Whether `step` can take it."""
    return extension is not None and all(_plain(t) for t in update.tensors)


def step(updates: list[Update]) -> None:
    """w, first and second of every update, in place. All must fit."""
    assert extension is not None
    extension.step([_job(update) for update in updates], torch.get_num_threads())
    written = [t for u in updates for t in (u.w, u.first, u.second) if t is not None]
    torch.autograd.graph.increment_version(written)  # the writes went past autograd: let it notice stale graphs


def signs(w: Tensor, dtype: torch.dtype) -> Tensor:
    """+1 where w >= 0, -1 elsewhere (also for NaN), as the given dtype. Contiguous where w is; w's shape; no gradient."""
    w = w.detach()
    if extension is None or not _plain(w) or dtype not in (torch.int8, torch.float32):
        ones = torch.ge(w, 0, out=torch.empty_like(w)) if dtype == w.dtype else torch.ge(w, 0).to(dtype)
        return ones.mul_(2).sub_(1)  # a third of the time of torch.where
    out = scratch.empty(w.shape, dtype)
    extension.signs(w.data_ptr(), out.data_ptr(), w.numel(), dtype == torch.float32, torch.get_num_threads())
    return out


def small_integers(x: Tensor) -> Tensor | None:
    """x as int8, or else as uint8, if one of them holds every value exactly; None if not. Same shape, no gradient."""
    x = x.detach()
    if x.dtype in (torch.int8, torch.uint8):
        return x
    if extension is not None and _plain(x):
        out = scratch.empty(x.shape, torch.int8)
        kind = extension.narrow(x.data_ptr(), out.data_ptr(), x.numel())
        return (None, out, out.view(torch.uint8))[kind]
    for dtype in (torch.int8, torch.uint8):
        narrow = x.to(dtype)
        if torch.equal(narrow.to(x.dtype), x):
            return narrow
    return None


def _plain(t: Tensor) -> bool:
    # subclasses (fake, distributed, functorch tensors) have no memory that could be read here
    return t.dtype is torch.float32 and t.is_cpu and t.is_contiguous() and type(t) in _USUAL


def _job(update: Update) -> Job:
    rule = update.rule
    adam = update.second is not None
    first = 0 if update.first is None else update.first.data_ptr()
    second = 0 if update.second is None else update.second.data_ptr()
    grid = (0.0, 0.0, 0.0) if rule.grid is None else (rule.grid.delta, rule.grid.low, rule.grid.high)
    add = 1 - rule.keep if adam else 1.0
    return (
        *(update.w.data_ptr(), update.g.data_ptr(), first, second, update.w.numel()),
        *(rule.rate, rule.keep, add, rule.keep2, 1 - rule.keep2, rule.eps, rule.decay, rule.m),
        *(*grid, *rule.seed),
    )
