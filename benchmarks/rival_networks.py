"""Rivals of benchmarks/equal_accuracy.py: dense networks of small integers, trained with their quantisation in torch.

Each is a `Rival`: the constants that its C reads, and the same integers in NumPy. The training is that of metabit's own default
network (`metabit.train.recipe`): Adam with a rate that falls along a cosine, smoothed labels, noise on the features, 20 passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabit.data.encoder import Encoder
from metabit.train.network.normed_gates import rounded

Ints = NDArray[Any]
Floats = NDArray[np.float32]
RATE, SMOOTHING, NOISE, PASSES, STEPS, BATCH = 0.01, 0.05, 0.1, 20, 1000, 256
"""Chosen on a part of the training part (`validate` of benchmarks/equal_accuracy.py)."""
ACTIVE, TOP = 127, 4.0
"""Largest hidden activation of a network by columns, and the normed sum that it stands for; 255 for CMSIS-NN."""
_NORMAL = 1 << 22
"""Normal numbers that a training draws; its batches take pieces of them."""


@dataclass(frozen=True, eq=False)
class Rival:
    """source: file in benchmarks/rivals. arrays: constants by name. defines: macros. predict: integers (n, F) -> scores (n, C)."""

    source: str
    arrays: Mapping[str, Ints]
    defines: Mapping[str, int]
    predict: Callable[[Ints], Ints]
    learns: bool = False
    floats: bool = False

    @property
    def image(self) -> bytes:
        return b"".join(_padded(a) for a in self.arrays.values())

    def macros(self) -> dict[str, int]:
        """Macros of the C, offsets of the arrays included."""
        offsets, at = {}, 0
        for name, array in self.arrays.items():
            offsets[f"AT_{name}"], at = at, at + len(_padded(array))
        return {**self.defines, **offsets, **({"LEARNS": 1} if self.learns else {})}


def _padded(array: Ints) -> bytes:
    return np.ascontiguousarray(array).tobytes() + bytes(-array.nbytes % 4)


def input_macros(encoder: Encoder, classes: int) -> dict[str, int]:
    size = 1 if encoder.kind == "uint8" else 2
    return {"FEATURES": encoder.features, "FEATURE_BYTES": size, "CLASSES": classes}


def cut_arrays(encoder: Encoder) -> tuple[dict[str, Ints], dict[str, int]]:
    """Constants and macros of rivals/bits.h."""
    cuts = (encoder.thresholds - 1).astype(encoder.kind)
    shared = bool((cuts == cuts[:, :1]).all())
    return {"CUTS": cuts[:, :1] if shared else cuts}, {"PLANES": encoder.planes, "SHARED_CUTS": int(shared)}


class Dense(torch.nn.Module):
    """Inputs -> integer weights of ±most -> batch normalisation -> ReLU of `active` steps up to `TOP` -> int8 weights -> scores."""

    def __init__(self, inputs: int, units: int, classes: int, most: int, active: int) -> None:
        super().__init__()
        self.most, self.active = most, active
        self.first = torch.nn.Parameter(torch.empty(units, inputs).normal_(0, 0.5 if most == 1 else 0.3))
        self.norm = torch.nn.BatchNorm1d(units)
        self.last = torch.nn.Linear(units, classes)

    def weights(self) -> Tensor:
        return rounded(self.first.clamp(-1, 1) * self.most)

    def last_scale(self) -> Tensor:
        return self.last.weight.detach().abs().max() / 127

    def last_weights(self) -> Tensor:
        return rounded(self.last.weight / self.last_scale())

    def forward(self, x: Tensor) -> Tensor:
        step = TOP / self.active
        h = rounded(self.norm(x @ self.weights().T).clamp(0, TOP) / step)
        return step * self.last_scale() * (h @ self.last_weights().T) + self.last.bias


@dataclass(frozen=True)
class Settings:
    rate: float = RATE
    smoothing: float = SMOOTHING
    noise: float = NOISE
    passes: int = PASSES
    batch: int = BATCH


def train(
    net: Dense, integers: Ints, labels: Ints, seed: int, inputs: Callable[[Ints], Ints], settings: Settings
) -> None:
    """inputs: integers (n, F), with noise in float32, -> what the network takes. The norm then holds all samples' statistics."""
    rng, y = np.random.default_rng(seed), torch.from_numpy(labels.astype(np.int64))
    normal = rng.standard_normal(_NORMAL, dtype=np.float32)
    spread = (settings.noise * integers.std(0)).astype(np.float32)
    total = max(STEPS, settings.passes * math.ceil(len(y) / settings.batch))
    optimizer = torch.optim.Adam(net.parameters(), lr=settings.rate)
    waiting: list[Ints] = []
    net.train()
    for step in range(total):
        if not waiting:
            waiting = np.array_split(rng.permutation(len(y)), math.ceil(len(y) / settings.batch))
        chosen = waiting.pop()
        values = integers[chosen]
        if settings.noise:
            at = int(rng.integers(_NORMAL - values.size))
            values = values + spread * normal[at : at + values.size].reshape(values.shape)
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * (0.5 + 0.5 * math.cos(math.pi * step / total))
        scores = net(torch.from_numpy(inputs(values).astype(np.float32)))
        loss = torch.nn.functional.cross_entropy(scores, y[chosen], label_smoothing=settings.smoothing)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    net.eval()
    with torch.no_grad():
        weights, parts = net.weights(), np.array_split(integers, max(1, len(integers) // 4096))
        sums = torch.cat([torch.from_numpy(inputs(part).astype(np.float32)) @ weights.T for part in parts])
        assert net.norm.running_mean is not None and net.norm.running_var is not None
        net.norm.running_mean.copy_(sums.mean(0))
        net.norm.running_var.copy_(sums.var(0))


@dataclass(frozen=True, eq=False)
class _Integers:
    """first (units, inputs): weights whose unit grows with its sum. slope, offset: of the activation over the sum, floats."""

    first: Ints
    slope: NDArray[np.float64]
    offset: NDArray[np.float64]
    last: Ints
    bias: NDArray[np.float64] = field()
    """The output adds it, in units of weight times activation."""
    scale: float = 1.0


def _integers(net: Dense) -> _Integers:
    with torch.no_grad():
        norm = net.norm
        assert norm.running_mean is not None and norm.running_var is not None
        deviation = torch.sqrt(norm.running_var + norm.eps)
        slope = (norm.weight / deviation).double().numpy() * net.active / TOP
        offset = (norm.bias - norm.weight * norm.running_mean / deviation).double().numpy() * net.active / TOP
        first, last = net.weights().numpy().astype(np.int64), net.last_weights().numpy().astype(np.int64)
        scale = float(net.last_scale()) * TOP / net.active
        bias = net.last.bias.double().numpy() / scale
    sign = np.where(slope < 0, -1, 1)
    return _Integers(first * sign[:, None], slope * sign, offset, last, bias, scale)


def columns(
    encoder: Encoder, x: Ints, y: Ints, classes: int, units: int, bits: int, seed: int, settings: Settings
) -> Rival:
    """rivals/columns.c: weights of 8, 4 or 2 bits on the encoder's bits. x: integers (n, F)."""
    torch.manual_seed(seed)
    net = Dense(encoder.bits, units, classes, 2 ** (bits - 1) - 1, ACTIVE)
    train(net, x, y, seed, encoder.compare, settings)
    found = _integers(net)
    sides = np.maximum(np.maximum(found.first, 0).sum(1), np.maximum(-found.first, 0).sum(1))
    factor = np.minimum(1, 32000 / np.maximum(sides, 1))[:, None]  # no input brings a unit's sum out of 16 bits
    first = np.round(found.first * factor).astype(np.int64)
    slope = found.slope / factor[:, 0]
    shift = int(np.clip(13 - math.ceil(math.log2(slope.max())), 0, 20))
    mul = np.minimum(np.round(slope * 2**shift), 2**14 - 1).astype(np.int32)
    add = np.round((found.offset + 0.5) * 2**shift).astype(np.int32)
    assert np.abs(found.offset).max() * 2**shift < 2**30
    last, bias = found.last.astype(np.int8), np.round(found.bias).astype(np.int32)
    cuts, macros = cut_arrays(encoder)
    arrays = {**cuts, "W1": _packed(first, bits), "MUL": mul, "ADD": add, "B2": bias, "W2": last}
    defines = {**input_macros(encoder, classes), **macros, "UNITS": units, "WEIGHT_BITS": bits, "SHIFT": shift}

    def predict(q: Ints) -> Ints:
        z = (encoder.compare(q).astype(np.float64) @ first.T.astype(np.float64)).astype(np.int64)
        h = np.clip((z * mul + add) >> shift, 0, ACTIVE)
        return h @ last.T.astype(np.int64) + bias

    return Rival("columns.c", arrays, defines, predict)


def _packed(first: Ints, bits: int) -> Ints:
    """(units, inputs) -> uint32 words, input by input: unit 8/bits groups share a byte, as columns.c has it."""
    stored = (first.T + 2 ** (bits - 1)).astype(np.uint32)  # (inputs, units)
    parts = 8 // bits
    fields = stored.reshape(len(stored), -1, parts, 4)  # word, part, byte
    shifts = np.arange(parts)[:, None] * bits + 8 * np.arange(4)
    words: Ints = (fields << shifts.astype(np.uint32)).sum((2, 3)).astype(np.uint32)
    return words


def cmsis(encoder: Encoder, x: Ints, y: Ints, classes: int, units: int, seed: int, settings: Settings) -> Rival:
    """rivals/cmsis.c: int8 weights on pixels, or on features brought to int8."""
    torch.manual_seed(seed)
    pixels = encoder.kind == "uint8"
    mean = np.round(x.mean(0)).astype(np.int64)
    factor = np.clip(np.round(32 * 65536 / np.maximum(x.std(0), 1)), 0, 2**14 - 1).astype(np.int64)

    def inputs(q: Ints) -> Ints:
        if pixels:
            return np.clip(q, 0, 255) if q.dtype.kind != "f" else np.clip(q, 0, 255) / 255 * 255
        return np.clip(np.floor((q - mean) * factor / 65536), -128, 127)

    unit = 255.0 if pixels else 32.0
    net = Dense(x.shape[1], units, classes, 127, 255)
    train(net, x, y, seed, lambda q: inputs(q) / unit, settings)
    found = _integers(net)
    multiplier, shifts = _multipliers(found.slope / unit)
    exact = multiplier / 2.0**31 * 2.0**shifts
    bias = np.round(found.offset / exact).astype(np.int64)
    last, bias2 = found.last.astype(np.int8), np.round(found.bias).astype(np.int64)

    def hidden(q: Ints) -> Ints:
        z = (inputs(q).astype(np.float64) @ found.first.T.astype(np.float64)).astype(np.int64) + bias
        return np.clip(_requantised(z, multiplier, shifts) - 128, -128, 127) + 128

    def last_sums(q: Ints) -> Ints:
        return hidden(q) @ last.T.astype(np.int64) + bias2

    sums = last_sums(x)
    low, high = float(sums.min()), float(sums.max())
    one, power = _multipliers(np.array([255 / (high - low)]))
    zero = round(-128 - low * 255 / (high - low))
    arrays = {"W1": found.first.astype(np.int8), "B1": bias.astype(np.int32), "MULTIPLIER": multiplier.astype(np.int32),
              "SHIFTS": shifts.astype(np.int32), "W2": last, "B2": bias2.astype(np.int32)}  # fmt: skip
    if not pixels:
        arrays |= {"MEAN": mean.astype(np.int32), "FACTOR": factor.astype(np.int32)}
    defines = {**input_macros(encoder, classes), "UNITS": units, "OUTPUT_ZERO": zero,
               "OUTPUT_MULTIPLIER": int(one[0]), "OUTPUT_SHIFT": int(power[0])}  # fmt: skip

    def predict(q: Ints) -> Ints:
        return np.clip(_requantised(last_sums(q), one, power) + zero, -128, 127)

    return Rival("cmsis.c", arrays, defines, predict)


def _multipliers(factors: NDArray[np.float64]) -> tuple[Ints, Ints]:
    """Positive factors as multiplier / 2^31 · 2^shift, 2^30 <= multiplier < 2^31."""
    fraction, power = np.frexp(factors)
    multiplier = np.minimum(np.round(fraction * 2.0**31).astype(np.int64), 2**31 - 1)
    return multiplier, power.astype(np.int64)


def _requantised(z: Ints, multiplier: Ints, shift: Ints) -> Ints:
    """arm_nn_requantize of CMSIS-NN, its double rounding included."""
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    high = ((z << left) * multiplier + (1 << 30)) >> 31
    mask = (1 << right) - 1
    return (high >> right) + ((high & mask) > (mask >> 1) + (high >> right < 0))
