"""All files of one network: written together, read back, and compared integer by integer before they are written."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.files.image import read_image, sections, write_image
from metabit.export.files.lce_file import run_lce, write_lce
from metabit.export.files.micro_file import micro_engine, run_micro, write_micro
from metabit.export.files.onnx_file import read_onnx, run_onnx, write_onnx
from metabit.export.files.qonnx_file import read_qonnx, run_qonnx, write_qonnx
from metabit.export.files.tflite_file import read_tflite, run_tflite, write_tflite
from metabit.export.frozen import Frozen
from metabit.export.learning.onnx_runner import learn_onnx_train, read_onnx_train, run_onnx_train
from metabit.export.learning.onnx_train import write_onnx_train
from metabit.export.learning.tflite_learner import learn_tflite_train, read_tflite_train, run_tflite_train
from metabit.export.learning.tflite_train import write_tflite_train
from metabit.export.vectors import write_vectors

try:
    import fcntl
except ImportError:  # Windows: no lock, but `check_bundle` still finds a mixture
    fcntl = None  # type: ignore[assignment]

Inputs = NDArray[Any]
HEADER_FILE = "model.h"
CARD_FILE = "MODEL_CARD.md"
STAGING = ".export-"
"""First characters of the folder in which files are completed."""


@dataclass(frozen=True)
class Format:
    """A file that holds the network: its writer, its reader, and the engine outside metabit that runs it, if there is one.

    engine: names the engine that `run` takes, where it is not the format's name.
    learn: the network after the engine has learnt samples (n, ..) with labels (n,), of a file that holds a learning step.
    default: an export writes it unless told otherwise; it holds every network.
    """

    file: str
    write: Callable[[Frozen], bytes]
    read: Callable[[bytes], Frozen]
    run: Callable[[bytes, Inputs], NDArray[np.int32]] | None
    default: bool = True
    engine: Callable[[], str] | None = None
    learn: Callable[[bytes, Inputs, NDArray[np.int64]], Frozen] | None = None


FORMATS = {
    "mbit": Format("model.mbit", write_image, read_image, None),
    "onnx": Format("model.onnx", write_onnx, read_onnx, run_onnx),
    "tflite": Format("model.tflite", write_tflite, read_tflite, run_tflite),
    "qonnx": Format("model.qonnx.onnx", write_qonnx, read_qonnx, run_qonnx, default=False),
    "micro": Format("model.micro.tflite", write_micro, read_tflite, run_micro, default=False, engine=micro_engine),
    "lce": Format("model.lce.tflite", write_lce, read_tflite, run_lce, default=False),
    "onnx-train": Format(
        "model.train.onnx", write_onnx_train, read_onnx_train, run_onnx_train, default=False, learn=learn_onnx_train
    ),
    "tflite-train": Format(
        "model.train.tflite",
        write_tflite_train,
        read_tflite_train,
        run_tflite_train,
        default=False,
        learn=learn_tflite_train,
    ),
}
DEFAULT_FORMATS = tuple(name for name, form in FORMATS.items() if form.default)

Engine = Callable[[bytes, Inputs], NDArray[np.int32]]


@dataclass(frozen=True)
class Written:
    """Result of one export: file name -> bytes, the engines compared, and the number of inputs on which they agreed."""

    files: dict[str, int]
    engines: tuple[str, ...]
    inputs: int


def export_all(
    frozen: Frozen,
    folder: str | os.PathLike[str],
    *,
    formats: Sequence[str] = DEFAULT_FORMATS,
    device: Engine | None = None,
    header: Callable[[bytes], str] | None = None,
    beside: Callable[[bytes], dict[str, bytes]] | None = None,
    card: Callable[[dict[str, bytes]], str] | None = None,
    inputs: int = 64,
    steps: int = 32,
    inline: bool = False,
    provenance: dict[str, Any] | None = None,
) -> Written:
    """Writes model.*, vectors.npz and manifest.json into `folder`, all of them or none.

    Every file must read back as the same network, and every engine (NumPy, ONNX Runtime, TFLite, and `device`, if given, which
    runs an image) must give the same integer scores on the vectors' inputs. Exports into one folder at the same time run one
    after the other. manifest.json holds the sha256 of the other files; `check_bundle` compares them.

    header: makes the text of model.h, the sizes and names for a C program, from the image; None leaves that file out.
    beside: makes further files from the image, name -> bytes.
    card: makes the text of MODEL_CARD.md from all files but the manifest.
    inputs, steps: of `write_vectors`. inline: of `write_onnx`. provenance: JSON-ready, added to the manifest.

    Raises:
        ExportError: a file does not read back, two engines disagree, or a format is unknown; nothing is written.
        MissingExtra: the package of a format is absent; choose fewer formats, or install it.
        OSError: the folder cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            raise ExportError(f"unknown format {name!r}: choose from {', '.join(FORMATS)}")
    if inline and "onnx" not in formats:
        raise ExportError("inline belongs to onnx: add onnx to the formats, or leave it out")
    vectors = write_vectors(frozen, inputs=inputs, steps=steps)
    with np.load(io.BytesIO(vectors)) as arrays:
        packed, scores = arrays["features"], arrays["scores"]
        labels = arrays.get("learn_labels", np.zeros(0, np.int64))
        state = np.bitwise_xor.reduce(arrays["state_changes"]).tobytes() if len(labels) else b""
    x = frozen.unpack(packed)
    image = write_image(frozen)
    files, engines = {"vectors.npz": vectors}, ["numpy"]
    if header is not None:
        files[HEADER_FILE] = header(image).encode()
    files |= beside(image) if beside is not None else {}
    for name in formats:
        form = FORMATS[name]
        data = write_onnx(frozen, inline=True) if inline and name == "onnx" else form.write(frozen)
        files[form.file] = data
        if write_image(form.read(data)) != image:
            raise ExportError(f"{form.file} does not read back as the network it was written from: please report this")
        if form.run is not None:
            _agree(form.file, form.run(data, x), scores)
            engines.append(name if form.engine is None else form.engine())
        if form.learn is not None and len(labels):
            learnt = write_image(form.learn(data, x[np.arange(len(labels)) % len(x)], labels))
            at, size = sections(learnt)[1]
            if learnt[at : at + size] != state:
                raise ExportError(
                    f"{form.file} learns otherwise than the oracle, please report this; nothing was written"
                )
    if device is not None:
        _agree("the C runtime", device(image, packed), scores)
        engines.append("runtime")
    if card is not None:
        files[CARD_FILE] = card(files).encode()
    manifest = {
        "metabit": _version("metabit"),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
        "checked": {"engines": engines, "inputs": len(scores)},
        "versions": {
            name: _version(name)
            for name in (
                "numpy",
                "onnx",
                "onnxruntime",
                "tflite-runtime",
                "ai-edge-litert",
                "tflite-micro",
                "larq-compute-engine",
            )
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


def check_bundle(folder: str | os.PathLike[str]) -> dict[str, int]:
    """File name -> bytes of a folder that `export_all` wrote, after a comparison of every file with manifest.json.

    Raises ExportError that names the first file that is missing, differs from the manifest, or belongs to another export: the
    export was killed while it replaced files, or a file was changed later.
    """
    folder = Path(folder)
    path = folder / "manifest.json"
    try:
        listed: dict[str, str] = json.loads(path.read_bytes())["sha256"]
        if not all(Path(name).name == name for name in listed):
            raise ValueError(listed)
    except FileNotFoundError:
        raise ExportError(
            f"{path.parent} has no {path.name}: give a .mbit image, or a folder that metabit export wrote"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise ExportError(f"{path} is not a manifest of metabit export: export again") from None
    sizes = {}
    for name, digest in listed.items():
        if not (folder / name).is_file():
            raise ExportError(f"{folder / name} is missing, manifest.json lists it: export again")
        data = (folder / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise ExportError(f"{folder / name} is not the file that manifest.json lists (other sha256): an export was "
                              "interrupted, or the file was changed later; export again")  # fmt: skip
        sizes[name] = len(data)
    for form in FORMATS.values():
        if (folder / form.file).exists() and form.file not in listed:
            raise ExportError(f"{folder / form.file} is not listed in manifest.json: it is of another export, delete it or export "
                              "again with its format")  # fmt: skip
    return sizes


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds an exclusive lock on the folder, where the system has one; it ends with the process, however that ends."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write_together(folder: Path, files: dict[str, bytes]) -> None:
    """Replaces the files of a folder together, the manifest last.

    All files are complete on disk before the first one is moved, one export at a time. After an error or Ctrl-C the old files are
    back. A process that is killed between two moves leaves a folder whose files differ from its manifest: see `check_bundle`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        if (folder / name).is_dir():
            raise ExportError(f"{folder / name} is a folder, where a file is to go: move it away")
    order = [*(name for name in files if name != "manifest.json"), "manifest.json"]
    with _locked(folder):
        for left in folder.glob(f"{STAGING}*"):  # of a process that was killed: the lock says that it no longer runs
            shutil.rmtree(left, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=folder))
        placed: list[str] = []
        try:
            for name in order:
                with open(staging / name, "wb") as file:
                    file.write(files[name])
                    file.flush()
                    os.fsync(file.fileno())
            for name in order:
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
