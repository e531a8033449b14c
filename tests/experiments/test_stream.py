from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabit.experiments import stream


@given(st.integers(1, 50), st.integers(1, 4), st.none() | st.integers(0, 300), st.integers(1, 60), st.booleans())
def test_chunks_are_whole_passes_in_order(
    samples: int, passes: int, limit: int | None, size: int, shuffle: bool
) -> None:
    pieces = list(stream.chunks(samples, passes, limit, 7, size, shuffle))
    order = np.concatenate([*pieces, np.zeros(0, int)])
    assert len(pieces) == stream.chunk_count(samples, passes, limit, size) and all(0 < len(p) <= size for p in pieces)
    assert len(order) == min(samples * passes, samples * passes if limit is None else limit)
    for at in range(0, len(order), samples):
        one = order[at : at + samples]
        assert len(set(one)) == len(one)
        if not shuffle:
            assert (one == np.arange(len(one))).all()


def test_a_shuffled_stream_is_that_of_its_seed() -> None:
    one, again, other = (np.concatenate(list(stream.chunks(30, 2, None, seed, 7, True))) for seed in (1, 1, 2))
    assert (one == again).all() and (one != other).any() and (one[:30] != one[30:]).any()


@pytest.mark.parametrize(
    ("labels", "said"), [([0, 0, 1, 1], True), ([2, 2, 0], True), ([0, 1, 0, 1], False), ([0, 1, 2], False)]
)
def test_classes_one_after_the_other_are_said(labels: list[int], said: bool) -> None:
    assert ("one after the other" in stream.order_of(np.array(labels), False)) == said
    assert stream.order_of(np.array(labels), True) == "in random order"
