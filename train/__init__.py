"""Floats live here: data in, `checkpoint.safetensors` out.

A synapse is a float *hidden weight*; the network only ever sees its sign. Training pushes the hidden weight up and
down, and the further it is from zero the harder it is to bring back: that is metaplasticity (Laborieux et al.,
"Synaptic Metaplasticity in Binarized Neural Networks", arXiv:2003.03533), and what lets a binary network learn a
second task without losing the first. The story in the order of the files::

    tasks.py        a name or an .npz file           -> uint8 features and labels, checked
    spec.py         the shape of a network           -> JSON, validated
    binarize.py     signs and straight-through gradients
    network.py      the spec as a torch module whose accumulators are exact integers
    metaplastic.py  the paper's optimizer, for anybody's loop
    loop.py         the loop over one task: fit, evaluate
    scenarios.py    what there is to learn, task after task: a table
    protocol.py     a scenario's defaults, the settings of a run
    run.py          the loop over the tasks, which can stop and go on to the same bytes
    checkpoint.py   the door to the next room

In short::

    from metabit import train

    task = train.load_task("digits")
    thresholds = train.thermometer(task.x_train, planes=4)
    spec = train.Spec(features=64, hidden=(512,), classes=10, encode=thresholds, norm="static", output="code")
    network = train.Network(spec)
    history = train.fit(network, task, epochs=10, m=48)
    train.save("checkpoint.safetensors", network, rule=train.Rule.of(spec, m=48), history=history)
    assert train.load_checkpoint("checkpoint.safetensors").spec == spec

Importing this package needs nothing that is not in the core install. Names that need torch load it on first use, and
say how to install it if it is not there.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metabit.train.analyses import switch_signs
    from metabit.train.checkpoint import Checkpoint, Rule, save
    from metabit.train.checkpoint import load as load_checkpoint
    from metabit.train.errors import DivergedError, MissingExtraError, TrainError
    from metabit.train.grid import Grid
    from metabit.train.loop import History, evaluate, fit
    from metabit.train.metaplastic import MetaplasticAdam, MetaplasticSGD
    from metabit.train.network import Network
    from metabit.train.penalties import PENALTIES
    from metabit.train.presets import PRESETS
    from metabit.train.protocol import Settings
    from metabit.train.quadratic import Quadratic
    from metabit.train.run import Run
    from metabit.train.run import run as run_scenario
    from metabit.train.scenarios import SCENARIOS, Scenario, scenario
    from metabit.train.spec import Conv, Spec
    from metabit.train.tasks import Task, thermometer
    from metabit.train.tasks import load as load_task

__all__ = [
    "PENALTIES",
    "PRESETS",
    "SCENARIOS",
    "Checkpoint",
    "Conv",
    "DivergedError",
    "Grid",
    "History",
    "MetaplasticAdam",
    "MetaplasticSGD",
    "MissingExtraError",
    "Network",
    "Quadratic",
    "Rule",
    "Run",
    "Scenario",
    "Settings",
    "Spec",
    "Task",
    "TrainError",
    "evaluate",
    "fit",
    "load_checkpoint",
    "load_task",
    "run_scenario",
    "save",
    "scenario",
    "switch_signs",
    "thermometer",
]

_HOME = {
    "PENALTIES": "penalties",
    "PRESETS": "presets",
    "SCENARIOS": "scenarios",
    "Checkpoint": "checkpoint",
    "Conv": "spec",
    "DivergedError": "errors",
    "Grid": "grid",
    "History": "loop",
    "MetaplasticAdam": "metaplastic",
    "MetaplasticSGD": "metaplastic",
    "MissingExtraError": "errors",
    "Network": "network",
    "Quadratic": "quadratic",
    "Rule": "checkpoint",
    "Run": "run",
    "Scenario": "scenarios",
    "Settings": "protocol",
    "Spec": "spec",
    "Task": "tasks",
    "TrainError": "errors",
    "evaluate": "loop",
    "fit": "loop",
    "load_checkpoint": "checkpoint.load",
    "load_task": "tasks.load",
    "run_scenario": "run.run",
    "save": "checkpoint",
    "scenario": "scenarios",
    "switch_signs": "analyses",
    "thermometer": "tasks",
}
"""Public name -> module, or module.attribute where the name differs."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(".")
    value = getattr(import_module(f"{__name__}.{module}"), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
