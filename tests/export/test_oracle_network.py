"""The oracle of a whole network of gates: scores in plain loops, spare classes, rows of a class, and a state that is complete."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import gates_network, inputs, oracle_input
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.files.image import read_image, write_image
from metabit.export.freeze.head import head_layer
from metabit.export.frozen import FREE, Cuts, Frozen, GatesLayer, HeadLayer, HeadRows, HeadSettings, LevelsLayer
from metabit.export.oracle import Oracle
from metabit.export.oracle.head import UNKNOWN, Head
from metabit.export.oracle.rows import ClassHead
from metabit.export.vectors import learned, state_of, write_vectors


def clip(value: int, most: int) -> int:
    return max(-most, min(most, value))


def by_hand(frozen: Frozen, x: NDArray[Any]) -> tuple[list[int], list[int]]:
    """Inputs of the last layer, and the scores, from docs/learning-rule.md in Python's integers."""
    first, last = frozen.layers
    assert isinstance(first, GatesLayer)
    bits = [int(one) for one in x]
    if isinstance(frozen.encode, Cuts):
        code = frozen.encode
        bits = [
            int(int(x[f]) > int(code.cuts[p, 0 if code.shared else f]))
            for p in range(code.planes)
            for f in range(len(x))
        ]
    sums = [sum(bit * (1 if h >= 0 else -1) for bit, h in zip(bits, row, strict=True)) for row in first.hidden]
    top = (128 * 2**first.shift + 5) // 10 + 2 ** (first.shift - 1)
    levels = [
        clip((top - abs(int(m) * a + int(b))) >> first.shift, 8)
        for a, m, b in zip(sums, first.mul, first.add, strict=True)
    ]
    if isinstance(last, LevelsLayer):
        return levels, [sum(int(h) * v for h, v in zip(row, [*levels, 32], strict=True)) for row in last.hidden]
    assert isinstance(last, HeadLayer) and last.scale is not None
    s = last.scale
    gate = [clip((int(m) * v + int(b)) >> 5, 127) for v, m, b in zip(levels, s.gate_mul, s.gate_add, strict=True)]
    z = [clip((int(m) * a + int(b)) >> s.z_shift, 127) for a, m, b in zip(sums, s.z_mul, s.z_add, strict=True)]
    values = [*gate, *z]
    rows = []
    for weights, mean, n in zip(last.hidden, last.means, last.counts, strict=True):
        offset = -(sum(int(w) * int(m) for w, m in zip(weights, mean, strict=True)) >> 4)
        most = max(int(n), int(last.counts.max()) >> 2)
        e = most.bit_length() - 1
        log = ((2**10 * e + ((2**10 * most) >> e) - 2**10) * 11357) >> 10 if most and last.settings.prior else 0
        score = offset + 32 * sum(int(w) * v for w, v in zip(weights, values, strict=True))
        rows.append(score + log + 8192 * len(values) // int(n) if n else UNKNOWN)
    owners = last.owners.tolist() or list(range(len(rows)))
    return values, [
        max((r for r, o in zip(rows, owners, strict=True) if o == c), default=UNKNOWN) for c in range(last.classes)
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from(["uint8", "int16"]), st.sampled_from([0, 1, 4]), st.booleans(),
    st.sampled_from(["levels", "head", "rows"]),
)  # fmt: skip
def test_scores_in_plain_loops(seed: int, kind: str, planes: int, shared: bool, last: str) -> None:
    rows = HeadRows(2, 1, 1) if last == "rows" else None
    frozen = gates_network(
        seed, 9, planes, 7, 4, "levels" if last == "levels" else "head", kind, shared=shared, rows=rows, spare=1
    )
    oracle = Oracle(frozen)
    for x in inputs(frozen, 12, seed):
        given_x = oracle_input(frozen, x)
        taken, _, scores = oracle.forward(given_x)
        values, expected = by_hand(frozen, given_x)
        assert taken[-1].tolist() == values and scores.tolist() == expected
        if last != "levels":
            oracle.learn(given_x, int(x[0]) % 4)
            frozen = learned(frozen, oracle)


@pytest.mark.parametrize("kind", ["uint8", "int16"])
@pytest.mark.parametrize("rows", [None, HeadRows(3, 1, 1)])
def test_the_state_is_complete(kind: str, rows: HeadRows | None) -> None:
    """An oracle made from the image of another goes on as that one does."""
    frozen = gates_network(
        1, 8, 2, 6, 4, kind=kind, spare=2, rows=rows, head=HeadSettings(memory=9, covariance_memory=64)
    )
    one, x = Oracle(frozen), [oracle_input(frozen, a) for a in inputs(frozen, 40)]
    for i in range(20):
        one.learn(x[i], i % 4)
    other = Oracle(read_image(write_image(learned(frozen, one))))
    for i in range(20, 40):
        assert one.learn(x[i], i % 4) == other.learn(x[i], i % 4)
        assert state_of(frozen, one) == state_of(frozen, other)
    assert one.steps == 40


def test_one_row_a_class_is_the_head() -> None:
    frozen = gates_network(2, spare=1)
    layer, oracle = frozen.layers[1], Oracle(frozen)
    assert isinstance(layer, HeadLayer) and oracle.head is not None
    head = Head.of(layer)
    for i, x in enumerate(inputs(frozen, 30)):
        values = oracle.forward(x)[0][-1].astype(np.int8)
        assert oracle.scores(x).tolist() == head.scores(values).tolist()
        predicted = head.predict(values)
        head.learn(values, i % 4)
        assert oracle.learn(x, i % 4) == (predicted, False, 0, 0, 0)
    assert np.array_equal(oracle.head.head.covariance, head.covariance)


# Rows


def several(per_class: int, rows: int, classes: int = 3, far: int = 1, limit: int = 3, known: int = 2) -> ClassHead:
    """A head of 4 values whose first classes lie at the corners, 20 samples each."""
    rng = np.random.default_rng(0)
    y = np.arange(20 * known) % known
    x = np.clip(np.rint(corner(0)[None] * (1 - 2 * y[:, None]) + rng.normal(0, 8, (len(y), 4))), -127, 127).astype(
        np.int8
    )
    layer = head_layer(x, y, classes, None, HeadSettings(), HeadRows(per_class, far, limit), rows)
    return ClassHead(layer)


def corner(which: int) -> NDArray[np.int8]:
    return np.array([[60, 60, 0, 0], [-60, -60, 0, 0], [0, 0, 70, -70], [0, 0, -70, 70]][which], np.int8)


def test_a_class_without_a_row_takes_the_lowest_free_one() -> None:
    head = several(2, 6)
    head.learn(corner(2), 2)
    assert head.owners.tolist() == [0, 1, 2, FREE, FREE, FREE] and head.head.counts[2] == 1


def test_a_class_gets_a_row_after_as_many_far_samples_as_the_limit() -> None:
    head = several(2, 6, limit=3)
    for expected in ([1, 0, 0], [2, 0, 0]):
        head.learn(corner(1), 0)
        assert head.doubts.tolist() == expected
    head.learn(corner(0), 0)  # one that its own row takes
    assert head.doubts.tolist() == [1, 0, 0]
    for _ in range(2):
        assert (head.owners == 0).sum() == 1
        head.learn(corner(1), 0)
    assert head.owners.tolist() == [0, 1, 0, FREE, FREE, FREE] and head.doubts.tolist() == [0, 0, 0]
    assert head.head.counts[2] == 1 and np.array_equal(head.head.means[2], 256 * corner(1).astype(int))


def test_no_class_has_more_rows_than_it_may() -> None:
    head = several(2, 8, limit=1)
    for _ in range(20):
        head.learn(corner(1), 0)
        head.learn(corner(0), 1)
    assert np.bincount(head.owners[head.owners != FREE], minlength=3).tolist() == [2, 2, 0]


def test_rows_are_kept_for_classes_to_come() -> None:
    """4 rows, 3 classes, two known: one of two free rows is for the third class."""
    head = several(3, 4, limit=1)
    for _ in range(10):
        head.learn(corner(1), 0)
        head.learn(corner(0), 1)
    assert (head.owners == FREE).sum() == 1
    head.learn(corner(2), 2)
    assert (head.owners == FREE).sum() == 0 and head.owners[3] == 2


def test_far_is_counted_in_nats() -> None:
    """A sample that another class likes better by less than far nats is no doubt."""
    near, head = several(2, 6, far=63, limit=1), several(2, 6, far=1, limit=1)
    x = np.array([-10, -10, 0, 0], np.int8)
    lead = np.diff(head.scores(x)[:2])[0] / 2**14
    assert 1 < lead < 63
    near.learn(x, 0)
    head.learn(x, 0)
    assert (near.owners == 0).sum() == 1 and (head.owners == 0).sum() == 2


def test_a_class_for_which_no_row_is_left() -> None:
    """No writer makes such an image, but a device must not change anything there."""
    head = several(2, 4, classes=4, known=2)
    layer = replace(
        head.frozen(), owners=np.array([0, 0, 1, 1], np.uint8), counts=np.ones(4, np.uint16), takes="values"
    )
    full = ClassHead(layer)
    before = write_state(full)
    with pytest.raises(ExportError, match="class 3 has no row, and all 4 rows are taken: make more rows"):
        full.learn(corner(0), 3)
    assert write_state(full) == before


def write_state(head: ClassHead) -> list[Any]:
    layer = head.frozen()
    return [value.tolist() if isinstance(value, np.ndarray) else value for value in vars(layer).values()]


def test_a_class_that_changes_needs_another_row() -> None:
    """Two classes first lie at +u and -u, later at -u + v and u + v. Means of one row each cannot tell all four apart."""
    rng = np.random.default_rng(1)
    u, v = np.array([40, 40, 0, 0]), np.array([0, 0, 60, 60])

    def drawn(later: bool, n: int) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
        y = rng.integers(0, 2, n)
        centre = (1 - 2 * y)[:, None] * (-u if later else u) + (v if later else 0)
        return np.clip(np.rint(centre + rng.normal(0, 15, (n, 4))), -127, 127).astype(np.int8), y

    first, later = drawn(False, 300), drawn(True, 300)
    tests = [drawn(False, 100), drawn(True, 100)]
    right = {}
    for per_class in (1, 2):
        rows = HeadRows(2, 4, 4) if per_class == 2 else None
        head = ClassHead(head_layer(*first, 2, None, HeadSettings(), rows))
        for one, label in zip(*later, strict=True):
            head.learn(one, int(label))
        right[per_class] = [
            np.mean([head.scores(one).argmax() == label for one, label in zip(*t, strict=True)]) for t in tests
        ]
    assert min(right[2]) > 0.95 > min(right[1]) + 0.2, right


# Vectors and refusals


def test_a_network_without_a_learner_says_so() -> None:
    frozen = gates_network(3, last="levels")
    with pytest.raises(ExportError, match="this network does not learn: export it with a learner"):
        Oracle(frozen).learn(inputs(frozen, 1)[0], 0)
    with np.load(io.BytesIO(write_vectors(frozen))) as arrays:
        assert "learn_labels" not in arrays and arrays["layer0"].min() >= -8 and arrays["layer0"].max() <= 8


def test_vectors_of_int16_features_cover_their_range() -> None:
    frozen = gates_network(4, kind="int16")
    with np.load(io.BytesIO(write_vectors(frozen, inputs=50, steps=5))) as arrays:
        x = frozen.unpack(arrays["features"])
        assert x.shape == (50, 13) and x.dtype == np.int16 and x.min() == -32768 and x.max() > 30000
        assert arrays["features"].shape == (50, 26) and len(arrays["state_changes"]) == 6
        assert np.array_equal(arrays["scores"], [Oracle(frozen).scores(one) for one in x])
