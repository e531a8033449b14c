"""The shape of a network as plain data: validated, to and from JSON, without torch.

Letters: F features, P thermometer planes, N units (or channels) of a layer, K inputs of one unit; an image of pixels
has height H, width W and C channels.
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
from metabit.train.network.conv_spec import MAX_UNITS as MAX_UNITS
from metabit.train.network.conv_spec import Conv as Conv
from metabit.train.network.conv_spec import one_of, read_conv, read_image_shape, whole

Norm = Literal["batch", "instance", "static"]
Output = Literal["learned", "code"]
Input = Literal["bits", "uint8"]
Gamma = Literal["ones", "uniform"]
Statistics = Literal["running", "batch"]
Units = Literal["sign", "graded"]
Thresholds = Sequence[int] | Sequence[Sequence[int]] | NDArray[np.integer[Any]]

MAX_LAYERS = 16
MAX_GRADED = 1024
"""Largest number of graded units, and of classes above them."""
MAX_GRADED_BITS = 16384
"""Largest number of input bits of a graded layer."""
MAX_RAMP = 2047
MAX_INPUTS = 1 << 24
"""Largest number of input bits: a larger float32 accumulator is no longer an exact integer."""
NORM_EPS = 1e-5
"""Added to the variance by "batch" normalisation; folding the normalisation at export needs it too."""


@dataclass(frozen=True)
class Spec:
    """A binary network: encoder, convolutions, dense hidden layers, output.

    Args:
        features: F, 1..2**24, uint8 values of one sample.
        hidden: units of each hidden layer, each 1..16384, at most 15 layers; may be empty if the output is learned.
        classes: 2..16384.
        encode: thermometer thresholds 0..255: P numbers (1..8) that all features share, or (P, F). Input bit
            ``p * F + f`` is ``features[f] >= thresholds[p, f]``. None: see input.
        norm: normalisation after every trained layer. "batch" is BatchNorm. "instance" normalises each sample by itself
            (a dense layer over its units, a convolution each channel over its pixels) and has no parameters. "static"
            divides by √K and has no parameters. Only "batch" and "static" fold into thresholds on a device.
        output: "learned" is a binary layer like the others. "code" is a fixed ±1 code
            (`metabit.train.network.output_code`) divided by √K: a layer that is not trained has no normalisation.
        seed: 0..2**63-1, of the initial hidden weights, gains and code. Equal specs give equal initial networks.
        input: inputs of the first layer without encode. "bits": the features are 0 or 1. "uint8": the features are
            0..255, and the norm divides the accumulators by 255; accumulators stay exact integers. With encode, "bits".
        image: (H, W, C) with H·W·C = F, the order of the features (C fastest). Required by conv.
        conv: convolutions before the hidden layers, first to last.
        gamma_init: initial gains of "batch": "ones", or "uniform" in 0..1, as in torch 1.1, which the paper used.
        affine: True if "batch" learns a gain and a bias; else they stay 1 and 0.
        statistics: of "batch" at test: "running" averages (as a device has), or those of the test "batch" itself.
        units: of the hidden layers: "sign", or one layer of "graded" units (`metabit.train.network.gates`), which
            learns by votes on a device. Graded units need norm "static", output "code", encode (the planes of a feature
            share one weight), one hidden layer of at most 1024 units, at most 1024 classes and 16384 input bits, and no
            conv. Scores are then in units of half their standard deviation over the classes.
        ramp: of graded units: the grade is highest up to the first number and lowest from the second on, both in 1/256
            of the layer's mean accumulator magnitude; 0 <= first < second <= 2047.
        unsure: of graded units, >= 0: hidden weights of smaller magnitude count half, as those of the lower levels do on a
            device, and the network gives the device's integers. 0: all count fully.

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
    unsure: float = 0.0

    def __post_init__(self) -> None:
        features = whole("features", self.features, 1, MAX_INPUTS)
        if isinstance(self.hidden, str) or not isinstance(self.hidden, Sequence):
            raise TrainError(f"hidden={self.hidden!r}: must be a list of unit counts, such as (512,) or ()")
        hidden = tuple(whole(f"hidden[{i}]", units, 1, MAX_UNITS) for i, units in enumerate(self.hidden))
        conv = tuple(read_conv(i, row) for i, row in enumerate(self.conv))
        if len(hidden) + len(conv) >= MAX_LAYERS:
            found = f"hidden has {len(hidden)} layers" + (f" and conv {len(conv)}" if conv else "")
            raise TrainError(f"{found}: at most {MAX_LAYERS - 1}, besides the output")
        for name, kind in _CHOICES.items():
            one_of(name, getattr(self, name), get_args(kind))
        if not isinstance(self.affine, bool):
            raise TrainError(f"affine={self.affine!r}: must be true or false")
        if not isinstance(self.unsure, float | int) or not 0 <= self.unsure < math.inf:
            raise TrainError(f"unsure={self.unsure!r}: must be a finite number >= 0")
        if self.unsure and self.units != "graded":
            raise TrainError(f"unsure={self.unsure} with units={self.units!r}: only weights of graded units count half")
        if self.output == "code" and not hidden and not conv:
            raise TrainError("output='code' with hidden=() leaves nothing to train: add a hidden layer")
        normal = {
            "features": features,
            "hidden": hidden,
            "classes": whole("classes", self.classes, 2, MAX_UNITS),
            "encode": None if self.encode is None else _thresholds(self.encode, features),
            "seed": whole("seed", self.seed, 0, 2**63 - 1),
            "image": None if self.image is None else read_image_shape(self.image, features),
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
            raise TrainError("conv without image: give the shape of the pixels, image=(height, width, channels)")
        for i, (height, width, _) in enumerate(self.images[1:]):
            if min(height, width) < 1:
                raise TrainError(f"conv[{i}] leaves an image of {height} x {width}: use smaller kernels and pools")
        inputs = self.shapes[0][1]
        if self.input == "uint8" and inputs * 255 > MAX_INPUTS:
            found = f"{inputs} uint8 inputs of a unit may sum to {inputs * 255}"
            raise TrainError(f"{found}: beyond {MAX_INPUTS} it is not exact")

    def _check_graded(self) -> None:
        """Raise TrainError with everything that a graded layer needs and this spec lacks."""
        units = f"at most {MAX_GRADED} hidden units and classes, not {self.hidden} and {self.classes}"
        bits = f"at most {MAX_GRADED_BITS} input bits, not {self.input_bits}: use fewer planes"
        needs = {
            f"norm='static', not {self.norm!r}": self.norm == "static",
            f"output='code', not {self.output!r}": self.output == "code",
            "encode, thresholds for its thermometer planes": self.encode is not None,
            f"one hidden layer, not {len(self.hidden)}": len(self.hidden) == 1,
            f"no convolution, not {len(self.conv)}": not self.conv,
            units: max((*self.hidden, self.classes)) <= MAX_GRADED,
            bits: self.input_bits <= MAX_GRADED_BITS,
        }
        if not all(needs.values()):
            raise TrainError(f"units='graded' needs {'; '.join(need for need, met in needs.items() if not met)}")

    @property
    def thresholds(self) -> NDArray[np.uint8] | None:
        """Thresholds uint8 (P, F), or None without an encoder."""
        if self.encode is None:
            return None
        rows = np.asarray(self.encode, dtype=np.uint8)
        return np.repeat(rows[:, None], self.features, axis=1) if rows.ndim == 1 else rows

    @property
    def input_bits(self) -> int:
        """Number of inputs of the first layer: P * F, or F without an encoder."""
        return self.features * (1 if self.encode is None else len(self.encode))

    @property
    def images(self) -> tuple[tuple[int, int, int], ...]:
        """Shape (H, W, C) of the input of each convolution and, last, of the dense layers; () without conv.

        C of the first is P times the C of `image`: channel ``p * C + c``.
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
        """Shape (N, K) of every layer: convolutions, hidden, output.

        K of a convolution is kernel * kernel * C in that order. K of a graded layer is F: its planes share their weights.
        """
        images = self.images
        convolutions = [(c.channels, c.kernel**2 * image[2]) for c, image in zip(self.conv, images, strict=False)]
        inputs = math.prod(images[-1]) if images else self.features if self.units == "graded" else self.input_bits
        sizes = (*self.hidden, self.classes)
        return (*convolutions, *zip(sizes, (inputs, *sizes), strict=False))

    @property
    def synapses(self) -> int:
        """Number of ±1 weights, the output code included."""
        return sum(units * inputs for units, inputs in self.shapes)

    @property
    def trained(self) -> int:
        """Number of layers with hidden weights: all, or all but the output code."""
        return len(self.conv) + len(self.hidden) + (self.output == "learned")

    def normalised(self, layer: int) -> bool:
        """True if this layer, counted from 0, has a batch normalisation."""
        return self.norm == "batch" and layer < self.trained

    def per_layer(self, m: float | Sequence[float]) -> tuple[float, ...]:
        """Return one metaplasticity for each trained layer, from a number for all of them or a list with one for each.

        Raises TrainError: wrong count, or a value that is not a finite number >= 0.
        """
        values = (m,) * self.trained if isinstance(m, int | float | np.floating) else tuple(m)
        if len(values) != self.trained:
            count = f"one for each of {self.trained} trained layers"
            raise TrainError(f"m has {len(values)} values: give one number, or {count}")
        for value in values:
            if not 0 <= value < math.inf:
                raise TrainError(f"m={value}: must be a finite number >= 0")
        return tuple(float(value) for value in values)

    def tensors(self) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
        """Return name -> (dtype, shape) of every tensor of the network, which are those of a checkpoint.

        ``encode.thresholds`` uint8 (P, F). Per layer i: ``layers.{i}.hidden`` float32 (N, K), or for the output code
        ``layers.{i}.code`` int8 (N, K); `normalised` layers also have ``layers.{i}.norm.`` weight, bias, mean and
        var, each float32 (N,).
        """
        names: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {}
        if self.thresholds is not None:
            names["encode.thresholds"] = (np.uint8, self.thresholds.shape)
        for i, (units, inputs) in enumerate(self.shapes):
            kind, dtype = ("hidden", np.float32) if i < self.trained else ("code", np.int8)
            names[f"layers.{i}.{kind}"] = (dtype, (units, inputs))
            if self.normalised(i):
                for part in ("weight", "bias", "mean", "var"):
                    names[f"layers.{i}.norm.{part}"] = (np.float32, (units,))
        return names

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; `from_dict` gives back an equal spec. It has no `unsure` where that is 0."""
        found = asdict(self)
        return found if self.unsure else {name: value for name, value in found.items() if name != "unsure"}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Spec:
        """Return the spec that `to_dict` wrote, or one read from a user's JSON.

        Raises TrainError: a field is unknown, missing or out of range.
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
    "norm": Norm,
    "output": Output,
    "input": Input,
    "gamma_init": Gamma,
    "statistics": Statistics,
    "units": Units,
}


def _ramp(ramp: object) -> tuple[int, int]:
    if isinstance(ramp, str) or not isinstance(ramp, Sequence) or len(ramp) != 2:
        raise TrainError(f"ramp={ramp!r}: must be two whole numbers, such as (77, 563)")
    low, high = (whole(f"ramp[{i}]", end, 0, MAX_RAMP) for i, end in enumerate(ramp))
    if low >= high:
        raise TrainError(f"ramp={tuple(ramp)}: must rise, the first below the second")
    return low, high


def _thresholds(encode: Thresholds, features: int) -> tuple[int, ...] | tuple[tuple[int, ...], ...]:
    """Return the canonical form: flat if all features share their thresholds, which keeps the JSON short."""
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
    return tuple(tuple(row) if isinstance(row, list) else row for row in rows.tolist())
