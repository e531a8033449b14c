"""Floats end here: checkpoint -> Frozen.

Signs become weights, hidden weights become k-bit levels, normalisations fold into integer thresholds and scores, and the
metaplasticity that training used becomes the two tables the device draws against (docs/learning-rule.md, "From the trained
float"). Convolutions and layers on 8-bit pixels become one frozen bit a synapse: the device learns in the dense
layers above them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.frozen import CERTAIN, Encode, Frozen, Layer, Rule, Window

Floats = NDArray[np.float64]

NORM_EPS = 1e-5  # what training adds to the variance
FULL_SCALE = 0.98
"""The share of |hidden weights| that Δ lets lie below the highest level."""
GUARD = 1 / 16
"""With m "auto", how often a synapse at the highest level is weakened when a step would weaken it."""
VISITS = 0.12
"""The default dose: the demo's."""
SCORE_STEPS = 1024
"""Score units per unit of the float score, at most: finer than the exp table can tell apart."""


class SpecLike(Protocol):
    @property
    def norm(self) -> str: ...
    @property
    def thresholds(self) -> NDArray[np.uint8] | None: ...
    @property
    def shapes(self) -> tuple[tuple[int, int], ...]: ...
    @property
    def trained(self) -> int: ...
    @property
    def input(self) -> str: ...
    @property
    def statistics(self) -> str: ...
    @property
    def images(self) -> tuple[tuple[int, int, int], ...]: ...
    @property
    def conv(self) -> Sequence[ConvLike]: ...
    @property
    def units(self) -> str: ...
    @property
    def ramp(self) -> tuple[int, int]: ...


class ConvLike(Protocol):
    @property
    def kernel(self) -> int: ...
    @property
    def stride(self) -> int: ...
    @property
    def padding(self) -> str: ...
    @property
    def pool(self) -> int: ...


class CheckpointLike(Protocol):
    """What freezing reads of a ``metabit.train.Checkpoint``."""

    @property
    def spec(self) -> SpecLike: ...
    @property
    def tensors(self) -> Mapping[str, NDArray[np.generic]]: ...
    @property
    def m(self) -> Sequence[float]: ...


@dataclass(frozen=True)
class Options:
    """How the device is to learn. The demo says which it uses (cli/recipe.py).

    Args:
        bits: k, 2..8 hidden bits a synapse; 1 exports a frozen network. Convolutions and layers on 8-bit pixels always take 1.
        m: metaplasticity; None takes what each layer was trained with, 0 switches it off. "auto" chooses it layer by layer from the
            levels there are, whatever training used: the surest synapses are weakened with a probability of GUARD.
        strengthen: "certain" is the paper's rule (only weakening is gated); "same" gates both directions alike, which has a
            steady state on endless streams.
        visits: share of a layer's eligible synapses that a wholly wrong sample visits, on average over its units. A layer
            takes at most 256 units' worth; None is VISITS, or that.
        margin: 0..1, a sample whose true class has an error below this teaches nothing.
        window: the straight-through window, in units of the trained one.
        temperature: of the device's softmax, relative to the trained network's own scores.
        backward: how errors go on through hidden layers above the lowest that learns; "ternary" takes signs drawn, for a fraction
            of the cycles.
        seed: of the device's generator.
    """

    bits: int = 5
    m: float | Literal["auto"] | None = None
    strengthen: Literal["certain", "same"] = "certain"
    visits: float | None = None
    margin: float = 0.02
    window: float = 1.0
    temperature: float = 1.0
    backward: Literal["exact", "ternary"] = "exact"
    seed: int = 1

    def __post_init__(self) -> None:
        def need(name: str, low: float, high: float, rule: str, kind: type = float) -> None:
            need_number(name, getattr(self, name), low, high, rule, kind)

        least, most = 1e-9, 1e9  # beyond them a parameter means nothing, and its integer would overflow
        need("bits", 1, 8, "a whole number from 1 (frozen) to 8", int)
        if self.m is not None and self.m != "auto":
            need("m", 0, most, "a finite number >= 0, 'auto', or left out")
        if self.strengthen not in ("certain", "same"):
            raise ExportError(f"strengthen={self.strengthen!r}: must be 'certain' or 'same'")
        if self.backward not in ("exact", "ternary"):
            raise ExportError(f"backward={self.backward!r}: must be 'exact' or 'ternary'")
        if self.visits is not None:
            need("visits", least, 1, "above 0 and at most 1")
        need("margin", 0, 1, "from 0 to 1")
        need("window", 0, most, "a finite number >= 0")
        need("temperature", least, most, "a finite number above 0")
        need("seed", 0, 2**32 - 1, "a whole number from 0 to 4294967295", int)


def need_number(name: str, value: object, low: float, high: float, rule: str, kind: type = float) -> None:
    """Raises ExportError with the rule unless value is a number (int: a whole one) from low to high."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    number = whole or (kind is float and isinstance(value, float | np.floating))
    if not number or not low <= value <= high:  # type: ignore[operator]
        raise ExportError(f"{name}={value!r}: must be {rule}")


def freeze(checkpoint: CheckpointLike, options: Options | None = None) -> Frozen:
    """The integers of a trained network. Raises ExportError if a tensor is not finite or a limit is exceeded."""
    o = options or Options()
    layers: list[Layer] = []
    spec = checkpoint.spec
    conv, images, uint8 = spec.conv, spec.images, spec.input == "uint8"
    if spec.units == "graded":
        raise ExportError("units='graded' learn on the device by a rule of their own: freeze them with hand_over")
    if uint8 and len(spec.shapes) == 1:
        raise ExportError(
            "this network is one layer on 8-bit pixels, which the device could never teach: add a hidden layer, or train with "
            "--input bits --planes 4"
        )
    if spec.norm == "instance" or (spec.norm == "batch" and spec.statistics == "batch"):
        found = f"norm={spec.norm!r}" if spec.norm == "instance" else f"statistics={spec.statistics!r}"
        raise ExportError(
            f"{found}: statistics taken at test cannot fold into thresholds, train with --norm batch --statistics running"
        )
    for name, tensor in checkpoint.tensors.items():
        if not np.isfinite(np.asarray(tensor, np.float64)).all():
            raise ExportError(f"tensor {name} holds NaN or infinity: the training diverged, train again")
    scale = 1.0
    for i, (_, inputs) in enumerate(spec.shapes):
        last, trained = i == len(spec.shapes) - 1, i < spec.trained
        pixels = uint8 and i == 0
        feature = i < len(conv) or pixels  # never learns on the device
        gain, centre, offset = _norm(checkpoint, i, inputs)
        if pixels:  # training divides its sums by 255
            gain, centre = gain / 255, centre * 255
        if trained:
            k = 1 if feature else o.bits
            hidden, delta = quantise(np.asarray(checkpoint.tensors[f"layers.{i}.hidden"], np.float64), k)
        else:  # a fixed code: one bit, and it never learns
            k, delta = 1, 0.0
            hidden = np.where(np.asarray(checkpoint.tensors[f"layers.{i}.code"], np.int64) >= 0, 0, -1).astype(np.int8)
        units = len(hidden)
        theta, window = np.zeros(units, np.int32), 0
        mul, add = np.ones(units, np.int32), np.zeros(units, np.int32)
        if last:
            mul, add, scale = _scores(gain, centre, offset)
        else:
            hidden, theta = _thresholds(hidden, gain, centre, offset, inputs * (255 if pixels else 1))
            window = 0 if feature else _window(gain, o.window)
        rule = None
        if k > 1:
            m = checkpoint.m[i] if o.m is None else guarding(k, delta) if o.m == "auto" else o.m
            rule = Rule(*tables(m, delta, k, o.strengthen), dose=_dose(o.visits, units))
        looks = _looks_through(images[i], conv[i]) if i < len(conv) else None
        kind: Literal["conv", "dense", "output"] = "conv" if looks else "output" if last else "dense"
        ternary = o.backward == "ternary" and kind == "dense" and any(layer.learns for layer in layers)
        layers.append(Layer(kind, hidden, k, i == 0, theta, window, mul, add, rule, pixels, looks, ternary=ternary))
    if o.backward == "ternary" and not any(layer.ternary for layer in layers):
        raise ExportError(
            "backward='ternary': no hidden layer of this network lies above one that learns: leave it 'exact'"
        )
    temperature = int(np.clip(round(4096 * 16 / scale / o.temperature), 1, 65535))
    encode = None
    if spec.thresholds is not None:
        thresholds = np.asarray(spec.thresholds, np.uint8)
        planes = len(thresholds)
        encode = Encode(
            thresholds, images[0][2] // planes if conv and planes > 1 else 0
        )  # one plane lies in order anyway
    return Frozen(tuple(layers), encode, temperature, round(4096 * o.margin), generator_state(o.seed))


def _looks_through(image: tuple[int, int, int], conv: ConvLike) -> Window:
    return Window(*image, kernel=conv.kernel, stride=conv.stride, same=conv.padding == "same", pool=conv.pool)


def quantise(weights: Floats, k: int, delta: float | None = None) -> tuple[NDArray[np.int8], float]:
    """Hidden weights float (N, K) -> levels int8 (N, K) and Δ: floor(W / Δ), clamped to k bits.

    Δ is delta if given. Otherwise the FULL_SCALE quantile of |W| gets the highest level: what training consolidated most is
    what the device guards most.
    """
    half = 2 ** (k - 1)
    delta = delta or float(np.quantile(np.abs(weights), FULL_SCALE)) / half or 1.0
    return np.clip(np.floor(weights / delta), -half, half - 1).astype(np.int8), delta


def tables(m: float, delta: float, k: int, strengthen: str) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """The strengthen and weaken tables, uint16 (2**(k-1),): f(r) = 1 - tanh²(m Δ (r + ½)), the paper's eq. (3)."""
    r = np.arange(2 ** (k - 1))
    f = np.minimum(CERTAIN, np.round(65536 * (1 - np.tanh(m * delta * (r + 0.5)) ** 2))).astype(np.uint16)
    return (f if strengthen == "same" else np.full_like(f, CERTAIN)), f


def guarding(k: int, delta: float) -> float:
    """The m whose weaken table ends in GUARD: tanh²(m Δ (r + ½)) = 1 - GUARD at the highest r. What a network has learnt so surely
    stays, and all below it can still move: an m that suits training may leave every level free, or none."""
    highest: int = 2 ** (k - 1) - 1
    return math.atanh(math.sqrt(1 - GUARD)) / (delta * (highest + 0.5))


def generator_state(seed: int) -> int:
    """A well mixed, non-zero xorshift32 state: seeds next to each other must not give streams next to each other."""
    z = (seed + 0x9E3779B9) & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        z = ((z ^ (z >> shift)) * factor) & 0xFFFFFFFF
    return (z ^ (z >> 16)) or 1


def _norm(checkpoint: CheckpointLike, i: int, inputs: int) -> tuple[Floats, Floats, Floats]:
    """A layer's normalisation as gain, centre and offset, each (N,): norm(a) = gain * (a - centre), and offset at gain 0."""
    units = checkpoint.spec.shapes[i][0]
    if f"layers.{i}.norm.weight" not in checkpoint.tensors:
        return np.full(units, 1 / np.sqrt(inputs)), np.zeros(units), np.zeros(units)
    weight, bias, mean, var = (
        np.asarray(checkpoint.tensors[f"layers.{i}.norm.{part}"], np.float64)
        for part in ("weight", "bias", "mean", "var")
    )
    sigma = np.sqrt(var + NORM_EPS)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = mean - np.where(bias == 0, 0.0, bias * sigma / weight)  # exactly the mean where there is no bias
    return weight / sigma, np.where(weight == 0, 0.0, centre), bias


def _thresholds(
    hidden: NDArray[np.int8], gain: Floats, centre: Floats, offset: Floats, most: int
) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """gain * (a - centre) >= 0 as a >= theta, with |a| at most `most`. A negative gain flips its unit's levels, so that the
    comparison stays >=."""
    flipped = np.where((gain < 0)[:, None], -1 - hidden, hidden).astype(np.int8)
    theta = np.ceil(np.where(gain < 0, -centre, centre))
    theta = np.where(gain == 0, np.where(offset >= 0, -most, most + 1), theta)
    return flipped, np.clip(theta, -most, most + 1).astype(np.int32)


def _window(gain: Floats, factor: float) -> int:
    """|norm(a)| <= 1 in accumulator units: the median over units, since the device has one window a layer."""
    slopes = np.abs(gain[gain != 0])
    return 0 if len(slopes) == 0 else int(np.clip(round(factor / float(np.median(slopes))), 0, 32767))


def _scores(gain: Floats, centre: Floats, offset: Floats) -> tuple[NDArray[np.int32], NDArray[np.int32], float]:
    """Integer mul, add and the score units per unit of float score. Equal gains need no resolution: mul is 1."""
    largest = float(np.abs(gain).max())
    if largest == 0:
        raise ExportError("every output gain is zero: the network scores all classes alike, train again")
    shift = np.where(gain == 0, offset, -gain * centre)
    if np.ptp(gain) == 0 and not shift.any():
        return np.ones(len(gain), np.int32), np.zeros(len(gain), np.int32), 1 / largest
    scale = SCORE_STEPS if largest * SCORE_STEPS >= 1 else 1 / largest
    mul, add = np.round(gain * scale), np.round(shift * scale)
    most = max(float(np.abs(mul).max()), float(np.abs(add).max()))
    if most >= 2**31:
        raise ExportError(f"the output normalisation reaches {most:.3g} score units, beyond 32 bits: train again")
    return mul.astype(np.int32), add.astype(np.int32), scale


def _dose(visits: float | None, units: int) -> int:
    """Visits per eligible input of a wholly wrong sample, in 1/4096, spread over all units."""
    most = 2**20 - 1
    if visits is None:
        return max(1, min(most, round(VISITS * units * 4096)))
    dose = round(visits * units * 4096)
    if dose > most:
        raise ExportError(f"visits={visits}: at most {most / 4096 / units:.3g} for a layer of {units} units")
    return max(1, dose)
