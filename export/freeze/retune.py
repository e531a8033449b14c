"""Other learning settings for a network that is there: Frozen + settings -> Frozen.

What it knows (levels, thresholds, scores) and what it costs (bits, units, planes, draws, batch) stay as they are. Which settings
there are, and between which values they are worth a try, depends on how the network learns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metabit.export.errors import ExportError
from metabit.export.freeze.fresh import FreshOptions, fresh
from metabit.export.freeze.visits import Options, need_number, tables
from metabit.export.frozen import CERTAIN, Frozen, Layer, Rule

MAX_DOSE = 2**20 - 1


@dataclass(frozen=True)
class Range:
    """Values worth a try: low to high, evenly or, with log, evenly in their logarithm; or one of `values`."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    values: tuple[str, ...] = ()

    def draw(self, rng: np.random.Generator) -> float | str:
        """A random value, to three digits: what is read in a table is what was tried."""
        if self.values:
            return self.values[int(rng.integers(len(self.values)))]
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = rng.uniform(self.low, self.high)
        return float(f"{value:.3g}")


VOTES = {
    "delta": Range(0.1, 0.8, log=True),
    "asks": Range(0.2, 1.0),
    "deviations": Range(0.5, 6.0),
    "gain": Range(0.03, 0.8, log=True),
    "scale": Range(0.5, 2.0, log=True),
    "margin": Range(0.0, 0.4),
}
"""Of a graded layer; FreshOptions says what each means."""
DENSE = {
    "delta": Range(0.02, 1.0, log=True),
    "strengthen": Range(values=("certain", "same")),
    "visits": Range(0.005, 0.4, log=True),
    "temperature": Range(0.5, 2.0, log=True),
    "margin": Range(0.0, 0.4),
}
"""Of dense layers: delta is m Δ, the metaplasticity of one level, in every layer; temperature is relative to the present one;
the others are as in Options."""


def space(frozen: Frozen) -> dict[str, Range]:
    """The settings of this network, by name. Raises ExportError if no layer of it learns."""
    if not any(layer.learns for layer in frozen.layers):
        raise ExportError("no layer of this network learns, there is nothing to tune: export it with 2 or more bits")
    return VOTES if any(layer.graded for layer in frozen.layers) else DENSE


def retune(frozen: Frozen, settings: Mapping[str, Any]) -> Frozen:
    """The same network, which from now on learns by these settings. Those of `space` that are left out stay as they are.

    Raises ExportError for a setting the network does not have, a value outside its range, or a network that does not learn.
    """
    known = space(frozen)
    for name in settings:
        if name not in known:
            raise ExportError(f"{name!r} is no setting of this network: there are {', '.join(known)}")
    return _votes(frozen, settings) if known is VOTES else _dense(frozen, settings)


def _votes(frozen: Frozen, settings: Mapping[str, Any]) -> Frozen:
    """Grafts from a fresh network of the same sizes: what a setting comes to in integers is said in fresh.py alone."""
    *below, layer, output = frozen.layers
    rule, graded = layer.rule, layer.graded
    assert rule is not None and rule.votes is not None and graded is not None
    votes = rule.votes
    options = FreshOptions(
        bits=layer.bits, thresholds=(0,) * graded.planes, draws=votes.draws, batch=votes.batch, **settings
    )
    donor = fresh(layer.inputs, layer.units, output.units, options)
    other = donor.layers[0].rule
    assert other is not None and other.votes is not None
    if "delta" in settings:
        rule = replace(rule, strengthen=other.strengthen, weaken=other.weaken)
    if "asks" in settings:
        rule = replace(rule, dose=other.dose)
    if "deviations" in settings:
        votes = replace(votes, need=other.votes.need)
    if "gain" in settings:
        votes = replace(votes, gain=other.votes.gain)
    return replace(
        frozen,
        layers=(*below, replace(layer, rule=replace(rule, votes=votes)), output),
        temperature=donor.temperature if "scale" in settings else frozen.temperature,
        margin=donor.margin if "margin" in settings else frozen.margin,
    )


def _dense(frozen: Frozen, settings: Mapping[str, Any]) -> Frozen:
    Options(strengthen=settings.get("strengthen", "certain"), visits=settings.get("visits"), temperature=settings.get(
        "temperature", 1.0), margin=settings.get("margin", 0.0))  # fmt: skip  # checks them
    need_number("delta", settings.get("delta", 0.0), 0, 1e9, "a finite number >= 0")
    margin = round(4096 * settings["margin"]) if "margin" in settings else frozen.margin
    temperature = int(np.clip(round(frozen.temperature / settings.get("temperature", 1.0)), 1, 65535))
    layers = tuple(
        layer if layer.rule is None else replace(layer, rule=_rule(layer.rule, layer, settings))
        for layer in frozen.layers
    )
    return replace(frozen, layers=layers, temperature=temperature, margin=margin)


def _rule(rule: Rule, layer: Layer, settings: Mapping[str, Any]) -> Rule:
    weaken, dose = rule.weaken, rule.dose
    if "delta" in settings:
        weaken = tables(1.0, settings["delta"], layer.bits, "same")[1]
    gated = bool((rule.strengthen != CERTAIN).any())  # both directions, so far
    same = settings["strengthen"] == "same" if "strengthen" in settings else gated
    strengthen = rule.strengthen
    if "strengthen" in settings or "delta" in settings:
        strengthen = weaken if same else np.full_like(weaken, CERTAIN)
    if "visits" in settings:
        dose = max(1, min(MAX_DOSE, round(settings["visits"] * layer.units * 4096)))
    return replace(rule, strengthen=strengthen, weaken=weaken, dose=dose)
