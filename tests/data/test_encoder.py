from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from metabit.data.encoder import Encoder
from metabit.data.errors import DataError

NEVER = {"uint8": 256, "int16": 32768}


@st.composite
def tables(draw: st.DrawFn) -> NDArray[np.float64]:
    """(n, F) of features that differ in scale, in offset and in their tails, with repeated values and constants."""
    shape = draw(st.tuples(st.integers(1, 40), st.integers(1, 6)))
    unit = draw(hnp.arrays(np.float64, shape, elements=st.floats(-3, 3)))
    scale = 10.0 ** draw(hnp.arrays(np.float64, shape[1:], elements=st.floats(-30, 30)))
    offset = scale * draw(hnp.arrays(np.float64, shape[1:], elements=st.floats(-1e6, 1e6)))
    shapes = [lambda v: v, np.exp, np.round, np.zeros_like]
    picked = [
        shapes[i](unit[:, f])
        for f, i in enumerate(draw(st.lists(st.integers(0, 3), min_size=6, max_size=6))[: shape[1]])
    ]
    return np.stack(picked, axis=1) * scale + offset


@given(tables(), st.sampled_from([None, 1, 3, 8]))
@settings(max_examples=300, deadline=None)
def test_any_numbers(x: NDArray[np.float64], planes: int | None) -> None:
    encoder = Encoder.fit(x, planes)
    assert encoder.planes == planes or planes is None
    q = encoder.quantise(x)
    assert q.dtype == encoder.kind and encoder.ranges().shape == (2, x.shape[1])
    bits = encoder.to_bits(x).reshape(len(x), encoder.planes, encoder.features)
    assert np.array_equal(bits, q[:, None] >= encoder.thresholds)
    # more of a feature never turns a bit off, and more planes are on below than above
    for f in range(x.shape[1]):
        assert (np.diff(bits[np.argsort(x[:, f], kind="stable"), :, f].astype(int), axis=0) >= 0).all()
    assert (np.diff(encoder.thresholds, axis=0) >= 0).all() and (np.diff(bits.astype(int), axis=1) <= 0).all()
    # a plane that training turns on always, or never, belongs to a feature whose integers do not vary
    constant = (q == q[0]).all(0)
    assert (encoder.thresholds[:, constant] == NEVER[encoder.kind]).all()
    share = bits.mean(0)[:, ~constant]
    assert ((share > 0) & (share < 1)).all()
    assert Encoder.from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder


@given(tables())
@settings(max_examples=100, deadline=None)
def test_values_beyond_the_range_are_limited_and_counted_and_change_no_bit(x: NDArray[np.float64]) -> None:
    encoder = Encoder.fit(x)
    low, high = encoder.ranges()
    with np.errstate(over="ignore"):
        far = np.stack([low - (high - low), high + (high - low)])
    far = np.clip(far, -3e38, 3e38)
    bits = encoder.to_bits(far).reshape(2, encoder.planes, -1)
    assert not bits[0].any()
    assert np.array_equal(bits[1], encoder.thresholds < NEVER[encoder.kind])
    varies = encoder.thresholds[0] < NEVER[encoder.kind]
    reached = (np.abs(far) < 3e38).all(0)
    assert np.array_equal(encoder.clipped(far)[reached], 2 * varies[reached])
    assert (encoder.clipped(x) <= len(x)).all()


@given(hnp.arrays(np.float32, (20, 3), elements=st.floats(-1000, 1000, width=32)))
@settings(max_examples=100, deadline=None)
def test_the_integers_follow_the_formula(x: NDArray[np.float32]) -> None:
    encoder = Encoder.fit(x)
    exact = (x.astype(np.float64) - encoder.low) * encoder.steps
    lowest = NEVER[encoder.kind] - (256 if encoder.kind == "uint8" else 65536)
    expected = np.clip(exact, 0, NEVER[encoder.kind] - 1 - lowest) + lowest
    assert (np.abs(encoder.quantise(x) - expected) <= 0.5 + 65535 * 2.0**-22).all()  # half an integer, and float32


def test_even_thresholds() -> None:
    x = np.linspace(0, 1, 1001)[:, None] * [1.0, 1e-6, 1e9] + [0, 5.0, -3e9]
    encoder = Encoder.fit(x, 4)
    assert encoder.kind == "int16" and not encoder.raw
    cuts = encoder.low + (encoder.thresholds + 32768.0) / encoder.steps
    expected = (0.02 + 0.96 * np.array([[1], [3], [5], [7]]) / 8) * [1.0, 1e-6, 1e9] + [0, 5.0, -3e9]
    assert np.allclose(
        (cuts - [0, 5.0, -3e9]) / [1.0, 1e-6, 1e9], (expected - [0, 5, -3e9]) / [1.0, 1e-6, 1e9], atol=0.3
    )
    assert np.allclose(cuts[:, [0, 2]], expected[:, [0, 2]], rtol=1e-4, atol=1e-4)
    assert encoder.clipped(x).tolist() == [0, 0, 0]
    assert encoder.clipped(x + [9, 0, 0]).tolist() == [1001, 0, 0]


def test_heavy_tails_get_quantiles() -> None:
    x = np.exp(3 * np.random.default_rng(0).normal(size=(5000, 1)))
    encoder = Encoder.fit(x, 8)
    on = encoder.to_bits(x).mean(0)
    assert np.allclose(on, 1 - np.arange(1, 9) / 9, atol=0.005)
    assert np.allclose(Encoder.fit(x, 1).to_bits(x).mean(), 0.5, atol=0.01)


def test_nearly_always_one_value() -> None:
    x = np.zeros((1000, 2))
    x[:3, 0] = (1.0, 2.5, 4.0)
    encoder = Encoder.fit(x, 4)
    bits = encoder.to_bits(x).reshape(-1, 4, 2)
    assert bits[:4, :, 0].tolist() == [[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    assert not bits[:, :, 1].any()
    assert not encoder.to_bits(x + [0, 1e9]).reshape(-1, 4, 2)[:, :, 1].any()  # a constant stays off for ever


def test_whole_numbers_are_kept() -> None:
    x = np.arange(256).repeat(2).reshape(-1, 2)
    for dtype in (np.uint8, np.int64, np.float32, np.float64):
        encoder = Encoder.fit(x.astype(dtype), 1)
        assert encoder.kind == "uint8" and encoder.raw and encoder.thresholds.tolist() == [[128, 128]]
        assert np.array_equal(encoder.quantise(x), x)
    assert np.array_equal(encoder.quantise([[-3.0, 255.6]]), [[0, 255]])
    assert encoder.clipped(np.array([[-3.0, 255.6]])).tolist() == [1, 1]
    assert np.array_equal(encoder.quantise(np.array([[2.5, 2.49]])), [[3, 2]])
    signed = Encoder.fit(x.astype(np.int16) - 128, 1)
    assert signed.kind == "int16" and signed.raw and signed.thresholds.tolist() == [[0, 0]]
    assert np.array_equal(signed.quantise(x - 128), x - 128)
    mixed = Encoder.fit(np.stack([x[:, 0], x[:, 1] / 256], axis=1))
    assert mixed.kind == "int16" and mixed.steps[0] == 1 and not mixed.raw
    assert np.array_equal(mixed.quantise(np.stack([x[:, 0], x[:, 1] / 256], axis=1))[:, 0], x[:, 0])


def test_planes() -> None:
    rng = np.random.default_rng(0)
    for features, planes in ((1, 8), (128, 8), (129, 7), (512, 2), (513, 1), (2000, 1)):
        assert Encoder.fit(rng.normal(size=(9, features))).planes == planes
    bitmap = rng.integers(0, 2, (50, 9)).astype(bool)
    encoder = Encoder.fit(bitmap)
    assert encoder.planes == 1 and np.array_equal(encoder.to_bits(bitmap), bitmap)
    assert np.array_equal(encoder.to_bits(bitmap.astype(float)), bitmap)


def test_shared_thresholds() -> None:
    x = np.random.default_rng(0).integers(0, 256, (100, 12), dtype=np.uint8)
    x[:, 0] = 0
    encoder = Encoder.fit(x, 2, shared=True)
    assert encoder.thresholds.shape == (2, 12) and (encoder.thresholds == encoder.thresholds[:, :1]).all()
    assert (encoder.thresholds < 256).all()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[1.0, np.nan]], "feature 1 of sample 0 is nan: must be a finite float32"),
        ([[1.0, 2.0], [np.inf, 1]], "feature 0 of sample 1 is inf"),
        ([[1.0, 1e39]], "feature 1 of sample 0 is 1e\\+39"),
        ([1.0, 2.0], "features have shape \\(2,\\)"),
        (np.zeros((0, 3)), "at least one of each"),
        ([["a", "b"]], "must be numbers"),
    ],
)
def test_what_cannot_be_encoded(x: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Encoder.fit(x)  # type: ignore[arg-type]


def test_names_and_numbers_of_features() -> None:
    encoder = Encoder.fit(np.eye(3), names=("temperature", "x", "y"))
    with pytest.raises(DataError, match="temperature of sample 1 is nan"):
        encoder.quantise(np.array([[0, 0, 0], [np.nan, 0, 0]]))
    with pytest.raises(DataError, match="2 features: the encoder was fitted on 3"):
        encoder.to_bits(np.eye(2))
    with pytest.raises(DataError, match="2 names for 3 features"):
        Encoder.fit(np.eye(3), names=("a", "b"))
    with pytest.raises(DataError, match="planes=9: must be from 1 to 8"):
        Encoder.fit(np.eye(3), 9)
    assert encoder != Encoder.fit(np.eye(3))
    assert encoder.quantise(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "int8"},
        {"low": [0.0]},
        {"steps": [0.0, 1.0]},
        {"steps": [float("nan"), 1.0]},
        {"thresholds": [[0, 1]]},
        {"thresholds": [[1, 257]]},
        {"thresholds": [1, 1]},
        {"thresholds": [[1, 2], [1]]},
        {"thresholds": "x"},
        {"names": ["a"]},
        {"names": None},
    ],
)
def test_a_damaged_encoder_is_refused(change: dict[str, object]) -> None:
    good = Encoder.fit(np.eye(2)).to_dict()
    assert Encoder.from_dict(good).to_dict() == good
    with pytest.raises(DataError):
        Encoder.from_dict(good | change)
    for name in good:
        with pytest.raises(DataError):
            Encoder.from_dict({key: value for key, value in good.items() if key != name})
