"""One task: `fit` a network on it, `evaluate` it, and the single `step` that everything in this room takes.

A sequence of tasks, with saves between the steps, is `metabit.train.run`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from metabit.data.task import Bytes, Labels, Task
from metabit.train.errors import DivergedError, TrainError, extra
from metabit.train.network.binarize import BinaryLinear
from metabit.train.network.module import Network
from metabit.train.rule.metaplastic import MetaplasticAdam

with extra("torch"):
    import torch
    from torch import Tensor

EVALUATE_BATCH = 1000


@dataclass(frozen=True)
class Epoch:
    """One pass over the training samples.

    Args:
        number: from 1.
        loss: mean cross-entropy of the pass, in nats, each batch before its own update.
        train_accuracy: 0..1, likewise while learning.
        test_accuracy: 0..1, after the pass.
    """

    number: int
    loss: float
    train_accuracy: float
    test_accuracy: float


@dataclass
class History:
    """What `fit` did: its finished epochs, and whether Ctrl-C ended it."""

    epochs: list[Epoch] = field(default_factory=list)
    interrupted: bool = False


def fit(
    network: Network,
    task: Task,
    *,
    epochs: int,
    batch: int = 100,
    lr: float = 0.005,
    m: float | Sequence[float] = 0.0,
    weight_decay: float = 1e-7,
    seed: int = 0,
    progress: Callable[[Epoch], None] | None = None,
) -> History:
    """Train a network on a task, in place, by cross-entropy and `MetaplasticAdam`.

    Call it again with the next task to learn that one too; every call starts fresh moments, as the paper's protocol
    does. On one machine with one number of threads, the same arguments give the same bytes on the CPU. Ctrl-C ends the
    call early and cleanly: the network keeps what it learnt. On return the network is in evaluation mode.

    Args:
        epochs: >= 1.
        batch: >= 1, with norm "batch" >= 2. The n samples are dealt into ⌈n / batch⌉ batches of nearly equal size, so
            that none is a leftover of one sample.
        lr, weight_decay: of `MetaplasticAdam`.
        m: metaplasticity, one number or one for each trained layer.
        seed: of the order of the samples.
        progress: called after every epoch.

    Raises:
        TrainError: network, task and settings do not go together.
        DivergedError: the loss or a parameter became NaN or infinite.
    """
    check(network, task.x_train, task.y_train)
    check(network, task.x_test, task.y_test)
    if epochs < 1:
        raise TrainError(f"epochs={epochs}: must be at least 1")
    batches = count_batches(network, len(task.x_train), batch)

    optimizer = MetaplasticAdam(groups(network, m), lr=lr, weight_decay=weight_decay)
    order = np.random.default_rng(seed)
    x, y = on_device(network, task.x_train), on_device(network, task.y_train)
    history = History()
    number = 0
    try:
        for epoch_number in range(1, epochs + 1):
            network.train()
            loss_sum, correct = 0.0, 0
            for chosen in np.array_split(order.permutation(len(x)), batches):
                indices = torch.from_numpy(chosen).to(x.device)
                number += 1
                loss, right = step(network, optimizer, x[indices], y[indices], number=number)
                loss_sum += loss * len(chosen)
                correct += right
            check_finite(network, optimizer, number)
            accuracy = evaluate(network, task.x_test, task.y_test)
            epoch = Epoch(epoch_number, loss_sum / len(x), correct / len(x), accuracy)
            history.epochs.append(epoch)
            if progress is not None:
                progress(epoch)
    except KeyboardInterrupt:
        history.interrupted = True
    finally:
        network.eval()
    return history


class StepPenalty(Protocol):
    """What `step` asks of a penalty (`metabit.train.penalties`)."""

    def loss(self, network: Network) -> Tensor | float: ...
    def before_step(self, network: Network) -> None: ...
    def after_step(self, network: Network) -> None: ...


class Alone:
    """The one process of a run; `metabit.train.ddp.Ranks` stands in its place where there are several.

    Attributes:
        rank: this process, from 0.
        count: how many there are.
        first: whether this is the process that writes files and prints.
    """

    rank = 0
    count = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def part(self, samples: int) -> slice:
        """Which of a batch's samples are this process's. Raises TrainError if there is not one for each process."""
        return slice(samples)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Make each tensor the sum of every process's, in place. All processes must call it with the same shapes."""


ALONE = Alone()


def step(
    network: Network,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    *,
    number: int,
    penalty: StepPenalty | None = None,
    ranks: Alone = ALONE,
) -> tuple[float, int]:
    """One training step: forward, cross-entropy (and the penalty), backward, update.

    Args:
        x, y: uint8 (batch, F) and int64 (batch,) on the network's device; the whole batch in every process.
        number: of the step, from 1, for the message if it fails.
        ranks: who shares this step.

    Returns:
        The cross-entropy in nats, and how many samples were right, both of the whole batch before the update.

    Raises:
        DivergedError: the loss is NaN or infinite; nothing was updated.
        TrainError: the batch has fewer samples than there are processes.
    """
    part = ranks.part(len(x))
    scores = network(x[part])
    # Shares of the mean over the whole batch, and of the penalty, so that their sum has each once.
    task_loss = torch.nn.functional.cross_entropy(scores, y[part]) * (len(scores) / len(x))
    loss = task_loss if penalty is None else task_loss + penalty.loss(network) / ranks.count
    right = (scores.argmax(1) == y[part]).sum()
    totals = torch.stack([loss.detach().double(), task_loss.detach().double(), right.double()])
    ranks.add_up([totals])
    whole, value, correct = totals.tolist()
    if not math.isfinite(whole):
        raise DivergedError(f"the loss is {whole} at step {number}, {_blame(network)}: lower {_lr(optimizer)}")
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    ranks.add_up([parameter.grad for parameter in network.parameters() if parameter.grad is not None])
    if penalty is not None:
        penalty.before_step(network)
    optimizer.step()
    if penalty is not None:
        penalty.after_step(network)
    return value, int(correct)


def check_finite(network: Network, optimizer: torch.optim.Optimizer, number: int) -> None:
    """A binarised weight hides a NaN from the loss, so look at the hidden ones themselves.

    Raises:
        DivergedError: a parameter is NaN or infinite after this step.
    """
    if not _finite(network):
        raise DivergedError(f"a parameter is not finite after step {number}, {_blame(network)}: lower {_lr(optimizer)}")


def count_batches(network: Network, samples: int, batch: int) -> int:
    """Into how many batches of nearly equal size the samples are dealt: ⌈samples / batch⌉, but none too small.

    Raises:
        TrainError: the batch, or the samples altogether, are fewer than the norm needs.
    """
    smallest = 2 if network.spec.norm == "batch" else 1
    if batch < smallest or samples < smallest:
        count = f"batch={batch} with {samples} training samples"
        raise TrainError(f"{count}: norm={network.spec.norm!r} needs at least {smallest} samples in a batch")
    return min(math.ceil(samples / batch), samples // smallest)


@torch.no_grad()
def evaluate(network: Network, x: Bytes, y: Labels) -> float:
    """Accuracy, 0..1, in evaluation mode; the network's mode is restored. Ties go to the lowest class.

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


def groups(network: Network, m: float | Sequence[float]) -> list[dict[str, Any]]:
    """A group for each trained layer with its own m, and one for all normalisation parameters."""
    linears = [layer.linear for layer in network.layers() if isinstance(layer.linear, BinaryLinear)]
    groups: list[dict[str, Any]] = [
        {"params": [linear.hidden], "m": value}
        for linear, value in zip(linears, network.spec.per_layer(m), strict=True)
    ]
    norms = [
        parameter for layer in network.layers() for parameter in layer.norm.parameters() if parameter.requires_grad
    ]
    return [*groups, {"params": norms, "m": 0.0}] if norms else groups


def check(network: Network, x: Bytes, y: Labels) -> None:
    """Raises TrainError unless x, uint8 (n, F), and y, int64 (n,), fit the network."""
    spec = network.spec
    if x.dtype != np.uint8 or y.dtype != np.int64:
        raise TrainError(f"x is {x.dtype} and y is {y.dtype}: must be uint8 and int64, tasks.from_arrays converts them")
    if x.ndim != 2 or x.shape[1] != spec.features or len(x) == 0:
        raise TrainError(f"x has shape {x.shape}: this network takes (samples, {spec.features})")
    if y.shape != (len(x),):
        raise TrainError(f"y has shape {y.shape}: must be ({len(x)},), one label for each sample")
    if y.min() < 0 or y.max() >= spec.classes:
        wrong = y.min() if y.min() < 0 else y.max()
        raise TrainError(f"label {wrong} does not fit: this network has classes 0 to {spec.classes - 1}")
    if spec.encode is None and spec.input == "bits" and x.max() > 1:
        raise TrainError(
            f"a feature is {x.max()}: without encode, features are bits, 0 or 1; use thermometer(x, planes)"
        )


def on_device(network: Network, array: NDArray[Any]) -> Tensor:
    """The array as a tensor where the network is; on the CPU it shares the array's memory."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(next(network.parameters()).device)


def _lr(optimizer: torch.optim.Optimizer) -> str:
    return f"lr={optimizer.param_groups[0]['lr']}"


def _finite(module: torch.nn.Module) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in module.state_dict().values())


def _blame(network: Network) -> str:
    """The first layer that holds something not finite."""
    for i, layer in enumerate(network.layers()):
        if not _finite(layer):
            return f"first in layer {i}"
    return "with every layer's parameters finite"
