"""model.micro.tflite: the oracle's integers in TFLite Micro and in both packages of TFLite, and the whole network back."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import any_windowed, conv, fresh_network, gates_network, inputs, network, voting, windowed

from metabit.export import (
    ExportError,
    Frozen,
    HeadRows,
    MissingExtra,
    Oracle,
    export_all,
    read_file,
    read_image,
    write_image,
)
from metabit.export.files.flatbuffer import View
from metabit.export.files.interchange import IMAGE
from metabit.export.files.micro_file import Micro, run_micro, write_micro
from metabit.export.files.tflite_file import RUNTIMES, read_tflite, run_tflite, write_tflite
from metabit.export.files.tflite_schema import IDENTIFIER, Op, read_constants
from metabit.runtime import Model

pytest.importorskip("flatbuffers")

INSTALLED = [name for name, module in RUNTIMES.items() if find_spec(module.partition(".")[0])]
micro = pytest.mark.skipif(
    find_spec("tflite_micro") is None, reason="tflite_micro is absent: it has wheels for Linux on x86-64"
)


def learnt(frozen: Frozen) -> Frozen:
    """The network after some steps on random samples."""
    model = Model(write_image(frozen))
    for i, row in enumerate(inputs(frozen, 50, 5)):
        model.learn_one(row, i % frozen.classes)
    return read_image(model.image())


def with_thresholds(frozen: Frozen, most: int) -> Frozen:
    first = frozen.layers[0]
    theta = np.random.default_rng(0).integers(-most, most, first.units).astype(np.int32)
    return replace(frozen, layers=(replace(first, theta=theta, high=2047), *frozen.layers[1:]))  # type: ignore[call-arg]


NETWORKS = {
    "dense": network(1),
    "dense on packed bits": network(2, (40, 50, 33, 10), planes=0),
    "one layer": network(3, (40, 10), planes=0),
    "channels 33 and 50": windowed(3, (11, 10, 3), (conv(33, 3, 2), conv(50, 3, 1, True, 2)), (40,), "3"),
    "padded and pooled": windowed(4, (9, 9, 3), (conv(32, 5, 1, True, 3), conv(3, 3, 1, True)), (20,), "uint8"),
    "packed pixels": windowed(5, (7, 9, 3), (conv(5, 3, 1, True, 2), conv(9, 2)), (6, 4), "bits"),
    "output on a convolution": windowed(6, (6, 6, 2), (conv(4, 3),), (3,), "uint8", frozen_bits=3),
    "dense on bytes": windowed(7, (1, 1, 83), (), (21, 5), "uint8"),
    "every edge lies outside": windowed(8, (1, 2, 3), (conv(6, 5, 1, True),), (4,), "bits"),
    "output levels of 8 bits": gates_network(9, 9, 3, 100, 3, "levels", k=8, learns=True, kind="int16", scaled=True),
    "gates of packed bits": gates_network(10, 37, 0, 40, 5),
    "head on 64 gates": gates_network(11, units=64, classes=12, samples=200),
    "rows": gates_network(12, 13, 3, 8, 4, spare=1, rows=HeadRows(3, 1, 2), row_count=9),
    "cuts that all share, spare classes": gates_network(13, shared=True, spare=2, kind="int16"),
    "graded": voting(14, 21, 3, 33, 5, k=3),
    "graded, sums beyond int16": voting(15, 2048, 8, 9, 4, k=1, learns=False, source="bits"),
    "graded, large thresholds": with_thresholds(voting(21, 30, 2, 300, 3, learns=False), 2**18),
    "graded on a convolution": voting(16, below=windowed(5, (6, 6, 2), (conv(4, 3),), (3,), "uint8", learns=(False,))),
    "graded on dense": voting(17, below=network(5, (20, 24, 24, 4), learns=(False,) * 3)),
    "triples of uint8": learnt(fresh_network(18)),
    "triples of int16, steep shifts": learnt(fresh_network(19, takes="int16", spare=1)),
    "triples of numbers": learnt(fresh_network(20, takes="float")),
}  # fmt: skip
networks = pytest.mark.parametrize("frozen", NETWORKS.values(), ids=NETWORKS)


def agree(frozen: Frozen, n: int, seed: int = 0) -> None:
    data, x = write_micro(frozen), frozen.unpack(inputs(frozen, n, seed))
    want = np.array([Oracle(frozen).scores(one) for one in x]).reshape(n, frozen.classes)
    if find_spec("tflite_micro"):
        np.testing.assert_array_equal(Micro(data).scores(x), want)
    for name in INSTALLED:
        np.testing.assert_array_equal(run_tflite(data, x, name), want)


@networks
def test_every_engine_computes_the_oracles_scores(frozen: Frozen) -> None:
    agree(frozen, 6)


@networks
def test_the_network_comes_back(frozen: Frozen) -> None:
    data = write_micro(frozen)
    assert write_image(read_tflite(data)) == write_image(frozen)
    assert read_constants(data)[0][IMAGE].tobytes() == write_image(frozen)


@settings(max_examples=12, deadline=None)
@given(any_windowed(), st.integers(0, 99))
def test_any_network_of_windows_is_exact(frozen: Frozen, seed: int) -> None:
    agree(frozen, 2, seed)


def test_the_shifts_are_the_steep_ones() -> None:
    first = NETWORKS["triples of int16, steep shifts"].layers[0]
    assert first.feature_shift.max() >= 20  # type: ignore[union-attr]


@micro
def test_int8_goes_in_and_int32_comes_out_with_the_lowest_label() -> None:
    from tflite_micro.python.tflite_micro import runtime

    frozen = network(8, (83, 33, 7), planes=3)
    frozen.layers[-1].mul[:] = 0  # type: ignore[union-attr]
    frozen.layers[-1].add[:] = [1, 5, 2, 5, 5, 0, -1]  # type: ignore[union-attr]
    interpreter = runtime.Interpreter.from_bytes(write_micro(frozen), arena_size=1 << 18)
    x = inputs(frozen, 1)
    interpreter.set_input((x.astype(np.int16) - 128).astype(np.int8), 0)
    interpreter.invoke()
    scores, label = interpreter.get_output(0), interpreter.get_output(1)
    assert scores.dtype == label.dtype == np.int32
    np.testing.assert_array_equal(scores, frozen.layers[-1].add[None])  # type: ignore[union-attr]
    np.testing.assert_array_equal(label, [1])


@micro
def test_an_arena_that_is_too_small_is_named() -> None:
    with pytest.raises(ExportError, match="TFLite Micro does not take this file in an arena of 1000 bytes"):
        Micro(write_micro(NETWORKS["one layer"]), 1000)


def test_equal_networks_give_equal_bytes() -> None:
    assert write_micro(network(1)) == write_micro(network(1))


def test_an_export_writes_and_runs_it(tmp_path: Path) -> None:
    written = export_all(NETWORKS["graded"], tmp_path, formats=["mbit", "micro"], inputs=5, steps=2)
    assert written.engines == ("numpy", "micro") and written.files["model.micro.tflite"] > written.files["model.mbit"]


@pytest.mark.parametrize("formats", ["micro", "mbit,micro"])
def test_the_command_writes_a_file_that_goes_on_as_the_network(formats: str, tmp_path: Path) -> None:
    import command_line

    source, out = tmp_path / "learned.mbit", tmp_path / "out"
    source.write_bytes(write_image(learnt(NETWORKS["rows"])))
    assert command_line.run("export", source, "-o", out, "--formats", formats) == 0
    assert (out / "model.mbit").exists() == ("mbit" in formats)
    assert write_image(read_file(out / "model.micro.tflite").frozen) == source.read_bytes()
    assert command_line.run("inspect", out / "model.micro.tflite") == 0


def test_without_tflite_micro_tflite_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = NETWORKS["one layer"]
    monkeypatch.setitem(sys.modules, "tflite_micro.python.tflite_micro.runtime", None)
    with pytest.raises(MissingExtra, match="tflite-micro"):
        Micro(write_micro(frozen))
    x = frozen.unpack(inputs(frozen, 3))
    np.testing.assert_array_equal(run_micro(write_micro(frozen), x), [Oracle(frozen).scores(one) for one in x])


@pytest.mark.parametrize("run", [run_micro, run_tflite])
def test_other_inputs_are_refused(run: object) -> None:
    data = write_micro(NETWORKS["one layer"])
    with pytest.raises(ExportError, match=r"bits must be uint8 \(n, 40\), not int8 \(1, 40\)"):
        run(data, np.zeros((1, 40), np.int8))  # type: ignore[operator]
    assert run(data, np.zeros((0, 40), np.uint8)).shape == (0, 10)  # type: ignore[operator]


def test_a_runtime_is_chosen_by_name() -> None:
    with pytest.raises(
        ExportError, match="unknown TFLite runtime 'tensorflow': choose from tflite-runtime, ai-edge-litert"
    ):
        run_tflite(b"", np.zeros((1, 1), np.uint8), "tensorflow")


def test_a_network_that_no_image_holds_is_refused() -> None:
    base = network(3, (40, 10), planes=0)
    with pytest.raises(ExportError, match="layer 0 takes signs"):
        write_micro(replace(base, layers=(replace(base.layers[0], takes="signs"),)))


PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
MEASURED = {
    "784-512-512-10, 1 bit": network(1, (784, 512, 512, 10), k=1, planes=1, learns=(False,) * 3),
    "784-512-512-10, 4 bits": network(1, (784, 512, 512, 10), k=4, planes=1),
    "28 × 28 bytes, convolutions of 16 and 32, dense 64-10": windowed(
        1, (28, 28, 1), (conv(16, 3, 1, True, 2), conv(32, 3, 1, True, 2)), (64, 10), "uint8"
    ),
    "784-192-10, graded, 4 bits": voting(1, 784, 1, 192, 10, k=4),
    "64 features in 3 cuts, 64 gates, a head of 10 classes": gates_network(11, 64, 3, 64, 10, samples=200),
    "9 features, 24 units from nothing, a head of 4 classes": fresh_network(18),
}


@pytest.mark.parametrize("name", MEASURED)
def test_the_page_has_the_measured_bytes(name: str) -> None:
    frozen, (row,) = MEASURED[name], re.findall(rf"^\| {re.escape(name)} \| (.*) \|$", PAGE, re.MULTILINE)
    *told, arena = (int(cell.replace(",", "")) for cell in row.split(" | "))
    data = write_micro(frozen)
    assert told == [len(write_image(frozen)), len(write_tflite(frozen)), len(data)]
    if find_spec("tflite_micro"):
        Micro(data, arena)


def operators(frozen: Frozen) -> set[str]:
    names = {op.value[0]: op.name for op in Op}
    return {names[code.number(3, np.int32)] for code in View.root(write_micro(frozen), IDENTIFIER).tables(1)}


def test_the_page_names_the_operators_of_each_kind() -> None:
    rows = dict(re.findall(r"^\| (every|with [\w ]+) \| (`[A-Z].*) \|$", PAGE, re.MULTILINE))
    rows = {name: set(re.findall(r"`(\w+)`", row)) for name, row in rows.items()}
    every = rows.pop("every")
    kinds = {"convolutions": "conv", "gates": "gates", "graded units": "graded", "units from nothing": "triples"}
    found = set()
    for frozen in NETWORKS.values():
        known = {layer.kind for layer in frozen.layers}
        allowed = every | (rows["with a thermometer code or cuts"] if frozen.encode else set())
        for name, kind in kinds.items():
            allowed |= rows[f"with {name}"] if kind in known else set()
        assert operators(frozen) <= allowed
        found |= operators(frozen)
    assert found == every.union(*rows.values())


def test_an_export_names_the_engine_that_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("tflite_micro"):
        assert export_all(network(1), tmp_path / "here", formats=("mbit", "micro")).engines == ("numpy", "micro")
    monkeypatch.setitem(sys.modules, "tflite_micro.python.tflite_micro.runtime", None)
    assert export_all(network(1), tmp_path / "absent", formats=("mbit", "micro")).engines == ("numpy", "tflite")
