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

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError, MissingExtra, need_rows, require
from metabit.export.files import tflite_gates, tflite_network, tflite_triples
from metabit.export.files.interchange import FACTS, IMAGE, KEPT, Tensors, facts, named_tensors
from metabit.export.files.tflite_layers import Layers
from metabit.export.files.tflite_reader import read_tflite
from metabit.export.files.tflite_schema import Model, read_constants
from metabit.export.frozen import Frozen

__all__ = ["infer", "keep", "prediction", "read_tflite", "run_tflite", "write_tflite"]

RUNTIMES = {"tflite-runtime": "tflite_runtime.interpreter", "ai-edge-litert": "ai_edge_litert.interpreter"}
"""Packages of TFLite, the preferred one first, and their modules."""


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


def run_tflite(data: bytes, x: NDArray[Any], runtime: str | None = None) -> NDArray[np.int32]:
    """Scores int32 (n, classes) by TFLite on one thread, of a file of `write_tflite` or `write_micro`.

    x: uint8 or int16 (n, F), or 0 and 1 (n, K) for a network that takes bits.
    runtime: one of `RUNTIMES`; None takes the first that is installed.

    Raises MissingExtra without a TFLite runtime, ExportError if x has another shape or dtype, or if the file is not one that this
    metabit writes: TFLite ends the process on some damaged files, so it gets none.
    """
    made = _runtime(runtime).Interpreter
    check_runnable(data, _writer(data))
    interpreter = made(model_content=data, num_threads=1)
    infer = interpreter.get_signature_runner("infer")
    ((source, details),) = infer.get_input_details().items()
    given = device_integers(x, source, details)
    classes = int(infer.get_output_details()["scores"]["shape"][1])
    if not len(given):  # some networks would divide by zero in TFLite, which ends the process
        return np.empty((0, classes), np.int32)
    # model.micro.tflite takes one sample at a time
    parts = given[:, None] if details["shape_signature"][0] == 1 else given[None]
    return np.concatenate([np.array(infer(**{source: part})["scores"], np.int32) for part in parts])


def _writer(data: bytes) -> Callable[[Frozen], bytes]:
    if IMAGE not in read_constants(data)[0]:
        return write_tflite
    from metabit.export.files.micro_file import write_micro  # it needs this module

    return write_micro


def device_integers(x: NDArray[Any], source: str, details: Mapping[str, Any]) -> NDArray[Any]:
    """Inputs as the input tensor of this name and these details takes them: features minus 128 where it is int8.

    Raises ExportError if x has another shape or dtype.
    """
    width, stored = int(details["shape"][1]), np.dtype(details["dtype"])
    taken = np.dtype(np.uint8) if stored == np.int8 else stored
    need_rows(source, x, taken, width)
    if stored != np.int8:
        return x
    return x.view(np.int8) if source == "bits" else (x ^ 128).view(np.int8)


def check_runnable(data: bytes, write: Callable[[Frozen], bytes]) -> None:
    """Raises ExportError unless the file is what `write` makes of the network in it, byte for byte."""
    if write(read_tflite(data)) != data:
        raise ExportError("this TFLite file is damaged, or of another version of metabit: its operators are not those of its "
                          "network; write it again with metabit export")  # fmt: skip


def _runtime(name: str | None = None) -> Any:
    """Google's runtime, under whichever of its names is installed, or under this one."""
    if name is not None:
        if name not in RUNTIMES:
            raise ExportError(f"unknown TFLite runtime {name!r}: choose from {', '.join(RUNTIMES)}")
        return require(RUNTIMES[name], name)
    for module in RUNTIMES.values():
        with suppress(MissingExtra):
            return require(module)
    raise MissingExtra(" or ".join(RUNTIMES))
