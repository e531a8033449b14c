"""The part of TFLite's flatbuffer schema (version 3) that metabit writes: built-in and custom operators, seven tensor types.

Slot numbers are the order of the fields in TensorFlow's ``schema.fbs``. An operator has two unrelated numbers there: its code (enum
BuiltinOperator) and the tag of its options table (union BuiltinOptions). Some kernels ignore a wrong tag silently, so a test
compares both with a generated schema where one is installed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError, require
from metabit.export.files.flatbuffer import Table, Value, View, serialize

IDENTIFIER = b"TFL3"
ANY = -1
"""The batch dimension: stored as 1, any size after the input is resized."""
ABSENT = -1
"""An optional input that is not given."""
SAME, VALID = np.int8(0), np.int8(1)
"""Padding with zeros so that stride 1 keeps the size, and no padding, in the enum Padding."""
ONE_AROUND_ZERO = np.int8(2)
"""Limits an output to -1..1 (RELU_N1_TO_1), in the enum ActivationFunctionType."""
KEEP_AXES: Table = {0: np.int8(1)}
"""Options of SUM, by which summed axes stay, of size 1."""
LONGEST = 8
"""Dimensions of a tensor that is read, at most."""
CUSTOM = 32
"""Code of every operator that is known by a name of its own."""

Pages = dict[str, NDArray[np.uint8]]
Unit = tuple[float, int]
"""Scale and zero point of an integer tensor: a value is scale * (integer - zero point)."""

_DTYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f4"), 2: np.dtype("<i4"), 3: np.dtype("u1"), 4: np.dtype("<i8"), 6: np.dtype("?"),
    7: np.dtype("<i2"), 9: np.dtype("i1"),
}  # fmt: skip
_TYPES = {dtype: number for number, dtype in _DTYPES.items()}
_RESOURCE = np.int8(13)


class Op(Enum):
    """Operator code, tag of its options table."""

    ADD = 0, 11
    CONCATENATION = 2, 10
    CONV_2D = 3, 1
    FULLY_CONNECTED = 9, 8
    MAX_POOL_2D = 17, 5
    MUL = 18, 21
    RESHAPE = 22, 17
    PAD = 34, 22
    GATHER = 36, 23
    TRANSPOSE = 39, 26
    SUB = 41, 28
    DIV = 42, 29
    SPLIT = 49, 35
    CAST = 53, 37
    MAXIMUM = 55, 39
    ARG_MAX = 56, 40
    MINIMUM = 57, 39
    PADV2 = 60, 43
    GREATER = 61, 44
    GREATER_EQUAL = 62, 45
    SLICE = 65, 48
    EQUAL = 71, 53
    SUM = 74, 27
    REDUCE_MAX = 82, 27
    LOGICAL_OR = 84, 60
    LOGICAL_AND = 86, 62
    LOGICAL_NOT = 87, 63
    FLOOR_DIV = 90, 65
    FLOOR_MOD = 95, 72
    WHILE = 119, 93
    SCATTER_ND = 122, 97
    SELECT_V2 = 123, 98
    CUMSUM = 128, 102
    CALL_ONCE = 129, 103
    VAR_HANDLE = 142, 111
    READ_VARIABLE = 143, 112
    ASSIGN_VARIABLE = 144, 113
    BITWISE_XOR = 160, 125
    RIGHT_SHIFT = 161, 126


class Model:
    """Subgraphs, signatures and metadata of a file; `serialize` writes them."""

    def __init__(self) -> None:
        self._buffers: list[Table] = [{}]  # buffer 0 is empty by convention: "this tensor is computed"
        self._contents: dict[bytes, int] = {}
        self._ops: list[Op | str] = []
        self._subgraphs: list[Subgraph] = []
        self._signatures: list[Table] = []
        self._metadata: list[Table] = []

    def subgraph(self, name: str) -> Subgraph:
        """A graph that is part of the file once it has a signature or a number."""
        return Subgraph(self, name)

    def index(self, graph: Subgraph) -> int:
        """The number by which an operator calls a subgraph; the first that is asked for is the default graph."""
        if graph not in self._subgraphs:
            self._subgraphs.append(graph)
        return self._subgraphs.index(graph)

    def buffer(self, data: bytes) -> int:
        """The index of a buffer with these bytes; equal constants share one."""
        if data not in self._contents:
            self._buffers.append({0: data})
            self._contents[data] = len(self._buffers) - 1
        return self._contents[data]

    def metadata(self, name: str, content: str | bytes) -> None:
        data = content if isinstance(content, bytes) else content.encode()
        self._metadata.append({0: name, 1: np.uint32(self.buffer(data))})

    def signature(self, name: str, graph: Subgraph, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """Makes a subgraph callable by name, with its tensors by their names."""
        graph.inputs, graph.outputs = list(inputs), list(outputs)
        index = np.uint32(self.index(graph))
        self._signatures.append({0: graph.tensor_map(inputs), 1: graph.tensor_map(outputs), 2: name, 4: index})

    def op_index(self, op: Op | str) -> int:
        if op not in self._ops:
            self._ops.append(op)
        return self._ops.index(op)

    def serialize(self) -> bytes:
        # Every code is written twice: readers before 2020 know only the 8-bit field, where 127 stands for every larger code.
        codes: list[Table] = [
            {0: np.int8(CUSTOM), 1: op, 2: np.int32(1), 3: np.int32(CUSTOM)}
            if isinstance(op, str)
            else {0: np.int8(min(op.value[0], 127)), 3: np.int32(op.value[0])}
            for op in self._ops
        ]
        root: Table = {
            0: np.uint32(3),
            1: codes,
            2: [graph.table() for graph in self._subgraphs],
            3: "metabit",
            4: self._buffers,
            6: self._metadata,
            7: self._signatures,
        }
        return serialize(root, IDENTIFIER)


class Subgraph:
    """Tensors, which are referred to by their index, and the operators between them."""

    def __init__(self, model: Model, name: str) -> None:
        self.model, self.name = model, name
        self._names: list[str] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self._tensors: list[Table] = []
        self._shared: dict[tuple[Any, ...], int] = {}
        self._operators: list[Table] = []

    def tensor(
        self, name: str, shape: Sequence[int], dtype: type[np.generic], buffer: int = 0, unit: Unit | None = None
    ) -> int:
        table: dict[int, Value] = {
            0: np.array([1 if size == ANY else size for size in shape], np.int32),
            1: type_number(dtype),
            2: np.uint32(buffer),
            3: name,
        }
        if ANY in shape:
            table[7] = np.array(shape, np.int32)
        if unit is not None:
            table[4] = {2: np.array([unit[0]], np.float32), 3: np.array([unit[1]], np.int64)}
        self._names.append(name)
        self._tensors.append(table)
        return len(self._tensors) - 1

    def constant(self, name: str, value: NDArray[Any], unit: Unit | None = None) -> int:
        content = value.astype(value.dtype.newbyteorder("<")).tobytes()
        return self.tensor(name, value.shape, value.dtype.type, self.model.buffer(content), unit)

    def shared(self, value: NDArray[Any], unit: Unit | None = None) -> int:
        """A constant without a name of its own; equal ones are one tensor."""
        key = value.tobytes(), value.shape, value.dtype.str, unit
        if key not in self._shared:
            self._shared[key] = self.constant(f"c{len(self._shared)}", value, unit)
        return self._shared[key]

    def handle(self, name: str) -> int:
        """A reference to the variable of this name, which all subgraphs share."""
        self._names.append(f"{name}.handle")
        self._tensors.append({0: np.zeros(0, np.int32), 1: _RESOURCE, 3: f"{name}.handle"})
        return self.apply(Op.VAR_HANDLE, [], len(self._tensors) - 1, {1: name})

    def named(self, name: str) -> int:
        """The tensor that was made by this name."""
        return self._names.index(name)

    def apply(self, op: Op, inputs: Sequence[int], output: int, options: Table | None = None) -> int:
        """Appends ``output = op(inputs)`` and returns the output."""
        self.run(op, inputs, [output], options)
        return output

    def run(self, op: Op, inputs: Sequence[int], outputs: Sequence[int], options: Table | None = None) -> None:
        """Appends an operator of any number of outputs."""
        table: Table = {
            0: np.uint32(self.model.op_index(op)),
            1: np.array(inputs, np.int32),
            2: np.array(outputs, np.int32),
            3: np.uint8(op.value[1]),
            4: options or {},
        }
        self._operators.append(table)

    def custom(self, op: str, inputs: Sequence[int], output: int, options: Mapping[str, int] | None = None) -> int:
        """Appends ``output = op(inputs)``, a custom operator, whose options are a flexbuffer map; returns the output."""
        table: dict[int, Value] = {
            0: np.uint32(self.model.op_index(op)),
            1: np.array(inputs, np.int32),
            2: np.array([output], np.int32),
        }
        if options:
            table[5] = bytes(require("flatbuffers.flexbuffers").Dumps(dict(options)))
        self._operators.append(table)
        return output

    def tensor_map(self, tensors: Sequence[int]) -> list[Table]:
        return [{0: self._names[i], 1: np.uint32(i)} for i in tensors]

    def table(self) -> Table:
        return {
            0: self._tensors,
            1: np.array(self.inputs, np.int32),
            2: np.array(self.outputs, np.int32),
            3: self._operators,
            4: self.name,
        }


def type_number(dtype: type[np.generic]) -> np.int8:
    """The schema's number for one of the seven tensor types."""
    return np.int8(_TYPES[np.dtype(dtype)])


def read_constants(data: bytes) -> tuple[Pages, dict[str, NDArray[Any]]]:
    """Metadata (name -> uint8 (n,)) and constant tensors (name -> array) of a TFLite file, of the types above.

    It looks at every table that it needs. All arrays are parts of the file's bytes, so nothing large is allocated.

    Raises ExportError if the file is not TFLite or is damaged.
    """
    model = View.root(data, IDENTIFIER)
    buffers = [buffer.array(0, np.uint8) for buffer in model.tables(4)]
    pages: Pages = {}
    for entry in model.tables(6):
        pages[entry.string(0)] = _entry(buffers, entry.number(1, np.uint32))
    arrays: dict[str, NDArray[Any]] = {}
    seen, codes = 0, len([(code.number(0, np.int8), code.number(3, np.int32)) for code in model.tables(1)])
    for graph in model.tables(2):
        tensors, operators = graph.tables(0), graph.tables(3)
        seen += 1 + len(tensors) + len(operators)
        if 4 * seen > len(data):  # the file has an offset for each
            raise ExportError(f"damaged TFLite file: {len(data)} bytes that list {seen} tensors and operators or more")
        for operator in operators:
            code, *_ = operator.number(0, np.uint32), operator.array(1, np.int32), operator.array(2, np.int32)
            if code >= codes:
                raise ExportError(f"damaged TFLite file: operator code {code} of {codes}")
        for tensor in tensors:
            content = _entry(buffers, tensor.number(2, np.uint32))
            dtype = _DTYPES.get(tensor.number(1, np.int8))
            if len(content) and dtype:
                name, shape = tensor.string(3), tensor.array(0, np.int32)
                sizes = [int(size) for size in shape[:LONGEST]]
                if (
                    len(shape) > LONGEST
                    or min(sizes, default=1) < 0
                    or math.prod(sizes) * dtype.itemsize != len(content)
                ):
                    raise ExportError(f"damaged TFLite file: tensor {name!r} of shape {sizes} has {len(content)} bytes")
                arrays[name] = content.view(dtype).reshape(sizes)
    return pages, arrays


def _entry(buffers: list[NDArray[np.uint8]], index: int) -> NDArray[np.uint8]:
    if index >= len(buffers):
        raise ExportError(f"damaged TFLite file: buffer {index} of {len(buffers)}")
    return buffers[index]
