"""model.qonnx.onnx: the dialect of FINN and Brevitas, exact in plain onnxruntime, and the whole network back."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
from networks import conv, gates_network, inputs, network, voting, windowed

from metabit.export import ExportError, Frozen, Oracle, write_image
from metabit.export.files.any_file import read_bytes
from metabit.export.files.qonnx_file import IMAGE, read_qonnx, run_qonnx, write_qonnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

NETWORKS = {
    "dense": network(1, (20, 33, 9, 4), k=2),
    "one plane": network(2, (20, 9, 4), k=8, planes=1),
    "packed bits": network(3, (21, 9, 3), k=3, planes=0),
    "dense on bytes": windowed(4, (1, 1, 83), (), (21, 5), "uint8"),
    "convolutions of odd sizes": windowed(5, (9, 8, 3), (conv(33, 3, 2), conv(50, 3, 1, True, 2)), (4,)),
    "planes of pixels": windowed(6, (5, 6, 3), (conv(7, 3, 1, True),), (9, 5), "4"),
    "bytes": windowed(7, (9, 9, 3), (conv(32, 5, 1, True, 3), conv(3, 3, 3)), (20,), "uint8"),
}
FIRST, LAST = NETWORKS["one plane"].layers
LARGE = replace(NETWORKS["one plane"], layers=(FIRST, replace(LAST, add=np.full(4, 2**27 + 1, np.int32))))


@pytest.mark.parametrize("frozen", [*NETWORKS.values(), LARGE], ids=[*NETWORKS, "scores beyond float32"])
def test_scores_are_equal_and_the_network_comes_back(frozen: Frozen) -> None:
    x, data = frozen.unpack(inputs(frozen, 5)), write_qonnx(frozen)
    want = [Oracle(frozen).scores(one) for one in x]
    np.testing.assert_array_equal(run_qonnx(data, x), want)
    assert run_qonnx(data, x[:0]).shape == (0, frozen.classes)
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    assert write_image(read_qonnx(data)) == write_image(read_bytes(data).frozen) == write_image(frozen)


@pytest.mark.parametrize("frozen", NETWORKS.values(), ids=NETWORKS)
def test_the_executor_of_qonnx_agrees(frozen: Frozen) -> None:
    wrapper = pytest.importorskip("qonnx.core.modelwrapper").ModelWrapper(onnx.load_from_string(write_qonnx(frozen)))
    execute, name, x = (
        importlib.import_module("qonnx.core.onnx_exec").execute_onnx,
        wrapper.graph.input[0].name,
        inputs(frozen, 3),
    )
    for one in frozen.unpack(x):
        scores = execute(wrapper, {name: one[None].astype(np.float32)})["scores"][0]
        np.testing.assert_array_equal(scores, Oracle(frozen).scores(one))


def test_types_are_annotated() -> None:
    model = onnx.load_from_string(write_qonnx(NETWORKS["bytes"]))
    kinds = {one.tensor_name: one.quant_parameter_tensor_names[0].value for one in model.graph.quantization_annotation}
    assert (kinds["features"], kinds["layer0.signs"], kinds["layer0.activation"], kinds["scores"]) == (
        "UINT8", "BIPOLAR", "BIPOLAR", "INT32"
    )  # fmt: skip
    quantized = [node for node in model.graph.node if node.op_type == "BipolarQuant"]
    assert len(quantized) == 2 * 3 - 1 and {node.domain for node in quantized} == {"qonnx.custom_op.general"}


@pytest.mark.parametrize(
    ("frozen", "kind"),
    [(voting(1), "layer 0 is graded"), (gates_network(2), "layer 0 is gates")],
    ids=["graded", "gates"],
)
def test_another_kind_of_network_is_refused_in_one_sentence(frozen: Frozen, kind: str) -> None:
    with pytest.raises(
        ExportError, match=f"{kind}: the QONNX dialect holds networks of sign units only, use the format onnx"
    ):
        write_qonnx(frozen)


def test_a_file_that_another_tool_changed_is_refused() -> None:
    model = onnx.load_from_string(write_qonnx(NETWORKS["dense"]))
    for tensor in model.graph.initializer:
        if tensor.name == "layer1.weights":
            tensor.raw_data = np.ones(tuple(tensor.dims), np.float32).tobytes()
    with pytest.raises(ExportError, match="layer 1 of this QONNX file has other weights than its image"):
        read_qonnx(model.SerializeToString())
    model.metadata_props[0].value = "?"
    with pytest.raises(ExportError, match="its image is not base64"):
        read_qonnx(model.SerializeToString())
    del model.metadata_props[:]
    with pytest.raises(ExportError, match=f"not one that metabit wrote .its metadata has no '{IMAGE}'"):
        read_qonnx(model.SerializeToString())
