from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from metabit.data import Task, load, thermometer
from metabit.train.errors import DivergedError, TrainError
from metabit.train.network.module import Network
from metabit.train.network.spec import Spec
from metabit.train.run import Epoch, fit
from metabit.train.step import evaluate


@functools.cache
def digits(name: str = "digits") -> Task:
    return load(name).whole()


def digits_network(units: int = 64, **more: Any) -> Network:
    return Network(Spec(64, (units,), 10, encode=thermometer(digits().x_train, 4), **more))


def small(task: Task, samples: int) -> Task:
    return Task(task.name, task.x_train[:samples], task.y_train[:samples], task.x_test, task.y_test)


@pytest.mark.parametrize("norm", ["batch", "static"])
@pytest.mark.parametrize("output", ["learned", "code"])
def test_digits_are_learnt(norm: Any, output: Any) -> None:
    network = digits_network(512, norm=norm, output=output)
    history = fit(network, digits(), epochs=30)
    assert history.epochs[-1].test_accuracy >= 0.94
    assert history.epochs[-1].test_accuracy == evaluate(network, digits().x_test, digits().y_test)


def test_metaplasticity_protects_the_first_task() -> None:
    upright, sideways = digits(), digits("digits:sideways")
    kept = {}
    for m in (0.0, 64.0):
        network = digits_network(128, norm="static", output="code")
        fit(network, upright, epochs=12, m=m)
        fit(network, sideways, epochs=6, m=m)
        kept[m] = evaluate(network, upright.x_test, upright.y_test)
    assert kept[64.0] > kept[0.0] + 0.3


def test_history_and_progress() -> None:
    seen: list[Epoch] = []
    network = digits_network()
    history = fit(network, small(digits(), 300), epochs=3, progress=seen.append)
    assert history.epochs == seen and [epoch.number for epoch in seen] == [1, 2, 3]
    assert seen[-1].loss < seen[0].loss and seen[-1].train_accuracy > seen[0].train_accuracy
    assert not history.interrupted and not network.training


def test_one_m_for_each_layer() -> None:
    def hidden(m: Any) -> list[Any]:
        network = digits_network(norm="static")
        fit(network, small(digits(), 300), epochs=2, m=m)
        return [network.tensors()[f"layers.{i}.hidden"] for i in range(2)]

    assert all(np.array_equal(a, b) for a, b in zip(hidden(3.0), hidden([3.0, 3.0]), strict=True))
    assert not np.array_equal(hidden([3.0, 0.0])[1], hidden(3.0)[1])


def test_ctrl_c_keeps_what_was_learnt() -> None:
    def interrupt(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    network = digits_network()
    history = fit(network, small(digits(), 300), epochs=50, progress=interrupt)
    assert history.interrupted and len(history.epochs) == 2 and not network.training
    assert evaluate(network, digits().x_test, digits().y_test) == history.epochs[-1].test_accuracy


def test_no_batch_is_left_with_one_sample() -> None:
    for samples, batch in ((101, 100), (5, 2), (3, 2), (2, 2)):
        fit(digits_network(), small(digits(), samples), epochs=1, batch=batch)
    fit(digits_network(norm="static"), small(digits(), 3), epochs=1, batch=1)


def poison(network: Network, name: str) -> None:
    tensors = network.tensors()
    tensors[name].flat[0] = np.nan
    network.load_tensors(tensors)


def test_nan_is_stopped_with_step_and_layer() -> None:
    network = digits_network()
    poison(network, "layers.1.norm.weight")
    with pytest.raises(DivergedError, match="the loss is nan at step 1, first in layer 1"):
        fit(network, digits(), epochs=1)


def test_nan_behind_a_binary_weight_is_found() -> None:
    network = digits_network(norm="static")
    poison(network, "layers.0.hidden")
    with pytest.raises(DivergedError, match="a parameter is not finite after step 3, first in layer 0"):
        fit(network, small(digits(), 300), epochs=1)


def test_evaluate_restores_the_mode() -> None:
    network = digits_network().train()
    before = network.tensors()
    evaluate(network, digits().x_test, digits().y_test)
    assert network.training
    assert all(np.array_equal(before[name], tensor) for name, tensor in network.tensors().items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs=0: must be a whole number, at least 1"),
        ({"batch": 1}, "batch=1 with 1438 training samples: norm='batch' needs at least 2"),
        ({"m": [1.0, 2.0, 3.0]}, "m has 3 values"),
        ({"m": -1.0}, "m=-1.0"),
        ({"lr": -1.0}, "lr=-1.0"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainError, match=message):
        fit(digits_network(), digits(), **{"epochs": 1, **settings})


def test_network_and_task_must_fit() -> None:
    task = digits()
    with pytest.raises(TrainError, match=r"x has shape \(1438, 64\): this network takes \(samples, 63\)"):
        fit(Network(Spec(63, (8,), 10, encode=(5,))), task, epochs=1)
    with pytest.raises(TrainError, match="label 9 does not fit: this network has classes 0 to 8"):
        fit(Network(Spec(64, (8,), 9, encode=(5,))), task, epochs=1)
    with pytest.raises(TrainError, match="a feature is 16: without encode, features are bits"):
        fit(Network(Spec(64, (8,), 10)), task, epochs=1)
    with pytest.raises(TrainError, match="x is float64 and y is int64: must be uint8 and int64"):
        evaluate(digits_network(), task.x_test.astype(float), task.y_test)
    with pytest.raises(TrainError, match=r"y has shape \(3,\): must be \(359,\)"):
        evaluate(digits_network(), task.x_test, task.y_test[:3])
