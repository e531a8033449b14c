"""Ranges of features in words, for a network that no data describes: ``0..1,20..40`` or a file with one on each line."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabit.cli.errors import UsageError

HELP = (
    "Lowest and highest value of each feature, without data: 0..1,20..40, with names as in temperature:20..40, and 64*0..255 for "
    "64 features alike; or a text file of them, one on each line."
)
MOST = 16384
_ONE = re.compile(r"(?:(?P<name>[^:]*):)?\s*(?:(?P<times>\d+)\s*\*)?(?P<low>.*?)\.\.(?P<high>.*)")


def read(given: str) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """The ranges (F, 2) that a text or the file of that name states, and the names of the features, () if one has none.

    Raises:
        UsageError: a part that is no range, a file that cannot be read, or more than 16384 features.
    """
    text, where = given, "--ranges"
    if ".." not in given or Path(given).is_file():
        try:
            text, where = Path(given).read_text(encoding="utf-8"), given
        except (OSError, ValueError) as error:
            way_out = "give ranges such as 0..1,20..40, or a text file of them"
            raise UsageError(f"--ranges {given}: is no range, and no file of text ({error}): {way_out}") from None
    lines = [line.partition("#")[0] for line in text.splitlines()]
    parts = [part.strip() for line in lines for part in line.split(",") if part.strip()]
    ends: list[tuple[float, float]] = []
    names: list[str] = []
    for part in parts:
        name, times, low, high = _one(part, where)
        if len(ends) + times > MOST:
            raise UsageError(f"{where}: more than {MOST} features, which is the most that an image can take")
        ends += [(low, high)] * times
        names += [name] if times == 1 or not name else [f"{name} {i}" for i in range(times)]
    if not ends:
        raise UsageError(f"{where}: there is no range: give one for each feature, as 0..1")
    named = tuple(names) if len(names) == len(ends) and all(names) else ()
    return np.array(ends), named


def _one(part: str, where: str) -> tuple[str, int, float, float]:
    """Name, how many features, low and high."""
    found = _ONE.fullmatch(part)
    try:
        if found is None:
            raise ValueError
        low, high = float(found["low"]), float(found["high"])
        times = int(found["times"] or 1)
        if not (math.isfinite(low) and math.isfinite(high) and low < high and times):
            raise ValueError
    except ValueError:
        raise UsageError(
            f"{where}: {part!r}: must be LOW..HIGH, two numbers, the greater one last, as 20..40"
        ) from None
    return (found["name"] or "").strip(), times, low, high
