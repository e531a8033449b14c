"""A frozen network as named arrays and a JSON text, which an ONNX or TFLite file stores beside its graph.

Both writers use the same names, so that a reader gets the network and its levels back without looking at the graph.

==========================  ======  ==========================  =====================================
name                        dtype   shape                       present
==========================  ======  ==========================  =====================================
encode.thresholds           uint8   (P, F)                      with a thermometer code
layer{i}.sign_plane         uint8   (N, ceil(K / 8))            always; the weights of inference
layer{i}.hidden_planes      uint8   (k - 1, N, ceil(K / 8))     k >= 2; the level planes below the sign plane
layer{i}.threshold          int32   (N,)                        hidden layers
layer{i}.mul, layer{i}.add  int32   (N,)                        output layer
layer{i}.kept_bits          uint8   (batch, ceil(P * K / 8))    graded layer that keeps samples
layer{i}.kept_votes         int8    (batch, N)                  graded layer that keeps samples
==========================  ======  ==========================  =====================================

K of a convolution is one kernel window, (row, column, channel). Level planes start with the least significant one; older files
repeat the sign plane as their last. The arrays of networks of gates and of units from nothing are in
`metabit.export.files.interchange_gates`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export import frozen as f
from metabit.export.bits import hidden_planes, levels_from_planes
from metabit.export.errors import ExportError
from metabit.export.files import interchange_gates as gates
from metabit.export.files import interchange_graded as graded
from metabit.export.files import interchange_tables as tables
from metabit.export.validate import check_layers, need
from metabit.train.network.spec import MAX_LAYERS

FORMAT = 1
KEPT = ("hidden_planes", "covariance", "means", "doubts", "scale", "kept_bits", "kept_votes")
"""Arrays that learning needs. Inference reads none but the level planes of a graded layer."""
FACTS = "metabit"
"""Key of the JSON text in a file's metadata."""
IMAGE = "metabit.image"
"""Key of the whole `.mbit` image in the metadata of a file whose arrays are not those of the image."""

GATES = (f.GatesLayer, f.LevelsLayer, f.HeadLayer, f.TriplesLayer)
Tensors = Mapping[str, NDArray[Any]]


def named_tensors(frozen: f.Frozen) -> dict[str, NDArray[Any]]:
    """Every array of the table above.

    Raises ExportError if the layers do not fit together, or for a level that its layer's bits cannot hold.
    """
    check_layers(frozen)
    named: dict[str, NDArray[Any]] = {}
    if isinstance(frozen.encode, f.Cuts):
        named |= gates.named_cuts(frozen.encode)
    elif frozen.encode:
        named["encode.thresholds"] = frozen.encode.thresholds
    for i, layer in enumerate(frozen.layers):
        if isinstance(layer, GATES):
            named |= gates.named(i, layer)
            continue
        assert isinstance(layer, f.ConvLayer | f.DenseLayer | f.GradedLayer | f.OutputLayer)
        planes = hidden_planes(layer.hidden, layer.bits)
        named[f"layer{i}.sign_plane"] = planes[-1]
        if layer.bits > 1:
            named[f"layer{i}.hidden_planes"] = planes[:-1]
        if isinstance(layer, f.OutputLayer):
            named[f"layer{i}.mul"] = layer.mul
            named[f"layer{i}.add"] = layer.add
            continue
        named[f"layer{i}.threshold"] = layer.theta
        if isinstance(layer, f.GradedLayer) and layer.kept is not None:
            named |= graded.named_kept(f"layer{i}", layer.kept)
    return named


def facts(frozen: f.Frozen) -> str:
    """Everything that is not an array, as JSON. Equal networks give equal text."""
    page = {
        "format": FORMAT,
        "encode": frozen.encode is not None,
        "temperature": frozen.temperature,
        "margin": frozen.skip_below,
        "generator": frozen.generator,
        "counters": vars(frozen.counters),
        "layers": [_layer_facts(layer) for layer in frozen.layers],
    }
    if frozen.encode is not None and frozen.encode.channels:
        page["channels"] = frozen.encode.channels
    if isinstance(frozen.encode, f.Cuts):
        page["cuts"] = {
            "kind": frozen.encode.kind,
            "scale": frozen.encode.scale is not None,
            "shared": frozen.encode.shared,
        }
    if frozen.notes is not None:
        page["notes"] = vars(frozen.notes)
    return json.dumps(page, sort_keys=True, separators=(",", ":"))


def rebuild(page: str, named: Tensors) -> f.Frozen:
    """The network that `facts` and `named_tensors` described.

    Raises ExportError if the text is not ours, is of another format version, or contradicts the arrays.
    """
    with described():
        told = told_of(page)
        encode: f.Encode | f.Cuts | None = None
        if "cuts" in told:
            encode = gates.rebuilt_cuts(told["cuts"], partial(_array, named))
        elif told["encode"]:
            encode = f.Encode(_array(named, "encode.thresholds", np.uint8, (-1, -1)), int(told.get("channels", 0)))
        frozen = f.Frozen(
            layers=tuple(_layer(f"layer{i}", layer, named) for i, layer in enumerate(told["layers"])),
            encode=encode,
            temperature=int(told["temperature"]),
            skip_below=int(told["margin"]),
            generator=int(told["generator"]),
            counters=f.Counters(**{name: _counter(name, count) for name, count in told["counters"].items()}),
            notes=_notes(told["notes"]) if "notes" in told else None,
        )
        check_layers(frozen)
    return frozen


def told_of(page: str) -> dict[str, Any]:
    """The facts of a JSON text, which has at most as many layers as the format holds: arrays of layers may share memory."""
    with described():
        told: dict[str, Any] = json.loads(page)
        if told["format"] != FORMAT:
            raise ExportError(f"file format version {told['format']} is not the {FORMAT} that this metabit reads")
        count = len(told["layers"])
        need(count <= MAX_LAYERS, f"the file tells of {count} layers, the format holds {MAX_LAYERS}: export it again")
    return told


@contextmanager
def described() -> Iterator[None]:
    """Whatever a wrong description raises becomes an ExportError."""
    try:
        yield
    except ExportError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as broken:
        raise ExportError(f"the file's description of the network is incomplete or damaged: {broken!r}") from broken


def _counter(name: str, count: int) -> int:
    need(0 <= count < 1 << 32, f"the file counts {count} {name}, outside 0..{(1 << 32) - 1}")
    return int(count)


def _notes(told: dict[str, Any]) -> f.Notes:
    classes, features = (tuple(map(str, told[name])) for name in ("classes", "features"))
    return f.Notes(classes, features)


def _layer_facts(layer: f.Layer) -> dict[str, Any]:
    if isinstance(layer, GATES):
        return gates.facts(layer)
    rule = layer.rule if isinstance(layer.rule, f.Rule) else None
    taught = rule and {
        "strengthen": tables.told(rule.strengthen),
        "weaken": tables.told(rule.weaken),
        "dose": rule.dose,
    }
    page: dict[str, Any] = {
        "kind": layer.kind,
        "inputs": layer.inputs,
        "bits": layer.bits,
        "on_off": layer.takes in ("bits", "bytes"),
        "window": layer.ste_window if isinstance(layer, f.DenseLayer) else 0,
        "rule": taught,
    }
    if layer.takes == "bytes":
        page["uint8"] = True
    if layer.takes == "grades":
        page["grades"] = True
    if isinstance(layer, f.ConvLayer):
        page["conv"] = vars(layer.geometry)
    if isinstance(layer, f.DenseLayer) and layer.ternary:
        page["ternary"] = True
    return page | (graded.facts(layer) if isinstance(layer, f.GradedLayer) else {})


def _geometry(told: dict[str, Any]) -> f.ConvGeometry:
    sizes = {name: int(told[name]) for name in ("height", "width", "channels", "kernel", "stride", "pool")}
    if not isinstance(told["same"], bool):
        raise ExportError(f"the file's description of a convolution is damaged: {told}")
    return f.ConvGeometry(**sizes, same=told["same"])


def _layer(name: str, told: dict[str, Any], named: Tensors) -> f.Layer:
    if told["kind"] in ("gates", "levels", "head", "triples"):
        return gates.rebuilt(name, told, partial(_array, named))
    kind, bits, inputs, rule = told["kind"], int(told["bits"]), int(told["inputs"]), told["rule"]
    need(1 <= bits <= 8, f"{name} has levels of {bits} bits, outside 1..8")
    signs = _array(named, f"{name}.sign_plane", np.uint8, (-1, -1))
    units, octets = signs.shape
    hidden = levels_from_planes(np.concatenate([_planes(name, bits, signs, named), signs[None]]), inputs)
    takes: Any = "bytes" if told.get("uint8", False) else "bits" if told["on_off"] else "signs"
    takes = "grades" if told.get("grades", False) else takes
    if rule is not None:
        strengthen, weaken = (
            tables.table_of(rule[one], 1 << bits >> 1, f"the rule of {name}") for one in ("strengthen", "weaken")
        )
        rule = f.Rule(strengthen, weaken, int(rule["dose"]))

    def integers(what: str) -> NDArray[np.int32]:
        return _array(named, f"{name}.{what}", np.int32, (units,))

    if kind == "conv":
        need(rule is None, f"{name} is a convolution with a rule: convolutions do not learn on the device")
        return f.ConvLayer(hidden, bits, takes, integers("threshold"), _geometry(told["conv"]))
    if kind == "dense":
        ternary = bool(told.get("ternary", False))
        return f.DenseLayer(hidden, bits, takes, integers("threshold"), int(told["window"]), rule, ternary)
    if kind == "graded":
        return graded.rebuilt(name, told, hidden, integers("threshold"), rule, partial(_array, named))
    if kind == "output":
        return f.OutputLayer(hidden, bits, takes, integers("mul"), integers("add"), rule)
    raise ExportError(f"{name} is of kind {kind!r}, which this metabit does not know: a newer one wrote it")


def _planes(name: str, bits: int, signs: NDArray[np.uint8], named: Tensors) -> NDArray[np.uint8]:
    """The level planes below the sign plane, (k - 1, N, ceil(K / 8))."""
    if bits == 1:
        return np.zeros((0, *signs.shape), np.uint8)
    planes = named[f"{name}.hidden_planes"]
    if len(planes) == bits and planes.ndim == 3:  # of an older file
        if not np.array_equal(planes[-1], signs):
            raise ExportError(f"{name}: the level planes and the sign plane of this file disagree")
        return _array(named, f"{name}.hidden_planes", np.uint8, (bits, *signs.shape))[:-1]
    return _array(named, f"{name}.hidden_planes", np.uint8, (bits - 1, *signs.shape))


def _array(named: Tensors, name: str, dtype: type[np.generic], shape: tuple[int, ...]) -> NDArray[Any]:
    """The named array, after a check of its dtype and shape. -1 stands for any size."""
    array = named[name]
    fits = array.ndim == len(shape) and all(want in (-1, size) for want, size in zip(shape, array.shape, strict=True))
    if not fits or array.dtype != dtype:
        raise ExportError(f"{name} should be {np.dtype(dtype)} {shape} but is {array.dtype} {array.shape}")
    return array
