"""Output levels that learn: the C runtime against the oracle after every step, and what an export makes of a training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from agreement import agree_while_learning
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import gates_network, oracle_input

from metabit.export import GateOptions, freeze_gates, read_image, write_image
from metabit.export.frozen import Frozen, LevelsLayer
from metabit.export.oracle import Oracle
from metabit.runtime import Model


def raw_inputs(frozen: Frozen, rng: np.random.Generator, n: int) -> np.ndarray:
    """Any bytes are an input of cuts."""
    return rng.integers(0, 256, (n, Model(write_image(frozen)).input_size)).astype(np.uint8)


@pytest.mark.parametrize(
    ("units", "k", "classes"), [(32, 5, 2), (64, 4, 10), (128, 5, 6), (33, 8, 100), (7, 2, 3), (100, 3, 5)]
)
def test_the_runtime_and_the_oracle_agree_after_every_step(units: int, k: int, classes: int) -> None:
    frozen = gates_network(units, units=units, k=k, classes=classes, last="levels", learns=True)
    frozen = replace(frozen, temperature=200, skip_below=40)
    rng, steps = np.random.default_rng(k), 500 if units * classes < 1000 else 60
    oracle, model = agree_while_learning(frozen, raw_inputs(frozen, rng, steps), rng.integers(0, classes, steps))
    assert model.steps == steps and oracle.moved > steps and oracle.flipped == 0
    assert model.state_size == 16 + 4 * -(-classes * (units + 1) * k // 32)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["uint8", "int16"]), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_any_network_agrees(seed: int, kind: str, planes: int) -> None:
    rng = np.random.default_rng(seed)
    units, k, classes = int(rng.integers(1, 70)), int(rng.integers(2, 9)), int(rng.integers(2, 12))
    frozen = gates_network(seed, 9, planes, units, classes, "levels", kind, k, learns=True)
    frozen = replace(frozen, temperature=int(rng.choice([1, 500, 65535])), skip_below=int(rng.choice([0, 4096])))
    x = raw_inputs(frozen, rng, 12)
    if not planes:  # padding bits of packed inputs
        x[:, -1] &= 1
    agree_while_learning(frozen, x, rng.integers(0, classes, 12))


def test_levels_that_do_not_learn_have_no_state_and_predict_as_those_that_do() -> None:
    frozen = gates_network(1, last="levels", learns=True)
    last = frozen.layers[-1]
    assert isinstance(last, LevelsLayer)
    fixed = replace(frozen, layers=(frozen.layers[0], replace(last, rule=None)))
    x = raw_inputs(frozen, np.random.default_rng(1), 50)
    np.testing.assert_array_equal(Model(write_image(frozen)).scores(x), Model(write_image(fixed)).scores(x))
    with pytest.raises(ValueError, match="learn"):
        Model(write_image(fixed)).learn_one(x[0], 0)


@pytest.mark.parametrize("m", [0.0, 2.0])
def test_an_exported_training_learns_on(m: float) -> None:
    recipe = pytest.importorskip("metabit.train.recipe")
    rng = np.random.default_rng(0)
    centres, y = rng.normal(0, 1, (6, 8)), rng.integers(0, 3, 900)
    x = centres[y] + rng.normal(0, 0.3, (900, 8))
    x[450:] = centres[y[450:] + 3] + rng.normal(0, 0.3, (450, 8))  # the classes move
    trained = recipe.fit_recipe(x[:400], y[:400], units=32, steps=300)
    frozen = freeze_gates(trained, options=GateOptions(learner="levels", m=m))
    last = frozen.layers[-1]
    assert isinstance(last, LevelsLayer) and last.rule is not None
    np.testing.assert_array_equal(last.hidden, trained.network.output.levels().numpy())
    assert last.rule.weaken[-1] == round(256 * np.exp(-m)) and frozen.temperature == round(
        32768 * 3 / (8 * 15 * 32**0.5)
    )
    model = Model(write_image(frozen))
    given = trained.encoder.quantise(x).view(np.uint8).reshape(len(x), -1)
    before = (model.predict_many(given[850:]) == y[850:]).mean()
    old = (model.predict_many(given[400:450]) == y[400:450]).mean()
    model.learn_many(given[450:850], y[450:850])
    after = (model.predict_many(given[850:]) == y[850:]).mean()
    assert old > 0.95 and after > 0.85 and after > before + 0.2
    oracle = Oracle(read_image(model.image()))
    assert [oracle.predict(oracle_input(frozen, one)) for one in given[:20]] == model.predict_many(given[:20]).tolist()
