"""One training step shared by several processes, with the result of one: data-parallel training under torchrun.

    torchrun --standalone --nproc-per-node 2 my_training.py

Every process holds the whole network and draws the same batches; `metabit.train.loop.step` takes the whole batch and
these `Ranks`, works on this process's part of it, and adds up what one process would have added up: the gradients, the
loss, and the sums inside batch normalisation (torch's own SyncBatchNorm knows only GPUs). So n processes differ from
one by the order of float sums alone: in float64 the weights agree to nine digits after 50 steps. In float32 the last
bit of a sum sooner or later becomes another sign, and the two runs, equally good, part. Gloo carries it on CPUs.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from metabit.train.errors import TrainError, extra
from metabit.train.loop import Alone
from metabit.train.network.module import Network
from metabit.train.network.norms import BatchNorm

with extra("torch"):
    import torch
    import torch.distributed as dist
    from torch import Tensor
    from torch.autograd.function import once_differentiable


_connections = itertools.count()


class Ranks(Alone):
    """This process among those that torchrun started: what `metabit.train.loop.step` shares its work with."""

    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count = rank, count

    def part(self, samples: int) -> slice:
        if samples < self.count:
            raise TrainError(f"a batch of {samples} for {self.count} processes: give each at least one sample")
        return slice(samples * self.rank // self.count, samples * (self.rank + 1) // self.count)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        flat = torch.cat([tensor.flatten() for tensor in tensors])  # one message for all
        dist.all_reduce(flat)
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()


@contextmanager
def connected(network: Network) -> Iterator[Alone]:
    """Join the processes that torchrun started, for the time of a with statement; alone without torchrun.

    Inside it the network's batch normalisation shares its statistics, and its tensors have been made equal to the first
    process's.

    Raises:
        TrainError: this torch was built without gloo.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Alone()
        return
    if not dist.is_available() or not dist.is_gloo_available():
        raise TrainError(f"WORLD_SIZE={count}, but this torch has no gloo: start one process, without torchrun")
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]
    from torch.distributed.rendezvous import rendezvous

    store, rank, count = next(rendezvous("env://"))
    # A group of its own in the store: a process that connects again would read the last group's addresses there.
    store = PrefixStore(f"metabit/{next(_connections)}", store)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count)
    norms = [module for module in network.modules() if type(module) is BatchNorm]
    try:
        for tensor in network.state_dict().values():
            dist.broadcast(tensor, src=0)
        for norm in norms:
            norm.__class__ = _SharedBatchNorm  # the same tensors, another way to sum them
        yield Ranks(rank, count)
    finally:
        for norm in norms:
            norm.__class__ = BatchNorm
        dist.destroy_process_group()


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


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        whole = part.clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        whole = grads[0].clone()
        dist.all_reduce(whole)
        return whole


def _sum(part: Tensor) -> Tensor:
    """Over all processes, with a gradient: what flows back is summed as well."""
    whole: Tensor = _Sum.apply(part)  # type: ignore[no-untyped-call]
    return whole
