"""The paper's optimizer: Adam whose steps toward zero are held back on synapses that are already sure.

Laborieux, Ernoult, Hirtzlin, Querlioz, "Synaptic Metaplasticity in Binarized Neural Networks", arXiv:2003.03533.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

from metabit.train.errors import TrainError, extra

with extra("torch"):
    import torch
    from torch import Tensor


def consolidation(m: float, w: Tensor) -> Tensor:
    """1 - tanh(m·|w|)², the share of a step toward zero that a hidden weight w still lets through.

    1 at w = 0, and about 4·exp(-2m|w|) far from it. In float32 it is exactly 0 from about m|w| = 9: such a synapse
    can never change its sign again.
    """
    return 1 - torch.tanh(m * w).square()


class MetaplasticAdam(torch.optim.Optimizer):
    """Adam with the metaplastic gate of arXiv:2003.03533, as the authors' code computes it.

    For each parameter W with gradient g, at its t-th step::

        g  = g + weight_decay · W
        M  = β₁·M + (1 - β₁)·g                          the moments take the gradient as it is: the gate
        V  = β₂·V + (1 - β₂)·g²                         scales the applied step only
        u  = M / (√V + eps)                             eps meets V before its bias correction, unlike torch's Adam
        f  = 1 - tanh(m·|W|)²  where sign(W)·M > 0      a step toward zero
             1                 elsewhere
        W  = W - lr · √(1 - β₂ᵗ)/(1 - β₁ᵗ) · f · u

    Parameters of one dimension (the gains and biases of normalisation) are never gated: f = 1.

    What m does, per parameter group, so per layer: 0 is plain Adam, and a second task erases the first. Too low: the
    same, more slowly. Too high: the network hardens around what it saw first, and later tasks are not learnt. A useful
    m has m·|W| somewhere near 1 to 2 for an ordinary synapse at the end of a task, and hidden weights grow with the
    number of steps: the paper's networks (24,000 steps a task) want 0.5 to 3, the 8x8 digits (750 steps) about 48.

    Args:
        params: parameters or parameter groups, as for any torch optimizer; a group may carry its own ``m`` and ``lr``.
        lr: step size, >= 0.
        m: metaplasticity, >= 0.
        betas: decay of the two moments, each in [0, 1).
        eps: >= 0.
        weight_decay: plain L2 added to the gradient, >= 0. Adam normalises it: on inputs that are always off even 1e-7
            draws hidden weights to zero.

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
        """Add a group; settings it does not carry are the optimizer's."""
        _check({**self.defaults, **param_group})
        super().add_param_group(param_group)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step. A closure, if given, recomputes the loss first, and its loss is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._update(parameter, group)
        return loss

    def _update(self, w: Tensor, group: dict[str, Any]) -> None:
        if w.grad is None or w.grad.is_sparse:
            raise TrainError("MetaplasticAdam got a sparse gradient, which it cannot gate: use dense gradients")
        state = self.state[w]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(w, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(w, memory_format=torch.preserve_format)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        first: Tensor = state["exp_avg"]
        second: Tensor = state["exp_avg_sq"]

        gradient = w.grad.add(w, alpha=group["weight_decay"]) if group["weight_decay"] else w.grad
        first.mul_(beta1).add_(gradient, alpha=1 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        direction = first / second.sqrt().add_(group["eps"])
        if group["m"] and w.dim() > 1:
            # sign(w) * first and not w * first: the product of two small floats can vanish and open the gate.
            toward_zero = torch.sign(w) * first > 0
            direction = torch.where(toward_zero, consolidation(group["m"], w) * direction, direction)
        scale = math.sqrt(1 - beta2 ** state["step"]) / (1 - beta1 ** state["step"])
        w.sub_(direction, alpha=group["lr"] * scale)


def _check(settings: dict[str, Any]) -> None:
    for name in ("lr", "m", "eps", "weight_decay"):
        value = settings[name]
        if not 0 <= value < math.inf:
            raise TrainError(f"{name}={value}: must be a finite number >= 0")
    if len(settings["betas"]) != 2 or not all(0 <= beta < 1 for beta in settings["betas"]):
        raise TrainError(f"betas={settings['betas']}: must be two numbers, each >= 0 and below 1")
