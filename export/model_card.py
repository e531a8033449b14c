"""MODEL_CARD.md: what an export is, what it was trained on, how well it does and what it must not be used for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from metabit.export.freeze.retune import learner_of
from metabit.export.frozen import Cuts, Frozen, HeadLayer, TriplesLayer
from metabit.export.summary import Cost, cost

UNKNOWN = "not known: the network was exported from a file that does not say it"
LEARNS = {
    "head": "class means on the gates; class rows can be added while there is room",
    "levels": "output levels, by the paper's rule",
    "visits": "levels of sign units, by the paper's rule",
    "votes": "levels of graded units, by votes",
    "none": "nothing: it predicts only",
}


def model_card(
    frozen: Frozen, files: Mapping[str, bytes], provenance: Mapping[str, Any], license_: str | None = None
) -> str:
    """The text of MODEL_CARD.md, Markdown.

    Args:
        frozen: the network.
        files: name -> bytes of the exported files.
        provenance: "data", name of the training data; "read", `metabit.data.Task.facts`; "recall", class -> share 0..1, of the
            trained network on the part held out; "command". Each may be missing.
        license_: of the weights, in the words of their owner; None says that nobody stated it.
    """
    costs, rule = cost(frozen), learner_of(frozen)
    learner = rule.name if rule else "none"
    parts = [
        "# Model card",
        _what(frozen, learner, costs, files),
        "## Data",
        _data(provenance),
        "## Results by class",
        _results(provenance),
        "## Limits",
        _limits(frozen, learner, provenance),
        "## Files",
        _files(files),
        "## Licence",
        license_
        or "Not stated. `metabit export --license TEXT` states it; the licence of the training data may bind it.",
    ]
    return "\n\n".join(parts) + "\n"


def _what(frozen: Frozen, learner: str, costs: Cost, files: Mapping[str, bytes]) -> str:
    shape = " → ".join([str(frozen.features), *(f"{len(layer.hidden)} {layer.kind}" for layer in frozen.layers)])
    image = len(files["model.mbit"]) if "model.mbit" in files else None
    size = f" The image has {image:,} bytes, the same shape in float32 {costs.float32:,}." if image else ""
    return (
        f"A network of binary weights for microcontrollers: {shape}. One input is {frozen.features:,} numbers, the output is "
        f"one of {frozen.classes} classes. A prediction takes {costs.binary:,} products of single bits and {costs.wider:,} wider "
        f"ones.{size}\n\nIt learns on the device: {LEARNS[learner]}. It has made {frozen.counters.steps:,} learning steps so far."
    )


def _data(provenance: Mapping[str, Any]) -> str:
    name, read = provenance.get("data"), provenance.get("read")
    lines = [f"Training data: {name or UNKNOWN}."]
    if read:
        lines.append(
            f"{read['samples']:,} samples of {read['features']:,} features ({read['numbers']}): {read['train']:,} to train, "
            f"{read['test']:,} held out ({read['held_out']})."
        )
    if "command" in provenance:
        lines.append(f"Made by `{provenance['command']}`.")
    return "\n".join(lines)


def _results(provenance: Mapping[str, Any]) -> str:
    counts, recall = (provenance.get("read") or {}).get("classes"), provenance.get("recall")
    if not counts:
        return f"Results are {UNKNOWN}. `metabit run model.mbit --data DATA` measures them."
    rows = ["| class | samples | right, held out |", "|---|---|---|"]
    for name, count in counts.items():
        share = (recall or {}).get(name)
        rows.append(f"| {_cell(name)} | {count:,} | {'' if share is None else f'{100 * share:.1f} %'} |")
    told = (
        "Shares are of the network as it was trained, before it learnt on a device; `metabit run model.mbit --data DATA` "
        "measures this file."
        if recall
        else "`metabit run model.mbit --data DATA` measures this file by class."
    )
    return "\n".join(rows) + f"\n\n{told}"


def _limits(frozen: Frozen, learner: str, provenance: Mapping[str, Any]) -> str:
    told = [
        f"It answers with one of its {frozen.classes} classes whatever the input is, also for inputs unlike its training data.",
        "Its scores are no probabilities; docs/telling.md says how to get a calibrated confidence.",
    ]
    scaled = isinstance(frozen.encode, Cuts) and frozen.encode.scale is not None
    if scaled or (isinstance(frozen.layers[0], TriplesLayer) and frozen.layers[0].scale is not None):
        told.append(
            "A value outside the range of its feature in the training data counts as the end of the range; `metabit inspect` "
            "lists the ranges."
        )
    if learner != "none":
        told.append(
            "Its answers change as it learns on a device: this card describes the file, not a device that has learnt since."
        )
        told.append("Wrong labels teach it wrong classes; `metabit export --guard 64` makes a device notice.")
    last = frozen.layers[-1]
    if isinstance(last, HeadLayer) and last.rows.per_class == 1:
        known = int((last.counts > 0).sum())
        if known < last.classes:
            told.append(f"{last.classes - known} of its classes are spare: they have no sample yet.")
    counts = (provenance.get("read") or {}).get("classes")
    if counts and max(counts.values()) >= 3 * max(1, min(counts.values())):
        most, least = max(counts, key=counts.get), min(counts, key=counts.get)
        told.append(
            f"Its classes are uneven: {counts[most]:,} samples of {_cell(most)}, {counts[least]:,} of {_cell(least)}."
        )
    return "\n".join(f"* {line}" for line in told)


def _files(files: Mapping[str, bytes]) -> str:
    rows = ["| file | bytes | SHA-256 |", "|---|---|---|"]
    rows += [
        f"| {name} | {len(data):,} | `{hashlib.sha256(data).hexdigest()}` |" for name, data in sorted(files.items())
    ]
    return "\n".join(rows)


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
