"""The ten data sets that the default learner is developed on, and the files behind them.

Features are the numbers of the files, unscaled: the encoder receives what a user's file would hold. Everything is fixed
by the number of the split. Data: scikit-learn's own sets and those of `metabit.data.download`; wisdm, watch and mnist1d
are read from METABIT_DATA_DIR only (wisdm: Kwapisz et al., 43 features of 10 s of a phone's accelerometer, 36 people, 6
activities; watch: `metabit.data.wrist_imu`; mnist1d: Greydanus and Kobak, 40 samples of a drawn signal).
"""

from __future__ import annotations

import csv
import functools
import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabit.data import download
from metabit.data.errors import DataError, extra

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DataSet:
    """One task with its test part.

    Args:
        x, x_test: float64 (n, F), unscaled.
        y, y_test: int64 (n,), 0..classes-1.
    """

    name: str
    x: Floats
    y: Labels
    x_test: Floats
    y_test: Labels
    classes: int


def data_set(name: str, split: int) -> DataSet:
    """One of `DATA_SETS` with its split number 0, 1, 2 ...: 30 % of every class are for the test where no rule is stated.

    Raises:
        DataError: an unknown name, or a file that is missing.
    """
    if name not in DATA_SETS:
        raise DataError(f"unknown data set {name!r}: there are {', '.join(DATA_SETS)}")
    return DATA_SETS[name](split)


def _small(name: str, share: float, split: int) -> DataSet:
    x, y = sklearn_set(name)
    return _parted(name, x, y, split_rows(y, share, np.random.default_rng(split)))


def _heavy_tails(split: int) -> DataSet:
    """Breast cancer with every standardised feature z as exp(2z), and three constant features."""
    x, y = sklearn_set("breast_cancer")
    x = np.exp(2 * (x - x.mean(0)) / x.std(0))
    x = np.concatenate([x, np.ones((len(x), 3))], axis=1)
    return _parted("heavy", x, y, split_rows(y, 0.3, np.random.default_rng(split)))


def _blobs(split: int) -> DataSet:
    """Four classes of two clusters each in 8 features, whose scales lie between 1/50 and 50 or so."""
    with extra("sklearn"):
        from sklearn.datasets import make_classification
    shape = {"n_informative": 5, "n_redundant": 2, "n_classes": 4, "n_clusters_per_class": 2, "class_sep": 1.2}
    x, y = make_classification(3000, 8, random_state=split, **shape)
    x = x * np.exp(2 * np.random.default_rng(100 + split).normal(size=8))
    return _parted("blobs8", x, y.astype(np.int64), split_rows(y, 0.3, np.random.default_rng(split)))


def _wisdm_known(split: int) -> DataSet:
    """The old task of `development_problems`' wisdm: 24 people, 20 % of each person's samples for the test."""
    return wisdm_people(split)[0]


def _watch_of_six(split: int) -> DataSet:
    """Persons split .. split + 5 of 10, a test part of each series."""
    x, y, person, test = watch_windows()
    mine = np.isin(person, (split + np.arange(6)) % 10)
    return _parted("watch", x[mine], y[mine], test[mine])


def _usps(split: int) -> DataSet:
    """4,000 training images and the official test part."""
    images = download.load("usps")
    rows = np.random.default_rng(100 + split).permutation(len(images.x_train))[:4000]
    x, x_test = (flat(a) for a in (images.x_train[rows], images.x_test))
    return DataSet("usps", x, images.y_train[rows], x_test, images.y_test, 10)


def _mnist1d(split: int) -> DataSet:
    """The official split, always."""
    names = ("x_train", "y_train", "x_test", "y_test")
    found = download.read_arrays(_local("mnist1d", "mnist1d.npz"), names)
    x, x_test = (found[name].astype(np.float64) for name in ("x_train", "x_test"))
    y, y_test = (found[name].astype(np.int64) for name in ("y_train", "y_test"))
    return DataSet("mnist1d", x, y, x_test, y_test, 10)


DATA_SETS: dict[str, Callable[[int], DataSet]] = {
    "wine": functools.partial(_small, "wine", 0.3),
    "iris": functools.partial(_small, "iris", 0.3),
    "cancer": functools.partial(_small, "breast_cancer", 0.3),
    "heavy": _heavy_tails,
    "blobs8": _blobs,
    "digits": functools.partial(_small, "digits", 0.2),
    "wisdm": _wisdm_known,
    "watch": _watch_of_six,
    "usps": _usps,
    "mnist1d": _mnist1d,
}
"""Name -> split number -> data set."""


# Files


@functools.lru_cache(maxsize=4)
def sklearn_set(name: str) -> tuple[Floats, Labels]:
    with extra("sklearn"):
        from sklearn import datasets
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return x.astype(np.float64), y.astype(np.int64)


@functools.lru_cache(maxsize=1)
def wisdm_rows() -> tuple[Floats, Labels, NDArray[np.int64]]:
    """Of all samples: 43 features, a missing value ("?") as 0, the activity 0..5 in alphabetical order, the person."""
    with gzip.open(_local("wisdm", "WISDM_ar_v1.1_transformed.csv.gz"), "rt") as stream:
        rows = [[cell.strip().strip('"') for cell in row] for row in csv.reader(stream)]
    rows = [row for row in rows if row and row[0].upper() != "UNIQUE_ID"]
    names = sorted({row[-1] for row in rows})
    x = np.array([[float(cell) if cell not in ("?", "") else 0.0 for cell in row[2:-1]] for row in rows])
    return x, np.array([names.index(row[-1]) for row in rows]), np.array([int(float(row[1])) for row in rows])


@functools.lru_cache(maxsize=1)
def watch_windows() -> tuple[Floats, Labels, NDArray[np.int64], NDArray[np.bool_]]:
    """Of all windows of 200 samples, every 50: 25 averages of 6 channels, exercise, person 0..9, whether for the test.

    The last quarter of every series is for the test, and no training window reaches into it.
    """
    found = download.read_arrays(_local("seglearn-watch", "watch.npz"), ("x", "offsets", "y", "subject"))
    rows, about = [], []
    for number, (start, end) in enumerate(zip(found["offsets"][:-1], found["offsets"][1:], strict=True)):
        border = start + round(0.75 * (end - start))
        for low, high, test in ((start, border, False), (border, end, True)):
            for at in range(low, high - 199, 50):
                rows.append(found["x"][at : at + 200].astype(np.float64).reshape(25, 8, 6).mean(1).ravel())
                about.append((int(found["y"][number]), int(found["subject"][number]) - 1, test))
    labels = np.array(about, dtype=np.int64)
    return np.stack(rows), labels[:, 0], labels[:, 1], labels[:, 2].astype(bool)


def _local(folder: str, name: str) -> Path:
    if not os.environ.get(download.DIRECTORY):
        raise DataError(f"{folder}/{name} has no public home here: set {download.DIRECTORY} to a folder that holds it")
    return download.file(folder, name)


def split_rows(y: Labels, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A share of every class, drawn at random: bool (n,)."""
    test = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        test[rows[: round(share * len(rows))]] = True
    return test


def _parted(name: str, x: Floats, y: Labels, test: NDArray[np.bool_]) -> DataSet:
    return DataSet(name, x[~test], y[~test], x[test], y[test], int(y.max()) + 1)


def flat(x: NDArray[np.generic]) -> Floats:
    return x.reshape(len(x), -1).astype(np.float64)


def wisdm_people(seed: int) -> tuple[DataSet, tuple[DataSet, ...]]:
    """24 people together, and 12 drawn at random, each alone.

    20 % of each class of the samples of each of the 24 are for the test, 40 % of each of the 12. Of these, people with
    fewer than 10 test samples are left out.
    """
    x, y, person = wisdm_rows()
    rng = np.random.default_rng(seed)
    people = np.unique(person)
    new = rng.permutation(people)[:12]
    test = np.zeros(len(y), dtype=bool)
    for one in people:
        rows = np.flatnonzero(person == one)
        test[rows] = split_rows(y[rows], 0.4 if one in new else 0.2, rng)

    def part(name: str, mine: NDArray[np.bool_]) -> DataSet:
        rows = rng.permutation(np.flatnonzero(mine & ~test))
        return DataSet(name, x[rows], y[rows], x[mine & test], y[mine & test], 6)

    parts = tuple(part(f"person {one}", person == one) for one in new if ((person == one) & test).sum() >= 10)
    return part("wisdm", ~np.isin(person, new)), parts
