"""model.tflite: the network in stock TFLite operators, one bit a weight in the file.

TFLite cannot shift or multiply bits. GATHER therefore looks up each byte of a sign plane as eight weights of +1.0 or -1.0, at
every call. Sums are exact in float32, because they are integers of at most 255 * 2**14; thresholds and scores are int32. The file
has two signatures:

* "infer": "features" uint8 or int16 [n, F], or "bits" uint8 [n, K] holding 0 or 1 for a network that takes bits -> "scores" int32
  [n, classes], "label" int32 [n] (lowest index on a tie). It is stored for n = 1; a signature runner resizes it to the n of its
  input.
* "hidden_state": () -> "layer{i}.hidden_planes" of each layer of 2 or more bits, and the arrays of a head or an encoder that
  inference does not read. It is a subgraph without operators, which inference does not run; it is missing where it has no array.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError, MissingExtra, require
from metabit.export.files import tflite_gates, tflite_network, tflite_triples
from metabit.export.files.interchange import FACTS, KEPT, Tensors, facts, named_tensors
from metabit.export.files.tflite_layers import Layers
from metabit.export.files.tflite_reader import read_tflite
from metabit.export.files.tflite_schema import Model
from metabit.export.frozen import Frozen

__all__ = ["infer", "keep", "prediction", "read_tflite", "run_tflite", "write_tflite"]


def write_tflite(frozen: Frozen) -> bytes:
    """Serialise a network as a TFLite file. Equal networks give equal bytes.

    Raises MissingExtra without flatbuffers, ExportError for a network that does not fit together.
    """
    model, arrays = Model(), named_tensors(frozen)
    infer(model, Layers(model.subgraph("infer"), arrays), frozen)
    keep(model, frozen, arrays, KEPT)
    return model.serialize()


def infer(model: Model, graph: Layers, frozen: Frozen) -> None:
    """Adds the operators and the signature of prediction."""
    source, outputs = prediction(graph, frozen)
    model.signature("infer", graph.subgraph, [source], outputs)


def prediction(graph: Layers, frozen: Frozen) -> tuple[int, tuple[int, int]]:
    """Adds the operators of prediction: the input, and scores and label."""
    first = frozen.layers[0].kind
    if first == "triples":
        return tflite_triples.network(graph, frozen)
    source, signal = graph.encode(frozen)
    network = tflite_gates.network if first == "gates" else tflite_network.network
    return source, network(graph, frozen, signal)


def keep(model: Model, frozen: Frozen, arrays: Tensors, names: Sequence[str]) -> None:
    """Adds the arrays of these names, as a signature without operators, and the facts."""
    state = model.subgraph("hidden_state")
    outputs = [state.constant(name, array) for name, array in arrays.items() if name.partition(".")[2] in names]
    if outputs:
        model.signature("hidden_state", state, [], outputs)
    model.metadata(FACTS, facts(frozen))


def run_tflite(data: bytes, x: NDArray[Any]) -> NDArray[np.int32]:
    """Scores int32 (n, classes) by TFLite on one thread.

    x: uint8 or int16 (n, F), or 0 and 1 (n, K) for a network that takes bits.

    Raises MissingExtra without a TFLite runtime, ExportError if x has another shape or dtype.
    """
    interpreter = _runtime().Interpreter(model_content=data, num_threads=1)
    infer = interpreter.get_signature_runner("infer")
    ((source, details),) = infer.get_input_details().items()
    width = int(details["shape"][1])
    taken = np.dtype(details["dtype"])
    if x.dtype != taken or x.ndim != 2 or x.shape[1] != width:
        raise ExportError(f"{source} must be {taken} (n, {width}), not {x.dtype} {x.shape}")
    if not len(x):  # some networks would divide by zero in TFLite, which ends the process
        return np.empty((0, int(infer.get_output_details()["scores"]["shape"][1])), np.int32)
    return np.asarray(infer(**{source: x})["scores"], np.int32)


def _runtime() -> Any:
    """Google's runtime, under whichever of its two names is installed."""
    for module in ("tflite_runtime.interpreter", "ai_edge_litert.interpreter"):
        with suppress(MissingExtra):
            return require(module)
    raise MissingExtra("tflite-runtime or ai-edge-litert")
