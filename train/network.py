"""A `Spec` as a torch module. Floats carry the gradients; every accumulator is an exact integer, as on the device."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from metabit.train.binarize import BinaryLinear, binarize_activation
from metabit.train.errors import TrainError, extra
from metabit.train.output_code import output_code
from metabit.train.spec import NORM_EPS, Spec

with extra("torch"):
    import torch
    from torch import Tensor


class StaticNorm(torch.nn.Module):
    """Divide by √K, the standard deviation of a sum of K independent ±1. No parameters, no statistics."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.scale = math.sqrt(inputs)

    def forward(self, a: Tensor) -> Tensor:
        return a / self.scale


class CodeLinear(torch.nn.Module):
    """y = x · codeᵀ: the output layer that never learns.

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
    """±1 weights, then normalisation: what becomes one threshold per unit on the device.

    Attributes:
        linear: `BinaryLinear`, or `CodeLinear` for a fixed output.
        norm: `torch.nn.BatchNorm1d` or `StaticNorm`.
    """

    def __init__(self, linear: BinaryLinear | CodeLinear, norm: torch.nn.BatchNorm1d | StaticNorm) -> None:
        super().__init__()
        self.linear = linear
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """float32 (batch, K) -> float32 (batch, N), normalised."""
        y: Tensor = self.norm(self.linear(x))
        return y

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """(name within the layer, live tensor), the names of `Spec.tensors`."""
        if isinstance(self.linear, BinaryLinear):
            yield "hidden", self.linear.hidden
        else:
            yield "code", self.linear.code
        if isinstance(self.norm, torch.nn.BatchNorm1d):
            assert self.norm.running_mean is not None and self.norm.running_var is not None
            yield "norm.weight", self.norm.weight
            yield "norm.bias", self.norm.bias
            yield "norm.mean", self.norm.running_mean
            yield "norm.var", self.norm.running_var


class Network(torch.nn.Module):
    """The network of a spec: encode; linear, norm and sign for each hidden layer; linear and norm for the scores.

    One spec is one initial network: the spec's seed is used, torch's global generator is not touched.

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
        self._layers = torch.nn.ModuleList()
        for i, (units, inputs) in enumerate(spec.shapes):
            linear = (
                BinaryLinear(inputs, units, generator)
                if i < spec.trained
                else CodeLinear(output_code(units, inputs, spec.seed))
            )
            norm = torch.nn.BatchNorm1d(units, eps=NORM_EPS) if spec.normalised(i) else StaticNorm(inputs)
            self._layers.append(Layer(linear, norm))

    def layers(self) -> list[Layer]:
        """First hidden layer to output."""
        return [layer for layer in self._layers if isinstance(layer, Layer)]

    def encode(self, x: Tensor) -> Tensor:
        """Features to input bits: (batch, F) uint8 -> float32 (batch, K) of 0 and 1.

        Without an encoder the features must be 0 and 1 already; they are only converted. Any dtype that holds the same
        integers will do.

        Raises:
            TrainError: x is not (batch, F).
        """
        if x.dim() != 2 or x.shape[1] != self.spec.features:
            raise TrainError(f"x has shape {tuple(x.shape)}: this network takes (samples, {self.spec.features})")
        if self.thresholds is not None:
            x = (x[:, None, :] >= self.thresholds).flatten(1)
        return x.to(next(self.parameters()).dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, F) features -> float32 (batch, classes) scores, for argmax or cross-entropy."""
        y = self.encode(x)
        *hidden, output = self.layers()
        for layer in hidden:
            y = binarize_activation(layer(y))
        scores: Tensor = output(y)
        return scores

    @torch.no_grad()
    def accumulators(self, x: Tensor) -> list[NDArray[np.int32]]:
        """Every layer's sums before normalisation, int32 (batch, N) each, in the current mode: call `eval` first."""
        y, sums = self.encode(x), []
        for layer in self.layers():
            a = layer.linear(y)
            sums.append(a.to(torch.int32).cpu().numpy())
            y = binarize_activation(layer.norm(a))
        return sums

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """Copies of everything the network consists of, under the names, dtypes and shapes of `Spec.tensors`."""
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self._named()}

    @torch.no_grad()
    def load_tensors(self, tensors: Mapping[str, NDArray[np.generic]]) -> None:
        """The reverse of `tensors`, in place.

        Raises:
            TrainError: a tensor is missing or has the wrong shape.
        """
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
