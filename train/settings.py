"""How an experiment is run, as plain data: a scenario's named defaults, and the settings of one run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from metabit.data.task import Task, thermometer
from metabit.train.errors import TrainError
from metabit.train.network.presets import preset
from metabit.train.network.spec import Gamma, Input, Norm, Output, Spec, Statistics

GRADED_PLANES = 2
Rule = Literal["metaplastic", "metaplastic-sgd", "plain"]


@dataclass(frozen=True)
class Defaults:
    """The defaults of a scenario: the paper's, where the paper has it.

    Args:
        preset: name of the network (`metabit.train.network.presets`).
        input, planes: of the first layer. planes > 0 is a thermometer of so many planes; 0 takes the features as
            `Spec.input` says.
        norm, gamma_init, affine, statistics, output: see `Spec`.
        per_task_norm: whether each task is tested with the batch normalisation it was learnt with. That tells the network
            at test which task it faces, as in the paper; False is one for all.
        epochs: over each task; interleaved, over the union of all.
        batch: samples a step.
        lr, weight_decay: of the rule.
        eps: of Adam, added to the root of the second moment. Gradients that are small beside it move little: what a task
            no longer needs to learn, it no longer consolidates (and m must be larger).
        m: metaplasticity, one number or one for each trained layer.
        rule: "metaplastic" is the paper's Adam, "metaplastic-sgd" SGD with the same gate, "plain" Adam with m = 0.
        fresh_moments: whether the optimizer starts anew with each task: a hint of the boundaries, as in the paper.
        evaluate_every: epochs between evaluations; the last epoch of a task is always evaluated.
    """

    preset: str = "mlp-512"
    input: Input = "uint8"
    planes: int = 0
    norm: Norm = "batch"
    gamma_init: Gamma = "ones"
    affine: bool = True
    statistics: Statistics = "running"
    output: Output = "learned"
    per_task_norm: bool = False
    epochs: int = 10
    batch: int = 100
    lr: float = 0.005
    weight_decay: float = 1e-7
    eps: float = 1e-8
    m: float | tuple[float, ...] = 0.0
    rule: Rule = "metaplastic"
    fresh_moments: bool = True
    evaluate_every: int = 1


@dataclass(frozen=True)
class Settings(Defaults):
    """Everything that decides one run, besides the scenario. Equal settings give equal results on one machine.

    Args:
        hidden: units of the hidden layers in place of the preset's; None keeps them.
        seed: of everything random: data order, splits, permutations, initial weights, roundings.
        penalty: "none", "ewc", "si" or "random" (`metabit.train.penalties`), with its options.
        interleaved: learn the union of all tasks at once: the upper bound that no sequence reaches.
        grid_bits: k, 2..8: train on the k-bit grid that the device has; None trains in floats.
        grid_span: the largest hidden weight on the grid; None is 3/m of the layer, where the gate has closed
            to 1 %.
        evaluate_all: also test on tasks not yet seen.
    """

    hidden: tuple[int, ...] | None = None
    seed: int = 0
    penalty: str = "none"
    penalty_options: Mapping[str, float] = field(default_factory=dict)
    interleaved: bool = False
    grid_bits: int | None = None
    grid_span: float | None = None
    evaluate_all: bool = False

    def __post_init__(self) -> None:
        for name, least in (("planes", 0), ("epochs", 1), ("batch", 1), ("evaluate_every", 1), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise TrainError(f"{name}={value!r}: must be a whole number, at least {least}")
        if self.rule not in get_args(Rule):
            raise TrainError(f"rule={self.rule!r}: must be one of {', '.join(get_args(Rule))}")
        if self.grid_bits is not None and not 2 <= self.grid_bits <= 8:
            raise TrainError(f"grid_bits={self.grid_bits}: must be from 2 to 8")
        if self.grid_span is not None and not 0 < self.grid_span < math.inf:
            raise TrainError(f"grid_span={self.grid_span}: must be a finite number above 0")
        for name in ("hidden", "m"):  # as JSON has lists
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        preset(self.preset)

    @staticmethod
    def of(defaults: Defaults, **changes: Any) -> Settings:
        """A scenario's defaults with changes; a change to None is none.

        Raises:
            TrainError: there is no such setting, or its value is out of range.
        """
        known = [row.name for row in fields(Settings)]
        for name in changes:
            if name not in known:
                raise TrainError(f"unknown setting {name!r}: there are {', '.join(known)}")
        return Settings(**{**asdict(defaults), **{name: value for name, value in changes.items() if value is not None}})

    def spec(self, task: Task, classes: int) -> Spec:
        """The network for a task, and all tasks like it."""
        row = preset(self.preset)
        graded = row.units == "graded"
        planes = self.planes or (GRADED_PLANES if graded else 0)
        encode = thermometer(task.x_train, planes)[:, 0].tolist() if planes else None
        return Spec(
            features=task.features,
            hidden=row.hidden if self.hidden is None else self.hidden,
            classes=max(2, classes),
            encode=encode,
            norm="static" if graded else self.norm,
            output="code" if graded else self.output,
            seed=self.seed,
            input="bits" if encode else self.input,
            image=task.shape,
            conv=row.conv,
            gamma_init=self.gamma_init,
            affine=self.affine,
            statistics=self.statistics,
            units=row.units,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; ``Settings(**to_dict())`` is equal."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


_OWN = Defaults(preset="wide-512", input="bits", planes=4, norm="batch", output="code", epochs=50, batch=100, m=25.0)
"""The demo's network and rule: a start for small data that is to end on a board."""
_PAIR = Defaults(preset="mlp-512", per_task_norm=True, epochs=20, m=1.5)
_STREAM = Defaults(preset="mlp-1024", affine=False, epochs=20, m=2.5, fresh_moments=False, evaluate_every=20)
_ONE = Defaults(m=1.35)

DEFAULTS: dict[str, Defaults] = {
    "permuted-mnist": Defaults(preset="mlp-512", per_task_norm=True, epochs=10, m=2.0),
    "mnist-fashion": _PAIR,
    "fashion-first": _PAIR,
    "mnist-usps": Defaults(
        preset="conv-mnist", input="bits", planes=1, affine=False, statistics="batch", epochs=240, batch=20,
        m=1.2, weight_decay=1e-8, fresh_moments=False, evaluate_every=10,
    ),
    "stream-fashion": _STREAM,
    "stream-cifar10": Defaults(
        preset="conv-cifar", epochs=20, batch=64, lr=1e-3, weight_decay=0.0, m=13.0, fresh_moments=False,
        evaluate_every=20,
    ),
    "watch": Defaults(preset="wide-512", planes=8, output="code", epochs=20, m=10.0),
    "mnist": _ONE,
    "fashion": _ONE,
}  # fmt: skip
"""Scenario name -> its defaults."""


def defaults(scenario: str) -> Defaults:
    """The defaults of a scenario by name; those for the user's own data where it has no row in `DEFAULTS`."""
    return DEFAULTS.get(scenario) or DEFAULTS.get(scenario.rpartition(":")[0], _OWN)
