from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from metabit.train.checkpoint import Rule, load, save
from metabit.train.network.conv import BinaryConv2d
from metabit.train.network.module import Network
from metabit.train.network.presets import PRESETS
from metabit.train.network.spec import NORM_EPS, Conv, Spec


def windows(x: NDArray[np.int64], conv: Conv, w: NDArray[np.int64], outside: int) -> NDArray[np.int64]:
    """(n, H, W, C) and (N, K) -> (n, H', W', N), in plain loops."""
    x = np.pad(x, ((0, 0), conv.pads(x.shape[1]), conv.pads(x.shape[2]), (0, 0)), constant_values=outside)
    rows, columns = ((size - conv.kernel) // conv.stride + 1 for size in x.shape[1:3])
    y = np.zeros((len(x), rows, columns, conv.channels), np.int64)
    for r in range(rows):
        for c in range(columns):
            at = x[:, r * conv.stride :, c * conv.stride :][:, : conv.kernel, : conv.kernel]
            y[:, r, c] = at.reshape(len(x), -1) @ w.T
    return y


CONVS = st.builds(
    Conv, st.integers(1, 3), st.integers(1, 5), st.integers(1, 3), st.sampled_from(["valid", "same"]), st.integers(1, 2)
)


@settings(deadline=None, max_examples=60)
@given(CONVS, st.integers(5, 9), st.integers(5, 9), st.integers(1, 3), st.sampled_from([1, 255]))
def test_convolution_by_hand(conv: Conv, height: int, width: int, channels: int, outside: int) -> None:
    rng = np.random.default_rng(height * width)
    x = rng.integers(0, outside + 1, (2, height, width, channels))
    layer = BinaryConv2d(
        channels,
        conv.channels,
        conv.kernel,
        conv.stride,
        conv.padding,
        float(outside),
        torch.Generator().manual_seed(0),
    )
    w = np.where(layer.hidden.detach().numpy() >= 0, 1, -1)
    expected = windows(x, conv, w, outside)
    found = layer(torch.from_numpy(x).float().permute(0, 3, 1, 2)).detach()
    assert np.array_equal(found.permute(0, 2, 3, 1).numpy(), expected)
    assert expected.shape[1:3] == (conv.side(height)[0], conv.side(width)[0])
    if conv.padding == "same":
        assert expected.shape[1] == -(-height // conv.stride)


@pytest.mark.parametrize("norm", ["batch", "static"])
@pytest.mark.parametrize("kind", ["bits", "uint8", "thermometer"])
@pytest.mark.parametrize("output", ["learned", "code"])
def test_tensors_tell_the_whole_network(norm: Any, kind: str, output: Any) -> None:
    convs = (Conv(5, 3, padding="same", pool=2), Conv(4, 3, stride=2))
    encode = (60, 190) if kind == "thermometer" else None
    spec = Spec(9 * 10 * 2, (7,), 3, encode, norm, output, 3, "uint8" if kind == "uint8" else "bits", (9, 10, 2), convs)
    assert spec.images == ((9, 10, 4 if encode else 2), (4, 5, 5), (1, 2, 4)) and spec.shapes[2:] == ((7, 8), (3, 7))
    network = Network(spec)
    x = np.random.default_rng(0).integers(0, 2 if kind == "bits" else 256, (30, 180)).astype(np.uint8)
    for _ in range(3):
        network(torch.from_numpy(x))
    network.eval()
    tensors = network.tensors()
    assert {name: (tensor.dtype.type, tensor.shape) for name, tensor in tensors.items()} == spec.tensors()
    ours = network.accumulators(torch.from_numpy(x))
    y: NDArray[Any] = x.reshape(-1, 9, 10, 2).astype(np.int64)
    if encode:
        y = np.concatenate([y >= threshold for threshold in encode], axis=3).astype(np.int64)
    for i, (_, inputs) in enumerate(spec.shapes):
        hidden = tensors.get(f"layers.{i}.hidden")
        w = tensors[f"layers.{i}.code"].astype(np.int64) if hidden is None else np.where(hidden >= 0, 1, -1)
        if i < 2:
            a = windows(y, convs[i], w, 255 if kind == "uint8" and i == 0 else 1)
        else:
            a = y.reshape(len(y), -1) @ w.T
        assert np.array_equal(ours[i], a), i
        z = a / 255 if kind == "uint8" and i == 0 else a
        if spec.normalised(i):
            weight, bias, mean, var = (tensors[f"layers.{i}.norm.{part}"] for part in ("weight", "bias", "mean", "var"))
            z = (z - mean) / np.sqrt(var + NORM_EPS) * weight + bias
        else:
            z = z / np.sqrt(inputs)
        y = np.where(z >= 0, 1, -1)
        if i == 0:  # OR after the sign
            y = y[:, :8].reshape(len(y), 4, 2, 5, 2, 5).max(axis=(2, 4))
    np.testing.assert_allclose(network(torch.from_numpy(x)).detach().numpy(), z, rtol=1e-4, atol=1e-4)


def test_checkpoint_round_trip(tmp_path: Any) -> None:
    spec = Spec(36, (), 3, input="uint8", image=(6, 6, 1), conv=(Conv(4, pool=2),), gamma_init="uniform", affine=False)
    save(tmp_path / "a", Network(spec).eval(), rule=Rule.of(spec, [1.0, 2.0]))
    assert load(tmp_path / "a").spec == spec


def test_presets_have_the_sizes_they_say() -> None:
    def synapses(name: str, features: int = 784, image: tuple[int, int, int] = (28, 28, 1)) -> int:
        return Spec(features, PRESETS[name].hidden, 10, image=image, conv=PRESETS[name].conv).synapses

    assert synapses("mlp-tiny") == 79_400 and synapses("mlp-256") == 268_800 and synapses("conv-mnist") == 14_832
    assert synapses("mlp-512") == 668_672 and synapses("mlp-1024") == 1_861_632 and synapses("paper-4096") == 20_029_440
    assert synapses("conv-cifar", 3072, (32, 32, 3)) == 113_504
    assert synapses("paper-vgg", 3072, (32, 32, 3)) == 18_226_560
