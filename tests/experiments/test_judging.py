"""The learners of a trained network and their rivals on held-out samples: what is learnt, what is tested, which is named."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from metabit.data import Task
from metabit.data.arrays import from_arrays
from metabit.experiments import judging
from metabit.experiments.comparison import RIVALS
from metabit.experiments.judging import ORDERS, ROUNDS, _Found, _verdicts, judge
from metabit.experiments.learners import LEARNERS, starts_of
from metabit.experiments.tuning import Image, held_out, ordered
from metabit.export import GateOptions, freeze_gates, read_image, write_image
from metabit.export.freeze.levels import generator_state
from metabit.runtime import Model
from metabit.train.gates_checkpoint import GatesCheckpoint
from metabit.train.recipe_run import RecipeSettings, run_recipe

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def task() -> Task:
    rng = np.random.default_rng(1)
    y = np.arange(360) % 3
    x = rng.normal(size=(360, 5)) + 1.5 * np.eye(3, 5)[y]
    return from_arrays("t", x, y)


@pytest.fixture(scope="module")
def checkpoint(task: Task) -> GatesCheckpoint:
    return run_recipe(task, RecipeSettings(epochs=20)).checkpoint()


def test_each_half_is_learnt_and_the_other_is_tested(task: Task, checkpoint: GatesCheckpoint) -> None:
    """The figures of levels and of a rival are computed again, sample by sample."""
    starts, calls = starts_of(checkpoint), list[int]()
    told = judge(checkpoint, starts, task, 3, lambda: calls.append(1))
    assert len(calls) == judging.steps(starts, 72) and told.samples == 72
    lines = {line.name: line for line in told.comparison.lines}
    assert list(lines) == [
        *(f"metabit ({name})" for name in ("head", "head, 2 rows a class", "levels", "none")),
        *RIVALS,
    ]
    x, y = task.x_test, task.y_test
    start = starts["levels"]
    assert isinstance(start, Image)
    right = {name: np.zeros((len(ORDERS), 72)) for name in ("levels", "nearest class mean")}
    for seed in range(3, 3 + ROUNDS):
        for part in (0, 1):
            learnt = np.flatnonzero(held_out(72, seed, 2) == (part == 0))
            tested = np.setdiff1d(np.arange(72), learnt)
            for place, order in enumerate(ORDERS):
                rows = learnt[ordered(y[learnt], order, np.random.default_rng([seed, 0, 10]))]
                model = Model(write_image(replace(read_image(start.image), generator=generator_state(seed))))
                rival = RIVALS["nearest class mean"](5, 3)
                rival.fit(task.x_train, task.y_train)
                for row in rows:
                    model.learn_one(x[row], int(y[row]))
                    rival.learn(x[row], int(y[row]))
                right["levels"][place, tested] += model.predict_many(x[tested]) == y[tested]
                right["nearest class mean"][place, tested] += rival.predict(x[tested]) == y[tested]
    assert lines["metabit (levels)"].after == pytest.approx(right["levels"].mean(1) / ROUNDS)
    assert lines["nearest class mean"].after == pytest.approx(right["nearest class mean"].mean(1) / ROUNDS)
    for name in ("head", "levels", "none"):
        model = Model(write_image(freeze_gates(checkpoint, options=GateOptions(learner=name))))
        line = lines[f"metabit ({name})"]
        assert line.state == model.state_size and line.before[0] == pytest.approx((model.predict_many(x) == y).mean())
    assert lines["metabit (none)"].after == lines["metabit (none)"].before


def test_many_samples_are_used_once_and_few_several_times(
    task: Task, checkpoint: GatesCheckpoint, monkeypatch: Any
) -> None:
    monkeypatch.setattr(judging, "SAMPLES", 40)
    starts = starts_of(checkpoint)
    assert judging.steps(starts, 72) == judging.steps(starts, 40) < judging.steps(starts, 20)
    told = judge(checkpoint, starts, task)
    assert told.samples == 40 and "40 of the 72 held-out ones" in told.comparison.began


def test_a_network_that_no_head_fits_has_levels(task: Task) -> None:
    wide = run_recipe(task, RecipeSettings(epochs=1, units=65)).checkpoint()
    told = judge(wide, starts_of(wide), task)
    assert (told.learner, told.options) == ("levels", "--learner levels")
    assert [line.name for line in told.comparison.lines[:2]] == ["metabit (levels)", "metabit (none)"]


def found(name: str, share: float, state: int = 100) -> _Found:
    right = (np.arange(400) < 400 * share).astype(float)
    return _Found(name, state, right, np.stack([right, right]))


@pytest.mark.parametrize(
    ("head", "levels", "none", "rival", "words"),
    [
        (0.9, 0.9, 0.9, 0.8, ("the learner head: 90.0 %", "no other one beats", "No rival is better: the best of them, SLDA")),
        (0.9, 0.9, 0.97, 0.8, ("Not learning is better", "97.0 %", "--learner none", "No rival")),
        (0.9, 0.8, 0.9, 0.95, ("SLDA is better here: 95.0 % with 100 bytes of state, in floats.",)),
        (0.9, 0.8, 0.9, 0.9025, ("SLDA is better here: 90.2 %", "a lead that may be chance")),
    ],
)  # fmt: skip
def test_words_say_who_is_better(head: float, levels: float, none: float, rival: float, words: tuple[str, ...]) -> None:
    learners = {"head": found("h", head), "levels": found("l", levels), "none": found("n", none)}
    said = " ".join(_verdicts("head", learners, {"SLDA": found("SLDA", rival), "majority class": found("m", 0.1)}))
    assert all(word in said for word in words), said
    assert ("Not learning" in said) == (none > head)


def test_another_learner_must_lead_by_more_than_chance() -> None:
    assert found("a", 0.9).leads(found("b", 0.8)) and not found("a", 0.9).leads(found("b", 0.9))
    assert not found("a", 0.9025).leads(found("b", 0.9)), "one sample of 400"
    learners = {"head": found("h", 0.8), "levels": found("l", 0.9), "none": found("n", 0.8)}
    said = " ".join(_verdicts("levels", learners, {"SLDA": found("SLDA", 0.5)}))
    assert "export the learner levels: 90.0 %" in said and "80.0 %" in said and "more than chance" in said


def test_every_learner_that_is_not_the_default_has_its_option() -> None:
    gates = [name for name in LEARNERS if name not in ("visits", "votes")]
    assert re.fullmatch("(head,?)+", gates[0]) and set(gates[1:]) | {"none"} == set(judging.EXPORT)
