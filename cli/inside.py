"""The table of layers of `metabit inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from metabit.experiments import show
from metabit.export import ConvLayer, Cost, DenseLayer, Frozen, GradedLayer, Layer, LayerCost, Rule, Votes

BARS = "▁▂▃▄▅▆▇█"
MOST_BARS = 16
"""Levels that are drawn one by one; more share bars."""


def layers(frozen: Frozen, costs: Cost) -> list[dict[str, Any]]:
    """The facts of the encoder, if there is one, and of each layer, JSON-ready."""
    found: list[dict[str, Any]] = []
    rest = list(costs.layers)
    if frozen.encode is not None:
        first = rest.pop(0)
        found.append({"kind": first.kind, "inputs": frozen.encode.features, "units": frozen.input_bits, **_cost(first)})
    return found + [_layer(layer, told) for layer, told in zip(frozen.layers, rest, strict=True)]


def _cost(told: LayerCost) -> dict[str, Any]:
    found: dict[str, Any] = {"flash": told.flash, "state": told.state}
    if told.thresholds is not None:
        found["thresholds"] = dict(zip(("least", "middle", "largest"), told.thresholds, strict=True))
    return found


def _layer(layer: Layer, told: LayerCost) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "kind": layer.kind, "takes": layer.takes, "inputs": layer.inputs, "units": layer.units, "bits": layer.bits,
        "synapses": layer.hidden.size, "learns": layer.learns, "positive": float((layer.hidden >= 0).mean()),
        "binary_products": told.binary, "wider_products": told.wider, **_cost(told),
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
    return entry


def tell_layers(title: str, entries: Sequence[dict[str, Any]]) -> None:
    """Shows the facts of `layers` as a table."""
    columns = ["layer", "inputs", "units", "bits", "flash", "state", "products", "threshold", "levels"]
    show.table(title, columns, [_row(entry) for entry in entries])


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    limits = entry.get("thresholds")
    between = f"{limits['least']}..{limits['largest']}" if limits else ""
    sizes = f"{entry['flash']:,}", f"{entry['state']:,}" if entry["state"] else ""
    if "synapses" not in entry:
        return entry["kind"], str(entry["inputs"]), str(entry["units"]), "", *sizes, "", between, ""
    binary, wider = entry["binary_products"], entry["wider_products"]
    products = f"{binary:,}" if binary else f"{wider:,} wider"
    drawn = bars(entry["levels"], entry["bits"]) if entry["kind"] != "triples" else ""
    return _name(entry), _taken(entry), str(entry["units"]), str(entry["bits"]), *sizes, products, between, drawn


def bars(levels: dict[int, int], bits: int) -> str:
    """A histogram of levels of k bits, lowest first: a bar for each level, or for several where there are more than `MOST_BARS`."""
    counts = np.zeros(2**bits, np.int64)
    for level, count in levels.items():
        counts[level + 2 ** (bits - 1)] += count
    grouped = counts.reshape(min(len(counts), MOST_BARS), -1).sum(1)
    heights = -(-grouped * len(BARS) // max(1, int(grouped.max())))
    return "".join(BARS[height - 1] if height else " " for height in heights.tolist())


def _name(entry: dict[str, Any]) -> str:
    """Kind of a layer, with the sizes of a convolution, "ternary" where errors go on as signs, and "learns" where it does."""
    words = [str(entry["kind"])]
    if c := entry.get("conv"):
        said = {f"stride {c['stride']}": c["stride"] > 1, "same": c["same"], f"pool {c['pool']}": c["pool"] > 1}
        words = [f"conv {c['kernel']}x{c['kernel']}", *(word for word, holds in said.items() if holds)]
    more = {"ternary": entry.get("ternary"), "learns": entry["learns"]}
    return ", ".join([*words, *(word for word, holds in more.items() if holds)])


def _taken(entry: dict[str, Any]) -> str:
    """Inputs of a layer: an image, or a number of values."""
    c, graded = entry.get("conv"), entry.get("graded")
    sizes = f"{c['height']}x{c['width']}x{c['channels']}" if c else str(entry["inputs"])
    if graded:
        return f"{sizes} of {graded['planes']} bits"
    return f"{sizes} bytes" if entry.get("takes") == "bytes" else sizes
