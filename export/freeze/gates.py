"""A trained network of normed gates -> Frozen, with the head, with output levels that learn on, or without learning.

The float arithmetic of training becomes the integers of docs/learning-rule.md, "Gates". The head is fitted on the training part, or
on the sums that a checkpoint keeps of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from metabit.data.encoder import Encoder
from metabit.export.errors import ExportError, need_number
from metabit.export.freeze.gates_source import GatesArrays, GatesSource
from metabit.export.freeze.head import head_layer
from metabit.export.freeze.levels import generator_state
from metabit.export.freeze.output_levels import levels_rule, levels_temperature
from metabit.export.frozen import (
    Cuts,
    Frozen,
    GatesLayer,
    HeadLayer,
    HeadRows,
    HeadScale,
    HeadSettings,
    LevelsLayer,
    Notes,
)
from metabit.export.oracle.gates import GateLayer, gate_layer, head_values
from metabit.export.validate_gates import MAX_ROWS, MAX_VALUES
from metabit.train.gates_checkpoint import GatesCheckpoint

if TYPE_CHECKING:
    from metabit.train.recipe import Trained

LEARNERS = ("head", "levels", "none")
HEAD_TEMPERATURE = 4
"""Entries of the table of exponentials for one unit of a head's score, in 1/4096: a nat is 2**14 units and 16 entries."""
_CHUNK = 4096  # samples whose bits are in memory at a time


@dataclass(frozen=True)
class GateOptions:
    """Settings of a network of gates on the device.

    Args:
        learner: "head" learns class means in place, "levels" the output's levels; "none" is the network as it was trained.
        spare_classes: >= 0, of a head: classes to come, which it does not know yet. All classes together are at most 128.
        rows_per_class: 1..8, of a head: means that one class may have.
        rows: of a head with several rows a class: all rows, at least one for each class, at most 128. None is rows_per_class
            for each class, or 128.
        far, doubt_limit: of a head with several rows a class: a class gets a row after doubt_limit (1..255) samples, beyond those
            that were not so, for which another class scored more than far (1..63) nats higher.
        memory, covariance_memory, ridge, prior, sweep_every: of a head, as for `HeadSettings`. A memory of None is 255, or 1023
            with several rows a class: the further rows take what is new, so the first one may keep what it knows.
        m: >= 0, metaplasticity of output levels that learn: a step toward zero from the highest level counts exp(-m).
        dose: above 0, of output levels that learn: factor of their steps.
        skip_below: 0..1, of output levels that learn: a sample is skipped where the error of its true class is below this.
        seed: 0..2**32-1, of the device's generator and the head's dither.

    Raises:
        ExportError: a value is outside its range; the message names it.
    """

    learner: Literal["head", "levels", "none"] = "head"
    spare_classes: int = 0
    rows_per_class: int = 1
    rows: int | None = None
    far: int = 5
    doubt_limit: int = 4
    memory: int | None = None
    covariance_memory: int = 2048
    ridge: int = 410
    prior: bool = True
    sweep_every: int = 1
    m: float = 2.0
    dose: float = 1.0
    skip_below: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        def need(name: str, low: float, high: float, range_: str, kind: type = int) -> None:
            need_number(name, getattr(self, name), low, high, range_, kind)

        if self.learner not in LEARNERS:
            raise ExportError(f"learner={self.learner!r}: must be 'head', 'levels' or 'none'")
        need("spare_classes", 0, MAX_ROWS, f"a whole number from 0 to {MAX_ROWS}")
        need("rows_per_class", 1, 8, "a whole number from 1 to 8")
        need("far", 1, 63, "a whole number from 1 to 63 nats")
        need("doubt_limit", 1, 255, "a whole number from 1 to 255 samples")
        if self.memory is not None:
            need("memory", 1, 1023, "a whole number from 1 to 1023 samples, or left out")
        need("covariance_memory", 0, 8192, "0, or a whole number from 64 to 8192 samples")
        need("ridge", 1, 32767, "a whole number from 1 to 32767")
        need("sweep_every", 1, 128, "1, 2, 4, 8, 16, 32, 64 or 128 steps")
        HeadSettings(self.head_memory, self.covariance_memory, self.ridge, self.prior, self.sweep_every)
        if not isinstance(self.prior, bool):
            raise ExportError(f"prior={self.prior!r}: must be True or False")
        if self.rows is not None:
            need("rows", 2, MAX_ROWS, f"a whole number from 2 to {MAX_ROWS}, or left out")
            if self.rows_per_class == 1:
                raise ExportError(
                    f"rows={self.rows}: a head with one row a class has as many rows as classes, leave it out"
                )
        need("m", 0, 1e9, "a finite number >= 0", float)
        need("dose", 1e-9, 1e9, "a finite number above 0", float)
        need("skip_below", 0, 1, "from 0 to 1", float)
        need("seed", 0, 2**32 - 1, "a whole number from 0 to 4294967295")
        if self.learner != "head" and (self.spare_classes or self.rows_per_class > 1):
            found = f"spare_classes={self.spare_classes}, rows_per_class={self.rows_per_class}"
            raise ExportError(f"{found}: only a head has spare classes and several rows a class, choose learner 'head'")

    @property
    def head_memory(self) -> int:
        """Memory of a class mean, in samples."""
        return self.memory or (255 if self.rows_per_class == 1 else 1023)


def freeze_gates(
    source: Trained | GatesSource,
    x: NDArray[Any] | None = None,
    y: NDArray[Any] | None = None,
    options: GateOptions | None = None,
) -> Frozen:
    """The integers of a trained network of normed gates.

    Args:
        source: what `metabit.train.recipe.fit_recipe` returns, or a checkpoint of it. Without options, one that came back
            from a device keeps what that has (`returned.py`).
        x, y: the training part, numbers (n, F) and labels (n,), for the head. A checkpoint has sums of it, and needs neither.

    Raises:
        DataError: features that the encoder refuses.
        ExportError: labels or sizes that do not fit, a network that the device cannot run, or numbers that are not finite.
    """
    if (x is None) != (y is None):
        raise ExportError(f"x is a {type(x).__name__} and y a {type(y).__name__}: a head is fitted on the training part, which is "
                          "both; options have their name, options=GateOptions(...)")  # fmt: skip
    if options is None and isinstance(source, GatesCheckpoint) and source.device is not None:
        from metabit.export.freeze.returned_gates import returned_gates  # it makes heads by this function

        return returned_gates(source, x, y)
    o = options or GateOptions()
    arrays = gates_arrays(source)
    gates = gate_layer(arrays.gamma, arrays.beta, arrays.mean, arrays.deviation, arrays.encoder.bits)
    units, classes = len(arrays.weights), len(arrays.levels)
    first = GatesLayer(np.where(arrays.weights > 0, 0, -1).astype(np.int8), gates.mul, gates.add, gates.shift)
    notes = Notes(arrays.class_names, arrays.feature_names or arrays.encoder.names)
    if o.learner == "head":
        last: HeadLayer | LevelsLayer = _head(arrays, gates, *_part(arrays, x, y), classes + o.spare_classes, o)
        temperature = HEAD_TEMPERATURE
    else:
        rule = levels_rule(arrays.bits, units, o.m, o.dose) if o.learner == "levels" else None
        last, temperature = LevelsLayer(arrays.levels, arrays.bits, rule), levels_temperature(arrays.bits, units)
    return Frozen(
        (first, last), cuts_of(arrays.encoder), temperature, round(4096 * o.skip_below), generator_state(o.seed),
        notes=notes if notes != Notes() else None,
    )  # fmt: skip


def cuts_of(encoder: Encoder) -> Cuts:
    """The encoder of an image. Features that all have the same thresholds share them."""
    cuts = (encoder.thresholds - 1).astype(encoder.kind)
    shared = encoder.features > 1 and bool((cuts == cuts[:, :1]).all())
    scale = None if encoder.raw else np.stack([encoder.low, encoder.steps]).astype(np.float32)
    return Cuts(encoder.kind, cuts[:, :1] if shared else cuts, scale, encoder.features if shared else 0)


def gates_arrays(source: Trained | GatesSource) -> GatesSource:
    """The arrays of a training; a checkpoint has them already."""
    if not hasattr(source, "network"):
        return source
    network, norm = source.network, source.network.norm
    assert norm.running_mean is not None and norm.running_var is not None
    gamma, beta, mean, variance = (
        np.asarray(a.detach().numpy(), np.float64)
        for a in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    weights = np.where(network.linear.hidden.detach().numpy() >= 0, 1, -1).astype(np.int8)
    return GatesArrays(
        source.encoder, network.output.bits, weights, gamma, beta, mean, np.sqrt(variance + norm.eps),
        network.output.levels().numpy(), np.zeros((0, len(weights)), np.int16), np.zeros(0, np.int64),
    )  # fmt: skip


def _part(
    source: GatesSource, x: NDArray[Any] | None, y: NDArray[Any] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sums (n, N) and labels (n,) of the training part."""
    classes = len(source.levels)
    if x is None or y is None:
        if not len(source.labels):
            raise ExportError(
                "a head is fitted on the training part: pass x and y, or a checkpoint, which keeps its sums"
            )
        return source.sums.astype(np.int64), source.labels
    labels = np.asarray(y)
    if labels.shape != (len(x),) or labels.dtype.kind not in "iub" or not len(labels):
        raise ExportError(
            f"labels of shape {labels.shape}, {labels.dtype}, for {len(x)} samples: give a whole number for each"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ExportError(
            f"labels from {labels.min()} to {labels.max()}: the network has the classes 0 to {classes - 1}"
        )
    return np.concatenate([*_sums(source, np.asarray(x))]), labels.astype(np.int64)


def _sums(source: GatesSource, x: NDArray[Any]) -> Iterator[NDArray[np.int64]]:
    weights = source.weights.T.astype(np.float32)  # sums up to 2**14 are exact
    for at in range(0, len(x), _CHUNK):
        yield (source.encoder.to_bits(x[at : at + _CHUNK]).astype(np.float32) @ weights).astype(np.int64)


def _head(
    source: GatesSource,
    gates: GateLayer,
    sums: NDArray[np.int64],
    labels: NDArray[np.int64],
    classes: int,
    o: GateOptions,
) -> HeadLayer:
    units = len(source.weights)
    if 2 * units > MAX_VALUES:
        raise ExportError(f"a head takes at most {MAX_VALUES // 2} gates, this network has {units}: train fewer units, or choose "
                          "learner 'levels' or 'none'")  # fmt: skip
    several = o.rows_per_class > 1
    most = o.rows or MAX_ROWS
    if classes > most:
        found = f"{classes} classes, spare ones included, and {most} rows"
        raise ExportError(f"{found}: give fewer spare classes or more rows, at most {MAX_ROWS}")
    made = head_values(gates, source.gamma, source.deviation, sums)
    rows = HeadRows(o.rows_per_class, o.far, o.doubt_limit) if several else HeadRows()
    settings = HeadSettings(o.head_memory, o.covariance_memory, o.ridge, o.prior, o.sweep_every)
    dither = generator_state(o.seed) & 65535
    values = made.values(sums, gates.levels(sums))
    return head_layer(values, labels, classes, HeadScale(**vars(made)), settings, rows, o.rows, dither)
