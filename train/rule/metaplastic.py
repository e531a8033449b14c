"""Optimizer of the paper: Adam that scales steps toward zero down, the more the larger the hidden weight is.

Laborieux, Ernoult, Hirtzlin, Querlioz, "Synaptic Metaplasticity in Binarized Neural Networks", arXiv:2003.03533.

A native pass (`fused.py`) updates float32 parameters on the CPU; torch operations update all others. Both agree up to
float rounding. Where a first moment is so small that rounding decides its sign, one of them may scale the step and the
other may not; such a step is itself as small as rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, overload

from metabit.train.errors import TrainError, extra
from metabit.train.rule import fused
from metabit.train.rule.fused import Update

with extra("torch"):
    import torch
    from torch import Tensor


def consolidation(m: float, w: Tensor) -> Tensor:
    """Metaplastic function f = 1 - tanh(m·|w|)²: the factor of a step toward zero, 0..1, of w's shape.

    f is 1 at w = 0 and about 4·exp(-2m|w|) far from it. It is computed as 4e/(1 + e)² with e = exp(-2m|w|), which is
    equal and keeps its precision where tanh rounds to 1.
    """
    e = torch.exp(-2 * m * w.abs())
    return (4 * e / (1 + e).square()).clamp(max=1.0)  # rounding can exceed 1 by a last bit


class MetaplasticAdam(torch.optim.Optimizer):
    """Adam with the metaplastic function of arXiv:2003.03533, as the authors' code computes it.

    Step t of a parameter W with gradient g::

        g  = g + weight_decay · W
        M  = β₁·M + (1 - β₁)·g                          f scales only the applied step,
        V  = β₂·V + (1 - β₂)·g²                         not the gradient in the moments
        u  = M / (√V + eps)                             eps is added before the bias correction, unlike torch's Adam
        f  = 1 - tanh(m·|W|)²  where sign(W)·M > 0      a step toward zero
             1                 elsewhere
        W  = W - lr · √(1 - β₂ᵗ)/(1 - β₁ᵗ) · f · u

    Parameters of one dimension (gains and biases of normalisation) always have f = 1.

    Each parameter group, so each layer, can have its own m. With m = 0 this is plain Adam, and a second task erases the
    first. If m is too low, the second task erases the first more slowly. If m is too high, the network keeps the first
    task and cannot learn later ones. A useful m has m·|W| near 1 to 2 for an ordinary synapse at the end of a task.
    Hidden weights grow with the number of steps: the paper's networks (24,000 steps a task) need an m of 0.5 to 3, the
    8x8 digits (750 steps) an m of about 48.

    Args:
        params: parameters or parameter groups, as for any torch optimizer; a group may have its own value of any
            setting below.
        lr: step size, >= 0.
        m: metaplasticity, >= 0.
        betas: decay of the two moments, each in [0, 1).
        eps: >= 0.
        weight_decay: L2 term added to the gradient, >= 0. Adam normalises it: for an input that is always off, even
            1e-7 draws the hidden weights to zero.

    Raises:
        TrainError: a setting is not a finite number in its range, or a gradient is sparse.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.005,
        m: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "m": m, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters. It takes each setting that it lacks from the optimizer.

        Raises TrainError: a setting is out of range.
        """
        settings = {**self.defaults, **param_group}
        for name in ("lr", "m", "eps", "weight_decay"):
            if not 0 <= settings[name] < math.inf:
                raise TrainError(f"{name}={settings[name]}: must be a finite number >= 0")
        betas = settings["betas"]
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise TrainError(f"betas={betas}: must be two numbers, each >= 0 and below 1")
        # Plain floats: torch.load(weights_only=True) refuses the numbers of NumPy in a saved state.
        plain = {name: float(settings[name]) for name in ("lr", "m", "eps", "weight_decay")}
        super().add_param_group({**param_group, **plain, "betas": tuple(map(float, betas))})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step. If a closure is given, it computes the loss first, and the step returns that loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        native = []
        for update in self._updates():
            if fused.fits(update):
                native.append(update)
            else:
                _apply(update)
        if native:
            fused.step(native)
        return loss

    def _updates(self) -> Iterator[Update]:
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for w in group["params"]:
                if w.grad is None:
                    continue
                if w.grad.is_sparse:
                    raise TrainError("MetaplasticAdam got a sparse gradient, which it cannot use: use dense gradients")
                state = self.state[w]
                if not state:
                    state["step"] = 0
                    state["exp_avg"] = torch.zeros_like(w, memory_format=torch.preserve_format)
                    state["exp_avg_sq"] = torch.zeros_like(w, memory_format=torch.preserve_format)
                state["step"] += 1
                yield Update(
                    w, w.grad.contiguous(), state["exp_avg"], state["exp_avg_sq"],
                    rate=group["lr"] * math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"]),
                    decay=group["weight_decay"],
                    m=group["m"] if w.dim() > 1 else 0.0,
                    beta1=beta1, beta2=beta2, eps=group["eps"],
                )  # fmt: skip


def _apply(update: Update) -> None:
    """Compute one update with torch operations, for any dtype, device and memory layout."""
    w, u = update.w, update
    g = u.g.add(w, alpha=u.decay) if u.decay else u.g
    u.second.mul_(u.beta2).addcmul_(g, g, value=1 - u.beta2)
    u.first.mul_(u.beta1).add_(g, alpha=1 - u.beta1)
    direction = u.first / u.second.sqrt().add_(u.eps)
    if u.m:
        # sign(w) * first, not w * first: the product of two small floats can round to 0, which would leave f out.
        toward_zero = torch.sign(w) * u.first > 0
        direction = torch.where(toward_zero, consolidation(u.m, w) * direction, direction)
    w.sub_(direction, alpha=u.rate)
