"""Files of Larq Compute Engine: equal integers in its interpreter, the whole network back, one sentence where it cannot run."""

from __future__ import annotations

import platform
import sys
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frozen_reference import assert_same, random_frozen, random_input, reference_scores
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import any_windowed, conv, fresh_network, gates_network, inputs, network, voting, windowed
from random_checkpoint import checkpoint

from metabit.export import Cuts, ExportError, Frozen, HeadRows, MissingExtra, Oracle, VisitOptions, export_all, freeze
from metabit.export.files import lce_runtime
from metabit.export.files.lce_file import run_lce, write_lce
from metabit.export.files.tflite_file import RUNTIMES, read_tflite, run_tflite, write_tflite
from metabit.export.files.tflite_schema import read_constants

pytest.importorskip("flatbuffers")

runs = pytest.mark.skipif(
    find_spec("larq_compute_engine") is None or np.__version__ >= "2", reason="larq_compute_engine is absent, or numpy is 2"
)  # fmt: skip


def negative_gains(k: int) -> Frozen:
    """Every unit of every layer has a negative gain."""
    random = checkpoint((19, 33, 50, 5), planes=2, seed=k)
    for name in [name for name in random.tensors if name.endswith("norm.weight")]:
        random.tensors[name] = -np.abs(random.tensors[name])
    return freeze(random, VisitOptions(bits=k))


def with_cuts(base: Frozen) -> Frozen:
    cuts = np.random.default_rng(0).integers(-32768, 32768, (2, 9)).astype(np.int16)
    return replace(base, encode=Cuts("int16", cuts))


NETWORKS = {
    "one layer on bits": network(1, (70, 3), planes=0),
    "cuts": with_cuts(network(2, (9, 20, 4), planes=2)),
    "channels 33 and 50": windowed(3, (11, 10, 3), (conv(33, 3, 2), conv(50, 3, 1, True, 2)), (40,), "3"),
    "channels 64, even kernel": windowed(4, (9, 9, 5), (conv(64, 4, 1, True, 3), conv(32, 2)), (7, 5), "bits"),
    "bytes": windowed(5, (9, 8, 3), (conv(33, 3, 1, True), conv(6, 3, 3)), (9,), "uint8"),
    "dense on bytes": windowed(6, (1, 1, 83), (), (21, 5), "uint8"),
    "every edge lies outside": windowed(7, (1, 2, 3), (conv(6, 5, 1, True),), (4,), "bits"),
    "levels are kept": windowed(8, (6, 6, 2), (conv(4, 3),), (3,), "uint8", frozen_bits=3),
    **{f"negative gains, {k} bits": negative_gains(k) for k in (2, 3, 4, 8)},
    "output levels": gates_network(9, 9, 3, 33, 3, "levels", k=3, learns=True, shared=True, kind="int16", scaled=True),
    "gates of packed bits": gates_network(10, 37, 0, 40, 5),
    "rows": gates_network(11, 13, 3, 8, 4, spare=1, rows=HeadRows(3, 1, 2), row_count=9),
    "graded": voting(12, 21, 3, 33, 5, k=3),
    "graded, 1 bit": voting(13, 40, 2, 17, k=1, learns=False),
    "graded, packed bits": voting(14, 19, 2, 7, 3, k=8, source="bits"),
    "graded, 2 bits": voting(15, 300, 1, 50, k=2),
    "graded above signs": voting(16, planes=2, below=network(17, (9, 20, 33, 64, 4), learns=(False,) * 4)),
    "graded above a convolution": voting(18, planes=1, below=windowed(19, (6, 6, 2), (conv(4, 3),), (3,), learns=(False,))),
    "triples": fresh_network(20),
    "triples, int16": fresh_network(21, takes="int16", spare=1),
}  # fmt: skip
networks = pytest.mark.parametrize("frozen", NETWORKS.values(), ids=NETWORKS)


def sample(frozen: Frozen, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x, oracle = frozen.unpack(inputs(frozen, n, seed)), Oracle(frozen)
    return x, np.array([oracle.scores(one) for one in x])


@runs
@networks
def test_scores_are_the_oracles(frozen: Frozen) -> None:
    x, want = sample(frozen, 12)
    scores = run_lce(write_lce(frozen), x)
    assert scores.dtype == np.int32
    np.testing.assert_array_equal(scores, want)


@networks
def test_the_network_comes_back(frozen: Frozen) -> None:
    assert_same(read_tflite(write_lce(frozen)), frozen)
    assert write_lce(read_tflite(write_lce(frozen))) == write_lce(frozen)


GRADED_AND_TRIPLES = [name for name in NETWORKS if name.startswith(("graded", "triples"))]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_tflite_has_graded_units_and_units_from_nothing(runtime: str) -> None:
    pytest.importorskip(RUNTIMES[runtime])
    for name in GRADED_AND_TRIPLES:
        frozen, (x, want) = NETWORKS[name], sample(NETWORKS[name], 12)
        data = write_tflite(frozen)
        np.testing.assert_array_equal(run_tflite(data, x, runtime), want, name)
        assert_same(read_tflite(data), frozen)


@runs
def test_a_first_layer_that_takes_signs() -> None:
    frozen = random_frozen((250, 64, 65, 2), planes=0, on_off=False, bits=(5, 6, 7))
    x = random_input(frozen, 8)
    np.testing.assert_array_equal(run_lce(write_lce(frozen), x), reference_scores(frozen, x))


@runs
@pytest.mark.parametrize("name", ["channels 33 and 50", "bytes", "graded above a convolution"])
def test_all_kernels_agree(name: str) -> None:
    x, want = sample(NETWORKS[name], 3)
    engine = lce_runtime._interpreter_class()
    for reference, indirect in ((False, False), (True, False), (False, True)):
        kernel = engine(write_lce(NETWORKS[name]), 1, reference, indirect, False)
        np.testing.assert_array_equal([kernel.predict([one[None]])[0][0] for one in x], want)


@runs
@settings(max_examples=30, deadline=None)
@given(any_windowed(), st.integers(0, 99))
def test_any_network_of_windows_is_exact(frozen: Frozen, seed: int) -> None:
    x, want = sample(frozen, 2, seed)
    np.testing.assert_array_equal(run_lce(write_lce(frozen), x), want)


@pytest.mark.parametrize("write", [write_lce, write_tflite])
def test_a_weight_takes_a_bit_and_a_level_the_rest(write: Any) -> None:
    bare = (784 * 512 + 512 * 512 + 512 * 10) // 8
    small, large = (len(write(random_frozen((784, 512, 512, 10), bits=k, seed=1))) for k in (1, 4))
    assert small < 1.25 * bare
    assert 0 <= large - small - 3 * bare < 2048


def test_bit_1_of_a_filter_stands_for_minus_one() -> None:
    """Channel c of a window is bit c of a word. A unit gives +1 with as many unlike bits as half the distance of its threshold."""
    frozen = windowed(1, (3, 3, 33), (conv(2, 2),), (3,), "bits")
    layer = frozen.layers[0]
    arrays = read_constants(write_lce(frozen))[1]
    words = arrays["layer0.filter"]
    assert words.shape == (2, 2, 2, 2) and words.dtype == np.int32
    bits = np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little")
    np.testing.assert_array_equal(bits[..., :33] == 0, (layer.hidden >= 0).reshape(2, 2, 2, 33))
    assert not bits[..., 33:].any()
    unlike = np.arange(133)[:, None]  # of 132 bits: w·s = 132 - 2 unlike, and the bits' sum is (w·s + S) / 2
    sums = (132 - 2 * unlike + layer.weights.sum(1, dtype=np.int64)) / 2
    np.testing.assert_array_equal(sums >= layer.theta, unlike <= arrays["layer0.most_unlike"])


def test_a_runtime_of_tflite_tells_the_hidden_state() -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter
    frozen = NETWORKS["channels 33 and 50"]
    data = write_lce(frozen)
    told = interpreter(model_content=data).get_signature_runner("hidden_state")()
    assert sorted(told) == ["layer0.threshold", "layer1.threshold", "layer2.hidden_planes"]
    np.testing.assert_array_equal(told["layer1.threshold"], frozen.layers[1].theta)


@runs
def test_one_export_and_nothing_is_left_of_the_stand_in(tmp_path: Path) -> None:
    frozen = NETWORKS["bytes"]
    written = export_all(frozen, tmp_path, formats=["mbit", "lce"], inputs=5, steps=2)
    assert written.engines == ("numpy", "lce")
    assert_same(read_tflite((tmp_path / "model.lce.tflite").read_bytes()), frozen)
    assert "larq_compute_engine" not in sys.modules
    with pytest.raises(ExportError, match=r"the input must be uint8 \(n, 216\), not float64 \(2, 216\)"):
        run_lce(write_lce(frozen), np.zeros((2, 216)))


# Refusals


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=4), st.integers(0, 2**20))
def test_a_damaged_file_is_refused_or_read_but_never_a_traceback(hits: list[tuple[int, int]], length: int) -> None:
    data = bytearray(DAMAGEABLE)
    for at, flip in hits:
        data[at % len(data)] ^= flip
    for damaged in (data, data[: length % len(data)]):
        with suppress(ExportError):
            read_tflite(bytes(damaged))


DAMAGEABLE = write_lce(windowed(1, (3, 3, 2), (conv(3, 2),), (3,)))


def test_a_file_of_another_tool_is_called_that() -> None:
    foreign = DAMAGEABLE.replace(b"\x07\0\0\0metabit", b"\x07\0\0\0tensors")
    with pytest.raises(
        ExportError,
        match="this TFLite file of another tool, 'tensors', was not written by metabit: metabit import reads",
    ):
        read_tflite(foreign)
    with pytest.raises(ExportError, match="does not begin as a TFL3 flatbuffer"):
        read_tflite(b"\x08\x07onnx")


@pytest.mark.parametrize(
    ("python", "machine", "numpy", "found", "sentence"),
    [
        ((3, 11), "x86_64", "1.26.4", False, r"needs larq-compute-engine: pip install 'metabit\[lce\]'$"),
        ((3, 13), "x86_64", "2.4.6", False, "wheels for Python 3.10 to 3.12 on x86-64 and macOS, and this is Python .* on x86_64:"),
        ((3, 11), "riscv64", "1.26.4", False, "this is Python .* on riscv64: export the image there, or leave out the format lce$"),
        ((3, 12), "x86_64", "2.4.6", True, "reads arrays of numpy 1, and this is 2.4.6: pip install 'numpy<2', or leave out"),
    ],
)  # fmt: skip
def test_where_it_cannot_run_one_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch, python: tuple[int, int], machine: str, numpy: str, found: bool, sentence: str
) -> None:
    spec = find_spec("json") if found else None  # any package that has a folder
    monkeypatch.setattr(lce_runtime, "find_spec", lambda _: spec)
    monkeypatch.setattr(sys, "version_info", (*python, 0))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(np, "__version__", numpy)
    with pytest.raises(MissingExtra, match="^metabit.export needs larq-compute-engine") as caught:
        lce_runtime._interpreter_class.__wrapped__()
    assert caught.match(sentence)
