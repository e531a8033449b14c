"""Nothing -> Frozen: a network with random levels, which learns on the device from its first sample.

It has a thermometer code, one graded layer that learns by votes, and a fixed output code. It needs no training on a computer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import need_number
from metabit.export.freeze.votes import VoteOptions, vote_network
from metabit.export.frozen import Frozen
from metabit.train.network.spec import MAX_GRADED, MAX_UNITS


def fresh(features: int, hidden: int, classes: int, options: VoteOptions | None = None) -> Frozen:
    """A network features -> hidden -> classes with random weights; its hidden layer learns on the device.

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
