"""The head: the NumPy oracle and the plain C reference agree on the whole state after every step, and it learns."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compilers import UNDEFINED, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.oracle.head import COUNT_LIMIT, Head, HeadSettings, natural_log, triangle

REFERENCE = Path(__file__).parents[1] / "reference" / "head.c"
POINTERS = ("covariance", "means", "offsets", "priors", "counts", "weights", "counters")


class CHead(ctypes.Structure):
    """mb_head of tests/reference/head.h."""

    _fields_ = [
        *[
            (name, ctypes.c_uint16)
            for name in ("values", "rows", "memory", "covariance_memory", "ridge", "prior", "sweep_every")
        ],
        *[(name, ctypes.c_void_p) for name in POINTERS],
    ]


class Reference:
    """The C reference with the state of an oracle."""

    def __init__(self, library: ctypes.CDLL, head: Head) -> None:
        self.c, self.at = library, triangle(head.means.shape[1])
        rows, values = head.means.shape
        self.arrays: dict[str, NDArray[Any]] = {
            "covariance": head.covariance[self.at].astype(np.int16), "means": head.means.astype(np.int16),
            "offsets": np.zeros(rows, np.int32), "priors": np.zeros(rows, np.int32),
            "counts": head.counts.astype(np.uint16), "weights": head.weights.astype(np.int8),
            "counters": np.array([head.seen, head.dither, head.turn], np.uint16),
        }  # fmt: skip
        s = head.settings
        numbers = (values, rows, s.memory, s.covariance_memory, s.ridge, int(s.prior), s.sweep_every)
        self.head = CHead(*numbers, *(self.arrays[name].ctypes.data for name in POINTERS))
        self.scores, self.residual = np.zeros(rows, np.int32), np.zeros(values, np.int16)
        library.mb_head_derive(ctypes.byref(self.head))

    def predict(self, x: NDArray[np.int8]) -> int:
        return int(
            self.c.mb_head_predict(ctypes.byref(self.head), x.ctypes.data_as(ctypes.c_void_p), _pointer(self.scores))
        )

    def learn(self, x: NDArray[np.int8], row: int, step: int = 0) -> None:
        self.c.mb_head_learn(
            ctypes.byref(self.head), x.ctypes.data_as(ctypes.c_void_p), ctypes.c_uint16(row), ctypes.c_uint32(step),
            _pointer(self.residual),
        )  # fmt: skip

    def assert_equals(self, head: Head) -> None:
        np.testing.assert_array_equal(self.arrays["covariance"], head.covariance[self.at])
        for name in ("means", "weights", "counts", "offsets"):
            np.testing.assert_array_equal(self.arrays[name], getattr(head, name))
        assert tuple(self.arrays["counters"]) == (head.seen, head.dither, head.turn)


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return shared(tmp_path_factory.mktemp("head") / "head.so", REFERENCE, options=UNDEFINED)


def samples(rng: np.random.Generator, n: int, values: int, classes: int) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Samples around one centre a class."""
    centres, y = rng.normal(0, 30, (classes, values)), rng.integers(0, classes, n)
    return np.clip(np.rint(centres[y] + rng.normal(0, 30, (n, values))), -127, 127).astype(np.int8), y


@pytest.mark.parametrize(("values", "rows", "steps"), [(2, 2, 400), (16, 3, 400), (64, 10, 120), (128, 20, 40)])
@pytest.mark.parametrize(("fitted", "every"), [(False, 1), (True, 1), (False, 2), (True, 4)])
def test_oracle_and_c_agree_after_every_step(
    library: ctypes.CDLL, values: int, rows: int, steps: int, fitted: bool, every: int
) -> None:
    rng = np.random.default_rng(values + rows)
    x, y = samples(rng, 60 + steps, values, max(2, rows - 1))  # the last row stays free where there are three
    rule = HeadSettings(sweep_every=every)
    head = Head.fitted(x[:60], y[:60], rows, rule) if fitted else Head.empty(values, rows, rule)
    reference = Reference(library, head)
    for step, (one, label) in enumerate(zip(x[60:], y[60:], strict=True)):
        assert reference.predict(one) == head.predict(one)
        np.testing.assert_array_equal(reference.scores, head.scores(one))
        reference.learn(one, int(label), step)
        head.learn(one, int(label), step)
        reference.assert_equals(head)


@given(st.integers(0, 2**32 - 1), st.sampled_from((0, 64, 8192)), st.booleans())
@settings(max_examples=40, deadline=None)
def test_no_state_overflows(library: ctypes.CDLL, seed: int, covariance_memory: int, prior: bool) -> None:
    """Any state within its types: no undefined behaviour in C, equal integers in the oracle."""
    rng = np.random.default_rng(seed)
    values, rows = 2 * int(rng.integers(1, 9)), int(rng.integers(2, 6))
    head = Head.empty(
        values, rows, HeadSettings(int(rng.integers(1, 1024)), covariance_memory, int(rng.integers(1, 32768)), prior)
    )
    extremes = rng.random() < 0.5
    at = triangle(values)
    head.covariance[at] = (
        rng.choice([-32768, 32767], len(at[0])) if extremes else rng.integers(-32768, 32768, len(at[0]))
    )
    head.means[:] = (
        rng.choice([-32768, 32767], head.means.shape) if extremes else rng.integers(-32768, 32768, head.means.shape)
    )
    head.weights[:] = rng.integers(-127, 128, head.weights.shape)
    head.counts[:] = rng.integers(0, COUNT_LIMIT, rows)
    for row in range(rows):
        head._set_offset(row)
    reference = Reference(library, head)
    for _ in range(20):
        x, row = rng.choice([-127, 127], values).astype(np.int8), int(rng.integers(0, rows))
        assert reference.predict(x) == head.predict(x)
        reference.learn(x, row)
        head.learn(x, row)
        reference.assert_equals(head)


def test_counts_halve_and_a_class_that_is_long_unseen_keeps_its_floor() -> None:
    head = Head.empty(4, 2)
    x = np.array([30, -30, 10, 0], np.int8)
    for _ in range(100):
        head.learn(-x, 1)
    for _ in range(5000):
        head.learn(x, 0)
    assert 512 <= head.counts[0] < COUNT_LIMIT and head.counts[1] == 64


def test_it_learns_sorted_classes_as_well_as_mixed_ones() -> None:
    x, y = samples(np.random.default_rng(0), 1600, 32, 6)
    for order in (np.arange(800), np.argsort(y[:800], kind="stable")):
        head = Head.empty(32, 6)
        for i in order:
            head.learn(x[i], int(y[i]))
        assert np.mean([head.predict(one) == label for one, label in zip(x[800:], y[800:], strict=True)]) > 0.97


@pytest.mark.parametrize(("values", "n", "seen"), [(16, 60, 64), (64, 60, 128), (64, 200, 200), (128, 60, 256)])
def test_a_covariance_of_few_samples_counts_for_two_a_value(values: int, n: int, seen: int) -> None:
    x, y = samples(np.random.default_rng(0), n, values, 3)
    assert Head.fitted(x, y, 3).seen == seen
    assert Head.fitted(x, y, 3, HeadSettings(covariance_memory=100)).seen == min(seen, 100)


def test_wrong_labels_cost_little_where_samples_are_few() -> None:
    rng = np.random.default_rng(0)
    x, y = samples(rng, 1000, 128, 3)
    wrong = np.where(rng.random(60) < 0.5, (y[60:120] + rng.integers(1, 3, 60)) % 3, y[60:120])
    right, first, fast = [], Head.fitted(x[:60], y[:60], 3), Head.fitted(x[:60], y[:60], 3)
    fast.seen = 60
    for head in (first, fast):
        for one, label in zip(x[60:120], wrong.tolist(), strict=True):
            head.learn(one, label)
        right.append(np.mean([head.predict(one) == label for one, label in zip(x[120:], y[120:], strict=True)]))
    assert right[0] > right[1] + 0.1, right


def test_the_logarithm_is_close() -> None:
    n = np.arange(1, 2048)
    found = np.array([natural_log(int(one)) for one in n]) / 2**14
    assert np.abs(found - np.log(n)).max() < 0.07 and (np.diff(found) >= 0).all()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: HeadSettings(memory=1024), "memory=1024: must be from 1 to 1023 samples"),
        (lambda: HeadSettings(covariance_memory=63), "covariance_memory=63: must be 0, or from 64 to 8192 samples"),
        (lambda: HeadSettings(sweep_every=3), "sweep_every=3: must be 1, 2, 4, 8, 16, 32, 64 or 128 steps"),
        (lambda: HeadSettings(ridge=0), "ridge=0: must be from 1 to 32767"),
        (lambda: Head.empty(3, 2), "a head has 3 values: must be even, from 2 to 128"),
        (lambda: Head.empty(4, 1), "a head has 1 rows: must be from 2 to 128"),
    ],
)
def test_what_cannot_be_is_named(wrong: Any, sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence):
        wrong()
