"""Convolutions, pooling and 8-bit inputs: the C runtime against the oracle, and the oracle against loops of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from agreement import agree_while_learning
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import any_windowed, conv, inputs, inputs_of_density, oracle_input, windowed
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.files.image import read_image, write_image
from metabit.export.frozen import ConvLayer, DenseLayer, Frozen
from metabit.export.oracle import Oracle
from metabit.runtime import Model


def agree_forward(frozen: Frozen, x: NDArray[np.uint8]) -> None:
    rule = Oracle(frozen)
    expected = np.array([rule.scores(oracle_input(frozen, row)) for row in x])
    np.testing.assert_array_equal(Model(write_image(frozen)).scores(x), expected)


@settings(max_examples=150, deadline=None)
@given(any_windowed(), st.lists(st.sampled_from([0, 0.1, 0.5, 0.9, 1]), min_size=3, max_size=3), st.integers(0, 99))
def test_any_network_of_windows_is_the_oracle_s(frozen: Frozen, densities: list[float], seed: int) -> None:
    x = [inputs_of_density(frozen, density, 1, seed + i) for i, density in enumerate(densities)]
    x = np.concatenate([*x, inputs(frozen, 3, seed)])
    agree_while_learning(frozen, x, np.arange(len(x)) % frozen.classes)
    image = write_image(frozen)
    assert write_image(read_image(image)) == image == Model(image).image()


@pytest.mark.parametrize(
    ("channels", "kernel"),
    [(1, 1), (1, 4), (17, 1), (3, 3), (28, 1), (29, 1), (31, 1), (32, 1), (33, 1), (49, 1), (3, 5), (16, 2), (65, 1)],
)
@pytest.mark.parametrize("units", [1, 2, 33, 64])
def test_windows_on_bytes_of_every_length(channels: int, kernel: int, units: int) -> None:
    """One word of weights or several, whole or half: half windows on either side of 16, 28 and 32 inputs."""
    frozen = windowed(7, (5, 4, channels), (conv(units, kernel, 1, True),), (5,), "uint8", 3)
    agree_while_learning(frozen, inputs(frozen, 6), np.arange(6) % 5)


def test_a_row_longer_than_a_list_is_taken_in_strips() -> None:
    """1,500 columns of 47 channels: more inputs than 16 bits count. The size of a list does not grow with the row."""
    wide, wider = (windowed(7, (2, width, 47), (conv(5, 3, 1, True, 2),), (3,), "bits", 2) for width in (750, 1500))
    agree_while_learning(
        wider, np.concatenate([inputs_of_density(wider, d, 1, 3) for d in (0.1, 0.5, 0.95)]), np.arange(3)
    )
    more = Model(write_image(wider)).arena_size("infer") - Model(write_image(wide)).arena_size("infer")
    bits_and_list = 2 * 750 * 47 // 8 + 375 * 5 * (2 + 4 / 16 + 1 / 8)
    assert 0 < more < bits_and_list + 100


def by_hand(frozen: Frozen, x: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
    """Activations of every convolution, each sum by itself, without NumPy's windows and without padding an array."""
    made = []
    signal = oracle_input(frozen, x).astype(np.int64)
    if frozen.encode is not None:
        planes, features = frozen.encode.thresholds.shape
        signal = np.array(
            [
                int(x[pixel + c]) >= frozen.encode.thresholds[p, pixel + c]
                for pixel in range(0, features, frozen.encode.channels)
                for p in range(planes)
                for c in range(frozen.encode.channels)
            ],
            np.int64,
        )
    for layer in frozen.layers:
        if not isinstance(layer, ConvLayer):
            break
        c, outside = layer.geometry, 255 if layer.takes == "bytes" else 1
        (top, _), (left, _) = c.pads(c.height), c.pads(c.width)
        out = []
        for row in range(c.pooled[0]):
            for column in range(c.pooled[1]):
                for unit in range(layer.units):
                    on = False
                    for dy in range(c.pool):
                        for dx in range(c.pool):
                            a, j = 0, 0
                            for ky in range(c.kernel):
                                for kx in range(c.kernel):
                                    y = (row * c.pool + dy) * c.stride + ky - top
                                    z = (column * c.pool + dx) * c.stride + kx - left
                                    inside = 0 <= y < c.height and 0 <= z < c.width
                                    for channel in range(c.channels):
                                        v = signal[(y * c.width + z) * c.channels + channel] if inside else outside
                                        a += int(layer.weights[unit, j]) * int(v)
                                        j += 1
                            on = on or a >= layer.theta[unit]
                    out.append(1 if on else -1)
        signal = np.array(out, np.int64)
        made.append(signal)
    return made


@pytest.mark.parametrize("source", ["bits", "uint8", "1", "3"])
@pytest.mark.parametrize(
    "convs",
    [
        (conv(5, 3),),
        (conv(33, 2, 1, True, 2), conv(3, 3, 2, True)),
        (conv(9, 5, 1, True, 2), conv(2, 2, 3, False)),
        (conv(7, 1, 2), conv(2, 4, 1, True, 3)),
    ],
    ids=str,
)
def test_the_oracle_is_what_loops_say(convs: tuple[dict[str, Any], ...], source: str) -> None:
    frozen = windowed(3, (7, 6, 3), convs, (4,), source)
    for x in inputs(frozen, 3):
        found = Oracle(frozen).forward(oracle_input(frozen, x))[0][1:]
        for mine, theirs in zip(by_hand(frozen, x), found, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        assert 0.05 < (found[0] > 0).mean() < 0.999


@pytest.mark.parametrize("wide", [1, 7, 8, 127, 128, 129, 300, 2056])
def test_sums_of_bytes_cross_every_power_of_two(wide: int) -> None:
    """All weights +1, all -1 and random ones, on inputs of 0 to 100 % full scale, with thresholds everywhere."""
    frozen = windowed(1, (1, 1, wide), (), (70, 5), "uint8")
    first = frozen.layers[0]
    first.hidden[:20], first.hidden[20:40] = 0, -1
    first.theta[:] = np.random.default_rng(2).integers(-255 * wide, 255 * wide + 2, 70)
    x = np.concatenate([inputs_of_density(frozen, d, 1, seed) for seed, d in enumerate(np.linspace(0, 1, 41))])
    x[20:] = np.minimum(x[20:], np.linspace(0, 255, 21, dtype=np.uint8)[:, None])
    agree_while_learning(frozen, x, np.arange(len(x)) % 5)


@pytest.mark.parametrize("wide", [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130])
def test_every_byte_in_lists_of_every_length(wide: int) -> None:
    """All inputs alike, the first few, then one alone: each value's digits, in lists of every remainder of 8, 16 and 32."""
    frozen = windowed(wide, (1, 1, wide), (), (67, 5), "uint8")
    frozen.layers[0].theta[:] = np.random.default_rng(3).integers(-128 * wide, 128 * wide + 1, 67)
    x = np.zeros((3, 256, wide), np.uint8)
    x[0] = np.arange(256)[:, None]
    x[1] = np.where(np.arange(wide) <= np.arange(256)[:, None] % wide, x[0], 0)
    x[2, np.arange(256), np.arange(256) * 7 % wide] = np.arange(256)
    agree_forward(frozen, x.reshape(-1, wide))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 900),
    st.lists(st.integers(0, 255), min_size=1, max_size=5),
    st.sampled_from([1, 31, 32, 33, 70]),
    st.integers(0, 99),
)
def test_lists_too_long_for_one_turn_are_taken_in_several(wide: int, palette: list[int], units: int, seed: int) -> None:
    """Few values, each with up to five digits: places whose lists hold every input, beside empty ones."""
    frozen = windowed(seed, (1, 1, wide), (), (units, 5), "uint8")
    agree_forward(frozen, np.random.default_rng(seed).choice(np.array(palette, np.uint8), (4, wide)))


def test_a_head_learns_above_frozen_features_and_no_work_is_done_below() -> None:
    frozen = windowed(5, (9, 8, 3), (conv(12, 3, 1, True, 2), conv(9, 3)), (20, 6), "uint8", 4)
    oracle, _ = agree_while_learning(frozen, inputs(frozen, 40), np.arange(40) % 6)
    assert oracle.flipped > 20
    for before, after, layer in zip(frozen.layers, oracle.levels, frozen.layers, strict=True):
        assert np.array_equal(before.hidden, after) != layer.learns


def test_arenas_are_as_large_as_the_layers_ask() -> None:
    """Bits, not bytes, between layers: 16 x 16 x 32 activations are 1 KiB."""
    small, large = (windowed(1, (16, 16, 3), (conv(units, 3, 1, True),), (3,), "bits") for units in (1, 32))
    found = [Model(write_image(frozen)).arena_size("infer") for frozen in (small, large)]
    assert 0 < found[1] - found[0] - 16 * 16 * 31 // 8 < 20_000  # the dense layer's list and carries are the rest


def test_a_dense_layer_that_takes_bytes_cannot_learn() -> None:
    frozen = windowed(1, (1, 1, 9), (), (8, 3), "uint8")
    first, head = frozen.layers
    assert isinstance(first, DenseLayer)
    change = replace(first, rule=head.rule, bits=head.bits, ste_window=3, ternary=True)
    with pytest.raises(
        ExportError, match="layer 0 takes bytes and has a rule and an ste_window and ternary: it does not learn"
    ):
        write_image(replace(frozen, layers=(change, head)))
