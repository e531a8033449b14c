"""The graded layer as arrays and facts; `metabit.export.files.interchange` calls this, and has the table of its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export import frozen as f
from metabit.export.bits import pack_rows, unpack_rows
from metabit.export.files import interchange_tables as tables
from metabit.export.files.interchange_gates import Take


def named_kept(name: str, kept: f.Kept) -> dict[str, NDArray[Any]]:
    """The samples that a graded layer keeps."""
    return {f"{name}.kept_bits": pack_rows(kept.bits), f"{name}.kept_votes": kept.votes}


def facts(layer: f.GradedLayer) -> dict[str, Any]:
    """Facts of a graded layer that a dense one has not, JSON-ready."""
    page: dict[str, Any] = {"low": layer.low, "high": layer.high, "planes": layer.planes}
    if layer.rule is not None:
        votes = layer.rule
        page["votes"] = {"needed": tables.told(votes.votes_needed)}
        page["votes"] |= {name: getattr(votes, name) for name in ("chance_per_vote", "passes", "batch")}
    if layer.kept is not None:
        page["slot"] = layer.kept.slot
    return page


def rebuilt(
    name: str,
    told: Mapping[str, Any],
    hidden: NDArray[np.int8],
    theta: NDArray[np.int32],
    rule: f.Rule | None,
    take: Take,
) -> f.GradedLayer:
    """The layer that `facts` and the arrays described. Raises what a wrong description raises."""
    votes = kept = None
    if rule is not None:
        more = told["votes"]
        entries = f.MAX_VOTES * int(more["batch"]) * int(told["planes"]) + 1
        needed = tables.table_of(more["needed"], entries, f"votes_needed of {name}")
        votes = f.Votes(
            rule.strengthen, rule.weaken, rule.dose, needed, int(more["chance_per_vote"]), int(more["passes"]),
            int(more["batch"]),
        )  # fmt: skip
    units, planes = len(hidden), int(told["planes"])
    if "slot" in told:
        drawn = take(f"{name}.kept_votes", np.int8, (-1, units))
        bits = take(f"{name}.kept_bits", np.uint8, (len(drawn), -1))
        kept = f.Kept(int(told["slot"]), unpack_rows(bits, planes * hidden.shape[1]), drawn)
    return f.GradedLayer(hidden, int(told["bits"]), theta, int(told["low"]), int(told["high"]), planes, votes, kept)
