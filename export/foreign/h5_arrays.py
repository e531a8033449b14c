"""Arrays of a Keras .h5, read in a process of its own: on a damaged file the HDF5 library may ask for 4 GiB, or never end."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export import child_process
from metabit.export.errors import ExportError

Arrays = dict[str, NDArray[Any]]
MOST, EACH = 64, 1024
"""Bytes of all arrays for one byte of the file, at most: names may share a dataset, and zeros are packed to nothing. An array
counts as this many bytes more."""
OWN_MEMORY = 64 << 20
"""Bytes that the HDF5 library may take beside the arrays and the file."""
SECONDS, BYTES_A_SECOND = 120, 1 << 20
"""A file may take so many seconds, and one more for so many bytes."""
_STATUS_REFUSED = 3


def read_arrays(data: bytes) -> tuple[str | None, dict[str, Arrays]]:
    """Return model_config, if the file has it, and the arrays of each layer by their short name: kernel, bias, gamma ...

    Needs h5py. On Linux the child's memory is limited to `OWN_MEMORY`, the file and `MOST` bytes for each byte of it.
    Raises ExportError for a damaged file, or one that Keras 2 did not write.
    """
    seconds = SECONDS + len(data) / BYTES_A_SECOND
    try:
        done = subprocess.run(
            child_process.command(__name__), input=data, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise ExportError(
            f"this HDF5 file is damaged: the HDF5 library did not read its {len(data)} bytes in {seconds:.0f} s; "
            "save the model anew"
        ) from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        if done.returncode == _STATUS_REFUSED:
            raise ExportError(said)
        last = said.splitlines()[-1] if said else f"the HDF5 library ended with status {done.returncode}"
        raise ExportError(f"this HDF5 file is damaged or no model of Keras: {last}")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as file:
        config, layers = json.loads(str(file["names"]))
        return config, {name: {key: file[at] for key, at in keys.items()} for name, keys in layers.items()}


def main() -> None:
    """The child: a file on standard input, `names` and its arrays as .npz on standard output."""
    import h5py  # type: ignore[import-not-found,unused-ignore]

    data = sys.stdin.buffer.read()
    _limit_memory(OWN_MEMORY + (MOST + 1) * len(data))
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            config, layers = _read(file, len(data))
    except ExportError as wrong:
        print(wrong, file=sys.stderr)
        raise SystemExit(_STATUS_REFUSED) from None
    except (
        Exception
    ) as damaged:  # h5py raises OSError, KeyError, RuntimeError, ValueError and TypeError for damaged files
        print(damaged, file=sys.stderr)
        raise SystemExit(1) from None
    arrays: Arrays = {}
    names: dict[str, dict[str, str]] = {}
    for name, found in layers.items():
        names[name] = {key: f"a{len(arrays) + i}" for i, key in enumerate(found)}
        arrays |= {names[name][key]: array for key, array in found.items()}
    np.savez(sys.stdout.buffer, names=np.array(json.dumps([config, names])), **arrays)


def _limit_memory(count: int) -> None:
    """Let this process take so many bytes more than it has. Only Linux says how many it has."""
    pages = Path("/proc/self/statm")
    if pages.exists():
        import resource

        most = int(pages.read_text().split()[0]) * resource.getpagesize() + count
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _read(file: Any, size: int) -> tuple[str | None, dict[str, Arrays]]:
    config = file.attrs.get("model_config")
    group = file.get("model_weights", file)
    if "layer_names" not in group.attrs:
        raise ExportError(
            "this HDF5 file has no layer_names: save the model by Keras 2 as model.save('model.h5'), or its weights as "
            "save_weights('weights.h5'), not '.weights.h5' or '.keras'"
        )
    left, layers = MOST * size, {}
    for layer in _texts(group.attrs["layer_names"]):
        found: Arrays = {}
        for name in _texts(group[layer].attrs.get("weight_names", [])):
            dataset = group[layer][name]
            count = int(dataset.nbytes)
            left -= count + EACH
            if left < 0:
                raise ExportError(
                    f"damaged HDF5 file: {name} has {count} bytes, and all arrays more than {MOST} for each byte of the file"
                )
            array = np.asarray(dataset)
            if array.dtype.hasobject:
                raise ValueError(f"{name} holds no numbers")
            found[name.rpartition("/")[2].partition(":")[0]] = array
        layers[layer] = found
    return None if config is None else _text(config), layers


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _texts(names: Any) -> list[str]:
    return [_text(name) for name in np.asarray(names).reshape(-1)]
