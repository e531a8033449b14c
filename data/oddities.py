"""Values that a network would take in silence and learn little from: sentences about them, for warnings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHOWN = 5
"""Most features that a sentence names."""
STEPS = 256
"""Fewest float32 steps that a feature's range should have: an encoder sets up to 16 thresholds in it."""
SPIKE = 5.0
"""Factor by which one value of a sample widens the deviation of its feature before it is called a spike."""


def coarse(x: NDArray[Any], names: Sequence[str] = ()) -> list[str]:
    """A sentence for each feature, at most `SHOWN`, whose values float32 merges because they lie far from 0.

    x: (n, F) of the dtype of the file. Dates in seconds are an example: 1.7e9, with steps of 128 between float32 numbers.
    """
    wide = np.asarray(x)
    if wide.dtype.itemsize <= 2 or wide.dtype == np.float32:
        return []
    least, most = (ends.astype(np.float64) for ends in (wide.min(0), wide.max(0)))
    step = np.spacing(np.maximum(np.abs(least), np.abs(most)).astype(np.float32)).astype(np.float64)
    said: list[str] = []
    for i in np.flatnonzero((most > least) & (most - least < STEPS * step)).tolist():
        column = wide[:, i]
        if len(said) < SHOWN and len(np.unique(column.astype(np.float32))) < len(np.unique(column)):
            lost = column[column.astype(np.float32) != column][0]
            said.append(
                f"{feature(i, names)} has values such as {lost:.16g}, which float32 holds only in steps of {step[i]:g}: "
                f"subtract a constant such as {least[i]:.16g} from it, in the file and on the device, or leave it out"
            )
    return said


def spikes(sample: NDArray[Any], names: Sequence[str] = ()) -> list[str]:
    """A sentence for each feature, at most `SHOWN`, of which one value of a sample (n, F) makes up most of the deviation."""
    x = np.asarray(sample, np.float64)
    said: list[str] = []
    for i in range(x.shape[1]):
        column = x[:, i]
        at = int(np.abs(column - np.median(column)).argmax())
        others = np.delete(column, at)
        if len(said) < SHOWN and others.std() > 0 and column.std() > SPIKE * others.std():
            said.append(
                f"{feature(i, names)} is {column[at]:g} in one of the {len(x)} samples that show where it lies and from "
                f"{others.min():g} to {others.max():g} in the others, which that value makes look alike: correct or drop it, or "
                "give --ranges in place of the data"
            )
    return said


def unseen(x: NDArray[Any], constant: NDArray[np.bool_], names: Sequence[str] = ()) -> str:
    """The features that vary in x (n, F) and did not where a network was made, bool (F,), in words; "" if there are none."""
    found = np.flatnonzero(constant & (x.min(0) != x.max(0))).tolist()
    more = ", ..." if len(found) > SHOWN else ""
    return ", ".join(feature(i, names) for i in found[:SHOWN]) + more


def feature(i: int, names: Sequence[str]) -> str:
    """The name of a feature in a sentence."""
    return str(names[i]) if len(names) else f"feature {i}"
