"""Networks of gates in model.onnx and model.tflite: equal integers, and the whole network back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frozen_reference import assert_same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import gates_network, inputs, network, oracle_input
from numpy.typing import NDArray

from metabit.export import Cuts, ExportError, Frozen, HeadLayer, HeadRows, Notes, Oracle, export_all
from metabit.export.files import tflite_file
from metabit.export.files.interchange import facts, named_tensors, rebuild
from metabit.export.files.onnx_file import read_onnx, run_onnx, write_onnx
from metabit.export.files.tflite_file import read_tflite, run_tflite, write_tflite
from metabit.export.vectors import learned
from metabit.runtime import Model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("flatbuffers")


@dataclass(frozen=True)
class Format:
    write: Callable[[Frozen], bytes]
    read: Callable[[bytes], Frozen]
    run: Callable[[bytes, NDArray[Any]], NDArray[np.int32]]


FORMATS = {"onnx": Format(write_onnx, read_onnx, run_onnx), "tflite": Format(write_tflite, read_tflite, run_tflite)}
NETWORKS = {
    "levels on packed bits": gates_network(1, 37, 0, 40, 5, "levels"),
    "levels that learn": gates_network(
        2, 9, 3, 33, 3, "levels", k=3, learns=True, shared=True, kind="int16", scaled=True
    ),
    "wide levels": gates_network(3, 5, 2, 300, 20, "levels", k=8),
    "head": gates_network(4, 13, 3, 12, 4),
    "head on int16": replace(
        gates_network(5, 9, 5, 7, 6, kind="int16", scaled=True, spare=2), notes=Notes(("a", "é"), tuple("abcdefghi"))
    ),
    "head of rows": gates_network(6, 13, 3, 8, 4, spare=1, rows=HeadRows(3, 1, 2), row_count=9),
    "head that knows nothing": gates_network(7, 13, 1, 8, 4, samples=0),
    "large head": gates_network(8, 30, 8, 64, 100, samples=190),
}
formats = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS.keys())
networks = pytest.mark.parametrize("frozen", NETWORKS.values(), ids=NETWORKS.keys())


def after_learning(frozen: Frozen, steps: int = 12) -> Frozen:
    oracle = Oracle(frozen)
    for i, x in enumerate(inputs(frozen, steps, 5)):
        oracle.learn(oracle_input(frozen, x), i % frozen.classes)
    return learned(frozen, oracle)


@formats
@networks
def test_scores_are_the_oracle_s(form: Format, frozen: Frozen) -> None:
    x = oracle_input(frozen, inputs(frozen, 16))
    for net in (frozen, after_learning(frozen)) if frozen.layers[1].learns else (frozen,):
        oracle = Oracle(net)
        scores = form.run(form.write(net), x)
        assert scores.dtype == np.int32
        np.testing.assert_array_equal(scores, [oracle.scores(one) for one in x])


@formats
@networks
def test_the_network_comes_back(form: Format, frozen: Frozen) -> None:
    assert_same(form.read(form.write(frozen)), frozen)
    assert form.write(form.read(form.write(frozen))) == form.write(frozen)


@formats
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(0, 3), st.integers(1, 20), st.sampled_from(["uint8", "int16"]),
       st.sampled_from(["levels", "head", "rows"]))  # fmt: skip
def test_any_small_shape_is_exact(
    form: Format, seed: int, features: int, planes: int, units: int, kind: str, last: str
) -> None:
    rows = HeadRows(2, 5, 5) if last == "rows" else None
    frozen = gates_network(
        seed, features, planes, units, 3, "levels" if last == "levels" else "head", kind, rows=rows, samples=seed % 40
    )
    x, oracle = oracle_input(frozen, inputs(frozen, 3, seed)), Oracle(frozen)
    np.testing.assert_array_equal(form.run(form.write(frozen), x), [oracle.scores(one) for one in x])


@formats
@pytest.mark.parametrize("kind", ["uint8", "int16"])
def test_cuts_stand_before_sign_units_too(form: Format, kind: str) -> None:
    base, rng = network(3, (9, 20, 4), planes=2), np.random.default_rng(0)
    lowest = -32768 if kind == "int16" else 0
    cuts = rng.integers(lowest, lowest + (65536 if lowest else 256), (2, 9)).astype(kind)
    frozen = replace(base, encode=Cuts("int16" if lowest else "uint8", cuts))
    x, oracle = oracle_input(frozen, inputs(frozen, 9)), Oracle(frozen)
    np.testing.assert_array_equal(form.run(form.write(frozen), x), [oracle.scores(one) for one in x])
    assert_same(form.read(form.write(frozen)), frozen)


@networks
def test_the_checker_accepts_and_shapes_are_inferred(frozen: Frozen) -> None:
    onnx.checker.check_model(onnx.load_from_string(write_onnx(frozen)), full_check=True)


def test_a_runtime_can_fetch_what_a_head_has_learned() -> None:
    frozen = NETWORKS["head of rows"]
    head = frozen.layers[1]
    assert isinstance(head, HeadLayer)
    session = onnxruntime.InferenceSession(write_onnx(frozen), providers=["CPUExecutionProvider"])
    names = ["layer1.covariance", "layer1.means", "layer1.doubts"]
    found = session.run(names, {"features": inputs(frozen, 1)})
    told = tflite_file._runtime().Interpreter(model_content=write_tflite(frozen)).get_signature_runner("hidden_state")()
    assert sorted(told) == sorted(names)
    for name, one, want in zip(names, found, (head.covariance, head.means, head.doubts), strict=True):
        np.testing.assert_array_equal(one, want)
        np.testing.assert_array_equal(told[name], want)


@formats
def test_ties_go_to_the_lowest_class(form: Format) -> None:
    """A head that knows nothing gives every class the same score."""
    frozen = NETWORKS["head that knows nothing"]
    data, x = form.write(frozen), inputs(frozen, 3)
    if form.run is run_onnx:
        label = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(["label"], {"features": x})[
            0
        ]
    else:
        runner = tflite_file._runtime().Interpreter(model_content=data).get_signature_runner("infer")
        label = runner(features=x)["label"]
    assert label.tolist() == [0, 0, 0]


@formats
def test_an_input_of_another_dtype_is_refused(form: Format) -> None:
    data = form.write(NETWORKS["head on int16"])
    with pytest.raises(ExportError, match=r"features must be int16 \(n, 9\), not uint8 \(3, 9\)"):
        form.run(data, np.zeros((3, 9), np.uint8))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda page: page["layers"][1].update(classes=5), "layer 1 has 5 classes in 4 rows"),
        (lambda page: page["layers"][1].update(z_shift=9), "z_shift"),
        (lambda page: page["layers"][1].pop("seen"), "incomplete or damaged"),
        (lambda page: page["layers"][1]["settings"].update(ridge=0), "ridge=0: must be from 1 to 32767"),
        (lambda page: page["layers"][0].update(kind="petals"), "incomplete or damaged|does not know"),
        (lambda page: page.update(notes={"classes": ["a"] * 5, "features": []}), "5 names for 4 classes"),
        (lambda page: page["cuts"].update(kind="int16"), "encode.cuts should be int16"),
    ],
)
def test_descriptions_that_contradict_the_arrays(change: Callable[[dict[str, Any]], None], sentence: str) -> None:
    frozen = NETWORKS["head"]
    page = json.loads(facts(frozen))
    change(page)
    with pytest.raises(ExportError, match=sentence):
        found = rebuild(json.dumps(page), named_tensors(frozen))
        write_onnx(found)
        Oracle(found)


def test_offsets_that_do_not_follow_are_refused() -> None:
    frozen = NETWORKS["head"]
    arrays = named_tensors(frozen)
    with pytest.raises(ExportError, match="(offsets|priors) of this file do not follow"):
        rebuild(facts(frozen), arrays | {"layer1.offsets": arrays["layer1.offsets"] + np.int32(1)})


@pytest.mark.parametrize("name", ["head on int16", "levels that learn", "head of rows", "levels on packed bits"])
def test_all_files_of_one_export(name: str, tmp_path: Path) -> None:
    frozen = NETWORKS[name]
    written = export_all(frozen, tmp_path, device=lambda image, x: Model(image).scores(x))
    assert written.engines == ("numpy", "onnx", "tflite", "runtime")
    assert_same(read_onnx((tmp_path / "model.onnx").read_bytes()), frozen)
