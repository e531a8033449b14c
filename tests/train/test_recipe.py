from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_wine

from metabit.data.encoder import Encoder
from metabit.data.errors import DataError
from metabit.train.errors import TrainError
from metabit.train.network.normed_gates import LevelOutput, NormedGates, gate
from metabit.train.recipe import fit_recipe


def wine() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_wine(return_X_y=True)
    return x, y


def test_a_gate_and_its_gradient() -> None:
    z = torch.tensor([0.0, 0.3, -0.4, 0.99, 1.0, -1.3, 1.7], requires_grad=True)
    v = gate(z)
    assert (8 * v).tolist() == [8, 8, 8, 0, 0, -4, -8]
    v.sum().backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert torch.allclose(z.grad, torch.tensor([0.0, 0.0, 1.6, -1.6, -1.6, 1.6, 0.0]))


@given(st.floats(-1e6, 1e6, width=32))
def test_a_gate_is_a_level(z: float) -> None:
    v = 8 * gate(torch.tensor(z)).item()
    assert v == round(v) and abs(v) <= 8
    assert abs(v - max(-8.0, min(8.0, 12.8 - 12.8 * abs(z)))) <= 0.5 + 1e-5 * abs(z)


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_scores_are_levels_times_levels(bits: int) -> None:
    output = LevelOutput(12, 3, bits)
    with torch.no_grad():
        output.weight.normal_(0, 2)
        output.offset.normal_(0, 2)
    levels = output.levels()
    largest = 2 ** (bits - 1) - 1
    assert levels.dtype == torch.int8 and levels.shape == (3, 13) and levels.abs().max() == largest
    v = torch.randint(-8, 9, (20, 12))
    whole = v @ levels[:, :-1].long().T + 32 * levels[:, -1].long()
    assert torch.allclose(output(v / 8), output.unit * whole.float(), atol=1e-5)
    output(v / 8).square().sum().backward()
    assert output.weight.grad is not None and output.offset.grad is not None


def test_a_network_has_gradients_everywhere_for_two_classes() -> None:
    network = NormedGates(30, 8, 2)
    x = torch.randint(0, 2, (64, 30), dtype=torch.uint8)
    y = (x.sum(1) > 15).long()
    torch.nn.functional.cross_entropy(network(x), y).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


def test_raw_features_of_wine_and_of_two_classes() -> None:
    for load, least in ((load_wine, 0.9), (load_breast_cancer, 0.93)):
        x, y = load(return_X_y=True)
        trained = fit_recipe(x[::2], y[::2], units=32, steps=200)
        assert (trained.predict(x[1::2]) == y[1::2]).mean() > least
        assert trained.losses.shape == (200,) and trained.losses[-20:].mean() < trained.losses[:20].mean() / 2


def test_the_norm_holds_the_statistics_of_the_training_part() -> None:
    x, y = wine()
    trained = fit_recipe(x, y, units=16, steps=30)
    sums = trained.network.sums(torch.from_numpy(trained.encoder.to_bits(x))).double()
    norm = trained.network.norm
    assert norm.running_mean is not None and norm.running_var is not None
    assert torch.allclose(norm.running_mean.double(), sums.mean(0), rtol=1e-5)
    assert torch.allclose(norm.running_var.double(), sums.var(0, correction=0), rtol=1e-5)
    assert not trained.network.training


def test_a_seed_repeats_a_training_and_features_may_be_scaled() -> None:
    x, y = wine()
    first = fit_recipe(x, y, steps=40, seed=3).scores(x)
    assert np.array_equal(first, fit_recipe(x, y, steps=40, seed=3).scores(x))
    assert not np.array_equal(first, fit_recipe(x, y, steps=40, seed=4).scores(x))
    scaled = fit_recipe(x * 2**20, y, steps=40, seed=3)  # by a power of two nothing is rounded
    whole = (x == np.floor(x)).all(0)  # such features keep their integers
    assert np.array_equal(scaled.encoder.to_bits(x * 2**20)[:, : x.shape[1]][:, ~whole],
                          Encoder.fit(x).to_bits(x)[:, : x.shape[1]][:, ~whole])  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 70), st.integers(1, 5), st.integers(2, 5), st.integers(0, 99))
def test_any_small_data(samples: int, features: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(samples, features)), rng.integers(0, classes, samples)
    trained = fit_recipe(x, y, classes=classes, units=4, steps=3)
    assert trained.scores(x).shape == (samples, classes) and np.isfinite(trained.scores(x)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.zeros(178, int)}, "labels from 0 to 0 of 1 classes"),
        ({"y": np.zeros(178, int) - 1}, "labels from -1"),
        ({"y": np.zeros(7, int)}, "for 178 samples"),
        ({"y": np.zeros(178)}, "float64"),
        ({"classes": 2}, "labels from 0 to 2 of 2 classes"),
        ({"bits": 9}, "an output of 9 bits: must be from 2 to 8"),
        ({"units": 0}, "0 units"),
        ({"steps": 0}, "steps=0"),
        ({"rate": 0.0}, "rate=0.0"),
        ({"smoothing": 1.0}, "smoothing=1.0"),
        ({"planes": 9}, "planes=9"),
    ],
)
def test_what_is_refused(change: dict[str, object], message: str) -> None:
    x, y = wine()
    with pytest.raises((TrainError, DataError), match=message):
        fit_recipe(**{"x": x, "y": y, "steps": 2} | change)  # type: ignore[arg-type]
