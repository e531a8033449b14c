"""Reader of .npz archives. No array is allocated before the archive is known to hold its bytes."""

from __future__ import annotations

import lzma
import math
import zipfile
import zlib
from collections.abc import Container
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.arrays import Part, Raw
from metabit.data.errors import DataError, damaged

DAMAGED = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""Everything that the standard library raises on a broken archive."""


def read_npz(path: Path) -> Raw:
    """A file of arrays x (n, F) and y (n,), optionally task (n,), x_test, y_test, task_test and feature_names (F,).

    Raises DataError: the file is missing, damaged or lacks an array, or task does not fit the others.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist or is not a file: give the path of an .npz file with arrays x and y")
    try:
        arrays = read_arrays(path)
    except DAMAGED as error:
        way_out = "save plain arrays with np.savez(path, x=x, y=y)"
        raise DataError(f"{path} is no readable .npz ({error}): {way_out}") from None
    missing = [key for key in ("x", "y") if key not in arrays]
    if missing:
        found = ", ".join(sorted(arrays)) or "nothing"
        raise DataError(f"{path} has no array {' and no '.join(missing)} (it has {found}): np.savez(path, x=x, y=y)")
    given = [key for key in ("x_test", "y_test") if key in arrays]
    if len(given) == 1:
        raise DataError(f"{path} has only one of x_test and y_test: give both, or neither for a random split")
    titles = arrays.get("feature_names", np.array([], str))
    if titles.ndim != 1 or titles.dtype.kind not in "SU":
        raise DataError(f"{path}: feature_names has {titles.dtype} {titles.shape}: must be one word for each feature")
    train = replace(_part(path, arrays, ""), names=tuple(titles.astype(str).tolist()))
    return Raw(train, _part(path, arrays, "_test") if given else None)


def _part(path: Path, arrays: dict[str, NDArray[Any]], suffix: str) -> Part:
    x, y, task = (arrays.get(key + suffix) for key in ("x", "y", "task"))
    assert x is not None and y is not None
    if task is None:
        return Part(x, y)
    if task.dtype.kind not in "iuU" or task.shape != x.shape[:1]:
        raise DataError(f"{path}: task{suffix} must be an integer or a name for each row of x{suffix} and y{suffix}")
    return Part(x, y, task.astype(str))


def read_arrays(path: Path, names: Container[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of an archive by name, or only those of ``names``. They are read-only.

    The size that an array declares must be the size of its archive member, and the bytes are read before the array is
    made, so that a damaged or hostile file allocates no more than it holds. Raises one of `DAMAGED`: the file is no
    archive, is cut short, holds Python objects or declares a size it does not have.
    """
    found = {}
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name != info.filename and (names is None or name in names):
                if info.compress_size > size:
                    raise ValueError(f"{info.filename} declares {info.compress_size:,} bytes and the file has {size:,}")
                with archive.open(info) as member:
                    found[name] = _array(name, member, info.file_size)
    return found


def known_arrays(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """The arrays ``names`` of a public dataset's archive, read-only.

    Raises DataError: the file is damaged, holds Python objects or lacks an array.
    """
    try:
        found = read_arrays(path, names)
    except DAMAGED as error:
        raise damaged(path, error) from None
    for name in names:
        if name not in found:
            raise damaged(path, f"it has no array {name}")
    return found


def _array(name: str, member: IO[bytes], size: int) -> NDArray[Any]:
    version = np.lib.format.read_magic(member)  # type: ignore[no-untyped-call]
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"array {name} has the unknown format version {version[0]}.{version[1]}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(member)  # type: ignore[no-untyped-call]
    if dtype.hasobject:
        raise ValueError(f"array {name} holds Python objects")
    declared, holds = math.prod(shape) * dtype.itemsize, size - member.tell()
    if declared != holds:
        raise ValueError(f"array {name} declares {declared:,} bytes and the archive has {holds:,} of them")
    data = member.read()  # grows with what is there, and checks the member's checksum
    if len(data) != declared:
        raise EOFError(f"array {name} declares {declared:,} bytes and {len(data):,} of them are there")
    array = np.frombuffer(data, dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
