"""Networks of gates and of units from nothing as arrays and facts; `metabit.export.files.interchange` calls this for their layers.

==========================  ============  ==================  ================================================
name                        dtype         shape               present
==========================  ============  ==================  ================================================
encode.cuts                 uint8, int16  (P, F) or (P, 1)    with cuts
encode.scale                float32       (2, F)              with cuts that have a scale
layer0.sign_plane           uint8         (N, ceil(K / 8))    gates
layer0.mul, layer0.add      int16, int32  (N,)                gates
layer1.levels               int8          (C, N + 1)          output levels
layer1.weights              int8          (R, H)              a head, as all that follow; means int16 as well
layer1.covariance           int16         (H (H + 2) / 2,)
layer1.counts               int16         (R,)
layer1.offsets, .priors     int32         (R,)                they follow from the others
layer1.gate_mul, .gate_add  int16         (N,)                above gates; z_mul too, and z_add int32
layer1.owners, .doubts      uint8         (R,), (C,)          with several rows a class
layer0.weights              int8          (H, 3)              units from nothing, as all that follow
layer0.index                int32         (H, 3)
layer0.feature_mul          int16         (F,)                feature_add int32 and feature_shift uint8 as well
layer0.mul, layer0.add      int32         (H,)
layer0.top                  int32         (H / 2,)
layer0.low, layer0.high     int8          (H,)
layer0.scale                float32       (2, F)              with a scale
==========================  ============  ==================  ================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export import frozen as f
from metabit.export.bits import levels_from_planes, pack_rows
from metabit.export.oracle.head import Head
from metabit.export.validate import need
from metabit.export.validate_gates import MAX_VALUES

Take = Callable[[str, type[np.generic], tuple[int, ...]], NDArray[Any]]
"""Name, dtype and shape (-1 for any size) -> the array, after a check of both."""


TRIPLES: dict[str, type[np.generic]] = {
    "feature_mul": np.int16, "feature_add": np.int32, "feature_shift": np.uint8, "mul": np.int32, "add": np.int32,
    "top": np.int32, "low": np.int8, "high": np.int8,
}  # fmt: skip
"""Arrays of one dimension of units from nothing, in the order of `TriplesLayer`."""


def named(i: int, layer: f.Layer) -> dict[str, NDArray[Any]]:
    """The arrays of a layer of a network of gates, or of units from nothing."""
    found: dict[str, NDArray[Any]] = {}
    if isinstance(layer, f.GatesLayer):
        found = {"sign_plane": pack_rows(layer.hidden >= 0), "mul": layer.mul, "add": layer.add}
    elif isinstance(layer, f.LevelsLayer):
        found = {"levels": layer.hidden}
    elif isinstance(layer, f.TriplesLayer):
        found = {"weights": layer.hidden, "index": layer.index.astype(np.int32)}
        found |= {name: getattr(layer, name) for name in TRIPLES}
        if layer.scale is not None:
            found["scale"] = layer.scale
    elif isinstance(layer, f.HeadLayer):
        derived = Head.of(layer)
        found = {
            "weights": layer.hidden, "covariance": layer.covariance, "means": layer.means, "counts": layer.counts.astype(np.int16),
            "offsets": derived.offsets.astype(np.int32), "priors": derived.priors().astype(np.int32),
        }  # fmt: skip
        if layer.scale is not None:
            found |= {name: array for name, array in vars(layer.scale).items() if name != "z_shift"}
        if layer.rows.per_class > 1:
            found |= {"owners": layer.owners, "doubts": layer.doubts}
    return {f"layer{i}.{name}": array for name, array in found.items()}


def facts(layer: f.Layer) -> dict[str, Any]:
    """Everything of such a layer that is not an array, JSON-ready."""
    page: dict[str, Any] = {"kind": layer.kind}
    if isinstance(layer, f.GatesLayer):
        page |= {"inputs": layer.inputs, "shift": layer.shift}
    elif isinstance(layer, f.LevelsLayer):
        rule = layer.rule and {"dose": layer.rule.dose, "weaken": layer.rule.weaken.tolist()}
        page |= {"bits": layer.bits, "rule": rule}
    elif isinstance(layer, f.TriplesLayer):
        page |= {"integers": layer.integers, "scale": layer.scale is not None}
    elif isinstance(layer, f.HeadLayer):
        page |= {
            "takes": layer.takes,
            "classes": layer.classes,
            "settings": vars(layer.settings),
            "rows": vars(layer.rows),
        }
        page |= {name: getattr(layer, name) for name in ("seen", "dither", "turn")}
        page["z_shift"] = layer.scale.z_shift if layer.scale else 0
    return page


def rebuilt(name: str, told: Mapping[str, Any], take: Take) -> f.Layer:
    """The layer that `named` and `facts` described. Raises what a wrong description raises."""
    if told["kind"] == "gates":
        signs = take(f"{name}.sign_plane", np.uint8, (-1, -1))
        hidden = levels_from_planes(signs[None], int(told["inputs"]))
        mul, add = take(f"{name}.mul", np.int16, (-1,)), take(f"{name}.add", np.int32, (-1,))
        return f.GatesLayer(hidden, mul, add, int(told["shift"]))
    if told["kind"] == "levels":
        taught = told["rule"]
        rule = None if taught is None else f.LevelsRule(int(taught["dose"]), np.array(taught["weaken"], np.uint16))
        return f.LevelsLayer(take(f"{name}.levels", np.int8, (-1, -1)), int(told["bits"]), rule)
    if told["kind"] == "triples":
        return _triples(name, told, take)
    several = int(told["rows"]["per_class"]) > 1
    scale = None
    if told["takes"] == "levels":
        arrays = {one.name: take(f"{name}.{one.name}", np.int32 if one.name == "z_add" else np.int16, (-1,))
                  for one in fields(f.HeadScale) if one.name != "z_shift"}  # fmt: skip
        scale = f.HeadScale(**arrays, z_shift=int(told["z_shift"]))
    weights = take(f"{name}.weights", np.int8, (-1, -1))
    need(weights.shape[1] <= MAX_VALUES, f"{name} has {weights.shape[1]} values, a head has at most {MAX_VALUES}")
    layer = f.HeadLayer(
        weights, told["takes"], int(told["classes"]), f.HeadSettings(**_plain(f.HeadSettings, told["settings"])), scale,
        take(f"{name}.covariance", np.int16, (-1,)), take(f"{name}.means", np.int16, (-1, -1)),
        take(f"{name}.counts", np.int16, (-1,)).astype(np.uint16), int(told["seen"]), int(told["dither"]), int(told["turn"]),
        f.HeadRows(**_plain(f.HeadRows, told["rows"])),
        *((take(f"{name}.owners", np.uint8, (-1,)), take(f"{name}.doubts", np.uint8, (-1,))) if several else ()),
    )  # fmt: skip
    derived = Head.of(layer)
    for one, follows in (("offsets", derived.offsets), ("priors", derived.priors())):
        with suppress(KeyError):  # a training file leaves both out
            need(np.array_equal(take(f"{name}.{one}", np.int32, (-1,)), follows),
                 f"{name}: the {one} of this file do not follow from its means, weights and counts")  # fmt: skip
    return layer


def _plain(made: type[Any], told: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of a class as a description tells them, each of the type of its default."""
    types = {one.name: type(one.default) for one in fields(made)}
    for name, value in told.items():
        need(
            type(value) is types.get(name),
            f"{name}={value!r} in the file's description is not a {made.__name__} setting",
        )
    return told


def _triples(name: str, told: Mapping[str, Any], take: Take) -> f.TriplesLayer:
    weights, index = take(f"{name}.weights", np.int8, (-1, 3)), take(f"{name}.index", np.int32, (-1, 3))
    need(bool(((index >= 0) & (index < 65536)).all()), f"{name}.index holds features outside 0..65535")
    integers: f.Integers = "int16" if told["integers"] == "int16" else "uint8"
    scale = take(f"{name}.scale", np.float32, (2, -1)) if told["scale"] else None
    arrays = {one: take(f"{name}.{one}", dtype, (-1,)) for one, dtype in TRIPLES.items()}
    return f.TriplesLayer(weights, integers, scale, index=index.astype(np.uint16), **arrays)


def named_cuts(cuts: f.Cuts) -> dict[str, NDArray[Any]]:
    return {"encode.cuts": cuts.cuts} | ({} if cuts.scale is None else {"encode.scale": cuts.scale})


def rebuilt_cuts(told: Mapping[str, Any], take: Take) -> f.Cuts:
    """The cuts that `named_cuts` and their facts (kind, scale, shared) described."""
    kind: f.Integers = "int16" if told["kind"] == "int16" else "uint8"
    cuts = take("encode.cuts", np.int16 if kind == "int16" else np.uint8, (-1, -1))
    scale = take("encode.scale", np.float32, (2, -1)) if told["scale"] else None
    return f.Cuts(kind, cuts, scale, int(told["shared"]))
