"""Units from nothing: the NumPy oracle and the plain C reference agree, also at the limits, and the floats behind them."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compilers import UNDEFINED, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.freeze.triples import Takes, device_integers, fit_triples, sample_of_ranges
from metabit.export.frozen import TriplesLayer
from metabit.export.oracle.triples import standardised, sums, values
from metabit.export.validate_gates import MAX_ADD
from metabit.export.validate_triples import MAX_SHIFT, STEEPEST, check_triples

REFERENCE = Path(__file__).parents[1] / "reference" / "triples.c"
ARRAYS = ("feature_mul", "feature_add", "feature_shift", "index", "hidden", "mul", "add", "top", "low", "high")


class CTriples(ctypes.Structure):
    """mb_triples of tests/reference/triples.h."""

    _fields_ = [
        *[(name, ctypes.c_uint16) for name in ("units", "wide")],
        *[(name, ctypes.c_void_p) for name in ARRAYS],
    ]


def c_values(library: ctypes.CDLL, layer: TriplesLayer, q: NDArray[Any]) -> NDArray[np.int8]:
    """Values (n, H) of the C reference for integers (n, F) of the device."""
    arrays = [np.ascontiguousarray(getattr(layer, name)) for name in ARRAYS]
    c = CTriples(layer.units, int(layer.integers == "int16"), *(array.ctypes.data for array in arrays))
    rows, x = np.ascontiguousarray(q.astype(layer.integers)), np.zeros((len(q), layer.units), np.int8)
    for row, out in zip(rows, x, strict=True):
        library.mb_triples_values(ctypes.byref(c), ctypes.c_void_p(row.ctypes.data), ctypes.c_void_p(out.ctypes.data))
    return x


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return shared(tmp_path_factory.mktemp("triples") / "triples.so", REFERENCE, options=UNDEFINED)


def integers(layer: TriplesLayer, x: NDArray[Any]) -> NDArray[Any]:
    """Integers that the device is given for features (n, F)."""
    return device_integers(x, layer.integers, layer.scale)


def tables(rng: np.random.Generator, n: int, features: int) -> NDArray[np.float64]:
    """Correlated features whose scales lie between 1/50 and 50 or so, one of them constant, one of whole numbers."""
    x = rng.normal(size=(n, features)) @ rng.normal(size=(features, features))
    x = x * np.exp(2 * rng.normal(size=features)) + 10 * rng.normal(size=features)
    x[:, 0], x[:, 1] = 7, np.rint(rng.normal(0, 3, n))
    return x


@pytest.mark.parametrize(
    ("takes", "kind"), [("auto", "int16"), ("float", "int16"), ("uint8", "uint8"), ("int16", "int16")]
)
@pytest.mark.parametrize(("features", "units"), [(3, 2), (12, 64), (300, 128)])
def test_oracle_and_c_agree_and_equal_the_floats(
    library: ctypes.CDLL, takes: Takes, kind: str, features: int, units: int
) -> None:
    rng = np.random.default_rng(features)
    x = tables(rng, 400, features)
    if takes in ("uint8", "int16"):
        least, most = (0, 255) if takes == "uint8" else (-30000, 30000)
        x = np.rint(least + (x - x.min(0)) / np.maximum(np.ptp(x, axis=0), 1) * (most - least))
    found = fit_triples(x[:64], units, takes, seed=5)
    check_triples(0, found)
    assert found.integers == kind and (found.scale is None) == (takes in ("uint8", "int16"))
    q = integers(found, x)
    given = values(found, q)
    np.testing.assert_array_equal(c_values(library, found, q), given)
    off = np.abs(given.astype(int) - floats(found, x, x[:64]))
    assert off.max() <= 4 and off.mean() < 0.5  # of 254; the most where a unit is steepest


def floats(layer: TriplesLayer, x: NDArray[Any], sample: NDArray[Any]) -> NDArray[np.float64]:
    """The units of docs/learning-rule.md in floats, with the features and weights of the layer and the same offsets."""
    mean, deviation, half = sample.mean(0), sample.std(0), layer.units // 2
    offset = np.random.default_rng([5, 2]).normal(0, 0.5, layer.units)

    def sums_of(a: NDArray[Any]) -> NDArray[np.float64]:
        z = np.clip((a - mean) / np.where(deviation > 0, deviation, np.inf), -4, 4)
        total: NDArray[np.float64] = (z[:, layer.index] * layer.hidden).sum(-1)
        return total

    base = sums_of(sample)

    def outputs(a: NDArray[np.float64]) -> NDArray[np.float64]:
        s = (a - base.mean(0)) / base.std(0)
        gates, steps = 1.6 - 1.6 * np.abs(0.8 * s[:, :half] - offset[:half]), s[:, half:] - offset[half:]
        return np.clip(np.concatenate([gates, steps], axis=1), -1, 1)

    known = outputs(base)
    scaled = (outputs(sums_of(x)) - known.mean(0)) / np.maximum(known.std(0), 0.05) * 32
    return np.clip(np.rint(scaled), -127, 127)


@given(st.integers(0, 2**32 - 1), st.sampled_from(("uint8", "int16")), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_constant_overflows(library: ctypes.CDLL, seed: int, kind: Any, extremes: bool) -> None:
    """Any constants that are allowed, any features: no undefined behaviour in C, and the integers of the oracle."""
    rng = np.random.default_rng(seed)
    features, half = int(rng.integers(1, 9)), int(rng.integers(1, 5))

    def drawn(least: int, most: int, shape: tuple[int, ...], dtype: type[Any]) -> NDArray[Any]:
        values = rng.choice([least, most], shape) if extremes else rng.integers(least, most + 1, shape)
        return values.astype(dtype)

    shape = (2 * half,)
    ends = np.sort(drawn(-127, 127, (2, 2 * half), np.int8), axis=0)
    layer = TriplesLayer(
        drawn(-2, 2, (2 * half, 3), np.int8), kind, None, drawn(0, 32767, (features,), np.int16),
        drawn(-MAX_ADD, MAX_ADD, (features,), np.int32), drawn(0, MAX_SHIFT, (features,), np.uint8),
        rng.integers(0, features, (2 * half, 3)).astype(np.uint16), drawn(-STEEPEST, STEEPEST, shape, np.int32),
        drawn(-MAX_ADD, MAX_ADD, shape, np.int32), drawn(0, MAX_ADD, (half,), np.int32), ends[0], ends[1],
    )  # fmt: skip
    check_triples(0, layer)
    limits = np.iinfo(kind)
    q = drawn(limits.min, limits.max, (20, features), np.int32)
    assert np.abs(sums(layer, q) * layer.mul + layer.add).max() < 2**31
    np.testing.assert_array_equal(c_values(library, layer, q), values(layer, q))


def test_a_sample_of_ranges_is_even_and_repeats() -> None:
    ranges = np.array([[0, 1], [-5, 20], [1000, 1010]])
    sample = sample_of_ranges(ranges, 3)
    assert sample.shape == (1024, 3) and np.array_equal(sample, sample_of_ranges(ranges, 3))
    assert (sample.min(0) >= ranges[:, 0]).all() and (sample.max(0) <= ranges[:, 1]).all()
    np.testing.assert_allclose(sample.std(0), np.ptp(ranges, axis=1) / np.sqrt(12), rtol=0.05)


def test_whole_ranges_give_whole_numbers() -> None:
    sample = sample_of_ranges(np.array([[0, 3], [0, 255]]), whole=True)
    assert set(np.unique(sample[:, 0])) == {0, 1, 2, 3}
    layer = fit_triples(sample, 8, "uint8")
    assert layer.integers == "uint8" and layer.scale is None


def test_seeds_differ_and_repeat() -> None:
    x = tables(np.random.default_rng(0), 64, 6)
    a, b, c = (values(fit_triples(x, 8, seed=seed), np.zeros((1, 6), np.int16)) for seed in (3, 3, 4))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_a_value_far_outside_is_limited_and_a_constant_counts_nothing() -> None:
    x = tables(np.random.default_rng(0), 64, 6)
    layer = fit_triples(x, 64)
    assert layer.scale is not None and not layer.feature_mul[0] and not layer.hidden[layer.index == 0].any()
    far = np.where(np.arange(6) % 2, 1e30, -1e30)[None]
    assert np.array_equal(np.abs(standardised(layer, integers(layer, far)))[0], [0, 1024, 1024, 1024, 1024, 1024])


def test_units_take_one_two_and_three_features_in_turn() -> None:
    layer = fit_triples(tables(np.random.default_rng(0), 64, 6), 12)
    assert (layer.hidden != 0).sum(1).tolist() == 4 * [1, 2, 3]
    assert all(
        len(set(index[weight != 0])) == (weight != 0).sum()
        for index, weight in zip(layer.index, layer.hidden, strict=True)
    )


@pytest.mark.parametrize(
    ("sample", "sizes", "sentence"),
    [
        (
            np.zeros((15, 3)),
            (8,),
            r"the sample has shape \(15, 3\): must be at least 16 samples of 1 to 16384 features, or give ranges",
        ),
        (np.zeros((16, 3)), (8,), "no feature of the sample varies: draw it from all classes, or give ranges"),
        (np.full((16, 3), "a"), (8,), "the sample has dtype <U1: must be numbers"),
        (np.full((16, 3), np.nan), (8,), "feature 0 of sample 0 is nan: must be a finite float32, drop the row"),
        (np.eye(16), (7,), "units=7: must be an even number from 2 to 128, half of them are gates and half steps"),
        (np.eye(16), (130,), "units=130: must be an even number from 2 to 128"),
        (
            300 * np.eye(16),
            (8, "uint8"),
            r"feature 0 lies in 0..300, and takes='uint8': must lie in 0..255, or take float",
        ),
        (np.eye(16), (8, "bits"), "takes='bits': must be auto, uint8, int16 or float"),
    ],
)
def test_a_wrong_sample_is_a_sentence(sample: NDArray[Any], sizes: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence):
        fit_triples(sample, *sizes)


@pytest.mark.parametrize(
    ("ranges", "sentence"),
    [
        ([1, 2], r"ranges have shape \(2,\): must be \(features, 2\), the lowest and the highest value of each"),
        ([[0, 1], [2, 2]], r"feature 1 has the range 2..2: the second number must be the greater one"),
        ([[0, np.inf]], r"feature 0 has the range 0..inf: the second number must be the greater one"),
    ],
)
def test_a_wrong_range_is_a_sentence(ranges: Any, sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence):
        sample_of_ranges(ranges)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"mul": np.full(8, STEEPEST + 1, np.int32)}, "layer 0 has mul up to 131073, the format holds at most 131072"),
        ({"top": np.zeros(8, np.int32)}, r"layer 0: top is int32 \(8,\), must be int32 \(4,\)"),
        ({"top": np.full(4, -1, np.int32)}, "layer 0: feature_mul and top must not be negative"),
        ({"low": np.full(8, 127, np.int8), "high": np.zeros(8, np.int8)}, "layer 0: low must not be above high"),
        ({"index": np.full((8, 3), 9, np.uint16)}, "layer 0 has index up to 9, the format holds at most 5"),
        ({"hidden": np.full((8, 3), 3, np.int8)}, "layer 0 has weights up to 3, the format holds at most 2"),
        ({"integers": "int8"}, "layer 0 takes 'int8': must be uint8 or int16"),
        ({"scale": np.zeros((2, 6), np.float32)}, "low and steps of the scale must be finite, and steps above 0"),
    ],
)
def test_a_wrong_constant_is_a_sentence(wrong: dict[str, Any], sentence: str) -> None:
    layer = fit_triples(tables(np.random.default_rng(0), 64, 6), 8)
    with pytest.raises(ExportError, match=sentence):
        check_triples(0, replace(layer, **wrong))
