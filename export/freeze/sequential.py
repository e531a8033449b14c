"""A torch.nn.Sequential of binary layers -> Frozen: the user's own PyTorch module becomes a network of a device.

Each module is one step of a `Chain`, and a module that such a chain cannot say is refused by its place in the Sequential. Pictures
of torch are (C, H, W) and those of a device (H, W, C), so the weights behind a Flatten change their order.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.rows import write_whole
from metabit.export.errors import ExportError
from metabit.export.files.image import write_image
from metabit.export.foreign.chain import Chain, refuse, signs_of
from metabit.export.foreign.network import Numbers, build
from metabit.export.foreign.thresholds import finite, normalisation
from metabit.export.freeze.levels import FULL_SCALE, tables
from metabit.export.freeze.visits import VisitOptions
from metabit.export.frozen import DenseLayer, Frozen, Layer, OutputLayer
from metabit.export.oracle import Oracle
from metabit.train.errors import extra
from metabit.train.network.binarize import BinaryLinear, Sign
from metabit.train.network.conv import BinaryConv2d

with extra("torch"):
    import torch
    from torch import Tensor, nn

TOOL = "PyTorch"
SCORED = 32
"""Samples of the example on which the module and the network are compared, at most."""
NEAR = 1e-3
"""A number this near to one that an integer stands for, in steps of integers, is that one: float32 knows it no better."""
NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
"""Modules that change nothing at test."""
LEVELLING = (nn.Hardtanh, nn.Tanh, nn.Softsign)
"""Functions that keep order and sign: nothing, if a Sign comes next."""
LAST = (nn.Softmax, nn.LogSoftmax)
KNOWN = "a metabit network has BinaryLinear, BinaryConv2d, BatchNorm1d and 2d, Sign, MaxPool2d and Flatten"
AT_TEST = "takes its statistics at test"
REFUSED: tuple[tuple[tuple[type[nn.Module], ...], str, str], ...] = (
    ((nn.Linear,), "has real weights", "use metabit.nn.BinaryLinear, with BatchNorm1d for a gain and a bias"),
    ((nn.Conv1d, nn.Conv2d), "has real weights", "use metabit.nn.BinaryConv2d, with BatchNorm2d for a gain and a bias"),
    ((nn.AvgPool2d, nn.AdaptiveAvgPool2d), "gives averages", "use MaxPool2d, or a convolution with a stride"),
    ((nn.AdaptiveMaxPool2d,), "chooses its squares itself", "use MaxPool2d with that kernel_size"),
    ((nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d), AT_TEST, "use BatchNorm1d or BatchNorm2d"),
    ((nn.Unflatten,), "makes pictures of rows", "give the module pictures, (n, channels, height, width)"),
    (
        (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Sigmoid, nn.Hardsigmoid, *LEVELLING),
        "gives real numbers",
        "use metabit.nn.Sign, behind the BatchNorm",
    ),
)
"""Modules that users meet: what is wrong with them, and the way out."""


def freeze_module(
    module: nn.Module,
    example: Tensor,
    path: str | os.PathLike[str] | None = None,
    *,
    inputs: str | None = None,
    options: VisitOptions | None = None,
) -> Frozen:
    """The network of a device that decides as `module.eval()` does. ``metabit.export(...)`` is this function.

    Hidden weights become levels, normalisation becomes thresholds, in float64. The classes that both predict on the example are
    compared; they differ only where two scores of the module are nearer than the rounding of integer scores.

    Args:
        module: nn.Sequential, also one of Sequentials, of metabit.nn's BinaryLinear, BinaryConv2d and Sign, BatchNorm1d,
            BatchNorm2d, MaxPool2d and Flatten; Dropout and Identity count as nothing, Hardtanh before a Sign and a last Softmax
            too. It ends in BinaryLinear or its BatchNorm1d. DataParallel and compiled modules are opened. It stays as it is.
        example: a batch of real inputs, (n, F), or pictures (n, C, H, W), of the dtype that the module takes. The device takes
            pictures as (H, W, C).
        path: of the .mbit file; None writes none. `export_all` writes every format.
        inputs: the numbers that the device's integers stand for: "LOW,HIGH" (bytes 0 and 255), "LOW,HIGH,TOP" (bytes 0 and TOP),
            "bits" (0 and 1) or "signs" (bits for -1 and +1). None: bytes as they are for uint8, bits or signs where the example
            has no other numbers.
        options: of `freeze`. m left out is 1.35 over the range of each layer's hidden weights; m given counts as in training.

    Raises:
        ExportError: a module has no counterpart (its place is named, and the way out), or the numbers of the inputs are unclear.
        OSError: the file cannot be written.
    """
    module = _opened(module)
    if not isinstance(module, nn.Sequential):
        raise ExportError(f"this module is a {type(module).__name__}: only the steps of an nn.Sequential say in which order they "
                          "run, write it as nn.Sequential")  # fmt: skip
    if not isinstance(example, Tensor) or example.dim() not in (2, 4) or not example.numel():
        shape = f"shape {tuple(example.shape)}" if isinstance(example, Tensor) else f"type {type(example).__name__}"
        raise ExportError(f"example has {shape}: give a tensor (n, F), or pictures (n, C, H, W), n >= 1")
    with _arguments():
        numbers = _numbers(example) if inputs is None else Numbers.parse(inputs)
    module = copy.deepcopy(module).to(device="cpu", dtype=torch.float64).eval()
    example = example.detach().cpu()[:SCORED]
    channels_last = tuple(example.permute(0, 2, 3, 1).shape[1:] if example.dim() == 4 else example.shape[1:])
    tracer = _Tracer(Chain(TOOL, channels_last))
    steps = list(_steps(module))
    for i, (name, step) in enumerate(steps):
        tracer.step(name, step, [after for _, after in steps[i + 1 :]])
    with _arguments():
        frozen = build(tracer.chain.finish(numbers), options, "file")
    if options is not None and options.m is not None:  # of hidden weights as they were, not in shares of their range
        layers = (_as_trained(*pair, options) for pair in zip(frozen.layers, tracer.reach, strict=True))
        frozen = replace(frozen, layers=tuple(layers))
    _compare(module, frozen, numbers, example)
    if path is not None:
        write_whole(Path(path), write_image(frozen))
    return frozen


@contextmanager
def _arguments() -> Iterator[None]:
    """An error that tells of the argument of `build` tells of the one here."""
    try:
        yield
    except ExportError as wrong:
        raise ExportError(str(wrong).replace("numbers=", "inputs=")) from None


def _opened(module: nn.Module) -> nn.Module:
    """The module inside wrappers that change nothing: torch.compile's, DataParallel, DistributedDataParallel."""
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif isinstance(inside := getattr(module, "_orig_mod", None), nn.Module):
            module = inside
        else:
            return module


def _steps(module: nn.Sequential, before: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Place and module of each step; "1.0" is the first step of a Sequential at place 1."""
    for place, child in module._modules.items():  # named_children() leaves out the second place of a shared module
        if type(child) is nn.Sequential:
            yield from _steps(child, f"{before}{place}.")
        elif child is not None:
            yield f"{before}{place}: {type(child).__name__}", child


def _numbers(example: Tensor) -> Numbers:
    """The numbers of an example that leaves no doubt."""
    if example.dtype == torch.uint8:
        return Numbers(0.0, 1.0)
    found = set(np.unique(example.detach().cpu().float().numpy())[:3].tolist())
    if found <= {0, 1}:
        return Numbers.parse("bits")
    if found <= {-1, 1}:
        return Numbers.parse("signs")
    low, high = float(example.min()), float(example.max())
    raise ExportError(f"example holds numbers from {low:.4g} to {high:.4g}, and a device takes bytes or bits: say which numbers "
                      "the bytes 0 and 255 stand for, as inputs='0,1' for pixels divided by 255")  # fmt: skip


class _Tracer:
    """Modules -> the steps of a chain. Hidden weights of each layer are divided by their range."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.reach: list[float] = []
        """Range of the hidden weights of each layer: the highest level begins there."""
        self.order: NDArray[np.int64] | None = None
        """The torch position of each input of a dense layer, behind a Flatten of pictures."""

    def step(self, name: str, module: nn.Module, rest: Sequence[nn.Module]) -> None:
        """One module. rest: those behind it."""
        kind = type(module)
        if kind in STEPS:
            STEPS[kind](self, name, module)
        elif isinstance(module, LAST):
            if rest or module.dim not in (1, -1):
                refuse(name, "is no last module over the classes", "leave it out")
        elif kind not in NOTHING and not (kind in LEVELLING and _levels_only(module, rest)):
            if hasattr(module, "parametrizations"):
                refuse(name, "has a parametrization", "call torch.nn.utils.parametrize.remove_parametrizations first")
            for kinds, what, way_out in REFUSED:
                if isinstance(module, kinds):
                    refuse(name, what, way_out)
            refuse(name, f"is a {type(module).__name__}", KNOWN)

    def linear(self, name: str, module: BinaryLinear) -> None:
        hidden, shape = self._hidden(name, module), self.chain.shape
        if len(shape) == 1 and shape[0] != hidden.shape[1]:
            found = f"layer {name!r} has in_features={hidden.shape[1]}"
            raise ExportError(f"{found}, but {shape[0]} numbers come in: give {shape[0]}")
        if self.order is not None:
            hidden = hidden[:, self.order]
        self.order = None
        self.chain.dense(name, signs_of(name, hidden), np.ones(1), hidden)

    def conv(self, name: str, module: BinaryConv2d) -> None:
        conv, hidden = module.conv, self._hidden(name, module)
        windows = hidden.reshape(len(hidden), conv.kernel, conv.kernel, -1)
        same, strides = conv.padding == "same", (conv.stride, conv.stride)
        self.chain.conv(name, signs_of(name, windows), np.ones(1), strides, same, module.padding_value, windows)

    def norm(self, name: str, module: nn.BatchNorm1d | nn.BatchNorm2d | nn.SyncBatchNorm) -> None:
        mean, var = module.running_mean, module.running_var
        if mean is None or var is None:
            refuse(name, AT_TEST, "use track_running_stats=True")
        gamma, beta = (None if one is None else _array(one) for one in (module.weight, module.bias))
        gain, offset = normalisation(name, _array(mean), _array(var), module.eps, gamma, beta)
        if self.order is not None and len(self.order) == len(gain):
            gain, offset = gain[self.order], offset[self.order]
        self.chain.affine(name, gain, offset)

    def pool(self, name: str, module: nn.MaxPool2d) -> None:
        size, stride, pad, dilation = map(_pair, (module.kernel_size, module.stride, module.padding, module.dilation))
        rest = any(side % size[0] for side in self.chain.shape[:2])
        if pad != (0, 0) or dilation != (1, 1) or (module.ceil_mode and rest):
            refuse(name, "pads, dilates or rounds up", "pool squares without overlap or padding")
        self.chain.pool(name, size, stride)

    def flatten(self, name: str, module: nn.Flatten) -> None:
        if module.start_dim != 1 or module.end_dim not in (-1, len(self.chain.shape)):
            refuse(name, f"flattens dimensions {module.start_dim} to {module.end_dim}", "flatten all but the first")
        if len(self.chain.shape) == 3:
            height, width, channels = self.chain.shape
            places = np.arange(height * width * channels).reshape(channels, height, width)
            self.order = places.transpose(1, 2, 0).ravel()
        self.chain.flatten(name)

    def _hidden(self, name: str, module: BinaryLinear) -> NDArray[np.float64]:
        hidden = _array(module.hidden)
        finite(name, hidden)
        self.reach.append(float(np.quantile(np.abs(hidden), FULL_SCALE)) or 1.0)
        scaled = hidden / self.reach[-1]
        return np.where(hidden < 0, np.minimum(scaled, -np.finfo(np.float32).tiny), scaled)


STEPS: dict[type[nn.Module], Callable[[_Tracer, str, Any], None]] = {
    BinaryLinear: _Tracer.linear,
    BinaryConv2d: _Tracer.conv,
    nn.BatchNorm1d: _Tracer.norm,
    nn.BatchNorm2d: _Tracer.norm,
    nn.SyncBatchNorm: _Tracer.norm,
    nn.MaxPool2d: _Tracer.pool,
    nn.Flatten: _Tracer.flatten,
    Sign: lambda tracer, name, module: tracer.chain.sign(),
}


def _as_trained(layer: Layer, reach: float, options: VisitOptions) -> Layer:
    """The layer with the probability tables of the m of training."""
    if not isinstance(layer, DenseLayer | OutputLayer) or layer.rule is None or options.m is None:
        return layer
    strengthen, weaken = tables(options.m, reach / 2 ** (layer.bits - 1), layer.bits, options.strengthen)
    return replace(layer, rule=replace(layer.rule, strengthen=strengthen, weaken=weaken))


def _levels_only(module: nn.Module, rest: Sequence[nn.Module]) -> bool:
    """True if a Sign makes nothing of this function, which keeps signs and order, as maxima behind it do."""
    first = next((type(one) for one in rest if type(one) not in (*LEVELLING, *NOTHING, nn.MaxPool2d)), None)
    return first is Sign and (not isinstance(module, nn.Hardtanh) or module.min_val < 0 <= module.max_val)


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().numpy()


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _compare(module: nn.Module, frozen: Frozen, numbers: Numbers, example: Tensor) -> None:
    """Raises ExportError where the network decides unlike the module, or the example has numbers that no integer stands for."""
    pictures = example.permute(0, 2, 3, 1) if example.dim() == 4 else example
    exact = (pictures.flatten(1).double().numpy() - numbers.low) / numbers.step
    integers, top = np.round(exact), 1 if numbers.bits else 255
    wrong = ~((np.abs(exact - integers) < NEAR) & (integers >= 0) & (integers <= top))
    if wrong.any():
        found = float(pictures.flatten(1).numpy()[wrong][0])
        raise ExportError(f"example holds {found:.6g}, for which no integer from 0 to {top} stands at "
                          f"{numbers.low:g} + {numbers.step:g} * integer: give inputs= that fit, see docs/pytorch.md")  # fmt: skip
    x = torch.from_numpy(integers * numbers.step + numbers.low).reshape(pictures.shape)
    with torch.no_grad():
        z: Tensor = module(x.permute(0, 3, 1, 2) if x.dim() == 4 else x)
    last, oracle = frozen.layers[-1], Oracle(frozen)
    assert isinstance(last, OutputLayer)
    rounding = 0 if last.mul.max() <= 2 else last.hidden.shape[1] + 1  # of the difference of two scores
    for i, (row, want) in enumerate(zip(integers.astype(np.uint8), z.argmax(1).tolist(), strict=True)):
        scores = oracle.forward(row)[2]
        if scores.max() - scores[want] > rounding:
            raise ExportError(f"the module predicts class {want} for sample {i} of the example, and the network class "
                              f"{int(scores.argmax())}: remove hooks from the module, or please report this")  # fmt: skip
