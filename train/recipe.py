"""The default training: any numbers and labels -> an encoder and a network of normed gates.

    found = fit_recipe(x, y)                 # x float (n, F) of any scale, y int (n,)
    labels = found.predict(x_test)

Encoder and network are those of `metabit.data.encoder` and `metabit.train.network.normed_gates`. Training is Adam with a
rate that falls to 0 along a cosine, on the cross-entropy of smoothed labels, without metaplasticity: one task is
learnt. A network that shall learn further tasks is trained with m > 0 (`metabit.train.loop`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.encoder import Encoder
from metabit.train.errors import DivergedError, TrainError, extra
from metabit.train.network.normed_gates import NormedGates
from metabit.train.rule.metaplastic import MetaplasticAdam

with extra("torch"):
    import torch
    from torch import Tensor

BATCH = 64
RATE = 0.01
SMOOTHING = 0.05
STEPS, PASSES = 1000, 20
"""A training takes the larger of 1000 steps and 20 passes over the data."""
_CHUNK = 4096  # samples evaluated at a time


@dataclass(frozen=True, eq=False)
class Trained:
    """What `fit_recipe` gives.

    Args:
        encoder: fitted on the training part.
        network: in evaluation mode; its normalisation holds the mean and variance of all training samples.
        losses: float32 (steps,), mean loss of each batch.
    """

    encoder: Encoder
    network: NormedGates
    losses: NDArray[np.float32]

    @torch.no_grad()
    def scores(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Numbers (n, F) -> float32 (n, classes).

        Raises:
            DataError: features that the encoder refuses (`Encoder.quantise`).
        """
        bits = torch.from_numpy(self.encoder.to_bits(x))
        scores: NDArray[np.float32] = torch.cat([self.network(part) for part in bits.split(_CHUNK)]).numpy()
        return scores

    def predict(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """Numbers (n, F) -> int64 (n,), the class with the highest score. Raises as `scores`."""
        return self.scores(x).argmax(1)


def fit_recipe(
    x: NDArray[Any],
    y: NDArray[Any],
    *,
    classes: int | None = None,
    units: int = 64,
    bits: int = 5,
    planes: int | None = None,
    steps: int | None = None,
    rate: float = RATE,
    smoothing: float = SMOOTHING,
    seed: int = 0,
    encoder: Encoder | None = None,
) -> Trained:
    """Train a network of normed gates.

    Args:
        x: numbers (n, F) of any dtype and scale, n >= 2.
        y: whole numbers (n,), 0 to classes - 1.
        classes: C >= 2; None for one more than the highest label.
        units: gates of the hidden layer.
        bits: of an output level, 2..8.
        planes: thresholds a feature, 1..8; None for `Encoder.fit`'s choice.
        steps: batches; None for the larger of 1000 and 20 passes.
        rate: of Adam at the first step.
        smoothing: share of the label that is spread over all classes, 0 <= smoothing < 1.
        seed: of weights and order.
        encoder: fitted before; None to fit one on x.

    Raises:
        DataError: x cannot be encoded.
        TrainError: labels, sizes or settings out of range.
        DivergedError: the loss is not finite.
    """
    encoder = encoder or Encoder.fit(x, planes)
    inputs = torch.from_numpy(encoder.to_bits(x))
    labels, classes = _labels(y, len(inputs), classes)
    if steps is not None and steps < 1 or not 0 < rate < math.inf or not 0 <= smoothing < 1:
        found = f"steps={steps}, rate={rate}, smoothing={smoothing}"
        raise TrainError(f"{found}: steps must be >= 1, rate a number above 0, smoothing from 0 to below 1")
    network = NormedGates(encoder.bits, units, classes, bits, seed)
    total = steps or max(STEPS, PASSES * math.ceil(len(inputs) / BATCH))
    losses = _train(network, inputs, labels, total, rate, smoothing, np.random.default_rng(seed))
    _set_norm(network, inputs)
    return Trained(encoder, network.eval(), losses)


def _train(
    network: NormedGates,
    inputs: Tensor,
    labels: Tensor,
    total: int,
    rate: float,
    smoothing: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Batches of nearly equal size, at most 64 samples each, in a new order in every pass."""
    optimizer = MetaplasticAdam(network.parameters(), lr=rate)
    losses = np.empty(total, dtype=np.float32)
    batches: list[NDArray[np.int64]] = []
    network.train()
    for step in range(total):
        if not batches:
            batches = np.array_split(rng.permutation(len(inputs)), math.ceil(len(inputs) / BATCH))
        chosen = torch.from_numpy(batches.pop())
        for group in optimizer.param_groups:
            group["lr"] = rate * (0.5 + 0.5 * math.cos(math.pi * step / total))
        scores = network(inputs[chosen].to(torch.float32))
        loss = torch.nn.functional.cross_entropy(scores, labels[chosen], label_smoothing=smoothing)
        losses[step] = loss.item()
        if not math.isfinite(losses[step]):
            raise DivergedError(f"the loss of step {step + 1} is {losses[step]}: lower rate={rate}")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return losses


@torch.no_grad()
def _set_norm(network: NormedGates, inputs: Tensor) -> None:
    """Put the mean and variance of the sums over all samples in place of the averages that training kept."""
    total = torch.zeros(2, network.linear.hidden.shape[0], dtype=torch.float64)
    for part in inputs.split(_CHUNK):
        sums = network.sums(part).to(torch.float64)
        total += torch.stack([sums.sum(0), sums.square().sum(0)])
    mean, square = total / len(inputs)
    network.norm.running_mean.copy_(mean)  # type: ignore[union-attr]
    network.norm.running_var.copy_(square - mean.square())  # type: ignore[union-attr]


def _labels(y: NDArray[Any], samples: int, classes: int | None) -> tuple[Tensor, int]:
    y = np.asarray(y)
    if y.shape != (samples,) or y.dtype.kind not in "iub" or samples < 2:
        raise TrainError(f"labels of shape {y.shape}, {y.dtype}, for {samples} samples: give whole numbers, 2 or more")
    found = int(y.max()) + 1
    classes = found if classes is None else classes
    if classes < 2 or y.min() < 0 or found > classes:
        raise TrainError(f"labels from {y.min()} to {y.max()} of {classes} classes: must be from 0 to classes - 1 >= 1")
    return torch.from_numpy(y.astype(np.int64)), classes
