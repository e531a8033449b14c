"""metabit diff"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabit.experiments import show

if TYPE_CHECKING:
    from metabit.export import Frozen, LayerDifference

LISTED = 12
"""Most rows of a layer that are shown; --json has them all."""
File = Annotated[Path, typer.Argument(help="A .mbit image, or an ONNX or TFLite file of metabit.")]


def command(first: File, second: File, json: show.Json = False) -> None:
    """Show what changed from FIRST to SECOND: levels that moved and weights that flipped, by layer and by class.

    Both are networks of one shape, such as an image before and after it learnt. For a layer whose rows are classes each
    class is listed, for other layers the units that changed most.

    Example: [bold]metabit diff out/model.mbit out/learned.mbit[/]
    """
    from metabit.export import difference, read_file

    a, b = read_file(first).frozen, read_file(second).frozen
    found = difference(a, b)
    names = _class_names(b)
    layers = [_facts(layer, names) for layer in found.layers]
    if json:
        show.emit(
            {"first": str(first), "second": str(second), "steps": found.steps, "layers": layers, "other": found.other}
        )
        return
    if not any(layer.any for layer in found.layers) and not found.other and not found.steps:
        show.say(f"{first} and {second} are the same network, bit for bit")
        return
    show.say(f"{first} -> {second}: {found.steps:,} learning steps")
    show.table(
        "by layer",
        ["layer", "weights", "moved", "flipped", "farthest", "also changed"],
        [
            (f"{i} {entry['kind']}", f"{entry['weights']:,}", _share(entry, "moved"), _share(entry, "flipped"),
             str(entry["farthest"] or ""), ", ".join(entry["other"]))
            for i, entry in enumerate(layers)
        ],
    )  # fmt: skip
    for i, entry in enumerate(layers):
        _tell_rows(i, entry)
    if found.other:
        show.say(f"outside the layers changed: {', '.join(found.other)}")


def _facts(layer: LayerDifference, names: list[str]) -> dict[str, Any]:
    rows = [names[r] if layer.by_class else str(r) for r in range(len(layer.moved))]
    return {
        "kind": layer.kind, "weights": layer.weights, "moved": int(layer.moved.sum()), "flipped": int(layer.flipped.sum()),
        "farthest": layer.farthest, "other": list(layer.other), "rows_are": "classes" if layer.by_class else "units",
        "rows": {name: {"moved": int(m), "flipped": int(f)} for name, m, f in zip(rows, layer.moved, layer.flipped, strict=True)},
    }  # fmt: skip


def _class_names(frozen: Frozen) -> list[str]:
    known = list(frozen.notes.classes) if frozen.notes else []
    return [*known, *(f"class {label}" if known else str(label) for label in range(len(known), frozen.classes))]


def _share(entry: dict[str, Any], what: str) -> str:
    return f"{entry[what]:,} ({show.percent(entry[what] / entry['weights'])})" if entry[what] else ""


def _tell_rows(i: int, entry: dict[str, Any]) -> None:
    """The classes, or the units that changed most, of a layer that changed."""
    rows = [(name, counts["moved"], counts["flipped"]) for name, counts in entry["rows"].items() if counts["moved"]]
    if not rows:
        return
    title, what = "by class", "class"
    if entry["rows_are"] == "units":
        rows = sorted(rows, key=lambda row: -row[1])[:LISTED]
        title, what = "most changed", "unit"
    show.table(
        title,
        [f"layer {i}: {what}", "moved", "flipped"],
        [(name, f"{m:,}", f"{f:,}" if f else "") for name, m, f in rows],
    )
