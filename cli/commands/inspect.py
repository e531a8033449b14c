"""metabit inspect"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from metabit.cli import datasets
from metabit.experiments import show


def command(
    image: Annotated[
        Path, typer.Argument(help="A .mbit image, or a folder that metabit export wrote.")
    ] = datasets.MODEL,
    json: show.Json = False,
) -> None:
    """Show what is in an image: layers, levels, learning rule, and the memory it needs.

    A folder is checked first: every file must be the one that its manifest.json lists.

    Example: [bold]metabit inspect out/model.mbit[/]
    """
    from metabit.export import ConvLayer, DenseLayer, GradedLayer, Votes, check_bundle, read_image
    from metabit.runtime import Model

    if image.is_dir():
        check_bundle(image)
        image = image / "model.mbit"
    model = Model.open(image)
    frozen = read_image(image.read_bytes())
    layers: list[dict[str, Any]] = []
    if frozen.encode is not None:
        layers.append({"kind": "encode", "inputs": frozen.encode.features, "units": frozen.input_bits})
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
            entry |= {name: getattr(layer.rule, name).tolist() for name in ("strengthen", "weaken")}
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
    if json:
        show.emit({"image": str(image), "layers": layers, "memory": memory, "learned": counters,
                   "temperature": frozen.temperature, "skip_below": frozen.skip_below})  # fmt: skip
        return
    show.table(
        f"{image}: {frozen.input_bytes} bytes in, {frozen.classes} classes out",
        ["layer", "inputs", "units", "bits", "synapses", "learns", "weights +1", "ste window"],
        [
            (
                _name(entry), _taken(entry), entry["units"], entry["bits"], f"{entry['synapses']:,}",
                "yes" if entry["learns"] else "no", show.percent(entry["positive"]), entry.get("ste_window", ""),
            )
            if "synapses" in entry
            else (entry["kind"], entry["inputs"], entry["units"], "", "", "", "", "")
            for entry in layers
        ],
    )  # fmt: skip
    show.table("memory", ["part", "bytes"], [(name, f"{count:,}") for name, count in memory.items()])
    show.say(
        f"learned so far: {counters['steps']:,} steps, {counters['moved']:,} levels moved, {counters['flipped']:,} flips"
    )


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
