from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from metabit.train.errors import TrainError
from metabit.train.network.module import Network
from metabit.train.network.spec import NORM_EPS, Spec


def features(spec: Spec, samples: int = 6) -> NDArray[np.uint8]:
    high = 2 if spec.encode is None else 256
    return np.random.default_rng(0).integers(0, high, (samples, spec.features), dtype=np.uint8)


def by_hand(
    tensors: dict[str, NDArray[Any]], spec: Spec, x: NDArray[np.uint8]
) -> tuple[list[NDArray[Any]], NDArray[Any]]:
    """The whole network from its tensors alone, in integers up to the norm: (accumulators, scores)."""
    y = x.astype(np.int64)
    if spec.encode is not None:
        bits = [
            x[:, f] >= tensors["encode.thresholds"][p, f] for p in range(len(spec.encode)) for f in range(spec.features)
        ]
        y = np.stack(bits, axis=1).astype(np.int64)
    sums = []
    for i, (_, inputs) in enumerate(spec.shapes):
        hidden = tensors.get(f"layers.{i}.hidden")
        w = tensors[f"layers.{i}.code"].astype(np.int64) if hidden is None else np.where(hidden >= 0, 1, -1)
        a = y @ w.T
        sums.append(a)
        if spec.normalised(i):
            weight, bias, mean, var = (tensors[f"layers.{i}.norm.{part}"] for part in ("weight", "bias", "mean", "var"))
            z = (a - mean) / np.sqrt(var + NORM_EPS) * weight + bias
        else:
            z = a / np.sqrt(inputs)
        y = np.where(z >= 0, 1, -1)
    return sums, z


@pytest.mark.parametrize("norm", ["batch", "static"])
@pytest.mark.parametrize("output", ["learned", "code"])
@pytest.mark.parametrize("encode", [None, (40, 90, 200), [[1, 50, 60, 99, 255], [2, 70, 80, 199, 255]]])
def test_tensors_tell_the_whole_network(norm: Any, output: Any, encode: Any) -> None:
    spec = Spec(5, (33, 12), 4, encode=encode, norm=norm, output=output, seed=7)
    network = Network(spec)
    x = features(spec, 50)
    for _ in range(3):  # let the running statistics move
        network(torch.from_numpy(x))
    network.eval()
    tensors = network.tensors()
    assert {name: (tensor.dtype.type, tensor.shape) for name, tensor in tensors.items()} == spec.tensors()
    sums, scores = by_hand(tensors, spec, x)
    ours = network.accumulators(torch.from_numpy(x))
    assert all(a.dtype == np.int32 and np.array_equal(a, b) for a, b in zip(ours, sums, strict=True))
    np.testing.assert_allclose(network(torch.from_numpy(x)).detach().numpy(), scores, rtol=1e-4, atol=1e-5)


def test_same_spec_same_network_whatever_the_global_seed() -> None:
    spec = Spec(6, (8,), 3, seed=5)
    first = Network(spec).tensors()
    torch.manual_seed(99)
    before = torch.get_rng_state()
    second = Network(spec).tensors()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    other = Network(Spec(6, (8,), 3, seed=6)).tensors()
    assert not np.array_equal(first["layers.0.hidden"], other["layers.0.hidden"])


def test_load_tensors_makes_an_equal_network() -> None:
    spec = Spec(6, (8,), 3, encode=(9, 99), output="code")
    source, target = Network(spec), Network(spec)
    x = torch.from_numpy(features(spec, 20))
    source(x)
    target.load_tensors(source.tensors())
    assert torch.equal(source.eval()(x), target.eval()(x))


def test_load_tensors_names_what_does_not_fit() -> None:
    network = Network(Spec(6, (8,), 3, norm="static"))
    tensors = network.tensors()
    with pytest.raises(TrainError, match="layers.1.hidden is missing"):
        network.load_tensors({"layers.0.hidden": tensors["layers.0.hidden"]})
    with pytest.raises(TrainError, match=r"layers.0.hidden has shape \(3, 8\): this network needs \(8, 6\)"):
        network.load_tensors({**tensors, "layers.0.hidden": tensors["layers.1.hidden"]})


def test_the_code_is_no_parameter_and_gets_no_gradient() -> None:
    network = Network(Spec(6, (8,), 4, norm="static", output="code"))
    assert [parameter.shape for parameter in network.parameters()] == [(8, 6)]
    network(torch.ones(2, 6, dtype=torch.uint8))[:, 0].sum().backward()
    assert network.layers()[0].linear.hidden.grad is not None


def test_wrong_input_shape_is_named() -> None:
    with pytest.raises(TrainError, match=r"x has shape \(2, 5\): this network takes \(samples, 6\)"):
        Network(Spec(6, (8,), 4))(torch.zeros(2, 5))
