"""model.train.tflite: the device's rule in TFLite's operators, its state in every bit after every step."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import learners
import numpy as np
import pytest
from frozen_reference import assert_same
from networks import fresh_network, network

from metabit.export import Counters, ExportError, Oracle, bundle, export_all, read_file, write_image
from metabit.export.files.flatbuffer import View
from metabit.export.files.tflite_file import read_tflite, write_tflite
from metabit.export.files.tflite_schema import IDENTIFIER, Op
from metabit.export.learning import (
    TfliteLearner,
    read_tflite_train,
    state_into,
    state_of,
    state_of_variables,
    write_tflite_train,
)
from metabit.export.vectors import learned

pytest.importorskip("flatbuffers")
litert = pytest.importorskip("ai_edge_litert.interpreter")

networks = pytest.mark.parametrize("name", learners.NETWORKS)
few = pytest.mark.parametrize("name", learners.FEW)


@cache
def written(name: str) -> bytes:
    return write_tflite_train(learners.NETWORKS[name])


@networks
def test_every_step_is_the_oracle_s_in_every_bit(name: str) -> None:
    frozen, data = learners.NETWORKS[name], written(name)
    x, y = learners.samples(frozen, 60 if frozen.layers[-1].kind == "head" else 20)
    learner, oracle = TfliteLearner(data, litert), Oracle(frozen)
    learners.assert_states_equal(learner.state(), state_of(frozen))
    for one, label in zip(x, y, strict=True):
        scores = oracle.scores(one)
        done = oracle.learn(one, int(label))
        got = learner.learn(one[None], [label])
        np.testing.assert_array_equal(got.scores[0], scores)
        assert got.labels[0] == done.predicted and got.report[0].tolist() == [*map(int, done), 0]
        learners.assert_states_equal(learner.state(), state_of(learned(frozen, oracle)))
    assert_same(learner.frozen(), learned(frozen, oracle))
    np.testing.assert_array_equal(learner.scores(x), [oracle.scores(one) for one in x])
    assert_same(read_tflite_train(data), frozen)


@few
def test_tflite_runtime_learns_the_same(name: str) -> None:
    runtime: Any = pytest.importorskip("tflite_runtime.interpreter", reason="tflite_runtime has no wheel here")
    x, y = learners.samples(learners.NETWORKS[name], 8)
    data, told = written(name), []
    for module in (runtime, litert):
        learner = TfliteLearner(data, module)
        told.append((learner.learn(x, y), learner.state()))
    for ours, theirs in zip(told[0][0], told[1][0], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    learners.assert_states_equal(told[0][1], told[1][1])


@few
def test_what_was_saved_goes_on_in_another_interpreter_and_in_a_file(name: str) -> None:
    data = written(name)
    x, y = learners.samples(learners.NETWORKS[name], 8)
    assert write_tflite_train(read_tflite_train(data)) == data
    one, two = TfliteLearner(data, litert), TfliteLearner(data, litert)
    one.learn(x[:5], y[:5])
    saved = one.state()
    three = TfliteLearner(write_tflite_train(one.frozen()), litert)
    two.restore(saved)
    for learner in (one, two, three):
        learner.learn(x[5:], y[5:])
        learners.assert_states_equal(learner.state(), one.state())
    one.restore(saved)
    learners.assert_states_equal(one.state(), saved)


def test_counters_beyond_2_to_the_31() -> None:
    for name in ("a still covariance, sweeps now and then", "64-32-10"):
        frozen = replace(learners.NETWORKS[name], counters=Counters(2**31 - 2, 2**31 - 1, 2**32 - 40))
        x, y = learners.samples(frozen, 4)
        learner, oracle = TfliteLearner(write_tflite_train(frozen), litert), Oracle(frozen)
        learner.learn(x, y)
        for one, label in zip(x, y, strict=True):
            oracle.learn(one, int(label))
        assert_same(learner.frozen(), learned(frozen, oracle))


def test_a_target_that_is_no_class_changes_nothing() -> None:
    for name in ("rows", "from nothing, 10 classes", "levels", "64-32-10"):
        frozen = learners.NETWORKS[name]
        x, _ = learners.samples(frozen, 1)
        learner = TfliteLearner(written(name), litert)
        for target in (-1, frozen.classes, 2**31 - 1):
            told = learner._call["train"](**{learner._source: x, "target": np.array([target], np.int32)})
            assert told["report"][:, 1:].tolist() == [[1, 0, 0, 0, 1]]
            np.testing.assert_array_equal(told["scores"][0], Oracle(frozen).scores(x[0]))
        learners.assert_states_equal(learner.state(), state_of(frozen))


def test_what_cannot_be_learnt_is_named() -> None:
    learners.check_what_cannot_be_learnt(lambda frozen: TfliteLearner(write_tflite_train(frozen), litert))


def test_networks_without_such_a_step_are_refused() -> None:
    learners.check_networks_without_a_step(write_tflite_train)


def test_a_state_of_another_network_is_refused() -> None:
    frozen = learners.NETWORKS["64-32-10"]
    learner = TfliteLearner(written("64-32-10"), litert)
    saved = learner._call["save"]()
    learners.assert_states_equal(state_of_variables(frozen, saved), state_of(frozen))
    for name, array in saved.items():
        with pytest.raises(ExportError, match=f"has no {name}"):
            state_of_variables(frozen, {other: a for other, a in saved.items() if other != name})
        for other in (array.astype(float), array[:0], np.zeros((1, *array.shape), array.dtype)):
            with pytest.raises(ExportError, match=f"{name} is {other.dtype}"):
                state_of_variables(frozen, saved | {name: other})
    with pytest.raises(ExportError, match="generator is int64"):
        learner.restore(state_of(frozen) | {"generator": np.array(1)})
    learners.assert_states_equal(learner.state(), state_of(frozen))


def test_other_and_damaged_files_are_refused_by_name() -> None:
    frozen = learners.FEW["levels"]
    data = written("levels")
    with pytest.raises(ExportError, match="no learning step: export it in the format tflite-train"):
        read_tflite_train(write_tflite(frozen))
    with pytest.raises(ExportError, match="version '2' is not the 1"):
        read_tflite_train(_with_version(data, b"2"))
    with pytest.raises(ExportError, match="does not begin as a TFL3 flatbuffer"):
        TfliteLearner(b"ONNX" * 9, litert)
    rng = np.random.default_rng(0)
    for end in rng.integers(0, len(data), 15):
        with pytest.raises(ExportError):
            read_tflite_train(data[:end])
    for at in rng.integers(0, len(data), 25):
        with pytest.raises(ExportError):
            read_tflite_train(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
    other = data.replace(b"restored", b"reloaded")
    assert_same(read_tflite(other), learners.NETWORKS["levels"])
    with pytest.raises(ExportError, match="is damaged, or of another version of metabit"):
        TfliteLearner(other, litert)


def test_a_changed_operator_reaches_no_interpreter() -> None:
    data = bytearray(written("levels"))
    codes = View.root(bytes(data), IDENTIFIER).tables(1)
    (mul,) = (code for code in codes if code.number(3, np.int32) == Op.MUL.value[0])
    for slot, kind in ((0, np.int8), (3, np.int32)):
        at = mul._offset(slot)
        data[at : at + np.dtype(kind).itemsize] = kind(Op.SUB.value[0]).tobytes()
    with pytest.raises(ExportError, match="is damaged, or of another version of metabit"):
        TfliteLearner(bytes(data), litert)


def _with_version(data: bytes, version: bytes) -> bytes:
    """The file with another version in its metadata."""
    model = View.root(data, IDENTIFIER)
    (buffer,) = (entry.number(1, np.uint32) for entry in model.tables(6) if entry.string(0) == "metabit.train")
    start, _ = model.tables(4)[buffer].span(0)
    return data[:start] + version + data[start + 1 :]


def test_operators_are_built_in_and_a_large_file_of_levels_is_small() -> None:
    """The planes, k bits a synapse, and a graph whose size does not follow from the network's."""
    small, large = (write_tflite_train(network(1, (n, n, 10), 4, 0)) for n in (64, 512))
    codes = [code.number(3, np.int32) for code in View.root(large, IDENTIFIER).tables(1)]
    assert set(codes) <= {op.value[0] for op in Op}
    assert len(large) - len(small) < 1.1 * (4 * (512 * 512 - 64 * 64 + 10 * 448) / 8 + 4 * 448) + 20000


def test_an_export_compares_what_the_engine_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = learners.FEW["rows"]
    written = export_all(frozen, tmp_path, formats=["mbit", "tflite-train"])
    assert "tflite-train" in written.engines
    assert_same(read_file(tmp_path / "model.train.tflite").frozen, frozen)
    lazy = replace(bundle.FORMATS["tflite-train"], learn=lambda data, x, y: read_tflite(data))
    monkeypatch.setitem(bundle.FORMATS, "tflite-train", lazy)
    with pytest.raises(ExportError, match="learns otherwise than the oracle"):
        export_all(frozen, tmp_path / "no", formats=["tflite-train"])
    assert not (tmp_path / "no").exists()


def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    section = page.split("## Learning in TFLite")[1].split("\n## ")[0]
    (example,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    frozen = fresh_network(1, 9, 24, 4)
    (tmp_path / "model.train.tflite").write_bytes(write_tflite_train(frozen))
    x, y = learners.samples(frozen, 20)
    exec(example, {"x": x, "y": y})
    oracle = Oracle(frozen)
    for one, label in zip(x, y, strict=True):
        oracle.learn(one, int(label))
    assert (tmp_path / "learned.mbit").read_bytes() == write_image(learned(frozen, oracle))
    with np.load(tmp_path / "state.npz") as saved:
        assert_same(state_into(frozen, state_of_variables(frozen, dict(saved))), learned(frozen, oracle))
