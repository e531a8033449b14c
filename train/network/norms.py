"""Normalisations between a layer's accumulators and its activation, and copies of them for each task.

The paper's protocol gives every task its own batch normalisation, which tells the network which task a sample is from.
"static" needs no such information: it has neither parameters nor statistics.
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
"""Factor of the scores above graded units. Normalised, the highest of ten scores is at most 3. Without the factor the
softmax would never be certain of a sample, and hidden weights would grow without end."""
PARTS = ("weight", "bias", "mean", "var")


class StaticNorm(torch.nn.Module):
    """Divide by √K, the standard deviation of a sum of K independent ±1. No parameters, no statistics."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.scale = math.sqrt(inputs)

    def forward(self, a: Tensor) -> Tensor:
        return a / self.scale


class InstanceNorm(torch.nn.Module):
    """Normalise each sample by itself: (batch, N) over the units, (batch, N, H, W) each channel over its pixels."""

    def forward(self, a: Tensor) -> Tensor:
        variance, mean = torch.var_mean(a, dim=1 if a.dim() == 2 else (2, 3), correction=0, keepdim=True)
        return (a - mean) * (variance + NORM_EPS).rsqrt()


class ScoreNorm(InstanceNorm):
    """Subtract the mean of the scores (batch, N) over the classes, divide by their standard deviation, times SHARPNESS.

    The device normalises the scores above graded units in this way, so that errors do not depend on the number of units.
    """

    def forward(self, a: Tensor) -> Tensor:
        return super().forward(a) * SHARPNESS


class BatchNorm(torch.nn.BatchNorm1d):
    """Batch normalisation of (batch, N) or (batch, N, H, W), with the options of the paper's experiments.

    Args:
        units: N.
        gamma_init: initial gains, see `Spec`.
        affine: False keeps gains and biases at 1 and 0; the parameters exist in both cases.
        statistics: at test, see `Spec`. Running averages are always kept; export needs them.
        generator: draws uniform gains.
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
        """Yield part and live tensor in the order of `PARTS`, float32 (N,) each."""
        yield from zip(PARTS, (self.weight, self.bias, self.running_mean, self.running_var), strict=True)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in (2, 4):
            raise ValueError(f"expected (batch, N) or (batch, N, H, W), got {tuple(input.shape)}")


def snapshot(network: torch.nn.Module) -> dict[str, Tensor]:
    """Return copies of all batch normalisations in a network: name -> float32 (N,); {} if it has none.

    `restore` writes them back, so that a task can be tested with the normalisation it was learnt with.
    """
    return {name: tensor.detach().clone() for name, tensor in _named(network)}


@torch.no_grad()
def restore(network: torch.nn.Module, saved: dict[str, Tensor]) -> None:
    """Copy into the network what `snapshot` returned."""
    for name, tensor in _named(network):
        tensor.copy_(saved[name])


def _named(network: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    for i, norm in enumerate(norms):
        for part, tensor in norm.tensors():
            yield f"{i}.{part}", tensor
