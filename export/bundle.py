"""One network, all its files: written whole, read back, and compared integer by integer before anything is called done."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.files.image import read_image, write_image
from metabit.export.files.onnx_file import read_onnx, run_onnx, write_onnx
from metabit.export.files.tflite_file import read_tflite, run_tflite, write_tflite
from metabit.export.frozen import Frozen
from metabit.export.vectors import write_vectors

Inputs = NDArray[np.uint8]


@dataclass(frozen=True)
class Format:
    """A file that holds the network: its writer, its reader, and an engine that runs it, if one exists outside metabit."""

    file: str
    write: Callable[[Frozen], bytes]
    read: Callable[[bytes], Frozen]
    run: Callable[[bytes, Inputs], NDArray[np.int32]] | None


FORMATS = {
    "mbit": Format("model.mbit", write_image, read_image, None),
    "onnx": Format("model.onnx", write_onnx, read_onnx, run_onnx),
    "tflite": Format("model.tflite", write_tflite, read_tflite, run_tflite),
}

Engine = Callable[[bytes, Inputs], NDArray[np.int32]]


@dataclass(frozen=True)
class Written:
    """What one export left: file name -> bytes, and how many inputs every engine agreed on."""

    files: dict[str, int]
    engines: tuple[str, ...]
    inputs: int


def export_all(
    frozen: Frozen,
    folder: str | os.PathLike[str],
    *,
    formats: Sequence[str] = tuple(FORMATS),
    device: Engine | None = None,
    inputs: int = 64,
    steps: int = 32,
    provenance: dict[str, Any] | None = None,
) -> Written:
    """Writes model.*, vectors.npz and manifest.json into `folder`; after an error or Ctrl-C everything there is as before.

    Every file is read back and must hold the same network; every engine (NumPy, ONNX Runtime, TFLite, and `device`, which runs
    an image, if given) must give the same integer scores on the vectors' inputs.

    Raises:
        ExportError: a file does not read back, or two engines disagree (nothing is written then); an unknown format.
        MissingExtra: the package behind a format is absent; ask for fewer formats, or install it.
        OSError: the folder cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            raise ExportError(f"unknown format {name!r}: choose from {', '.join(FORMATS)}")
    vectors = write_vectors(frozen, inputs=inputs, steps=steps)
    with np.load(io.BytesIO(vectors)) as arrays:
        x, scores = arrays["input_bits" if frozen.packed else "features"], arrays["scores"]
        packed = arrays["features"]
    image = write_image(frozen)
    files, engines = {"vectors.npz": vectors}, ["numpy"]
    for name in formats:
        form = FORMATS[name]
        data = form.write(frozen)
        files[form.file] = data
        if write_image(form.read(data)) != image:
            raise ExportError(f"{form.file} does not read back as the network it was written from: please report this")
        if form.run is not None:
            _agree(form.file, form.run(data, x), scores)
            engines.append(name)
    if device is not None:
        _agree("the C runtime", device(image, packed), scores)
        engines.append("runtime")
    manifest = {
        "metabit": _version("metabit"),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
        "checked": {"engines": engines, "inputs": len(scores)},
        "versions": {
            name: _version(name) for name in ("numpy", "onnx", "onnxruntime", "tflite-runtime", "ai-edge-litert")
        },
        **(provenance or {}),
    }
    files["manifest.json"] = json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n"
    _write_together(Path(folder), files)
    return Written({name: len(data) for name, data in files.items()}, tuple(engines), len(scores))


def _agree(engine: str, got: NDArray[np.int32], want: NDArray[np.int64]) -> None:
    if got.shape != want.shape:
        raise ExportError(f"{engine} gives scores of shape {got.shape}, not {want.shape}; nothing was written")
    wrong = np.flatnonzero((got != want).any(axis=1))
    if len(wrong):
        i = int(wrong[0])
        raise ExportError(
            f"{engine} disagrees with the oracle on {len(wrong)} of {len(want)} inputs, first on number {i}: "
            f"{got[i].tolist()} is not {want[i].tolist()}; nothing was written"
        )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _write_together(folder: Path, files: dict[str, bytes]) -> None:
    """All files are complete on disk before the first takes its place; if one cannot, the others give theirs back."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        if (folder / name).is_dir():
            raise ExportError(f"{folder / name} is a folder, where a file is to go: move it away")
    staging = Path(tempfile.mkdtemp(prefix=".export-", dir=folder))
    placed: list[str] = []
    try:
        for name, data in files.items():
            with open(staging / name, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for name in files:
            placed.append(name)
            if (folder / name).exists():
                shutil.copyfile(folder / name, staging / f"{name}.old")
            os.replace(staging / name, folder / name)
    except BaseException:
        for name in placed:
            if (staging / f"{name}.old").exists():
                os.replace(staging / f"{name}.old", folder / name)
            elif not (staging / name).exists():  # it was moved, and replaced nothing
                (folder / name).unlink(missing_ok=True)
        raise
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(staging)
