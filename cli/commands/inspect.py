"""metabit inspect"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from metabit.cli import datasets, inside
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
        Path,
        typer.Argument(help="A .mbit image, an ONNX or TFLite file of metabit, or a folder that metabit export wrote."),
    ] = datasets.MODEL,
    json: show.Json = False,
) -> None:
    """Show what is in a network: layers, learner and its constants, names, ranges of features, and what it costs.

    flash, state: bytes of the image and of RAM that a layer takes. 1-bit products: multiplications of single bits for one
    prediction; a device does 32 of them in a few instructions. levels: how many weights have each level, lowest level first.

    A folder is checked first: every file must be the one that its manifest.json lists.

    Example: [bold]metabit inspect out/model.mbit[/]
    """
    from metabit.export import check_bundle, cost, read_file, write_image
    from metabit.runtime import Model

    if image.is_dir():
        check_bundle(image)
        image = image / "model.mbit"
    read = read_file(image)
    frozen, costs = read.frozen, cost(read.frozen)
    model = Model(read.data) if read.format == "image" else Model(write_image(frozen))
    layers = inside.layers(frozen, costs)
    memory = {
        "flash: image": model.image_size,
        "RAM: state": model.state_size,
        "RAM: arena, predict only": model.arena_size("infer"),
        "RAM: arena, learn": model.arena_size("learn"),
    }
    if read.format != "image":
        memory = {f"this file, {read.format}": len(read.data)} | memory
    shape = {
        "weights": costs.weights, "binary_products": costs.binary, "wider_products": costs.wider,
        "float32_bytes": costs.float32, "int8_bytes": costs.int8,
        "times_smaller_than_float32": round(costs.float32 / model.image_size, 2),
        "times_smaller_than_int8": round(costs.int8 / model.image_size, 2),
    }  # fmt: skip
    counters = {"steps": frozen.counters.steps, "moved": frozen.counters.moved, "flipped": frozen.counters.flipped}
    learner, names = _learner(model, frozen), _names(model)
    if json:
        show.emit({"image": str(image), "format": read.format, "layers": layers, "memory": memory, "shape": shape,
                   "learned": counters, "learner": learner, "names": names, "temperature": frozen.temperature,
                   "skip_below": frozen.skip_below})  # fmt: skip
        return
    inside.tell_layers(f"{image}: {frozen.input_bytes} bytes in, {frozen.classes} classes out", layers)
    show.table("memory", ["part", "bytes"], [(name, f"{count:,}") for name, count in memory.items()])
    show.say(
        f"this shape in float32: {costs.float32:,} bytes, {costs.float32 / model.image_size:.1f} times the image; in int8: "
        f"{costs.int8:,}, {costs.int8 / model.image_size:.1f} times"
    )
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
