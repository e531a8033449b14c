"""Random frozen networks, and what they must compute, in plain NumPy integers."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from metabit.export.frozen import Counters, Encode, Frozen, Layer, Rule


def random_frozen(
    widths: tuple[int, ...],
    *,
    planes: int = 1,
    on_off: bool = True,
    bits: tuple[int, ...] | int = 4,
    seed: int = 0,
) -> Frozen:
    """A network of ``widths``: features (input bits where planes = 0, without an encoder), hidden units ..., classes.

    Thresholds lie where sums fall, except that the first two units of a hidden layer are always on and always off.
    """
    random = np.random.default_rng(seed)
    inputs = [widths[0] * max(planes, 1), *widths[1:-1]]
    per_layer = bits if isinstance(bits, tuple) else (bits,) * len(inputs)
    layers = [
        _random_layer(random, units, count, k, on_off and i == 0, is_output=i == len(inputs) - 1)
        for i, (units, count, k) in enumerate(zip(widths[1:], inputs, per_layer, strict=True))
    ]
    thresholds = np.sort(random.integers(0, 256, (planes, widths[0]), np.uint8), axis=0)
    counters = Counters(steps=2**32 - 1, moved=12, flipped=3)
    return Frozen(tuple(layers), Encode(thresholds) if planes else None, 900, 128, 0xDEADBEEF, counters)


def _random_layer(random: np.random.Generator, units: int, inputs: int, k: int, on_off: bool, is_output: bool) -> Layer:
    half = 1 << (k - 1)
    theta = random.normal(0, inputs**0.5, units).astype(np.int32)
    theta[:1], theta[1:2] = -(2**31), 2**31 - 1
    zeros, ones = np.zeros(units, np.int32), np.ones(units, np.int32)
    tables = random.integers(0, 65536, (2, half)).astype(np.uint16)
    return Layer(
        kind="output" if is_output else "dense",
        hidden=random.integers(-half, half, (units, inputs)).astype(np.int8),
        bits=k,
        on_off=on_off,
        theta=zeros if is_output else theta,
        window=0 if is_output else 17,
        mul=random.integers(-9000, 9000, units, np.int32) if is_output else ones,
        add=random.integers(-(2**30), 2**30, units, np.int32) if is_output else zeros,
        rule=Rule(tables[0], tables[1], dose=700) if k > 1 else None,
    )


def random_input(frozen: Frozen, n: int, seed: int = 1) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    if frozen.encode:
        return random.integers(0, 256, (n, frozen.encode.features), np.uint8)
    return random.integers(0, 2, (n, frozen.input_bits), np.uint8)


def reference_scores(frozen: Frozen, x: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Scores int64 (n, classes), written from docs/learning-rule.md alone."""
    if frozen.encode:
        x = np.concatenate([x >= plane for plane in frozen.encode.thresholds], axis=1).astype(np.uint8)
    signal = x.astype(np.int64)
    if not frozen.layers[0].on_off:
        signal = 2 * signal - 1
    for layer in frozen.layers:
        sums = signal @ np.where(layer.hidden >= 0, 1, -1).T
        if layer.kind == "output":
            return np.asarray(sums * layer.mul + layer.add)
        signal = np.where(sums >= layer.theta, 1, -1)
    raise AssertionError("a network ends with an output layer")


def assert_same(ours: Frozen, theirs: Frozen) -> None:
    """Equal in every field, array dtypes included."""
    np.testing.assert_equal(_plain(ours), _plain(theirs))


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return str(value.dtype), value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value


NETWORKS = {
    "one layer": random_frozen((5, 3), seed=1),
    "odd sizes, 3 planes": random_frozen((83, 33, 7), planes=3, bits=(3, 1), seed=2),
    "no encoder, on/off": random_frozen((64, 31, 10), planes=0, bits=(8, 2), seed=3),
    "no encoder, signs": random_frozen((250, 64, 65, 2), planes=0, on_off=False, bits=(5, 6, 7), seed=4),
    "images": random_frozen((784, 256, 100, 10), planes=1, seed=5),
    "wide": random_frozen((512, 40, 10), planes=8, bits=2, seed=6),
    "all frozen": random_frozen((17, 9, 4), bits=1, seed=7),
}


@st.composite
def small_networks(draw: st.DrawFn) -> Frozen:
    """Hypothesis strategy: 1 to 3 layers of any small width, every kind of input, 1 to 8 hidden bits."""
    widths = draw(st.lists(st.integers(1, 40), min_size=2, max_size=4))
    return random_frozen(
        tuple(widths),
        planes=(planes := draw(st.integers(0, 3))),
        on_off=planes > 0 or draw(st.booleans()),
        bits=tuple(draw(st.integers(1, 8)) for _ in widths[1:]),
        seed=draw(st.integers(0, 2**32 - 1)),
    )
