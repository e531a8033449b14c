"""Rivals of the paper's rule: terms added to the loss that tie weights to their values after earlier tasks.

All act on the weights, ±1, whose squared distance from an earlier weight is 0 or 4, through the identity
straight-through estimator. Normalisation parameters are free. `metabit.train.step.step` calls a penalty in three places
of a step, and the training loop calls `end_task` once after a task.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from metabit.train.errors import TrainError, extra
from metabit.train.network.binarize import BinaryLinear, binarize_weight, sign
from metabit.train.network.norms import BatchNorm

with extra("torch"):
    import torch
    from torch import Tensor

Array = Tensor | NDArray[Any]
FISHER_BATCH = 500


class Penalty:
    """No penalty: the base class of the others.

    Args:
        strength: λ, >= 0.
        seed: of the samples and permutations that are drawn.

    Raises:
        TrainError: strength is not a finite number >= 0.
    """

    def __init__(self, strength: float = 0.0, seed: int = 0) -> None:
        if not 0 <= strength < math.inf:
            raise TrainError(f"strength={strength}: must be a finite number >= 0")
        self.strength = strength
        self.seed = seed
        self._state: dict[str, Tensor] = {}

    def loss(self, network: torch.nn.Module) -> Tensor | float:
        """Return the term to add to the loss of a step; 0.0 before the first task has ended."""
        return 0.0

    def before_step(self, network: torch.nn.Module) -> None:
        """Call this just before `optimizer.step`, after `backward`."""

    def after_step(self, network: torch.nn.Module) -> None:
        """Call this just after `optimizer.step`, before the gradients are cleared."""

    def end_task(self, network: torch.nn.Module, x: Array, y: Array) -> None:
        """Call this after the last step of a task with its training samples: x uint8 (n, F), y int64 (n,)."""

    def tensors(self) -> dict[str, Tensor]:
        """Return the state by ``kind.name of the hidden weights``; with the settings it suffices to resume."""
        return dict(self._state)

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `tensors` of an equal penalty returned."""
        self._state = {name: tensor.clone() for name, tensor in tensors.items()}


class EWC(Penalty):
    """Elastic weight consolidation on the weights Wb (Kirkpatrick et al., arXiv:1612.00796), as in the paper's code.

    After each task k it computes F_k = mean over samples of (∂ -log p(y|x) / ∂Wb)², the empirical Fisher information,
    one sample at a time, in evaluation mode with running statistics, and keeps the weights Wb_k. Then::

        loss = λ/2 Σ_k Σ F_k (Wb - Wb_k)²

    over all past tasks. A sum of quadratics in Wb is a quadratic in Wb, so two tensors hold it exactly for any number
    of tasks: Σ_k F_k and Σ_k F_k Wb_k.

    Args:
        strength: λ; the paper's is 5,000.
        samples: number drawn from the task without replacement for F, >= 1; all if the task has fewer.
        seed: of the draw.
    """

    def __init__(self, strength: float = 5000.0, samples: int = 5000, seed: int = 0) -> None:
        super().__init__(strength, seed)
        if samples < 1:
            raise TrainError(f"samples={samples}: must be at least 1")
        self.samples = samples

    def loss(self, network: torch.nn.Module) -> Tensor | float:
        total: Tensor | float = 0.0
        for name, hidden in hidden_weights(network):
            if f"fisher.{name}" not in self._state:
                continue
            fisher, pull = self._state[f"fisher.{name}"], self._state[f"pull.{name}"]
            wb = binarize_weight(hidden)
            # F (wb - anchor)² with anchor² = 1, summed over tasks; its gradient is F wb - Σ F_k Wb_k.
            total = total + self.strength / 2 * ((fisher * wb - 2 * pull) * wb + fisher).sum()
        return total

    def end_task(self, network: torch.nn.Module, x: Array, y: Array) -> None:
        tasks = max((int(value) for name, value in self._state.items() if name.startswith("tasks.")), default=0)
        generator = torch.Generator().manual_seed(self.seed + tasks)
        chosen = torch.randperm(len(x), generator=generator)[: self.samples]
        found = empirical_fisher(network, torch.as_tensor(x)[chosen], torch.as_tensor(y)[chosen])
        for name, hidden in hidden_weights(network):
            new, anchor = self._importance(found[name], generator), sign(hidden.detach())
            old = self._state.get(f"fisher.{name}", torch.zeros_like(new))
            pull = self._state.get(f"pull.{name}", torch.zeros_like(new))
            self._state[f"fisher.{name}"] = new + old
            self._state[f"pull.{name}"] = pull + new * anchor
            self._state[f"tasks.{name}"] = torch.tensor(tasks + 1)

    def _importance(self, fisher: Tensor, generator: torch.Generator) -> Tensor:
        return fisher


class RandomConsolidation(EWC):
    """Control of the paper: `EWC` whose Fisher values are permuted at random within each tensor, after every task.

    The amount of consolidation is that of EWC, but it no longer depends on the importance of a synapse.
    """

    def _importance(self, fisher: Tensor, generator: torch.Generator) -> Tensor:
        order = torch.randperm(fisher.numel(), generator=generator).to(fisher.device)
        return fisher.flatten()[order].view_as(fisher)


class SynapticIntelligence(Penalty):
    """Synaptic intelligence (Zenke, Poole, Ganguli, arXiv:1703.04200) on weights Wb, as in the paper's code.

    During a task it sums w = Σ_steps -g · ΔW, with g the gradient of the whole loss. After the task::

        ω = ω + w / (D² + damping)        D = W at the end - W at the end of the task before
        loss = λ Σ ω (Wb - Wb*)²          Wb*: signs at the end of the latest task

    W is the hidden weight. ω is not clipped: it is negative where the steps of the task increased the loss.

    Args:
        strength: λ. The paper's code names no value.
        damping: > 0; the paper's is 0.1.
    """

    def __init__(self, strength: float = 1.0, damping: float = 0.1, seed: int = 0) -> None:
        super().__init__(strength, seed)
        if not 0 < damping < math.inf:
            raise TrainError(f"damping={damping}: must be a finite number above 0")
        self.damping = damping
        self._before: dict[str, Tensor] = {}

    def loss(self, network: torch.nn.Module) -> Tensor | float:
        total: Tensor | float = 0.0
        for name, hidden in hidden_weights(network):
            omega = self._state.get(f"omega.{name}")
            if omega is not None and bool(self._state[f"tasks.{name}"] > 0):
                away = binarize_weight(hidden) - sign(self._state[f"start.{name}"])
                total = total + self.strength * (omega * away.square()).sum()
        return total

    def before_step(self, network: torch.nn.Module) -> None:
        for name, hidden in hidden_weights(network):
            w = hidden.detach()
            if f"omega.{name}" not in self._state:
                self._state[f"omega.{name}"] = torch.zeros_like(w)
                self._state[f"path.{name}"] = torch.zeros_like(w)
                self._state[f"start.{name}"] = w.clone()
                self._state[f"tasks.{name}"] = torch.tensor(0)
            self._before[name] = w.clone()

    def after_step(self, network: torch.nn.Module) -> None:
        for name, hidden in hidden_weights(network):
            if hidden.grad is None or name not in self._before:
                continue
            moved = hidden.detach() - self._before.pop(name)
            self._state[f"path.{name}"].addcmul_(hidden.grad, moved, value=-1)

    def end_task(self, network: torch.nn.Module, x: Array, y: Array) -> None:
        for name, hidden in hidden_weights(network):
            if f"omega.{name}" not in self._state:
                continue  # no step was taken
            w, start, path = hidden.detach(), self._state[f"start.{name}"], self._state[f"path.{name}"]
            self._state[f"omega.{name}"] += path / ((w - start).square() + self.damping)
            path.zero_()
            start.copy_(w)
            self._state[f"tasks.{name}"] += 1


PENALTIES: dict[str, Callable[..., Penalty]] = {
    "none": Penalty,
    "ewc": EWC,
    "si": SynapticIntelligence,
    "random": RandomConsolidation,
}
"""Name -> class. Each takes ``strength`` and ``seed``."""


def hidden_weights(network: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Yield name and hidden weights of every trained layer."""
    for name, parameter in network.named_parameters():
        if name.rpartition(".")[2] == "hidden" and parameter.requires_grad:
            yield name, parameter


def empirical_fisher(network: torch.nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Return the mean over samples of the squared gradient of -log p(y|x) by each weight, one sample at a time.

    The gradient of a dense layer for one sample is an outer product, δ ⊗ x, so the sum of its squares over a batch is
    one matrix product, (δ²)ᵀ · x². Convolutions compute each sample by itself. The network keeps its mode and gradients.
    Running statistics replace "batch" statistics, which one sample does not have.

    Args:
        x, y: uint8 (n, F) and int64 (n,), n >= 1.

    Returns:
        name of the hidden weights -> float32, their shape.
    """
    layers = {
        f"{name}.hidden" if name else "hidden": module
        for name, module in network.named_modules()
        if isinstance(module, BinaryLinear) and module.hidden.requires_grad
    }
    norms = [module for module in network.modules() if isinstance(module, BatchNorm) and module.statistics == "batch"]
    seen: dict[torch.nn.Module, tuple[Tensor, Tensor]] = {}

    def remember(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[module] = (inputs[0].detach().to(output.dtype), output)

    device = next(network.parameters()).device
    total = {name: torch.zeros_like(layer.hidden) for name, layer in layers.items()}
    was_training = network.training
    network.eval()
    hooks = [layer.register_forward_hook(remember) for layer in layers.values()]
    for norm in norms:
        norm.statistics = "running"
    try:
        for start in range(0, len(x), FISHER_BATCH):
            part = slice(start, start + FISHER_BATCH)
            with torch.enable_grad():
                scores = network(x[part].to(device))
                loss = torch.nn.functional.cross_entropy(scores, y[part].to(device), reduction="sum")
                deltas = torch.autograd.grad(loss, [seen[layer][1] for layer in layers.values()])
            for (name, layer), delta in zip(layers.items(), deltas, strict=True):
                _add_squares(total[name], layer, seen[layer][0], delta)
    finally:
        for hook in hooks:
            hook.remove()
        for norm in norms:
            norm.statistics = "batch"
        network.train(was_training)
    return {name: value / len(x) for name, value in total.items()}


def _add_squares(total: Tensor, layer: BinaryLinear, x: Tensor, delta: Tensor) -> None:
    if delta.dim() == 2:
        total.addmm_(delta.square().t(), x.square())
        return
    for i in range(len(x)):
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(layer.forward(x[i : i + 1]), layer.hidden, delta[i : i + 1])
        total.add_(gradient.square())
