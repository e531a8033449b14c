"""model.train.onnx: the device's rule in onnxruntime and onnx.reference, its state in every bit after every step."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from frozen_reference import assert_same
from learners import (
    FEW,
    NETWORKS,
    assert_states_equal,
    check_networks_without_a_step,
    check_what_cannot_be_learnt,
    samples,
)
from networks import fresh_network, inputs, network

from metabit.export import ExportError, Frozen, Oracle, bundle, export_all, write_image
from metabit.export.files.onnx_file import read_onnx, write_onnx
from metabit.export.learning import OnnxLearner, read_onnx_train, state_into, state_of, write_onnx_train
from metabit.export.learning.onnx_draws import leaps
from metabit.export.learning.onnx_train import NEXT, PREDICT_ONLY
from metabit.export.oracle.visits import next_state
from metabit.export.vectors import learned
from metabit.runtime import Model

onnx = pytest.importorskip("onnx")
reference_engine = pytest.importorskip("onnx.reference").ReferenceEvaluator
pytest.importorskip("onnxruntime")

networks = pytest.mark.parametrize("frozen", NETWORKS.values(), ids=NETWORKS)
few = pytest.mark.parametrize("frozen", FEW.values(), ids=FEW)


@networks
def test_every_step_is_the_oracle_s_in_every_bit(frozen: Frozen) -> None:
    steps = 200 if frozen.layers[-1].kind == "head" else 40
    x, y = samples(frozen, steps)
    learner, oracle = OnnxLearner(write_onnx_train(frozen)), Oracle(frozen)
    assert_states_equal(learner.state(), state_of(frozen))
    for one, label in zip(x, y, strict=True):
        scores = oracle.scores(one)
        done = oracle.learn(one, int(label))
        got = learner.learn(one[None], [label])
        np.testing.assert_array_equal(got.scores[0], scores)
        assert got.labels[0] == done.predicted and got.report[0].tolist() == [*map(int, done), 0]
        assert_states_equal(learner.state(), state_of(learned(frozen, oracle)))
    assert_same(learner.frozen(), learned(frozen, oracle))
    together = OnnxLearner(write_onnx_train(frozen))
    together.learn(x, y)
    assert_states_equal(together.state(), learner.state())


@few
def test_onnx_reference_and_the_c_runtime_learn_the_same(frozen: Frozen) -> None:
    data = write_onnx_train(frozen)
    x, y = samples(frozen, 5)
    reference = reference_engine(onnx.load_from_string(data))
    given = {reference.input_names[0]: x, "target": y, **state_of(frozen)}
    out = dict(zip(reference.output_names, reference.run(None, given), strict=True))
    learner, model = OnnxLearner(data), Model(write_image(frozen))
    learner.learn(x, y)
    assert_states_equal({name: out[name + NEXT] for name in learner.state()}, learner.state())
    for one, label in zip(inputs(frozen, 5, 1), y, strict=True):
        model.learn_one(one, int(label))
    assert model.image() == write_image(learner.frozen())


@networks
def test_the_checker_accepts_standard_operators_and_the_network_comes_back(frozen: Frozen) -> None:
    data = write_onnx_train(frozen)
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8 and not model.functions
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 18)]
    assert all(name in model.graph.doc_string for name in state_of(frozen))
    assert_same(read_onnx_train(data), frozen)
    assert write_onnx_train(read_onnx_train(data)) == data


def test_a_step_goes_on_where_a_file_was_written() -> None:
    frozen = NETWORKS["64-32-10"]
    x, y = samples(frozen, 8)
    one, two = OnnxLearner(write_onnx_train(frozen)), OnnxLearner(write_onnx_train(frozen))
    one.learn(x, y)
    two.learn(x[:5], y[:5])
    two = OnnxLearner(write_onnx_train(two.frozen()))
    two.learn(x[5:], y[5:])
    assert_states_equal(one.state(), two.state())


def test_what_is_only_predicted_changes_nothing() -> None:
    frozen = NETWORKS["rows"]
    x, y = samples(frozen, 6)
    learner = OnnxLearner(write_onnx_train(frozen))
    learner.learn(x, y)
    before = learner.state()
    learner.scores(x)
    assert_states_equal(learner.state(), before)
    steps, after = learner._run(x[:3], np.array([PREDICT_ONLY, frozen.classes, 10**6]))
    assert_states_equal(after, before)
    assert steps.report[:, 1:].tolist() == [[1, 0, 0, 0, 1]] * 3


def test_what_cannot_be_learnt_is_named() -> None:
    check_what_cannot_be_learnt(lambda frozen: OnnxLearner(write_onnx_train(frozen)))


def test_networks_without_such_a_step_are_refused() -> None:
    check_networks_without_a_step(write_onnx_train)


def test_a_state_of_another_network_is_refused() -> None:
    frozen = NETWORKS["64-32-10"]
    state = state_of(frozen)
    for name, array in state.items():
        with pytest.raises(ExportError, match=f"has no {name}"):
            state_into(frozen, {other: a for other, a in state.items() if other != name})
        with pytest.raises(ExportError, match=f"{name} is float64"):
            state_into(frozen, state | {name: array.astype(float)})
    with pytest.raises(ExportError, match="generator 0 is outside"):
        write_image(state_into(frozen, state | {"generator": np.array(0, np.uint32)}))


def test_other_files_are_refused_by_name() -> None:
    frozen = FEW["levels"]
    data = write_onnx_train(frozen)
    with pytest.raises(ExportError, match="export it in the format onnx-train"):
        read_onnx_train(write_onnx(frozen))
    model = onnx.load_from_string(data)
    next(entry for entry in model.metadata_props if entry.key == "metabit.train").value = "2"
    with pytest.raises(ExportError, match="version '2' is not the 1"):
        read_onnx_train(model.SerializeToString())
    del model.metadata_props[:]
    with pytest.raises(ExportError, match="not one that metabit wrote"):
        read_onnx_train(model.SerializeToString())
    rng = np.random.default_rng(0)
    for end in rng.integers(0, len(data), 40):
        with pytest.raises(ExportError):
            read_onnx_train(data[:end])
    for at in rng.integers(0, len(data), 60):
        with suppress(ExportError):  # a changed byte may leave a sound file
            read_onnx_train(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])


def test_a_large_file_of_levels_is_small() -> None:
    """The planes, k bits a synapse, and a graph whose size does not follow from the network's."""
    small, large = (len(write_onnx_train(network(1, (n, n, 10), 4, 0))) for n in (64, 512))
    assert large - small < 1.1 * (4 * (512 * 512 - 64 * 64 + 10 * 448) / 8 + 4 * 448) + 8000


def test_an_export_compares_what_the_engine_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = FEW["rows"]
    written = export_all(frozen, tmp_path, formats=["mbit", "onnx-train"])
    assert "onnx-train" in written.engines
    assert_same(read_onnx(write_onnx(frozen)), read_onnx_train((tmp_path / "model.train.onnx").read_bytes()))
    lazy = replace(bundle.FORMATS["onnx-train"], learn=lambda data, x, y: read_onnx_train(data))
    monkeypatch.setitem(bundle.FORMATS, "onnx-train", lazy)
    with pytest.raises(ExportError, match="learns otherwise than the oracle"):
        export_all(frozen, tmp_path / "no", formats=["onnx-train"])
    assert not (tmp_path / "no").exists()


def test_leaps_are_draws() -> None:
    bits, z = leaps(5), 2024
    row = z >> np.arange(32) & 1
    for i, matrix in enumerate(bits):
        after = z
        for _ in range(2**i):
            after = next_state(after)
        assert int((row @ matrix % 2) @ (1 << np.arange(32))) == after


def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    section = page.split("## Learning in ONNX")[1].split("\n## ")[0]
    (example,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    frozen = fresh_network(1, 9, 24, 4)
    (tmp_path / "model.train.onnx").write_bytes(write_onnx_train(frozen))
    x, y = samples(frozen, 20)
    names = {"x": x, "y": y}
    exec(example, names)
    oracle = Oracle(frozen)
    for one, label in zip(x, y, strict=True):
        oracle.learn(one, int(label))
    assert (tmp_path / "learned.mbit").read_bytes() == write_image(learned(frozen, oracle))
