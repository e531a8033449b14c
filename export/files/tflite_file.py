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

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError, MissingExtra, require
from metabit.export.files import tflite_gates
from metabit.export.files.interchange import FACTS, KEPT, Tensors, facts, named_tensors, rebuild
from metabit.export.files.tflite_layers import Layers
from metabit.export.files.tflite_schema import Model, read_constants
from metabit.export.frozen import ConvLayer, DenseLayer, Frozen


def write_tflite(frozen: Frozen) -> bytes:
    """Serialise a network as a TFLite file. Equal networks give equal bytes.

    Raises MissingExtra without flatbuffers, ExportError for a network that does not fit together.
    """
    for i, layer in enumerate(frozen.layers):
        if layer.kind in ("graded", "triples"):
            raise ExportError(
                f"layer {i} is {layer.kind}: TFLite holds units of signs and gates only, use --formats mbit,onnx"
            )
    model, arrays = Model(), named_tensors(frozen)
    graph = Layers(model.subgraph("infer"), arrays)
    source, outputs = infer(graph, frozen)
    model.signature("infer", graph.subgraph, [source], outputs)
    keep(model, frozen, {name: array for name, array in arrays.items() if name.partition(".")[2] in KEPT})
    return model.serialize()


def infer(graph: Layers, frozen: Frozen) -> tuple[int, tuple[int, int]]:
    """Adds the operators of prediction; the input, and scores and label."""
    source, signal = graph.encode(frozen)
    if frozen.layers[0].kind == "gates":
        outputs = tflite_gates.network(graph, frozen, signal)
    else:
        for i, layer in enumerate(frozen.layers[:-1]):
            if isinstance(layer, ConvLayer):
                signal = graph.convolution(f"layer{i}", layer, signal)
            else:
                assert isinstance(layer, DenseLayer)
                signal = graph.hidden_layer(f"layer{i}", layer, signal)
        outputs = graph.output_layer(f"layer{len(frozen.layers) - 1}", frozen.layers[-1], signal)
    return source, outputs


def keep(model: Model, frozen: Frozen, arrays: Tensors) -> None:
    """Adds arrays that inference does not read, as a signature without operators, and the facts."""
    if arrays:
        state = model.subgraph("hidden_state")
        model.signature("hidden_state", state, [], [state.constant(*item) for item in arrays.items()])
    model.metadata(FACTS, facts(frozen))


def read_tflite(data: bytes) -> Frozen:
    """The network inside a file that `write_tflite` wrote, hidden levels included; needs NumPy only.

    Raises ExportError if the file is damaged or not one of ours.
    """
    pages, arrays = read_constants(data)
    if FACTS not in pages:
        raise ExportError(f"this TFLite file has no {FACTS!r} metadata: it was not written by metabit")
    return rebuild(pages[FACTS], arrays)


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
