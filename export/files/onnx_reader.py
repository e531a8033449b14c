"""ONNX files that may be damaged, of another tool, or hostile: nothing is allocated that is not in the file."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError, require
from metabit.export.files.interchange import FACTS

FIRST = b"\x08"
"""First byte of an ONNX model: the field of its IR version."""
_EXTERNAL = 1  # TensorProto.DataLocation
_DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    5: np.dtype("<i2"),
    6: np.dtype("<i4"),
    12: np.dtype("<u4"),
}
"""TensorProto.DataType of the arrays that a file of ours holds."""


def parse(data: bytes) -> Any:
    """The ModelProto. Raises MissingExtra without onnx, ExportError for what is not an ONNX file."""
    broken = require("google.protobuf.message", "protobuf").DecodeError
    model = require("onnx").ModelProto()
    try:
        model.ParseFromString(data)
    except (broken, ValueError) as wrong:  # ValueError: text that is not UTF-8
        raise ExportError(f"not an ONNX file, or a truncated one of {len(data):,} bytes: {wrong}") from None
    if not model.ir_version or not model.HasField("graph"):
        raise ExportError(f"not an ONNX file: its {len(data):,} bytes have no version or no graph")
    return model


def keys(model: Any) -> set[str]:
    """Keys of the metadata. Raises ExportError for text that is not UTF-8."""
    try:
        return {str(entry.key) for entry in model.metadata_props}
    except ValueError as wrong:
        raise ExportError(f"damaged ONNX file: {wrong}") from None


def pages(model: Any, key: str = FACTS) -> dict[str, str]:
    """The metadata, key -> text, of a file of ours, which has this key.

    Raises ExportError for a file of another tool, which it names.
    """
    try:
        found = {str(entry.key): str(entry.value) for entry in model.metadata_props}
        by = " ".join(f"{model.producer_name} {model.producer_version}".split()) or "an unknown producer"
    except ValueError as wrong:  # text that is not UTF-8
        raise ExportError(f"damaged ONNX file: {wrong}") from None
    if key not in found:
        raise ExportError(
            f"this is an ONNX model of {by}, not one that metabit wrote (its metadata has no {key!r}): metabit import reads "
            "binary networks of Brevitas and FINN"
        )
    return found


def arrays(model: Any) -> dict[str, NDArray[Any]]:
    """The initialisers of the dtypes that a file of ours holds, by their names.

    Raises ExportError for data outside the file, and for a size that the data has not.
    """
    found: dict[str, NDArray[Any]] = {}
    for tensor in model.graph.initializer:
        try:
            name, dtype, shape = str(tensor.name), _DTYPES.get(tensor.data_type), list(tensor.dims)
        except ValueError as wrong:
            raise ExportError(f"damaged ONNX file: {wrong}") from None
        if dtype is None:
            continue
        if tensor.data_location == _EXTERNAL or tensor.external_data:
            raise ExportError(
                f"{name} of this ONNX file lies in another file: metabit writes one file, export it again"
            )
        size = math.prod(shape) * dtype.itemsize if len(shape) <= 4 and min(shape, default=0) >= 0 else -1
        if size != len(tensor.raw_data):
            raise ExportError(
                f"damaged ONNX file: {name} of shape {shape[:4]} has {len(tensor.raw_data):,} bytes of data"
            )
        found[name] = np.frombuffer(tensor.raw_data, dtype).reshape(shape).copy()
    return found
