"""The state of a network that learns, as named arrays: what a step takes and gives in model.train.onnx and model.train.tflite.

==========================  =======  =====================  ==================================================
name                        dtype    shape                  present
==========================  =======  =====================  ==================================================
counters                    uint32   (3,)                   always: steps, moved, flipped
generator                   uint32   ()                     where the rule draws: sign units and output levels
layer{i}.sign_plane         uint8    (N, ceil(K / 8))       each layer of sign units that learns
layer{i}.hidden_planes      uint8    (k - 1, N, ..)         each layer of sign units that learns
layer1.levels               int8     (C, N + 1)             output levels that learn
layer1.weights              int8     (R, H)                 a head, as all that follow
layer1.covariance           int16    (H (H + 2) / 2,)
layer1.means                int16    (R, H)
layer1.counts               int16    (R,)
layer1.seen, .dither, .turn int32    ()
layer1.owners, .doubts      uint8    (R,), (C,)             with several rows a class
==========================  =======  =====================  ==================================================

The arrays are those of `metabit.export.files.interchange`; the rest of the network does not change while it learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export import frozen as f
from metabit.export.bits import hidden_planes, levels_from_planes
from metabit.export.errors import ExportError
from metabit.export.validate import check_layers

State = dict[str, NDArray[Any]]
HEAD = ("weights", "covariance", "means", "counts", "seen", "dither", "turn")
ROWS = ("owners", "doubts")
"""Arrays of a head, and those that one with several rows a class has too."""


def learnable(frozen: f.Frozen) -> None:
    """Raises ExportError unless the network learns by a rule that a training graph has."""
    if any(isinstance(layer, f.GradedLayer) for layer in frozen.layers):
        raise ExportError(
            "a graph of the vote rule is not written: use the C runtime, metabit run --learn, or train the default network"
        )
    if not any(layer.learns for layer in frozen.layers):
        raise ExportError(
            "this network does not learn, and a training file holds a learning step: export it with a learner"
        )


def state_of(frozen: f.Frozen) -> State:
    """The arrays of the table above. Raises ExportError as `learnable`."""
    learnable(frozen)
    state: State = {"counters": np.array(list(vars(frozen.counters).values()), np.uint32)}
    if frozen.layers[-1].kind != "head":
        state["generator"] = np.array(frozen.generator, np.uint32)
    for i, layer in enumerate(frozen.layers):
        if isinstance(layer, f.HeadLayer):
            told: State = {"weights": layer.hidden, "counts": layer.counts.astype(np.int16)}
            for name in HEAD + (ROWS if layer.rows.per_class > 1 else ()):
                array: NDArray[Any] = told[name] if name in told else np.array(getattr(layer, name))
                state[f"layer{i}.{name}"] = array if array.ndim else array.astype(np.int32)
        elif isinstance(layer, f.LevelsLayer):
            state[f"layer{i}.levels"] = layer.hidden
        elif layer.learns:
            planes = hidden_planes(layer.hidden, layer.bits)
            state |= {f"layer{i}.sign_plane": planes[-1], f"layer{i}.hidden_planes": planes[:-1]}
    return state


def state_into(frozen: f.Frozen, arrays: Mapping[str, NDArray[Any]]) -> f.Frozen:
    """The network with the state that a step gave, ready for `write_image`.

    frozen: the network that the step was written from, or any with the same layers. arrays: every array of `state_of(frozen)`, by
    its name; others are left alone.

    Raises ExportError if an array is missing, has another dtype or shape, or holds what the format cannot.
    """
    for name, want in state_of(frozen).items():
        if name not in arrays:
            raise ExportError(f"the state has no {name}: give every array that the step gave")
        got = arrays[name]
        if got.dtype != want.dtype or got.shape != want.shape:
            raise ExportError(f"{name} is {got.dtype} {got.shape}, the network has {want.dtype} {want.shape}: "
                              "give the state of this network")  # fmt: skip
    layers = tuple(_learnt(i, layer, arrays) for i, layer in enumerate(frozen.layers))
    steps, moved, flipped = arrays["counters"].tolist()
    generator = int(arrays["generator"]) if frozen.layers[-1].kind != "head" else frozen.generator
    learnt = replace(frozen, layers=layers, generator=generator, counters=f.Counters(steps, moved, flipped))
    check_layers(learnt)
    return learnt


def _learnt(i: int, layer: f.Layer, arrays: Mapping[str, NDArray[Any]]) -> f.Layer:
    if isinstance(layer, f.HeadLayer):
        taken = {name: arrays[f"layer{i}.{name}"] for name in HEAD}
        hidden, counts = taken.pop("weights"), taken.pop("counts").astype(np.uint16)
        more: dict[str, Any] = {name: array if array.ndim else int(array) for name, array in taken.items()}
        if layer.rows.per_class > 1:
            more |= {name: arrays[f"layer{i}.{name}"] for name in ROWS}
        return replace(layer, hidden=hidden, counts=counts, **more)
    if isinstance(layer, f.LevelsLayer) and layer.learns:
        return replace(layer, hidden=arrays[f"layer{i}.levels"])
    if layer.learns:
        planes = [*arrays[f"layer{i}.hidden_planes"], arrays[f"layer{i}.sign_plane"]]
        return replace(layer, hidden=levels_from_planes(np.stack(planes), layer.inputs))
    return layer
