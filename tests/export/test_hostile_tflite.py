"""TFLite files that are truncated, changed or made to harm: one ExportError, nothing large in memory, and none reaches TFLite."""

from __future__ import annotations

import json
import tracemalloc
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import conv, gates_network, inputs, network, windowed

from metabit.export import ExportError, Frozen
from metabit.export.files.flatbuffer import Table, serialize
from metabit.export.files.interchange import FACTS, facts, named_tensors, rebuild
from metabit.export.files.lce_file import write_lce
from metabit.export.files.micro_file import run_micro, write_micro
from metabit.export.files.tflite_file import read_tflite, run_tflite, write_tflite
from metabit.export.files.tflite_schema import IDENTIFIER, Model, Op
from metabit.export.frozen import MAX_IMAGE

pytest.importorskip("flatbuffers")
pytest.importorskip("tflite_runtime.interpreter" if np.__version__ < "2" else "ai_edge_litert.interpreter")

NETWORKS = {
    "dense": network(1, (6, 5, 3)),
    "conv": windowed(2, (3, 3, 2), (conv(3, 2),), (3,), "uint8"),
    "head": gates_network(3, 5, 2, 4, 3),
    "levels": gates_network(4, 5, 2, 4, 3, "levels", learns=True),
}
WRITERS = {"tflite": write_tflite, "micro": write_micro, "lce": write_lce}
FILES = {(kind, name): write(frozen) for kind, write in WRITERS.items() for name, frozen in NETWORKS.items()}


def refused(data: bytes) -> str:
    """The sentence with which a file is refused, after a look at the memory that it took."""
    tracemalloc.start()
    try:
        with pytest.raises(ExportError) as error:
            read_tflite(data)
        assert tracemalloc.get_traced_memory()[1] < 200_000 + 60 * len(data)
    finally:
        tracemalloc.stop()
    return str(error.value)


def file(graphs: list[Table], buffers: list[Table], pages: list[Table], **more: Any) -> bytes:
    """A TFLite file of these tables."""
    return serialize(
        {0: np.uint32(3), 1: [], 2: graphs, 3: more.get("said", "metabit"), 4: buffers, 6: pages}, IDENTIFIER
    )


def described(page: str, frozen: Frozen = NETWORKS["dense"]) -> bytes:
    """A file of ours with another description of its network."""
    model = Model()
    graph = model.subgraph("infer")
    for name, array in named_tensors(frozen).items():
        graph.constant(name, array)
    model.signature("infer", graph, [], [])
    model.metadata(FACTS, page)
    return model.serialize()


@pytest.mark.parametrize("data", FILES.values(), ids=map(str, FILES))
def test_every_truncated_file_is_called_damaged(data: bytes) -> None:
    for length in sorted({*range(0, len(data), 97), *range(len(data) - 8, len(data))}):
        if any(data[length:]):  # else nothing but padding is missing
            with pytest.raises(ExportError, match="damaged|does not begin"):
                read_tflite(data[:length])


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(FILES)),
    st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_a_changed_file_is_refused_or_is_another_network(which: tuple[str, str], hits: list[tuple[int, int]]) -> None:
    data = bytearray(FILES[which])
    for at, flip in hits:
        data[at % len(data)] ^= flip
    kind, name = which
    with suppress(ExportError):
        read_tflite(bytes(data))
    if kind != "lce":
        x = NETWORKS[name].unpack(inputs(NETWORKS[name], 1))
        for run in (run_tflite, run_micro):
            with suppress(ExportError):  # never the end of the process
                assert run(bytes(data), x).shape[0] == 1


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(FILES)), st.integers(0, 2**20), st.sampled_from([0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1])
)
def test_a_length_or_an_offset_can_be_anything(which: tuple[str, str], at: int, number: int) -> None:
    data = bytearray(FILES[which])
    place = at % (len(data) // 4) * 4
    data[place : place + 4] = number.to_bytes(4, "little")
    with suppress(ExportError):
        read_tflite(bytes(data))


def test_operators_that_do_not_belong_to_the_network_are_not_run() -> None:
    frozen = NETWORKS["dense"]
    data, x = write_tflite(frozen), frozen.unpack(inputs(frozen, 1))
    code = bytes([Op.GREATER_EQUAL.value[0]])
    changed = [
        data[:i] + bytes([Op.FLOOR_DIV.value[0]]) + data[i + 1 :] for i in range(len(data)) if data[i : i + 1] == code
    ]
    assert changed
    for one in changed:
        with pytest.raises(ExportError, match="this TFLite file is damaged, or of another version of metabit"):
            run_tflite(one, x)


def test_a_sound_file_of_another_tool_is_called_that() -> None:
    tensor: Table = {0: np.array([1], np.int32), 1: np.int8(9), 2: np.uint32(1), 3: "x" * 5000}
    graph: Table = {0: [tensor], 1: np.array([0], np.int32), 2: np.array([0], np.int32), 3: []}
    for said in ("MLIR Converted.", ""):
        with pytest.raises(ExportError, match=f"TFLite file of another tool, '{said}', was not written by metabit"):
            read_tflite(file([graph], [{}, {0: b"\1"}], [], said=said))


def test_tables_that_share_one_large_vector_take_no_memory_for_each() -> None:
    text, many = b"[" * 4_000, 100
    page: Table = {0: "a" * 9000, 1: np.uint32(1)}
    data = bytearray(file([], [{}, {0: text}], [page] * 2))
    assert "another tool" in refused(bytes(data))
    table: Table = {0: np.array([len(text)], np.int32), 1: np.int8(9), 2: np.uint32(1), 3: "t"}
    shared = shared_tables(table, text, many)
    assert "that list" in refused(shared)


def shared_tables(tensor: Table, content: bytes, many: int) -> bytes:
    """`many` subgraphs that are one subgraph of `many` tensors, which are one tensor."""
    flatbuffers = pytest.importorskip("flatbuffers")
    builder = flatbuffers.Builder(1024)
    from metabit.export.files.flatbuffer import _write, _write_table

    def vector(offset: int, count: int) -> int:
        builder.StartVector(4, count, 4)
        for _ in range(count):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    buffers = _write(builder, [{}, {0: content}])
    tensors = vector(_write_table(builder, tensor), many)
    builder.StartObject(5)
    builder.PrependUOffsetTRelativeSlot(0, tensors, 0)
    graphs = vector(builder.EndObject(), many)
    builder.StartObject(8)
    builder.PrependUOffsetTRelativeSlot(2, graphs, 0)
    builder.PrependUOffsetTRelativeSlot(4, buffers, 0)
    builder.Finish(builder.EndObject(), IDENTIFIER)
    return bytes(builder.Output())


def test_a_list_of_many_tables_is_not_begun() -> None:
    assert "a list of 70000 tables; metabit reads up to 65536" in refused(shared_tables({}, b"", 70_000))


def test_a_table_that_is_its_own_child_ends() -> None:
    data = bytearray(file([{0: [{}]}], [{}], []))
    root = int.from_bytes(data[:4], "little")
    for place in range(8, len(data) - 3, 4):  # every offset in turn refers to the root, as far as offsets can
        if root > place:
            looped = bytes(data[:place]) + (root - place).to_bytes(4, "little") + bytes(data[place + 4 :])
            with suppress(ExportError):
                read_tflite(looped)


def layer(frozen: Frozen, i: int = 0, **change: Any) -> str:
    page = json.loads(facts(frozen))
    page["layers"][i].update(change)
    return json.dumps(page)


def settings_of(frozen: Frozen, **change: Any) -> str:
    page = json.loads(facts(frozen))
    return layer(frozen, 1, settings=page["layers"][1]["settings"] | change)


@pytest.mark.parametrize(
    "page",
    [
        "[" * 100_000,
        "9" * 10_000,
        layer(NETWORKS["dense"], inputs=10**15),
        layer(NETWORKS["dense"], inputs=-1),
        layer(NETWORKS["dense"], bits=10**9),
        layer(NETWORKS["dense"], kind="conv", conv={"height": 10**9, "width": 10**9, "channels": 1, "kernel": 3, "stride": 1,
                                                    "pool": 1, "same": True}),
        layer(NETWORKS["dense"], kind="graded", planes=10**12),
        json.dumps(json.loads(facts(NETWORKS["dense"])) | {"channels": MAX_IMAGE}),
        json.dumps(json.loads(facts(NETWORKS["dense"])) | {"layers": [[]] * 1000}),
    ],
    ids=range(9),
)  # fmt: skip
def test_a_description_with_huge_numbers_is_refused_at_once(page: str) -> None:
    refused(described(page))


@pytest.mark.parametrize(
    "name, page",
    [
        ("dense", layer(NETWORKS["dense"], rule=0)),
        ("dense", json.dumps(json.loads(facts(NETWORKS["dense"])) | {"counters": {"steps": 2**32}})),
        ("dense", json.dumps(json.loads(facts(NETWORKS["dense"])) | {"counters": {"steps": "1"}})),
        ("head", settings_of(NETWORKS["head"], prior=7)),
        ("head", settings_of(NETWORKS["head"], covariance_memory=None)),
        ("head", settings_of(NETWORKS["head"], another=1)),
        ("head", layer(NETWORKS["head"], 1, rows={"per_class": 1, "far": "0", "doubt_limit": 0})),
        ("levels", layer(NETWORKS["levels"], 1, rule=[])),
    ],
    ids=range(8),
)
def test_a_description_with_values_of_other_types_is_refused(name: str, page: str) -> None:
    refused(described(page, NETWORKS[name]))


def test_pages_and_layers_that_share_bytes_take_no_memory_for_each() -> None:
    frozen, large = NETWORKS["dense"], np.zeros((1000, 600), np.uint8)
    model = Model()
    graph = model.subgraph("infer")
    for name, array in named_tensors(frozen).items():
        graph.constant(name, array)
    model.signature("infer", graph, [], [])
    model.metadata(FACTS, facts(frozen))
    for i in range(100):
        model.metadata(f"page{i}", large.tobytes())
    tracemalloc.start()
    try:
        read_tflite(model.serialize())
        assert tracemalloc.get_traced_memory()[1] < 30 * large.nbytes
    finally:
        tracemalloc.stop()
    one = {"kind": "dense", "inputs": 4800, "bits": 1, "on_off": False, "window": 0, "rule": None}
    model = Model()
    graph = model.subgraph("infer")
    for i in range(15):
        graph.constant(f"layer{i}.sign_plane", large)
        graph.constant(f"layer{i}.threshold", np.zeros(1000, np.int32))
    model.signature("infer", graph, [], [])
    model.metadata(FACTS, json.dumps(json.loads(facts(frozen)) | {"layers": [one] * 15}))
    assert "the arrays of its network take 9,060,000 bytes" in refused(model.serialize())
    named = dict.fromkeys((f"layer{i}.sign_plane" for i in range(17)), large)
    with pytest.raises(ExportError, match="the file tells of 17 layers, the format holds 16"):
        rebuild(json.dumps(json.loads(facts(frozen)) | {"layers": [one] * 17}), named)


def test_the_description_that_the_changes_start_from_is_read() -> None:
    for frozen in NETWORKS.values():
        read_tflite(described(facts(frozen), frozen))
