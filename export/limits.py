"""What the `.mbit` format cannot hold, as sentences: the value, the limit, the way out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabit.export.counters import fold_constants
from metabit.export.frozen import (
    BATCHES,
    DRAWS,
    MAX_GRADED,
    MAX_IMAGE,
    MAX_LAYERS,
    MAX_UNITS,
    MAX_VOTES,
    Frozen,
    Graded,
    Layer,
    Votes,
)
from metabit.export.wiring import check_wiring, need


def check_limits(frozen: Frozen) -> None:
    """Raises ExportError for layers that do not fit together or break a limit of the format."""
    check_wiring(frozen)
    count = len(frozen.layers) + (frozen.encode is not None)
    need(count <= MAX_LAYERS, f"{count} layers, the format holds {MAX_LAYERS}: fewer hidden layers")
    need(1 <= frozen.temperature <= 65535, f"temperature {frozen.temperature} is outside 1..65535")
    need(0 <= frozen.margin <= 4096, f"margin {frozen.margin} is outside 0..4096")
    need(1 <= frozen.generator < 2**32, f"generator {frozen.generator} is outside 1..4294967295")
    need(frozen.classes >= 2, f"{frozen.classes} class: a classifier needs at least 2")
    if frozen.encode is not None:
        planes, features = frozen.encode.thresholds.shape
        need(1 <= planes <= 8, f"{planes} thermometer planes, the format holds 1..8")
        need(planes * features <= MAX_UNITS, f"the encoder makes {planes * features} bits, the format holds {MAX_UNITS}: "
             "fewer planes or a smaller image")  # fmt: skip
    size = frozen.input_bytes
    need(size < 2**16, f"an input has {size} bytes, the format holds 65535: a smaller image")
    for i, layer in enumerate(frozen.layers):
        n, k = layer.hidden.shape
        need(1 <= n <= MAX_UNITS and 1 <= k <= MAX_UNITS, f"layer {i} is {k} -> {n}, the format holds 1..{MAX_UNITS}: "
             f"{_way_out(frozen, i)}")  # fmt: skip
        if layer.conv is not None:
            most = max(layer.conv.values, layer.outputs)
            need(most <= MAX_IMAGE, f"layer {i} has an image of {most} values, the format holds {MAX_IMAGE}: smaller, or more "
                 "pooling")  # fmt: skip
        need(layer.rule is None or not (layer.conv or layer.uint8), f"layer {i} has a rule: convolutions and layers on uint8 "
             "do not learn on the device, leave it out")  # fmt: skip
        need(layer.window == 0 or not (layer.conv or layer.uint8), f"layer {i} has window {layer.window}: no error reaches "
             "convolutions and layers on uint8, 0 it must be")  # fmt: skip
        need(layer.window == 0 or not (layer.graded or layer.graded_input), f"layer {i} has window {layer.window}: errors pass a "
             "graded layer where its ramp rises, 0 it must be")  # fmt: skip
        need(
            not layer.ternary or (layer.kind == "dense" and not layer.uint8),
            f"layer {i} is ternary: the format holds that of dense layers not on uint8",
        )
        need(
            layer.on_off == (i == 0 or layer.kind == "graded"),
            f"layer {i}: the first layer and a graded one, and only they, have on/off inputs",
        )
        need(1 <= layer.bits <= 8, f"layer {i} has {layer.bits} hidden bits, the format holds 1..8")
        low, high = int(layer.hidden.min()), int(layer.hidden.max())
        half = 2 ** (layer.bits - 1)
        need(-half <= low and high < half, f"layer {i} has levels {low}..{high}, {layer.bits} bits hold "
             f"{-half}..{half - 1}")  # fmt: skip
        need(0 <= layer.window <= 32767, f"layer {i} has window {layer.window}, the format holds 0..32767")
        if layer.rule is not None:
            need(layer.bits >= 2, f"layer {i} learns and so needs at least 2 hidden bits, not {layer.bits}")
            need(1 <= layer.rule.dose < 2**20, f"layer {i} has dose {layer.rule.dose}, outside 1..1048575")
            for name, table in (("strengthen", layer.rule.strengthen), ("weaken", layer.rule.weaken)):
                need(table.shape == (half,), f"layer {i}: {name} has shape {table.shape}, {layer.bits} hidden bits "
                     f"need ({half},)")  # fmt: skip
            if layer.rule.votes is not None and layer.graded is not None:
                _check_votes(i, layer.rule.votes, layer.graded)
        if layer.graded is not None:
            _check_graded(i, layer, layer.graded)
        if layer.kind == "output":
            most = int(_reach(layer).max())
            what = "scores' differences, times the classes," if layer.graded_input else "scores"
            need(most < 2**31, f"{what} could reach {most}, beyond 32 bits: smaller mul or add")
            need(
                not layer.graded_input or n <= MAX_GRADED,
                f"{n} classes on graded inputs, the format holds {MAX_GRADED}",
            )
            need(not layer.graded_input or layer.bits == 1, f"layer {i} has {layer.bits} hidden bits, on graded inputs the format "
                 "holds 1: nothing there learns")  # fmt: skip


def _reach(layer: Layer) -> NDArray[np.int64]:
    """What the scores of an output must stay below 2**31 with, int64 (N,)."""
    mul, add = np.abs(layer.mul.astype(np.int64)), np.abs(layer.add.astype(np.int64))
    if layer.graded_input:  # the error is taken from score differences times the classes
        return np.asarray(2 * layer.units * (8 * layer.inputs * mul + add))
    return np.asarray(mul * (2 ** fold_constants(layer)[1] + 1) + add)


def _check_graded(i: int, layer: Layer, graded: Graded) -> None:
    need(
        layer.units <= MAX_GRADED,
        f"layer {i} has {layer.units} graded units, the format holds 1..{MAX_GRADED}: fewer units",
    )
    need(
        layer.values <= MAX_UNITS,
        f"layer {i} takes {layer.values} bits, the format holds {MAX_UNITS}: fewer planes or inputs",
    )
    need(0 <= graded.lo < graded.hi <= 2047, f"layer {i} has a ramp from {graded.lo} to {graded.hi}, the format holds one that "
         "rises within 0..2047")  # fmt: skip


def _check_votes(i: int, votes: Votes, graded: Graded) -> None:
    need(
        votes.batch in BATCHES,
        f"layer {i} counts {votes.batch} samples, the format holds a multiple of 32 from 32 to 256",
    )
    entries = MAX_VOTES * votes.batch * graded.planes + 1
    need(votes.need.shape == (entries,), f"layer {i}: need has shape {votes.need.shape}, {votes.batch} samples of {graded.planes} "
         f"planes need ({entries},)")  # fmt: skip
    falls = votes.need[1:] < votes.need[:-1]
    need(not falls.any(), f"layer {i}: need falls after {falls.argmax()} votes, the format holds one that never does")
    need(1 <= votes.gain <= 65535, f"layer {i} has gain {votes.gain}, outside 1..65535")
    need(votes.draws in DRAWS, f"layer {i} draws {votes.draws} times, the format holds 4 or 8")


def _way_out(frozen: Frozen, i: int) -> str:
    """Of a layer with too many units or inputs."""
    layer = frozen.layers[i]
    if layer.units > MAX_UNITS:
        return "fewer units"
    if layer.conv is not None:
        return "a smaller kernel or fewer channels"
    if i > 0:  # what dense layers give was checked with them
        return f"more pooling, a larger stride or fewer units in layer {i - 1}"
    return "fewer inputs"
