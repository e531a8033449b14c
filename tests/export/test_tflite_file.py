"""The TFLite file: exact in a stock TFLite runtime, reversible without one, and in the official schema's numbers."""

from __future__ import annotations

import sys
from contextlib import suppress

import numpy as np
import pytest
from frozen_reference import NETWORKS, assert_same, random_frozen, random_input, reference_scores, small_networks
from hypothesis import given, settings
from hypothesis import strategies as st

from metabit.export.bits import levels_from_planes
from metabit.export.errors import ExportError, MissingExtra
from metabit.export.files import tflite_file
from metabit.export.files.tflite_file import hidden_state_from_tflite, read_tflite, run_tflite, write_tflite
from metabit.export.files.tflite_schema import Op
from metabit.export.frozen import Frozen

pytest.importorskip("flatbuffers")

DAMAGEABLE = write_tflite(NETWORKS["one layer"])
networks = pytest.mark.parametrize("frozen", NETWORKS.values(), ids=NETWORKS.keys())


@networks
def test_tflite_computes_the_same_scores(frozen: Frozen) -> None:
    data = write_tflite(frozen)
    for n in (0, 1, 16):
        x = random_input(frozen, n)
        scores = run_tflite(data, x)
        assert scores.dtype == np.int32
        np.testing.assert_array_equal(scores, reference_scores(frozen, x))


@settings(max_examples=25, deadline=None)
@given(small_networks())
def test_any_small_shape_is_exact(frozen: Frozen) -> None:
    x = random_input(frozen, 3)
    np.testing.assert_array_equal(run_tflite(write_tflite(frozen), x), reference_scores(frozen, x))


@networks
def test_the_network_comes_back(frozen: Frozen) -> None:
    data = write_tflite(frozen)
    assert_same(read_tflite(data), frozen)
    for layer, levels in zip(frozen.layers, hidden_state_from_tflite(data), strict=True):
        np.testing.assert_array_equal(levels, layer.hidden)


def test_ties_go_to_the_lowest_label() -> None:
    frozen = random_frozen((83, 33, 7), planes=3, seed=8)
    frozen.layers[-1].mul[:] = 0
    frozen.layers[-1].add[:] = [1, 5, 2, 5, 5, 0, -1]
    interpreter = tflite_file._runtime().Interpreter(model_content=write_tflite(frozen))
    infer = interpreter.get_signature_runner("infer")
    np.testing.assert_array_equal(infer(features=random_input(frozen, 3))["label"], [1] * 3)


def test_a_runtime_can_fetch_the_hidden_planes() -> None:
    frozen = NETWORKS["no encoder, on/off"]
    interpreter = tflite_file._runtime().Interpreter(model_content=write_tflite(frozen))
    state = interpreter.get_signature_runner("hidden_state")()
    assert sorted(state) == ["layer0.hidden_planes", "layer1.hidden_planes"]
    np.testing.assert_array_equal(levels_from_planes(state["layer0.hidden_planes"], 64), frozen.layers[0].hidden)


def test_a_network_without_hidden_bits_has_no_hidden_state_signature() -> None:
    data = write_tflite(NETWORKS["all frozen"])
    assert list(tflite_file._runtime().Interpreter(model_content=data).get_signature_list()) == ["infer"]


def test_equal_networks_give_equal_bytes() -> None:
    assert write_tflite(random_frozen((20, 10, 3))) == write_tflite(random_frozen((20, 10, 3)))


def test_operator_numbers_are_those_of_the_official_schema() -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    options = {name.lower(): number for name, number in vars(schema.BuiltinOptions).items()}
    for op in Op:  # the schema writes CONV_2D as Conv2DOptions, and has one kind of options for all pooling
        number = options[op.name.replace("MAX_", "").replace("_", "").lower() + "options"]
        assert op.value == (getattr(schema.BuiltinOperator, op.name), number)


def test_foreign_files_and_inputs_are_refused() -> None:
    data = write_tflite(NETWORKS["one layer"])
    with pytest.raises(ExportError, match=r"features must be uint8 \(n, 5\), not uint8 \(5,\)"):
        run_tflite(data, np.zeros(5, np.uint8))
    with pytest.raises(ExportError, match="does not begin as a TFL3 flatbuffer"):
        read_tflite(b"\x08\x07onnx")
    with pytest.raises(ExportError, match="not written by metabit"):
        read_tflite(data.replace(b"\x07\0\0\0metabit", b"\x07\0\0\0tensors"))


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=4), st.integers(0, 2**20))
def test_a_damaged_file_is_refused_or_read_but_never_a_traceback(hits: list[tuple[int, int]], length: int) -> None:
    data = bytearray(DAMAGEABLE)
    for at, flip in hits:
        data[at % len(data)] ^= flip
    for damaged in (data, data[: length % len(data)]):
        with suppress(ExportError):
            read_tflite(bytes(damaged))


def test_a_missing_extra_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tflite_runtime.interpreter", "ai_edge_litert.interpreter"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match="^metabit.export needs tflite-runtime or ai-edge-litert: pip install"):
        run_tflite(b"", np.zeros((1, 1), np.uint8))
