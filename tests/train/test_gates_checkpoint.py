from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine

from metabit import train
from metabit.train import gates_checkpoint
from metabit.train.checkpoint import load_network
from metabit.train.errors import TrainError
from metabit.train.gates_checkpoint import GatesCheckpoint
from metabit.train.recipe import Trained, fit_recipe

X, Y = load_wine(return_X_y=True)
NAMES = ("barolo", "grignolino", "barbera")


@pytest.fixture(scope="module")
def trained() -> Trained:
    return fit_recipe(X, Y, units=12, steps=40, bits=4)


@pytest.fixture(scope="module")
def checkpoint(trained: Trained) -> GatesCheckpoint:
    features = tuple(f"f{i}" for i in range(13))
    return GatesCheckpoint.of(trained, Y, NAMES, features, settings={"units": 12}, provenance={"seed": 0})


def test_what_was_written_is_read(checkpoint: GatesCheckpoint, trained: Trained, tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "a.safetensors")
    found = train.load_checkpoint(tmp_path / "a.safetensors")
    assert isinstance(found, GatesCheckpoint)
    assert found.encoder == checkpoint.encoder and found.bits == 4
    for name in ("class_names", "feature_names", "settings", "history", "provenance"):
        assert getattr(found, name) == getattr(checkpoint, name)
    assert all(np.array_equal(found.tensors[name], tensor) for name, tensor in checkpoint.tensors.items())
    found.write(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    bits = torch.from_numpy(found.encoder.to_bits(X))
    with torch.no_grad():
        assert np.array_equal(found.to_network()(bits).numpy(), trained.scores(X))


def test_it_has_the_integers_of_the_network(checkpoint: GatesCheckpoint, trained: Trained) -> None:
    bits = trained.encoder.to_bits(X).astype(int)
    assert np.array_equal(bits @ checkpoint.weights.T, checkpoint.sums) and checkpoint.sums.dtype == np.int16
    assert np.array_equal(checkpoint.levels, trained.network.output.levels().numpy())
    assert np.array_equal(checkpoint.labels, Y) and (checkpoint.units, checkpoint.classes) == (12, 3)
    z = checkpoint.gamma * (checkpoint.sums - checkpoint.mean) / checkpoint.deviation + checkpoint.beta
    with torch.no_grad():
        exact = trained.network.norm(torch.from_numpy(checkpoint.sums.astype(np.float32))).numpy()
    assert np.allclose(z, exact, atol=1e-4)


def test_the_kept_samples_are_a_share_of_each_class(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates_checkpoint, "KEPT", 50)
    kept = GatesCheckpoint.of(trained, Y, NAMES)
    assert np.bincount(kept.labels).tolist() == [17, 20, 14]  # 59, 71 and 48 of 178, times 50 / 178, rounded up
    rows = [int(np.flatnonzero((trained.sums == row).all(1))[0]) for row in kept.sums]
    assert rows == sorted(rows) and np.array_equal(Y[rows], kept.labels)
    again, other = GatesCheckpoint.of(trained, Y, NAMES), GatesCheckpoint.of(trained, Y, NAMES, seed=1)
    assert np.array_equal(again.sums, kept.sums) and not np.array_equal(other.sums, kept.sums)


def test_no_feature_of_the_training_data_is_in_the_file(trained: Trained, tmp_path: Path) -> None:
    GatesCheckpoint.of(trained, Y, NAMES).write(tmp_path / "a.safetensors")
    data = (tmp_path / "a.safetensors").read_bytes()
    for column in X.T:
        for form in ("<f4", "<f8"):
            assert np.ascontiguousarray(column[:4], form).tobytes() not in data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": 9}, "an output of 9 bits"),
        ({"class_names": ("a",)}, "1 class names"),
        ({"feature_names": ("a", "b")}, "2 feature names: there must be 2 or more, and one for each of 13"),
        ({"class_names": ("a", "b")}, r"tensor output.offset is float32 \(3,\): must be float32 \(2,\)"),
        ({"hidden": None}, "tensor hidden is missing"),
        ({"more": np.zeros(3)}, "tensor more is unknown"),
        ({"norm.var": np.full(12, -1, np.float32)}, "a variance is negative"),
        ({"norm.mean": np.full(12, np.nan, np.float32)}, "tensor norm.mean holds NaN"),
        ({"kept.labels": np.full(178, 3, np.uint16)}, "a kept label is no class"),
        ({"kept.sums": np.zeros((178, 12), np.int32)}, "tensor kept.sums is int32"),
    ],
)
def test_what_contradicts_itself_is_named(checkpoint: GatesCheckpoint, change: dict[str, Any], message: str) -> None:
    fields = {name: value for name, value in change.items() if name in ("bits", "class_names", "feature_names")}
    tensors = {**checkpoint.tensors, **{name: value for name, value in change.items() if name not in fields}}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    with pytest.raises(TrainError, match=message):
        dataclasses.replace(checkpoint, tensors=tensors, **fields)


def changed(path: Path, **fields: Any) -> Path:
    """The file with other fields in its header."""
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    told = json.loads(header["__metadata__"]["metabit"]) | fields
    header["__metadata__"]["metabit"] = json.dumps({name: value for name, value in told.items() if value is not None})
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    return path


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": 3}, "version 3 is unknown: this metabit reads 1 and 2"),
        ({"kind": "trees"}, "kind 'trees': this metabit reads gates"),
        ({"encoder": {"kind": "uint8"}}, "this is no encoder"),
        ({"bits": "five"}, "an output of five bits"),
        ({"encoder": None}, "damaged header"),
        ({"version": 1}, "damaged header"),
    ],
)
def test_a_header_of_another_kind(
    checkpoint: GatesCheckpoint, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    checkpoint.write(tmp_path / "a.safetensors")
    with pytest.raises(TrainError, match=f"a.safetensors.*{message}"):
        train.load_checkpoint(changed(tmp_path / "a.safetensors", **fields))


def test_who_takes_only_networks_of_a_spec_says_so(checkpoint: GatesCheckpoint, tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "a.safetensors")
    with pytest.raises(
        TrainError, match="holds the default network, which metabit analyse does not take: train one of"
    ):
        load_network(tmp_path / "a.safetensors", "metabit analyse")
