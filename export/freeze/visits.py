"""Checkpoint of sign units -> Frozen, which learns by the visit rule.

Hidden weights become k-bit levels, normalisation becomes integer thresholds and scores, and the metaplasticity of training
becomes the two probability tables (docs/learning-rule.md, "From the trained float"). Convolutions and layers that take bytes get
one bit a synapse: the device learns in the dense layers above them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from metabit.export.errors import ExportError, need_number
from metabit.export.freeze import batchnorm
from metabit.export.freeze.levels import check_finite, code_levels, dose_of, generator_state, quantise, tables
from metabit.export.freeze.returned import returned
from metabit.export.frozen import ConvGeometry, ConvLayer, DenseLayer, Encode, Frozen, Layer, OutputLayer, Rule, Takes
from metabit.export.validate import MAX_DOSE
from metabit.train.checkpoint import Checkpoint
from metabit.train.gates_checkpoint import GatesCheckpoint
from metabit.train.network.spec import Spec

VISIT_RATE = 0.12
"""Default of `VisitOptions.visit_rate`."""
NO_AUTO = (
    "m=auto was removed: it freed so many levels that a network fell to chance on streams it should have learnt; metabit tune "
    "measures which m suits your stream, m left out is that of training"
)


@dataclass(frozen=True)
class VisitOptions:
    """Settings of the visit rule on the device.

    Args:
        bits: k, 2..8 bits a level; 1 exports a frozen network. Convolutions and layers that take bytes always have 1.
        m: metaplasticity, >= 0; 0 switches it off. None takes the m that each layer was trained with.
        strengthen: "certain" is the paper's rule, in which only weakening has a probability below 1. "same" uses the same table
            in both directions, which has a steady state on endless streams.
        visit_rate: above 0, at most 1; share of a layer's eligible synapses that a completely wrong sample visits, on average
            over the units. The rate times the units is at most 256. None is 0.12, or that limit.
        skip_below: 0..1, a sample is skipped where the error of its true class is below this.
        ste_window: >= 0, width of the straight-through estimator relative to training.
        temperature: > 0, of the device's softmax, relative to the scores of the trained network.
        backward: errors pass hidden layers above the lowest learning layer "ternary", as signs drawn at random, or "exact", for
            about twice the cycles of a step (docs/results/backward). None is "ternary" where there is such a layer.
        seed: 0..2**32-1, of the device's generator.

    Raises:
        ExportError: a value is outside its range; the message names it.
    """

    bits: int = 5
    m: float | None = None
    strengthen: Literal["certain", "same"] = "certain"
    visit_rate: float | None = None
    skip_below: float = 0.02
    ste_window: float = 1.0
    temperature: float = 1.0
    backward: Literal["exact", "ternary"] | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        def need(name: str, low: float, high: float, range_: str, kind: type = float) -> None:
            need_number(name, getattr(self, name), low, high, range_, kind)

        least, most = 1e-9, 1e9  # beyond them a parameter has no effect, and its integer would overflow
        need("bits", 1, 8, "a whole number from 1 (frozen) to 8", int)
        if str(self.m) == "auto":
            raise ExportError(NO_AUTO)
        if self.m is not None:
            need("m", 0, most, "a finite number >= 0, or left out")
        if self.strengthen not in ("certain", "same"):
            raise ExportError(f"strengthen={self.strengthen!r}: must be 'certain' or 'same'")
        if self.backward not in ("exact", "ternary", None):
            raise ExportError(f"backward={self.backward!r}: must be 'exact' or 'ternary'")
        if self.visit_rate is not None:
            need("visit_rate", least, 1, "above 0 and at most 1")
        need("skip_below", 0, 1, "from 0 to 1")
        need("ste_window", 0, most, "a finite number >= 0")
        need("temperature", least, most, "a finite number above 0")
        need("seed", 0, 2**32 - 1, "a whole number from 0 to 4294967295", int)


def freeze(checkpoint: Checkpoint | GatesCheckpoint, options: VisitOptions | None = None) -> Frozen:
    """The integers of a trained network of sign units.

    options: the defaults of `VisitOptions` if None. A checkpoint that came back from a device keeps what that has instead
        (`returned.py`).

    Raises ExportError for a network of other units or one that the device cannot run, a tensor that is not finite, or options that
    do not fit it.
    """
    if isinstance(checkpoint, GatesCheckpoint):
        raise ExportError("this is the default network, of gates: export.freeze_gates makes its integers")
    o, spec = options or VisitOptions(), checkpoint.spec
    _check_supported(spec)
    if options is None and checkpoint.device is not None:
        return returned(checkpoint)
    check_finite(checkpoint.tensors)
    takes: Takes = "bytes" if spec.input == "uint8" else "bits"
    layers: list[Layer] = []
    last, scale = len(spec.shapes) - 1, 1.0
    for i, (units, inputs) in enumerate(spec.shapes):
        gain, centre, offset = batchnorm.affine(checkpoint, i, inputs)
        if takes == "bytes":  # training divides its sums by 255
            gain, centre = gain / 255, centre * 255
        still = i < len(spec.conv) or takes == "bytes"  # never learns on the device
        k = 1 if still or i >= spec.trained else o.bits
        rule = None
        if i < spec.trained:
            hidden, delta = quantise(np.asarray(checkpoint.tensors[f"layers.{i}.hidden"], np.float64), k)
            if k > 1:
                m = checkpoint.m[i] if o.m is None else o.m
                rule = Rule(*tables(m, delta, k, o.strengthen), visit_dose(o.visit_rate, units))
        else:
            hidden = code_levels(checkpoint, i)
        if i == last:
            mul, add, scale = batchnorm.scores(gain, centre, offset)
            layers.append(OutputLayer(hidden, k, takes, mul, add, rule))
            continue
        most = inputs * (255 if takes == "bytes" else 1)
        hidden, theta = batchnorm.thresholds(hidden, gain, centre, offset, most)
        if i < len(spec.conv):
            c = spec.conv[i]
            geometry = ConvGeometry(*spec.images[i], c.kernel, c.stride, c.padding == "same", c.pool)
            layers.append(ConvLayer(hidden, k, takes, theta, geometry))
        else:
            ste_window = 0 if still else batchnorm.ste_window(gain, o.ste_window)
            ternary = o.backward != "exact" and any(layer.learns for layer in layers)
            layers.append(DenseLayer(hidden, k, takes, theta, ste_window, rule, ternary))
        takes = "signs"
    if o.backward == "ternary" and not any(isinstance(layer, DenseLayer) and layer.ternary for layer in layers):
        raise ExportError(
            "backward='ternary': no hidden layer of this network lies above one that learns: leave it out"
        )
    encode = None
    if spec.thresholds is not None:
        planes = len(spec.thresholds)  # the bits of one plane are in pixel order anyway
        encode = Encode(spec.thresholds, spec.images[0][2] // planes if spec.conv and planes > 1 else 0)
    temperature = int(np.clip(round(4096 * 16 / scale / o.temperature), 1, 65535))
    return Frozen(tuple(layers), encode, temperature, round(4096 * o.skip_below), generator_state(o.seed))


def _check_supported(spec: Spec) -> None:
    if spec.units == "graded":
        raise ExportError("units='graded' learn on the device by votes: export this network with freeze_graded")
    if spec.input == "uint8" and len(spec.shapes) == 1:
        raise ExportError(
            "this network is one layer on 8-bit pixels, which the device could never teach: add a hidden layer, or train with "
            "input='bits' and planes=4"
        )
    if spec.norm == "instance" or (spec.norm == "batch" and spec.statistics == "batch"):
        found = f"norm={spec.norm!r}" if spec.norm == "instance" else f"statistics={spec.statistics!r}"
        raise ExportError(
            f"{found}: statistics taken at test cannot fold into thresholds, train with norm='batch' and statistics='running'"
        )


def visit_dose(rate: float | None, units: int) -> int:
    """The rule's dose. Raises ExportError for a rate beyond the format; the default rate is reduced to fit."""
    if rate is not None and round(rate * units * 4096) > MAX_DOSE:
        most = MAX_DOSE / 4096 / units
        raise ExportError(f"visit_rate={rate}: at most {most:.3g} for a layer of {units} units")
    return dose_of(VISIT_RATE if rate is None else rate, units)
