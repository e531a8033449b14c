"""Data in: a name or a file becomes uint8 features and integer labels, or one sentence about what is wrong with it."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.errors import DataError, extra

Bytes = NDArray[np.uint8]
Labels = NDArray[np.int64]

MAX_CLASSES = 16384
"""Labels are 0..MAX_CLASSES - 1; an image cannot hold more outputs (runtime/FORMAT.md)."""

MAX_PLANES = 8
"""Thermometer planes a feature."""

TEST_SHARE = 0.2
"""Of each class, when the data brings no test set of its own."""


@dataclass(frozen=True, eq=False)  # == on arrays has no one answer
class Task:
    """Something to learn, and what to measure it with.

    Args:
        name: for reports.
        x_train, x_test: uint8 (n, F).
        y_train, y_test: int64 (n,), each 0..classes-1.
        shape: (H, W, C) of an image whose features lie in that order, C fastest; None if they are no image.
    """

    name: str
    x_train: Bytes
    y_train: Labels
    x_test: Bytes
    y_test: Labels
    shape: tuple[int, int, int] | None = None

    @property
    def features(self) -> int:
        return int(self.x_train.shape[1])

    @property
    def classes(self) -> int:
        """One more than the highest label seen."""
        return int(max(self.y_train.max(), self.y_test.max())) + 1


def load(name: str | Path, *, seed: int = 0) -> Task:
    """A task by name or file.

    Args:
        name: ``digits``: scikit-learn's 8x8 digits, 64 features of 0..16. ``digits:sideways``: the same images turned
            by 90°, with the same split. Or the path of an ``.npz`` file with arrays x (n, F) and y (n,), optionally
            x_test and y_test; ``file.npz:2`` takes the samples whose entry in the arrays task (and task_test) is 2.
        seed: of the split into train and test, where the data brings none: 20 % of every class are for the test.

    Raises:
        DataError: anything about the name, the file or the values in it (see `from_arrays`).
        MissingExtraError: digits without scikit-learn.
    """
    text = str(name)
    if text in ("digits", "digits:sideways"):
        return _digits(text, seed)
    path, picked = text, ""
    if ".npz:" in text:
        head, _, picked = text.rpartition(".npz:")
        path = head + ".npz"
    if not path.endswith(".npz"):
        raise DataError(f"unknown task {text!r}: use digits, digits:sideways, or the path of an .npz file with x and y")
    arrays = _read_npz(Path(path))
    if picked:
        arrays = _pick(arrays, picked, path)
    return from_arrays(
        f"{Path(path).stem}:{picked}" if picked else Path(path).stem,
        arrays["x"],
        arrays["y"],
        arrays.get("x_test"),
        arrays.get("y_test"),
        seed=seed,
    )


def from_arrays(
    name: str,
    x: NDArray[Any],
    y: NDArray[Any],
    x_test: NDArray[Any] | None = None,
    y_test: NDArray[Any] | None = None,
    *,
    seed: int = 0,
) -> Task:
    """A task from arrays of any sensible dtype.

    Features: integers (or floats that are whole numbers) in 0..255 and bool are taken as they are. Floats that all lie
    in 0..1, in train and test together, are scaled to 0..255 and rounded: pass input bits as bool or integers, not as
    floats. Labels: whole numbers in 0..16383.

    Raises:
        DataError: wrong number of dimensions, no samples, lengths that differ, NaN or infinity, a value out of range.
    """
    if (x_test is None) != (y_test is None):
        raise DataError(f"task {name!r} has only one of x_test and y_test: give both, or neither for a random split")
    features = {"x": np.asarray(x)} if x_test is None else {"x": np.asarray(x), "x_test": np.asarray(x_test)}
    for key, array in features.items():
        _check_features(key, array)
    floats = [array for array in features.values() if np.issubdtype(array.dtype, np.floating)]
    unit = bool(floats) and max(array.max() for array in floats) <= 1
    x_all = {key: _to_bytes(key, array, unit) for key, array in features.items()}
    y_all = _to_labels("y", np.asarray(y), len(x_all["x"]))
    if x_test is None:
        train, test = _split(y_all, seed)
        return Task(name, x_all["x"][train], y_all[train], x_all["x"][test], y_all[test])
    if x_all["x_test"].shape[1] != x_all["x"].shape[1]:
        found = f"x_test has {x_all['x_test'].shape[1]} features and x has {x_all['x'].shape[1]}"
        raise DataError(f"{found}: they must agree")
    y_all_test = _to_labels("y_test", np.asarray(y_test), len(x_all["x_test"]))
    return Task(name, x_all["x"], y_all, x_all["x_test"], y_all_test)


def thermometer(x_train: Bytes, planes: int) -> Bytes:
    """Equally spaced thresholds, the same for every feature: the middles of P equal parts of the range of values.

    digits (0..16) and 4 planes: 2, 6, 10, 14.

    Args:
        x_train: uint8 (n, F), not constant.
        planes: P, 1..8, and not more than the range has steps.

    Returns:
        uint8 (P, F).

    Raises:
        DataError: planes is out of range for these values.
    """
    low, high = int(x_train.min()), int(x_train.max())
    limit = min(MAX_PLANES, high - low)
    if limit == 0:
        raise DataError(f"every feature is {low}: there is nothing to encode")
    if not 1 <= planes <= limit:
        raise DataError(f"planes={planes}: must be from 1 to {limit} for features of {low} to {high}")
    levels = low + (high - low) * (2 * np.arange(planes) + 1) / (2 * planes)
    # Up to whole numbers: for an integer feature, >= level and >= ceil(level) are the same.
    return np.repeat(np.ceil(levels).astype(np.uint8)[:, None], x_train.shape[1], axis=1)


def _digits(name: str, seed: int) -> Task:
    with extra("sklearn"):
        from sklearn.datasets import load_digits
    images, y = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)
    if name == "digits:sideways":
        images = np.rot90(images, axes=(1, 2))
    return from_arrays(name, images.reshape(-1, 64).astype(np.uint8), y, seed=seed)


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise DataError(f"{path} does not exist or is not a file: give the path of an .npz file with arrays x and y")
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            # a lone .npy under the wrong name gives an array
            arrays = {} if isinstance(file, np.ndarray) else {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} is no readable .npz ({error}): save plain arrays with np.savez(path, x=x, y=y)"
        ) from None
    missing = [key for key in ("x", "y") if key not in arrays]
    if missing:
        found = ", ".join(sorted(arrays)) or "nothing"
        raise DataError(f"{path} has no array {' and no '.join(missing)} (it has {found}): np.savez(path, x=x, y=y)")
    return arrays


def _pick(arrays: dict[str, NDArray[Any]], picked: str, path: str) -> dict[str, NDArray[Any]]:
    """Only the samples of one task number, of the training arrays and of the test arrays."""
    chosen: dict[str, NDArray[Any]] = {}
    for suffix in ("", "_test"):
        if "x" + suffix not in arrays:
            continue
        x, y, ids = (arrays.get(key + suffix) for key in ("x", "y", "task"))
        if ids is None:
            raise DataError(f"{path}:{picked} asks for one task, but the file has no array task{suffix}: use {path}")
        if x is None or y is None or ids.dtype.kind not in "iuU" or not x.shape[:1] == y.shape[:1] == ids.shape:
            raise DataError(
                f"{path}: task{suffix} must be an integer or a name for each row of x{suffix} and y{suffix}"
            )
        mask = ids.astype(str) == picked
        if not mask.any():
            known = ", ".join(np.unique(ids).astype(str))
            raise DataError(f"{path} has no task {picked} in task{suffix}: there are {known}")
        chosen |= {"x" + suffix: x[mask], "y" + suffix: y[mask]}
    return chosen


def _check_features(name: str, array: NDArray[Any]) -> None:
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} has dtype {array.dtype}: features must be numbers, best uint8")
    if array.ndim != 2:
        raise DataError(f"{name} has shape {array.shape}: must be (samples, features), as by reshape(len({name}), -1)")
    if array.size == 0:
        raise DataError(f"{name} has shape {array.shape}: at least one sample and one feature are needed")
    bad = ~np.isfinite(array)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(f"{name}[{row}, {column}] is {array[row, column]}: features must be finite, fill such values")


def _to_bytes(name: str, array: NDArray[Any], unit: bool) -> Bytes:
    is_float = np.issubdtype(array.dtype, np.floating)
    bad = (array < 0) | (array > 255)
    if is_float and not unit:
        bad |= array != np.floor(array)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        rule = "must be whole numbers from 0 to 255, or all floats from 0 to 1: rescale them"
        raise DataError(f"{name}[{row}, {column}] is {array[row, column]}: features {rule}")
    return np.rint(array * 255).astype(np.uint8) if is_float and unit else array.astype(np.uint8)


def _to_labels(name: str, array: NDArray[Any], samples: int) -> Labels:
    if array.ndim != 1:
        raise DataError(f"{name} has shape {array.shape}: must be (samples,), from one-hot rows take argmax(axis=1)")
    if len(array) != samples:
        raise DataError(f"{name} has {len(array)} labels for {samples} samples: they must be as many")
    if array.dtype.kind not in "iuf":
        raise DataError(f"{name} has dtype {array.dtype}: labels must be whole numbers, number the classes from 0")
    bad = ~((array >= 0) & (array < MAX_CLASSES) & (array == np.floor(array)))  # so written, it catches NaN
    if bad.any():
        i = int(np.argmax(bad))
        rule = f"labels must be whole numbers from 0 to {MAX_CLASSES - 1}, number the classes from 0"
        raise DataError(f"{name}[{i}] is {array[i]}: {rule}")
    return array.astype(np.int64)


def _split(y: Labels, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of train and test, `TEST_SHARE` of every class in the test, in the order of the data."""
    generator = np.random.default_rng(seed)
    test = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        members = generator.permutation(np.flatnonzero(y == label))
        test[members[: round(TEST_SHARE * len(members))]] = True
    if not test.any():
        raise DataError(
            f"{len(y)} samples are too few to keep {TEST_SHARE:.0%} of a class apart: give x_test and y_test"
        )
    return np.flatnonzero(~test), np.flatnonzero(test)
