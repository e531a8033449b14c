"""Floats live here: arrays in, `checkpoint.safetensors` out.

A synapse is a float *hidden weight*; the network only ever sees its sign. Training pushes the hidden weight up and
down, and the further it is from zero the harder it is to bring back: that is metaplasticity (Laborieux et al.,
"Synaptic Metaplasticity in Binarized Neural Networks", arXiv:2003.03533), and what lets a binary network learn a
second task without losing the first. The story in the order of the files::

    network/        spec.py, the shape of a network as validated JSON; module.py, the spec as a torch module whose
                    accumulators are exact integers; binarize.py, signs and straight-through gradients
    rule/           metaplastic.py, the paper's optimizer for anybody's loop; fused.py, its native pass
    loop.py         the loop over one task: fit, evaluate
    settings.py     the settings of a run, and the defaults of each scenario
    run.py          the loop over the tasks, which can stop and go on to the same bytes
    checkpoint.py   the door to the next room

In short::

    from metabit import data, train

    task = data.load("digits").task(0)
    thresholds = data.thermometer(task.x_train, planes=4)
    spec = train.Spec(features=64, hidden=(512,), classes=10, encode=thresholds, norm="static", output="code")
    network = train.Network(spec)
    history = train.fit(network, task, epochs=10, m=48)
    train.save("checkpoint.safetensors", network, rule=train.Rule.of(spec, m=48), history=history)
    assert train.load_checkpoint("checkpoint.safetensors").spec == spec

Importing this package needs nothing that is not in the core install. Names that need torch load it on first use, and
say how to install it if it is not there.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metabit.train.checkpoint import Checkpoint, Rule, save
    from metabit.train.checkpoint import load as load_checkpoint
    from metabit.train.errors import DivergedError, MissingExtraError, TrainError
    from metabit.train.loop import History, evaluate, fit
    from metabit.train.network.module import Network
    from metabit.train.network.presets import PRESETS
    from metabit.train.network.spec import Conv, Spec
    from metabit.train.penalties import PENALTIES
    from metabit.train.rule.grid import Grid
    from metabit.train.rule.metaplastic import MetaplasticAdam, MetaplasticSGD
    from metabit.train.run import Run
    from metabit.train.run import run as run_scenario
    from metabit.train.settings import Settings

__all__ = [
    "Checkpoint",
    "Conv",
    "DivergedError",
    "Grid",
    "History",
    "MetaplasticAdam",
    "MetaplasticSGD",
    "MissingExtraError",
    "Network",
    "PENALTIES",
    "PRESETS",
    "Rule",
    "Run",
    "Settings",
    "Spec",
    "TrainError",
    "evaluate",
    "fit",
    "load_checkpoint",
    "run_scenario",
    "save",
]

_HOME = {
    "Checkpoint": "checkpoint",
    "Conv": "network.spec",
    "DivergedError": "errors",
    "Grid": "rule.grid",
    "History": "loop",
    "MetaplasticAdam": "rule.metaplastic",
    "MetaplasticSGD": "rule.metaplastic",
    "MissingExtraError": "errors",
    "Network": "network.module",
    "PENALTIES": "penalties",
    "PRESETS": "network.presets",
    "Rule": "checkpoint",
    "Run": "run",
    "Settings": "settings",
    "Spec": "network.spec",
    "TrainError": "errors",
    "evaluate": "loop",
    "fit": "loop",
    "load_checkpoint": "checkpoint.load",
    "run_scenario": "run.run",
    "save": "checkpoint",
}
"""Public name -> module; where the name differs there, checkpoint.load and run.run."""

_MOVED = {
    "Quadratic": "metabit.experiments.quadratic",
    "SCENARIOS": "metabit.data.scenarios",
    "Scenario": "metabit.data.scenarios",
    "Task": "metabit.data",
    "load_task": "metabit.data",
    "scenario": "metabit.data",
    "switch_signs": "metabit.experiments.analyses",
    "thermometer": "metabit.data",
}
"""Names of 0.1 that live in another room now: re-exported, with a warning, for one release."""

_RENAMED = {"checkpoint.load": "load_checkpoint", "run.run": "run_scenario"}


def __getattr__(name: str) -> Any:
    if name in _MOVED:
        home = _MOVED[name]
        module, attribute = (home.removesuffix(".load"), "load") if home.endswith(".load") else (home, name)
        warnings.warn(f"metabit.train.{name} is {module}.{attribute} now", DeprecationWarning, stacklevel=2)
        return getattr(import_module(module), attribute)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOME[name]
    module, attribute = home.split(".") if home in _RENAMED else (home, name)
    value = getattr(import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
