"""The shape of a network, as plain data: validated, JSON both ways, no torch.

Letters: F features, P thermometer planes, N units (outputs, or channels) of a layer, K inputs of one unit, H and W the
height and width of an image, C its channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from metabit.data.task import MAX_PLANES
from metabit.train.errors import TrainError

Norm = Literal["batch", "instance", "static"]
Output = Literal["learned", "code"]
Input = Literal["bits", "uint8"]
Gamma = Literal["ones", "uniform"]
Statistics = Literal["running", "batch"]
Units = Literal["sign", "graded"]
Padding = Literal["valid", "same"]
Thresholds = Sequence[int] | Sequence[Sequence[int]] | NDArray[np.integer[Any]]

MAX_UNITS = 16384
MAX_LAYERS = 16
MAX_GRADED = 1024
MAX_GRADED_BITS = 16384
MAX_RAMP = 2047
MAX_INPUTS = 1 << 24  # above it a float32 accumulator is no longer an exact integer
NORM_EPS = 1e-5
"""Added to the variance by "batch" normalisation; whoever folds the normalisation needs it."""


@dataclass(frozen=True)
class Conv:
    """A binary convolution: ±1 weights, norm, sign, then the OR of each pool x pool square of bits.

    Args:
        channels: N, 1..16384.
        kernel: height and width of the window, 1..31.
        stride: 1..31.
        padding: "valid" is none. "same" surrounds the image with +1 (a bit that is on; 255 for uint8 input) so that
            stride 1 keeps its size, ⌈H / stride⌉ in general; of an odd number of rows the larger half lies below.
        pool: side of the squares, 1..31; 1 is no pooling. What does not fill a square is dropped.

    Raises:
        TrainError: a value is outside its range.
    """

    channels: int
    kernel: int = 3
    stride: int = 1
    padding: Padding = "valid"
    pool: int = 1

    def __post_init__(self) -> None:
        _whole("channels", self.channels, 1, MAX_UNITS)
        for name in ("kernel", "stride", "pool"):
            _whole(name, getattr(self, name), 1, 31)
        _one_of("padding", self.padding, get_args(Padding))

    def pads(self, size: int) -> tuple[int, int]:
        """Rows of +1 before and after an image side of this size."""
        if self.padding == "valid":
            return 0, 0
        total = max(0, (math.ceil(size / self.stride) - 1) * self.stride + self.kernel - size)
        return total // 2, total - total // 2

    def side(self, size: int) -> tuple[int, int]:
        """Height or width after the convolution, and after the pooling; < 1 where the image is too small."""
        convolved = (size + sum(self.pads(size)) - self.kernel) // self.stride + 1
        return convolved, convolved // self.pool


@dataclass(frozen=True)
class Spec:
    """A binary network: encode, convolutions, dense hidden layers, output.

    Args:
        features: F, 1..2**24, uint8 values of one input.
        hidden: units of each hidden layer, each 1..16384, at most 15 layers; may be empty if the output is learned.
        classes: 2..16384.
        encode: thermometer thresholds 0..255: P numbers (1..8) shared by all features, or (P, F). Input bit
            ``p * F + f`` is then ``features[f] >= thresholds[p, f]``. None: see input.
        norm: what follows every trained layer. "batch" is BatchNorm; "instance" normalises each sample by itself (a dense
            layer over its units, a convolution each channel over its pixels), without parameters; "static" divides by
            √K and has no parameters. Only "batch" and "static" fold into thresholds on a device.
        output: "learned" is a binary layer like the others, "code" a fixed ±1 code (`metabit.train.network.output_code`) of
            static scale: what is not trained has nothing to normalise, and the margins it leaves are what a device that
            goes on learning lives on.
        seed: 0..2**63-1, of the initial hidden weights, gains and code: one spec is one initial network.
        input: what the first layer sees without encode. "bits": the features are 0 or 1. "uint8": the values 0..255 as
            they are, and the norm divides its sums by 255; the sums stay exact integers. With encode it is "bits".
        image: (H, W, C) with H·W·C = F, the features then lie in that order (C fastest). Needed by conv, else only noted.
        conv: convolutions before the hidden layers, first to last.
        gamma_init: initial gains of "batch": "ones", or "uniform" in 0..1, as torch 1.1 had it when the paper was written.
        affine: whether "batch" learns a gain and a bias; if not they stay 1 and 0.
        statistics: of "batch" at test: "running" averages (what a device has), or those of the test "batch" itself.
        units: of the hidden layer. "sign": ±1, what norm decides. "graded": gates (`metabit.train.network.gates`), which go on
            learning by votes on a device. There is then one hidden layer, of at most 1024 units; its planes, at most
            16384 bits, share one weight for each feature, so it needs encode; norm "static" and output "code", and
            scores come out in units of half their standard deviation over the classes.
        ramp: of graded units: open up to the first and closed from the second on, in 1/256 of the layer's mean |sum|;
            0 <= first < second <= 2047.

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
    input: Input = "bits"
    image: tuple[int, int, int] | None = None
    conv: tuple[Conv, ...] = ()
    gamma_init: Gamma = "ones"
    affine: bool = True
    statistics: Statistics = "running"
    units: Units = "sign"
    ramp: tuple[int, int] = (77, 563)

    def __post_init__(self) -> None:
        features = _whole("features", self.features, 1, MAX_INPUTS)
        if isinstance(self.hidden, str) or not isinstance(self.hidden, Sequence):
            raise TrainError(f"hidden={self.hidden!r}: must be a list of unit counts, such as (512,) or ()")
        hidden = tuple(_whole(f"hidden[{i}]", units, 1, MAX_UNITS) for i, units in enumerate(self.hidden))
        conv = tuple(row if isinstance(row, Conv) else _conv(i, row) for i, row in enumerate(self.conv))
        if len(hidden) + len(conv) >= MAX_LAYERS:
            found = f"hidden has {len(hidden)} layers" + (f" and conv {len(conv)}" if conv else "")
            raise TrainError(f"{found}: at most {MAX_LAYERS - 1}, besides the output")
        for name, kind in _CHOICES.items():
            _one_of(name, getattr(self, name), get_args(kind))
        if not isinstance(self.affine, bool):
            raise TrainError(f"affine={self.affine!r}: must be true or false")
        if self.output == "code" and not hidden and not conv:
            raise TrainError("output='code' with hidden=() leaves nothing to train: add a hidden layer")
        normal = {
            "features": features,
            "hidden": hidden,
            "classes": _whole("classes", self.classes, 2, MAX_UNITS),
            "encode": None if self.encode is None else _thresholds(self.encode, features),
            "seed": _whole("seed", self.seed, 0, 2**63 - 1),
            "image": None if self.image is None else _image(self.image, features),
            "conv": conv,
            "ramp": _ramp(self.ramp),
        }
        for name, value in normal.items():
            object.__setattr__(self, name, value)
        if self.encode is not None and self.input == "uint8":
            raise TrainError("input='uint8' with encode: thermometer bits are bits, give only one of them")
        if self.units == "graded":
            self._check_graded()
        if self.input_bits > MAX_INPUTS:
            raise TrainError(f"encode gives {self.input_bits} input bits: at most {MAX_INPUTS}, use fewer planes")
        if self.conv and self.image is None:
            raise TrainError("conv without image: say how the features form a picture, image=(height, width, channels)")
        for i, (height, width, _) in enumerate(self.images[1:]):
            if min(height, width) < 1:
                raise TrainError(
                    f"conv[{i}] leaves an image of {height} x {width}: use fewer or smaller windows and pools"
                )
        inputs = self.shapes[0][1]
        if self.input == "uint8" and inputs * 255 > MAX_INPUTS:
            raise TrainError(
                f"{inputs} uint8 inputs of a unit may sum to {inputs * 255}: beyond {MAX_INPUTS} it is not exact"
            )

    def _check_graded(self) -> None:
        """Raises TrainError where a device has no such graded layer."""
        for name, value, needed in (("norm", self.norm, "static"), ("output", self.output, "code")):
            if value != needed:
                raise TrainError(
                    f"{name}={value!r} with units='graded': must be {needed!r}, what a device goes on with"
                )
        if self.encode is None:
            raise TrainError("units='graded' without encode: gates count thermometer planes, give thresholds")
        if len(self.hidden) != 1 or self.conv:
            found = f"hidden has {len(self.hidden)} layers" + (f" and conv {len(self.conv)}" if self.conv else "")
            raise TrainError(f"{found}: units='graded' is one hidden layer and no convolution")
        if self.hidden[0] > MAX_GRADED or self.classes > MAX_GRADED:
            raise TrainError(
                f"{self.hidden[0]} hidden units and {self.classes} classes: units='graded' has at most {MAX_GRADED} of each"
            )
        if self.input_bits > MAX_GRADED_BITS:
            raise TrainError(
                f"encode gives {self.input_bits} input bits: units='graded' takes {MAX_GRADED_BITS}, use fewer planes"
            )

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
    def images(self) -> tuple[tuple[int, int, int], ...]:
        """(H, W, C) of what goes into each convolution and, last, of what the dense layers see; () without conv.

        C of the first is P times the image's own: channel ``p * C + c``.
        """
        if not self.conv or self.image is None:
            return ()
        height, width, channels = self.image
        sizes = [(height, width, channels * (self.input_bits // self.features))]
        for conv in self.conv:
            height, width = conv.side(height)[1], conv.side(width)[1]
            sizes.append((height, width, conv.channels))
        return tuple(sizes)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(N, K) of every layer: convolutions, hidden, output.

        K of a convolution is kernel * kernel * C in that order, of a graded layer F: its planes share their weights.
        """
        images = self.images
        convolutions = [
            (conv.channels, conv.kernel**2 * image[2])
            for conv, image in zip(self.conv, images[:-1], strict=bool(images))
        ]
        inputs = math.prod(images[-1]) if images else self.features if self.units == "graded" else self.input_bits
        sizes = (inputs, *self.hidden, self.classes)
        return (*convolutions, *((units, inputs) for inputs, units in zip(sizes[:-1], sizes[1:], strict=True)))

    @property
    def synapses(self) -> int:
        """How many ±1 weights there are, fixed code included."""
        return sum(units * inputs for units, inputs in self.shapes)

    @property
    def trained(self) -> int:
        """How many layers have hidden weights: all, or all but the output code."""
        return len(self.conv) + len(self.hidden) + (self.output == "learned")

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


_CHOICES: dict[str, Any] = {
    "norm": Norm, "output": Output, "input": Input, "gamma_init": Gamma, "statistics": Statistics,
    "units": Units,
}  # fmt: skip


def _conv(i: int, row: object) -> Conv:
    """A convolution read from JSON."""
    if not isinstance(row, Mapping):
        raise TrainError(f"conv[{i}]={row!r}: must be an object such as {{'channels': 16, 'kernel': 3}}")
    known = [field.name for field in fields(Conv)]
    wrong = [name for name in row if name not in known]
    if wrong or "channels" not in row:
        found = f"has an unknown field {wrong[0]!r}" if wrong else "has no field 'channels'"
        raise TrainError(f"conv[{i}] {found}: the fields are {', '.join(known)}")
    return Conv(**row)


def _image(image: object, features: int) -> tuple[int, int, int]:
    if isinstance(image, str) or not isinstance(image, Sequence) or len(image) != 3:
        raise TrainError(f"image={image!r}: must be (height, width, channels)")
    height, width, channels = (_whole(f"image[{i}]", size, 1, MAX_INPUTS) for i, size in enumerate(image))
    if height * width * channels != features:
        raise TrainError(f"image={tuple(image)} has {height * width * channels} values: there are {features} features")
    return height, width, channels


def _ramp(ramp: object) -> tuple[int, int]:
    if isinstance(ramp, str) or not isinstance(ramp, Sequence) or len(ramp) != 2:
        raise TrainError(f"ramp={ramp!r}: must be two whole numbers, such as (77, 563)")
    low, high = (_whole(f"ramp[{i}]", end, 0, MAX_RAMP) for i, end in enumerate(ramp))
    if low >= high:
        raise TrainError(f"ramp={tuple(ramp)}: must rise, the first below the second")
    return low, high


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
