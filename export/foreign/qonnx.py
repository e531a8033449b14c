"""ONNX in the QONNX dialect: networks of Brevitas and FINN, one chain of BipolarQuant or MultiThreshold and standard operators.

Weights are initialisers that pass through BipolarQuant, or are +g and -g already. The floats before a BipolarQuant are the hidden
weights. Pictures are (channel, row, column) there and (row, column, channel) in metabit: filters, and the dense layer above a
picture, are brought into that order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metabit.export.errors import ExportError
from metabit.export.files import onnx_reader
from metabit.export.files.interchange import FACTS, IMAGE
from metabit.export.foreign.chain import Chain, refuse
from metabit.export.foreign.network import Foreign
from metabit.export.foreign.onnx_constants import Array, Constants, attributes
from metabit.export.foreign.thresholds import normalisation

TOOL = "QONNX"
MOVES = ("Flatten", "Reshape", "Transpose")
NOTHING = ("Identity", "Dropout")
"""Operators that change nothing at inference."""
LAST = ("TopK", "ArgMax")
"""Operators that give the class: what they take are the numbers of the classes."""


def is_ours(data: bytes) -> bool:
    """True for an ONNX file that metabit wrote. Raises ExportError for a damaged file, MissingExtra without onnx."""
    return bool(onnx_reader.keys(onnx_reader.parse(data)) & {FACTS, IMAGE})


def read_qonnx(data: bytes) -> Foreign:
    """The network of a QONNX file. Needs onnx.

    Raises ExportError, which names the operator and the way out, for a damaged file or an operator without a counterpart.
    """
    try:
        with np.errstate(all="ignore"):  # the chain refuses what is not finite
            return _File(onnx_reader.parse(data)).chain().finish()
    except ExportError:
        raise
    except (ValueError, LookupError, TypeError, ArithmeticError, AttributeError) as damaged:
        raise ExportError(
            f"damaged ONNX file, or one whose operators lack an input or an attribute: {damaged!r}"
        ) from damaged


class _File:
    """The graph, and what is known of the values at one place."""

    def __init__(self, model: Any) -> None:
        self.graph = model.graph
        self.constants = Constants(self.graph.initializer)
        self.scale = 1.0  # the size of the signs that BipolarQuant gives
        self.flattened: tuple[int, ...] | None = None  # (H, W, C) of a picture that was flattened, channels first
        self.channels_first = True
        self.values: Chain

    def chain(self) -> Chain:
        """Every operator in its order; each takes what the one before it gave."""
        sources = [value for value in self.graph.input if value.name not in self.constants.arrays]
        if len(sources) != 1 or len(self.graph.output) != 1:
            raise ExportError(
                f"this ONNX network has {len(sources)} inputs and {len(self.graph.output)} outputs: a metabit network has one"
            )
        shape = [int(side.dim_value) for side in sources[0].type.tensor_type.shape.dim][1:]
        if len(shape) not in (1, 3) or min(shape) < 1:
            raise ExportError(f"one input of this ONNX network has the shape {shape}: export it with a fixed shape, "
                              "(batch, features) or (batch, channels, rows, columns)")  # fmt: skip
        self.values, at = Chain(TOOL, (*shape[1:], shape[0]) if len(shape) == 3 else tuple(shape)), sources[0].name
        done = False
        for node in self.graph.node:
            name, outputs = node.name or (node.output[0] if node.output else node.op_type), list(node.output)
            given = [one for one in node.input if one]
            if at not in given and all(one in self.constants.arrays for one in given):
                self.constants.compute(name, node, given)
                continue
            if done or at not in given or given.count(at) > 1:
                refuse(name, f"({node.op_type}) does not take the tensor before it", "a metabit network is a chain of layers, "
                       "train one without shortcuts")  # fmt: skip
            if node.op_type in LAST:
                done = True
                if not attributes(node).get("largest", 1):
                    refuse(name, "gives the smallest numbers", "take the largest")
            else:
                self.step(name, node, [one for one in node.input if one != at], node.input[0] == at)
            at = outputs[0]
        return self.values

    def step(self, name: str, node: Any, others: list[str], first: bool) -> None:
        """One operator on the values. others: its further inputs; first: the values are its first input."""
        kind, given = node.op_type, attributes(node)
        if kind == "BipolarQuant":
            self.sign(name, self.constants[others[0]])
        elif kind == "Quant":
            self.quantise(
                name,
                given,
                [float(self.constants[one].reshape(-1)[0]) for one in others if self.constants[one].size == 1],
            )
        elif kind == "MultiThreshold":
            self.thresholds(name, given, self.constants[others[0]])
        elif kind in ("Add", "Sub", "Mul", "Div"):
            self.arithmetic(name, kind, self.constants[others[0]], first)
        elif kind == "BatchNormalization":
            gamma, beta, mean, variance = (self.constants[one] for one in others[:4])
            found = normalisation(name, mean, variance, float(given.get("epsilon", 1e-5)), gamma, beta)
            self.by_channel(name, *found, self.channels_first)
        elif kind in ("Gemm", "MatMul"):
            self.dense(name, kind, given, others, first)
        elif kind == "Conv":
            self.convolution(name, given, others)
        elif kind == "MaxPool":
            size = tuple(given["kernel_shape"])
            if (
                any(given.get("pads", [0]))
                or given.get("ceil_mode")
                or any(one != 1 for one in given.get("dilations", [1]))
            ):
                refuse(name, "pools with padding or dilation", "pool squares without overlap or padding")
            self.values.pool(name, size, tuple(given.get("strides", (1,) * len(size))))
        elif kind == "Pad":
            self.pad(name, given, [self.constants[one] for one in others if one])
        elif kind in MOVES:
            self.move(name, kind, given, others)
        elif kind in ("Softmax", "LogSoftmax"):
            self.values.softmax(name)
        elif kind not in NOTHING:
            refuse(name, f"is a {kind}", "metabit has dense and convolutional layers of binary weights (MatMul, Gemm, Conv), "
                   "BipolarQuant, MultiThreshold, BatchNormalization, MaxPool and Flatten")  # fmt: skip

    def sign(self, name: str, scale: Array) -> None:
        if scale.size != 1 or not 0 < float(scale.reshape(-1)[0]) < math.inf:
            refuse(name, f"gives signs times {scale.reshape(-1)[:3]}", "use one scale above 0")
        self.values.sign()
        self.scale = float(scale.reshape(-1)[0])

    def quantise(self, name: str, given: dict[str, Any], sizes: list[float]) -> None:
        """Quant of the inputs: the integers that it makes, from the lowest on, are the bytes of the device."""
        if len(sizes) != 3 or not 0 < sizes[0] < math.inf or sizes[1] or not 1 <= sizes[2] <= 16:
            refuse(name, f"is a Quant of {sizes}", "give it one scale above 0, zero point 0 and one number of bits")
        scale, _, bits = sizes
        signed, narrow = bool(given.get("signed", 1)), bool(given.get("narrow", 0))
        lowest = -(2 ** (int(bits) - 1)) + narrow if signed else 0
        self.values.quantise(name, lowest * scale, scale, 2 ** int(bits) - narrow)

    def thresholds(self, name: str, given: dict[str, Any], limits: Array) -> None:
        """MultiThreshold with one threshold for each unit is a sign."""
        scale, bias = float(given.get("out_scale", 1.0)), float(given.get("out_bias", 0.0))
        if limits.ndim != 2 or limits.shape[1] != 1 or scale <= 0 or scale + bias != -bias:
            refuse(name, f"has thresholds {list(limits.shape)} and gives {bias:g} .. {bias + scale * limits.shape[-1]:g}", "train "
                   "with activations of 1 bit, -1 and +1")  # fmt: skip
        channels_first = given.get("data_layout", b"NCHW") != b"NHWC"
        self.by_channel(name, np.ones(1), -limits[:, 0].astype(np.float64), channels_first == self.channels_first)
        self.sign(name, np.array(-bias))

    def arithmetic(self, name: str, kind: str, constant: Array, first: bool) -> None:
        values = np.asarray(constant, np.float64)
        if not first and kind in ("Sub", "Div"):
            refuse(name, f"is a {kind} of a constant by the values", "normalise by gains and offsets")
        at = -3 if len(self.values.shape) == 3 and self.channels_first else -1  # the axis of channels
        if values.size != 1 and (values.ndim < -at or values.shape[at] != values.size):
            refuse(name, f"has a constant of shape {values.shape} on values of {len(self.values.shape) + 1} axes",
                   "give one number, or one for each unit or channel, of shape (1, channels, 1, 1) on pictures")  # fmt: skip
        if kind in ("Add", "Sub"):
            self.affine(name, np.ones(1), values if kind == "Add" else -values)
        else:
            self.affine(name, values if kind == "Mul" else 1 / values, np.zeros(1))

    def by_channel(self, name: str, gain: Array, offset: Array, known: bool) -> None:
        """Gains and offsets for axis 1, or the last one: known where that is the axis of channels."""
        if len(self.values.shape) == 3 and not known:
            refuse(name, "normalises an axis other than that of the channels", "use (batch, channels, rows, columns)")
        self.affine(name, gain, offset)

    def affine(self, name: str, gain: Array, offset: Array) -> None:
        if self.values.signed:
            if gain.size == 1 and offset.size == 1 and float(gain.reshape(-1)[0]) > 0 and not offset.any():
                self.scale *= float(gain.reshape(-1)[0])
                return
        if self.flattened is not None:
            gain, offset = (self.reordered(name, values.reshape(1, -1))[0] for values in (gain, offset))
        self.values.affine(name, gain, offset)

    def reordered(self, name: str, rows: Array) -> Array:
        """Rows (N, F) for features (channel, row, column) of a picture that was flattened -> (row, column, channel)."""
        assert self.flattened is not None
        height, width, channels = self.flattened
        count = height * width * channels
        if rows.shape[1] == 1:
            return rows
        if rows.shape[1] != count:
            raise ExportError(
                f"damaged ONNX file: {name!r} has {rows.shape[1]} numbers a unit above a picture of {self.flattened}"
            )
        return rows[:, np.arange(count).reshape(channels, height, width).transpose(1, 2, 0).reshape(-1)]

    def dense(self, name: str, kind: str, given: dict[str, Any], others: list[str], first: bool) -> None:
        if not first or given.get("transA") or given.get("alpha", 1.0) != 1 or given.get("beta", 1.0) != 1:
            refuse(name, "multiplies the weights by the values", "multiply values (batch, inputs) by weights")
        columns = not (kind == "Gemm" and given.get("transB"))  # (K, N)
        found = self.constants.weights(name, others[0], 2, -1 if columns else 0)
        signs, gain, hidden = (
            None if part is None else part.T if columns else part for part in (found.signs, found.gain, found.hidden)
        )
        assert signs is not None and gain is not None
        if self.flattened is not None:
            signs, gain, hidden = (
                None if part is None else self.reordered(name, part) for part in (signs, gain, hidden)
            )
            assert signs is not None and gain is not None
            self.flattened = None
        self.values.dense(name, signs, self.gains(name, gain), hidden)
        self.bias(name, others)

    def convolution(self, name: str, given: dict[str, Any], others: list[str]) -> None:
        found = self.constants.weights(name, others[0], 4, 0)
        if (
            any(one != 1 for one in given.get("dilations", [1]))
            or given.get("group", 1) != 1
            or not self.channels_first
        ):
            refuse(
                name, "has dilation, groups or channels at the end", "use one group without dilation, channels first"
            )
        pads = list(given.get("pads", [0] * 4))
        if given.get("auto_pad", b"NOTSET") != b"NOTSET" or len(pads) != 4:
            refuse(name, f"has auto_pad {given.get('auto_pad')!r}", "write its pads")
        if any(pads):
            self.values.pad(name, (pads[0], pads[2]), (pads[1], pads[3]), 0.0)
        signs, gain, hidden = (
            None if part is None else part.transpose(0, 2, 3, 1) for part in (found.signs, found.gain, found.hidden)
        )
        assert signs is not None and gain is not None
        rows, columns = given.get("strides", (1, 1))
        self.values.conv(
            name, signs, self.gains(name, gain.reshape(len(gain), -1)), (rows, columns), False, 0.0, hidden
        )
        self.bias(name, others)

    def gains(self, name: str, gain: Array) -> Array:
        """Gains float64 (N,) of the rows (N, K), times the size of the signs that the layer takes."""
        if (gain != gain[:, :1]).any():
            refuse(name, "has scales that differ within a unit", "use one scale for each unit")
        size, self.scale = self.scale, 1.0
        return np.asarray(gain[:, 0] * size)

    def bias(self, name: str, others: list[str]) -> None:
        if len(others) > 1 and others[1]:
            self.affine(name, np.ones(1), self.constants[others[1]])

    def pad(self, name: str, given: dict[str, Any], constants: list[Array]) -> None:
        pads = np.asarray(constants[0] if constants else given["pads"]).reshape(-1)
        value = (
            float(constants[1].reshape(-1)[0])
            if len(constants) > 1 and constants[1].size
            else float(given.get("value", 0.0))
        )
        if len(pads) != 8 or pads[[0, 1, 4, 5]].any() or given.get("mode", b"constant") != b"constant":
            refuse(name, "pads something other than rows and columns by a constant", "pad rows and columns")
        if pads.any():
            self.values.pad(name, (int(pads[2]), int(pads[6])), (int(pads[3]), int(pads[7])), value / self.scale)

    def move(self, name: str, kind: str, given: dict[str, Any], others: list[str]) -> None:
        if kind == "Transpose":
            order = tuple(given.get("perm", ()))
            if order not in ((0, 2, 3, 1), (0, 3, 1, 2)) or (order == (0, 2, 3, 1)) != self.channels_first:
                refuse(name, f"exchanges the axes {order}", "use (batch, channels, rows, columns)")
            self.channels_first = not self.channels_first
            return
        shape = self.values.shape
        to = self.constants[others[0]].reshape(-1).tolist() if kind == "Reshape" else [0, -1]
        flat = kind == "Flatten" and given.get("axis", 1) == 1 or kind == "Reshape" and len(to) == 2
        if len(shape) == 3 and flat:
            self.flattened = shape if self.channels_first and min(shape[0] * shape[1], shape[2]) > 1 else None
            self.values.flatten(name)
        elif len(shape) == 3 or not flat:
            refuse(name, f"changes the shape {shape} by {kind}", "flatten a picture once, before the dense layers")
