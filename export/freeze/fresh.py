"""Nothing -> Frozen: networks that no computer trained, which learn on the device from their first sample."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError, need_number
from metabit.export.freeze.head import head_layer
from metabit.export.freeze.levels import generator_state
from metabit.export.freeze.triples import Takes, fit_triples
from metabit.export.freeze.votes import VoteOptions, vote_network
from metabit.export.frozen import Frozen, HeadRows, HeadSettings, Notes
from metabit.export.validate import check_limits
from metabit.export.validate_gates import MAX_ROWS
from metabit.train.network.spec import MAX_GRADED, MAX_UNITS

WITHIN = 1365
"""Variance of a value within a class that a head expects before it has seen one: a third of the variance of all samples."""


def fresh(
    sample: NDArray[Any] | int,
    classes: int,
    *votes: Any,
    units: int = 64,
    spare_classes: int = 0,
    takes: Takes = "auto",
    settings: HeadSettings | None = None,
    rows: HeadRows | None = None,
    class_names: Sequence[str] = (),
    feature_names: Sequence[str] = (),
    seed: int = 0,
) -> Frozen:
    """Units of one to three random features below a head that knows no class (docs/learning-rule.md, "Units from nothing").

    Args:
        sample: unlabelled numbers (n, F) of any dtype and any scale, finite, n >= 16; 64 are plenty. Without data,
            `sample_of_ranges` makes one.
        classes: C, at least 2; spare_classes: further ones, to be named later. Both together: at most 128.
        units: H, even, 2..128. The state grows with H².
        takes: what the device is given (`fit_triples`).
        settings, rows: of the head; the defaults of `HeadSettings` and `HeadRows` if None.
        class_names, feature_names: kept in the image; () for none.
        seed: 0..2**32-1. Equal arguments give equal networks.
        votes: hidden, classes and options of the older form fresh(features, hidden, classes), which is `fresh_votes`.

    Raises:
        ExportError: a sample or a number that is out of its range.
    """
    if isinstance(sample, int):
        told = "metabit.export.fresh(features, hidden, classes) is metabit.export.fresh_votes now"
        warnings.warn(told, DeprecationWarning, stacklevel=2)
        return fresh_votes(sample, classes, *votes)
    if votes:
        raise ExportError(f"{votes[0]!r} is a third argument of fresh: give settings by name, as units=64")
    need_number("classes", classes, 2, MAX_ROWS, f"a whole number from 2 to {MAX_ROWS}", int)
    most = MAX_ROWS - classes
    need_number(
        "spare_classes", spare_classes, 0, most, f"a whole number from 0 to {most} beside {classes} classes", int
    )
    need_number("seed", seed, 0, 2**32 - 1, "a whole number from 0 to 4294967295", int)
    layer = fit_triples(sample, units, takes, seed)
    nothing = np.zeros((0, layer.units), np.int8), np.zeros(0, np.int64)
    head = head_layer(*nothing, classes + spare_classes, None, settings, rows)
    head = replace(head, covariance=np.where(head.covariance, WITHIN, 0).astype(np.int16))
    named = class_names or feature_names
    notes = Notes(tuple(class_names), tuple(feature_names)) if named else None
    frozen = Frozen((layer, head), None, temperature=4096, skip_below=0, generator=generator_state(seed), notes=notes)
    check_limits(frozen)
    return frozen


def fresh_votes(features: int, hidden: int, classes: int, options: VoteOptions | None = None) -> Frozen:
    """A network features -> hidden -> classes with random weights; its hidden layer learns on the device by votes.

    It has a thermometer code, one graded layer, and a fixed output code. It is for raw pictures, where the head of `fresh` sees
    three pixels a unit, and for endless streams whose inputs change.

    features: F uint8 features, 1..16384 divided by the number of thresholds. hidden: 1..1024 graded units. classes: 2..1024.
    options: the defaults of `VoteOptions` if None.

    Raises ExportError if a size is outside its range.
    """
    o = options or VoteOptions()
    planes = len(o.thresholds)
    most = MAX_UNITS // planes
    need_number("features", features, 1, most,
                f"a whole number from 1 to {most} with {planes} thresholds: fewer of either", int)  # fmt: skip
    need_number("hidden", hidden, 1, MAX_GRADED, f"a whole number from 1 to {MAX_GRADED}", int)
    need_number("classes", classes, 2, MAX_GRADED, f"a whole number from 2 to {MAX_GRADED}", int)
    rng = np.random.default_rng(o.seed)
    levels = rng.integers(-1, 1, (hidden, features)).astype(np.int8)  # next to the sign change
    thresholds = np.repeat(np.array(o.thresholds, np.uint8)[:, None], features, axis=1)
    return vote_network(levels, _code(classes, hidden, rng), thresholds, o.ramp, o)


def _code(classes: int, hidden: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """Levels 0 and -1, int8 (C, N): each hidden unit counts for half of the classes and against the others."""
    sides = np.where(np.arange(classes) < classes // 2, 0, -1).astype(np.int8)
    return rng.permuted(np.repeat(sides[:, None], hidden, axis=1), axis=0)
