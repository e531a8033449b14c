from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from metabit.data.errors import DataError
from metabit.train.checkpoint import Checkpoint, Rule, load, save
from metabit.train.errors import TrainError
from metabit.train.network.module import Network
from metabit.train.network.spec import Spec
from metabit.train.run import Epoch, History

SPEC = Spec(6, (8, 5), 3, encode=(9, 99), output="code")


def network() -> Network:
    made = Network(SPEC)
    made(torch.randint(0, 256, (20, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))
    return made.eval()


def saved(path: Path) -> Checkpoint:
    history = History([Epoch(1, 0.5, 0.75, 0.7)])
    return save(path, network(), rule=Rule.of(SPEC, m=1.5), history=history, provenance={"task": "toy", "seed": 3})


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    written, read = saved(path), load(path)
    assert read.spec == SPEC and read.rule == written.rule == Rule((1.5, 1.5), 0.005, 1e-7) and read.m == (1.5, 1.5)
    assert read.history == [{"number": 1, "loss": 0.5, "train_accuracy": 0.75, "test_accuracy": 0.7}]
    assert read.provenance == {"task": "toy", "seed": 3}
    assert read.tensors.keys() == SPEC.tensors().keys()
    assert all(np.array_equal(read.tensors[name], tensor) for name, tensor in network().tensors().items())
    x = torch.randint(0, 256, (50, 6), dtype=torch.uint8)
    assert torch.equal(read.to_network()(x), network()(x))
    assert list(tmp_path.iterdir()) == [path]


def test_equal_checkpoints_are_equal_files(tmp_path: Path) -> None:
    saved(tmp_path / "a")
    load(tmp_path / "a").write(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_reading_needs_no_torch(tmp_path: Path) -> None:
    saved(tmp_path / "a")
    code = (
        "import sys; sys.modules['torch'] = None; from metabit.train.checkpoint import load; print(load(sys.argv[1]).m)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "(1.5, 1.5)", done.stderr


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.safetensors"
    saved(path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(DataError, match=r"cannot write .* \(No space left on device\)"):
        saved(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="none does not exist"):
        load(tmp_path / "none")
    with pytest.raises(TrainError, match="does not exist or is not a file"):
        load(tmp_path)
    with pytest.raises(DataError, match="cannot write"):
        saved(tmp_path / "no" / "folder")
    (tmp_path / "text").write_text("hello, this is no checkpoint at all")
    with pytest.raises(TrainError, match="text is truncated or not a safetensors file"):
        load(tmp_path / "text")
    save_file({"x": np.zeros(3)}, tmp_path / "other", {"format": "pt"})
    with pytest.raises(TrainError, match="other is a safetensors file but no metabit checkpoint"):
        load(tmp_path / "other")
    save_file({"x": np.zeros(3)}, tmp_path / "version", {"metabit": json.dumps({"version": 3})})
    with pytest.raises(TrainError, match="version: version 3 is unknown: this metabit reads 1 and 2"):
        load(tmp_path / "version")
    for number, text in enumerate(("{", "[]", "{}", '{"version": 1}', '{"version": 1, "rule": 5}')):
        save_file({"x": np.zeros(3)}, tmp_path / f"header{number}", {"metabit": text})
        with pytest.raises(TrainError, match="has a damaged header"):
            load(tmp_path / f"header{number}")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_an_error_or_a_valid_checkpoint(tmp_path: Path, data: st.DataObject) -> None:
    saved(tmp_path / "whole")
    whole = bytearray((tmp_path / "whole").read_bytes())
    if data.draw(st.booleans(), "truncate"):
        del whole[data.draw(st.integers(0, len(whole) - 1), "length") :]
        must_fail = True
    else:
        whole[data.draw(st.integers(0, len(whole) - 1), "byte")] ^= 1 << data.draw(st.integers(0, 7), "bit")
        must_fail = False  # a flipped bit of a hidden weight is another hidden weight
    (tmp_path / "damaged").write_bytes(whole)
    try:
        load(tmp_path / "damaged")
        assert not must_fail
    except TrainError:
        pass


Tensors = dict[str, Any]


def without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def with_(name: str, value: Any) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: value}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layers.1.hidden"), "layers.1.hidden is missing"),
        (with_("layers.9.hidden", np.zeros(2)), "layers.9.hidden is unknown"),
        (
            with_("layers.0.hidden", np.zeros((8, 12))),
            r"layers.0.hidden is float64 \(8, 12\): the spec needs float32",
        ),
        (with_("layers.0.norm.bias", np.zeros(9, np.float32)), r"needs float32 \(8,\)"),
        (with_("layers.0.norm.mean", np.full(8, np.nan, np.float32)), "layers.0.norm.mean holds NaN or infinity"),
        (with_("layers.0.norm.var", np.full(8, -1, np.float32)), "layers.0.norm.var holds a negative variance"),
        (with_("layers.2.code", np.zeros((3, 5), np.int8)), "layers.2.code holds a value other than -1 and"),
        (with_("encode.thresholds", np.ones((2, 6), np.uint8)), "encode.thresholds contradicts the spec"),
    ],
)
def test_wrong_tensors_are_named(change: Callable[[Tensors], Tensors], message: str) -> None:
    good = Checkpoint(SPEC, network().tensors(), Rule.of(SPEC, 1.0))
    with pytest.raises(TrainError, match=message):
        replace(good, tensors=change(good.tensors))


def test_wrong_rules_and_provenance_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="m has 3 values"):
        Checkpoint(SPEC, network().tensors(), Rule((1.0,) * 3, 0.005, 0.0))
    with pytest.raises(TrainError, match="lr=nan"):
        Rule((1.0,), float("nan"), 0.0)
    for bad in (object(), float("nan")):
        with pytest.raises(TrainError, match="must be plain JSON"):
            save(tmp_path / "a", network(), rule=Rule.of(SPEC, 1.0), provenance={"it": bad})
    assert not list(tmp_path.iterdir())
