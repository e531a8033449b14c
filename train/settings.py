"""Settings of one run, and the defaults of each scenario, as plain data."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from metabit.data.task import Task, thermometer
from metabit.train.errors import TrainError
from metabit.train.network.presets import preset
from metabit.train.network.spec import Gamma, Input, Norm, Output, Spec, Statistics

GRADED_PLANES = 2
PenaltyName = Literal["none", "ewc", "si", "random"]


@dataclass(frozen=True)
class Defaults:
    """Defaults of a scenario: the paper's settings for the scenarios of the paper.

    Args:
        preset: name of the network (`metabit.train.network.presets`).
        input, planes: of the first layer. planes > 0 is a thermometer code of that many planes; with 0 the first layer
            takes the features as `Spec.input` says.
        norm, gamma_init, affine, statistics, output: see `Spec`.
        per_task_norm: True tests each task with the batch normalisation it was learnt with, as in the paper. That tells
            the network which task a sample belongs to. False has one normalisation for all tasks.
        epochs: passes over each task; with `interleaved`, over the union of all tasks. >= 1.
        batch: samples of a step, >= 1.
        lr, weight_decay: of `metabit.train.MetaplasticAdam`, >= 0.
        eps: added to the root of Adam's second moment, >= 0. A gradient that is small beside eps moves its weight
            little, so that a task which is already learnt consolidates little. A larger eps needs a larger m.
        m: metaplasticity >= 0, one number or one for each trained layer. 0 is plain Adam.
        fresh_moments: True starts the optimizer anew with each task, as in the paper. That needs the task boundaries.
        evaluate_every: epochs between evaluations, >= 1. The last epoch of a task is always evaluated.
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
    fresh_moments: bool = True
    evaluate_every: int = 1


_WHOLE = {"planes": 0, "epochs": 1, "batch": 1, "evaluate_every": 1, "seed": 0}
"""Whole numbers -> least value."""
_NUMBERS = ("lr", "weight_decay", "eps", "strength")
_FLAGS = ("affine", "per_task_norm", "fresh_moments", "interleaved", "evaluate_all")
_CHOICES: dict[str, Any] = {
    "input": Input,
    "norm": Norm,
    "gamma_init": Gamma,
    "statistics": Statistics,
    "output": Output,
    "penalty": PenaltyName,
}
_REMOVED = {
    "rule": "the only rule is MetaplasticAdam, and m=0 is plain Adam",
    "grid_bits": "train in floats and export with --bits",
    "grid_span": "train in floats and export with --bits",
    "penalty_options": "the factor of the penalty is strength",
}
"""Settings of 0.1 -> what replaces them."""


@dataclass(frozen=True)
class Settings(Defaults):
    """Everything that decides one run, besides the scenario. Equal settings give equal results on one machine.

    Args:
        hidden: units of the hidden layers in place of the preset's; None keeps the preset's.
        seed: >= 0, of everything random: order of the samples, splits, permutations, initial weights.
        penalty: "none", "ewc", "si" or "random" (`metabit.train.penalties`).
        strength: factor λ of the penalty, >= 0; None is the penalty's own default.
        interleaved: True learns the union of all tasks at once: the upper bound for a sequence of tasks.
        evaluate_all: True also tests tasks that are not yet learnt.

    Raises:
        TrainError: a value has the wrong type or is out of range.
    """

    hidden: tuple[int, ...] | None = None
    seed: int = 0
    penalty: PenaltyName = "none"
    strength: float | None = None
    interleaved: bool = False
    evaluate_all: bool = False

    def __post_init__(self) -> None:
        for row in fields(self):
            value = getattr(self, row.name)
            if isinstance(value, np.generic):
                object.__setattr__(self, row.name, value.item())
            elif isinstance(value, list):  # as in JSON
                object.__setattr__(self, row.name, tuple(value))
        if _is_whole(self.hidden):
            object.__setattr__(self, "hidden", (self.hidden,))
        for name, value in vars(self).items():
            if (rule := _rule(name, value)) is not None:
                raise TrainError(f"{name}={value!r}: must be {rule}")
        preset(self.preset)

    @staticmethod
    def of(defaults: Defaults, **changes: Any) -> Settings:
        """Return a scenario's defaults with changes. A change to None is no change.

        A changed preset also brings the settings of its row in `metabit.train.network.presets`. A change of input
        changes planes with it: "uint8" has none, and "bits" has at least one unless planes is given. Raises TrainError:
        there is no such setting, or its value is out of range.
        """
        known = [row.name for row in fields(Settings)]
        for name in changes:
            if name in _REMOVED:
                raise TrainError(f"the setting {name} was removed: {_REMOVED[name]}")
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]!r}? The settings are" if near else "the settings are"
                raise TrainError(f"unknown setting {name!r}: {hint} {', '.join(known)}")
        changes = {name: value for name, value in changes.items() if value is not None}
        brought = dict(preset(changes["preset"]).settings) if isinstance(changes.get("preset"), str) else {}
        if changes.get("input") == "uint8":
            if planes := changes.get("planes"):
                raise TrainError(f"input='uint8' with planes={planes}: planes make bits, give only one of them")
            brought["planes"] = 0
        elif changes.get("input") == "bits":
            brought["planes"] = defaults.planes or 1
        return Settings(**{**asdict(defaults), **brought, **changes})

    def spec(self, task: Task, classes: int) -> Spec:
        """Return the network for a task and all tasks with the same features, which have so many classes together."""
        row = preset(self.preset)
        graded = row.units == "graded"
        planes = self.planes or (GRADED_PLANES if graded else 0)
        encode = thermometer(task.x_train, planes)[:, 0].tolist() if planes else None
        return Spec(
            task.features, row.hidden if self.hidden is None else self.hidden, max(2, classes), encode,
            norm="static" if graded else self.norm, output="code" if graded else self.output, seed=self.seed,
            input="bits" if encode else self.input, image=task.shape, conv=row.conv, gamma_init=self.gamma_init,
            affine=self.affine, statistics=self.statistics, units=row.units,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; ``Settings(**to_dict())`` is equal."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def _rule(name: str, value: Any) -> str | None:
    """Return what a value of this setting must be if this one is not, else None."""
    fits, rule = True, ""
    if name in _WHOLE:
        fits, rule = _is_whole(value) and value >= _WHOLE[name], f"a whole number, at least {_WHOLE[name]}"
    elif name in _NUMBERS:
        fits = (_is_number(value) and 0 <= value < math.inf) or (name, value) == ("strength", None)
        rule = "a finite number >= 0"
    elif name in _FLAGS:
        fits, rule = isinstance(value, bool), "true or false"
    elif name in _CHOICES:
        fits, rule = value in get_args(_CHOICES[name]), f"one of {', '.join(get_args(_CHOICES[name]))}"
    elif name == "m":
        fits = all(map(_is_number, value if isinstance(value, tuple) else (value,)))
        rule = "a number, or a list with one for each trained layer"
    elif name == "hidden":
        fits = value is None or (isinstance(value, tuple) and all(map(_is_whole, value)))
        rule = "a list of unit counts, such as [512]"
    elif name == "preset":
        fits, rule = isinstance(value, str), "a name"
    return None if fits else rule


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


_OWN = Defaults(preset="wide-512", input="bits", planes=4, norm="batch", output="code", epochs=50, batch=100, m=25.0)
"""Network and rule of the demo: a start for small data whose network is to run on a board."""
_PAIR = Defaults(preset="mlp-512", per_task_norm=True, epochs=20, m=1.5)
_STREAM = Defaults(preset="mlp-1024", affine=False, epochs=20, m=2.5, fresh_moments=False, evaluate_every=20)
_ONE = Defaults(m=1.35)

DEFAULTS: Mapping[str, Defaults] = {
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
    """Return the defaults of a scenario by name; a scenario without a row has those for the user's own data."""
    return DEFAULTS.get(scenario) or DEFAULTS.get(scenario.rpartition(":")[0], _OWN)
