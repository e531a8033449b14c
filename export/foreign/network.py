"""A network of another tool in neutral terms, and the metabit network that decides as it does.

A reader describes what its file holds as `Foreign`: layers of weights +1 and -1, each with what becomes of its sums (`Affine` or
`Steps`). `build` makes integers of it. Every hidden unit then gives the sign that the file's exact arithmetic gives; a score of a
class is the file's number times one factor for all classes, rounded (`scores`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.foreign.thresholds import Floats, first_reaching, scores
from metabit.export.freeze import batchnorm
from metabit.export.freeze.levels import generator_state, quantise, tables
from metabit.export.freeze.visits import VisitOptions, visit_dose
from metabit.export.frozen import ConvGeometry, ConvLayer, DenseLayer, Encode, Frozen, Layer, OutputLayer, Rule, Takes

Hidden = Literal["surest", "least", "file"]
HIDDEN: tuple[Hidden, ...] = ("surest", "least", "file")
IMPORT_M = 1.35
"""Metaplasticity of an imported network, for hidden weights from -1 to 1: no file of others says one (docs/formats.md)."""
Signs = NDArray[np.int8]


@dataclass(frozen=True)
class Affine:
    """The number of a unit is gain * a + offset, a its sum; float64 (N,). A hidden unit gives +1 where it is >= 0, else -1."""

    gain: Floats
    offset: Floats


@dataclass(frozen=True)
class Steps:
    """A unit gives +1 where its sum is >= theta, and where it is below theta if it is falling. int64 (N,), bool (N,)."""

    theta: NDArray[np.int64]
    falling: NDArray[np.bool_]


@dataclass(frozen=True)
class Numbers:
    """The numbers for which a device's integers stand: q is step * q + low.

    bits: q is 0 or 1, one packed bit; otherwise a byte.
    """

    low: float
    step: float
    bits: bool = False

    @classmethod
    def parse(cls, text: str) -> Numbers:
        """From "LOW,HIGH" (bytes 0 and 255), "LOW,HIGH,TOP" (bytes 0 and TOP), "bits" (0 and 1) or "signs" (bits for -1 and +1)."""
        if text in ("bits", "signs"):
            return cls(0.0, 1.0, True) if text == "bits" else cls(-1.0, 2.0, True)
        try:
            low, high, *more = (float(part) for part in text.split(","))
            (top,) = more or [255.0]
            if not (high > low and top > 0 and np.isfinite([low, high, top]).all()):
                raise ValueError
        except ValueError:
            raise ExportError(
                f"numbers={text!r}: give LOW,HIGH, the numbers that bytes 0 and 255 stand for (LOW,HIGH,TOP: 0 and TOP), bits or "
                "signs"
            ) from None
        return cls(low, (high - low) / top)


@dataclass(frozen=True)
class ForeignLayer:
    """One layer of weights +1 and -1.

    name: in the file, for errors.
    weights: int8 (N, K), +1 and -1; of a convolution K = (row, column, channel), channel fastest.
    decide: what becomes of the sums. The last layer has `Affine`: the numbers of the classes.
    hidden: float (N, K), the numbers behind the weights, where the file has them.
    geometry: of a convolution, with its pool; None for a dense layer.
    padding: value of the padding, where geometry.same.
    pool_first: sums are pooled before `decide`, not the signs after it. It matters where a gain is negative.
    """

    name: str
    weights: Signs
    decide: Affine | Steps
    hidden: NDArray[Any] | None = None
    geometry: ConvGeometry | None = None
    padding: float = 1.0
    pool_first: bool = False


@dataclass(frozen=True)
class Foreign:
    """A chain of layers, convolutions first.

    tool: what wrote the file, for reports.
    features: numbers of one input; of a picture in the order (row, column, channel).
    before: what becomes of the inputs before the first layer, float64 () or (features,); often gain 1, offset 0.
    signs: the first layer takes the signs of these numbers, +1 where they are >= 0, not the numbers.
    numbers: which numbers the inputs are, if the file says so.
    assumed: a sentence about what the file does not say.
    """

    tool: str
    layers: tuple[ForeignLayer, ...]
    features: int
    before: Affine
    signs: bool
    numbers: Numbers | None = None
    assumed: str = ""


def build(
    foreign: Foreign,
    options: VisitOptions | None = None,
    hidden: Hidden | None = None,
    numbers: Numbers | None = None,
) -> Frozen:
    """The metabit network of a network of another tool, which learns on by visits in its dense layers.

    options: m left out is IMPORT_M, in units of hidden weights that reach from -1 to 1.
    hidden: the levels of the dense layers start at the "surest" or the "least" sure level of each sign, or where the hidden
        weights of the "file" stand. None: "file" if it has them, else "surest".
    numbers: which numbers the device's integers stand for; the file's, if it says so and this is None.

    Raises ExportError, with the layer's name and the way out, for what has no counterpart.
    """
    o, numbers = options or VisitOptions(), numbers or foreign.numbers
    if hidden is None:
        hidden = "file" if all(layer.hidden is not None for layer in foreign.layers) else "surest"
    if hidden not in HIDDEN:
        raise ExportError(f"hidden={hidden!r}: must be one of {', '.join(HIDDEN)}")
    if foreign.numbers not in (None, numbers):
        raise ExportError(f"this file of {foreign.tool} says which numbers its inputs are: leave out numbers=")
    if numbers is None:
        raise ExportError(
            f"this file of {foreign.tool} does not say which numbers its {foreign.features} inputs are: add numbers=LOW,HIGH, "
            "the numbers that bytes 0 and 255 stand for, such as numbers=-1,1 (or bits, or signs)"
        )
    first, encode = _first(foreign, numbers)
    takes: Takes = "bits" if numbers.bits or encode is not None else "bytes"
    layers: list[Layer] = []
    todo, scale = [first, *(_padded(layer, 1.0) for layer in foreign.layers[1:])], 1.0
    for i, layer in enumerate(todo):
        last = i == len(todo) - 1
        if last and takes == "bytes":
            raise ExportError(f"layer {layer.name!r} goes from bytes to classes, which the device could never teach: train a "
                              "hidden layer below it, or give the inputs as bits")  # fmt: skip
        k = 1 if layer.geometry is not None or takes == "bytes" else o.bits
        levels, delta = _levels(layer, k, hidden)
        rule = None
        if k > 1:
            m = IMPORT_M if o.m is None else o.m
            rule = Rule(*tables(m, delta, k, o.strengthen), visit_dose(o.visit_rate, len(levels)))
        if last:
            if not isinstance(layer.decide, Affine) or layer.geometry is not None:
                raise ExportError(
                    f"layer {layer.name!r} is the last, and gives no number for each class: end in a dense layer"
                )
            falling = layer.decide.gain < 0  # the levels of a class are to move with its score
            levels = np.where(falling[:, None], -1 - levels, levels).astype(np.int8)
            mul, add, scale = scores(np.abs(layer.decide.gain), layer.decide.offset, layer.weights.shape[1], k > 1)
            layers.append(OutputLayer(levels, k, takes, mul, add, rule))
            break
        most = layer.weights.shape[1] * (255 if takes == "bytes" else 1)
        levels, theta, turned = _thresholds(layer, levels, most)
        todo[i + 1] = _turned(layer, todo[i + 1], turned)
        if layer.geometry is not None:
            layers.append(ConvLayer(levels, 1, takes, theta, layer.geometry))
        else:
            window = 0 if takes == "bytes" else _window(layer, o.ste_window)
            ternary = o.backward != "exact" and any(below.learns for below in layers)
            layers.append(DenseLayer(levels, k, takes, theta, window, rule, ternary))
        takes = "signs"
    temperature = int(np.clip(round(4096 * 16 / scale / o.temperature), 1, 65535))
    return Frozen(tuple(layers), encode, temperature, round(4096 * o.skip_below), generator_state(o.seed))


def _first(foreign: Foreign, numbers: Numbers) -> tuple[ForeignLayer, Encode | None]:
    """The first layer as a layer on the device's integers, and the thresholds that make bits of bytes, if it takes signs."""
    layer, before = foreign.layers[0], foreign.before
    gain, offset = before.gain * numbers.step, before.gain * numbers.low + before.offset  # of q, before the layer
    encode = None
    if foreign.signs:
        limits, turned = first_reaching(
            np.broadcast_to(gain, foreign.features), np.broadcast_to(offset, foreign.features)
        )
        beyond = limits > (1 if numbers.bits else 255)  # never reached: always reached, with the other sign
        limits, turned = np.where(beyond, 0, limits), turned ^ beyond
        if numbers.bits and (limits != 1).any():
            raise ExportError(f"layer {layer.name!r} takes signs of inputs, and feature {int((limits != 1).argmax())} has the same "
                              "sign for bits 0 and 1: give numbers=signs, or numbers=LOW,HIGH of bytes")  # fmt: skip
        if not numbers.bits:
            encode = Encode(np.maximum(limits, 0).astype(np.uint8)[None, :])
        layer = _turned(None, _padded(layer, 1.0), turned)
        gain, offset = np.full(1, 2.0), np.full(1, -1.0)  # of a bit
    elif np.ptp(gain) or np.ptp(offset):
        raise ExportError(f"layer {layer.name!r} takes numbers that were normalised feature by feature, and a weight is +1 or -1: "
                          "normalise the data before the network, or take signs after the normalisation")  # fmt: skip
    else:
        gain, offset = gain.reshape(-1)[:1], offset.reshape(-1)[:1]
        layer = _padded(layer, float(gain[0] * (1 if numbers.bits else 255) + offset[0]))
    if not gain[0] > 0:
        raise ExportError(f"layer {layer.name!r} takes inputs times {gain[0]:.3g}: the factor must be above 0")
    if isinstance(layer.decide, Steps):
        if (gain[0], offset[0]) != (2, -1):
            raise ExportError(
                f"layer {layer.name!r} has thresholds for sums of signs, but takes numbers: give numbers=signs"
            )
        total = layer.weights.sum(1, dtype=np.int64)
        return replace(layer, decide=replace(layer.decide, theta=-((-layer.decide.theta - total) // 2))), encode
    total = layer.weights.sum(1, dtype=np.float64)
    decide = Affine(layer.decide.gain * gain, layer.decide.offset + layer.decide.gain * offset * total)
    return replace(layer, decide=decide), encode


def _padded(layer: ForeignLayer, value: float) -> ForeignLayer:
    """The layer, if its padding is `value`: metabit pads with +1, a bit that is on or byte 255."""
    same = layer.geometry is not None and layer.geometry.same
    if same and abs(layer.padding - value) > 1e-6 * max(1.0, abs(value)):
        raise ExportError(f"layer {layer.name!r} pads with {layer.padding:g}, metabit with {value:g}, the highest input: train "
                          f"with padding 'valid' or pad_values={value:g}")  # fmt: skip
    return layer


def _levels(layer: ForeignLayer, k: int, hidden: Hidden) -> tuple[Signs, float]:
    """Levels int8 (N, K) of k bits, and their width in units of hidden weights that reach from -1 to 1."""
    top = 2 ** (k - 1)
    if hidden == "file" and k > 1:
        if layer.hidden is None:
            raise ExportError(
                f"layer {layer.name!r} has signs only, no hidden weights: choose hidden=surest or hidden=least"
            )
        levels, _ = quantise(np.asarray(layer.hidden, np.float64), k)  # so that the largest hidden weights reach 1
        if ((levels >= 0) != (layer.weights > 0)).any():
            raise ExportError(
                f"layer {layer.name!r} has hidden weights of other signs than its weights: choose hidden=surest"
            )
        return levels, 1 / top
    far = top - 1 if hidden == "surest" else 0
    return np.where(layer.weights > 0, far, -1 - far).astype(np.int8), 1 / top


def _thresholds(layer: ForeignLayer, levels: Signs, most: int) -> tuple[Signs, NDArray[np.int32], NDArray[np.bool_]]:
    """Levels and theta of a hidden layer, and the units that give the opposite of the file's sign."""
    if isinstance(layer.decide, Steps):
        theta, falling = layer.decide.theta, layer.decide.falling
    else:
        theta, falling = first_reaching(layer.decide.gain, layer.decide.offset)
    turned = np.zeros(len(theta), np.bool_)
    if layer.pool_first and layer.geometry is not None and layer.geometry.pool > 1:
        turned = falling  # the largest sum is below theta: that is the opposite of "some sum is not"
    else:
        levels = np.where(falling[:, None], -1 - levels, levels).astype(np.int8)
        theta = np.where(falling, 1 - theta, theta)  # a < theta is -a >= 1 - theta
    return levels, np.clip(theta, -most, most + 1).astype(np.int32), turned


def _turned(below: ForeignLayer | None, layer: ForeignLayer, turned: NDArray[np.bool_]) -> ForeignLayer:
    """The layer above units (or inputs) that give the opposite sign: the weights of these inputs are negated."""
    if not turned.any():
        return layer
    name = below.name if below is not None else "the normalisation of the inputs"
    if layer.geometry is not None and layer.geometry.same:
        raise ExportError(f"{name!r} has a negative gain and the padding of layer {layer.name!r} would change its sign: pad "
                          "nothing there (padding='valid'), take signs before the pool, or train with gains above 0")  # fmt: skip
    units, columns = len(turned), layer.weights.shape[1]
    if layer.geometry is not None and units != layer.geometry.channels:
        pixels = turned.reshape(-1, layer.geometry.channels)
        if (pixels != pixels[0]).any():
            raise ExportError(
                f"{name!r} turns some pixels of a channel only, and the weights of layer {layer.name!r} are those of all"
            )
        turned, units = pixels[0], layer.geometry.channels
    return opposite(layer, np.tile(turned, columns // units))


def opposite(layer: ForeignLayer, where: NDArray[np.bool_]) -> ForeignLayer:
    """The layer with opposite weights where `where`, bool (N, 1) or (K,), is true."""
    hidden = layer.hidden
    if hidden is not None:  # a hidden weight of 0 stands for +1: its opposite is the nearest number below 0
        hidden = np.where(where, np.where(hidden == 0, -np.finfo(np.float32).tiny, -hidden), hidden)
    return replace(layer, weights=np.where(where, -layer.weights, layer.weights), hidden=hidden)


def _window(layer: ForeignLayer, factor: float) -> int:
    """The straight-through window: of the normalisation, or of sums that spread as those of random signs do."""
    if isinstance(layer.decide, Affine):
        return batchnorm.ste_window(layer.decide.gain, factor)
    return batchnorm.ste_window(np.full(1, 1 / np.sqrt(layer.weights.shape[1])), factor)
