from __future__ import annotations

import numpy as np
import pytest
import torch

from metabit.train.network.module import Network
from metabit.train.network.norms import BatchNorm, InstanceNorm, restore, snapshot
from metabit.train.network.spec import Conv, Spec

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)) * 3 + 2


def test_batch_norm_is_torchs_own_with_running_statistics() -> None:
    ours, theirs = BatchNorm(6, "ones", True, "running"), torch.nn.BatchNorm1d(6)
    for _ in range(3):
        assert torch.equal(ours(X), theirs(X))
    assert torch.equal(ours.eval()(X[:5]), theirs.eval()(X[:5]))


def test_batch_statistics_at_test_are_those_of_the_batch() -> None:
    norm = BatchNorm(6, "ones", True, "batch")
    norm(X)
    mean = norm.running_mean.clone()
    y = norm.eval()(X[:20])
    assert y.mean(0).abs().max() < 1e-5 and (y.std(0, correction=0) - 1).abs().max() < 1e-3
    assert torch.equal(norm.running_mean, mean) and mean.abs().max() > 0


def test_gains() -> None:
    generator = torch.Generator().manual_seed(1)
    uniform = BatchNorm(1000, "uniform", True, "running", generator).weight
    assert 0 <= uniform.min() < 0.01 and 0.99 < uniform.max() < 1 and uniform.requires_grad
    fixed = BatchNorm(6, "uniform", False, "running")
    assert (fixed.weight == 1).all() and not any(parameter.requires_grad for parameter in fixed.parameters())
    ones, same = Network(Spec(6, (9,), 3)), Network(Spec(6, (9,), 3, gamma_init="uniform"))
    assert np.array_equal(ones.tensors()["layers.1.hidden"], same.tensors()["layers.1.hidden"])
    assert not np.array_equal(ones.tensors()["layers.1.norm.weight"], same.tensors()["layers.1.norm.weight"])


@pytest.mark.parametrize("shape", [(7, 50), (7, 3, 5, 4)])
def test_instance_norm_needs_no_other_sample(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 5 + 1
    norm = InstanceNorm()
    y = norm(x)
    assert torch.allclose(norm(x[:1]), y[:1]) and not list(norm.parameters())
    rows = y if len(shape) == 2 else y.flatten(2)
    assert rows.mean(-1).abs().max() < 1e-5 and (rows.var(-1, correction=0) - 1).abs().max() < 1e-3


def test_snapshot_and_restore() -> None:
    network = Network(Spec(36, (9,), 3, image=(6, 6, 1), conv=(Conv(4),)))
    first = snapshot(network)
    assert len(first) == 3 * 4
    network(torch.ones(5, 36, dtype=torch.uint8))
    second = snapshot(network)
    assert not torch.equal(first["0.mean"], second["0.mean"])
    restore(network, first)
    assert all(torch.equal(tensor, first[name]) for name, tensor in snapshot(network).items())
    assert snapshot(Network(Spec(6, (9,), 3, norm="static"))) == {}
