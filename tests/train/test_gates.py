"""Graded units in training: the integers of the device, and a slope to learn by."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metabit.data import load
from metabit.export.oracle.forward import grades
from metabit.train.checkpoint import Checkpoint, Rule
from metabit.train.errors import TrainError
from metabit.train.network.gates import Gates
from metabit.train.network.module import Network
from metabit.train.network.norms import SHARPNESS
from metabit.train.network.spec import Spec
from metabit.train.run import fit
from metabit.train.settings import Defaults, Settings

GRADED: dict[str, Any] = {
    "features": 6, "hidden": (5,), "classes": 3, "encode": (2, 7), "norm": "static", "output": "code", "units": "graded",
}  # fmt: skip


@given(
    st.lists(st.integers(-16384, 16384), min_size=1, max_size=80),
    st.tuples(st.integers(0, 2047), st.integers(0, 2047)).filter(lambda ends: ends[0] < ends[1]),
)
def test_gates_are_those_of_the_device(sums: list[int], ramp: tuple[int, int]) -> None:
    wanted, rises, _ = grades(*ramp, np.array(sums))
    a = torch.tensor([sums], dtype=torch.float32, requires_grad=True)
    y = Gates(*ramp)(a)
    y.sum().backward()
    assert a.grad is not None
    assert np.array_equal(8 * y.detach().numpy()[0], wanted)
    assert np.array_equal(a.grad.numpy()[0] != 0, rises & (np.array(sums) != 0))


def test_the_slope_by_hand() -> None:
    """mean = 16 * 32 / 4, low = 4, high = 12: from 1 to -1 over 8."""
    a = torch.tensor([[3.0, -9.0, 20.0, 0.0], [0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    y = Gates(128, 384)(a)
    y.backward(torch.tensor([[1.0, 3.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]]))
    assert a.grad is not None
    assert y.tolist() == [[1.0, -0.25, -1.0, 1.0], [1.0] * 4]
    assert a.grad.tolist() == [[0.0, 0.75, 0.0, 0.0], [0.0] * 4]


def test_planes_share_their_weights_and_scores_have_one_size() -> None:
    network = Network(Spec(**GRADED))
    x = np.random.default_rng(0).integers(0, 10, (20, 6)).astype(np.uint8)
    sums, votes = network.accumulators(torch.from_numpy(x))
    weights = np.where(network.tensors()["layers.0.hidden"] >= 0, 1, -1)  # type: ignore[operator]
    assert np.array_equal(sums, ((x >= 2).astype(int) + (x >= 7)) @ weights.T)
    assert votes.shape == (20, 3)
    scores = network(torch.from_numpy(x)).detach().numpy()
    assert abs(scores.mean(1)).max() < 1e-5
    spread = scores.std(1)
    assert np.allclose(spread[spread > 0.1], SHARPNESS, rtol=1e-3) and (spread > 0.1).any()


def test_it_learns() -> None:
    task = load("digits", seed=0).whole()
    spec = Spec(64, (64,), 10, encode=(4, 12), norm="static", output="code", units="graded")
    network = Network(spec)
    history = fit(network, task, epochs=8, lr=0.01, seed=0)
    assert history.epochs[-1].test_accuracy > 0.9


def test_a_checkpoint_holds_it() -> None:
    spec = Spec(**GRADED, ramp=(10, 20))
    assert Spec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert spec.shapes == ((5, 6), (3, 5)) and spec.input_bits == 12 and spec.trained == 1
    network = Network(spec)
    again = Checkpoint(spec, network.tensors(), Rule.of(spec, 1.0)).to_network()
    x = torch.arange(12, dtype=torch.uint8).reshape(2, 6)
    assert torch.equal(network.eval()(x), again(x))


def test_a_preset_brings_what_it_goes_with() -> None:
    task = load("digits", seed=0).whole()
    spec = Settings.of(Defaults(preset="gates-192"), hidden=(32,)).spec(task, 10)
    found = spec.units, spec.norm, spec.output, spec.hidden, spec.encode
    assert found == ("graded", "static", "code", (32,), (4, 12))
    assert Settings.of(Defaults(preset="gates-192"), planes=4).spec(task, 10).encode == (2, 6, 10, 14)
    assert Settings.of(Defaults(preset="wide-512")).spec(task, 10).units == "sign"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm": "batch"}, "units='graded' needs norm='static', not 'batch'$"),
        ({"output": "learned"}, "units='graded' needs output='code', not 'learned'"),
        ({"encode": None}, "units='graded' needs encode, thresholds"),
        (
            {"norm": "batch", "output": "learned", "hidden": ()},
            "norm='static', not 'batch'; output='code', not 'learned'; one",
        ),
        ({"hidden": (5, 5)}, "units='graded' needs one hidden layer, not 2"),
        ({"hidden": (1025,)}, r"at most 1024 hidden units and classes, not \(1025,\) and 3"),
        ({"classes": 1025}, r"at most 1024 hidden units and classes, not \(5,\) and 1025"),
        ({"features": 8193}, "at most 16384 input bits, not 16386: use fewer planes"),
        ({"units": "relu"}, "units='relu': must be 'sign' or 'graded'"),
        ({"ramp": (9, 9)}, r"ramp=\(9, 9\): must rise"),
        ({"ramp": (0, 2048)}, r"ramp\[1\]=2048: must be an integer from 0 to 2047"),
        ({"ramp": 3}, "ramp=3: must be two whole numbers"),
        ({"image": (2, 3, 1), "conv": ({"channels": 2, "kernel": 2},)}, "units='graded' needs no convolution, not 1"),
    ],
)
def test_what_a_device_does_not_have_is_a_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainError, match=message):
        Spec(**{**GRADED, **change})
