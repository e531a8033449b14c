"""Graded units and votes: the oracle against numbers worked out by hand, and against the text read one synapse at a time."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import pytest
from networks import inputs, network, oracle_input, voting

from metabit.export import VoteOptions, fresh_votes
from metabit.export.frozen import Frozen
from metabit.export.oracle import Oracle
from metabit.export.oracle.forward import encode, grades
from metabit.export.oracle.visits import EXP, Done
from metabit.export.oracle.votes import Kept
from metabit.export.vectors import state_of

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


def test_counting_by_hand() -> None:
    """Votes up less down: unit 0 has 3, 2, 0 for its inputs, unit 1 has 1, 2, -2. Two votes are just enough."""
    oracle = counting([[0, 0, 0], [0, -1, 0]], 31, 65535, [65535] * 4, [65535] * 4)
    oracle.kept = [
        Kept(np.array([1, 0, 1]), np.array([1, -1])),
        Kept(np.array([1, 1, 0]), np.array([1, 1])),
        Kept(np.array([1, 1, 0]), np.array([1, 1])),
        Kept(np.array([0, 0, 1]), np.array([-1, -1])),
    ]
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
    oracle.kept = [Kept(np.array([1]), np.array([1, -1, -1]))] * 8
    before, done = oracle.generator, Done()
    oracle.count(0, np.arange(1), done)
    assert oracle.levels[0].tolist() == [[3], [-4], [2]] and (done.visited, done.moved, done.flipped) == (3, 1, 0)
    assert oracle.generator != before


def test_tables_gate_the_votes() -> None:
    """strengthen is 0, so outward moves are never made; weaken is certain, so inward ones are, and the weight flips at zero."""
    oracle = counting([[0, 1, -1]], 0, 65535, [0] * 4, [65535] * 4)
    oracle.kept = [Kept(np.ones(3, np.int64), np.array([-1]))] * 8
    done = Done()
    oracle.count(0, np.arange(3), done)
    assert oracle.levels[0].tolist() == [[-1, 0, -1]] and (done.visited, done.moved, done.flipped) == (3, 2, 1)


# The text, one synapse at a time


@dataclass
class Text:
    """docs/learning-rule.md, "Graded units and votes", read with loops and plain integers."""

    frozen: Frozen
    levels: list[list[int]]
    z: int
    kept: list[tuple[list[int], list[int]]]

    def draw32(self) -> int:
        self.z ^= self.z << 13 & 0xFFFFFFFF
        self.z ^= self.z >> 17
        self.z ^= self.z << 5 & 0xFFFFFFFF
        return self.z

    def one_pass(self, bits: list[int], label: int, s: int, words: dict[tuple[int, int], int]) -> tuple[int, list[int]]:
        """Pass s, which draws its words or, if it is not the first of four, takes the ones drawn."""
        layer, output = self.frozen.layers[-2:]
        n, k = layer.units, layer.inputs
        v = [-2 * int(theta) for theta in layer.theta]
        for first in range(0, n, 32):
            for b in [b for b, on in enumerate(bits) if on]:
                if s % 4 == 0:
                    words[first, b] = self.draw32()
                z = words[first, b]
                other = (z << 13) % 2**32 | z >> 19
                flips = (z if s % 4 < 2 else ~z) & (other if s % 2 == 0 else ~other)
                for i in range(first, min(n, first + 32)):
                    h = self.levels[i][b % k]
                    w, r = (1, h) if h >= 0 else (-1, -1 - h)
                    v[i] += -2 * w if flips >> (i - first) & 1 and 4 * r < 2**layer.bits else 2 * w
        mean = 16 * sum(map(abs, v)) // n
        low, high = mean * layer.low >> 12, mean * layer.high >> 12
        width = max(1, high - low)
        y = [8 - (min(max(abs(a) - low, 0), width) * (2**20 // width) + 2**15 >> 16) for a in v]
        w = output.weights.tolist()
        c = range(output.units)
        scores = [sum(w[a][i] * y[i] for i in range(n)) * int(output.mul[a]) + int(output.add[a]) for a in c]
        d = [len(scores) * a - sum(scores) for a in scores]
        while any(d) and max(map(abs, d)) < 512:
            d = [2 * a for a in d]
        while max(map(abs, d)) > 1023:
            d = [a // 2 if a > 0 else -(-a // 2) for a in d]
        size = max(1, sum(map(abs, d)))
        q = [int(EXP[min(255, (max(d) - a) * self.frozen.temperature // size)]) for a in d]
        e = [(a * 4096 + sum(q) // 2) // sum(q) for a in q]
        e[label] -= 4096
        wrong = max(0, -e[label])
        p = sum(e[a] * d[a] for a in c)
        f = abs(p) // max(1, sum(a * a for a in d) >> 8) if len(d) > 2 else 0
        for a in c:
            part = abs(d[a]) * f + 128 >> 8
            e[a] -= part if p * d[a] > 0 else -part if p * d[a] < 0 else 0
        delta = [0] * n
        for i in range(n):
            if low < abs(v[i]) < high:
                delta[i] = -(1 if v[i] > 0 else -1) * sum(w[a][i] * e[a] for a in c)
            elif abs(v[i]) > low and sum(w[a][i] * e[a] for a in c) < 0:
                delta[i] = (1 if v[i] > 0 else -1) * (-sum(w[a][i] * e[a] for a in c) // 4)
        return wrong, delta

    def learn(self, bits: list[int], label: int) -> bool:
        rule = self.frozen.layers[-2].rule
        words: dict[tuple[int, int], int] = {}
        passes = [self.one_pass(bits, label, s, words) for s in range(rule.passes)]
        wrong = sum(one for one, _ in passes) // len(passes)
        delta = [sum(column) for column in zip(*(each for _, each in passes), strict=True)]
        total, size = rule.dose * wrong >> 8, sum(map(abs, delta))
        if wrong == 0 or wrong < self.frozen.skip_below or size == 0 or total == 0:
            return False
        s = 0
        while total << s < 2**31:
            s += 1
        asks = [0] * len(delta)
        for i, a in enumerate(delta):
            if a:
                votes = 3 * min(65535, (total << s) // size * abs(a) >> s) + (self.draw32() >> 16) >> 16
                asks[i] = votes if a < 0 else -votes
        if any(asks):
            self.kept.append((bits, asks))
            self.count((len(self.kept) - 1) % rule.batch)
        return True

    def count(self, slot: int) -> None:
        layer = self.frozen.layers[-2]
        rule, k, planes = layer.rule, layer.inputs, layer.planes
        kept = self.kept[-rule.batch :]
        for first in range(0, layer.units, 32):
            for j in range(slot, k, rule.batch):
                for i in range(first, min(layer.units, first + 32)):
                    voted = [asks[i] for bits, asks in kept for p in range(planes) if bits[p * k + j] and asks[i]]
                    x = min(65535, 16 * abs(sum(voted)) - int(rule.votes_needed[sum(map(abs, voted))]))
                    if x <= 0:
                        continue
                    up, h = sum(voted) > 0, self.levels[i][j]
                    r, outward = (h, up) if h >= 0 else (-1 - h, not up)
                    u, t = self.draw32() >> 16, int((rule.strengthen if outward else rule.weaken)[r])
                    if u < min(65535, x * rule.chance_per_vote >> 4) * (t + 1) >> 16:
                        if not (outward and r == 2 ** (layer.bits - 1) - 1):
                            self.levels[i][j] += 1 if up else -1


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
def test_the_oracle_is_the_text(frozen: Frozen) -> None:
    batch = frozen.layers[-2].rule.batch
    steps = 110 * batch // 32
    x = inputs(frozen, steps, seed=3)
    labels = np.random.default_rng(4).integers(0, frozen.classes, steps)
    oracle, text = Oracle(frozen), Text(frozen, frozen.layers[-2].hidden.tolist(), frozen.generator, [])
    counted = 0
    for sample, label in zip(x, labels, strict=True):
        given = oracle_input(frozen, sample)
        seen, _, scores = oracle.forward(given)
        step = oracle.learn(given, int(label))
        taught = text.learn([int(a > 0) for a in seen[-2]], int(label))
        assert step.predicted == scores.argmax() and step.skipped == (not taught)
        assert oracle.generator == text.z and oracle.voted == len(text.kept) % batch
        assert oracle.levels[-2].tolist() == text.levels
        counted += step.visited > 0
    assert counted >= 1
    if frozen.layers[-2].inputs > batch:
        assert len(text.kept) > 2 * batch
        assert (oracle.levels[-2] != frozen.layers[-2].hidden)[:, batch:].any()
    assert oracle.steps == steps and np.array_equal(oracle.levels[-1], frozen.layers[-1].hidden)
    assert oracle.moved >= (np.abs(oracle.levels[-2] - frozen.layers[-2].hidden.astype(int))).sum()


# The samples that are kept


def test_a_sample_that_teaches_nothing_is_drawn_for_and_not_kept() -> None:
    frozen = replace(voting(12, inputs=9, planes=3, units=70, classes=4, passes=8), skip_below=4096)
    x = inputs(frozen, 1)[0]
    oracle, plain = Oracle(frozen), Oracle(frozen)
    step = oracle.learn(x, 1)
    assert step.skipped and step[2:] == (0, 0, 0) and oracle.steps == 1 and not oracle.kept
    for _ in range(2 * 3 * int(encode(frozen.encode, x).sum())):  # fours of passes, words of units, bits on
        plain.draw32()
    assert oracle.generator == plain.generator


def test_kept_samples_are_no_part_of_the_state() -> None:
    frozen = voting(11, inputs=6, planes=1, units=5, classes=3)
    oracle = Oracle(frozen)
    assert oracle.kept == []
    for x in inputs(frozen, 10):
        oracle.learn(x, 0)
    cleared = deepcopy(oracle)
    cleared.kept, cleared.voted = [], 0
    assert oracle.kept and oracle.voted and state_of(frozen, oracle) == state_of(frozen, cleared)


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
