"""Checkpoints of the paper's authors (github.com/Laborieux-Axel/SynapticMetaplasticityBNN): state dicts of their class BNN.

`layers.fc1.weight`, `layers.bn1.running_mean` ..: binary dense layers, each with its batch normalisation, and signs between
them. Their first layer takes numbers where there are 784, and signs of numbers otherwise. The weights are hidden weights after an
optimizer step, and signs after a prediction.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.foreign.chain import Chain, refuse, signs_of
from metabit.export.foreign.network import Foreign
from metabit.export.foreign.thresholds import normalisation
from metabit.export.foreign.torch_file import read_tensors

TOOL = "PyTorch"
NUMBERS, EPSILON = 784, 1e-5
INSIDE = ("model_state_dict", "state_dict", "model")


def read_paper(data: bytes) -> Foreign:
    """The network of a state dict that torch.save wrote. It does not need torch.

    Raises ExportError, which names the layer and the way out, for a damaged file or a layer without a counterpart.
    """
    found = read_tensors(data)
    for name in INSIDE:
        if isinstance(found.get(name), dict):
            found = found[name]
    modules: dict[str, dict[str, NDArray[Any]]] = {}
    for key, value in found.items():
        if isinstance(key, str) and isinstance(value, np.ndarray):
            name, _, part = key.rpartition(".")
            modules.setdefault(name, {})[part] = value
    weights = [parts["weight"] for parts in modules.values() if "weight" in parts and parts["weight"].ndim > 1]
    if not weights:
        raise ExportError(f"this file of {TOOL} has no weights of layers: save model.state_dict()")
    chain = Chain(TOOL, weights[0].shape[1:2])
    for name, parts in modules.items():
        _step(chain, name, parts)
    return replace(
        chain.finish(), assumed="a state dict names no activation: weights and activations are taken as signs"
    )


def _step(chain: Chain, name: str, parts: dict[str, NDArray[Any]]) -> None:
    weight = parts.get("weight")
    if "running_mean" in parts and "running_var" in parts:
        mean, variance, beta = parts["running_mean"], parts["running_var"], parts.get("bias")
        chain.affine(name, *normalisation(name, mean, variance, EPSILON, weight, beta))
    elif weight is not None and weight.ndim == 1:
        refuse(name, "normalises by the batch at hand and keeps no mean", "train with track_running_stats=True")
    elif weight is None or weight.ndim != 2:
        shape = "no weights" if weight is None else f"weights of shape {weight.shape}"
        refuse(name, f"has {shape}, and a state dict says neither strides nor padding", "export the model to QONNX")
    else:
        if chain.unnormalised is not None:
            refuse(
                chain.unnormalised,
                "has no normalisation in this file, as InstanceNorm keeps none",
                "train with norm='bn'",
            )
        if chain.begun or weight.shape[1] != NUMBERS:
            chain.sign()
        hidden = np.asarray(weight, np.float64)
        signs = signs_of(name, hidden)
        chain.dense(name, signs, np.ones(len(signs)), None if (signs == hidden).all() else hidden)
        if "bias" in parts:
            chain.affine(name, np.ones(1), parts["bias"])
