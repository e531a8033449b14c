"""Convolutions and 8-bit inputs in ONNX and TFLite: exact in both runtimes, and reversible."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frozen_reference import assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import conv, inputs, oracle_input, windowed

from metabit.export import ExportError, export_all
from metabit.export.files.image import write_image
from metabit.export.files.interchange import facts, named_tensors, rebuild
from metabit.export.files.onnx_file import read_onnx, run_onnx, write_onnx
from metabit.export.files.tflite_file import read_tflite, run_tflite, write_tflite
from metabit.export.frozen import Frozen
from metabit.export.oracle import Oracle
from metabit.runtime import Model

pytest.importorskip("onnxruntime")
pytest.importorskip("flatbuffers")


NETWORKS = {
    "pool on odd sizes": windowed(1, (7, 9, 3), (conv(5, 3, 1, True, 2), conv(9, 2)), (6, 4), "bits"),
    "even kernel, stride": windowed(2, (8, 7, 1), (conv(4, 4, 2, True), conv(8, 2, 1, True, 2)), (3,), "1"),
    "planes": windowed(3, (5, 6, 3), (conv(7, 3, 1, True),), (9, 5), "4"),
    "bytes": windowed(4, (9, 9, 3), (conv(32, 5, 1, True, 3), conv(3, 3, 3)), (20,), "uint8"),
    "levels are kept": windowed(5, (6, 6, 2), (conv(4, 3),), (3,), "uint8", frozen_bits=3),
    "dense on bytes": windowed(6, (1, 1, 83), (), (21, 5), "uint8"),
    "every edge lies outside": windowed(7, (1, 2, 3), (conv(6, 5, 1, True),), (4,), "bits"),
}
networks = pytest.mark.parametrize("frozen", NETWORKS.values(), ids=NETWORKS.keys())


def scores_of(frozen: Frozen, x: np.ndarray) -> np.ndarray:
    oracle = Oracle(frozen)
    return np.array([oracle.scores(one) for one in x])


@networks
@pytest.mark.parametrize("n", [1, 16])
def test_every_engine_computes_the_same_scores(frozen: Frozen, n: int) -> None:
    x = inputs(frozen, n)
    unpacked = np.array([oracle_input(frozen, one) for one in x])
    want = scores_of(frozen, unpacked)
    np.testing.assert_array_equal(Model(write_image(frozen)).scores(x), want)
    np.testing.assert_array_equal(run_onnx(write_onnx(frozen), unpacked), want)
    np.testing.assert_array_equal(run_tflite(write_tflite(frozen), unpacked), want)


@networks
def test_the_network_comes_back(frozen: Frozen) -> None:
    assert_same(read_onnx(write_onnx(frozen)), frozen)
    assert_same(read_tflite(write_tflite(frozen)), frozen)
    assert_same(rebuild(facts(frozen), named_tensors(frozen)), frozen)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 7), st.integers(1, 7), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.booleans(),
    st.integers(1, 2), st.sampled_from(["bits", "uint8", "1", "3"]), st.integers(0, 9999),
)  # fmt: skip
def test_any_window_is_exact(
    height: int, width: int, channels: int, kernel: int, stride: int, same: bool, pool: int, source: str, seed: int
) -> None:
    kernel = kernel if same else min(kernel, height, width)
    sides = [-(-size // stride) if same else (size - kernel) // stride + 1 for size in (height, width)]
    row = conv(1 + seed % 9, kernel, stride, same, min(pool, *sides))
    frozen = windowed(seed, (height, width, channels), (row,), (3,), source)
    x = np.array([oracle_input(frozen, one) for one in inputs(frozen, 3, seed)])
    want = scores_of(frozen, x)
    np.testing.assert_array_equal(run_onnx(write_onnx(frozen), x), want)
    np.testing.assert_array_equal(run_tflite(write_tflite(frozen), x), want)


def test_a_bundle_of_a_convolutional_network(tmp_path: Path) -> None:
    frozen = NETWORKS["bytes"]
    written = export_all(frozen, tmp_path, device=lambda image, x: Model(image).scores(x), inputs=12, steps=9)
    assert written.engines == ("numpy", "onnx", "tflite", "runtime")
    model = Model.open(tmp_path / "model.mbit")
    with np.load(tmp_path / "vectors.npz") as v:
        assert v["input_bits"].shape == (12, 243) and v["input_bits"].max() > 1
        assert v["layer0"].shape == (12, 3 * 3 * 32) and v["layer1"].shape == (12, 1 * 1 * 3)
        states = np.bitwise_xor.accumulate(v["state_changes"])
        for step, label in enumerate(v["learn_labels"]):
            assert tuple(model.learn_one(v["features"][step % 12], int(label))) == tuple(v["learn_info"][step])
            assert model.state() == states[step + 1].tobytes()


FIRST, HEAD = NETWORKS["levels are kept"].layers


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ((HEAD, FIRST), "convolutions, dense layers and one output layer"),
        ((FIRST, replace(HEAD, takes="bytes")), "layer 1 takes bytes, but layer 0 gives signs"),
        (
            (replace(FIRST, geometry=replace(FIRST.geometry, pool=2)), HEAD),
            "layer 1 takes 64 inputs, layer 0 gives 16",
        ),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers: Any, sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence):
        named_tensors(replace(NETWORKS["levels are kept"], layers=layers))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "attention"}, "layer0 is of kind 'attention'"),
        ({"rule": {"strengthen": [1], "weaken": [1], "dose": 1}, "bits": 1}, "a rule"),
        ({"conv": {"height": 6}}, "incomplete or damaged"),
        (
            {"conv": {"height": 6, "width": 6, "channels": 2, "kernel": 3, "stride": 0, "pool": 1, "same": False}},
            "layer 0 has stride 0, outside 1..31",
        ),
        (
            {"conv": {"height": 6, "width": 6, "channels": 2, "kernel": 3, "stride": 1, "pool": 1, "same": 3}},
            "is damaged",
        ),
    ],
    ids=str,
)
def test_a_description_that_cannot_be_right_is_refused(change: dict[str, Any], sentence: str) -> None:
    frozen = NETWORKS["levels are kept"]
    page = json.loads(facts(frozen))
    page["layers"][0] |= change
    with pytest.raises(ExportError, match=sentence):
        rebuild(json.dumps(page), named_tensors(frozen))
