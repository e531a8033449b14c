"""Trained convolutional and 8-bit networks end exactly: every activation torch computes, the device computes too."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import oracle_input
from torch_scores import predict_as_torch

from metabit.data import load
from metabit.export.bits import pack_rows
from metabit.export.files.image import write_image
from metabit.export.freeze.visits import VisitOptions, freeze
from metabit.export.frozen import ConvGeometry, ConvLayer, Frozen
from metabit.export.oracle import Oracle
from metabit.export.oracle.forward import encode, kernel_windows
from metabit.runtime import Model
from metabit.train.network.spec import NORM_EPS, Conv

torch = pytest.importorskip("torch")
from metabit import train  # noqa: E402

CONVS = (Conv(9, 3, padding="same", pool=2), Conv(7, 2, stride=1))
NETWORKS: dict[str, dict[str, Any]] = {
    "conv on planes": {"encode": (4, 9), "image": (8, 8, 1), "conv": CONVS},
    "conv on bytes, no affine": {"input": "uint8", "image": (8, 8, 1), "conv": CONVS, "affine": False},
    "conv on colour, random gains": {"encode": (5, 8), "image": (4, 8, 2), "conv": CONVS[:1], "gamma_init": "uniform"},
    "dense on bytes": {"input": "uint8"},
    "static on bytes": {"input": "uint8", "image": (8, 8, 1), "conv": CONVS, "norm": "static", "output": "code"},
}


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda name: str(name).replace(" ", "_"))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Frozen]:
    """A network trained on digits, for two epochs, and itself back from its checkpoint."""
    torch.set_num_threads(1)
    task = load("digits").whole()
    spec = train.Spec(64, (24,), 10, seed=2, **NETWORKS[request.param])
    network = train.Network(spec)
    train.fit(network, task, epochs=2, m=1.0)
    path = Path(tmp_path_factory.mktemp("trained")) / "checkpoint.safetensors"
    train.save(path, network, rule=train.Rule.of(spec, m=1.0))
    return network.eval(), task, freeze(train.load_checkpoint(path), VisitOptions(bits=4))


def test_every_activation_is_torch_s(trained: tuple[Any, Any, Frozen]) -> None:
    network, task, frozen = trained
    x = task.x_test[:120]
    with torch.no_grad():
        signal, want = network._picture(network.encode(torch.from_numpy(x))), []
        for layer in network.layers()[:-1]:
            signal = torch.where(layer(signal) >= 0, 1.0, -1.0)
            rows = signal.permute(0, 2, 3, 1).flatten(1) if signal.dim() == 4 else signal
            want.append(rows.numpy())
    oracle = Oracle(frozen)
    for n, features in enumerate(x):
        for activation, theirs in zip(oracle.forward(features)[0][1:], want, strict=True):
            np.testing.assert_array_equal(activation, theirs[n])


def test_every_sum_is_torch_s(trained: tuple[Any, Any, Frozen]) -> None:
    """Sums of the first layer, in integers: a negative gain turned a unit's weights and with them its sums."""
    network, task, frozen = trained
    x = task.x_test[:9]
    sums = network.accumulators(torch.from_numpy(x))[0].reshape(len(x), -1, frozen.layers[0].units)
    first = frozen.layers[0]
    turn = np.ones(first.units, np.int64)
    for name, tensor in network.tensors().items():
        if name == "layers.0.norm.weight":
            turn = np.where(tensor < 0, -1, 1)
    for n, features in enumerate(x):
        seen = encode(frozen.encode, features)[None]
        if isinstance(first, ConvLayer):
            seen = kernel_windows(seen[0], first.geometry, 255 if first.takes == "bytes" else 1)
        np.testing.assert_array_equal(seen @ first.weights.T.astype(np.int64), sums[n] * turn)


def test_the_device_predicts_what_torch_does_and_its_head_learns(trained: tuple[Any, Any, Frozen]) -> None:
    network, task, frozen = trained
    predict_as_torch(network, frozen, task.x_test)
    model = Model(write_image(frozen))
    features = 1 + (frozen.layers[1].kind == "conv")
    assert [layer.learns for layer in frozen.layers[:features]] == [False] * features
    assert frozen.layers[-1].learns == (network.spec.output == "learned")
    if any(layer.learns for layer in frozen.layers):
        oracle = Oracle(frozen)
        for x, y in zip(task.x_train[:6], task.y_train[:6], strict=True):
            assert model.learn_one(x, int(y)) == oracle.learn(oracle_input(frozen, x), int(y))


def test_windows_are_those_of_the_spec() -> None:
    spec = train.Spec(
        9 * 10 * 2, (7,), 3, (60, 190), image=(9, 10, 2), conv=(Conv(5, 3, padding="same", pool=2), Conv(4, 3, 2))
    )
    checkpoint = train.Checkpoint(spec, train.Network(spec).tensors(), train.Rule.of(spec, 1.0))
    frozen = freeze(checkpoint, VisitOptions(bits=3))
    assert [layer.geometry if isinstance(layer, ConvLayer) else None for layer in frozen.layers] == [
        ConvGeometry(9, 10, 4, 3, 1, True, 2),
        ConvGeometry(4, 5, 5, 3, 2, False, 1),
        None,
        None,
    ]
    assert frozen.encode is not None and frozen.encode.channels == 2
    for layer, conv, size in zip(frozen.layers, spec.conv, spec.images, strict=False):
        assert isinstance(layer, ConvLayer)
        g = layer.geometry
        assert g.pads(size[0]) == conv.pads(size[0]) and g.pads(size[1]) == conv.pads(size[1])
        assert (g.convolved[0], g.pooled[0]) == conv.side(size[0])


def test_bits_without_an_encoder_come_packed() -> None:
    spec = train.Spec(25, (), 3, image=(5, 5, 1), conv=(Conv(4, 3, padding="same"),))
    network = train.Network(spec).eval()
    frozen = freeze(train.Checkpoint(spec, network.tensors(), train.Rule.of(spec, 1.0)))
    x = np.random.default_rng(0).integers(0, 2, (30, 25)).astype(np.uint8)
    with torch.no_grad():
        want = network(torch.from_numpy(x)).argmax(1).numpy()
    np.testing.assert_array_equal(Model(write_image(frozen)).predict_many(pack_rows(x > 0)), want)


def test_thresholds_of_bytes_are_folded_exactly() -> None:
    """For every sum a unit can reach, the frozen comparison says what the normalisation of a / 255 says."""
    spec = train.Spec(3, (60,), 2, input="uint8")
    tensors = train.Network(spec).tensors()
    rng = np.random.default_rng(3)
    for part, values in {
        "weight": rng.normal(0, 1, 60), "bias": rng.normal(0, 1, 60), "mean": rng.normal(0, 2, 60), "var": rng.uniform(0, 4, 60)
    }.items():  # fmt: skip
        tensors[f"layers.0.norm.{part}"] = values.astype(np.float32)
    layer = freeze(train.Checkpoint(spec, tensors, train.Rule.of(spec, 1.0))).layers[0]
    for unit in range(60):
        weight, bias, mean, var = (
            Fraction(float(tensors[f"layers.0.norm.{part}"][unit])) for part in ("weight", "bias", "mean", "var")
        )
        sigma = Fraction(float(np.sqrt(float(var) + NORM_EPS)))
        turn = -1 if weight < 0 else 1
        for a in range(-765, 766):
            assert (turn * a >= layer.theta[unit]) == (weight * (Fraction(a, 255) - mean) + bias * sigma >= 0), (
                unit,
                a,
            )
