"""Reads a network from any file that metabit writes; the content decides which format it is, not the name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from metabit.export.errors import ExportError, naming
from metabit.export.files import onnx_reader
from metabit.export.files.image import read_image
from metabit.export.files.interchange import IMAGE
from metabit.export.files.onnx_file import read_onnx
from metabit.export.files.qonnx_file import read_qonnx
from metabit.export.files.tflite_file import read_tflite
from metabit.export.files.tflite_schema import IDENTIFIER
from metabit.export.frozen import Frozen


@dataclass(frozen=True)
class Read:
    """A file: the name of its format, its bytes, and the network in it."""

    format: str
    data: bytes
    frozen: Frozen


def read_file(path: str | os.PathLike[str]) -> Read:
    """The network of a file that metabit wrote: an image, ONNX or TFLite.

    Raises OSError, MissingExtra without the package of the format, or ExportError that names the file: damaged, or of another tool.
    """
    data = Path(path).read_bytes()
    with naming(path):
        return read_bytes(data)


def read_bytes(data: bytes) -> Read:
    """`read_file` for the bytes of a file."""
    if data[:4] == b"MBIT":
        return Read("image", data, read_image(data))
    if data[4:8] == IDENTIFIER:
        return Read("TFLite", data, read_tflite(data))
    if data[:1] == onnx_reader.FIRST:
        if IMAGE in onnx_reader.keys(onnx_reader.parse(data)):
            return Read("QONNX", data, read_qonnx(data))
        return Read("ONNX", data, read_onnx(data))
    raise ExportError(
        f"not a metabit image, ONNX or TFLite: it starts with {data[:8]!r}; give a file that metabit export wrote"
    )
