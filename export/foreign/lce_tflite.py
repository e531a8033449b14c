"""TFLite files of Larq's converter (larq-compute-engine): one chain of its own operators and some of TFLite's.

Binary convolutions are packed there, dense layers are float ones whose weights are +g and -g in each row. Thresholds and filters
are taken as they are, as integers. The file has no hidden weights. NumPy reads it, with flatbuffers' reader for the options.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.bits import unpack_minus
from metabit.export.errors import ExportError, require
from metabit.export.files.flatbuffer import View
from metabit.export.files.tflite_schema import IDENTIFIER
from metabit.export.foreign.chain import Chain, refuse, split_signs
from metabit.export.foreign.network import Foreign, Signs
from metabit.train.network.spec import MAX_UNITS

TOOL = "larq-compute-engine"
ADD, CONV_2D, FULLY_CONNECTED, MAX_POOL_2D, MUL, RESHAPE, SOFTMAX, CUSTOM, PAD, SUB, PADV2 = (
    0,
    3,
    9,
    17,
    18,
    22,
    25,
    32,
    34,
    41,
    60,
)
DTYPES = {0: np.dtype("<f4"), 2: np.dtype("<i4")}
SAME = 0
"""In the enum Padding of TFLite; 1 is valid."""


def read_lce_tflite(data: bytes) -> Foreign:
    """The network of a TFLite file of Larq's converter.

    Raises ExportError, which names the operator's output and the way out, for a damaged file or an operator without a counterpart.
    """
    try:
        return _File(data).chain().finish()
    except ExportError:
        raise
    except (ValueError, LookupError, TypeError, ArithmeticError) as damaged:
        raise ExportError(f"damaged TFLite file, or one whose operators lack an option: {damaged!r}") from None


class _File:
    """Tensors and operators of the first subgraph."""

    def __init__(self, data: bytes) -> None:
        model = View.root(data, IDENTIFIER)
        self.codes = [
            (max(code.number(0, np.int8), code.number(3, np.int32)), code.string(1)) for code in model.tables(1)
        ]
        graphs = model.tables(2)
        if len(graphs) != 1:
            raise ExportError(f"this TFLite file has {len(graphs)} subgraphs, a network of {TOOL} has one")
        self.tensors, self.buffers = graphs[0].tables(0), model.tables(4)
        self.inputs, self.outputs = (graphs[0].array(slot, np.int32).tolist() for slot in (1, 2))
        self.operators = graphs[0].tables(3)

    def tensor(self, index: int) -> View:
        if not 0 <= index < len(self.tensors):
            raise ExportError(f"damaged TFLite file: tensor {index} of {len(self.tensors)}")
        return self.tensors[index]

    def constant(self, index: int) -> NDArray[Any]:
        """A tensor of float32 or int32 whose values are in the file."""
        tensor = self.tensor(index)
        name, shape = tensor.string(3), tensor.array(0, np.int32).tolist()
        dtype, buffer = DTYPES.get(tensor.number(1, np.int8)), tensor.number(2, np.uint32)
        if dtype is None:
            refuse(name, "is neither float32 nor int32", "convert the network without quantization of its own")
        content = self.buffers[buffer].array(0, np.uint8).tobytes() if 0 < buffer < len(self.buffers) else b""
        if not content or min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize != len(content):
            raise ExportError(f"damaged TFLite file: tensor {name!r} of shape {shape} has {len(content)} bytes")
        return np.frombuffer(content, dtype).reshape(shape)

    def chain(self) -> Chain:
        """Every operator in its order; each takes what the one before it gave."""
        if len(self.inputs) != 1 or len(self.outputs) != 1:
            raise ExportError(
                f"this network has {len(self.inputs)} inputs and {len(self.outputs)} outputs: a metabit network has one"
            )
        source = self.tensor(self.inputs[0])
        if source.number(1, np.int8) != 0:
            refuse(source.string(3), "is not float32", "convert without inference_input_type")
        chain, at = Chain(TOOL, tuple(source.array(0, np.int32).tolist()[1:])), self.inputs[0]
        for operator in self.operators:
            inputs, outputs = (operator.array(slot, np.int32).tolist() for slot in (1, 2))
            code, custom = self.code(operator.number(0, np.uint32))
            if len(outputs) != 1:
                raise ExportError(
                    f"this TFLite file has an operator {custom or code} of {len(outputs)} outputs, which has no counterpart"
                )
            name = self.tensor(outputs[0]).string(3)
            if at not in inputs or (at != inputs[0] and code not in (ADD, MUL)):
                refuse(name, f"(operator {custom or code}) does not take the tensor before it", "a metabit network is a chain of "
                       "layers, train one without shortcuts")  # fmt: skip
            others = [i for i in inputs if i != at]
            if code in (CONV_2D, FULLY_CONNECTED) or custom == "LceBconv2d":
                others += [-1] * (4 - len(others))
            elif len(inputs) - len(others) != 1 or len(others) > 2:
                refuse(name, f"(operator {custom or code}) takes {len(inputs)} tensors", "train a chain of layers")
            if custom:
                self.custom(chain, name, custom, operator, others)
            else:
                self.builtin(chain, name, code, operator.child(4), others)
            at = outputs[0]
        if at != self.outputs[0]:
            raise ExportError("damaged TFLite file: its last operator does not give its output")
        return chain

    def code(self, index: int) -> tuple[int, str]:
        if index >= len(self.codes):
            raise ExportError(f"damaged TFLite file: operator code {index} of {len(self.codes)}")
        code, custom = self.codes[index]
        return code, custom if code == CUSTOM else ""

    def builtin(self, chain: Chain, name: str, code: int, options: View | None, others: list[int]) -> None:
        def option(slot: int, dtype: type[np.integer[Any]] = np.int32) -> int:
            return options.number(slot, dtype) if options is not None else 0

        if code in (ADD, SUB, MUL):
            values, one = self.constant(others[0]), np.ones(1)
            if values.size != 1 and values.shape[-1] != values.size:
                refuse(
                    name, f"has a constant of shape {values.shape}", "give one number, or one for each unit or channel"
                )
            gain, offset = (values, one * 0) if code == MUL else (one, values if code == ADD else -values)
            chain.affine(name, gain, offset)
            self.activation(name, option(0, np.int8))
        elif code == FULLY_CONNECTED:
            weights, gain = split_signs(name, _shaped(name, self.constant(others[0]), 2))
            chain.dense(name, weights, gain)
            self.bias(chain, name, others[1])
            self.activation(name, option(0, np.int8))
        elif code == CONV_2D:
            filters = _shaped(name, self.constant(others[0]), 4)
            if max(1, option(4)) != 1 or max(1, option(5)) != 1:
                refuse(name, "has dilation", "use none")
            signs, gain = split_signs(name, filters.reshape(len(filters), -1))
            chain.conv(
                name, signs.reshape(filters.shape), gain, (option(2), option(1)), option(0, np.int8) == SAME, 0.0
            )
            self.bias(chain, name, others[1])
            self.activation(name, option(3, np.int8))
        elif code == MAX_POOL_2D:
            chain.pool(name, (option(4), option(3)), (option(2), option(1)), option(0, np.int8) == SAME)
            self.activation(name, option(5, np.int8))
        elif code in (PAD, PADV2):
            pads = self.constant(others[0])
            value = float(self.constant(others[1]).reshape(-1)[0]) if code == PADV2 else 0.0
            if pads.shape != (4, 2) or pads[[0, 3]].any():
                refuse(name, "pads something other than rows and columns", "pad rows and columns")
            rows, columns = ((int(first), int(last)) for first, last in pads[1:3])
            chain.pad(name, rows, columns, value)
        elif code == RESHAPE:
            chain.flatten(name)
        elif code == SOFTMAX:
            chain.softmax(name)
        else:
            refuse(name, f"is TFLite's operator {code}", "metabit has dense and convolutional layers of binary weights, "
                   "normalisation, sign and max pooling")  # fmt: skip

    def bias(self, chain: Chain, name: str, index: int) -> None:
        if index >= 0:
            chain.affine(name, np.ones(1), self.constant(index))

    @staticmethod
    def activation(name: str, kind: int) -> None:
        if kind:
            refuse(name, f"has the fused activation {kind}", "use none before a sign")

    def custom(self, chain: Chain, name: str, custom: str, operator: View, others: list[int]) -> None:
        options = _options(operator.array(5, np.uint8).tobytes())
        if custom == "LceQuantize":
            chain.sign()
        elif custom == "LceBMaxPool2d":
            size, stride = ((options[f"{what}_height"], options[f"{what}_width"]) for what in ("filter", "stride"))
            chain.pool(name, size, stride, options["padding"] == SAME)
        elif custom == "LceBconv2d":
            self.binary_convolution(chain, name, options, others)
        elif custom != "LceDequantize":
            refuse(
                name,
                f"is the operator {custom}",
                f"{TOOL} 0.16 has LceQuantize, LceDequantize, LceBconv2d and LceBMaxPool2d",
            )

    def binary_convolution(self, chain: Chain, name: str, options: dict[str, int], others: list[int]) -> None:
        packed, channels = _shaped(name, self.constant(others[0]), 4), options["channels_in"]
        if packed.dtype != np.int32 or not 0 < channels <= 32 * packed.shape[3]:
            raise ExportError(f"damaged TFLite file: {name!r} has {channels} channels in {packed.shape[3]} words")
        if (
            options["dilation_height_factor"],
            options["dilation_width_factor"],
            options["fused_activation_function"],
        ) != (1, 1, 0):
            refuse(name, "has dilation or a fused activation", "use none")
        if chain.layers == [] and not chain.signs_first:
            raise ExportError(f"damaged TFLite file: {name!r} takes numbers that no LceQuantize made bits")
        strides = (options["stride_height"], options["stride_width"])
        chain.conv(
            name,
            _filters(packed, channels),
            np.ones(1),
            strides,
            options["padding"] == SAME,
            float(options["pad_values"]),
        )
        multiply, add, limits = others[1:4]
        if limits >= 0:
            inputs = math.prod(packed.shape[1:3]) * channels
            chain.steps(
                name, inputs - 2 * self.constant(limits).astype(np.int64)
            )  # +1 where at most `limits` bits differ
        elif multiply >= 0 and add >= 0:
            chain.affine(name, self.constant(multiply), self.constant(add))


def _shaped(name: str, array: NDArray[Any], rank: int) -> NDArray[Any]:
    if array.ndim != rank or min(array.shape) < 1 or array.shape[0] > MAX_UNITS:
        raise ExportError(f"damaged TFLite file: the weights of {name!r} have shape {array.shape}")
    return array


def _filters(packed: NDArray[Any], channels: int) -> Signs:
    """Words int32 (N, rows, columns, W) -> int8 (N, rows, columns, channels), in which a bit 1 gives -1."""
    return np.where(unpack_minus(packed, channels), np.int8(1), np.int8(-1))


def _options(content: bytes) -> dict[str, int]:
    """The options of an operator of larq-compute-engine: a flexbuffer map of integers."""
    if not content:
        return {}
    flexbuffers = require("flatbuffers.flexbuffers")
    try:
        found = flexbuffers.Loads(content)
        return {str(key): int(value) for key, value in found.items()}
    except Exception as damaged:  # flexbuffers raises many kinds for damaged bytes
        raise ExportError(f"damaged TFLite file: the options of an operator of {TOOL}: {damaged!r}") from None
