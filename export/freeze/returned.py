"""A checkpoint that came back from a device (`thaw.py`) -> Frozen, with what the device has and training has not.

Its image comes back bit for bit where nothing was trained since. Else, layer by layer:

=====================================  ===========================================================================
stays as in the image                  generator, counters, names, which samples are skipped, bits, doses, votes needed, how
                                       errors pass, settings and rows of a head
made anew from the floats, always      levels of hidden weights and of outputs, at the width that they came with
stays until its tensors change         thresholds, straight-through windows, factors of the scores and with them the
                                       temperature; gates
stays until m changes                  the probability tables, in the form that they have (certain or same)
stays until a level of the layer       the kept samples of votes: units that are gone cast them
changes
stays until a gate changes             what a head learnt. Then it is fitted on the sums that training keeps, in its old settings
=====================================  ===========================================================================
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.files.image import read_image
from metabit.export.freeze import batchnorm
from metabit.export.freeze.levels import check_finite, quantise, tables
from metabit.export.freeze.thaw import thaw, width
from metabit.export.frozen import CERTAIN, DenseLayer, Frozen, GradedLayer, Layer, OutputLayer, Rule
from metabit.train.checkpoint import Checkpoint
from metabit.train.gates_checkpoint import GatesCheckpoint


def returned(checkpoint: Checkpoint) -> Frozen:
    """The network of a checkpoint with an image, of sign units or graded units.

    Raises ExportError for tensors that are not finite, or an image of another network.
    """
    frozen, was = origin(checkpoint)
    assert isinstance(was, Checkpoint)
    if was.spec != checkpoint.spec:
        raise ExportError(f"{_OTHER}: give options, such as bits, to export it without the image")
    check_finite(checkpoint.tensors)
    layers, temperature = [], frozen.temperature
    for i, layer in enumerate(frozen.layers):
        if i < was.spec.trained:
            hidden = np.asarray(checkpoint.tensors[f"layers.{i}.hidden"], np.float64)
            layer = _levelled(layer, quantise(hidden, layer.bits, width(layer))[0])
            if layer.rule is not None and checkpoint.m[i] != was.m[i]:
                layer = replace(layer, rule=_rule(layer, checkpoint.m[i]))  # type: ignore[call-arg]
        if any(changed(was, checkpoint, f"layers.{i}.norm.{part}") for part in ("weight", "bias", "mean", "var")):
            layer, scale = _normalised(layer, *batchnorm.affine(checkpoint, i, layer.inputs))
            temperature = temperature if scale is None else int(np.clip(round(65536 / scale), 1, 65535))
        layers.append(layer)
    return replace(frozen, layers=tuple(layers), temperature=temperature)


_OTHER = "the image in this checkpoint is of another network"


def origin(checkpoint: Checkpoint | GatesCheckpoint) -> tuple[Frozen, Checkpoint | GatesCheckpoint]:
    """The network that a checkpoint came from, and the checkpoint as it was then. Raises ExportError if its image is damaged."""
    assert checkpoint.device is not None
    frozen = read_image(checkpoint.device)
    was = thaw(frozen)
    if type(was) is not type(checkpoint):
        raise ExportError(f"{_OTHER}: import that image again")
    return frozen, was


def changed(was: Checkpoint | GatesCheckpoint, now: Checkpoint | GatesCheckpoint, *names: str) -> bool:
    """True if one of these tensors differs, as far as the network has them."""
    return any(name in was.tensors and not np.array_equal(was.tensors[name], now.tensors[name]) for name in names)


def _levelled(layer: Layer, levels: NDArray[np.int8]) -> Layer:
    if isinstance(layer, GradedLayer) and not np.array_equal(layer.hidden, levels):
        return replace(layer, hidden=levels, kept=None)
    return replace(layer, hidden=levels)


def _rule(layer: Layer, m: float) -> Rule:
    rule = layer.rule
    assert isinstance(rule, Rule)
    form = "same" if (rule.strengthen != CERTAIN).any() else "certain"
    strengthen, weaken = tables(m, width(layer), layer.bits, form)
    return replace(rule, strengthen=strengthen, weaken=weaken)


def _normalised(layer: Layer, gain: Any, centre: Any, offset: Any) -> tuple[Layer, float | None]:
    """The layer with the thresholds, or the scores and their scale, of a new normalisation."""
    if isinstance(layer, OutputLayer):
        mul, add, scale = batchnorm.scores(gain, centre, offset)
        return replace(layer, mul=mul, add=add), scale
    most = layer.inputs
    if layer.takes == "bytes":  # training divides its sums by 255
        gain, centre, most = gain / 255, centre * 255, most * 255
    hidden, theta = batchnorm.thresholds(layer.hidden, gain, centre, offset, most)
    found = replace(layer, hidden=hidden, theta=theta)  # type: ignore[call-arg]
    if isinstance(found, DenseLayer) and found.ste_window:
        found = replace(found, ste_window=batchnorm.ste_window(gain, 1.0))
    return found, None
