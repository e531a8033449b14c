"""Constants of an ONNX graph of another tool, and which of them are weights +1 and -1."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError, require
from metabit.export.foreign.chain import refuse, signs_of, split_signs
from metabit.export.foreign.network import Signs
from metabit.export.foreign.thresholds import finite

Array = NDArray[Any]


@dataclass(frozen=True)
class Weights:
    """Signs int8, the gain of each, and the floats behind the signs where the file has them, in the file's order of axes."""

    signs: Signs
    gain: Array
    hidden: Array | None

    def parts(self) -> tuple[Array, Array, Array | None]:
        return self.signs, self.gain, self.hidden


MOST = 4
"""Weights that operators on constants make for each number in the file, at most: they may share a tensor."""


class Constants:
    """Arrays by name. Raises ExportError for data outside the file or of another size."""

    def __init__(self, tensors: Iterable[Any]) -> None:
        self.arrays = {str(tensor.name): _array(tensor) for tensor in tensors}
        self._weights: dict[str, Weights] = {}
        self._left = MOST * sum(array.size for array in self.arrays.values())

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def compute(self, name: str, node: Any, given: list[str]) -> None:
        """An operator on constants: a constant itself, BipolarQuant of weights, or their transposition."""
        target = node.output[0]
        if node.op_type == "Constant":
            self.arrays[target] = _array(node.attribute[0].t)
            self._left += MOST * self.arrays[target].size
        elif node.op_type == "BipolarQuant":
            self._spend(name, self.arrays[given[0]].size)
            floats, scale = (np.asarray(self.arrays[one], np.float64) for one in given)
            finite(name, scale)
            if not (scale > 0).all():
                refuse(name, f"has a scale of {scale.min():.3g}", "use scales above 0")
            signs = signs_of(name, floats)
            hidden = None if (np.abs(floats) == np.abs(floats).max(initial=0)).all() else floats
            self._keep(target, Weights(signs, np.broadcast_to(scale, floats.shape), hidden))
        elif node.op_type == "Transpose":
            order = tuple(attributes(node).get("perm", ())) or None
            if given[0] in self._weights:
                self._spend(name, self.arrays[given[0]].size)
                signs, gain, hidden = self._weights[given[0]].parts()
                hidden = None if hidden is None else hidden.transpose(order)
                self._keep(target, Weights(signs.transpose(order), gain.transpose(order), hidden))
            else:
                self.arrays[target] = self.arrays[given[0]].transpose(order)
        elif node.op_type == "Quant":
            refuse(name, "has weights of several bits", "train it with weights of 1 bit (BipolarQuant)")
        else:
            refuse(name, f"computes constants by {node.op_type}", "fold the constants of the graph before")

    def _spend(self, name: str, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ExportError(
                f"damaged ONNX file: with {name!r} its operators make more than {MOST} weights for each number that it holds"
            )

    def _keep(self, name: str, weights: Weights) -> None:
        self._weights[name], self.arrays[name] = weights, weights.signs * weights.gain

    def weights(self, name: str, source: str, rank: int, units: int) -> Weights:
        """Weights by BipolarQuant, or such that are +g and -g as they are. units: the axis of the units."""
        array = self.arrays[source]
        if array.ndim != rank or not array.size:
            raise ExportError(f"damaged ONNX file: the weights of {name!r} have shape {array.shape}")
        if source in self._weights:
            return self._weights[source]
        rows = np.moveaxis(array, units, 0)
        signs, gain = split_signs(name, rows.reshape(len(rows), -1))
        gains = np.broadcast_to(gain[:, None], signs.shape).reshape(rows.shape)
        return Weights(np.moveaxis(signs.reshape(rows.shape), 0, units), np.moveaxis(gains, 0, units), None)


def attributes(node: Any) -> dict[str, Any]:
    """Numbers, bytes and lists of a node."""
    helper = require("onnx.helper")
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def _array(tensor: Any) -> Array:
    if tensor.data_location or tensor.external_data:
        raise ExportError(
            f"{tensor.name} of this ONNX file lies in another file: make one of both, onnx.save(onnx.load(p), p)"
        )
    try:
        return np.asarray(require("onnx.numpy_helper").to_array(tensor))
    except (ValueError, TypeError, KeyError) as wrong:
        raise ExportError(f"damaged ONNX file: {tensor.name} of shape {list(tensor.dims)[:8]}: {wrong}") from None
