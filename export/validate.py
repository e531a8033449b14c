"""Checks of a frozen network: its layers follow from one another, and the `.mbit` format can hold it.

Layers that do not fit together would give a file that computes something else without failing. Every writer and every reader
calls `check_layers`; the writer and the reader of images call `check_limits`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabit.data.task import MAX_PLANES
from metabit.export import frozen as f
from metabit.export import validate_gates as gates
from metabit.export.counters import fold_constants
from metabit.export.validate_gates import MAX_DOSE, need
from metabit.export.validate_triples import check_triples
from metabit.train.network.spec import MAX_GRADED, MAX_LAYERS, MAX_RAMP, MAX_UNITS

__all__ = ["MAX_DOSE", "MAX_STE_WINDOW", "check_layers", "check_limits", "need"]

MAX_STE_WINDOW = 32767


def check_layers(frozen: f.Frozen) -> None:
    """Raises ExportError if the kinds, sizes or inputs of the layers do not follow from one another."""
    kinds = [layer.kind for layer in frozen.layers]
    if gates.NEW & set(kinds):
        for i, layer in enumerate(frozen.layers):
            if isinstance(layer, f.TriplesLayer):
                check_triples(i, layer)
        gates.check_network(frozen)
    else:
        _check_weights(frozen, [*kinds])
    if isinstance(frozen.encode, f.Cuts):
        gates.check_cuts(frozen.encode, frozen.layers[0])
    elif frozen.encode is not None:
        _check_encode(frozen.encode, frozen.layers[0])
    if frozen.notes is not None:
        gates.check_notes(frozen, frozen.notes)


def _check_weights(frozen: f.Frozen, kinds: list[str]) -> None:
    ordered = [kind for known in ("conv", "dense", "graded", "output") for kind in kinds if kind == known]
    need("graded" not in kinds[:-2] + kinds[-1:], f"a graded layer is the last before the output, not {kinds}")
    need(kinds == ordered and kinds.count("output") == 1,
         f"a network is convolutions, dense layers and one output layer, in this order, not {kinds}")  # fmt: skip
    for i, layer in enumerate(frozen.layers):
        if isinstance(layer, f.ConvLayer):
            _check_geometry(i, layer, layer.geometry)
        if isinstance(layer, f.GradedLayer):
            need(1 <= layer.planes <= MAX_PLANES, f"layer {i} has {layer.planes} planes, outside 1..{MAX_PLANES}")
            for other, beside in enumerate(frozen.layers):
                need(beside is layer or not beside.learns, f"layer {other} learns, but nothing else learns beside the graded "
                     f"layer {i}: leave its rule out")  # fmt: skip
        if i > 0:
            _check_step(i, frozen.layers[i - 1], layer)
    first = frozen.layers[0]
    need(first.takes in ("bits", "signs") or (first.takes == "bytes" and first.kind in ("conv", "dense")),
         f"layer 0 takes {first.takes}: a hidden first layer takes bits, signs or bytes, an output bits or signs")  # fmt: skip


def _check_geometry(i: int, layer: f.ConvLayer, g: f.ConvGeometry) -> None:
    for name, side in (("kernel", g.kernel), ("stride", g.stride), ("pool", g.pool)):
        need(1 <= side <= 31, f"layer {i} has {name} {side}, outside 1..31")
    fits = min(g.height, g.width, g.channels) >= 1 and (g.same or g.kernel <= min(g.height, g.width))
    need(fits and min(g.pooled) >= 1, f"layer {i}: nothing is left of {g.height} x {g.width} x {g.channels} after {g}")
    need(layer.inputs == g.kernel**2 * g.channels, f"layer {i} has {layer.inputs} weights a unit, its kernel window "
         f"{g.kernel} x {g.kernel} x {g.channels}")  # fmt: skip


def _check_step(i: int, below: f.Layer, layer: f.Layer) -> None:
    if isinstance(below, f.ConvLayer) and isinstance(layer, f.ConvLayer):
        here, there = (layer.geometry.height, layer.geometry.width), below.geometry.pooled
        need(here == there, f"layer {i} takes an image of {here}, layer {i - 1} gives {there}")
    need(layer.values == below.outputs, f"layer {i} takes {layer.values} inputs, layer {i - 1} gives {below.outputs}")
    need(layer.takes == below.gives or layer.kind == "graded",
         f"layer {i} takes {layer.takes}, but layer {i - 1} gives {below.gives}")  # fmt: skip


def _check_encode(encode: f.Encode, first: f.Layer) -> None:
    bits, features, channels = encode.planes * encode.features, encode.features, encode.channels
    need(bits == first.values, f"the encoder makes {bits} bits, the first layer takes {first.values}")
    need(first.takes == "bits", f"layer 0 takes {first.takes}, but the encoder gives bits")
    need(0 <= channels <= features and features % (channels or 1) == 0,
         f"the encoder has {channels} channels, not a divisor of {features} features")  # fmt: skip
    need(channels == 0 or first.kind == "conv",
         f"the encoder has {channels} channels, but layer 0 is no convolution: leave channels at 0")  # fmt: skip


def check_limits(frozen: f.Frozen) -> None:
    """Raises ExportError for layers that do not fit together or exceed a limit of the `.mbit` format."""
    check_layers(frozen)
    count = len(frozen.layers) + (frozen.encode is not None)
    need(count <= MAX_LAYERS, f"{count} layers, the format holds {MAX_LAYERS}: fewer hidden layers")
    need(1 <= frozen.temperature <= 65535, f"temperature {frozen.temperature} is outside 1..65535")
    need(0 <= frozen.skip_below <= 4096, f"skip_below {frozen.skip_below} is outside 0..4096")
    need(1 <= frozen.generator < 2**32, f"generator {frozen.generator} is outside 1..4294967295")
    need(frozen.classes >= 2, f"{frozen.classes} class: a classifier needs at least 2")
    if isinstance(frozen.encode, f.Encode):
        planes, features = frozen.encode.thresholds.shape
        need(1 <= planes <= MAX_PLANES, f"{planes} thermometer planes, the format holds 1..{MAX_PLANES}")
        need(planes * features <= MAX_UNITS, f"the encoder makes {planes * features} bits, the format holds {MAX_UNITS}: "
             "fewer planes or a smaller image")  # fmt: skip
    size = frozen.input_bytes
    need(size < 2**16, f"an input has {size} bytes, the format holds 65535: a smaller image")
    need(frozen.layers[0].takes != "signs", "layer 0 takes signs: in this format a first layer takes bits or bytes")
    for i, layer in enumerate(frozen.layers):
        if layer.kind in gates.NEW:
            continue
        n, k = layer.hidden.shape
        need(1 <= n <= MAX_UNITS and 1 <= k <= MAX_UNITS, f"layer {i} is {k} -> {n}, the format holds 1..{MAX_UNITS}: "
             f"{_way_out(frozen, i)}")  # fmt: skip
        need(1 <= layer.bits <= 8, f"layer {i} has {layer.bits} bits a level, the format holds 1..8")
        low, high, top = int(layer.hidden.min()), int(layer.hidden.max()), 2 ** (layer.bits - 1)
        need(
            -top <= low and high < top, f"layer {i} has levels {low}..{high}, {layer.bits} bits hold {-top}..{top - 1}"
        )
        if isinstance(layer.rule, f.Rule):
            _check_rule(i, layer, layer.rule)
        if isinstance(layer, f.ConvLayer):
            most = max(layer.values, layer.outputs)
            need(most <= f.MAX_IMAGE, f"layer {i} has an image of {most} values, the format holds {f.MAX_IMAGE}: smaller, or more "
                 "pooling")  # fmt: skip
        elif isinstance(layer, f.DenseLayer):
            _check_dense(i, layer)
        elif isinstance(layer, f.GradedLayer):
            _check_graded(i, layer)
        elif isinstance(layer, f.OutputLayer):
            _check_output(i, layer)


def _check_dense(i: int, layer: f.DenseLayer) -> None:
    need(0 <= layer.ste_window <= MAX_STE_WINDOW,
         f"layer {i} has ste_window {layer.ste_window}, the format holds 0..{MAX_STE_WINDOW}")  # fmt: skip
    learning = [name for name, used in (("a rule", layer.rule), ("an ste_window", layer.ste_window), ("ternary", layer.ternary))
                if used]  # fmt: skip
    need(layer.takes != "bytes" or not learning, f"layer {i} takes bytes and has {' and '.join(learning)}: it does not learn and "
         "no error reaches it, leave that out")  # fmt: skip


def _check_graded(i: int, layer: f.GradedLayer) -> None:
    need(layer.units <= MAX_GRADED,
         f"layer {i} has {layer.units} graded units, the format holds 1..{MAX_GRADED}: fewer units")  # fmt: skip
    need(layer.values <= MAX_UNITS,
         f"layer {i} takes {layer.values} bits, the format holds {MAX_UNITS}: fewer planes or inputs")  # fmt: skip
    need(0 <= layer.low < layer.high <= MAX_RAMP, f"layer {i} has a ramp from {layer.low} to {layer.high}, the format holds one "
         f"that rises within 0..{MAX_RAMP}")  # fmt: skip
    if layer.rule is not None:
        _check_votes(i, layer.rule, layer.planes)
    if layer.kept is not None:
        _check_kept(i, layer, layer.kept)


def _check_output(i: int, layer: f.OutputLayer) -> None:
    grades, most = layer.takes == "grades", int(_score_reach(layer).max())
    what = "differences of scores, times the classes," if grades else "scores"
    need(most < 2**31, f"{what} could reach {most}, beyond 32 bits: smaller mul or add")
    if grades:
        need(layer.units <= MAX_GRADED, f"{layer.units} classes above a graded layer, the format holds {MAX_GRADED}")
        need(layer.bits == 1, f"layer {i} has {layer.bits} bits a level, above a graded layer the format holds 1")


def _score_reach(layer: f.OutputLayer) -> NDArray[np.int64]:
    """Largest integers on the way to each score, int64 (N,); they must stay below 2**31."""
    mul, add = np.abs(layer.mul.astype(np.int64)), np.abs(layer.add.astype(np.int64))
    if layer.takes == "grades":  # the error is computed from differences of scores, times the classes
        return np.asarray(2 * layer.units * (8 * layer.inputs * mul + add))
    return np.asarray(mul * (2 ** fold_constants(layer)[1] + 1) + add)


def _check_rule(i: int, layer: f.Layer, rule: f.Rule) -> None:
    need(layer.bits >= 2, f"layer {i} learns and so needs at least 2 bits a level, not {layer.bits}")
    need(1 <= rule.dose <= MAX_DOSE, f"layer {i} has dose {rule.dose}, outside 1..{MAX_DOSE}")
    entries = 2 ** (layer.bits - 1)
    for name, table in (("strengthen", rule.strengthen), ("weaken", rule.weaken)):
        need(table.shape == (entries,), f"layer {i}: {name} has shape {table.shape}, {layer.bits} bits a level need "
             f"({entries},)")  # fmt: skip


def _check_votes(i: int, votes: f.Votes, planes: int) -> None:
    need(votes.batch in f.BATCHES,
         f"layer {i} counts {votes.batch} samples, the format holds a multiple of 32 from 32 to 256")  # fmt: skip
    entries, needed = f.MAX_VOTES * votes.batch * planes + 1, votes.votes_needed
    need(needed.shape == (entries,), f"layer {i}: votes_needed has shape {needed.shape}, {votes.batch} samples of {planes} planes "
         f"need ({entries},)")  # fmt: skip
    falls = needed[1:] < needed[:-1]
    need(
        not falls.any(),
        f"layer {i}: votes_needed falls after {falls.argmax()} votes, the format holds one that never does",
    )
    need(
        1 <= votes.chance_per_vote <= 65535, f"layer {i} has chance_per_vote {votes.chance_per_vote}, outside 1..65535"
    )
    need(votes.passes in f.PASSES, f"layer {i} has {votes.passes} passes, the format holds 4 or 8")


def _check_kept(i: int, layer: f.GradedLayer, kept: f.Kept) -> None:
    batch = layer.rule.batch if layer.rule is not None else 0
    shapes = kept.bits.shape, kept.votes.shape
    need(shapes == ((batch, layer.values), (batch, layer.units)),
         f"layer {i} keeps samples of shapes {shapes}, a batch of {batch} needs {((batch, layer.values), (batch, layer.units))}: "
         "take out what it keeps")  # fmt: skip
    need(0 <= kept.slot < batch, f"layer {i} has slot {kept.slot} next, outside 0..{batch - 1}")
    most = int(np.abs(kept.votes.astype(np.int64)).max())
    need(most <= f.MAX_VOTES, f"layer {i} keeps {most} votes of one unit, the format holds {f.MAX_VOTES}")


def _way_out(frozen: f.Frozen, i: int) -> str:
    """Advice for a layer with too many units or inputs."""
    layer = frozen.layers[i]
    if layer.units > MAX_UNITS:
        return "fewer units"
    if isinstance(layer, f.ConvLayer):
        return "a smaller kernel or fewer channels"
    if i > 0:  # the units of a dense layer below have been checked, so a convolution is below
        return f"more pooling, a larger stride or fewer units in layer {i - 1}"
    return "fewer inputs"
