"""ONNX files beside the packed one: without functions, hostile ones, and their sizes."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from frozen_reference import assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import conv, fresh_network, gates_network, inputs, network, ternary, voting, windowed

from metabit.export import ExportError, Frozen, HeadRows, Oracle
from metabit.export.files.onnx_file import read_onnx, run_onnx, write_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

NETWORKS = {
    "dense": ternary(network(1, (20, 33, 9, 4), k=2)),
    "dense on bytes": windowed(2, (1, 1, 83), (), (21, 5), "uint8", k=8),
    "convolutions of odd sizes": windowed(3, (9, 8, 3), (conv(33, 3, 2), conv(50, 3, 1, True, 2)), (4,), k=3),
    "graded": voting(4, 20, 2, 40, 10, k=4),
    "graded above convolutions": voting(
        5, planes=2, units=9, below=windowed(6, (6, 6, 2), (conv(4, 3, 1, True, 2),), (3,), "uint8", learns=(False,))
    ),
    "graded, 1 bit": voting(7, 21, 1, 33, 5, k=1, learns=False),
    "gates, levels": gates_network(8, last="levels", k=3),
    "gates, head": gates_network(9, kind="int16", spare=1),
    "gates, head of rows": gates_network(10, spare=1, rows=HeadRows(3, 1, 2), row_count=9),
    "triples": fresh_network(11, spare=1),
    "triples, int16": fresh_network(12, takes="int16"),
}
for layer in NETWORKS["dense on bytes"].layers[-1:] + NETWORKS["graded, 1 bit"].layers[-1:]:
    layer.mul[:] = -1 - abs(layer.mul)  # every gain is negative
NETWORKS["gates, levels"].layers[0].mul[:] = -1 - abs(NETWORKS["gates, levels"].layers[0].mul // 2)
networks = pytest.mark.parametrize("frozen", NETWORKS.values(), ids=NETWORKS)


def sample(frozen: Frozen, n: int) -> tuple[np.ndarray, np.ndarray]:
    x = frozen.unpack(inputs(frozen, n))
    return x, np.array([Oracle(frozen).scores(one) for one in x])


@networks
def test_every_kind_is_exact_with_functions_and_without(frozen: Frozen) -> None:
    from onnx.reference import ReferenceEvaluator

    x, want = sample(frozen, 5)
    for inline in (False, True):
        data = write_onnx(frozen, inline=inline)
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model, full_check=True)
        assert bool(model.functions) is not inline
        np.testing.assert_array_equal(run_onnx(data, x), want)
        evaluator = ReferenceEvaluator(model)
        scores, label = evaluator.run(["scores", "label"], {evaluator.input_names[0]: x})
        np.testing.assert_array_equal(scores, want)
        np.testing.assert_array_equal(label, want.argmax(1))
        assert_same(read_onnx(data), frozen)


def test_values_without_functions_are_named_by_layer() -> None:
    model = onnx.load_from_string(write_onnx(NETWORKS["dense"], inline=True))
    assert {one.domain for one in model.opset_import} == {""}
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)
    assert {node.name.partition(".")[0] for node in model.graph.node} == {
        "encode",
        "layer0",
        "layer1",
        "layer2",
        "codes",
        "scores",
        "label",
    }
    tables = [one.name for one in model.graph.initializer if one.data_type == onnx.TensorProto.INT8]
    assert tables == ["layer0.signs_of_byte"]  # once for all layers


# Sizes


def test_a_level_costs_its_bits() -> None:
    """784-512-512-10, the file of one bit a weight at most 1.3 times the bare weights; k bits cost k - 1 more bits a synapse."""
    sizes, synapses = {}, 784 * 512 + 512 * 512 + 512 * 10
    for k in (1, 2, 4, 8):
        frozen = network(1, (784, 512, 512, 10), k=k, planes=1, learns=(k > 1,) * 3)
        for layer in frozen.layers if k > 1 else ():
            layer.rule.strengthen[:] = 65535  # as the paper's rule has it
        sizes[k] = len(write_onnx(frozen))
    assert sizes[1] <= 1.3 * synapses / 8
    for k in (2, 4, 8):
        assert 0 <= sizes[k] - sizes[1] - (k - 1) * synapses / 8 < 2048


# Hostile files

FILES = [write_onnx(frozen) for frozen in NETWORKS.values()]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(FILES),
    st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 2**20),
    st.booleans(),
)
def test_a_damaged_file_is_refused_or_read_but_never_a_traceback(
    whole: bytes, hits: list[tuple[int, int]], length: int, text: bool
) -> None:
    """text: the description at the end of the file is hit, by the characters of JSON."""
    data, begin = bytearray(whole), whole.index(b'{"c') if text else 0
    for at, value in hits:
        data[begin + at % (len(data) - begin)] = b'0123456789-,:"[]{}etrufalsn.'[value % 28] if text else value
    for damaged in (data, data[: length % len(data)]):
        with suppress(ExportError):
            read_onnx(bytes(damaged))


def changed(**changes: Any) -> bytes:
    """A file whose first initialiser has these fields."""
    model = onnx.load_from_string(FILES[0])
    tensor = model.graph.initializer[0]
    for name, value in changes.items():
        tensor.ClearField(name)
        if isinstance(value, list):
            getattr(tensor, name).extend(value)
        else:
            setattr(tensor, name, value)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not an ONNX file: its 0 bytes have no version or no graph"),
        (FILES[0][:-5], "not an ONNX file, or a truncated one"),
        (b"\x3a\xff\xff\xff\xff\x07", "not an ONNX file, or a truncated one of 6 bytes"),
        (changed(dims=[2**40, 2**20]), r"encode.thresholds of shape \[1099511627776, 1048576\] has 40 bytes of data"),
        (changed(dims=[2**62] * 9), "has 40 bytes of data"),
        (changed(dims=[-2, -20]), r"encode.thresholds of shape \[-2, -20\] has"),
        (changed(raw_data=bytes(7)), r"encode.thresholds of shape \[2, 20\] has 7 bytes of data"),
        (changed(data_location=1), "encode.thresholds of this ONNX file lies in another file"),
        (changed(data_type=8), "incomplete or damaged: KeyError"),
        (changed(data_type=99), "incomplete or damaged: KeyError"),
        (changed(dims=[40]), r"should be uint8 \(-1, -1\) but is uint8 \(40,\)"),
    ],
    ids=range(11),
)
def test_a_hostile_file_is_refused_and_allocates_nothing_large(data: bytes, sentence: str) -> None:
    tracemalloc.start()
    with pytest.raises(ExportError, match=sentence):
        read_onnx(data)
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()


def test_a_head_of_a_hostile_width_allocates_nothing_large() -> None:
    model = onnx.load_from_string(write_onnx(NETWORKS["gates, head"]))
    for tensor in model.graph.initializer:
        if tensor.name == "layer1.weights":
            tensor.dims[:] = [1, len(tensor.raw_data)]
            tensor.dims[1], tensor.raw_data = 100_000, bytes(100_000)
    tracemalloc.start()
    with pytest.raises(ExportError, match="layer1 has 100000 values, a head has at most 128"):
        read_onnx(model.SerializeToString())
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()


def test_a_model_of_another_tool_is_called_that() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[1] x) => (float[1] y) { y = Neg (x) }'
    )
    with pytest.raises(ExportError, match="this is an ONNX model of an unknown producer, not one that metabit wrote"):
        read_onnx(model.SerializeToString())
    model.producer_name, model.producer_version = "pytorch", "2.13"
    with pytest.raises(
        ExportError,
        match="an ONNX model of pytorch 2.13, .*: metabit import reads binary networks of Brevitas and FINN",
    ):
        read_onnx(model.SerializeToString())
