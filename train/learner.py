"""From settings to what moves the weights: the optimizer of a rule, with its grid and its penalty."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from metabit.train.errors import TrainError, extra
from metabit.train.loop import groups
from metabit.train.network.binarize import BinaryLinear
from metabit.train.network.module import Network
from metabit.train.resume_file import load_optimizer_state
from metabit.train.rule.grid import Grid
from metabit.train.rule.metaplastic import MetaplasticAdam, MetaplasticSGD
from metabit.train.settings import Defaults, Settings

with extra("torch"):
    import torch
    from torch import Tensor

if TYPE_CHECKING:
    from metabit.train.penalties import Penalty


def optimizer(network: Network, settings: Settings, task: int = 0) -> torch.optim.Optimizer:
    """A new optimizer for a rule by name, with m and the grid spread over the layers.

    Args:
        task: where it starts; only the roundings of a grid depend on it.

    Raises:
        TrainError: m does not fit the layers, or a number is out of range.
    """
    parts = groups(network, 0.0 if settings.rule == "plain" else settings.m)
    if settings.grid_bits is not None:
        for i, part in enumerate(parts[: network.spec.trained]):
            part["grid"] = _grid(i, part["m"], settings.grid_bits, settings.grid_span)
    # A fresh optimizer counts its steps anew: the task keeps its roundings from being those of the one before.
    seed = settings.seed ^ task << 40
    if settings.rule == "metaplastic-sgd":
        if settings.eps != Defaults.eps:
            raise TrainError(f"eps={settings.eps} with rule='metaplastic-sgd': eps is Adam's, leave it out")
        return MetaplasticSGD(parts, lr=settings.lr, weight_decay=settings.weight_decay, seed=seed)
    return MetaplasticAdam(parts, lr=settings.lr, weight_decay=settings.weight_decay, eps=settings.eps, seed=seed)


def _grid(layer: int, m: float, bits: int, span: float | None) -> Grid:
    if span is not None:
        return Grid.of((bits, span / 2 ** (bits - 1)))
    if m == 0:
        raise TrainError(f"grid_bits={bits} with m=0 in layer {layer}: say where the grid ends with grid_span")
    return Grid.reaching(bits, m)


class Learner:
    """Optimizer and penalty of one run, renewed and saved together.

    Attributes:
        hidden: the hidden weights of every trained layer, first to last.
        optimizer: the present one.
        penalty: None if there is none, so that a step does not pay for it.
    """

    def __init__(self, network: Network, settings: Settings) -> None:
        self.network, self.settings = network, settings
        self.hidden = [layer.linear.hidden for layer in network.layers() if isinstance(layer.linear, BinaryLinear)]
        self.penalty = _penalty(settings)
        self.optimizer = optimizer(network, settings)

    def fresh(self, task: int) -> None:
        """Forget the moments; `task` is about to begin."""
        self.optimizer = optimizer(self.network, self.settings, task)

    def end_task(self, x: Tensor, y: Tensor) -> None:
        if self.penalty is not None:
            self.penalty.end_task(self.network, x, y)

    def penalty_tensors(self) -> dict[str, Tensor]:
        return {} if self.penalty is None else self.penalty.tensors()

    def load(
        self, task: int, moments: Mapping[str, Tensor], numbers: Mapping[str, Any], penalty: Mapping[str, Tensor]
    ) -> None:
        """What was saved, in this task, of a learner with the same settings."""
        if self.settings.fresh_moments:
            self.fresh(task)
        load_optimizer_state(self.optimizer, moments, numbers)
        if self.penalty is not None:
            self.penalty.load_tensors(dict(penalty))


def _penalty(settings: Settings) -> Penalty | None:
    if settings.penalty == "none":
        return None
    from metabit.train.penalties import PENALTIES

    makers: Mapping[str, Callable[..., Penalty]] = PENALTIES
    if settings.penalty not in makers:
        raise TrainError(f"unknown penalty {settings.penalty!r}: there are {', '.join(makers)}")
    try:
        return makers[settings.penalty](seed=settings.seed, **settings.penalty_options)
    except TypeError as error:
        raise TrainError(f"penalty {settings.penalty!r} does not take these options ({error})") from None
