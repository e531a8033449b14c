"""metabit inspect"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from metabit.cli import datasets
from metabit.experiments import show

if TYPE_CHECKING:
    from metabit.export import Frozen
    from metabit.runtime import Model

LISTED = 12
"""Most names that are shown; --json has them all."""
STATE_HEAD = 16
"""Bytes of state that every network has: the generator and the counters."""


def command(
    image: Annotated[
        Path, typer.Argument(help="A .mbit image, or a folder that metabit export wrote.")
    ] = datasets.MODEL,
    json: show.Json = False,
) -> None:
    """Show what is in an image: layers, learner and its constants, names, ranges of features, and the memory it needs.

    A folder is checked first: every file must be the one that its manifest.json lists.

    Example: [bold]metabit inspect out/model.mbit[/]
    """
    from metabit.export import ConvLayer, Cuts, DenseLayer, GradedLayer, Rule, Votes, check_bundle, read_image
    from metabit.runtime import Model

    if image.is_dir():
        check_bundle(image)
        image = image / "model.mbit"
    model = Model.open(image)
    frozen = read_image(image.read_bytes())
    layers: list[dict[str, Any]] = []
    if frozen.encode is not None:
        kind = "cuts" if isinstance(frozen.encode, Cuts) else "encode"
        layers.append({"kind": kind, "inputs": frozen.encode.features, "units": frozen.input_bits})
    for layer in frozen.layers:
        entry: dict[str, Any] = {
            "kind": layer.kind, "takes": layer.takes, "inputs": layer.inputs, "units": layer.units, "bits": layer.bits,
            "synapses": layer.hidden.size, "learns": layer.learns, "positive": float((layer.hidden >= 0).mean()),
        }  # fmt: skip
        if isinstance(layer, ConvLayer):
            entry["conv"] = vars(layer.geometry) | {"outputs": [*layer.geometry.pooled, layer.units]}
        if isinstance(layer, DenseLayer):
            entry |= {"ste_window": layer.ste_window, "ternary": layer.ternary}
        if isinstance(layer, GradedLayer):
            entry["graded"] = {"low": layer.low, "high": layer.high, "planes": layer.planes}
        levels, counts = np.unique(layer.hidden, return_counts=True)
        entry["levels"] = {int(level): int(count) for level, count in zip(levels, counts, strict=True)}
        if layer.rule is not None:
            entry |= {"dose": layer.rule.dose}
            tables = ("strengthen", "weaken") if isinstance(layer.rule, Rule) else ("weaken",)
            entry |= {name: getattr(layer.rule, name).tolist() for name in tables}
        if isinstance(layer.rule, Votes):
            rule = layer.rule
            entry["votes"] = {"votes_needed": rule.votes_needed.tolist(), "chance_per_vote": rule.chance_per_vote,
                              "passes": rule.passes, "batch": rule.batch}  # fmt: skip
        layers.append(entry)
    memory = {
        "flash: image": model.image_size,
        "RAM: state": model.state_size,
        "RAM: arena, predict only": model.arena_size("infer"),
        "RAM: arena, learn": model.arena_size("learn"),
    }
    counters = {"steps": frozen.counters.steps, "moved": frozen.counters.moved, "flipped": frozen.counters.flipped}
    learner, names = _learner(model, frozen), _names(model)
    if json:
        show.emit({"image": str(image), "layers": layers, "memory": memory, "learned": counters, "learner": learner,
                   "names": names, "temperature": frozen.temperature, "skip_below": frozen.skip_below})  # fmt: skip
        return
    show.table(
        f"{image}: {frozen.input_bytes} bytes in, {frozen.classes} classes out",
        ["layer", "inputs", "units", "bits", "synapses", "learns", "weights +1", "ste window"],
        [
            (
                _name(entry), _taken(entry), entry["units"], entry["bits"], f"{entry['synapses']:,}",
                "yes" if entry["learns"] else "no", _positive(entry), entry.get("ste_window", ""),
            )
            if "synapses" in entry
            else (entry["kind"], entry["inputs"], entry["units"], "", "", "", "", "")
            for entry in layers
        ],
    )  # fmt: skip
    show.table("memory", ["part", "bytes"], [(name, f"{count:,}") for name, count in memory.items()])
    show.say(", ".join(f"{name} {value}" for name, value in learner.items()))
    _tell_names(names)
    moved = (
        "" if learner["learner"] == "head" else f", {counters['moved']:,} levels moved, {counters['flipped']:,} flips"
    )
    show.say(f"learned so far: {counters['steps']:,} steps{moved}")


def _learner(model: Model, frozen: Frozen) -> dict[str, Any]:
    """The learner, the bytes of state that it changes, and its constants."""
    from metabit.export import HeadLayer, LevelsLayer, LevelsRule

    found: dict[str, Any] = {"learner": model.learner}
    if model.learner == "none":
        return found
    found["bytes"] = model.state_size - STATE_HEAD
    last = frozen.layers[-1]
    if isinstance(last, HeadLayer):
        known = (
            last.counts[: last.classes] > 0 if last.rows.per_class == 1 else np.isin(range(last.classes), last.owners)
        )
        found |= {"values": last.inputs, "classes": last.classes, "spare classes": int(last.classes - known.sum())}
        found |= {"rows": len(last.hidden), "memory": last.settings.memory}
        found |= {"covariance memory": last.settings.covariance_memory, "ridge": last.settings.ridge}
        found |= {"prior": "on" if last.settings.prior else "off", "rows a class": last.rows.per_class}
        found["sweep every"] = last.settings.sweep_every
        if last.rows.per_class > 1:
            found |= {"far": last.rows.far, "doubt limit": last.rows.doubt_limit}
    elif isinstance(last, LevelsLayer) and isinstance(last.rule, LevelsRule):
        found |= {"classes": last.units, "bits": last.bits, "dose": last.rule.dose}
    return found


def _names(model: Model) -> dict[str, Any]:
    """Names of classes and features, and what the device takes: a dtype, and the range of each feature that has a scale."""
    takes = model.inputs
    found: dict[str, Any] = {"classes": takes.classes, "features": model.feature_names, "takes": takes.dtype.name}
    if takes.scale is not None:
        low, steps = takes.scale.astype(float)
        span = 2 ** (8 * takes.dtype.itemsize) - 1
        found["ranges"] = np.stack([low, low + span / steps], axis=1).tolist()
    return found


def _tell_names(names: dict[str, Any]) -> None:
    def listed(words: Sequence[str]) -> str:
        return ", ".join(words[:LISTED]) + (f" and {len(words) - LISTED} more" if len(words) > LISTED else "")

    if names["classes"]:
        show.say(f"classes: {listed(names['classes'])}")
    if "ranges" in names:
        titles = names["features"] or [f"feature {i}" for i in range(len(names["ranges"]))]
        told = [f"{title} {a:.4g} to {b:.4g}" for title, (a, b) in zip(titles, names["ranges"], strict=True)]
        show.say(f"features, each as {names['takes']} of this range: {listed(told)}")
    elif names["features"]:
        show.say(f"features, each {names['takes']}: {listed(names['features'])}")


def _positive(entry: dict[str, Any]) -> str:
    """Share of the weights that are +1; "" where levels are weights themselves."""
    return "" if entry["kind"] in ("head", "levels") else show.percent(entry["positive"])


def _name(entry: dict[str, Any]) -> str:
    """Kind of a layer, with the sizes of a convolution; "ternary" where errors go on as signs."""
    if "conv" not in entry:
        return f"{entry['kind']}, ternary" if entry.get("ternary") else str(entry["kind"])
    c = entry["conv"]
    said = {f"stride {c['stride']}": c["stride"] > 1, "same": c["same"], f"pool {c['pool']}": c["pool"] > 1}
    return ", ".join([f"conv {c['kernel']}x{c['kernel']}", *(word for word, holds in said.items() if holds)])


def _taken(entry: dict[str, Any]) -> str:
    """Inputs of a layer: an image, or a number of values."""
    c, graded = entry.get("conv"), entry.get("graded")
    sizes = f"{c['height']}x{c['width']}x{c['channels']}" if c else str(entry["inputs"])
    if graded:
        return f"{sizes} of {graded['planes']} bits"
    return f"{sizes} bytes" if entry.get("takes") == "bytes" else sizes
