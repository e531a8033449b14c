"""The shape of one binary convolution as plain data, and the checks that all shapes share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np

from metabit.train.errors import TrainError

Padding = Literal["valid", "same"]

MAX_UNITS = 16384


@dataclass(frozen=True)
class Conv:
    """A binary convolution: ±1 weights, normalisation, sign, then the OR of each pool x pool square of bits.

    Args:
        channels: N, 1..16384.
        kernel: height and width of the kernel window, 1..31.
        stride: 1..31.
        padding: "valid" is none. "same" surrounds the image of pixels with +1 (a bit that is on; 255 for uint8 input)
            so that the output has ⌈H / stride⌉ rows. If the number of added rows is odd, the larger half lies below.
        pool: side of the squares, 1..31; 1 is no pooling. An incomplete square at the edge is dropped.

    Raises:
        TrainError: a value is outside its range.
    """

    channels: int
    kernel: int = 3
    stride: int = 1
    padding: Padding = "valid"
    pool: int = 1

    def __post_init__(self) -> None:
        whole("channels", self.channels, 1, MAX_UNITS)
        for name in ("kernel", "stride", "pool"):
            whole(name, getattr(self, name), 1, 31)
        one_of("padding", self.padding, get_args(Padding))

    def pads(self, size: int) -> tuple[int, int]:
        """Return the rows of +1 before and after an image side of this size."""
        if self.padding == "valid":
            return 0, 0
        total = max(0, (math.ceil(size / self.stride) - 1) * self.stride + self.kernel - size)
        return total // 2, total - total // 2

    def side(self, size: int) -> tuple[int, int]:
        """Return the side after the convolution and after the pooling; < 1 if the image is too small."""
        convolved = (size + sum(self.pads(size)) - self.kernel) // self.stride + 1
        return convolved, convolved // self.pool


def read_conv(i: int, row: object) -> Conv:
    """Return convolution i of a spec from its JSON object. Raises TrainError if a field is unknown or missing."""
    if isinstance(row, Conv):
        return row
    if not isinstance(row, Mapping):
        raise TrainError(f"conv[{i}]={row!r}: must be an object such as {{'channels': 16, 'kernel': 3}}")
    known = [field.name for field in fields(Conv)]
    wrong = [name for name in row if name not in known]
    if wrong or "channels" not in row:
        found = f"has an unknown field {wrong[0]!r}" if wrong else "has no field 'channels'"
        raise TrainError(f"conv[{i}] {found}: the fields are {', '.join(known)}")
    return Conv(**row)


def read_image_shape(image: object, features: int) -> tuple[int, int, int]:
    """Return (H, W, C) from three numbers, or raise TrainError unless they make up the features."""
    if isinstance(image, str) or not isinstance(image, Sequence) or len(image) != 3:
        raise TrainError(f"image={image!r}: must be (height, width, channels)")
    height, width, channels = (whole(f"image[{i}]", size, 1, features) for i, size in enumerate(image))
    if height * width * channels != features:
        raise TrainError(f"image={tuple(image)} has {height * width * channels} values: there are {features} features")
    return height, width, channels


def whole(name: str, value: object, low: int, high: int) -> int:
    """Return the value as an int, or raise TrainError unless it is an integer from low to high."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise TrainError(f"{name}={value!r}: must be an integer from {low} to {high}")
    return int(value)


def one_of(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise TrainError unless the value is one of the choices."""
    if value not in choices:
        raise TrainError(f"{name}={value!r}: must be {' or '.join(repr(choice) for choice in choices)}")
