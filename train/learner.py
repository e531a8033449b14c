"""The optimizer and the penalty of one run, made from its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from metabit.train.errors import TrainError, extra
from metabit.train.network.binarize import BinaryLinear
from metabit.train.network.module import Network
from metabit.train.resume_file import load_optimizer_state
from metabit.train.rule.metaplastic import MetaplasticAdam
from metabit.train.settings import Settings

with extra("torch"):
    from torch import Tensor

if TYPE_CHECKING:
    from metabit.train.penalties import Penalty


class Learner:
    """Optimizer and penalty of one run, renewed and saved together.

    Attributes:
        hidden: hidden weights of every trained layer, first to last.
        optimizer: the present optimizer.
        penalty: None if the settings have none, so that a step does not pay for it.

    Raises:
        TrainError: m does not fit the layers, or a setting is out of range.
    """

    def __init__(self, network: Network, settings: Settings) -> None:
        self.network, self.settings = network, settings
        self.hidden = [layer.linear.hidden for layer in network.layers() if isinstance(layer.linear, BinaryLinear)]
        self.penalty = _penalty(settings)
        self.renew()

    def renew(self) -> None:
        """Replace the optimizer by a new one, with moments of zero. Each trained layer is a group with its own m."""
        layers = self.network.layers()
        groups: list[dict[str, Any]] = [
            {"params": [hidden], "m": m}
            for hidden, m in zip(self.hidden, self.network.spec.per_layer(self.settings.m), strict=True)
        ]
        norms = [parameter for layer in layers for parameter in layer.norm.parameters() if parameter.requires_grad]
        if norms:
            groups.append({"params": norms, "m": 0.0})
        s = self.settings
        self.optimizer = MetaplasticAdam(groups, lr=s.lr, weight_decay=s.weight_decay, eps=s.eps)

    def end_task(self, x: Tensor, y: Tensor) -> None:
        """Give the penalty the training samples of the finished task: uint8 (n, F) and int64 (n,)."""
        if self.penalty is not None:
            self.penalty.end_task(self.network, x, y)

    def penalty_tensors(self) -> dict[str, Tensor]:
        """State of the penalty; {} if there is none."""
        return {} if self.penalty is None else self.penalty.tensors()

    def load(self, moments: Mapping[str, Tensor], numbers: Mapping[str, Any], penalty: Mapping[str, Tensor]) -> None:
        """Restore the state of a learner with equal settings."""
        load_optimizer_state(self.optimizer, moments, numbers)
        if self.penalty is not None:
            self.penalty.load_tensors(dict(penalty))


def _penalty(settings: Settings) -> Penalty | None:
    if settings.penalty == "none":
        return None
    from metabit.train.penalties import PENALTIES

    if settings.penalty not in PENALTIES:
        raise TrainError(f"unknown penalty {settings.penalty!r}: there are {', '.join(PENALTIES)}")
    options = {} if settings.strength is None else {"strength": settings.strength}
    return PENALTIES[settings.penalty](seed=settings.seed, **options)
