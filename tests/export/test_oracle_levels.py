"""Output levels: the oracle, the plain C reference and the device's C agree on every level after every step."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compilers import UNDEFINED, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import gates_network
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.freeze.output_levels import levels_rule, levels_temperature
from metabit.export.frozen import LevelsLayer, LevelsRule
from metabit.export.oracle import Oracle
from metabit.export.oracle.gates import scores as scores_of
from metabit.export.oracle.levels import learn_levels
from metabit.export.oracle.visits import next_state, softmax_error

ROOT = Path(__file__).parents[2]
SHIM = r"""
#include <string.h>
#include "layers.h"
#include "learn.h"

/* One step of an image of one layer. state: generator and counters. */
int device_step(uint32_t *words, const uint16_t *weaken, const int *sizes, int8_t *x, int label, uint32_t *state, int32_t *score,
                int32_t *error, int *visited, int *moved)
{
    uint32_t image[MB_HEADER_SIZE / 4] = {0}, pairs[1024 / 2];
    mb_layer l;
    mb_arena arena;
    mb_model m;
    mb_learn_info info;
    memset(&l, 0, sizeof l);
    memset(&arena, 0, sizeof arena);
    memset(&m, 0, sizeof m);
    l.kind = MB_LEVELS;
    l.levels = (uint8_t *)words;
    l.tables = weaken;
    l.bits = (uint8_t)sizes[0];
    l.inputs = (uint32_t)sizes[1];
    l.units = (uint32_t)sizes[2];
    l.dose = (uint32_t)sizes[3];
    image[MB_AT_CLASSES / 4] = l.units;
    image[MB_AT_TEMPERATURE / 4] = (uint32_t)sizes[4] | (uint32_t)sizes[5] << 16;
    m.image = (const uint8_t *)image;
    m.state = (uint8_t *)state;
    arena.scores = error;
    mb_levels_scores(&l, x, pairs, score);
    memcpy(error, score, sizeof *score * l.units);
    const uint32_t before = state[2];
    if (mb_begin_step(&m, &arena, (uint16_t)label, &info) == 0) {
        return 0;
    }
    *visited = (int)mb_levels_learn(&l, x, error, (mb_counters *)state);
    *moved = (int)(state[2] - before);
    return 1;
}
"""


@dataclass
class Output:
    """An output of levels by itself, with the parts of the oracle."""

    levels: NDArray[np.int8]
    bits: int
    rule: LevelsRule
    temperature: int
    skip_below: int = 0
    generator: int = 1
    done: tuple[int, int] = (0, 0)

    def scores(self, x: NDArray[np.int8]) -> NDArray[np.int64]:
        return scores_of(x[None], self.levels)[0].astype(np.int64)

    def learn(self, x: NDArray[np.int8], label: int) -> bool:
        """One step. False if it was skipped."""
        scores = self.scores(x)
        error = softmax_error((np.minimum(65535, scores.max() - scores) * self.temperature) >> 12, label)
        true_error = -int(error[label])
        if true_error <= 0 or true_error < self.skip_below:
            return False
        self.done = learn_levels(self.levels, self.bits, self.rule, x, error, self._draw)
        return True

    def _draw(self) -> int:
        self.generator = next_state(self.generator)
        return self.generator >> 16


class CLevels(ctypes.Structure):
    """levels_output of tests/reference/levels.h."""

    _fields_ = [
        *[(name, ctypes.c_int) for name in ("k", "K", "C", "dose", "temperature", "margin")],
        ("weaken", ctypes.c_void_p), ("h", ctypes.c_void_p), ("z", ctypes.c_uint32),
        ("moved", ctypes.c_int), ("visited", ctypes.c_int),
    ]  # fmt: skip


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def packed(levels: NDArray[Any], bits: int) -> NDArray[np.uint32]:
    """The stream of runtime/FORMAT.md, written down in another way than any writer's: one long number. A word lies before it."""
    number = sum((int(level) % 2**bits) << (32 + i * bits) for i, level in enumerate(levels.ravel()))
    words = 1 - (-levels.size * bits // 32)
    return np.frombuffer(number.to_bytes(4 * words, "little"), "<u4").copy()[1:]


class Both:
    """The reference and the device's C with the state of an oracle."""

    def __init__(self, library: ctypes.CDLL, oracle: Output) -> None:
        self.c, self.bits = library, oracle.bits
        classes, inputs = oracle.levels.shape[0], oracle.levels.shape[1] - 1
        self.weaken, self.levels = oracle.rule.weaken.copy(), oracle.levels.copy()
        sizes = (oracle.bits, inputs, classes, oracle.rule.dose, oracle.temperature, oracle.skip_below)
        self.reference = CLevels(*sizes, self.weaken.ctypes.data, self.levels.ctypes.data, oracle.generator, 0, 0)
        self.sizes, self.words = np.array(sizes, np.intc), packed(oracle.levels, oracle.bits)
        self.state, self.done = np.array([oracle.generator, 0, 0, 0], np.uint32), np.zeros(2, np.intc)
        self.score, self.error = np.zeros((2, classes), np.int32), np.zeros((2, classes), np.int32)

    def step_with(self, oracle: Output, x: NDArray[np.int8], label: int) -> bool:
        """One step of all three, which must agree on everything."""
        scores = oracle.scores(x)
        learns = oracle.learn(x, label)
        both = (_pointer(self.score[0]), _pointer(self.error[0]))
        assert self.c.levels_step(ctypes.byref(self.reference), _pointer(x), label, *both) == learns
        both = (_pointer(self.score[1]), _pointer(self.error[1]))
        parts = (self.words, self.weaken, self.sizes, x)
        z, done = _pointer(self.state), [_pointer(self.done[i : i + 1]) for i in range(2)]
        assert self.c.device_step(*(_pointer(part) for part in parts), label, z, *both, *done) == learns
        np.testing.assert_array_equal(self.score, [scores, scores])
        np.testing.assert_array_equal(self.error[0], self.error[1])
        np.testing.assert_array_equal(self.levels, oracle.levels)
        np.testing.assert_array_equal(self.words, packed(oracle.levels, self.bits))
        assert oracle.generator == self.reference.z == self.state[0]
        if learns:
            assert tuple(self.done) == oracle.done
            assert (self.reference.visited, self.reference.moved) == tuple(self.done)
        return learns


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("levels")
    (folder / "shim.c").write_text(SHIM)
    runtime = ROOT / "runtime"
    sources = [folder / "shim.c", ROOT / "tests" / "reference" / "levels.c", *sorted((runtime / "src").glob("*.c"))]
    where = (f"-I{runtime / 'include'}", f"-I{runtime / 'src'}")
    return shared(folder / "levels.so", *sources, options=(*UNDEFINED, *where))


def stream(rng: np.random.Generator, n: int, inputs: int, classes: int) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Grades around one centre a class."""
    centres, y = rng.normal(0, 5, (classes, inputs)), rng.integers(0, classes, n)
    return np.clip(np.rint(centres[y] + rng.normal(0, 4, (n, inputs))), -8, 8).astype(np.int8), y


@pytest.mark.parametrize(
    ("bits", "inputs", "classes"), [(2, 1, 2), (3, 31, 3), (5, 128, 6), (6, 20, 11), (7, 9, 2), (8, 64, 10)]
)
def test_oracle_reference_and_device_agree_after_every_step(
    library: ctypes.CDLL, bits: int, inputs: int, classes: int
) -> None:
    rng = np.random.default_rng([bits, inputs])
    largest = 2 ** (bits - 1) - 1
    levels = rng.integers(-largest, largest + 1, (classes, inputs + 1)).astype(np.int8)
    rule, temperature = levels_rule(bits, inputs), levels_temperature(bits, inputs)
    oracle = Output(levels, bits, rule, temperature, skip_below=40, generator=2024)
    both = Both(library, oracle)
    learnt = [
        both.step_with(oracle, x, int(label)) for x, label in zip(*stream(rng, 500, inputs, classes), strict=True)
    ]
    assert sum(learnt) > 20 and oracle.generator != 2024


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_no_state_overflows(library: ctypes.CDLL, seed: int) -> None:
    """Extremes of dose, temperature, table, levels and grades: no undefined behaviour in C, equal integers everywhere."""
    rng = np.random.default_rng(seed)
    bits, inputs, classes = int(rng.integers(2, 9)), int(rng.integers(1, 40)), int(rng.integers(2, 7))
    largest = 2 ** (bits - 1) - 1
    dose = int(rng.choice([1, 2**19, 2**20 - 1, int(rng.integers(1, 2**20))]))
    rule = LevelsRule(dose, rng.choice([0, 1, 255, 256], largest + 1).astype(np.uint16))
    levels = rng.choice([-largest, 0, largest], (classes, inputs + 1)).astype(np.int8)
    temperature, generator = int(rng.choice([0, 1, 300, 65535])), int(rng.integers(1, 2**32))
    oracle = Output(levels, bits, rule, temperature, int(rng.choice([0, 4096])), generator)
    both = Both(library, oracle)
    for _ in range(20):
        both.step_with(oracle, rng.choice([-8, 0, 8], inputs).astype(np.int8), int(rng.integers(0, classes)))


@pytest.mark.parametrize("k", [3, 5, 8])
def test_a_network_with_such_an_output_learns_in_place(k: int) -> None:
    frozen = gates_network(k, last="levels", k=k, learns=True)
    frozen = replace(frozen, temperature=400, skip_below=30)
    network, last = Oracle(frozen), frozen.layers[-1]
    assert isinstance(last, LevelsLayer) and last.rule is not None
    alone = Output(last.hidden.copy(), k, last.rule, 400, 30, frozen.generator)
    rng, learnt = np.random.default_rng(k), 0
    for features in rng.integers(0, 256, (60, 13)).astype(np.uint8):
        x, label = network.forward(features)[0][-1].astype(np.int8), int(rng.integers(0, 4))
        predicted = int(alone.scores(x).argmax())
        learns = alone.learn(x, label)
        done = alone.done if learns else (0, 0)
        assert network.learn(features, label) == (predicted, not learns, *done, 0)
        np.testing.assert_array_equal(network.levels[-1], alone.levels)
        learnt += learns
    assert 20 < learnt and network.generator == alone.generator and network.steps == 60
    np.testing.assert_array_equal(network.levels[0], frozen.layers[0].hidden)


@pytest.mark.parametrize("inputs", [1, 16, 128, 1024])
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_settings_fit_the_format(bits: int, inputs: int) -> None:
    temperature, rule = levels_temperature(bits, inputs), levels_rule(bits, inputs)
    unit = 3 / (8 * (2 ** (bits - 1) - 1) * np.sqrt(inputs))
    assert 1 <= temperature <= 65535 and abs(temperature / 32768 - unit) <= 0.5 / 32768
    assert len(rule.weaken) == 2 ** (bits - 1) and rule.weaken[0] == 256 and rule.weaken[-1] == round(256 * np.exp(-2))
    assert abs(rule.dose / 65536 - 0.006 / (inputs * unit)) <= 0.5 / 65536
    limited = 4096 * np.exp(-(65535 * temperature >> 12) / 16)  # error of a score that is 65535 below the best
    assert limited < 16 or bits == 8 and inputs > 300


def test_metaplasticity_slows_steps_toward_zero_and_no_others() -> None:
    x, label = np.full(8, 8, np.int8), 0
    moved = {}
    for m in (0.0, 4.0):
        moved[m] = [0, 0]
        for generator in range(1, 200):
            levels = np.zeros((2, 9), np.int8)
            levels[0, :4], levels[1, :4] = -7, 7  # class 0 is wrong by these: they move toward zero
            levels[0, 4:8], levels[1, 4:8] = 3, -3
            before = levels.copy()
            oracle = Output(levels, 4, levels_rule(4, 8, m), 500, generator=generator * 7919)
            assert oracle.learn(x, label)
            change = np.abs(levels.astype(int) - before)
            moved[m][0] += int(change[:, :4].sum())
            moved[m][1] += int(change[:, 4:8].sum())
    assert moved[4.0][0] < 0.1 * moved[0.0][0] and moved[4.0][0] > 0
    assert abs(moved[4.0][1] - moved[0.0][1]) < 0.1 * moved[0.0][1]


def test_it_learns() -> None:
    rng = np.random.default_rng(3)
    x, y = stream(rng, 700, 32, 4)
    oracle = Output(np.zeros((4, 33), np.int8), 5, levels_rule(5, 32), levels_temperature(5, 32))
    for one, label in zip(x[:500], y[:500], strict=True):
        oracle.learn(one, int(label))
    right = [int(oracle.scores(one).argmax()) == label for one, label in zip(x[500:], y[500:], strict=True)]
    assert np.mean(right) > 0.95


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: levels_rule(5, 32, m=-1.0), "m=-1.0 of output levels: must be a number >= 0"),
        (lambda: levels_rule(5, 32, dose=0.0), "dose=0.0 of output levels: must be above 0 and below 377"),
        (lambda: levels_rule(5, 32, dose=1e9), "dose=1000000000.0 of output levels: must be above 0 and below 377"),
        (lambda: levels_rule(9, 32), "output levels of 9 bits: must be from 2 to 8"),
    ],
)
def test_what_cannot_be_is_named(wrong: Any, sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence):
        wrong()
