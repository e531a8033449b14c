"""Frozen and settings -> Frozen: other learning settings for a network that exists.

Levels, thresholds and scores stay, and so does everything that costs memory: bits, units, planes, passes and batch. Each learner is
a row of `LEARNERS`: a new one is a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metabit.export.errors import ExportError, need_number
from metabit.export.freeze.fresh import fresh_votes
from metabit.export.freeze.levels import dose_of, tables
from metabit.export.freeze.output_levels import levels_rule
from metabit.export.freeze.visits import VisitOptions
from metabit.export.freeze.votes import VoteOptions
from metabit.export.frozen import (
    CERTAIN,
    COUNT_LIMIT,
    DenseLayer,
    Frozen,
    GradedLayer,
    HeadLayer,
    Layer,
    LevelsLayer,
    OutputLayer,
    Rule,
)


@dataclass(frozen=True)
class Range:
    """Values worth a try: from low to high, evenly or (log) evenly in their logarithm, all or (whole) whole numbers; or one of
    `values`."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    values: tuple[str, ...] = ()

    def draw(self, rng: np.random.Generator) -> float | str:
        """A random value, rounded to three digits or to a whole number, so that a table shows exactly what was tried."""
        if self.values:
            return self.values[int(rng.integers(len(self.values)))]
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = rng.uniform(self.low, self.high)
        return round(value) if self.whole else float(f"{value:.3g}")


VOTES = {
    "delta": Range(0.1, 0.8, log=True),
    "vote_rate": Range(0.2, 1.0),
    "deviations": Range(0.5, 6.0),
    "chance_per_vote": Range(0.03, 0.8, log=True),
    "scale": Range(0.5, 2.0, log=True),
    "skip_below": Range(0.0, 0.4),
}
"""Settings of the vote rule, as in `VoteOptions`."""
VISITS = {
    "delta": Range(0.02, 1.0, log=True),
    "strengthen": Range(values=("certain", "same")),
    "visit_rate": Range(0.005, 0.4, log=True),
    "temperature": Range(0.5, 2.0, log=True),
    "skip_below": Range(0.0, 0.4),
}
"""Settings of the visit rule, as in `VisitOptions`. delta is m Δ, the metaplasticity of one level, in every layer; temperature is
relative to the present one."""

HEAD = {"memory": Range(30, 1023, log=True, whole=True), "prior": Range(values=("on", "off"))}
"""Settings of a head, as in `GateOptions`."""
LEVELS = {"m": Range(0.0, 6.0), "dose": Range(0.2, 5.0, log=True), "skip_below": Range(0.0, 0.2)}
"""Settings of output levels that learn, as in `GateOptions`."""


@dataclass(frozen=True)
class Learner:
    """A rule by which a network learns, with the settings that can be changed in a network that exists.

    name: of the rule, as in commands. kinds: of the layers that learn by it. settings: values worth a try, by name.
    apply: (network, settings) -> the network with these settings.
    """

    name: str
    kinds: tuple[str, ...]
    settings: Mapping[str, Range]
    apply: Callable[[Frozen, Mapping[str, Any]], Frozen]


def learner_of(frozen: Frozen) -> Learner | None:
    """The learner of a network, None if no layer of it learns."""
    kinds = {layer.kind for layer in frozen.layers if layer.learns}
    return next((learner for learner in LEARNERS if kinds & {*learner.kinds}), None)


def tunable_settings(frozen: Frozen) -> dict[str, Range]:
    """The settings of this network, by name. Raises ExportError if no layer of it learns."""
    return dict(_learner(frozen).settings)


def retune(frozen: Frozen, settings: Mapping[str, Any]) -> Frozen:
    """A copy of the network with these learning settings. `tunable_settings` that are left out stay as they are.

    Raises ExportError for a setting that the network does not have, a value outside its range, or a network that does not learn.
    """
    learner = _learner(frozen)
    for name in settings:
        if name not in learner.settings:
            raise ExportError(f"{name!r} is no setting of this network: there are {', '.join(learner.settings)}")
    return learner.apply(frozen, settings)


def _learner(frozen: Frozen) -> Learner:
    learner = learner_of(frozen)
    if learner is None:
        raise ExportError(
            "no layer of this network learns, there is nothing to tune: export it with a learner, metabit export --learner"
        )
    return learner


def _votes(frozen: Frozen, settings: Mapping[str, Any]) -> Frozen:
    """Copies from a fresh network of the same sizes, because only votes.py turns a setting into integers."""
    *below, layer, output = frozen.layers
    assert isinstance(layer, GradedLayer) and layer.rule is not None
    rule = layer.rule
    sizes: dict[str, Any] = {
        "bits": layer.bits,
        "thresholds": (0,) * layer.planes,
        "passes": rule.passes,
        "batch": rule.batch,
    }
    other = fresh_votes(layer.inputs, layer.units, output.units, VoteOptions(**sizes, **settings))
    donor = other.layers[0].rule
    copied = {
        "delta": ("strengthen", "weaken"),
        "vote_rate": ("dose",),
        "deviations": ("votes_needed",),
        "chance_per_vote": ("chance_per_vote",),
    }
    changes = {name: getattr(donor, name) for setting in settings for name in copied.get(setting, ())}
    return replace(
        frozen,
        layers=(*below, replace(layer, rule=replace(rule, **changes)), output),
        temperature=other.temperature if "scale" in settings else frozen.temperature,
        skip_below=other.skip_below if "skip_below" in settings else frozen.skip_below,
    )


def _visits(frozen: Frozen, settings: Mapping[str, Any]) -> Frozen:
    VisitOptions(**{name: value for name, value in settings.items() if name != "delta"})  # checks the values
    need_number("delta", settings.get("delta", 0.0), 0, 1e9, "a finite number >= 0")
    skip_below = round(4096 * settings["skip_below"]) if "skip_below" in settings else frozen.skip_below
    temperature = int(np.clip(round(frozen.temperature / settings.get("temperature", 1.0)), 1, 65535))
    layers: list[Layer] = []
    for layer in frozen.layers:
        if isinstance(layer, DenseLayer | OutputLayer) and layer.rule is not None:
            layer = replace(layer, rule=_rule(layer.rule, layer, settings))
        layers.append(layer)
    return replace(frozen, layers=tuple(layers), skip_below=skip_below, temperature=temperature)


def _rule(rule: Rule, layer: Layer, settings: Mapping[str, Any]) -> Rule:
    strengthen, weaken = rule.strengthen, rule.weaken
    same = bool((strengthen != CERTAIN).any())  # both directions have a probability so far
    if "delta" in settings:
        weaken = tables(1.0, settings["delta"], layer.bits, "same")[1]
    if "strengthen" in settings:
        same = settings["strengthen"] == "same"
    if "strengthen" in settings or "delta" in settings:
        strengthen = weaken if same else np.full_like(weaken, CERTAIN)
    dose = dose_of(settings["visit_rate"], layer.units) if "visit_rate" in settings else rule.dose
    return Rule(strengthen, weaken, dose)


def _head(frozen: Frozen, settings: Mapping[str, Any]) -> Frozen:
    *below, head = frozen.layers
    assert isinstance(head, HeadLayer)
    changes = dict(settings)
    if "prior" in changes:
        if changes["prior"] not in ("on", "off"):
            raise ExportError(f"prior={changes['prior']!r}: must be 'on' or 'off'")
        changes["prior"] = changes["prior"] == "on"
    if "memory" in changes:
        need_number("memory", changes["memory"], 1, COUNT_LIMIT - 1, "a whole number from 1 to 1023 samples", int)
    return replace(frozen, layers=(*below, replace(head, settings=replace(head.settings, **changes))))


def _levels(frozen: Frozen, settings: Mapping[str, Any]) -> Frozen:
    *below, layer = frozen.layers
    assert isinstance(layer, LevelsLayer) and layer.rule is not None
    rule = layer.rule
    if "m" in settings:
        rule = replace(rule, weaken=levels_rule(layer.bits, layer.inputs, m=settings["m"]).weaken)
    if "dose" in settings:
        rule = replace(rule, dose=levels_rule(layer.bits, layer.inputs, dose=settings["dose"]).dose)
    skip_below = settings.get("skip_below", frozen.skip_below / 4096)
    need_number("skip_below", skip_below, 0, 1, "from 0 to 1")
    return replace(frozen, layers=(*below, replace(layer, rule=rule)), skip_below=round(4096 * skip_below))


LEARNERS = (
    Learner("head", ("head",), HEAD, _head),
    Learner("levels", ("levels",), LEVELS, _levels),
    Learner("votes", ("graded",), VOTES, _votes),
    Learner("visits", ("dense", "output"), VISITS, _visits),
)
