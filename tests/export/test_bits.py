"""Packing: the exact bit positions on small examples, and round trips of any shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metabit.export import bits as pack
from metabit.export.errors import ExportError

sizes = st.integers(1, 70)
lanes_of = st.sampled_from([16, 32])
matrices = hnp.arrays(np.bool_, st.tuples(sizes, sizes))


@st.composite
def levels_and_bits(draw: st.DrawFn) -> tuple[Any, int]:
    k = draw(st.integers(1, 8))
    span = st.integers(-(1 << (k - 1)), (1 << (k - 1)) - 1)
    return draw(hnp.arrays(np.int8, st.tuples(sizes, sizes), elements=span)), k


def test_rows_are_least_significant_bit_first_and_padded_with_zeros() -> None:
    row = np.array([[1, 0, 0, 0, 0, 0, 0, 0, 0, 1]], bool)
    assert pack.pack_rows(row).tolist() == [[0b1, 0b10]]


def test_a_column_word_holds_one_input_of_many_units() -> None:
    bits = np.zeros((33, 2), bool)
    bits[[0, 31, 32], [0, 1, 1]] = True
    assert pack.pack_columns(bits, 32).tolist() == [[1, 1 << 31], [0, 1]]
    assert pack.pack_columns(bits, 16).tolist() == [[1, 0], [0, 1 << 15], [0, 1]]


def test_the_top_hidden_plane_is_the_sign_plane() -> None:
    levels = np.array([[-4, -1, 0, 3]], np.int8)
    assert pack.hidden_planes(levels, 3).tolist() == [[[0b1010]], [[0b1010]], [[0b1100]]]
    assert pack.hidden_planes(levels, 3)[2].tolist() == pack.pack_rows(levels >= 0).tolist()


def test_level_columns_run_from_the_bit_below_the_sign_down() -> None:
    levels = np.array([[-4], [-2], [2], [1]], np.int8)
    assert pack.pack_level_columns(levels, 3, 16).tolist() == [[[0b0110, 0b1000]]]
    assert pack.pack_level_columns(np.array([[-1], [0]], np.int8), 1, 32).shape == (1, 1, 0)


def test_slices_are_twos_complement() -> None:
    assert pack.slice_planes(np.array([-1, 2, 0, -4]), 3, 32).tolist() == [[0b0001, 0b0011, 0b1001]]


@given(matrices)
def test_rows_round_trip(bits: Any) -> None:
    assert np.array_equal(pack.unpack_rows(pack.pack_rows(bits), bits.shape[1]), bits)


@given(matrices, lanes_of)
def test_columns_round_trip(bits: Any, lanes: Any) -> None:
    words = pack.pack_columns(bits, lanes)
    assert words.shape == (-(-bits.shape[0] // lanes), bits.shape[1]) and words.dtype.itemsize * 8 == lanes
    assert np.array_equal(pack.unpack_columns(words, bits.shape[0]), bits)


@settings(max_examples=60)
@given(levels_and_bits(), lanes_of)
def test_levels_round_trip_both_ways(case: tuple[Any, int], lanes: Any) -> None:
    levels, k = case
    units, inputs = levels.shape
    assert np.array_equal(pack.levels_from_planes(pack.hidden_planes(levels, k), inputs), levels)
    low, signs = pack.pack_level_columns(levels, k, lanes), pack.pack_columns(levels >= 0, lanes)
    assert low.shape == (*signs.shape, k - 1)
    assert np.array_equal(pack.unpack_level_columns(low, signs, units), levels)


@given(hnp.arrays(np.int32, sizes), lanes_of)
def test_slices_round_trip(values: Any, lanes: Any) -> None:
    planes = int(np.abs(values.astype(np.int64)).max()).bit_length() + 1
    assert np.array_equal(pack.unslice_planes(pack.slice_planes(values, planes, lanes), len(values)), values)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ExportError, match=r"hidden levels -4\.\.4 do not fit 3 bits"):
        pack.hidden_planes(np.array([[-4, 4]], np.int8), 3)
    with pytest.raises(ExportError, match="1 to 8 bits"):
        pack.hidden_planes(np.zeros((1, 1), np.int8), 9)
    with pytest.raises(ExportError, match="values 8..8 do not fit 4 bits"):
        pack.slice_planes(np.array([8]), 4, 32)
    with pytest.raises(ExportError, match="2 words of 8 bits do not hold a row of 17 bits"):
        pack.unpack_rows(np.zeros((1, 2), np.uint8), 17)
