"""The shape of a network, as plain data: validated, JSON both ways, no torch.

Letters: F features, P thermometer planes, N units (outputs) of a layer, K its inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from metabit.train.errors import TrainError

Norm = Literal["batch", "static"]
Output = Literal["learned", "code"]
Thresholds = Sequence[int] | Sequence[Sequence[int]] | NDArray[np.integer[Any]]

MAX_PLANES = 8
MAX_UNITS = 16384
MAX_LAYERS = 16
MAX_INPUTS = 1 << 24  # above it a float32 accumulator is no longer an exact integer
NORM_EPS = 1e-5
"""Added to the variance by "batch" normalisation; whoever folds the normalisation needs it."""


@dataclass(frozen=True)
class Spec:
    """A dense binary network: encode, hidden layers, output.

    Args:
        features: F, 1..2**24, uint8 values of one input.
        hidden: units of each hidden layer, each 1..16384, at most 15 layers; may be empty if the output is learned.
        classes: 2..16384.
        encode: thermometer thresholds 0..255: P numbers (1..8) shared by all features, or (P, F). Input bit
            ``p * F + f`` is then ``features[f] >= thresholds[p, f]``. None: the features are themselves bits, 0 or 1.
        norm: "batch" is BatchNorm (running statistics, gain and bias), after every trained layer. "static" divides by √K
            and has no parameters.
        output: "learned" is a binary layer like the others, "code" a fixed ±1 code (`metabit.train.output_code`) of
            static scale: what is not trained has nothing to normalise, and the margins it leaves are what a device that
            goes on learning lives on.
        seed: 0..2**63-1, of the initial hidden weights and the code: one spec is one initial network.

    Raises:
        TrainError: a value is outside its range; the message names the field, the value and the range.
    """

    features: int
    hidden: tuple[int, ...]
    classes: int
    encode: Thresholds | None = None
    norm: Norm = "batch"
    output: Output = "learned"
    seed: int = 0

    def __post_init__(self) -> None:
        features = _whole("features", self.features, 1, MAX_INPUTS)
        if isinstance(self.hidden, str) or not isinstance(self.hidden, Sequence):
            raise TrainError(f"hidden={self.hidden!r}: must be a list of unit counts, such as (512,) or ()")
        hidden = tuple(_whole(f"hidden[{i}]", units, 1, MAX_UNITS) for i, units in enumerate(self.hidden))
        if len(hidden) >= MAX_LAYERS:
            raise TrainError(f"hidden has {len(hidden)} layers: at most {MAX_LAYERS - 1}, besides the output")
        _one_of("norm", self.norm, get_args(Norm))
        _one_of("output", self.output, get_args(Output))
        if self.output == "code" and not hidden:
            raise TrainError("output='code' with hidden=() leaves nothing to train: add a hidden layer")
        normal = {
            "features": features,
            "hidden": hidden,
            "classes": _whole("classes", self.classes, 2, MAX_UNITS),
            "encode": None if self.encode is None else _thresholds(self.encode, features),
            "seed": _whole("seed", self.seed, 0, 2**63 - 1),
        }
        for name, value in normal.items():
            object.__setattr__(self, name, value)
        if self.input_bits > MAX_INPUTS:
            raise TrainError(f"encode gives {self.input_bits} input bits: at most {MAX_INPUTS}, use fewer planes")

    @property
    def thresholds(self) -> NDArray[np.uint8] | None:
        """uint8 (P, F), or None where there is no encoder."""
        if self.encode is None:
            return None
        rows = np.asarray(self.encode, dtype=np.uint8)
        return np.repeat(rows[:, None], self.features, axis=1) if rows.ndim == 1 else rows

    @property
    def input_bits(self) -> int:
        """Inputs of the first layer: P * F, or F without an encoder."""
        return self.features * (1 if self.encode is None else len(self.encode))

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(N, K) of every layer, hidden first, output last."""
        sizes = (self.input_bits, *self.hidden, self.classes)
        return tuple((units, inputs) for inputs, units in zip(sizes[:-1], sizes[1:], strict=True))

    @property
    def trained(self) -> int:
        """How many layers have hidden weights: all, or all but the output code."""
        return len(self.hidden) + (self.output == "learned")

    def normalised(self, layer: int) -> bool:
        """Whether this layer, counted from 0, has the parameters of a batch normalisation."""
        return self.norm == "batch" and layer < self.trained

    def per_layer(self, m: float | Sequence[float]) -> tuple[float, ...]:
        """One metaplasticity for each trained layer, from a number (for all of them) or a list (one for each).

        Raises:
            TrainError: wrong count, or a value that is not a finite number >= 0.
        """
        values = (m,) * self.trained if isinstance(m, int | float | np.floating) else tuple(m)
        if len(values) != self.trained:
            raise TrainError(
                f"m has {len(values)} values: give one number, or one for each of {self.trained} trained layers"
            )
        for value in values:
            if not 0 <= value < math.inf:
                raise TrainError(f"m={value}: must be a finite number >= 0")
        return tuple(float(value) for value in values)

    def tensors(self) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
        """Name -> (dtype, shape) of every tensor that a network of this spec consists of, and a checkpoint holds.

        ``encode.thresholds`` uint8 (P, F). Per layer i: ``layers.{i}.hidden`` float32 (N, K), or for the output code
        ``layers.{i}.code`` int8 (N, K); `normalised` layers also have ``layers.{i}.norm.`` weight, bias, mean and
        var, each float32 (N,).
        """
        names: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {}
        if self.thresholds is not None:
            names["encode.thresholds"] = (np.uint8, self.thresholds.shape)
        for i, (units, inputs) in enumerate(self.shapes):
            if i < self.trained:
                names[f"layers.{i}.hidden"] = (np.float32, (units, inputs))
            else:
                names[f"layers.{i}.code"] = (np.int8, (units, inputs))
            if self.normalised(i):
                for part in ("weight", "bias", "mean", "var"):
                    names[f"layers.{i}.norm.{part}"] = (np.float32, (units,))
        return names

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` gives back an equal spec."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Spec:
        """The spec that `to_dict` wrote, or one read from a user's JSON.

        Raises:
            TrainError: a field is unknown, missing or out of range.
        """
        known = [field.name for field in fields(Spec)]
        for name in values:
            if name not in known:
                raise TrainError(f"spec has an unknown field {name!r}: the fields are {', '.join(known)}")
        for name in ("features", "hidden", "classes"):
            if name not in values:
                raise TrainError(f"spec has no field {name!r}: features, hidden and classes are required")
        return Spec(**values)


def _whole(name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise TrainError(f"{name}={value!r}: must be an integer from {low} to {high}")
    return int(value)


def _one_of(name: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise TrainError(f"{name}={value!r}: must be {' or '.join(repr(choice) for choice in choices)}")


def _thresholds(encode: Thresholds, features: int) -> tuple[int, ...] | tuple[tuple[int, ...], ...]:
    """Canonical form: flat where all features share their thresholds, which keeps the JSON short."""
    try:
        rows = np.asarray(encode)
    except ValueError:
        raise TrainError("encode has rows of different lengths: give P thresholds, or P rows of F") from None
    if rows.ndim not in (1, 2) or not 1 <= rows.shape[0] <= MAX_PLANES:
        raise TrainError(f"encode has shape {rows.shape}: give 1 to {MAX_PLANES} thresholds, or rows of F={features}")
    if rows.ndim == 2 and rows.shape[1] != features:
        raise TrainError(f"encode has {rows.shape[1]} columns: one for each of the {features} features")
    if not np.issubdtype(rows.dtype, np.integer) or rows.min() < 0 or rows.max() > 255:
        raise TrainError("encode holds a threshold that is not an integer from 0 to 255: features are uint8")
    if rows.ndim == 2 and (rows == rows[:, :1]).all():
        rows = rows[:, 0]
    if rows.ndim == 1:
        return tuple(int(value) for value in rows)
    return tuple(tuple(int(value) for value in row) for row in rows)
