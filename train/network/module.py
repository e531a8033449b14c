"""A `Spec` as a torch module. Tensors are floats, for the gradients; every accumulator is an exact integer, as on the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from metabit.train.errors import TrainError, extra
from metabit.train.network.binarize import BinaryLinear, binarize_activation
from metabit.train.network.conv import BinaryConv2d
from metabit.train.network.gates import STEPS, Gates, UnsureLinear
from metabit.train.network.norms import BatchNorm, InstanceNorm, ScoreNorm, StaticNorm
from metabit.train.network.output_code import output_code
from metabit.train.network.spec import Spec

with extra("torch"):
    import torch
    from torch import Tensor

AnyNorm = BatchNorm | InstanceNorm | StaticNorm | Gates | ScoreNorm


class CodeLinear(torch.nn.Module):
    """Fixed output layer y = x · codeᵀ.

    Attributes:
        code: buffer, int8 (N, K), each ±1.
    """

    code: Tensor

    def __init__(self, code: NDArray[np.int8]) -> None:
        super().__init__()
        self.register_buffer("code", torch.from_numpy(code))

    def forward(self, x: Tensor) -> Tensor:
        """float32 (batch, K) -> float32 (batch, N)."""
        return torch.nn.functional.linear(x, self.code.to(x.dtype))


class Layer(torch.nn.Module):
    """Binary weights, then normalisation. Export turns both into one threshold per unit.

    Attributes:
        linear: `BinaryLinear`, its subclasses `BinaryConv2d` and `UnsureLinear`, or `CodeLinear` for an output code.
        norm: `BatchNorm`, `InstanceNorm` or `StaticNorm`; `Gates` in a graded layer, and `ScoreNorm` above it.
        scale: factor of the accumulators before the norm: 1/255 after uint8 input, else 1.
        pool: side of the squares whose largest value is kept; 1 keeps every value.
        flatten: True if an image leaves the layer as a row, (H, W, N) with N fastest.
    """

    def __init__(
        self, linear: BinaryLinear | CodeLinear, norm: AnyNorm, scale: float = 1.0, pool: int = 1, flatten: bool = False
    ) -> None:
        super().__init__()
        self.linear, self.norm = linear, norm
        self.scale, self.pool, self.flatten = scale, pool, flatten

    def forward(self, x: Tensor) -> Tensor:
        """float32 (batch, K) -> float32 (batch, N), or (batch, C, H, W) -> (batch, N, H', W'); normalised."""
        return self.finish(self.linear(x))

    def finish(self, a: Tensor) -> Tensor:
        """Return what the layer computes from its accumulators a."""
        z: Tensor = self.norm(a if self.scale == 1 else a * self.scale)
        if self.pool > 1:
            # The sign of the largest value is the OR of the signs, and the gradient flows to the value nearest to +1.
            z = torch.nn.functional.max_pool2d(z, self.pool)
        return z.permute(0, 2, 3, 1).flatten(1) if self.flatten else z

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield name within the layer and live tensor, with the names of `Spec.tensors`."""
        if isinstance(self.linear, BinaryLinear):
            yield "hidden", self.linear.hidden
        else:
            yield "code", self.linear.code
        if isinstance(self.norm, BatchNorm):
            for part, tensor in self.norm.tensors():
                yield f"norm.{part}", tensor


class Network(torch.nn.Module):
    """The network of a spec: encoder; linear or convolution, norm and sign for each hidden layer; linear and norm for scores.

    The spec's seed alone decides the initial network; torch's global generator is not used.

    Attributes:
        spec: what it was built from.
        thresholds: buffer, uint8 (P, F), or None without an encoder.
    """

    thresholds: Tensor | None

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        thresholds = spec.thresholds
        self.register_buffer("thresholds", None if thresholds is None else torch.from_numpy(thresholds))
        generator = torch.Generator().manual_seed(spec.seed)
        gains = torch.Generator().manual_seed((spec.seed + 1) % 2**63)  # so gamma_init does not change the weights
        self._layers = torch.nn.ModuleList()
        for i, (units, inputs) in enumerate(spec.shapes):
            largest, pool = 255.0 if i == 0 and spec.input == "uint8" else 1.0, 1
            linear: BinaryLinear | CodeLinear
            if i < len(spec.conv):
                c = spec.conv[i]
                linear = BinaryConv2d(spec.images[i][2], c.channels, c.kernel, c.stride, c.padding, largest, generator)
                pool = c.pool
            elif i < spec.trained and spec.unsure:
                linear = UnsureLinear(inputs, units, spec.unsure, generator)
            elif i < spec.trained:
                linear = BinaryLinear(inputs, units, generator)
            else:
                linear = CodeLinear(output_code(units, inputs, spec.seed))
            norm: AnyNorm = StaticNorm(inputs)
            if spec.normalised(i):
                norm = BatchNorm(units, spec.gamma_init, spec.affine, spec.statistics, gains)
            elif spec.norm == "instance" and i < spec.trained:
                norm = InstanceNorm()
            elif spec.units == "graded":
                norm = Gates(*spec.ramp) if i < spec.trained else ScoreNorm()
            self._layers.append(Layer(linear, norm, 1 / largest, pool, flatten=i == len(spec.conv) - 1))

    def layers(self) -> list[Layer]:
        """Return the layers, first hidden layer to output."""
        return [layer for layer in self._layers if isinstance(layer, Layer)]

    def encode(self, x: Tensor) -> Tensor:
        """Features (batch, F) uint8 -> inputs float32 (batch, K): 0 and 1, or 0..255 if the spec's input is uint8.

        A graded layer has the number of planes that are on, 0..P, as inputs. Without an encoder the features are only
        converted. x may have any dtype that holds the same integers. Raises TrainError: x is not (batch, F).
        """
        return self._integers(x).to(next(self.parameters()).dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, F) features -> float32 (batch, classes) scores, for argmax or cross-entropy."""
        # A convolution needs floats; a dense layer is faster on integers.
        y = self._picture(self.encode(x)) if self.spec.conv else self._integers(x)
        *hidden, output = self.layers()
        for layer in hidden:
            y = self._activate(layer(y))
        scores: Tensor = output(y)
        return scores

    @torch.no_grad()
    def accumulators(self, x: Tensor) -> list[NDArray[np.int32]]:
        """Return every layer's accumulators in the present mode: call `eval` first.

        Each is int32 (batch, N), or (batch, H, W, N) of a convolution, before pooling. Above graded units they are sums of
        grades -8..8, the device's scores. With the spec's `unsure` the sums of graded units are doubled, as on the device.
        """
        y, sums = self._picture(self.encode(x)), []
        for layer in self.layers():
            a = layer.linear(y * STEPS if isinstance(layer.norm, ScoreNorm) else y)
            by_channel = a.permute(0, 2, 3, 1) if a.dim() == 4 else a
            sums.append(by_channel.to(torch.int32).cpu().numpy())
            y = self._activate(layer.finish(a))
        return sums

    def _activate(self, z: Tensor) -> Tensor:
        """Return the activation of a hidden layer: the sign, or the grades, which `Gates` has already computed."""
        return z if self.spec.units == "graded" else binarize_activation(z)

    def _integers(self, x: Tensor) -> Tensor:
        """Return `encode` in the dtype that needs no conversion: uint8 for thermometer bits, else that of x."""
        if x.dim() != 2 or x.shape[1] != self.spec.features:
            raise TrainError(f"x has shape {tuple(x.shape)}: this network takes (samples, {self.spec.features})")
        if self.thresholds is not None:
            planes = x[:, None, :] >= self.thresholds
            if self.spec.units == "graded":  # the planes share their weights: only their number counts
                return planes.sum(1, dtype=torch.uint8)
            return planes.flatten(1).view(torch.uint8)
        return x

    def _picture(self, y: Tensor) -> Tensor:
        """Input bits (batch, P * F) -> (batch, P * C, H, W) if the first layer is a convolution."""
        if not self.spec.conv or self.spec.image is None:
            return y
        height, width, channels = self.spec.image
        planes = y.reshape(len(y), -1, height, width, channels)
        picture: Tensor = planes.permute(0, 1, 4, 2, 3).flatten(1, 2)
        return picture

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return copies of all tensors of the network, with the names, dtypes and shapes of `Spec.tensors`."""
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self._named()}

    @torch.no_grad()
    def load_tensors(self, tensors: Mapping[str, NDArray[np.generic]]) -> None:
        """Copy into the network what `tensors` returned. Raises TrainError if one is missing or has the wrong shape."""
        for name, tensor in self._named():
            if name not in tensors or tensors[name].shape != tuple(tensor.shape):
                found = f"has shape {tensors[name].shape}" if name in tensors else "is missing"
                raise TrainError(f"tensor {name} {found}: this network needs {tuple(tensor.shape)}")
            tensor.copy_(torch.from_numpy(np.ascontiguousarray(tensors[name])))

    def _named(self) -> Iterator[tuple[str, Tensor]]:
        if self.thresholds is not None:
            yield "encode.thresholds", self.thresholds
        for i, layer in enumerate(self.layers()):
            for name, tensor in layer.tensors():
                yield f"layers.{i}.{name}", tensor
