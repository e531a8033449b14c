"""What stands between a layer's integer sums and the sign: four kinds of normalisation, and how tasks keep their own.

The paper's protocol gives every task its own batch normalisation, which tells the network at test which task it faces.
"static" needs no such hint: it has neither parameters nor statistics.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from metabit.train.errors import extra
from metabit.train.network.spec import NORM_EPS, Gamma, Statistics

with extra("torch"):
    import torch
    from torch import Tensor

SHARPNESS = 2.0
"""Of the softmax above graded units. In units of their standard deviation one of ten scores is 3 at most: alone that would
never make a sample certain, and hidden weights would go on growing on what is long learnt."""
PARTS = ("weight", "bias", "mean", "var")


class StaticNorm(torch.nn.Module):
    """Divide by √K, the standard deviation of a sum of K independent ±1. No parameters, no statistics."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.scale = math.sqrt(inputs)

    def forward(self, a: Tensor) -> Tensor:
        return a / self.scale


class InstanceNorm(torch.nn.Module):
    """Each sample by itself: (batch, N) over its N units, (batch, N, H, W) each channel over its pixels. Nothing is learnt."""

    def forward(self, a: Tensor) -> Tensor:
        over = (1,) if a.dim() == 2 else (2, 3)
        variance, mean = torch.var_mean(a, dim=over, correction=0, keepdim=True)
        return (a - mean) * (variance + NORM_EPS).rsqrt()


class ScoreNorm(torch.nn.Module):
    """Scores (batch, N) less their mean, in units of their standard deviation over the classes, times SHARPNESS.

    A device sees the scores above graded units so: errors then do not depend on how many units there are.
    """

    def forward(self, a: Tensor) -> Tensor:
        variance, mean = torch.var_mean(a, dim=1, correction=0, keepdim=True)
        return (a - mean) * (variance + NORM_EPS).rsqrt() * SHARPNESS


class BatchNorm(torch.nn.BatchNorm1d):
    """Batch normalisation of (batch, N) or (batch, N, H, W), with the choices that decide the paper's reproduction.

    Args:
        units: N.
        gamma_init: initial gains, see `Spec`.
        affine: if False, gains and biases stay 1 and 0 (they exist all the same: one set of names for every network).
        statistics: at test, see `Spec`. Running averages are kept either way, an export needs them.
        generator: of uniform gains.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        units: int,
        gamma_init: Gamma,
        affine: bool,
        statistics: Statistics,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(units, eps=NORM_EPS)
        self.statistics = statistics
        if affine and gamma_init == "uniform":
            torch.nn.init.uniform_(self.weight, 0.0, 1.0, generator=generator)
        self.weight.requires_grad_(affine)
        self.bias.requires_grad_(affine)

    def forward(self, a: Tensor) -> Tensor:
        if self.training or self.statistics == "running":
            return super().forward(a)
        return torch.nn.functional.batch_norm(a, None, None, self.weight, self.bias, training=True, eps=self.eps)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """(part, live tensor) in the order of `PARTS`, float32 (N,) each."""
        yield from zip(PARTS, (self.weight, self.bias, self.running_mean, self.running_var), strict=True)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in (2, 4):
            raise ValueError(f"expected (batch, N) or (batch, N, H, W), got {tuple(input.shape)}")


def snapshot(network: torch.nn.Module) -> dict[str, Tensor]:
    """Copies of all batch normalisation in a network: name -> float32 (N,); empty where there is none.

    `restore` brings them back: so a task can be tested with the normalisation it was learnt with.
    """
    return {name: tensor.detach().clone() for name, tensor in _named(network)}


@torch.no_grad()
def restore(network: torch.nn.Module, saved: dict[str, Tensor]) -> None:
    """The reverse of `snapshot`, in place."""
    for name, tensor in _named(network):
        tensor.copy_(saved[name])


def _named(network: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    for i, norm in enumerate(norms):
        for part, tensor in norm.tensors():
            yield f"{i}.{part}", tensor
