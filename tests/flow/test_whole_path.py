"""All rooms in a row: train → export → host C → emulated C. Every engine agrees bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from metabit import export, firmware_sim, train
from metabit.cli.commands.verify import compare, run_all
from metabit.data import load_task, thermometer
from metabit.export.files.onnx_file import hidden_state_from_onnx
from metabit.export.files.tflite_file import hidden_state_from_tflite
from metabit.runtime import Model


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose every layer learns."""
    task = load_task("digits")
    spec = train.Spec(64, (96,), 10, thermometer(task.x_train, 3))
    network = train.Network(spec)
    train.fit(network, task, epochs=3, m=20.0)
    path = tmp_path_factory.mktemp("path") / "checkpoint.safetensors"
    train.save(path, network, rule=train.Rule.of(spec, 20.0))
    return path


def test_every_file_carries_the_same_hidden_state(trained: Path, tmp_path: Path) -> None:
    frozen = export.freeze(train.load_checkpoint(trained), export.Options(bits=4))
    export.export_all(frozen, tmp_path, device=lambda image, x: Model(image).scores(x))
    onnx = hidden_state_from_onnx((tmp_path / "model.onnx").read_bytes())
    tflite = hidden_state_from_tflite((tmp_path / "model.tflite").read_bytes())
    image = export.read_image((tmp_path / "model.mbit").read_bytes())
    for layer, again, a, b in zip(frozen.layers, image.layers, onnx, tflite, strict=True):
        assert np.array_equal(layer.hidden, again.hidden)
        assert np.array_equal(layer.hidden, a) and np.array_equal(layer.hidden, b)
    assert json.loads((tmp_path / "manifest.json").read_text())["checked"]["engines"] == [
        "numpy", "onnx", "tflite", "runtime"
    ]  # fmt: skip


@pytest.mark.parametrize("k", [2, 4, 8])
def test_every_engine_computes_and_learns_the_same(trained: Path, k: int) -> None:
    frozen = export.freeze(train.load_checkpoint(trained), export.Options(bits=k, seed=k))
    ran = run_all(
        frozen,
        load_task("digits"),
        60,
        [firmware_sim.load_board(n) for n in firmware_sim.boards()],
        lambda text: None,
    )
    assert len(ran) == 4 + len(firmware_sim.boards())
    assert all(row["scores_differ"] == 0 and not row["states_differ"] for row in compare(ran))


def test_a_learned_state_moves_from_the_board_to_the_host_and_on(trained: Path) -> None:
    """Learn on one board, save, go on on another: the same as learning everything on the host."""
    task = load_task("digits:sideways")
    image = export.write_image(export.freeze(train.load_checkpoint(trained), export.Options(bits=5)))
    x, y = task.x_train[:80], task.y_train[:80]
    host = Model(image)
    host.learn_many(x, y)
    first, second = (firmware_sim.load_board(name) for name in ("nrf52840", "rp2040"))
    with firmware_sim.Device(firmware_sim.build(image, first), first) as device:
        device.learn_many(x[:40], y[:40])
        moved = export.image.with_state(image, device.state())
    with firmware_sim.Device(firmware_sim.build(moved, second), second) as device:
        device.learn_many(x[40:], y[40:])
        assert device.state() == host.state()
