"""A network of dense layers on packed bits as a Larq Compute Engine file, for comparison only.

LCE's sums are over +-1: an on/off input is (1 + s) / 2, so the first layer's threshold becomes 2 theta - S, S the unit's
weight sum. Its bit 1 is -1. `import larq_compute_engine` needs TensorFlow, which running a file does not: the package
is entered beside its __init__.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.files.flatbuffer import Table, serialize
from metabit.export.files.tflite_schema import ABSENT, IDENTIFIER, Model
from metabit.export.frozen import Frozen

CUSTOM = np.int8(32)  # BuiltinOperator.CUSTOM


class LceModel(Model):
    """A TFLite model that consists of custom operators."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.graph = self.subgraph("main")
        self.operators: list[Table] = []

    def apply(self, name: str, inputs: Sequence[int], output: int, options: dict[str, int]) -> int:
        from flatbuffers import flexbuffers

        if name not in self.names:
            self.names.append(name)
        code, ends = np.uint32(self.names.index(name)), (np.array(inputs, np.int32), np.array([output], np.int32))
        self.operators.append(
            {0: code, 1: ends[0], 2: ends[1], 5: bytes(flexbuffers.Dumps(options)) if options else b""}
        )
        return output

    def serialize(self) -> bytes:
        codes: list[Table] = [{0: CUSTOM, 1: name, 2: np.int32(1), 3: np.int32(CUSTOM)} for name in self.names]
        graph = self.graph.table() | {3: self.operators}
        return serialize({0: np.uint32(3), 1: codes, 2: [graph], 3: "metabit benchmark", 4: self._buffers}, IDENTIFIER)


def words(signs: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Rows of bits, 1 for -1, as int32 (..., ceil(K / 32))."""
    packed = np.packbits(~signs, axis=-1, bitorder="little")
    packed = np.pad(packed, [(0, 0)] * (packed.ndim - 1) + [(0, -packed.shape[-1] % 4)])
    return np.ascontiguousarray(packed).view("<i4")


def lce_file(frozen: Frozen) -> bytes:
    """Input bool (1, 1, 1, K), output float (1, 1, 1, classes): the scores."""
    assert frozen.encode is None and not any(layer.kind == "conv" for layer in frozen.layers)
    model = LceModel()
    graph = model.graph
    inputs = frozen.layers[0].hidden.shape[1]
    source = graph.tensor("bits", (1, 1, 1, inputs), np.bool_)
    signal = graph.tensor("packed", (1, 1, 1, -(-inputs // 32)), np.int32)
    model.apply("LceQuantize", [source], signal, {})
    for i, layer in enumerate(frozen.layers):
        positive = layer.hidden >= 0
        units, inputs = positive.shape
        weights = graph.constant(f"weights{i}", words(positive)[:, None, None, :])
        options = {
            "channels_in": inputs, "dilation_height_factor": 1, "dilation_width_factor": 1, "fused_activation_function": 0,
            "pad_values": 0, "padding": 1, "stride_height": 1, "stride_width": 1,
        }  # fmt: skip
        if layer.kind == "output":
            mul, add = (graph.constant(f"{n}{i}", getattr(layer, n).astype(np.float32)) for n in ("mul", "add"))
            out = graph.tensor("scores", (1, 1, 1, units), np.float32)
            signal = model.apply("LceBconv2d", [signal, weights, mul, add, ABSENT], out, options)
        else:
            theta = layer.theta.astype(np.int64)
            least = 2 * theta - (2 * positive.sum(1) - inputs) if i == 0 else theta  # +1 where the sum is at least that
            most = graph.constant(f"most{i}", np.floor((inputs - least) / 2).astype(np.int32))  # of unlike bits
            out = graph.tensor(f"signs{i}", (1, 1, 1, -(-units // 32)), np.int32)
            signal = model.apply("LceBconv2d", [signal, weights, ABSENT, ABSENT, most], out, options)
    graph.inputs, graph.outputs = [source], [signal]
    return model.serialize()


def lce_runner(data: bytes) -> Callable[[NDArray[Any]], Any]:
    """Function from one input, bool (1, 1, 1, K), to its scores, on one thread. Raises ImportError without larq-compute-engine.

    Its indirect kernel: on x86-64 the default one takes two and a half times as long."""
    spec = find_spec("larq_compute_engine")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("larq-compute-engine")
    package = types.ModuleType("larq_compute_engine")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules.setdefault("larq_compute_engine", package)
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    inner = Interpreter(data, num_threads=1, use_indirect_bgemm=True).interpreter
    return lambda x: inner.predict([x])[0]
