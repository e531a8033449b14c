"""One training step shared by several processes, with the result of one: data-parallel training under torchrun.

    torchrun --standalone --nproc-per-node 2 my_training.py

Every process holds the whole network and draws the same batches; `step` takes the whole batch, works on this process's
part of it, and adds up what one process would have added up: the gradients, the loss, and the sums inside batch
normalisation (torch's own SyncBatchNorm knows only GPUs). So n processes differ from one by the order of float sums
alone: in float64 the weights agree to nine digits after 50 steps. In float32 the last bit of a sum sooner or later
becomes another sign, and the two runs, equally good, part. Gloo carries it on CPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from metabit.train.errors import DivergedError, TrainError, extra
from metabit.train.loop import StepPenalty
from metabit.train.network import Network
from metabit.train.norms import BatchNorm

with extra("torch"):
    import torch
    import torch.distributed as dist
    from torch import Tensor
    from torch.distributed.nn.functional import all_reduce as _all_reduce


@dataclass(frozen=True)
class Ranks:
    """Args:
    rank: this process, from 0.
    count: how many there are.
    """

    rank: int
    count: int

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0


@contextmanager
def connected(network: Network) -> Iterator[Ranks]:
    """Join the processes that torchrun started, for the time of a with statement; alone without torchrun.

    Inside it the network's batch normalisation shares its statistics, and its tensors have been made equal to the first
    process's.

    Raises:
        TrainError: this torch was built without gloo.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks(0, 1)
        return
    if not dist.is_available() or not dist.is_gloo_available():
        raise TrainError(f"WORLD_SIZE={count}, but this torch has no gloo: start one process, without torchrun")
    dist.init_process_group("gloo")
    norms = [module for module in network.modules() if type(module) is BatchNorm]
    try:
        for tensor in network.state_dict().values():
            dist.broadcast(tensor, src=0)
        for norm in norms:
            norm.__class__ = _SharedBatchNorm  # the same tensors, another way to sum them
        yield Ranks(dist.get_rank(), count)
    finally:
        for norm in norms:
            norm.__class__ = BatchNorm
        dist.destroy_process_group()


def step(
    network: Network,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    *,
    number: int,
    penalty: StepPenalty | None = None,
) -> tuple[float, int]:
    """`metabit.train.loop.step` by all processes together: same arguments, same results, the whole batch in each.

    Args:
        x, y: uint8 (batch, F) and int64 (batch,), the same in every process; batch >= the number of processes.
        number: of the step, from 1, for the message if it fails.

    Returns:
        The mean cross-entropy of the whole batch in nats, and how many of it were right, both before the update.

    Raises:
        DivergedError: the loss is NaN or infinite; nothing was updated.
        TrainError: the batch has fewer samples than there are processes.
    """
    rank, count = dist.get_rank(), dist.get_world_size()
    if len(x) < count:
        raise TrainError(f"a batch of {len(x)} for {count} processes: give each at least one sample")
    part = slice(len(x) * rank // count, len(x) * (rank + 1) // count)
    scores = network(x[part])
    task_loss = torch.nn.functional.cross_entropy(scores, y[part], reduction="sum") / len(x)
    totals = torch.stack([task_loss.detach().double(), (scores.argmax(1) == y[part]).sum().double()])
    dist.all_reduce(totals)
    if not torch.isfinite(totals[0]):
        raise DivergedError(f"the loss is {totals[0].item()} at step {number}: lower the step size lr")
    # each process adds its share of the penalty, so that the sum has it once
    loss = task_loss if penalty is None else task_loss + penalty.loss(network) / count
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    _add_up([parameter.grad for parameter in network.parameters() if parameter.grad is not None])
    if penalty is not None:
        penalty.before_step(network)
    optimizer.step()
    if penalty is not None:
        penalty.after_step(network)
    return float(totals[0]), int(totals[1])


def _add_up(gradients: list[Tensor]) -> None:
    """In place, all in one message."""
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


class _SharedBatchNorm(BatchNorm):
    """`BatchNorm` whose training statistics are those of all processes' samples together."""

    def forward(self, a: Tensor) -> Tensor:
        if not self.training:
            return super().forward(a)
        over = [0, *range(2, a.dim())]
        shape = [1, -1, *[1] * (a.dim() - 2)]
        samples = torch.tensor(float(a.numel() // a.shape[1]), dtype=a.dtype)
        dist.all_reduce(samples)
        mean = _sum(a.sum(over)) / samples
        centred = a - mean.view(shape)
        variance = _sum(centred.square().sum(over)) / samples
        with torch.no_grad():
            momentum = 0.1 if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * samples / (samples - 1), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        gain = self.weight * (variance + self.eps).rsqrt()
        y: Tensor = centred * gain.view(shape) + self.bias.view(shape)
        return y


def _sum(part: Tensor) -> Tensor:
    """Over all processes, with a gradient: what flows back is summed as well."""
    whole: Tensor = _all_reduce(part)  # type: ignore[no-untyped-call]
    return whole
