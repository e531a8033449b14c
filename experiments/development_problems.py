"""Seven problems with an old task, learnt before deployment, and a new one that a device meets in parts, once, in order.

Features are unscaled, as in `development_sets`. Everything is fixed by a seed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from metabit.data import image_sets
from metabit.data.errors import DataError
from metabit.experiments.development_sets import (
    DataSet,
    Floats,
    Labels,
    flat,
    sklearn_set,
    split_rows,
    watch_windows,
    wisdm_people,
)
from metabit.experiments.stream import by_class

Order = Literal["shuffled", "sorted"]


@dataclass(frozen=True, eq=False)
class Problem:
    """An old task, learnt before deployment, and a new one in parts that follow one another (people, say).

    Args:
        old: what is known before deployment, with its test part.
        parts: each a stream x, y in time order, learnt once, and its test part.
    """

    name: str
    old: DataSet
    parts: tuple[DataSet, ...]

    def new_test(self) -> tuple[Floats, Labels]:
        """Test parts of all new parts together: (n, F), (n,)."""
        return np.concatenate([part.x_test for part in self.parts]), np.concatenate([p.y_test for p in self.parts])


def problem(name: str, seed: int, order: Order = "shuffled") -> Problem:
    """One of `PROBLEMS`. ``sorted``: the classes of each part come one after the other, in random order.

    Raises:
        DataError: an unknown name, or a file that is missing.
    """
    if name not in PROBLEMS:
        raise DataError(f"unknown problem {name!r}: there are {', '.join(PROBLEMS)}")
    found = PROBLEMS[name](seed)
    if order == "sorted":
        rng = np.random.default_rng([seed, 1])
        found = Problem(found.name, found.old, tuple(_sorted(part, rng) for part in found.parts))
    return found


def _sorted(part: DataSet, rng: np.random.Generator) -> DataSet:
    at = by_class(part.y, part.classes, rng)
    return replace(part, x=part.x[at], y=part.y[at])


def _wisdm(seed: int) -> Problem:
    """Old: 24 people. New: 12 others, one after the other."""
    return Problem("wisdm", *wisdm_people(seed))


def _watch(seed: int) -> Problem:
    """Old: five people. New: five others, one after the other."""
    x, y, person, test = watch_windows()
    rng = np.random.default_rng(seed)
    people = rng.permutation(10)

    def part(name: str, *who: int) -> DataSet:
        mine = np.isin(person, who)
        rows = rng.permutation(np.flatnonzero(mine & ~test))
        return DataSet(name, x[rows], y[rows], x[mine & test], y[mine & test], 7)

    return Problem("watch", part("five people", *people[:5]), tuple(part(f"person {i}", i) for i in people[5:]))


def _turned_digits(seed: int) -> Problem:
    """Old: 700 upright digits. New: others, turned by 90°. One test part, upright and turned."""
    x, y = sklearn_set("digits")
    rng = np.random.default_rng(seed)
    test = split_rows(y, 0.2, rng)
    rows = rng.permutation(np.flatnonzero(~test))

    def turned(a: Floats) -> Floats:
        return flat(np.rot90(a.reshape(-1, 8, 8), axes=(1, 2)))

    old, new = rows[:700], rows[700:]
    side = DataSet("sideways", turned(x[new]), y[new], turned(x[test]), y[test], 10)
    return Problem("digits", DataSet("upright", x[old], y[old], x[test], y[test], 10), (side,))


def _usps_then_mnist(seed: int) -> Problem:
    """Old: 2,500 USPS digits of 16x16 pixels. New: 2,000 MNIST digits, their middle 20x20 pixels reduced to 16x16."""
    usps, mnist = image_sets.load("usps"), image_sets.load("mnist")
    rng = np.random.default_rng(seed)
    a, b = rng.permutation(len(usps.x_train)), rng.permutation(len(mnist.x_train))[:3000]
    x, y = flat(usps.x_train), usps.y_train
    middle = mnist.x_train[b, 4:24, 4:24, 0].astype(np.float64)
    share = _area_shares(20, 16)
    small, label = np.floor(flat(share @ middle @ share.T)), mnist.y_train[b]
    new = DataSet("mnist", small[:2000], label[:2000], small[2000:], label[2000:], 10)
    return Problem(
        "usps-mnist", DataSet("usps", x[a[:2500]], y[a[:2500]], x[a[2500:3500]], y[a[2500:3500]], 10), (new,)
    )


def _flipped_fashion(seed: int) -> Problem:
    """Old: 2,500 Fashion-MNIST images of 14x14 pixels. New: 2,500 others, left and right exchanged, at 3/4 contrast."""
    images = image_sets.load("fashion-mnist")
    rows = np.random.default_rng(seed).permutation(len(images.x_train))[:6000]
    pixels = images.x_train[rows, :, :, 0].reshape(-1, 14, 2, 14, 2).astype(np.float64)
    x, y = np.floor(pixels.mean((2, 4))), images.y_train[rows]
    flipped = np.minimum(np.floor(x[:, :, ::-1] * 3 / 4) + 20, 255)
    a, b, test = slice(0, 2500), slice(2500, 5000), slice(5000, 6000)
    old = DataSet("fashion", flat(x[a]), y[a], flat(x[test]), y[test], 10)
    new = DataSet("flipped", flat(flipped[b]), y[b], flat(flipped[test]), y[test], 10)
    return Problem("fashion", old, (new,))


def _halves(name: str, seed: int) -> Problem:
    """Old: half of the training part, new: the other half. One test part for both."""
    x, y = sklearn_set(name)
    rng = np.random.default_rng(seed)
    test = split_rows(y, 0.3, rng)
    rows = rng.permutation(np.flatnonzero(~test))
    classes = int(y.max()) + 1
    old, new = (DataSet(part, x[i], y[i], x[test], y[test], classes) for part, i in
                zip(("half", "other half"), np.split(rows, [len(rows) // 2]), strict=True))  # fmt: skip
    return Problem(name, old, (new,))


PROBLEMS: dict[str, Callable[[int], Problem]] = {
    "wisdm": _wisdm,
    "watch": _watch,
    "digits": _turned_digits,
    "usps-mnist": _usps_then_mnist,
    "fashion": _flipped_fashion,
    "cancer": functools.partial(_halves, "breast_cancer"),
    "wine": functools.partial(_halves, "wine"),
}
"""Name -> seed -> problem, its parts shuffled."""


def _area_shares(pixels: int, smaller: int) -> Floats:
    """(smaller, pixels): the share of each pixel in a pixel of the smaller picture, by area; rows sum to 1."""
    edges = np.arange(smaller + 1) * pixels / smaller
    start, end = np.maximum.outer(edges[:-1], np.arange(pixels)), np.minimum.outer(edges[1:], np.arange(pixels) + 1)
    shares: Floats = np.maximum(end - start, 0) * smaller / pixels
    return shares
