from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from metabit.data import Task, load, thermometer
from metabit.train.errors import TrainError
from metabit.train.network.binarize import binarize_weight, sign
from metabit.train.network.module import Network
from metabit.train.network.spec import Conv, Spec
from metabit.train.penalties import (
    EWC,
    PENALTIES,
    Penalty,
    RandomConsolidation,
    SynapticIntelligence,
    empirical_fisher,
    hidden_weights,
)
from metabit.train.rule.metaplastic import MetaplasticAdam
from metabit.train.step import evaluate


@functools.cache
def digits(name: str = "digits") -> Task:
    return load(name).whole()


def dense(seed: int = 0, units: int = 32, **more: Any) -> Network:
    return Network(Spec(64, (units,), 10, encode=thermometer(digits().x_train, 4), seed=seed, **more))


def learn(
    network: Network, task: Task, penalty: Penalty, epochs: int, lr: float = 0.005, seed: int = 0, end: bool = True
) -> None:
    """The loop of the module's docstring, plain Adam."""
    optimizer = MetaplasticAdam(network.parameters(), lr=lr)
    order = np.random.default_rng(seed)
    x, y = torch.from_numpy(task.x_train), torch.from_numpy(task.y_train)
    network.train()
    for _ in range(epochs):
        for chosen in np.array_split(order.permutation(len(x)), max(1, len(x) // 100)):
            loss = torch.nn.functional.cross_entropy(network(x[chosen]), y[chosen]) + penalty.loss(network)
            optimizer.zero_grad()
            loss.backward()
            penalty.before_step(network)
            optimizer.step()
            penalty.after_step(network)
    if end:
        penalty.end_task(network, x, y)


def weights(network: Network) -> dict[str, torch.Tensor]:
    return {name: hidden.detach().clone() for name, hidden in hidden_weights(network)}


NETWORKS: dict[str, dict[str, Any]] = {
    "batch": {"norm": "batch"},
    "static": {"norm": "static", "output": "code"},
    "conv": {
        "encode": (8,),
        "hidden": (12,),
        "image": (8, 8, 1),
        "conv": (Conv(channels=5, kernel=3, stride=1, padding="same", pool=2),),
    },
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_fisher_is_the_mean_square_of_single_gradients(kind: str) -> None:
    settings = {"encode": (4, 8), "hidden": (12,), **NETWORKS[kind]}
    network = Network(Spec(features=64, classes=10, **settings))
    x, y = torch.from_numpy(digits().x_train[:40]), torch.from_numpy(digits().y_train[:40])
    with torch.no_grad():
        network.train()(x)  # running statistics that are not the initial ones
    found = empirical_fisher(network, x, y)
    assert network.training and all(hidden.grad is None for _, hidden in hidden_weights(network))

    network.eval()
    expected = {name: torch.zeros_like(hidden) for name, hidden in hidden_weights(network)}
    for i in range(len(x)):
        network.zero_grad()
        torch.nn.functional.cross_entropy(network(x[i : i + 1]), y[i : i + 1]).backward()
        for name, hidden in hidden_weights(network):
            assert hidden.grad is not None
            expected[name] += hidden.grad.square() / len(x)
    assert found.keys() == expected.keys() and len(found) == settings.get("output", "learned").count("learned") + 1 + (
        kind == "conv"
    )
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-9)
        assert found[name].max() > 0


def test_batch_statistics_give_way_to_running_ones() -> None:
    # The authors' code stops here: a batch of one has no variance.
    x, y = torch.from_numpy(digits().x_train[:20]), torch.from_numpy(digits().y_train[:20])
    by_batch, by_running = (dense(statistics=statistics) for statistics in ("batch", "running"))
    for name, value in empirical_fisher(by_batch, x, y).items():
        torch.testing.assert_close(value, empirical_fisher(by_running, x, y)[name])
    assert {layer.norm.statistics for layer in by_batch.layers()} == {"batch"}  # type: ignore[union-attr]


def test_ewc_is_the_sum_over_all_past_tasks() -> None:
    network, penalty = dense(norm="static"), EWC(strength=7.0, samples=50, seed=3)
    x, y = torch.from_numpy(digits().x_train[:50]), torch.from_numpy(digits().y_train[:50])
    assert penalty.loss(network) == 0.0
    past = []
    for seed in range(3):  # three tasks that leave three different networks
        network.load_tensors(dense(seed, norm="static").tensors())
        past.append((empirical_fisher(network, x, y), {k: sign(v) for k, v in weights(network).items()}))
        penalty.end_task(network, x, y)
    network.load_tensors(dense(9, norm="static").tensors())
    loss = penalty.loss(network)
    assert isinstance(loss, torch.Tensor)
    loss.backward()  # type: ignore[no-untyped-call]
    ours = {name: hidden.grad for name, hidden in hidden_weights(network)}

    network.zero_grad()
    terms = [
        (fisher[name] * (binarize_weight(hidden) - anchor[name]).square()).sum()
        for fisher, anchor in past
        for name, hidden in hidden_weights(network)
    ]
    expected = 7.0 / 2 * torch.stack(terms).sum()
    expected.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(loss, expected)
    for name, hidden in hidden_weights(network):
        torch.testing.assert_close(ours[name], hidden.grad, rtol=1e-4, atol=1e-7)
    assert len(penalty.tensors()) == 3 * len(ours)  # whatever the number of tasks


def test_the_penalty_and_its_gradient_in_closed_form() -> None:
    # A flipped synapse costs λ/2 · F · 4, and is pulled back by λ · F · 2; one that stayed costs and feels nothing.
    network, penalty = dense(units=4, norm="static"), EWC(strength=10.0, samples=30)
    penalty.end_task(network, digits().x_train[:30], digits().y_train[:30])
    (name, hidden), *_ = hidden_weights(network)
    fisher = penalty.tensors()[f"fisher.{name}"]
    before = penalty.loss(network)
    index = tuple(int(i) for i in torch.nonzero(fisher == fisher.max())[0])
    anchor = float(sign(hidden.detach())[index])
    with torch.no_grad():
        hidden[index] = -0.3 * anchor
    after = penalty.loss(network)
    assert isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor)
    assert before.item() == pytest.approx(0, abs=1e-5)
    assert after.item() == pytest.approx(10 / 2 * fisher[index].item() * 4, rel=1e-4)
    after.backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    assert hidden.grad[index].item() == pytest.approx(10 * fisher[index].item() * -2 * anchor, rel=1e-5)
    hidden.grad[index] = 0
    assert hidden.grad.abs().max() < 1e-6


def test_the_fisher_says_where_to_hold_on() -> None:
    kept, flipped = {}, {}
    first, second = digits(), digits("digits:sideways")
    for name, strength in (("none", 0.0), ("ewc", 100.0), ("random", 100.0), ("si", 1.0)):
        network, penalty = dense(units=64), PENALTIES[name](strength=strength)
        learn(network, first, penalty, epochs=8)
        before = weights(network)
        fisher = empirical_fisher(network, torch.from_numpy(first.x_train), torch.from_numpy(first.y_train))
        learn(network, second, penalty, epochs=8)
        switched = torch.cat([(sign(w) != sign(before[k])).flatten() for k, w in weights(network).items()])
        importance = torch.cat([value.flatten() for value in fisher.values()])
        flipped[name] = switched[importance >= importance.quantile(0.98)].float().mean().item()
        kept[name] = evaluate(network, first.x_test, first.y_test)
    assert flipped["ewc"] < 0.25 * flipped["none"]  # of the most important 2 %
    assert kept["none"] < 0.3 < kept["random"] < kept["ewc"] - 0.15
    assert kept["si"] > kept["none"] + 0.3


def test_si_path_integral() -> None:
    network = dense(units=4, norm="static")
    penalty = SynapticIntelligence(strength=3.0, damping=0.1)
    (name, hidden), *_ = hidden_weights(network)
    start = weights(network)[name]
    path = torch.zeros_like(start)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        was = hidden.detach().clone()
        hidden.grad = torch.randn(hidden.shape, generator=generator)
        penalty.before_step(network)
        with torch.no_grad():
            hidden -= 0.1 * hidden.grad
        penalty.after_step(network)
        now = hidden.detach()
        path -= hidden.grad * (now - was)
    assert penalty.loss(network) == 0.0
    penalty.end_task(network, digits().x_train[:5], digits().y_train[:5])
    omega = path / ((hidden.detach() - start).square() + 0.1)
    torch.testing.assert_close(penalty.tensors()[f"omega.{name}"], omega)
    assert float(torch.as_tensor(penalty.loss(network)).detach()) == 0
    with torch.no_grad():
        hidden.neg_()
    hidden.grad = None
    loss = penalty.loss(network)
    assert isinstance(loss, torch.Tensor)
    torch.testing.assert_close(loss, 3 * 4 * omega.sum())
    loss.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(hidden.grad, 2 * 3 * omega * 2 * sign(hidden.detach()))


def test_normalisation_is_left_alone() -> None:
    for name in ("ewc", "si", "random"):
        network, penalty = dense(units=8), PENALTIES[name](strength=100.0)
        learn(network, digits(), penalty, epochs=1)
        network.load_tensors(dense(3, units=8).tensors())
        network.zero_grad()
        loss = penalty.loss(network)
        assert isinstance(loss, torch.Tensor)
        loss.backward()  # type: ignore[no-untyped-call]
        touched = {n for n, p in network.named_parameters() if p.grad is not None}
        assert touched == {n for n, _ in hidden_weights(network)}


def test_what_cannot_be_used_is_named() -> None:
    for wrong, message in (
        (lambda: EWC(strength=-1), "strength="),
        (lambda: EWC(samples=0), "samples="),
        (lambda: SynapticIntelligence(damping=0), "damping="),
        (lambda: RandomConsolidation(strength=float("nan")), "strength="),
    ):
        with pytest.raises(TrainError, match=message):
            wrong()
