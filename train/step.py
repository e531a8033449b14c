"""Single steps on one network: the training step, the evaluation, and the checks that data and network fit together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.task import Bytes, Labels
from metabit.train.errors import DivergedError, TrainError, extra
from metabit.train.network.module import Network
from metabit.train.penalties import Penalty

with extra("torch"):
    import torch
    from torch import Tensor

EVALUATE_BATCH = 1000
"""Samples of one forward pass of `evaluate`."""


def step(
    network: Network, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, *, number: int, penalty: Penalty
) -> tuple[float, int]:
    """Take one training step: forward, cross-entropy and penalty, backward, update.

    Args:
        x, y: one batch, uint8 (batch, F) and int64 (batch,), on the network's device.
        number: of the step, from 1, for the error message.

    Returns:
        Cross-entropy of the batch before the update, in nats, and the number of correct predictions.

    Raises:
        DivergedError: the loss is NaN or infinite; nothing was updated.
    """
    scores = network(x)
    task_loss = torch.nn.functional.cross_entropy(scores, y)
    loss = task_loss + penalty.loss(network)
    if not bool(torch.isfinite(loss)):
        raise DivergedError(f"the loss is {loss.item()} at step {number}, {_blame(network)}: lower {_lr(optimizer)}")
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    penalty.before_step(network)
    optimizer.step()
    penalty.after_step(network)
    return task_loss.item(), int((scores.argmax(1) == y).sum())


def check_finite(network: Network, optimizer: torch.optim.Optimizer, number: int) -> None:
    """Raise DivergedError if a parameter is NaN or infinite: the loss depends on signs only, which hide a NaN."""
    if not _finite(network):
        raise DivergedError(f"a parameter is not finite after step {number}, {_blame(network)}: lower {_lr(optimizer)}")


def count_batches(network: Network, samples: int, batch: int) -> int:
    """Return the number of batches of nearly equal size: ⌈samples / batch⌉, but fewer if one would be too small.

    Raises TrainError if the batch, or the number of samples, is smaller than the norm needs.
    """
    smallest = 2 if network.spec.norm == "batch" else 1
    if batch < smallest or samples < smallest:
        count = f"batch={batch} with {samples} training samples"
        raise TrainError(f"{count}: norm={network.spec.norm!r} needs at least {smallest} samples in a batch")
    return min(math.ceil(samples / batch), samples // smallest)


@torch.no_grad()
def evaluate(network: Network, x: Bytes, y: Labels) -> float:
    """Return the accuracy, 0..1, in evaluation mode; a tie predicts the lowest class. The network's mode is restored.

    Args:
        x: uint8 (n, F).
        y: int64 (n,).

    Raises:
        TrainError: x or y do not fit the network.
    """
    check(network, x, y)
    was_training = network.training
    network.eval()
    correct = 0
    for start in range(0, len(x), EVALUATE_BATCH):
        part = slice(start, start + EVALUATE_BATCH)
        predicted = network(on_device(network, x[part])).argmax(1)
        correct += int((predicted == on_device(network, y[part])).sum())
    network.train(was_training)
    return correct / len(x)


def check(network: Network, x: Bytes, y: Labels) -> None:
    """Raise TrainError unless x, uint8 (n, F), and y, int64 (n,), fit the network."""
    spec = network.spec
    if x.dtype != np.uint8 or y.dtype != np.int64:
        found = f"x is {x.dtype} and y is {y.dtype}"
        raise TrainError(f"{found}: must be uint8 and int64, metabit.data.from_arrays converts them")
    if x.ndim != 2 or x.shape[1] != spec.features or len(x) == 0:
        raise TrainError(f"x has shape {x.shape}: this network takes (samples, {spec.features})")
    if y.shape != (len(x),):
        raise TrainError(f"y has shape {y.shape}: must be ({len(x)},), one label for each sample")
    if y.min() < 0 or y.max() >= spec.classes:
        wrong = y.min() if y.min() < 0 else y.max()
        raise TrainError(f"label {wrong} does not fit: this network has classes 0 to {spec.classes - 1}")
    if spec.encode is None and spec.input == "bits" and x.max() > 1:
        found = f"a feature is {x.max()}: without encode, features are bits, 0 or 1"
        raise TrainError(f"{found}; use thermometer(x, planes)")


def on_device(network: Network, array: NDArray[Any]) -> Tensor:
    """Return the array as a tensor on the network's device; on the CPU it shares the array's memory."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(next(network.parameters()).device)


def _lr(optimizer: torch.optim.Optimizer) -> str:
    return f"lr={optimizer.param_groups[0]['lr']}"


def _finite(module: torch.nn.Module) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in module.state_dict().values())


def _blame(network: Network) -> str:
    """Name the first layer that holds a number that is not finite."""
    for i, layer in enumerate(network.layers()):
        if not _finite(layer):
            return f"first in layer {i}"
    return "with every layer's parameters finite"
