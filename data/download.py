"""Public data sets as uint8 arrays: from a folder, from the cache, or from their public homes, checked by their hashes.

``METABIT_DATA_DIR`` names a folder that holds ``mnist/``, ``fashion-mnist/`` ... with the files below: then nothing is
downloaded. Without it pooch fetches each file once into its cache (``~/.cache/metabit``, or ``METABIT_CACHE_DIR``) and
everything after that works offline.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.errors import DataError, extra

Bytes = NDArray[np.uint8]
Labels = NDArray[np.int64]

DIRECTORY = "METABIT_DATA_DIR"
CACHE = "METABIT_CACHE_DIR"


@dataclass(frozen=True, eq=False)  # == on arrays has no one answer
class Images:
    """A data set as its authors split it.

    Args:
        x_train, x_test: uint8 (n, H, W, C).
        y_train, y_test: int64 (n,).
    """

    x_train: Bytes
    y_train: Labels
    x_test: Bytes
    y_test: Labels


_CVDF = "https://storage.googleapis.com/cvdf-datasets/mnist/"
_OSSCI = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_ZALANDO = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
_LIBSVM = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"
_KRIZ = "https://www.cs.toronto.edu/~kriz/"

HOMES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "mnist": (
        (_OSSCI, _CVDF),
        {
            "train-images-idx3-ubyte.gz": "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    "fashion-mnist": (
        (_FASHION, _ZALANDO),
        {
            "train-images-idx3-ubyte.gz": "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
    "usps": (
        (_LIBSVM,),
        {
            "usps.bz2": "md5:ec16c51db3855ca6c91edd34d0e9b197",
            "usps.t.bz2": "md5:8ea070ee2aca1ac39742fdd1ef5ed118",
        },
    ),
    "cifar10": ((_KRIZ,), {"cifar-10-binary.tar.gz": "md5:c32a1d4ab5d03f1284b67883e8d87530"}),
}
"""Data set -> (public homes, in the order they are tried; file -> hash)."""


def load(name: str) -> Images:
    """A data set by name: mnist, fashion-mnist, usps or cifar10. Read once, then kept in memory: do not write to it.

    Raises:
        DataError: unknown name; no network and nothing in the cache; a hash that does not match; a file that is missing
            or damaged.
        MissingExtraError: a download without pooch, lossless mosaics without pillow.
    """
    if name not in _READERS:
        raise DataError(f"unknown data set {name!r}: there are {', '.join(_READERS)}")
    # Keyed by the folder too, so that another METABIT_DATA_DIR is another set.
    return _load(name, os.environ.get(DIRECTORY, ""))


@functools.lru_cache(maxsize=4)
def _load(name: str, _: str) -> Images:
    return _READERS[name]()


def file(folder: str, name: str) -> Path:
    """Where a file of a data set lies now: in METABIT_DATA_DIR if that is set, else in the cache, fetched if need be.

    Raises:
        DataError: as `load`.
    """
    if os.environ.get(DIRECTORY):
        path = Path(os.environ[DIRECTORY]) / folder / name
        if not path.is_file():
            raise DataError(f"{path} does not exist: put the file there, or unset {DIRECTORY} to download it")
        return path
    with extra("pooch"):
        import pooch
    homes, hashes = HOMES[folder]
    cache = Path(os.environ.get(CACHE) or pooch.os_cache("metabit")) / folder
    reasons = []
    for home in homes:
        try:
            pooch.get_logger().setLevel("WARNING")
            return Path(pooch.retrieve(home + name, known_hash=hashes[name], fname=name, path=cache))
        except ValueError as error:  # pooch says so when the hash is not the known one, and keeps no file
            if "hash" not in str(error).lower():
                raise
            reasons.append(f"{home} sent another file than the known one (its hash differs)")
        except OSError as error:  # requests' errors are these too
            reasons.append(f"{home} cannot be reached ({_short(error)})")
    raise DataError(
        f"{folder}/{name} cannot be had: {'; '.join(reasons)}; go online once, or set {DIRECTORY} to a folder with "
        f"{folder}/{name}"
    )


def read_idx(path: Path) -> Bytes:
    """An idx file of unsigned bytes, gzipped: uint8 of the shape its header says.

    Raises:
        DataError: the file is damaged or of another kind.
    """
    try:
        with gzip.open(path) as stream:
            data = stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, error) from None
    dimensions = data[3] if len(data) > 3 and data[:3] == b"\0\0\x08" else 0
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    values = np.frombuffer(data, np.uint8, offset=min(len(data), 4 + 4 * dimensions))
    if not dimensions or values.size != int(np.prod(shape)):
        raise _damaged(path, "not an idx file of bytes, or cut short")
    return values.reshape(shape).copy()  # torch wants memory that can be written


def _idx_images(folder: str) -> Images:
    def pair(part: str) -> tuple[Bytes, Labels]:
        images = read_idx(file(folder, f"{part}-images-idx3-ubyte.gz"))
        labels = read_idx(file(folder, f"{part}-labels-idx1-ubyte.gz"))
        return images[..., None], labels.astype(np.int64)

    return Images(*pair("train"), *pair("t10k"))


def _usps() -> Images:
    if os.environ.get(DIRECTORY):
        arrays = read_arrays(file("usps", "usps.npz"), ("x_train", "y_train", "x_test", "y_test"))
        pixels = {part: arrays[f"x_{part}"].astype(np.float64) / 1000 - 1 for part in ("train", "test")}
        labels = {part: arrays[f"y_{part}"] for part in ("train", "test")}
    else:
        pixels, labels = {}, {}
        for part, name in (("train", "usps.bz2"), ("test", "usps.t.bz2")):
            pixels[part], labels[part] = _libsvm(file("usps", name))

    def grey(x: NDArray[np.float64]) -> Bytes:
        """-1..1 -> 0..255."""
        levels: Bytes = np.rint((x.reshape(-1, 16, 16, 1) + 1) * 127.5).astype(np.uint8)
        return levels

    y_train, y_test = (labels[part].astype(np.int64) for part in ("train", "test"))
    return Images(grey(pixels["train"]), y_train, grey(pixels["test"]), y_test)


def _libsvm(path: Path) -> tuple[NDArray[np.float64], Labels]:
    """Lines of ``label index:value ...`` with labels 1..10 and all 256 values."""
    try:
        with bz2.open(path, "rt") as stream:
            rows = [line.split() for line in stream]
        x = np.array([[float(entry.partition(":")[2]) for entry in row[1:]] for row in rows])
        return x, np.array([int(float(row[0])) - 1 for row in rows])
    except (OSError, EOFError, ValueError) as error:
        raise _damaged(path, error) from None


def _cifar10() -> Images:
    batches = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    directory = os.environ.get(DIRECTORY)
    if directory and (Path(directory) / "cifar10" / "labels.npz").is_file():
        labels = read_arrays(file("cifar10", "labels.npz"), tuple(batches))
        parts = [(_mosaic(file("cifar10", f"{name}.webp")), labels[name].astype(np.int64)) for name in batches]
    else:
        parts = _cifar_archive(file("cifar10", "cifar-10-binary.tar.gz"), batches)
    x_train, y_train = (np.concatenate([part[i] for part in parts[:5]]) for i in (0, 1))
    return Images(x_train, y_train, *parts[5])


def _cifar_archive(path: Path, batches: list[str]) -> list[tuple[Bytes, Labels]]:
    """The official binary archive: records of a label and three planes of 32x32."""
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
        raise _damaged(path, error) from None
    return parts


def _mosaic(path: Path) -> Bytes:
    """100 x 100 tiles of 32x32 in one lossless picture, row by row."""
    with extra("PIL"):
        from PIL import Image
    try:
        with Image.open(path) as picture:
            tiles: Bytes = np.asarray(picture.convert("RGB"))
        return np.ascontiguousarray(tiles.reshape(100, 32, 100, 32, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 32, 32, 3))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None


def read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file, at least these.

    Raises:
        DataError: the file is damaged, holds Python objects, or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            return {name: found[name] for name in names}
    except KeyError as error:
        raise _damaged(path, error.args[0]) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, reason: object) -> DataError:
    return DataError(f"{path} is damaged ({reason}): delete it and fetch it again")


def _short(error: BaseException) -> str:
    """The innermost reason, on one line."""
    while error.__context__ is not None:
        error = error.__context__
    return " ".join(str(error).split())[:120]


_READERS: dict[str, Callable[[], Images]] = {
    "mnist": lambda: _idx_images("mnist"),
    "fashion-mnist": lambda: _idx_images("fashion-mnist"),
    "usps": _usps,
    "cifar10": _cifar10,
}
