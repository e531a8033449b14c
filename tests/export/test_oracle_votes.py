"""Graded units and votes: the oracle against numbers worked out by hand, and against the plain reference in C."""

from __future__ import annotations

import subprocess
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from agreement import replay_vector
from networks import inputs, network, seal, voting

from metabit.export import VoteOptions, fresh_votes
from metabit.export.files.image import read_image, sections, write_image
from metabit.export.frozen import Frozen
from metabit.export.oracle import Oracle
from metabit.export.oracle.forward import encode, grades
from metabit.export.oracle.visits import EXP, Done
from metabit.export.vectors import learned, state_of

# Worked out by hand


def test_gates_by_hand() -> None:
    """mean = 16 * 32 / 4, low = 4, high = 12: a unit falls by two for each step in between."""
    given, ramp, closed = grades(128, 384, np.array([3, -9, 20, 0]))
    assert given.tolist() == [8, -2, -8, 8]
    assert ramp.tolist() == [False, True, False, False] and closed.tolist() == [False, False, True, False]


def test_gates_where_the_ramp_has_no_width() -> None:
    """mean = 16, low = high = 0: the width is one, and no error passes."""
    given, ramp, closed = grades(1, 2, np.array([1, -1, 0, 2]))
    assert closed.tolist() == [True, True, False, True]
    assert given.tolist() == [-8, -8, 8, -8] and not ramp.any()
    given, *_ = grades(1, 2, np.zeros(4, np.int64))
    assert given.tolist() == [8, 8, 8, 8]


def test_planes_share_their_weights() -> None:
    """Bits 1 0 1 of plane 0 and 1 0 0 of plane 1: inputs 2, 0 and 1; all weights but the
    last are unsure. V = 2 - 0 - 1 - 2 = -1 and -2 - 0 - 2 + 10 = 6."""
    frozen = voting(1, inputs=3, planes=2, units=2, classes=2, source="bits")
    graded = replace(
        frozen.layers[0], hidden=np.array([[0, -1, -1], [-3, 2, -8]], np.int8), theta=np.array([1, -5], np.int32),
        low=256, high=512, planes=2,
    )  # fmt: skip
    output = replace(
        frozen.layers[1], hidden=np.array([[0, 0], [-1, 0]], np.int8), mul=np.array([1, 3], np.int32),
        add=np.array([7, 0], np.int32),
    )  # fmt: skip
    oracle = Oracle(replace(frozen, layers=(graded, output)))
    (_, given), (mask,), scores = oracle.forward(np.array([1, 0, 1, 1, 0, 0], np.uint8))
    assert given.tolist() == [8, -4] and mask.size == 0  # mean = 56, low = 3, high = 7
    assert scores.tolist() == [11, -36]


def test_the_error_of_a_pass_by_hand() -> None:
    """D = 9, -3, -6 is scaled by 64, A = 1152, n = 0, 66, 83; f = 3074688 / 2016."""
    assert EXP[[0, 66, 83]].tolist() == [32767, 530, 183]
    oracle = Oracle(replace(voting(1, classes=3), temperature=100))
    for scores in ([5, 1, 0], [5 + 7, 1 + 7, 7], [5 << 20, 1 << 20, 0]):
        error, wrong = oracle.vote_error(np.array(scores), 1)
        assert error.tolist() == [4009 - 3431, 65 - 4096 + 1144, 22 + 2288] and wrong == 4031


def test_equal_scores_teach_the_label_alone() -> None:
    error, wrong = Oracle(voting(1, classes=4)).vote_error(np.zeros(4, np.int64), 2)
    assert error.tolist() == [1024, 1024, -3072, 1024] and wrong == 3072


def test_rotation_and_flips_of_one_draw() -> None:
    """One unit, one input that is on: the weight turns in one of the four passes, by bit 0 of z and bit 19, which rotates there."""
    frozen = voting(1, inputs=1, planes=1, units=1, k=4, source="bits")
    graded = replace(frozen.layers[0], hidden=np.zeros((1, 1), np.int8), theta=np.zeros(1, np.int32))
    seen = set()
    for seed in range(1, 60):
        oracle = Oracle(replace(frozen, layers=(graded, frozen.layers[1]), generator=seed * 2654435761 % 2**32))
        v = oracle.drawn_sums(0, np.ones(1, np.int64))
        z = oracle.generator
        turned = {(1, 1): 0, (1, 0): 1, (0, 1): 2, (0, 0): 3}[z & 1, z >> 19 & 1]
        assert v.tolist() == [[-2 if s == turned else 2] for s in range(4)]
        seen.add(turned)
    assert seen == {0, 1, 2, 3}


def test_weights_that_are_sure_never_turn() -> None:
    frozen = voting(1, inputs=9, planes=1, units=40, k=4, source="bits")
    for level, turns in ((4, False), (-5, False), (3, True), (-4, True)):
        graded = replace(frozen.layers[0], hidden=np.full((40, 9), level, np.int8), theta=np.zeros(40, np.int32))
        sums = Oracle(replace(frozen, layers=(graded, frozen.layers[1]))).drawn_sums(0, np.ones(9, np.int64))
        assert (np.abs(sums) < 18).any() == turns
        assert (sums.sum(0) == 4 * (9 if turns else 18) * (1 if level >= 0 else -1)).all()  # four times the average


def counting(hidden: list[list[int]], needed: int, chance: int, strengthen: list[int], weaken: list[int]) -> Oracle:
    """An oracle of k = 3 on which `count` is called by hand."""
    frozen = voting(1, inputs=len(hidden[0]), planes=1, units=len(hidden), k=3, source="bits")
    graded = frozen.layers[0]
    rule = replace(
        graded.rule, strengthen=np.array(strengthen, np.uint16), weaken=np.array(weaken, np.uint16),
        votes_needed=np.full(97, needed, np.uint16), chance_per_vote=chance, passes=4, batch=32,
    )  # fmt: skip
    return Oracle(
        replace(frozen, layers=(replace(graded, hidden=np.array(hidden, np.int8), rule=rule), frozen.layers[1]))
    )


def keep(oracle: Oracle, samples: list[tuple[list[int], list[int]]]) -> None:
    """Puts samples, input bits (K,) and votes (N,), into the first slots."""
    for slot, (on, votes) in enumerate(samples):
        oracle.bits[slot], oracle.votes[slot] = on, votes


def test_counting_by_hand() -> None:
    """Votes up less down: unit 0 has 3, 2, 0 for its inputs, unit 1 has 1, 2, -2. Two votes are just enough."""
    oracle = counting([[0, 0, 0], [0, -1, 0]], 31, 65535, [65535] * 4, [65535] * 4)
    keep(oracle, [([1, 0, 1], [1, -1]), ([1, 1, 0], [1, 1]), ([1, 1, 0], [1, 1]), ([0, 0, 1], [-1, -1])])
    before, done = oracle.generator, Done()
    oracle.count(0, np.arange(3), done)
    # x = 16 * 3 - 31 = 17 and 16 * 2 - 31 = 1: shares 65535 and 4095
    again = Oracle(oracle.net)
    again.generator = before
    want = np.array([[0, 0, 0], [0, -1, 0]])
    for share, i, j, way in ((65535, 0, 0, 1), (4095, 0, 1, 1), (4095, 1, 1, 1), (4095, 1, 2, -1)):
        want[i, j] += way * (again.draw() < share)
    assert oracle.levels[0].tolist() == want.tolist() and oracle.generator == again.generator
    assert done.visited == 4 and want[0, 0] == 1


def test_a_level_at_its_end_is_visited_and_stays() -> None:
    oracle = counting([[3], [-4], [3]], 0, 65535, [65535] * 4, [65535] * 4)
    keep(oracle, [([1], [1, -1, -1])] * 8)
    before, done = oracle.generator, Done()
    oracle.count(0, np.arange(1), done)
    assert oracle.levels[0].tolist() == [[3], [-4], [2]] and (done.visited, done.moved, done.flipped) == (3, 1, 0)
    assert oracle.generator != before


def test_tables_gate_the_votes() -> None:
    """strengthen is 0, so outward moves are never made; weaken is certain, so inward ones are, and the weight flips at zero."""
    oracle = counting([[0, 1, -1]], 0, 65535, [0] * 4, [65535] * 4)
    keep(oracle, [([1, 1, 1], [-1])] * 8)
    done = Done()
    oracle.count(0, np.arange(3), done)
    assert oracle.levels[0].tolist() == [[-1, 0, -1]] and (done.visited, done.moved, done.flipped) == (3, 2, 1)


# The plain reference in C


def wide() -> Frozen:
    """More inputs than a batch, which a single vote visits: seven slots count two inputs each."""
    frozen = voting(15, inputs=71, planes=1, units=33, classes=4, k=3, batch=64)
    graded = frozen.layers[0]
    rule = replace(graded.rule, dose=2**20 - 1, votes_needed=np.zeros(193, np.uint16), chance_per_vote=65535)
    layer = replace(graded, rule=rule)
    return replace(frozen, layers=(layer, frozen.layers[1]), skip_below=0)


DENSE = network(2, (9, 30, 3), planes=1, learns=(False, False))
NETWORKS = {
    "small": voting(51, inputs=6, planes=1, units=5, classes=3, k=2, batch=32),
    "three words": voting(12, inputs=9, planes=3, units=70, classes=4, k=4, passes=8),
    "packed bits": voting(13, inputs=11, planes=2, units=33, classes=12, k=8, source="bits"),
    "above a dense layer": voting(14, planes=5, units=20, classes=5, k=3, below=DENSE),
    "two classes": voting(11, inputs=6, planes=1, units=32, classes=2, k=3),
    "more inputs than a batch": wide(),
    "fresh": fresh_votes(8, 12, 4, VoteOptions(batch=32, deviations=0.5, chance_per_vote=1.0)),
}


@pytest.mark.parametrize("frozen", NETWORKS.values(), ids=NETWORKS)
def test_the_oracle_is_the_plain_reference(frozen: Frozen, reference: Path, tmp_path: Path) -> None:
    """Scores, what each step did, and the whole state after it: levels, generator and counters (tests/reference/votes.c)."""
    batch = frozen.layers[-2].rule.batch
    steps = 110 * batch // 32
    image, vector = write_image(frozen), replay_vector(frozen, inputs=steps, steps=steps, seed=3)
    (tmp_path / "a.mbit").write_bytes(image)
    (tmp_path / "a.vec").write_bytes(vector)
    done = subprocess.run([reference, tmp_path / "a.mbit", tmp_path / "a.vec"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    state_at, size = sections(image)[1]
    made = np.frombuffer(vector[-steps * (22 + size) :], [("label", "<u2"), ("info", "<u4", 5), ("state", "u1", size)])
    _, skipped, visited, _, flipped = made["info"].T
    assert visited.any() and flipped.any()
    after = read_image(seal(image[:state_at] + made["state"][-1].tobytes()))
    changed = after.layers[-2].hidden != frozen.layers[-2].hidden
    if frozen.layers[-2].inputs > batch:
        assert (skipped == 0).sum() > 2 * batch and changed[:, batch:].any()
    assert after.counters.steps == steps and after.counters.moved >= changed.sum()


# The samples that are kept


def test_a_sample_that_teaches_nothing_is_drawn_for_and_not_kept() -> None:
    frozen = replace(voting(12, inputs=9, planes=3, units=70, classes=4, passes=8), skip_below=4096)
    x = inputs(frozen, 1)[0]
    oracle, plain = Oracle(frozen), Oracle(frozen)
    step = oracle.learn(x, 1)
    assert step.skipped and step[2:] == (0, 0, 0) and oracle.steps == 1 and oracle.kept() is None
    for _ in range(2 * 3 * int(encode(frozen.encode, x).sum())):  # fours of passes, words of units, bits on
        plain.draw32()
    assert oracle.generator == plain.generator


def test_kept_samples_are_a_part_of_the_state_from_1_6_on() -> None:
    frozen = voting(11, inputs=6, planes=1, units=5, classes=3)
    oracle = Oracle(frozen)
    for x in inputs(frozen, 10):
        oracle.learn(x, 0)
    cleared, kept = deepcopy(oracle), oracle.kept()
    cleared.slot, cleared.bits[:], cleared.votes[:] = 0, False, 0
    assert kept is not None and kept.slot > 0 and cleared.kept() is None
    assert state_of(frozen, oracle) != state_of(frozen, cleared)
    assert state_of(frozen, oracle, crc32=True) == state_of(frozen, cleared, crc32=True)
    assert write_image(learned(frozen, oracle), crc32=True) == write_image(learned(frozen, cleared), crc32=True)


def test_five_noisy_pictures_are_learnt_from_nothing() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (5, 40))
    y = rng.integers(0, 5, 900)
    x = np.clip(pictures[y] + rng.normal(0, 30, (900, 40)), 0, 255).astype(np.uint8)
    oracle = Oracle(fresh_votes(40, 24, 5, VoteOptions(batch=32)))

    def accuracy() -> float:
        return float(np.mean([oracle.predict(a) == b for a, b in zip(x[800:], y[800:], strict=True)]))

    assert accuracy() < 0.5
    for a, b in zip(x[:800], y[:800], strict=True):
        oracle.learn(a, int(b))
    assert accuracy() > 0.9
