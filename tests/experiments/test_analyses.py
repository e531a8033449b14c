from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from metabit.data import Task, load, thermometer
from metabit.experiments.analyses import switch_signs
from metabit.train.errors import TrainError
from metabit.train.network.module import Network
from metabit.train.network.spec import Conv, Spec
from metabit.train.run import fit


@functools.cache
def digits() -> Task:
    return load("digits").whole()


@functools.cache
def trained() -> Network:
    network = Network(Spec(64, (256,), 10, encode=thermometer(digits().x_train, 4)))
    fit(network, digits(), epochs=12, m=8.0)
    return network


def test_large_hidden_weights_cost_more_to_switch() -> None:
    network = trained()
    before = network.tensors()
    rows = switch_signs(network, digits().x_train, digits().y_train, bins=8, switches=(50, 5), draws=20)
    assert all((before[name] == value).all() for name, value in network.tensors().items())
    assert not network.training
    for layer in ("layers.0", "layers.1"):
        increases = [row["increase"] for row in rows if row["layer"] == layer]
        assert len(increases) >= 5
        # It rises, then levels off: a synapse that is sure enough need not become surer.
        assert 0 < increases[0] < min(increases[1:])
        assert np.mean(increases[3:]) > 1.5 * increases[0]


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_it_is_the_loss_of_the_switched_network(kind: str) -> None:
    # One bin and as many switches as synapses leaves nothing to chance: every sign of the layer is switched.
    conv = {"image": (8, 8, 1), "conv": (Conv(channels=3, pool=2),)} if kind == "conv" else {}
    network = Network(Spec(64, (6,), 10, encode=(8,), **conv)).eval()  # type: ignore[arg-type]
    x, y = digits().x_train[:1100], digits().y_train[:1100]

    def loss(other: Network) -> float:
        with torch.no_grad():
            return torch.nn.functional.cross_entropy(other(torch.from_numpy(x)), torch.from_numpy(y)).item()

    for layer in range(len(network.layers())):
        tensors = network.tensors()
        name = f"layers.{layer}.hidden"
        sizes = [value.size for key, value in tensors.items() if key.endswith("hidden")]
        rows = switch_signs(network, x, y, bins=1, switches=sizes, draws=1)
        tensors[name] = -np.where(tensors[name] >= 0, 1, -1).astype(np.float32)
        other = Network(network.spec).eval()
        other.load_tensors(tensors)
        (row,) = [row for row in rows if row["layer"] == f"layers.{layer}"]
        assert row["increase"] * row["switches"] == pytest.approx(loss(other) - loss(network), rel=1e-3, abs=1e-5)
        assert row["synapses"] == sizes[layer]


def test_a_weight_of_zero_is_switched_too() -> None:
    network = Network(Spec(64, (), 10, encode=(8,), norm="static")).eval()
    network.load_tensors({**network.tensors(), "layers.0.hidden": np.zeros((10, 64), np.float32)})
    (row,) = switch_signs(network, digits().x_train[:50], digits().y_train[:50], bins=1, switches=1, draws=4)
    assert row["deviation"] > 0 and row["magnitude"] == 0


def test_the_seed_decides_the_draws() -> None:
    def increases(seed: int) -> list[float]:
        rows = switch_signs(trained(), digits().x_test, digits().y_test, bins=2, draws=2, seed=seed)
        return [row["increase"] for row in rows]

    assert increases(1) == increases(1) != increases(2)


def test_bins_without_enough_synapses_are_left_out() -> None:
    size = 256 * 256
    rows = switch_signs(trained(), digits().x_test, digits().y_test, bins=15, switches=(size // 20, 10**6), draws=1)
    assert {row["layer"] for row in rows} == {"layers.0"}
    assert 0 < len(rows) < 15 and all(row["synapses"] >= size // 20 for row in rows)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bins": 0}, "bins=0"),
        ({"draws": 0}, "draws=0"),
        ({"switches": (1, 2, 3)}, "2 trained"),
        ({"switches": 0}, "above 0"),
    ],
)
def test_what_makes_no_sense_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainError, match=message):
        switch_signs(trained(), digits().x_test, digits().y_test, **settings)
