"""From the steps of a file, one after the other, to the layers of `Foreign`: what a reader calls for each step it meets.

A network of metabit is a chain: sums of weights +1 and -1, a normalisation, a sign, and again. `Chain` takes these steps in the
order of the file, knows the shape at each place, and refuses, with the step's name and the way out, what such a chain cannot say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.foreign.network import Affine, Foreign, ForeignLayer, Numbers, Signs, Steps, opposite
from metabit.export.foreign.thresholds import finite
from metabit.export.frozen import MAX_IMAGE, ConvGeometry
from metabit.train.network.spec import MAX_LAYERS, MAX_UNITS


def refuse(name: str, what: str, way_out: str) -> NoReturn:
    """Raises the ExportError for a step that has no counterpart."""
    raise ExportError(f"layer {name!r} {what}, which has no counterpart in a metabit network: {way_out}")


def split_signs(name: str, weights: NDArray[Any]) -> tuple[Signs, NDArray[np.float64]]:
    """Weights (N, K) that are +g and -g in each row, as converters fold gains -> signs int8 (N, K) and g float64 (N,)."""
    size = np.abs(weights).max(axis=1, keepdims=True).astype(np.float64)
    if (np.abs(weights) != size).any() or not np.isfinite(size).all():
        refuse(name, "has real weights", "train it with binary weights (in Larq kernel_quantizer='ste_sign')")
    return np.where(weights >= 0, 1, -1).astype(np.int8), size[:, 0]


def signs_of(name: str, hidden: NDArray[Any]) -> Signs:
    """Signs int8 of finite hidden weights, +1 where they are >= 0."""
    finite(name, hidden)
    return np.where(hidden >= 0, 1, -1).astype(np.int8)


@dataclass
class _Open:
    """A layer whose sign has not come yet: the number of a unit is gain * a + offset so far."""

    layer: ForeignLayer
    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    normalised: bool = False


class Chain:
    """The steps of one file. tool: for reports. shape: of one input, (H, W, C) or (F,)."""

    def __init__(self, tool: str, shape: tuple[int, ...]) -> None:
        if not (len(shape) in (1, 3) and min(shape) >= 1 and math.prod(shape) <= MAX_IMAGE):
            raise ExportError(f"one input of this {tool} network has the shape {shape}: a metabit network takes (features,) or "
                              f"(height, width, channels) of at most {MAX_IMAGE} numbers")  # fmt: skip
        self.tool, self.shape, self.features = tool, shape, math.prod(shape)
        self.layers: list[ForeignLayer] = []
        self.signs_first = False
        self.numbers: Numbers | None = None
        self._before = Affine(np.ones(1), np.zeros(1))
        self._open: _Open | None = None
        self._pad: tuple[str, tuple[tuple[int, int], tuple[int, int]], float] | None = None
        self._softmax: str | None = None
        self.signed = False

    @property
    def begun(self) -> bool:
        """True behind the first layer of weights."""
        return bool(self.layers) or self._open is not None

    @property
    def unnormalised(self) -> str | None:
        """Name of the layer whose sums these are as they are; None elsewhere."""
        return None if self._open is None or self._open.normalised else self._open.layer.name

    def softmax(self, name: str) -> None:
        """Softmax keeps the order of classes, but not the sign of a number: it counts as nothing if no other step comes."""
        self._softmax = name

    def _goes_on(self, padded: bool = False) -> None:
        """Refuses a step behind a softmax, and one behind a padding, unless it takes `padded` pictures."""
        if self._softmax is not None:
            refuse(
                self._softmax,
                "is a softmax that other layers follow",
                "take a sign there, and softmax at the end alone",
            )
        if self._pad is not None and not padded:
            refuse(
                self._pad[0],
                "pads something other than the input of a convolution",
                "pad directly before a convolution",
            )

    def affine(self, name: str, gain: NDArray[Any], offset: NDArray[Any]) -> None:
        """number = gain * number + offset, for each unit, channel or feature, or one for all."""
        self._goes_on()
        gain, offset = np.asarray(gain, np.float64), np.asarray(offset, np.float64)
        finite(name, gain, offset)
        units = self.shape[-1] if self._open is None else len(self._open.gain)
        if any(values.size not in (1, units) for values in (gain, offset)):
            refuse(name, f"has {max(gain.size, offset.size)} gains for {units} units", "normalise each unit or channel")
        gain, offset = (values.reshape(-1) if values.size > 1 else values.reshape(()) for values in (gain, offset))
        if self._open is not None:
            now = self._open
            now.gain, now.offset, now.normalised = now.gain * gain, now.offset * gain + offset, True
        elif self.signed:
            refuse(name, "normalises signs", "normalise the sums before the sign")
        else:
            gain, offset = (
                np.broadcast_to(values, self.shape).reshape(-1) if values.size > 1 else values
                for values in (gain, offset)
            )
            self._before = Affine(self._before.gain * gain, self._before.offset * gain + offset)

    def quantise(self, name: str, low: float, step: float, levels: int) -> None:
        """Numbers before the first layer become low, low + step .. (levels numbers): the device takes these, counted from 0."""
        self._goes_on()
        if self.begun or self.signed or not 2 <= levels <= 256:
            refuse(
                name,
                f"quantises to {levels} levels",
                "train with activations of 1 bit, and inputs of at most 8",
            )
        self._before, self.numbers = Affine(np.ones(1), np.zeros(1)), Numbers(low, step)

    def sign(self) -> None:
        """+1 where the number is >= 0, else -1."""
        self._goes_on()
        if self._open is not None:
            self._close(Affine(self._open.gain, self._open.offset))
        elif not self.layers:
            self.signs_first = True
        self.signed = True

    def steps(self, name: str, theta: NDArray[Any], falling: NDArray[Any] | None = None) -> None:
        """Signs by thresholds of the sums themselves: +1 where a >= theta, or a < theta where falling."""
        self._goes_on()
        now = self._open
        if now is None or (now.gain != 1).any() or now.offset.any():
            refuse(name, "compares numbers that are no sums", "put thresholds directly behind a layer of weights")
        if np.shape(theta) != now.gain.shape:
            raise ExportError(
                f"layer {name!r} has {np.size(theta)} thresholds for {len(now.gain)} units: this file is damaged"
            )
        falls = np.zeros(len(theta), np.bool_) if falling is None else falling
        self._close(Steps(np.asarray(theta, np.int64), np.asarray(falls, np.bool_)))
        self.signed = True

    def pool(self, name: str, size: tuple[int, int], stride: tuple[int, int], same: bool = False) -> None:
        """Maximum over squares."""
        self._goes_on()
        if size == (1, 1) and stride == (1, 1):
            return
        layer = self._open.layer if self._open is not None else self.layers[-1] if self.layers else None
        if layer is None or layer.geometry is None or len(self.shape) != 3:
            refuse(name, "pools something other than the result of a convolution", "pool after a convolution")
        rest = any(side % size[0] for side in self.shape[:2])
        if len({*size, *stride}) != 1 or (same and rest):
            refuse(
                name,
                f"pools {size} with strides {stride}{' and padding' if same else ''}",
                "pool squares without overlap or padding",
            )
        if layer.geometry.pool != 1:
            refuse(name, "pools twice", "pool once after a convolution, with a larger square")
        pooled = replace(layer, geometry=replace(layer.geometry, pool=size[0]), pool_first=self._open is not None)
        if self._open is not None:
            # with gains above 0 the largest number is that of the largest sum
            self._open.layer = opposite(pooled, (self._open.gain < 0)[:, None])
            self._open.gain = np.abs(self._open.gain)
        else:
            self.layers[-1] = pooled
        self.shape = (self.shape[0] // size[0], self.shape[1] // size[0], self.shape[2])
        if min(self.shape) < 1:
            refuse(name, "leaves nothing of the picture", "use a smaller square")

    def flatten(self, name: str) -> None:
        """(H, W, C) -> (H * W * C,)."""
        if self._pad is not None:
            refuse(name, "flattens a padded picture", "leave the padding out")
        self.shape = (math.prod(self.shape),)

    def pad(self, name: str, rows: tuple[int, int], columns: tuple[int, int], value: float) -> None:
        """Padding of a picture by the convolution that comes next."""
        self._goes_on()
        if len(self.shape) != 3:
            refuse(name, "pads something other than the input of a convolution", "let the convolution pad")
        self._pad = (name, (rows, columns), value)

    def dense(self, name: str, weights: Signs, gain: NDArray[Any], hidden: NDArray[Any] | None = None) -> None:
        """Sums of weights int8 (N, K), times gain (N,)."""
        if len(self.shape) != 1 and math.prod(self.shape[:-1]) != 1:
            refuse(name, f"is a dense layer on a picture of {self.shape}", "flatten the picture first")
        self._weigh(name, weights, gain, hidden, None, 1.0)

    def conv(
        self, name: str, filters: Signs, gain: NDArray[Any], stride: tuple[int, int], same: bool, padding: float,
        hidden: NDArray[Any] | None = None,
    ) -> None:  # fmt: skip
        """Sums of filters int8 (N, rows, columns, channels), times gain (N,)."""
        self._goes_on(padded=True)
        if len(self.shape) != 3:
            refuse(name, f"is a convolution on inputs of shape {self.shape}", "give it a picture")
        units, *kernel, channels = filters.shape
        if kernel[0] != kernel[1] or stride[0] != stride[1]:
            refuse(
                name,
                f"has a kernel of {kernel[0]} x {kernel[1]} and strides {stride}",
                "use a square kernel and one stride",
            )
        if channels != self.shape[2]:
            refuse(name, f"has filters of {channels} channels on {self.shape[2]}", "use one group")
        geometry = ConvGeometry(*self.shape, kernel[0], stride[0], same)
        if self._pad is not None:
            pad_name, pads, value = self._pad
            geometry, padding, self._pad = replace(geometry, same=True), value, None
            if same or pads != (geometry.pads(self.shape[0]), geometry.pads(self.shape[1])):
                refuse(pad_name, f"pads by {pads}", "use padding='same'")
        if geometry.same and not any((*geometry.pads(self.shape[0]), *geometry.pads(self.shape[1]))):
            geometry = replace(geometry, same=False)
        if min(geometry.convolved) < 1:
            refuse(name, f"has a kernel of {kernel[0]} pixels on a picture of {self.shape}", "use a smaller kernel")
        rows = filters.reshape(units, kernel[0] * kernel[1] * channels)
        if not geometry.same and self.shape[:2] == (kernel[0], kernel[0]):  # one place: a dense layer
            self._weigh(name, rows, gain, hidden, None, 1.0)
            self.shape = (1, 1, units)
            return
        self._weigh(name, rows, gain, hidden, geometry, padding)
        self.shape = (*geometry.convolved, units)

    def _weigh(
        self, name: str, weights: Signs, gain: NDArray[Any], hidden: NDArray[Any] | None, geometry: ConvGeometry | None,
        padding: float,
    ) -> None:  # fmt: skip
        self._goes_on()
        if self._open is not None:
            refuse(name, f"takes numbers of layer {self._open.layer.name!r}", "take signs between them (in Larq input_quantizer="
                   "'ste_sign')")  # fmt: skip
        if geometry is not None and self.layers and self.layers[-1].geometry is None:
            refuse(name, "is a convolution above a dense layer", "put convolutions first")
        units, inputs = weights.shape
        if geometry is None and inputs != math.prod(self.shape):
            raise ExportError(
                f"layer {name!r} has {inputs} weights a unit, but {math.prod(self.shape)} inputs: this file is damaged"
            )
        if not 1 <= min(units, inputs) <= max(units, inputs) <= MAX_UNITS:
            raise ExportError(
                f"layer {name!r} is {inputs} -> {units}, the format holds 1..{MAX_UNITS}: train another size"
            )
        if len(self.layers) == MAX_LAYERS:
            raise ExportError(
                f"layer {name!r} comes behind {MAX_LAYERS} others, the most that the format holds: fewer layers"
            )
        gains = np.broadcast_to(np.asarray(gain, np.float64), units)
        finite(name, gains)
        rows = None if hidden is None else np.asarray(hidden, np.float32).reshape(weights.shape)
        layer = ForeignLayer(name, weights, Affine(gains, np.zeros(units)), rows, geometry, padding)
        self._open, self.signed = _Open(layer, gains, np.zeros(units)), False
        if geometry is None:
            self.shape = (units,)

    def _close(self, decide: Affine | Steps) -> None:
        assert self._open is not None
        self.layers.append(replace(self._open.layer, decide=decide))
        self._open = None

    def finish(self, numbers: Numbers | None = None) -> Foreign:
        """The network. Raises ExportError if it does not end in the numbers of classes."""
        if self._open is None or self._open.layer.geometry is not None:
            last = self.layers[-1].name if self.layers else "input"
            raise ExportError(f"this {self.tool} network ends behind {last!r} without a dense layer that gives a number for each "
                              "class: a metabit network is a classifier, end in a dense layer of binary weights")  # fmt: skip
        self._close(Affine(self._open.gain, self._open.offset))
        return Foreign(
            self.tool, tuple(self.layers), self.features, self._before, self.signs_first, numbers or self.numbers
        )
