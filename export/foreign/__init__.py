"""The way in: binary networks of other tools become metabit networks that learn on.

    network.py       Foreign, the neutral description, and build: Foreign -> Frozen
    thresholds.py    numbers of other tools -> thresholds and scores
    chain.py         the steps of a file in their order -> Foreign; it refuses what has no counterpart
    larq_h5.py       Keras and Larq .h5: a whole model, or weights by layer
    lce_tflite.py    TFLite of Larq's converter

`read` chooses the reader by the file's content. In three lines::

    from metabit.export import foreign

    frozen = foreign.build(foreign.read("larq.h5"), hidden="latent", numbers=foreign.Numbers.parse("-1,1"))
"""

from __future__ import annotations

import os
from pathlib import Path

from metabit.export.errors import ExportError
from metabit.export.files.tflite_schema import IDENTIFIER
from metabit.export.foreign import larq_h5, lce_tflite
from metabit.export.foreign.chain import Chain
from metabit.export.foreign.network import HIDDEN, Affine, Foreign, ForeignLayer, Hidden, Numbers, Steps, build

__all__ = [
    "HIDDEN", "Affine", "Chain", "Foreign", "ForeignLayer", "Hidden", "Numbers", "Steps", "build", "read",
]  # fmt: skip


def read(path: str | os.PathLike[str]) -> Foreign:
    """The network of another tool in a file.

    Raises ExportError for a file of no known kind, a damaged one, or a layer without a counterpart; OSError if it cannot be read.
    """
    data = Path(path).read_bytes()
    if data.startswith(larq_h5.MAGIC):
        return larq_h5.read_larq_h5(data)
    if data[4:8] == IDENTIFIER:
        return lce_tflite.read_lce_tflite(data)
    raise ExportError(
        f"{path} is no network that metabit can import: it reads .h5 of Keras and Larq, and .tflite of larq-compute-engine"
    )
