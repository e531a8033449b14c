"""ONNX and TFLite files and the description inside them: exact in every engine, reversible, refused where they cannot be right."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from frozen_reference import NETWORKS as DENSE
from frozen_reference import assert_same, random_frozen, random_input, reference_scores, small_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import any_windowed, conv, inputs, windowed

from metabit.export import ExportError, export_all
from metabit.export.bits import levels_from_planes, unpack_rows
from metabit.export.errors import MissingExtra
from metabit.export.files import onnx_file, tflite_file
from metabit.export.files.image import write_image
from metabit.export.files.interchange import facts, named_tensors, rebuild
from metabit.export.files.tflite_schema import Op
from metabit.export.frozen import Frozen
from metabit.export.oracle import Oracle
from metabit.runtime import Model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("flatbuffers")


class Engine(NamedTuple):
    write: Callable[[Frozen], bytes]
    read: Callable[[bytes], Frozen]
    run: Callable[[bytes, np.ndarray], np.ndarray]


ENGINES = {
    "onnx": Engine(onnx_file.write_onnx, onnx_file.read_onnx, onnx_file.run_onnx),
    "tflite": Engine(tflite_file.write_tflite, tflite_file.read_tflite, tflite_file.run_tflite),
}
WINDOWED = {
    "pool on odd sizes": windowed(1, (7, 9, 3), (conv(5, 3, 1, True, 2), conv(9, 2)), (6, 4), "bits"),
    "even kernel, stride": windowed(2, (8, 7, 1), (conv(4, 4, 2, True), conv(8, 2, 1, True, 2)), (3,), "1"),
    "planes": windowed(3, (5, 6, 3), (conv(7, 3, 1, True),), (9, 5), "4"),
    "bytes": windowed(4, (9, 9, 3), (conv(32, 5, 1, True, 3), conv(3, 3, 3)), (20,), "uint8"),
    "levels are kept": windowed(5, (6, 6, 2), (conv(4, 3),), (3,), "uint8", frozen_bits=3),
    "dense on bytes": windowed(6, (1, 1, 83), (), (21, 5), "uint8"),
    "every edge lies outside": windowed(7, (1, 2, 3), (conv(6, 5, 1, True),), (4,), "bits"),
}
NETWORKS = DENSE | WINDOWED
KEPT, SMALL = WINDOWED["levels are kept"], random_frozen((6, 5, 3), planes=2, bits=3)
engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
networks = pytest.mark.parametrize("frozen", NETWORKS.values(), ids=NETWORKS)


def sample(frozen: Frozen, n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Inputs uint8 (n, features or bits), and their scores: by the page for dense layers alone, else by the oracle."""
    if frozen.layers[0].kind != "conv" and frozen.layers[0].takes != "bytes":
        x = random_input(frozen, n, seed)
        return x, reference_scores(frozen, x)
    device = inputs(frozen, n, seed)
    x = unpack_rows(device, frozen.input_bits).astype(np.uint8) if frozen.packed else device
    want = np.array([Oracle(frozen).scores(one) for one in x]).reshape(n, frozen.classes)
    np.testing.assert_array_equal(Model(write_image(frozen)).scores(device), want)
    return x, want


def agree(frozen: Frozen, n: int, seed: int = 1) -> None:
    x, want = sample(frozen, n, seed)
    for engine in ENGINES.values():
        scores = engine.run(engine.write(frozen), x)
        assert scores.dtype == np.int32
        np.testing.assert_array_equal(scores, want)
    for other in list(tflite_file.RUNTIMES)[1:]:  # `run_tflite` has taken the first that is installed
        with suppress(MissingExtra):
            np.testing.assert_array_equal(tflite_file.run_tflite(tflite_file.write_tflite(frozen), x, other), want)


@networks
def test_every_engine_computes_the_same_scores(frozen: Frozen) -> None:
    for n in (0, 1, 16):
        agree(frozen, n)


@settings(max_examples=25, deadline=None)
@given(small_networks())
def test_any_small_shape_is_exact(frozen: Frozen) -> None:
    agree(frozen, 3)


@settings(max_examples=25, deadline=None)
@given(any_windowed(), st.integers(0, 99))
def test_any_network_of_windows_is_exact(frozen: Frozen, seed: int) -> None:
    agree(frozen, 3, seed)


@networks
def test_the_network_comes_back(frozen: Frozen) -> None:
    assert_same(rebuild(facts(frozen), named_tensors(frozen)), frozen)
    for engine in ENGINES.values():
        assert_same(engine.read(engine.write(frozen)), frozen)


@networks
def test_the_checker_of_onnx_accepts_and_shapes_are_inferred(frozen: Frozen) -> None:
    onnx.checker.check_model(onnx.load_from_string(onnx_file.write_onnx(frozen)), full_check=True)


@engines
def test_equal_networks_give_equal_bytes(engine: Engine) -> None:
    assert engine.write(random_frozen((20, 10, 3))) == engine.write(random_frozen((20, 10, 3)))


def tflite(data: bytes) -> Any:
    return tflite_file._runtime().Interpreter(model_content=data)


def test_the_evaluator_of_onnx_agrees_and_ties_go_to_the_lowest_label() -> None:
    from onnx.reference import ReferenceEvaluator

    frozen = random_frozen((83, 33, 7), planes=3, seed=8)
    frozen.layers[-1].mul[:] = 0
    frozen.layers[-1].add[:] = [1, 5, 2, 5, 5, 0, -1]
    x, want = sample(frozen, 4)
    data = onnx_file.write_onnx(frozen)
    scores, label = ReferenceEvaluator(onnx.load_from_string(data)).run(["scores", "label"], {"features": x})
    np.testing.assert_array_equal(scores, want)
    again = onnxruntime.InferenceSession(data).run(["label"], {"features": x})[0]
    infer = tflite(tflite_file.write_tflite(frozen)).get_signature_runner("infer")
    for found in (label, again, infer(features=x)["label"]):
        np.testing.assert_array_equal(found, [1] * 4)


def test_both_runtimes_can_fetch_the_hidden_planes() -> None:
    frozen, name = DENSE["no encoder, on/off"], "layer0.hidden_planes"
    session = onnxruntime.InferenceSession(onnx_file.write_onnx(frozen))
    state = tflite(tflite_file.write_tflite(frozen)).get_signature_runner("hidden_state")()
    assert sorted(state) == [name, "layer1.hidden_planes"]
    for planes in (session.run([name], {"bits": random_input(frozen, 1)})[0], state[name]):
        assert planes.shape[1:] == (31, 8) and 7 <= len(planes) <= 8
        levels = levels_from_planes(np.concatenate([planes[:7], named_tensors(frozen)["layer0.sign_plane"][None]]), 64)
        np.testing.assert_array_equal(levels, frozen.layers[0].hidden)
    assert list(tflite(tflite_file.write_tflite(DENSE["all frozen"])).get_signature_list()) == ["infer"]


def test_operator_numbers_are_those_of_the_official_schema() -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    options = {name.lower(): number for name, number in vars(schema.BuiltinOptions).items()}
    # the schema writes CONV_2D as Conv2DOptions, and has one kind of options for operators of one sort
    sorts = {"MAX_POOL_2D": "pool2d", "MAXIMUM": "maximumminimum", "MINIMUM": "maximumminimum"}
    sorts |= {"REDUCE_MAX": "reducer", "SUM": "reducer"}
    for op in Op:
        number = options[sorts.get(op.name, op.name.replace("_", "").lower()) + "options"]
        assert op.value == (getattr(schema.BuiltinOperator, op.name), number)


def test_a_bundle_of_a_convolutional_network(tmp_path: Path) -> None:
    written = export_all(
        WINDOWED["bytes"], tmp_path, device=lambda image, x: Model(image).scores(x), inputs=12, steps=9
    )
    assert written.engines == ("numpy", "onnx", "tflite", "runtime")
    model = Model.open(tmp_path / "model.mbit")
    with np.load(tmp_path / "vectors.npz") as v:
        assert v["input_bits"].shape == (12, 243) and v["input_bits"].max() > 1
        assert v["layer0"].shape == (12, 3 * 3 * 32) and v["layer1"].shape == (12, 1 * 1 * 3)
        states = np.bitwise_xor.accumulate(v["state_changes"])
        for step, label in enumerate(v["learn_labels"]):
            assert tuple(model.learn_one(v["features"][step % 12], int(label))) == tuple(v["learn_info"][step])
            assert model.state() == states[step + 1].tobytes()


# Refusals


@engines
@pytest.mark.parametrize(
    ("x", "found"), [(np.zeros((2, 5)), r"float64 \(2, 5\)"), (np.zeros(5, np.uint8), r"uint8 \(5,\)")]
)
def test_other_inputs_are_refused(engine: Engine, x: np.ndarray, found: str) -> None:
    with pytest.raises(ExportError, match=rf"features must be uint8 \(n, 5\), not {found}"):
        engine.run(engine.write(DENSE["one layer"]), x)


def test_foreign_files_are_refused() -> None:
    foreign = onnx.load_from_string(onnx_file.write_onnx(DENSE["one layer"]))
    del foreign.metadata_props[:]
    foreign.producer_name, foreign.producer_version = "pytorch", "2.13"
    renamed = tflite_file.write_tflite(DENSE["one layer"]).replace(b"\x07\0\0\0metabit", b"\x07\0\0\0tensors")
    for name, data, sentence in (
        ("onnx", b"TFL3 or something else", "not an ONNX file"),
        ("onnx", foreign.SerializeToString(), r"this is an ONNX model of pytorch 2.13, not one that metabit wrote"),
        ("tflite", b"\x08\x07onnx", "does not begin as a TFL3 flatbuffer"),
        ("tflite", renamed, "not written by metabit"),
    ):
        with pytest.raises(ExportError, match=sentence):
            ENGINES[name].read(data)


DAMAGEABLE = tflite_file.write_tflite(DENSE["one layer"])


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=4), st.integers(0, 2**20))
def test_a_damaged_file_is_refused_or_read_but_never_a_traceback(hits: list[tuple[int, int]], length: int) -> None:
    data = bytearray(DAMAGEABLE)
    for at, flip in hits:
        data[at % len(data)] ^= flip
    for damaged in (data, data[: length % len(data)]):
        with suppress(ExportError):
            tflite_file.read_tflite(bytes(damaged))


@pytest.mark.parametrize(
    ("name", "modules", "package"),
    [
        ("onnx", ["onnxruntime"], r"onnxruntime: pip install 'metabit\[export\]'$"),
        ("tflite", ["tflite_runtime.interpreter", "ai_edge_litert.interpreter"], "tflite-runtime or ai-edge-litert: pip install"),
    ],
)  # fmt: skip
def test_a_missing_extra_is_one_clear_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, modules: list[str], package: str
) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=f"^metabit.export needs {package}"):
        ENGINES[name].run(b"", np.zeros((1, 1), np.uint8))


FIRST, LAST = SMALL.layers
CONV, HEAD = KEPT.layers


@pytest.mark.parametrize(
    ("frozen", "layers", "sentence"),
    [
        (SMALL, (), r"dense layers and one output layer, in this order, not \[\]"),
        (SMALL, (FIRST,), r"not \['dense'\]"),
        (SMALL, (FIRST, replace(LAST, takes="bits")), "layer 1 takes bits, but layer 0 gives signs"),
        (SMALL, (replace(FIRST, takes="signs"), LAST), "layer 0 takes signs, but the encoder gives bits"),
        (SMALL, (replace(FIRST, hidden=FIRST.hidden[:, 1:]), LAST), "the encoder makes 12 bits, the first layer takes 11"),
        (SMALL, (FIRST, replace(LAST, bits=2)), r"do not fit 2 bits \(-2..1\)"),
        (KEPT, (HEAD, CONV), "convolutions, dense layers and one output layer"),
        (KEPT, (CONV, replace(HEAD, takes="bytes")), "layer 1 takes bytes, but layer 0 gives signs"),
        (KEPT, (replace(CONV, geometry=replace(CONV.geometry, pool=2)), HEAD), "layer 1 takes 64 inputs, layer 0 gives 16"),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit_are_refused(frozen: Frozen, layers: Any, sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence):
        named_tensors(replace(frozen, layers=layers))


WINDOW = {"height": 6, "width": 6, "channels": 2, "kernel": 3, "stride": 1, "pool": 1, "same": False}


@pytest.mark.parametrize(
    ("first", "change", "sentence"),
    [
        (False, {"format": 2}, "format version 2 is not the 1 that this metabit reads"),
        (False, {"layers": 7}, "incomplete or damaged"),
        (False, {"margin": "much"}, "incomplete or damaged"),
        (False, {"counters": {"steps": 1, "joy": 1}}, "incomplete or damaged"),
        (True, {"kind": "attention"}, "layer0 is of kind 'attention'"),
        (True, {"rule": {"strengthen": [1], "weaken": [1], "dose": 1}, "bits": 1}, "a rule"),
        (True, {"conv": {"height": 6}}, "incomplete or damaged"),
        (True, {"conv": WINDOW | {"stride": 0}}, "layer 0 has stride 0, outside 1..31"),
        (True, {"conv": WINDOW | {"same": 3}}, "is damaged"),
    ],
    ids=str,
)
def test_a_description_that_cannot_be_right_is_refused(first: bool, change: dict[str, Any], sentence: str) -> None:
    page = json.loads(facts(KEPT))
    (page["layers"][0] if first else page).update(change)
    with pytest.raises(ExportError, match=sentence):
        rebuild(json.dumps(page), named_tensors(KEPT))


@pytest.mark.parametrize(
    ("name", "array", "sentence"),
    [
        ("layer0.threshold", np.zeros(4, np.int32), r"should be int32 \(5,\) but is int32 \(4,\)"),
        ("layer1.mul", np.zeros(3), r"should be int32 \(3,\) but is float64 \(3,\)"),
        (
            "layer0.hidden_planes",
            np.zeros((3, 5, 2), np.uint8),
            "the level planes and the sign plane of this file disagree",
        ),
        ("layer0.hidden_planes", np.zeros((1, 5, 2), np.uint8), r"should be uint8 \(2, 5, 2\)"),
        ("layer0.hidden_planes", np.zeros((), np.uint8), "incomplete or damaged"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(name: str, array: Any, sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence):
        rebuild(facts(SMALL), named_tensors(SMALL) | {name: array})


def test_text_that_is_no_description_is_refused() -> None:
    for page in ("", "[]", "{}", '"metabit"'):
        with pytest.raises(ExportError, match="incomplete or damaged"):
            rebuild(page, {})
