"""metabit inspect"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from metabit.experiments import show


def command(
    image: Annotated[Path, typer.Argument(help="A .mbit image.")] = Path("out/model.mbit"),
    json: show.Json = False,
) -> None:
    """Show what is in an image: layers, levels, rule, and the memory it needs before anything is flashed.

    Example: [bold]metabit inspect out/model.mbit[/]
    """
    from metabit.export import read_image
    from metabit.runtime import Model

    model = Model.open(image)
    frozen = read_image(image.read_bytes())
    layers: list[dict[str, Any]] = []
    if frozen.encode is not None:
        layers.append({"kind": "encode", "inputs": frozen.encode.features, "units": frozen.input_bits})
    for layer in frozen.layers:
        entry: dict[str, Any] = {
            "kind": layer.kind, "inputs": layer.inputs, "units": layer.units, "bits": layer.bits,
            "synapses": layer.hidden.size, "learns": layer.learns, "positive": float((layer.hidden >= 0).mean()),
            "window": layer.window, "uint8": layer.uint8, "ternary": layer.ternary,
        }  # fmt: skip
        if layer.graded is not None:
            entry["graded"] = vars(layer.graded)
        if layer.conv is not None:
            entry["conv"] = vars(layer.conv) | {"outputs": [*layer.conv.pooled, layer.units]}
        levels, counts = np.unique(layer.hidden, return_counts=True)
        entry["levels"] = {int(level): int(count) for level, count in zip(levels, counts, strict=True)}
        if layer.rule is not None:
            entry |= {"strengthen": layer.rule.strengthen.tolist(), "weaken": layer.rule.weaken.tolist()}
            if layer.rule.votes is not None:
                entry["votes"] = vars(layer.rule.votes) | {"need": layer.rule.votes.need.tolist()}
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
                   "temperature": frozen.temperature, "margin": frozen.margin})  # fmt: skip
        return
    show.table(
        f"{image}: {frozen.input_bytes} bytes in, {frozen.classes} classes out",
        ["layer", "inputs", "units", "bits", "synapses", "learns", "weights +1", "window"],
        [
            (
                _name(entry), _taken(entry), entry["units"], entry["bits"], f"{entry['synapses']:,}",
                "yes" if entry["learns"] else "no", show.percent(entry["positive"]), entry["window"],
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
    """The kind, of a convolution its window, and whether errors go on as signs."""
    if "conv" not in entry:
        return f"{entry['kind']}, ternary" if entry.get("ternary") else str(entry["kind"])
    c = entry["conv"]
    parts = [f"conv {c['kernel']}x{c['kernel']}"]
    parts += (
        [f"stride {c['stride']}"] * (c["stride"] > 1) + ["same"] * c["same"] + [f"pool {c['pool']}"] * (c["pool"] > 1)
    )
    return ", ".join(parts)


def _taken(entry: dict[str, Any]) -> str:
    """What comes in: an image, or inputs."""
    c, graded = entry.get("conv"), entry.get("graded")
    sizes = f"{c['height']}x{c['width']}x{c['channels']}" if c else str(entry["inputs"])
    if graded:
        return f"{sizes} of {graded['planes']} bits"
    return f"{sizes} uint8" if entry["uint8"] else sizes
