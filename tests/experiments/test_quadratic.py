from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from metabit.experiments.quadratic import Quadratic, Trained, switch_rows
from metabit.train.errors import TrainError


@functools.cache
def paper() -> tuple[Quadratic, Trained]:
    """d = 500, 1,000 steps of 0.01."""
    task = Quadratic.random(500, seed=1)
    return task, task.train()


def best_signs(task: Quadratic) -> np.ndarray:
    """The optimum, by all 2^d sign vectors."""
    d = len(task.target)
    signs = 2.0 * (np.arange(2**d)[:, None] >> np.arange(d) & 1) - 1
    away = signs - task.target
    return signs[np.einsum("nd,nd->n", away @ task.curvature, away).argmin()]


def test_loss_gradient_and_switches_agree() -> None:
    task = Quadratic.random(7, seed=3)
    b = np.where(np.random.default_rng(0).random(7) < 0.5, -1.0, 1.0)
    for i in range(7):
        nudge, switched = np.zeros(7), b.copy()
        nudge[i], switched[i] = 1e-5, -b[i]
        slope = (task.loss(b + nudge) - task.loss(b - nudge)) / 2e-5
        assert task.gradient(b)[i] == pytest.approx(slope, rel=1e-6)
        assert task.switch_increase(b)[i] == pytest.approx(task.loss(switched) - task.loss(b), rel=1e-9)
    assert task.loss(task.target) == 0


def test_the_paper_in_two_dimensions() -> None:
    # The target lies outside the square in the first coordinate and inside it in the second: one settles, one hovers.
    task = Quadratic(np.array([[2.4047, 0.2158], [0.2158, 0.7733]]), np.array([1.5, 0.5]))
    trained = task.train(steps=500, lr=0.35, start=[0.01, 0.02])
    assert trained.hidden[0] > 100 * abs(trained.hidden[1])
    assert list(best_signs(task)) == [1, 1]
    x = task.box_optimum()
    assert x[0] == 1 and abs(x[1]) < 1
    np.testing.assert_allclose(trained.mean_signs, x, atol=0.02)


def test_a_diagonal_task_is_solved_exactly() -> None:
    generator = np.random.default_rng(2)
    target = generator.uniform(1.2, 3, 12) * np.tile([1, -1], 6)
    task = Quadratic(np.diag(generator.uniform(1, 3, 12)), target)
    trained = task.train(steps=100)
    np.testing.assert_array_equal(trained.signs, np.sign(task.target))
    np.testing.assert_array_equal(trained.signs, best_signs(task))


def test_the_bound_holds_for_every_sign_vector() -> None:
    for seed in range(5):
        task = Quadratic.random(10, seed)
        bound, best = task.loss(task.box_optimum()), task.loss(best_signs(task))
        assert bound <= best <= task.loss(task.train().signs)


def test_the_steps_add_up() -> None:
    task, trained = paper()
    moved = (trained.hidden - trained.start) / (trained.lr * trained.steps)
    np.testing.assert_allclose(moved, -task.gradient(trained.mean_signs), atol=1e-9)


def test_the_box_optimum_is_optimal() -> None:
    task, _ = paper()
    x = task.box_optimum()
    g, inside = task.gradient(x), np.abs(x) < 1
    assert 0.1 < inside.mean() < 0.5
    assert np.abs(g[inside]).max() < 1e-6
    assert (g * x)[~inside].max() < 0  # outward


def test_mean_signs_find_the_optimum_and_hidden_weights_its_prices() -> None:
    task, trained = paper()
    x = task.box_optimum()
    prices = np.abs(task.gradient(x))
    assert np.abs(trained.mean_signs - x).max() < 0.01
    assert np.abs(trained.price - prices).max() < 0.003 * prices.max()
    assert task.loss(x) <= task.loss(trained.signs) < 1.1 * task.loss(x)


def test_the_loss_increase_grows_with_the_hidden_magnitude() -> None:
    task, trained = paper()
    increase = task.switch_increase(trained.signs)
    rank = [np.argsort(np.argsort(values)) for values in (np.abs(trained.hidden), increase)]
    assert np.corrcoef(*rank)[0, 1] > 0.95
    rows = switch_rows(task, trained)
    assert sum(row["synapses"] for row in rows) == 500 and len(rows) >= 13
    increases = [row["increase"] for row in rows]
    assert all(a < b for a, b in zip(increases, increases[1:], strict=False))
    for row in rows[1:]:  # the settled ones: the line is known beforehand
        assert row["predicted"] == pytest.approx(row["increase"], rel=0.06)


def test_same_seed_same_numbers() -> None:
    first, second = (Quadratic.random(30, seed=4).train(steps=50, seed=2) for _ in range(2))
    assert (first.hidden == second.hidden).all()
    assert (first.hidden != Quadratic.random(30, seed=4).train(steps=50, seed=3).hidden).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Quadratic(np.eye(2), np.ones(3)), "curvature"),
        (lambda: Quadratic(-np.eye(2), np.ones(2)), "positive definite"),
        (lambda: Quadratic(np.array([[1.0, 0.5], [0.0, 1.0]]), np.ones(2)), "symmetric"),
        (lambda: Quadratic.random(0), "d=0"),
        (lambda: Quadratic.random(3).train(steps=0), "steps=0"),
        (lambda: Quadratic.random(3).train(lr=0), "lr=0"),
        (lambda: switch_rows(*paper(), bins=0), "bins=0"),
    ],
)
def test_what_makes_no_sense_is_named(call: Any, message: str) -> None:
    with pytest.raises(TrainError, match=message):
        call()
