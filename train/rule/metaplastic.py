"""The paper's optimizer: Adam whose steps toward zero are held back on synapses that are already sure; and SGD alike.

Laborieux, Ernoult, Hirtzlin, Querlioz, "Synaptic Metaplasticity in Binarized Neural Networks", arXiv:2003.03533.

Float32 parameters on the CPU are updated by one fused native pass over memory (`fused.py`), others by torch operations;
the two agree up to float rounding. A step whose first moment is so small that its sign hangs on the last bit may be
gated by one and not by the other; such a step is itself as small as rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, overload

from metabit.train.errors import TrainError, extra
from metabit.train.rule import fused
from metabit.train.rule.fused import Rule, Update
from metabit.train.rule.grid import Grid, seed_words

with extra("torch"):
    import torch
    from torch import Tensor


def consolidation(m: float, w: Tensor) -> Tensor:
    """1 - tanh(m·|W|)², the share of a step toward zero that a hidden weight w still lets through.

    1 at w = 0, and about 4·exp(-2m|w|) far from it. Computed as 4e/(1 + e)² with e = exp(-2m|w|), which is the same
    and keeps its precision where tanh rounds to 1.
    """
    e = torch.exp(-2 * m * w.abs())
    return (4 * e / (1 + e).square()).clamp(max=1.0)  # rounding can end a last bit above it


class _Metaplastic(torch.optim.Optimizer):
    """What both rules share: the step over all parameters, the gate, the grid, the checks."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; settings it does not carry are the optimizer's."""
        settings = {**self.defaults, **param_group}
        _check(settings)
        if settings["grid"] is not None:
            param_group["grid"] = Grid.of(settings["grid"])
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` gave, also after a round trip through JSON."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            for name, default in self.defaults.items():
                group.setdefault(name, default)
            group["grid"] = None if group["grid"] is None else Grid.of(group["grid"])

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step. A closure, if given, recomputes the loss first, and its loss is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        together = []
        for update in self._updates():
            if fused.fits(update):
                together.append(update)
            else:
                _apply(update)
        if together:
            fused.step(together)
        return loss

    def _updates(self) -> Iterator[Update]:
        number = -1
        for group in self.param_groups:
            for w in group["params"]:
                number += 1
                if w.grad is None:
                    continue
                if w.grad.is_sparse:
                    name = type(self).__name__
                    raise TrainError(f"{name} got a sparse gradient, which it cannot gate: use dense gradients")
                matrix = w.dim() > 1
                state = self.state[w]
                state["step"] = state.get("step", 0) + 1
                rule = Rule(
                    decay=group["weight_decay"],
                    m=group["m"] if matrix else 0.0,
                    grid=group["grid"] if matrix else None,
                    seed=seed_words(group["seed"], number, state["step"]) if group["grid"] and matrix else (0, 0),
                    **self._numbers(group, state["step"]),
                )
                yield Update(w, w.grad.contiguous(), *self._moments(w, group), rule)

    def _numbers(self, group: dict[str, Any], step: int) -> dict[str, float]:
        """What the rule itself puts into `Rule`."""
        raise NotImplementedError

    def _moments(self, w: Tensor, group: dict[str, Any]) -> tuple[Tensor | None, Tensor | None]:
        """The rule's state for w, made of zeros at first."""
        raise NotImplementedError

    def _zeros(self, w: Tensor, name: str) -> Tensor:
        state = self.state[w]
        if name not in state:
            state[name] = torch.zeros_like(w, memory_format=torch.preserve_format)
        moment: Tensor = state[name]
        return moment


class MetaplasticAdam(_Metaplastic):
    """Adam with the metaplastic gate of arXiv:2003.03533, as the authors' code computes it.

    For each parameter W with gradient g, at its t-th step::

        g  = g + weight_decay · W
        M  = β₁·M + (1 - β₁)·g                          the moments take the gradient as it is: the gate
        V  = β₂·V + (1 - β₂)·g²                         scales the applied step only
        u  = M / (√V + eps)                             eps meets V before its bias correction, unlike torch's Adam
        f  = 1 - tanh(m·|W|)²  where sign(W)·M > 0      a step toward zero
             1                 elsewhere
        W  = W - lr · √(1 - β₂ᵗ)/(1 - β₁ᵗ) · f · u

    Parameters of one dimension (the gains and biases of normalisation) are never gated: f = 1. They are never on a
    grid either.

    What m does, per parameter group, so per layer: 0 is plain Adam, and a second task erases the first. Too low: the
    same, more slowly. Too high: the network hardens around what it saw first, and later tasks are not learnt. A useful
    m has m·|W| somewhere near 1 to 2 for an ordinary synapse at the end of a task, and hidden weights grow with the
    number of steps: the paper's networks (24,000 steps a task) want 0.5 to 3, the 8x8 digits (750 steps) about 48.

    Args:
        params: parameters or parameter groups, as for any torch optimizer; a group may carry any of the settings below
            for itself.
        lr: step size, >= 0.
        m: metaplasticity, >= 0.
        betas: decay of the two moments, each in [0, 1).
        eps: >= 0.
        weight_decay: plain L2 added to the gradient, >= 0. Adam normalises it: on inputs that are always off even 1e-7
            draws hidden weights to zero.
        grid: the k-bit levels that hidden weights lie on after every step, or None for floats. See `Grid`.
        seed: of the grid's stochastic rounding; each step and parameter has its own random numbers.

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
        grid: Grid | None = None,
        seed: int = 0,
    ) -> None:
        own = {"betas": betas, "eps": eps}
        super().__init__(params, {"lr": lr, "m": m, **own, "weight_decay": weight_decay, "grid": grid, "seed": seed})

    def _numbers(self, group: dict[str, Any], step: int) -> dict[str, float]:
        beta1, beta2 = group["betas"]
        rate = group["lr"] * math.sqrt(1 - beta2**step) / (1 - beta1**step)
        return {"rate": rate, "keep": beta1, "keep2": beta2, "eps": group["eps"]}

    def _moments(self, w: Tensor, group: dict[str, Any]) -> tuple[Tensor | None, Tensor | None]:
        return self._zeros(w, "exp_avg"), self._zeros(w, "exp_avg_sq")


class MetaplasticSGD(_Metaplastic):
    """Gradient descent with the same gate: the rule with the least state, one momentum or none.

    ::

        g  = g + weight_decay · W
        M  = momentum · M + g                           M = g without momentum, and then nothing is stored
        f  = 1 - tanh(m·|W|)²  where sign(W)·M > 0, 1 elsewhere
        W  = W - lr · f · M

    Without the gate (m = 0) this is `torch.optim.SGD`. Nothing normalises the step: lr has to fit the size of the
    gradients, which differs from layer to layer.

    Args:
        params, lr, m, weight_decay, grid, seed: as for `MetaplasticAdam`.
        momentum: in [0, 1).

    Raises:
        TrainError: as for `MetaplasticAdam`.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.1,
        m: float = 0.0,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        grid: Grid | None = None,
        seed: int = 0,
    ) -> None:
        own = {"momentum": momentum}
        super().__init__(params, {"lr": lr, "m": m, **own, "weight_decay": weight_decay, "grid": grid, "seed": seed})

    def _numbers(self, group: dict[str, Any], step: int) -> dict[str, float]:
        return {"rate": group["lr"], "keep": group["momentum"]}

    def _moments(self, w: Tensor, group: dict[str, Any]) -> tuple[Tensor | None, Tensor | None]:
        return (self._zeros(w, "momentum_buffer") if group["momentum"] else None), None


def _apply(update: Update) -> None:
    """The same step in torch operations, for any dtype, device and layout."""
    w, rule = update.w, update.rule
    direction = update.g.add(w, alpha=rule.decay) if rule.decay else update.g
    if update.second is not None:
        assert update.first is not None
        update.second.mul_(rule.keep2).addcmul_(direction, direction, value=1 - rule.keep2)
        update.first.mul_(rule.keep).add_(direction, alpha=1 - rule.keep)
        direction = update.first / update.second.sqrt().add_(rule.eps)
    elif update.first is not None:
        direction = update.first.mul_(rule.keep).add_(direction)
    if rule.m:
        # sign(w) * step and not w * step: the product of two small floats can vanish and open the gate.
        toward_zero = torch.sign(w) * (direction if update.first is None else update.first) > 0
        direction = torch.where(toward_zero, consolidation(rule.m, w) * direction, direction)
    if rule.grid is None:
        w.sub_(direction, alpha=rule.rate)
    else:
        rule.grid.move_(w, rule.rate * direction, rule.seed)


def _check(settings: dict[str, Any]) -> None:
    for name in ("lr", "m", "eps", "weight_decay"):
        if name in settings and not 0 <= settings[name] < math.inf:
            raise TrainError(f"{name}={settings[name]}: must be a finite number >= 0")
    if "betas" in settings and (len(settings["betas"]) != 2 or not all(0 <= beta < 1 for beta in settings["betas"])):
        raise TrainError(f"betas={settings['betas']}: must be two numbers, each >= 0 and below 1")
    if not 0 <= settings.get("momentum", 0) < 1:
        raise TrainError(f"momentum={settings['momentum']}: must be >= 0 and below 1")
    if not isinstance(settings["seed"], int) or not 0 <= settings["seed"] < 2**63:
        raise TrainError(f"seed={settings['seed']}: must be an integer >= 0 and below 2**63")
