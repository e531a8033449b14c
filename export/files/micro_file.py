"""model.micro.tflite: the network for TFLite Micro, in integers of 8, 16 and 32 bits, and the image that learns beside it.

It takes one sample and uses only operators that TFLite Micro has, with the types that it has. Sign layers are ordinary int8
FULLY_CONNECTED and CONV_2D with weights +1 and -1 of one byte each, so the fast kernels of CMSIS-NN, ESP-NN and others run them:
unpacking bits there would need RAM for a whole layer. No operator computes with float32. The file has one signature:

* "infer": "features" int8 [1, F], a uint8 feature minus 128, or int16 [1, F] as they are, or "bits" int8 [1, K] holding 0 or 1
  -> "scores" int32 [1, classes], "label" int32 [1] (lowest index on a tie).

The metadata "metabit.image" is the whole `.mbit` image, levels included: the file reads back from it, and the C runtime can open it
in place. TFLite does not look at it, and it takes no RAM.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError, MissingExtra, require
from metabit.export.files import micro_layers, micro_values
from metabit.export.files.image import write_image
from metabit.export.files.interchange import IMAGE
from metabit.export.files.micro_graph import MicroGraph
from metabit.export.files.tflite_file import check_runnable, device_integers, run_tflite
from metabit.export.files.tflite_schema import Model
from metabit.export.frozen import Frozen, GatesLayer, TriplesLayer

ARENA = 1 << 25
"""Bytes of TFLite Micro's arena on this computer, where it is not to be measured."""


def write_micro(frozen: Frozen) -> bytes:
    """Serialise a network as a TFLite file for microcontrollers. Equal networks give equal bytes.

    Raises MissingExtra without flatbuffers, ExportError for a network that no image can hold.
    """
    image = write_image(frozen)
    model = Model()
    graph = MicroGraph(model.subgraph("infer"))
    first = frozen.layers[0]
    if isinstance(first, TriplesLayer):
        source, scores = micro_values.triples(graph, frozen, first)
    else:
        source, signal = micro_layers.encode(graph, frozen)
        if isinstance(first, GatesLayer):
            scores = micro_values.gates(graph, frozen, first, signal)
        else:
            scores = micro_layers.network(graph, frozen, signal)
    model.signature("infer", graph.subgraph, [source], graph.answer(scores, frozen.classes))
    model.metadata(IMAGE, image)
    return model.serialize()


def micro_engine() -> str:
    """The engine that `run_micro` takes: "micro", or "tflite" where the package tflite-micro is absent."""
    with suppress(MissingExtra):
        _runtime()
        return "micro"
    return "tflite"


def run_micro(data: bytes, x: NDArray[Any]) -> NDArray[np.int32]:
    """Scores int32 (n, classes) by TFLite Micro, or by TFLite where the package tflite-micro is absent.

    x: uint8 or int16 (n, F), or 0 and 1 (n, K) for a network that takes bits, as for `run_tflite`.

    Raises MissingExtra without either, ExportError if x has another shape or dtype.
    """
    with suppress(MissingExtra):
        return Micro(data).scores(x)
    return run_tflite(data, x)


def _runtime() -> Any:
    return require("tflite_micro.python.tflite_micro.runtime", "tflite-micro")


class Micro:
    """TFLite Micro's interpreter on this computer, with reference kernels.

    arena: bytes of RAM that it may use. Raises MissingExtra without tflite-micro, ExportError if the arena is too small.
    """

    def __init__(self, data: bytes, arena: int = ARENA) -> None:
        runtime = _runtime()
        check_runnable(data, write_micro)
        try:
            self._interpreter = runtime.Interpreter.from_bytes(data, arena_size=arena)
        except RuntimeError as refused:
            raise ExportError(
                f"TFLite Micro does not take this file in an arena of {arena} bytes: {refused}"
            ) from refused
        self._input = self._interpreter.get_input_details(0)
        unsigned = self._input["dtype"] == np.int8 and not self._input["quantization_parameters"]["zero_points"].any()
        self._source = "bits" if unsigned else "features"

    def scores(self, x: NDArray[Any]) -> NDArray[np.int32]:
        """Scores int32 (n, classes)."""
        rows = [self._one(row) for row in device_integers(x, self._source, self._input)]
        return np.array(rows, np.int32).reshape(len(x), self._interpreter.get_output_details(0)["shape"][1])

    def _one(self, row: NDArray[Any]) -> NDArray[np.int32]:
        self._interpreter.set_input(row[None], 0)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_output(0)[0])
