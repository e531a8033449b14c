"""Training with floats: arrays in, `checkpoint.safetensors` out.

Each synapse has a float *hidden weight*, and the network uses only its sign. Training moves the hidden weight up and
down. The further it is from zero, the smaller the steps toward zero become: that is metaplasticity (Laborieux et al.,
"Synaptic Metaplasticity in Binarized Neural Networks", arXiv:2003.03533). A binary network can then learn a second
task without losing the first. The files in reading order::

    recipe.py       the default: any numbers -> an encoder and a layer of gates; recipe_run.py, with settings and a history
    network/        spec.py, the shape of a network as validated JSON; module.py, the spec as a torch module whose
                    accumulators are exact integers; binarize.py, signs and straight-through gradients
    rule/           metaplastic.py, the paper's optimizer, for any training loop; fused.py, its native pass
    step.py         one training step, and evaluate
    loop.py         the loop over tasks, epochs and batches
    run.py          fit, the loop on one task; run, the loop on a scenario, which can stop and resume
    settings.py     the settings of a run, and the defaults of each scenario
    checkpoint.py   the file for `metabit.export`; gates_checkpoint.py, that of the default network

Example::

    from metabit import data, train

    task = data.load("digits").task(0)  # or data.load("my.csv").whole(): any numbers
    ran = train.run_recipe(task, train.RecipeSettings(units=32, epochs=5))
    ran.checkpoint().write("default.safetensors")

    thresholds = data.thermometer(task.x_train, planes=4)  # a network of the paper
    spec = train.Spec(features=64, hidden=(512,), classes=10, encode=thresholds, norm="static", output="code")
    network = train.Network(spec)
    history = train.fit(network, task, epochs=10, m=48)
    train.save("checkpoint.safetensors", network, rule=train.Rule.of(spec, m=48), history=history)
    assert train.load_checkpoint("checkpoint.safetensors").spec == spec

Importing this package needs only the core install. A name that needs torch loads it at first use, and raises
MissingExtraError if it is not installed.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metabit.train.checkpoint import Checkpoint, Rule, save
    from metabit.train.checkpoint import load as load_checkpoint
    from metabit.train.errors import DivergedError, MissingExtraError, TrainError
    from metabit.train.gates_checkpoint import GatesCheckpoint
    from metabit.train.network.module import Network
    from metabit.train.network.presets import PRESETS
    from metabit.train.network.spec import Conv, Spec
    from metabit.train.penalties import PENALTIES
    from metabit.train.recipe import Trained, fit_recipe
    from metabit.train.recipe_run import RecipeSettings, run_recipe
    from metabit.train.rule.metaplastic import MetaplasticAdam
    from metabit.train.run import History, Run, fit
    from metabit.train.run import run as run_scenario
    from metabit.train.settings import Settings
    from metabit.train.step import evaluate

__all__ = [
    "Checkpoint", "Conv", "DivergedError", "GatesCheckpoint", "History", "MetaplasticAdam", "MissingExtraError", "Network",
    "PENALTIES", "PRESETS", "RecipeSettings", "Rule", "Run", "Settings", "Spec", "TrainError", "Trained", "evaluate", "fit",
    "fit_recipe", "load_checkpoint", "run_recipe", "run_scenario", "save",
]  # fmt: skip

_MODULES = {
    "checkpoint": ("Checkpoint", "Rule", "save"),
    "errors": ("DivergedError", "MissingExtraError", "TrainError"),
    "gates_checkpoint": ("GatesCheckpoint",),
    "network.module": ("Network",),
    "network.presets": ("PRESETS",),
    "network.spec": ("Conv", "Spec"),
    "penalties": ("PENALTIES",),
    "rule.metaplastic": ("MetaplasticAdam",),
    "recipe": ("Trained", "fit_recipe"),
    "recipe_run": ("RecipeSettings", "run_recipe"),
    "run": ("History", "Run", "fit"),
    "settings": ("Settings",),
    "step": ("evaluate",),
}
_HOME = {name: f"{__name__}.{module}:{name}" for module, names in _MODULES.items() for name in names}
_HOME |= {"load_checkpoint": f"{__name__}.checkpoint:load", "run_scenario": f"{__name__}.run:run"}
"""Public name -> "module:name there"."""

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
"""Names of 0.1 -> their present module; importable from here, with a warning, for one release."""

_REMOVED = {
    "Grid": "train in floats and export with --bits",
    "MetaplasticSGD": "use MetaplasticAdam",
    "ddp": "train in one process",
    "tensorboard": "history.csv has every row, and metabit.experiments.plots draws them",
}
"""Names of 0.1 -> what replaces them."""


def __getattr__(name: str) -> Any:
    if name in _REMOVED:
        # Python would hide the message of an AttributeError in `from metabit.train import name`.
        raise ImportError(f"metabit.train.{name} was removed: {_REMOVED[name]}")
    if name in _MOVED:
        warnings.warn(f"metabit.train.{name} is {_MOVED[name]}.{name} now", DeprecationWarning, stacklevel=2)
        return getattr(import_module(_MOVED[name]), name)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
