"""The ONNX file: exact in onnxruntime and in onnx's own evaluator, valid for the checker, and reversible."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from frozen_reference import NETWORKS, assert_same, random_frozen, random_input, reference_scores, small_networks
from hypothesis import given, settings

from metabit.export.bits import levels_from_planes
from metabit.export.errors import ExportError, MissingExtra
from metabit.export.files.onnx_file import read_onnx, run_onnx, write_onnx
from metabit.export.frozen import Frozen

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

networks = pytest.mark.parametrize("frozen", NETWORKS.values(), ids=NETWORKS.keys())


@networks
def test_onnxruntime_computes_the_same_scores(frozen: Frozen) -> None:
    data = write_onnx(frozen)
    for n in (0, 1, 16):
        x = random_input(frozen, n)
        scores = run_onnx(data, x)
        assert scores.dtype == np.int32
        np.testing.assert_array_equal(scores, reference_scores(frozen, x))


@settings(max_examples=25, deadline=None)
@given(small_networks())
def test_any_small_shape_is_exact(frozen: Frozen) -> None:
    x = random_input(frozen, 3)
    np.testing.assert_array_equal(run_onnx(write_onnx(frozen), x), reference_scores(frozen, x))


@networks
def test_the_checker_accepts_and_shapes_are_inferred(frozen: Frozen) -> None:
    onnx.checker.check_model(onnx.load_from_string(write_onnx(frozen)), full_check=True)


@networks
def test_the_network_comes_back(frozen: Frozen) -> None:
    data = write_onnx(frozen)
    assert_same(read_onnx(data), frozen)


def test_the_reference_evaluator_agrees_and_ties_go_to_the_lowest_label() -> None:
    from onnx.reference import ReferenceEvaluator

    frozen = random_frozen((83, 33, 7), planes=3, seed=8)
    frozen.layers[-1].mul[:] = 0
    frozen.layers[-1].add[:] = [1, 5, 2, 5, 5, 0, -1]
    x = random_input(frozen, 4)
    data = write_onnx(frozen)
    scores, label = ReferenceEvaluator(onnx.load_from_string(data)).run(["scores", "label"], {"features": x})
    np.testing.assert_array_equal(scores, reference_scores(frozen, x))
    np.testing.assert_array_equal(label, [1] * 4)
    np.testing.assert_array_equal(onnxruntime.InferenceSession(data).run(["label"], {"features": x})[0], [1] * 4)


def test_a_session_can_fetch_the_hidden_planes() -> None:
    frozen = NETWORKS["no encoder, on/off"]
    session = onnxruntime.InferenceSession(write_onnx(frozen))
    planes = session.run(["layer0.hidden_planes"], {"bits": random_input(frozen, 1)})[0]
    assert planes.shape == (8, 31, 8)
    np.testing.assert_array_equal(levels_from_planes(planes, 64), frozen.layers[0].hidden)


def test_equal_networks_give_equal_bytes() -> None:
    assert write_onnx(random_frozen((20, 10, 3))) == write_onnx(random_frozen((20, 10, 3)))


def test_foreign_files_and_inputs_are_refused() -> None:
    data = write_onnx(NETWORKS["one layer"])
    with pytest.raises(ExportError, match=r"features must be uint8 \(n, 5\), not float64 \(2, 5\)"):
        run_onnx(data, np.zeros((2, 5)))  # type: ignore[arg-type]
    with pytest.raises(ExportError, match="not an ONNX file"):
        read_onnx(b"TFL3 or something else")
    foreign = onnx.load_from_string(data)
    del foreign.metadata_props[:]
    with pytest.raises(ExportError, match="not written by metabit"):
        read_onnx(foreign.SerializeToString())


def test_a_missing_extra_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"^metabit.export needs onnxruntime: pip install 'metabit\[export\]'$"):
        run_onnx(b"", np.zeros((1, 1), np.uint8))
