"""Cost of a network, layer by layer: bytes, products and thresholds, and how its levels are spread."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.files.image import layer_bytes
from metabit.export.frozen import (
    ConvLayer,
    Cuts,
    DenseLayer,
    Encode,
    Frozen,
    GatesLayer,
    GradedLayer,
    HeadLayer,
    Layer,
    LevelsLayer,
    OutputLayer,
    TriplesLayer,
)


@dataclass(frozen=True)
class LayerCost:
    """A layer, or the encoder, in numbers.

    Args:
        kind: "encode", "cuts", or the layer's kind.
        shape: of the weights, (N, K), or of the thresholds of an encoder, (P, F).
        flash, state: bytes of `layer_bytes`.
        weights: numbers that a network of floats would store as weights: N * K, and those of a head's scores.
        binary: products of a weight of 1 bit with an input of 1 bit, for one prediction; sums of a byte with a weight of 1 bit
            count here as 8.
        wider: products of numbers of more bits, for one prediction.
        thresholds: least, middle and largest number to which a unit, or a feature, is compared; None without one.
        levels: level -> weights that have it, for a layer of levels.
    """

    kind: str
    shape: tuple[int, int]
    flash: int
    state: int
    weights: int = 0
    binary: int = 0
    wider: int = 0
    thresholds: tuple[int, int, int] | None = None
    levels: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """All layers, and the bytes of the same shape in floats and in int8.

    Args:
        layers: encoder first, if there is one.
        float32: bytes of weights and of one bias for each unit, as float32.
        int8: the same, weights as int8 and biases as int32.
    """

    layers: tuple[LayerCost, ...]
    float32: int
    int8: int

    @property
    def weights(self) -> int:
        return sum(layer.weights for layer in self.layers)

    @property
    def binary(self) -> int:
        return sum(layer.binary for layer in self.layers)

    @property
    def wider(self) -> int:
        return sum(layer.wider for layer in self.layers)


def cost(frozen: Frozen) -> Cost:
    """The cost of a network. Raises ExportError if it exceeds a limit of the image format."""
    sizes = layer_bytes(frozen)
    found: list[LayerCost] = []
    if frozen.encode is not None:
        found.append(_encoder(frozen.encode, *sizes[0]))
    found += [_layer(layer, *size) for layer, size in zip(frozen.layers, sizes[len(found) :], strict=True)]
    weights = sum(layer.weights for layer in found)
    units = sum(len(layer.hidden) for layer in frozen.layers)
    return Cost(tuple(found), 4 * (weights + units), weights + 4 * units)


def _encoder(encode: Encode | Cuts, flash: int, state: int) -> LayerCost:
    if isinstance(encode, Cuts):
        return LayerCost("cuts", (encode.planes, encode.cuts.shape[1]), flash, state, thresholds=_middle(encode.cuts))
    return LayerCost("encode", (encode.planes, encode.features), flash, state, thresholds=_middle(encode.thresholds))


def _layer(layer: Layer, flash: int, state: int) -> LayerCost:
    (units, inputs), weights = layer.hidden.shape, layer.hidden.size
    binary, wider, thresholds = 0, 0, None
    if isinstance(layer, ConvLayer):
        binary, thresholds = math.prod(layer.geometry.convolved) * weights, _middle(layer.theta)
    elif isinstance(layer, GradedLayer):
        binary, thresholds = layer.planes * weights, _middle(layer.theta)
    elif isinstance(layer, DenseLayer):
        binary, thresholds = weights, _middle(layer.theta)
    elif isinstance(layer, GatesLayer):
        # A unit's place is sum * mul + add: it is surest where that is 0, at the sum -add / mul.
        binary, thresholds = weights, _middle(-layer.add.astype(np.int64) // np.where(layer.mul == 0, 1, layer.mul))
    elif isinstance(layer, OutputLayer) and layer.takes != "grades":
        binary = weights
    else:
        assert isinstance(layer, LevelsLayer | HeadLayer | TriplesLayer | OutputLayer)
        wider = weights
    if layer.takes == "bytes":
        binary *= 8
    told = Counter(layer.hidden.ravel().tolist()) if layer.bits > 1 and not isinstance(layer, HeadLayer) else {}
    return LayerCost(
        layer.kind, (units, inputs), flash, state, weights, binary, wider, thresholds, dict(sorted(told.items()))
    )


def _middle(values: NDArray[Any]) -> tuple[int, int, int]:
    """Least, middle and largest."""
    ordered = np.sort(values, axis=None)
    return int(ordered[0]), int(ordered[len(ordered) // 2]), int(ordered[-1])
