"""Hidden state in a TFLite file: every level plane once, so that it costs k - 1 bits a synapse.

==========================  =====  =======================  =======================================================
name                        dtype  shape                    present
==========================  =====  =======================  =======================================================
layer{i}.low_planes         uint8  (k', N, ceil(K / 8))     level planes that inference does not read, lowest first
layer{i}.second_plane       uint8  (N, ceil(K / 8))         graded layers of 2 or more bits: plane k - 2
==========================  =====  =======================  =======================================================

They stand for the `hidden_planes` of `metabit.export.files.interchange`, with the sign plane last.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.files.interchange import KEPT, Tensors, named_tensors
from metabit.export.files.tflite_graph import SECOND, SIGNS
from metabit.export.files.tflite_schema import Model, Op
from metabit.export.frozen import Frozen

LOW = "low_planes"
PARTS = (LOW, SECOND, SIGNS)
"""The level planes of a layer, lowest first."""


def divided(frozen: Frozen) -> dict[str, NDArray[Any]]:
    """The arrays of a network, with each level plane once. Raises ExportError as `named_tensors` does."""
    arrays = named_tensors(frozen)
    for i, layer in enumerate(frozen.layers):
        planes = arrays.pop(f"layer{i}.hidden_planes", None)
        if planes is None:
            continue
        low = planes[:-1]
        if layer.kind == "graded":
            low, arrays[f"layer{i}.{SECOND}"] = low[:-1], low[-1]
        if len(low):
            arrays[f"layer{i}.{LOW}"] = low
    return arrays


def joined(arrays: Tensors) -> dict[str, NDArray[Any]]:
    """Arrays that `divided` made, with the level planes of each layer in one. Raises ExportError if they do not fit."""
    found = dict(arrays)
    for layer in [name.partition(".")[0] for name in arrays if name.endswith(f".{SIGNS}")]:
        parts = list(_planes(arrays, layer).values())
        if len(parts) > 1:
            try:
                found[f"{layer}.hidden_planes"] = np.concatenate(parts)
            except ValueError:
                shapes = [part.shape for part in parts]
                raise ExportError(f"the level planes of {layer} have shapes {shapes}, which do not fit") from None
    return found


def _planes(arrays: Tensors, layer: str) -> dict[str, NDArray[Any]]:
    """Name -> level planes (planes, N, ceil(K / 8)), lowest first."""
    found = {part: arrays[f"{layer}.{part}"] for part in PARTS if f"{layer}.{part}" in arrays}
    return {part: array if part == LOW else array[None] for part, array in found.items()}


def add_state(model: Model, arrays: Tensors) -> None:
    """Adds the signature "hidden_state", of arrays that inference does not read; the planes of a layer are one output."""
    state = model.subgraph("hidden_state")
    outputs = [state.constant(name, array) for name, array in arrays.items() if name.partition(".")[2] in KEPT]
    for layer in [name.partition(".")[0] for name in arrays if name.endswith(f".{SIGNS}")]:
        parts = _planes(arrays, layer)
        if len(parts) > 1:
            rows = [
                state.constant(f"{layer}.{part}{'' if part == LOW else '.row'}", array) for part, array in parts.items()
            ]
            shape = (sum(map(len, parts.values())), *parts[SIGNS].shape[1:])
            planes = state.tensor(f"{layer}.hidden_planes", shape, np.uint8)
            outputs.append(state.apply(Op.CONCATENATION, rows, planes, {0: np.int32(0)}))
    if outputs:
        model.signature("hidden_state", state, [], outputs)
