"""Reader of every TFLite file that metabit writes, with NumPy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabit.export.bits import pack_rows, unpack_minus
from metabit.export.errors import ExportError
from metabit.export.files.flatbuffer import View
from metabit.export.files.image import read_image
from metabit.export.files.interchange import FACTS, IMAGE, Tensors, described, rebuild, told_of
from metabit.export.files.tflite_schema import IDENTIFIER, read_constants
from metabit.export.frozen import Frozen

SHARED, ALIKE = 4, 1 << 22
"""Equal arrays share bytes of the file. All arrays of a network together take at most SHARED * the file + ALIKE bytes."""


def read_tflite(data: bytes) -> Frozen:
    """The network inside model.tflite, model.lce.tflite or model.micro.tflite, hidden levels included.

    Raises ExportError if the file is damaged or not one of ours.
    """
    return network_of(data)[0]


def network_of(data: bytes, *keys: str) -> tuple[Frozen, dict[str, str]]:
    """`read_tflite`, and the metadata of these keys, name -> text, where the file has them; none of model.micro.tflite."""
    pages, arrays = read_constants(data)
    if IMAGE in pages:
        return read_image(pages[IMAGE].tobytes()), {}
    if FACTS not in pages:
        said = View.root(data, IDENTIFIER).string(3)[:60]
        raise ExportError(f"this TFLite file of another tool, {said!r}, was not written by metabit: metabit import reads binary "
                          "networks that Larq's converter wrote")  # fmt: skip
    named = {name: array for name, array in arrays.items() if name.startswith(("encode.", "layer"))}
    size, limit = sum(array.nbytes for array in named.values()), SHARED * len(data) + ALIKE
    if size > limit:
        raise ExportError(f"damaged TFLite file: the arrays of its network take {size:,} bytes, and {len(data):,} bytes of file "
                          f"may tell of {limit:,}")  # fmt: skip
    texts = {name: pages[name].tobytes().decode(errors="replace") for name in (FACTS, *keys) if name in pages}
    return rebuild(texts[FACTS], named | _sign_planes(texts[FACTS], named)), texts


def _sign_planes(page: str, arrays: Tensors) -> dict[str, NDArray[np.uint8]]:
    """The sign planes uint8 (N, ceil(K / 8)) of the filters of Larq Compute Engine."""
    found = {}
    with described():
        for i, told in enumerate(told_of(page)["layers"]):
            if f"layer{i}.filter" in arrays:
                channels = int(told["conv"]["channels"] if "conv" in told else told["inputs"])
                positive = unpack_minus(arrays[f"layer{i}.filter"], channels)
                found[f"layer{i}.sign_plane"] = pack_rows(positive.reshape(len(positive), -1))
    return found
