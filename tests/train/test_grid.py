from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metabit.train.errors import TrainError
from metabit.train.rule.grid import Grid, seed_words, uniform
from metabit.train.rule.metaplastic import MetaplasticAdam, MetaplasticSGD

GRIDS = st.builds(Grid, st.integers(2, 8), st.sampled_from([0.01, 0.3, 1.0]))


@settings(max_examples=30, deadline=None)
@given(GRIDS, st.integers(0, 2**32))
def test_levels_and_weights_are_each_others_inverse(grid: Grid, seed: int) -> None:
    h = torch.arange(grid.low, grid.high + 1, dtype=torch.float32)
    w = grid.weights(h)
    assert len(h) == 2**grid.k
    assert torch.equal(grid.levels(w), h)
    assert torch.equal(w >= 0, h >= 0)
    assert grid.levels(torch.tensor([-1e9, 1e9])).tolist() == [grid.low, grid.high]


@settings(max_examples=20, deadline=None)
@given(GRIDS, st.integers(0, 2**32), st.sampled_from([MetaplasticAdam, MetaplasticSGD]))
def test_hidden_weights_lie_on_the_grid_after_every_step(grid: Grid, seed: int, rule: Any) -> None:
    generator = torch.Generator().manual_seed(seed)
    w, gain = (torch.nn.Parameter(torch.rand(shape, generator=generator) - 0.5) for shape in ((7, 9), (7,)))
    optimizer = rule([w, gain], lr=grid.delta, m=1.0, grid=grid, seed=seed)
    for _ in range(5):
        for parameter in (w, gain):
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
        assert torch.equal(w, grid.weights(grid.levels(w.detach())))
    assert not torch.equal(gain, grid.weights(grid.levels(gain.detach()))), "gains are not on a grid"


def test_a_step_of_nothing_moves_nothing_and_keeps_every_sign() -> None:
    grid = Grid(3, 0.1)
    w = torch.nn.Parameter(torch.linspace(-0.5, 0.5, 100).reshape(10, 10))
    before = w.detach().clone()
    optimizer = MetaplasticAdam([w], grid=grid)
    for _ in range(3):
        w.grad = torch.zeros_like(w)
        optimizer.step()
    assert torch.equal(w, grid.weights(grid.levels(before)))
    assert torch.equal(w >= 0, before >= 0)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("share", [0.01, 0.37, 1.6])
def test_the_mean_step_is_the_one_asked_for(share: float, native: bool) -> None:
    grid, n = Grid(8, 0.1), 200_000
    w = torch.nn.Parameter(torch.full((n // 100, 100), grid.weights(torch.tensor(0.0)).item()))
    start = w.detach().clone()
    if native:
        w.grad = torch.ones_like(w)
        MetaplasticSGD([w], lr=share * grid.delta, grid=grid).step()
    else:
        grid.move_(w.data, torch.full_like(w, share * grid.delta), seed_words(0, 0, 1))
    moved = ((start - w.detach()) / grid.delta).double()
    assert moved.mean().item() == pytest.approx(share, abs=4 * 0.5 / math.sqrt(n))
    assert set(moved.round().unique().tolist()) == {math.floor(share), math.floor(share) + 1.0}


def test_every_step_parameter_and_seed_throws_its_own_dice() -> None:
    words = [seed_words(seed, parameter, step) for seed in range(3) for parameter in range(3) for step in range(50)]
    assert len(set(words)) == len(words)
    assert all(0 <= word < 2**32 for pair in words for word in pair)
    draws = torch.stack([uniform(20_000, pair) for pair in words[:40]])
    assert draws.min() >= 0 and draws.max() < 1
    assert (draws.mean(1) - 0.5).abs().max() < 5 / math.sqrt(12 * 20_000)
    correlation = torch.corrcoef(draws) - torch.eye(40)
    assert correlation.abs().max() < 5 / math.sqrt(20_000)
    assert abs(torch.corrcoef(torch.stack([draws[0, 1:], draws[0, :-1]]))[0, 1].item()) < 5 / math.sqrt(20_000)


def test_reaching_ends_where_it_says() -> None:
    grid = Grid.reaching(4, m=2.0, top=3.0)
    assert grid == (4, pytest.approx(3.0 / 2.0 / 8))
    with pytest.raises(TrainError, match="m=0"):
        Grid.reaching(4, m=0.0)


def test_learns_on_the_grid() -> None:
    """A linear problem that needs magnitudes far below one level to be collected over many steps."""
    generator = torch.Generator().manual_seed(0)
    target = torch.where(torch.rand(20, 30, generator=generator) < 0.5, -1.0, 1.0)
    grid = Grid(3, 0.25)
    w = torch.nn.Parameter(torch.full((20, 30), 0.1))
    optimizer = MetaplasticAdam([w], lr=0.01, m=1.0, grid=grid)
    for _ in range(300):
        w.grad = -target + torch.randn(20, 30, generator=generator)
        optimizer.step()
    assert (torch.sign(w) == target).float().mean() > 0.99
