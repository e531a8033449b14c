"""A frozen network as named arrays and a page of JSON: what an ONNX or TFLite file carries besides its graph.

Both writers store the same names, so a reader needs no graph to get the network, or its hidden levels, back.

==========================  ======  ==========================  =====================================
name                        dtype   shape                       present
==========================  ======  ==========================  =====================================
encode.thresholds           uint8   (P, F)                      with a thermometer code
layer{i}.sign_plane         uint8   (N, ceil(K / 8))            always; what inference reads
layer{i}.hidden_planes      uint8   (k, N, ceil(K / 8))         k >= 2; plane k-1 equals the sign plane
layer{i}.threshold          int32   (N,)                        hidden layers
layer{i}.mul, layer{i}.add  int32   (N,)                        output layer
==========================  ======  ==========================  =====================================

K of a convolution is one window, (row, column, channel).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.bits import hidden_planes, levels_from_planes
from metabit.export.errors import ExportError
from metabit.export.frozen import CERTAIN, Counters, Encode, Frozen, Layer, Rule, Window
from metabit.export.wiring import check_wiring, need

FORMAT = 1
FACTS = "metabit"
"""The key that the JSON stands under in a file's metadata."""

Tensors = Mapping[str, NDArray[Any]]


def named_tensors(frozen: Frozen) -> dict[str, NDArray[Any]]:
    """Every array of the table above.

    Raises ExportError if the layers do not fit together, for a graded layer, or for a level that its layer's bits cannot hold.
    """
    check_wiring(frozen)
    named: dict[str, NDArray[Any]] = {}
    if frozen.encode:
        named["encode.thresholds"] = frozen.encode.thresholds
    for i, layer in enumerate(frozen.layers):
        need(
            layer.graded is None,
            f"layer {i} is graded: ONNX and TFLite hold thresholds only, use --formats mbit",
        )
        planes = hidden_planes(layer.hidden, layer.bits)
        named[f"layer{i}.sign_plane"] = planes[-1]
        if layer.bits > 1:
            named[f"layer{i}.hidden_planes"] = planes
        if layer.kind != "output":
            named[f"layer{i}.threshold"] = layer.theta
        else:
            named[f"layer{i}.mul"] = layer.mul
            named[f"layer{i}.add"] = layer.add
    return named


def facts(frozen: Frozen) -> str:
    """What is not an array, as JSON; equal networks give equal text."""
    page = {
        "format": FORMAT,
        "encode": frozen.encode is not None,
        "temperature": frozen.temperature,
        "margin": frozen.margin,
        "generator": frozen.generator,
        "counters": vars(frozen.counters),
        "layers": [_layer_facts(layer) for layer in frozen.layers],
    }
    if frozen.encode is not None and frozen.encode.channels:
        page["channels"] = frozen.encode.channels
    return json.dumps(page, sort_keys=True, separators=(",", ":"))


def rebuild(page: str, named: Tensors) -> Frozen:
    """The network that `facts` and `named_tensors` came from.

    Raises ExportError if the page is not ours, is of another format version, or does not fit the arrays.
    """
    try:
        told = json.loads(page)
        if told["format"] != FORMAT:
            raise ExportError(f"file format version {told['format']} is not the {FORMAT} that this metabit reads")
        frozen = Frozen(
            layers=tuple(_layer(f"layer{i}", layer, named) for i, layer in enumerate(told["layers"])),
            encode=_encode(told, named) if told["encode"] else None,
            temperature=int(told["temperature"]),
            margin=int(told["margin"]),
            generator=int(told["generator"]),
            counters=Counters(**told["counters"]),
        )
    except ExportError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as broken:
        raise ExportError(f"the file's description of the network is incomplete or damaged: {broken!r}") from broken
    check_wiring(frozen)
    return frozen


def _layer_facts(layer: Layer) -> dict[str, Any]:
    rule = layer.rule and {
        "strengthen": layer.rule.strengthen.tolist(),
        "weaken": layer.rule.weaken.tolist(),
        "dose": layer.rule.dose,
    }
    page: dict[str, Any] = {
        "kind": layer.kind,
        "inputs": layer.inputs,
        "bits": layer.bits,
        "on_off": layer.on_off,
        "window": layer.window,
        "rule": rule,
    }
    if layer.uint8:
        page["uint8"] = True
    if layer.conv:
        page["conv"] = vars(layer.conv)
    return page


def _encode(told: dict[str, Any], named: Tensors) -> Encode:
    return Encode(_array(named, "encode.thresholds", np.uint8, (-1, -1)), int(told.get("channels", 0)))


def _window(told: dict[str, Any]) -> Window:
    sizes = {name: int(told[name]) for name in ("height", "width", "channels", "kernel", "stride", "pool")}
    if not isinstance(told["same"], bool):
        raise ExportError(f"the file's description of a convolution is damaged: {told}")
    return Window(**sizes, same=told["same"])


def _layer(name: str, told: dict[str, Any], named: Tensors) -> Layer:
    bits, inputs, is_output, rule = int(told["bits"]), int(told["inputs"]), told["kind"] == "output", told["rule"]
    signs = _array(named, f"{name}.sign_plane", np.uint8, (-1, -1))
    units, octets = signs.shape
    planes = _array(named, f"{name}.hidden_planes", np.uint8, (bits, units, octets)) if bits > 1 else signs[None]
    if not np.array_equal(planes[-1], signs):
        raise ExportError(f"{name}: the hidden planes and the sign plane of this file disagree")

    def integers(what: str, of_output: bool, otherwise: int) -> NDArray[np.int32]:
        if is_output == of_output:
            return _array(named, f"{name}.{what}", np.int32, (units,))
        return np.full(units, otherwise, np.int32)

    kind = told["kind"]
    if kind not in ("conv", "dense", "output"):
        raise ExportError(f"{name} is of kind {kind!r}, which this metabit does not know: a newer one wrote it")
    return Layer(
        kind=kind,
        hidden=levels_from_planes(planes, inputs),
        bits=bits,
        on_off=bool(told["on_off"]),
        theta=integers("threshold", of_output=False, otherwise=0),
        window=int(told["window"]),
        mul=integers("mul", of_output=True, otherwise=1),
        add=integers("add", of_output=True, otherwise=0),
        rule=rule and Rule(_table(rule["strengthen"], bits), _table(rule["weaken"], bits), int(rule["dose"])),
        uint8=bool(told.get("uint8", False)),
        conv=_window(told["conv"]) if "conv" in told else None,
    )


def _array(named: Tensors, name: str, dtype: type[np.generic], shape: tuple[int, ...]) -> NDArray[Any]:
    """The named array, of the dtype and shape expected; -1 stands for any size."""
    array = named[name]
    fits = array.ndim == len(shape) and all(want in (-1, size) for want, size in zip(shape, array.shape, strict=True))
    if not fits or array.dtype != dtype:
        raise ExportError(f"{name} should be {np.dtype(dtype)} {shape} but is {array.dtype} {array.shape}")
    return array


def _table(entries: list[int], bits: int) -> NDArray[np.uint16]:
    if len(entries) != 1 << (bits - 1) or not all(0 <= entry <= CERTAIN for entry in entries):
        raise ExportError(f"a rule table of {bits} hidden bits has {1 << (bits - 1)} entries of 0..{CERTAIN}")
    return np.array(entries, np.uint16)
