"""The way in: binary networks of other tools become metabit networks that learn on.

    network.py       Foreign, the neutral description, and build: Foreign -> Frozen
    thresholds.py    numbers of other tools -> gains, thresholds and scores
    chain.py         the steps of a file in their order -> Foreign; it refuses what has no counterpart
    larq_h5.py       Keras and Larq .h5: a whole model, or weights by layer, whose arrays h5_arrays.py reads in a process of its own
    lce_tflite.py    TFLite of Larq's converter
    qonnx.py         ONNX of Brevitas and FINN, with the constants in onnx_constants.py
    paper.py         state dicts of the paper's authors, whose tensors torch_file.py reads

`read` chooses the reader by the file's content::

    from metabit.export import foreign

    frozen = foreign.build(foreign.read("larq.h5"), numbers=foreign.Numbers.parse("-1,1"))
"""

from __future__ import annotations

import os
from pathlib import Path

from metabit.export.errors import ExportError, naming
from metabit.export.files import onnx_reader
from metabit.export.files.interchange import FACTS, IMAGE
from metabit.export.files.tflite_schema import IDENTIFIER, read_constants
from metabit.export.foreign import larq_h5, lce_tflite, paper, qonnx, torch_file
from metabit.export.foreign.chain import Chain
from metabit.export.foreign.network import HIDDEN, Affine, Foreign, ForeignLayer, Hidden, Numbers, Steps, build

__all__ = [
    "HIDDEN", "Affine", "Chain", "Foreign", "ForeignLayer", "Hidden", "Numbers", "Steps", "build", "is_foreign", "read",
    "read_bytes",
]  # fmt: skip


def read(path: str | os.PathLike[str]) -> Foreign:
    """The network of another tool in a file.

    Raises ExportError for a file of no known kind, a damaged one, or a layer without a counterpart; OSError if it cannot be read.
    """
    data = Path(path).read_bytes()
    with naming(path):
        return read_bytes(data)


def read_bytes(data: bytes) -> Foreign:
    """`read` for the bytes of a file."""
    if data.startswith(larq_h5.MAGIC):
        return larq_h5.read_larq_h5(data)
    if torch_file.is_torch(data):
        return paper.read_paper(data)
    if data[:1] == onnx_reader.FIRST:
        return qonnx.read_qonnx(data)
    if data[4:8] == IDENTIFIER:
        return lce_tflite.read_lce_tflite(data)
    raise ExportError(
        f"not a network that metabit can import, it starts with {data[:8]!r}: metabit import reads .h5 of Keras and Larq, .tflite "
        "of larq-compute-engine, .onnx of Brevitas and FINN, state dicts of PyTorch, and files that metabit wrote"
    )


def is_foreign(data: bytes) -> bool:
    """True for the bytes of a file that another tool wrote, of a kind that `read` knows. Raises ExportError for a damaged file."""
    if data.startswith(larq_h5.MAGIC) or torch_file.is_torch(data):
        return True
    if data[:1] == onnx_reader.FIRST:
        return not qonnx.is_ours(data)
    return data[4:8] == IDENTIFIER and not {FACTS, IMAGE} & read_constants(data)[0].keys()
