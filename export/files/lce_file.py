"""model.lce.tflite: the network in operators of Larq Compute Engine, which multiplies and counts the bits themselves.

Sums of +1 and -1 are LceBconv2d; signs stay packed from one layer of signs to the next. All that follows them (grades, levels, a
head, the scores) are the stock operators of model.tflite. The file takes one input at a time: Larq's interpreter has no batch.

* "infer", the first subgraph: as in model.tflite, with n = 1.
* "hidden_state": arrays that inference does not read. Larq's interpreter has no signatures; TFLite's runtimes run this one.

A layer's weights are `layer{i}.filter`, bit 1 for -1, from which the reader makes its sign plane; "hidden_state" has the
level planes below it, and the thresholds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import need_rows
from metabit.export.files.interchange import KEPT, named_tensors
from metabit.export.files.lce_layers import BinaryLayers
from metabit.export.files.lce_runtime import lce_interpreter
from metabit.export.files.tflite_file import check_runnable, infer, keep
from metabit.export.files.tflite_schema import Model
from metabit.export.frozen import Frozen


def write_lce(frozen: Frozen) -> bytes:
    """Serialise a network as a file of Larq Compute Engine. Equal networks give equal bytes.

    Raises MissingExtra without flatbuffers, ExportError for a network that does not fit together.
    """
    model, arrays = Model(), named_tensors(frozen)
    infer(model, BinaryLayers(model.subgraph("infer"), arrays), frozen)
    keep(model, frozen, arrays, (*KEPT, "threshold"))
    return model.serialize()


def run_lce(data: bytes, x: NDArray[Any]) -> NDArray[np.int32]:
    """Scores int32 (n, classes) by Larq's interpreter on one thread.

    x: uint8 or int16 (n, F), or 0 and 1 (n, K) for a network that takes bits.

    Raises MissingExtra without larq-compute-engine, ExportError if x has another shape or dtype, or if the file is not one that
    this metabit writes.
    """
    check_runnable(data, write_lce)
    engine = lce_interpreter(data)
    (taken,), ((_, width),) = engine.input_types, engine.input_shapes
    need_rows("the input", x, taken, width)
    scores = np.empty((len(x), engine.output_shapes[0][1]), np.int32)
    for i in range(len(x)):
        scores[i] = engine.predict([x[i : i + 1]])[0]
    return scores
