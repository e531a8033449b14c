"""Binary convolution: a binary linear layer applied to every kernel window of an image of pixels."""

from __future__ import annotations

from collections.abc import Sequence

from metabit.train.errors import TrainError, extra
from metabit.train.network.binarize import BinaryLinear, binarize_weight
from metabit.train.network.conv_spec import Conv, Padding, whole

with extra("torch"):
    import torch
    from torch import Tensor


class BinaryConv2d(BinaryLinear):
    """y = kernel windows of x · sign(hidden)ᵀ, without bias. The padding has the value `padding_value`, not zero.

    Args:
        in_channels: C of the image, >= 1.
        out_channels: N, 1..16384.
        kernel_size: 1..31, or a pair of equal numbers, as a device has square kernels only.
        stride: 1..31, or a pair of equal numbers.
        padding: "valid" or 0 is none. "same" gives ⌈H / stride⌉ rows and ⌈W / stride⌉ columns, also with a stride above 1;
            if the number of added rows is odd, the larger half lies below.
        padding_value: 1 after signs and bits; 255 if the input is pixels of 0 to 255.
        generator: draws the initial hidden weights; None is torch's global generator.

    Attributes:
        hidden: Parameter, float32 (N, kernel * kernel * C): row, column, channel, the last one fastest. That is
            ``weight.permute(0, 2, 3, 1).flatten(1)`` of the weight (N, C, kernel, kernel) of a `torch.nn.Conv2d`.

    Raises:
        TrainError: a value out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: Padding | int = "valid",
        padding_value: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        if padding not in ("valid", "same", 0):
            raise TrainError(
                f'padding={padding!r}: must be "valid" (or 0, none) or "same", which adds {padding_value:g}'
            )
        side, step = _side("kernel_size", kernel_size), _side("stride", stride)
        self.conv = Conv(out_channels, side, step, "same" if padding == "same" else "valid")
        super().__init__(side**2 * whole("in_channels", in_channels, 1, 2**24), out_channels, generator)
        self.padding_value = padding_value

    def forward(self, x: Tensor) -> Tensor:
        """(batch, C, H, W) of any dtype -> (batch, N, H', W') of hidden's, exact integers if x holds integers."""
        conv, x = self.conv, x.to(self.hidden.dtype)
        if conv.padding == "same":
            (top, bottom), (left, right) = conv.pads(x.shape[-2]), conv.pads(x.shape[-1])
            x = torch.nn.functional.pad(x, (left, right, top, bottom), value=self.padding_value)
        w = binarize_weight(self.hidden).reshape(conv.channels, conv.kernel, conv.kernel, -1).permute(0, 3, 1, 2)
        return torch.nn.functional.conv2d(x, w, stride=conv.stride)

    def extra_repr(self) -> str:
        conv = self.conv
        channels = self.hidden.shape[1] // conv.kernel**2
        shape = (
            f"{channels}, {conv.channels}, kernel_size={conv.kernel}, stride={conv.stride}, padding={conv.padding!r}"
        )
        return f"{shape}, padding_value={self.padding_value:g}"


def _side(name: str, value: int | Sequence[int]) -> int:
    """Return the one number of a square. Raises TrainError: the sides differ."""
    if isinstance(value, Sequence):
        if len(set(value)) != 1:
            raise TrainError(f"{name}={tuple(value)}: must be one number, or a pair of equal ones")
        value = value[0]
    return whole(name, value, 1, 31)
