"""Checks of networks of gates (`metabit.export.validate` calls them): cuts, gates, levels and the head, and the names."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabit.export import frozen as f
from metabit.export.errors import ExportError
from metabit.train.network.spec import MAX_GRADED, MAX_UNITS

MAX_CUTS = 16
MAX_DOSE = 2**20 - 1
MAX_ADD = 2**30
MAX_MUL = 32767
SHIFTS = range(10, 21)
MAX_VALUES = MAX_ROWS = 128
MAX_ROWS_PER_CLASS = 8
MAX_FAR = 63
MAX_DOUBT = 255
MAX_GATE_MUL, MAX_GATE_ADD = 2560, 20496
MAY_FOLLOW = {"gates": ("levels", "head"), "triples": ("head",)}
"""The kind of the first layer, and the kinds of the last."""
NEW = {"gates", "levels", "head", "triples"}


def need(ok: bool, sentence: str) -> None:
    """Raises ExportError with the sentence unless ok."""
    if not ok:
        raise ExportError(sentence)


def check_network(frozen: f.Frozen) -> None:
    """Raises ExportError if the layers of a network of gates exceed a limit or do not follow from one another."""
    kinds = [layer.kind for layer in frozen.layers]
    need(len(kinds) == 2 and kinds[1] in MAY_FOLLOW.get(kinds[0], ()),
         f"a network of gates is gates and then levels or a head; above triples stands a head; not {kinds}")  # fmt: skip
    for i, layer in enumerate(frozen.layers):
        _check_layer(i, layer)
    first, last = frozen.layers
    need(last.takes == first.gives, f"layer 1 takes {last.takes}, but layer 0 gives {first.gives}")
    need(last.values == first.outputs, f"layer 1 takes {last.values} inputs, layer 0 gives {first.outputs}")
    if first.kind == "triples":
        need(frozen.encode is None, "an encoder stands before triples: they take the features themselves, leave it out")
    if frozen.encode is not None:
        need(
            isinstance(frozen.encode, f.Cuts), "an Encode stands before gates: use Cuts, whose thresholds are one lower"
        )


def check_cuts(cuts: f.Cuts, first: f.Layer) -> None:
    """Raises ExportError if cuts do not fit the first layer, or the format."""
    need(cuts.kind in f.LOWEST, f"cuts on {cuts.kind!r}: must be uint8 or int16")
    need(cuts.cuts.ndim == 2 and cuts.cuts.dtype == cuts.kind and (cuts.shared == 0 or cuts.cuts.shape[1] == 1),
         f"cuts are {cuts.cuts.dtype} {cuts.cuts.shape}: must be {cuts.kind} (planes, features), or (planes, 1) if "
         "shared")  # fmt: skip
    planes, features = cuts.planes, cuts.features
    need(1 <= planes <= MAX_CUTS, f"{planes} thresholds a feature, the format holds 1..{MAX_CUTS}")
    need(1 <= features and planes * features <= MAX_UNITS, f"the encoder makes {planes * features} bits, the format holds "
         f"1..{MAX_UNITS}: fewer planes or features")  # fmt: skip
    bits = planes * features
    need(bits == first.values, f"the encoder makes {bits} bits, the first layer takes {first.values}")
    need(first.takes == "bits" and first.kind != "conv",
         f"layer 0 is {first.kind} and takes {first.takes}: cuts stand before a layer without pixels that takes bits")  # fmt: skip
    if cuts.scale is not None:
        check_scale(cuts.scale, features)


def check_scale(scale: NDArray[np.float32], features: int) -> None:
    """Raises ExportError unless a scale from features to integers is one."""
    need(scale.shape == (2, features), f"the scale has shape {scale.shape}: must be (2, {features})")
    need(bool(np.isfinite(scale).all() and (scale[1] > 0).all()),
         "low and steps of the scale must be finite, and steps above 0: fit the encoder again")  # fmt: skip


def check_notes(frozen: f.Frozen, notes: f.Notes) -> None:
    """Raises ExportError unless there are names for all features or none, and not more names than classes."""
    features, named = frozen.features, len(notes.features)
    need(named in (0, features), f"{named} names for {features} features: give one for each, or none")
    classes, named = frozen.classes, len(notes.classes)
    need(named <= classes, f"{named} names for {classes} classes: give one for each that is known")


def _check_layer(i: int, layer: f.Layer) -> None:
    if isinstance(layer, f.GatesLayer):
        _check_gates(i, layer)
    elif isinstance(layer, f.LevelsLayer):
        _check_levels(i, layer)
    elif isinstance(layer, f.HeadLayer):
        _check_head(i, layer)


def _check_gates(i: int, layer: f.GatesLayer) -> None:
    n, k = layer.hidden.shape
    need(1 <= n <= MAX_GRADED, f"layer {i} has {n} gates, the format holds 1..{MAX_GRADED}: fewer units")
    need(1 <= k <= MAX_UNITS, f"layer {i} has {k} inputs, the format holds 1..{MAX_UNITS}: fewer planes or features")
    need(
        set(np.unique(layer.hidden)) <= {-1, 0}, f"layer {i} has levels other than 0 and -1: gates have 1 bit a weight"
    )
    check_array(i, "mul", layer.mul, "int16", (n,))
    check_array(i, "add", layer.add, "int32", (n,), MAX_ADD)
    need(layer.shift in SHIFTS, f"layer {i} has shift {layer.shift}, outside 10..20")


def _check_levels(i: int, layer: f.LevelsLayer) -> None:
    need(2 <= layer.bits <= 8, f"layer {i} has {layer.bits} bits a level, the format holds 2..8")
    need(2 <= layer.units <= MAX_GRADED, f"{layer.units} classes above gates, the format holds 2..{MAX_GRADED}")
    low, high, top = int(layer.hidden.min()), int(layer.hidden.max()), 2 ** (layer.bits - 1) - 1
    need(
        -top <= low and high <= top,
        f"layer {i} has levels {low}..{high}, above gates {layer.bits} bits hold {-top}..{top}",
    )
    if layer.rule is not None:
        need(1 <= layer.rule.dose <= MAX_DOSE, f"layer {i} has dose {layer.rule.dose}, outside 1..{MAX_DOSE}")
        check_array(i, "weaken", layer.rule.weaken, "uint16", (top + 1,), 256)


def _check_head(i: int, layer: f.HeadLayer) -> None:
    count, values = layer.hidden.shape
    need(values % 2 == 0 and 2 <= values <= MAX_VALUES,
         f"layer {i} has {values} values, a head has an even number from 2 to {MAX_VALUES}: {_fewer(layer)}")  # fmt: skip
    need(
        2 <= count <= MAX_ROWS,
        f"layer {i} has {count} rows, a head has from 2 to {MAX_ROWS}: fewer classes or spare classes",
    )
    need(
        2 <= layer.classes <= count,
        f"layer {i} has {layer.classes} classes in {count} rows: at least 2, at most a row for each",
    )
    check_array(i, "means", layer.means, "int16", (count, values))
    check_array(i, "covariance", layer.covariance, "int16", (values * (values + 2) // 2,))
    check_array(i, "counts", layer.counts, "uint16", (count,), f.COUNT_LIMIT - 1)
    memory = max(layer.settings.covariance_memory, f.COUNT_FLOOR)
    need(
        0 <= layer.seen <= memory,
        f"layer {i} has seen {layer.seen} samples, outside 0..{memory}, the memory of its covariance",
    )
    need(0 <= layer.dither < 2**16 and 0 <= layer.turn < count,
         f"layer {i} has dither {layer.dither} and turn {layer.turn}: must be below 65536 and {count}")  # fmt: skip
    if layer.takes == "levels":
        if layer.scale is None:
            raise ExportError(f"layer {i} takes levels without a scale: make it with head_values")
        _check_scale(i, layer.scale, values // 2)
    else:
        need(layer.takes == "values" and layer.scale is None,
             f"layer {i} takes {layer.takes}: a head takes levels with a scale, or values without one")  # fmt: skip
    _check_rows(i, layer, count)


def _fewer(layer: f.HeadLayer) -> str:
    return "fewer gates" if layer.takes == "levels" else "fewer units"


def _check_scale(i: int, scale: f.HeadScale, units: int) -> None:
    check_array(i, "gate_mul", scale.gate_mul, "int16", (units,), MAX_GATE_MUL)
    check_array(i, "gate_add", scale.gate_add, "int16", (units,), MAX_GATE_ADD)
    check_array(i, "z_mul", scale.z_mul, "int16", (units,))
    check_array(i, "z_add", scale.z_add, "int32", (units,), MAX_ADD)
    need(scale.z_shift in SHIFTS, f"layer {i} has z_shift {scale.z_shift}, outside 10..20")


def _check_rows(i: int, layer: f.HeadLayer, count: int) -> None:
    rows = layer.rows
    need(1 <= rows.per_class <= MAX_ROWS_PER_CLASS,
         f"layer {i} has {rows.per_class} rows a class, the format holds 1..{MAX_ROWS_PER_CLASS}")  # fmt: skip
    if rows.per_class == 1:
        need(rows.far == 0 and rows.doubt_limit == 0 and layer.owners.size == 0 and layer.doubts.size == 0,
             f"layer {i} has one row a class: leave far, doubt_limit, owners and doubts out")  # fmt: skip
        need(layer.classes == count,
             f"layer {i} has {layer.classes} classes and {count} rows: with one row a class there are as many")  # fmt: skip
        return
    need(1 <= rows.far <= MAX_FAR, f"layer {i} has far {rows.far}, outside 1..{MAX_FAR} nats")
    need(1 <= rows.doubt_limit <= MAX_DOUBT, f"layer {i} has doubt_limit {rows.doubt_limit}, outside 1..{MAX_DOUBT}")
    check_array(i, "owners", layer.owners, "uint8", (count,))
    check_array(i, "doubts", layer.doubts, "uint8", (layer.classes,))
    owned = layer.owners[layer.counts > 0]
    need(bool((layer.owners[layer.counts == 0] == f.FREE).all() and (owned < layer.classes).all()),
         f"layer {i} has owners {layer.owners.tolist()}: the class of every row with samples, 255 for every other")  # fmt: skip
    most = int(np.bincount(owned).max(initial=0))
    need(most <= rows.per_class, f"layer {i} has a class with {most} rows, at most {rows.per_class} are set")


def check_array(
    i: int, name: str, array: NDArray[np.generic], dtype: str, shape: tuple[int, ...], most: int | None = None
) -> None:
    """Raises ExportError for another dtype or shape, or a magnitude above `most`."""
    need(array.shape == shape and array.dtype == dtype,
         f"layer {i}: {name} is {array.dtype} {array.shape}, must be {dtype} {shape}")  # fmt: skip
    if most is not None and array.size:
        found = int(np.abs(array.astype(np.int64)).max())
        need(found <= most, f"layer {i} has {name} up to {found}, the format holds at most {most}")
