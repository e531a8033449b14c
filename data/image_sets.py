"""Public sets of pictures as uint8 arrays, as their authors split them."""

from __future__ import annotations

import bz2
import functools
import gzip
import os
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabit.data.download import DIRECTORY, file
from metabit.data.errors import DataError, damaged, extra
from metabit.data.npz_files import known_arrays
from metabit.data.task import Bytes, Labels


@dataclass(frozen=True, eq=False)  # arrays have no single answer to ==
class Images:
    """A dataset as its authors split it.

    Args:
        x_train, x_test: uint8 (n, H, W, C).
        y_train, y_test: int64 (n,).
    """

    x_train: Bytes
    y_train: Labels
    x_test: Bytes
    y_test: Labels


def load(name: str) -> Images:
    """A dataset by name: mnist, fashion-mnist, usps or cifar10. It is read once and kept in memory: do not write to it.

    Raises:
        DataError: unknown name, a damaged file, or as `download.file`.
        MissingExtraError: a download without pooch, lossless mosaics without pillow.
    """
    if name not in _READERS:
        raise DataError(f"unknown dataset {name!r}: there are {', '.join(_READERS)}")
    # the folder is a key as well, so that another METABIT_DATA_DIR is read anew
    return _load(name, os.environ.get(DIRECTORY, ""))


@functools.lru_cache(maxsize=4)
def _load(name: str, _: str) -> Images:
    return _READERS[name]()


def read_idx(path: Path) -> Bytes:
    """A gzipped idx file of unsigned bytes: uint8 of the shape that its header declares.

    Raises DataError: the file is damaged or of another kind.
    """
    try:
        with gzip.open(path) as stream:
            data = stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path, error) from None
    dimensions = data[3] if len(data) > 3 and data[:3] == b"\0\0\x08" else 0
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    values = np.frombuffer(data, np.uint8, offset=min(len(data), 4 + 4 * dimensions))
    if not dimensions or values.size != int(np.prod(shape)):
        raise damaged(path, "not an idx file of bytes, or cut short")
    return values.reshape(shape).copy()  # torch needs memory that can be written


def _idx_images(folder: str) -> Images:
    def pair(part: str) -> tuple[Bytes, Labels]:
        images = read_idx(file(folder, f"{part}-images-idx3-ubyte.gz"))
        labels = read_idx(file(folder, f"{part}-labels-idx1-ubyte.gz"))
        return images[..., None], labels.astype(np.int64)

    return Images(*pair("train"), *pair("t10k"))


def _usps() -> Images:
    if os.environ.get(DIRECTORY):
        arrays = known_arrays(file("usps", "usps.npz"), ("x_train", "y_train", "x_test", "y_test"))
        parts = [(arrays[f"x_{part}"].astype(np.float64) / 1000 - 1, arrays[f"y_{part}"]) for part in ("train", "test")]
    else:
        parts = [_libsvm(file("usps", name)) for name in ("usps.bz2", "usps.t.bz2")]
    (x_train, y_train), (x_test, y_test) = (
        (np.rint((x.reshape(-1, 16, 16, 1) + 1) * 127.5).astype(np.uint8), y.astype(np.int64)) for x, y in parts
    )
    return Images(x_train, y_train, x_test, y_test)


def _libsvm(path: Path) -> tuple[NDArray[np.float64], Labels]:
    """Lines of ``label index:value ...``, labels 1..10, 256 values each: float64 (n, 256) and int64 (n,), 0..9."""
    try:
        with bz2.open(path, "rt") as stream:
            rows = [line.split() for line in stream]
        x = np.array([[float(entry.partition(":")[2]) for entry in row[1:]] for row in rows])
        return x, np.array([int(float(row[0])) - 1 for row in rows])
    except (OSError, EOFError, ValueError) as error:
        raise damaged(path, error) from None


def _cifar10() -> Images:
    batches = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    directory = os.environ.get(DIRECTORY)
    if directory and (Path(directory) / "cifar10" / "labels.npz").is_file():
        labels = known_arrays(file("cifar10", "labels.npz"), tuple(batches))
        parts = [(_mosaic(file("cifar10", f"{name}.webp")), labels[name].astype(np.int64)) for name in batches]
    else:
        parts = _cifar_archive(file("cifar10", "cifar-10-binary.tar.gz"), batches)
    x_train, y_train = (np.concatenate([part[i] for part in parts[:5]]) for i in (0, 1))
    return Images(x_train, y_train, *parts[5])


def _cifar_archive(path: Path, batches: list[str]) -> list[tuple[Bytes, Labels]]:
    """The official binary archive: each record is a label and three colour planes of 32x32."""
    parts = []
    try:
        with tarfile.open(path) as archive:
            for name in batches:
                stream = archive.extractfile(f"cifar-10-batches-bin/{name}.bin")
                assert stream is not None
                rows = np.frombuffer(stream.read(), np.uint8).reshape(-1, 3073)
                x = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
                parts.append((np.ascontiguousarray(x), rows[:, 0].astype(np.int64)))
    except (OSError, EOFError, KeyError, ValueError, tarfile.TarError, zlib.error) as error:
        raise damaged(path, error) from None
    return parts


def _mosaic(path: Path) -> Bytes:
    """A lossless picture of 100 x 100 tiles of 32x32, row by row: uint8 (10000, 32, 32, 3)."""
    with extra("PIL"):
        from PIL import Image
    try:
        with Image.open(path) as picture:
            tiles: Bytes = np.asarray(picture.convert("RGB"))
        return np.ascontiguousarray(tiles.reshape(100, 32, 100, 32, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 32, 32, 3))
    except (OSError, ValueError) as error:
        raise damaged(path, error) from None


_READERS: dict[str, Callable[[], Images]] = {
    "mnist": lambda: _idx_images("mnist"),
    "fashion-mnist": lambda: _idx_images("fashion-mnist"),
    "usps": _usps,
    "cifar10": _cifar10,
}
"""Name -> reader."""
