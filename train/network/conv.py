"""Binary convolution: a binary linear layer applied to every kernel window of an image of pixels."""

from __future__ import annotations

from metabit.train.errors import extra
from metabit.train.network.binarize import BinaryLinear, binarize_weight
from metabit.train.network.spec import Conv

with extra("torch"):
    import torch
    from torch import Tensor


class BinaryConv2d(BinaryLinear):
    """y = kernel windows of x · sign(hidden)ᵀ, without bias. The padding has the value `outside`, not zero.

    Args:
        conv: kernel, stride, padding and channels; `Layer` does the pooling.
        channels: C of the image.
        outside: value of the padding: 1, or 255 for uint8 pixels.
        generator: as for `BinaryLinear`.

    Attributes:
        hidden: Parameter, float32 (N, kernel * kernel * C): row, column, channel, the last one fastest.
    """

    def __init__(
        self, conv: Conv, channels: int, outside: float = 1.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(conv.kernel**2 * channels, conv.channels, generator)
        self.conv = conv
        self.outside = outside

    def forward(self, x: Tensor) -> Tensor:
        """float32 (batch, C, H, W) -> float32 (batch, N, H', W'), exact integers if x holds integers."""
        conv = self.conv
        if conv.padding == "same":
            (top, bottom), (left, right) = conv.pads(x.shape[2]), conv.pads(x.shape[3])
            x = torch.nn.functional.pad(x, (left, right, top, bottom), value=self.outside)
        w = binarize_weight(self.hidden).reshape(conv.channels, conv.kernel, conv.kernel, -1).permute(0, 3, 1, 2)
        return torch.nn.functional.conv2d(x, w, stride=conv.stride)

    def extra_repr(self) -> str:
        return f"{self.conv}, outside={self.outside}"
