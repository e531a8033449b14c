"""Files of others that are damaged or hostile: one sentence for each, and memory within a limit for each byte of the file."""

from __future__ import annotations

import io
import json
import pickle
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from metabit.export import ExportError, foreign
from metabit.export.files.tflite_schema import Model, Op
from metabit.export.foreign import h5_arrays
from metabit.train.network.spec import MAX_LAYERS

Keras = dict[str, Any]
EIGHT, PICTURE = [None, 8], [None, 8, 8, 1]
KERNEL, FILTERS = np.ones((8, 8), np.float32), np.ones((3, 3, 1, 4), np.float32)


def layer(kind: str, name: str, *sources: str, **config: Any) -> Keras:
    """One layer of Keras; sources: of a functional model."""
    nodes = {"inbound_nodes": [[[source, 0, 0, {}] for source in sources]]} if sources else {}
    return {"class_name": kind, "config": {"name": name, "kernel_quantizer": "ste_sign", **config}, **nodes}


def keras(layers: list[Keras], arrays: dict[str, np.ndarray], functional: bool = False) -> bytes:
    """A .h5 file of these layers and the kernels of some."""
    h5py = pytest.importorskip("h5py")
    model: Keras = {"layers": layers}
    if functional:
        model |= {"input_layers": [[layers[0]["config"]["name"], 0, 0]], "output_layers": [["c", 0, 0]]}
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        told = {"class_name": "Functional" if functional else "Sequential", "config": model}
        file.attrs["model_config"] = json.dumps(told)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [one["config"]["name"].encode() for one in layers]
        for one in layers:
            inside = group.create_group(one["config"]["name"])
            if one["config"]["name"] in arrays:
                inside.attrs["weight_names"] = [b"kernel:0"]
                inside["kernel:0"] = arrays[one["config"]["name"]]
    return buffer.getvalue()


def sequential(shape: list[Any], *layers: Keras, kernel: np.ndarray = FILTERS) -> bytes:
    return keras([layer("InputLayer", "i", batch_input_shape=shape), *layers], {"a": kernel})


CONV = layer("QuantConv2D", "a", strides=[1, 1], padding="valid")
DAMAGED = "this HDF5 file is no whole Larq model, a layer lacks a setting or an array"
SETTINGS: dict[str, tuple[list[Any], tuple[Keras, ...], np.ndarray, str]] = {
    "strides 0": (PICTURE, (layer("QuantConv2D", "a", strides=[0, 0], padding="valid"),), FILTERS, DAMAGED),
    "pool 0": (PICTURE, (CONV, layer("MaxPooling2D", "p", pool_size=[0, 0], strides=[0, 0], padding="valid")), FILTERS, DAMAGED),
    "no pool": (PICTURE, (CONV, layer("MaxPooling2D", "p", pool_size=[], strides=[], padding="valid")), FILTERS, DAMAGED),
    "an endless shape": ([None, float("inf")], (), KERNEL, DAMAGED),
    "no units": (EIGHT, (layer("QuantDense", "a"),), np.ones((8, 0), np.float32), "'a' is 8 -> 0, the format holds 1..16384"),
    "no filters": (PICTURE, (CONV,), np.ones((3, 3, 1, 0), np.float32), "'a' is 9 -> 0, the format holds 1"),
}  # fmt: skip


@pytest.mark.parametrize(("shape", "layers", "kernel", "sentence"), SETTINGS.values(), ids=SETTINGS)
def test_a_setting_that_no_layer_has_is_refused(
    shape: list[Any], layers: tuple[Keras, ...], kernel: np.ndarray, sentence: str
) -> None:
    with pytest.raises(ExportError, match=sentence):
        foreign.read_bytes(sequential(shape, *layers, kernel=kernel))


def test_a_shortcut_of_a_functional_model_is_named() -> None:
    layers = [
        {**layer("InputLayer", "i", batch_input_shape=EIGHT), "inbound_nodes": []},
        layer("QuantDense", "a", "i"),
        layer("QuantDense", "b", "a", input_quantizer="ste_sign"),
        layer("Add", "s", "b", "a"),
        layer("QuantDense", "c", "s", input_quantizer="ste_sign"),
    ]
    with pytest.raises(ExportError, match=r"^layer 's' joins or shares branches \(b, a\), which has no counterpart"):
        foreign.read_bytes(keras(layers, {name: KERNEL for name in "abc"}, functional=True))


def test_arrays_of_one_dataset_count_each() -> None:
    h5py, buffer = pytest.importorskip("h5py"), io.BytesIO()
    with h5py.File(buffer, "w") as file:
        packed = file.create_dataset("k", shape=(220, 220), dtype="f4", chunks=(220, 220), compression="gzip")
        names = [f"l{i}" for i in range(4)]
        file.attrs["layer_names"] = [name.encode() for name in names]
        for name in names:
            group = file.create_group(name)
            group.attrs["weight_names"], group["kernel:0"] = [b"kernel:0"], packed
    assert 3 * 193_600 < 64 * len(buffer.getvalue()) < 4 * 193_600
    with pytest.raises(ExportError, match="kernel:0 has 193600 bytes, and all arrays more than 64 for each byte"):
        foreign.read_bytes(buffer.getvalue())


H5 = (Path(__file__).parent / "foreign" / "larq_dense.h5").read_bytes()


def damaged(at: int) -> bytes:
    """The file of Larq with the highest bit of one byte flipped."""
    return H5[:at] + bytes([H5[at] ^ 0x80]) + H5[at + 1 :]


def test_a_file_that_hdf5_would_read_for_ever_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("h5py")
    begin = time.perf_counter()
    foreign.read_bytes(H5)
    enough = 4 + 4 * round(time.perf_counter() - begin)  # so that a busy machine does not look like a file without end
    monkeypatch.setattr(h5_arrays, "SECONDS", enough)
    sentence = f"is damaged: the HDF5 library did not read its 47364 bytes in {enough} s; save the model anew"
    with pytest.raises(ExportError, match=sentence):
        foreign.read_bytes(damaged(2057))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_a_length_of_gibibytes_is_not_allocated() -> None:
    pytest.importorskip("h5py")
    with pytest.raises(ExportError, match="damaged or no model of Keras: .*memory allocation failed for chunk"):
        foreign.read_bytes(damaged(1899))


def test_texts_in_place_of_weights_are_refused() -> None:
    h5py, buffer = pytest.importorskip("h5py"), io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["layer_names"] = [b"a"]
        group = file.create_group("a")
        group.attrs["weight_names"], group["kernel:0"] = [b"kernel:0"], "text"
    with pytest.raises(ExportError, match="damaged or no model of Keras: kernel:0 holds no numbers"):
        foreign.read_bytes(buffer.getvalue())


def test_quantizers_of_one_tensor_count_each() -> None:
    onnx = pytest.importorskip("onnx")
    make, weights = onnx.helper.make_node, np.random.default_rng(0).normal(size=(30, 30)).astype(np.float32)
    sides = [onnx.helper.make_tensor_value_info(name, 1, [1, 30]) for name in "xy"]
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in (("w", weights), ("one", np.float32(1)))]
    for count in (4, 5):
        nodes = [make("BipolarQuant", ["w", "one"], [f"{i}"], f"{i}") for i in range(count)]
        graph = onnx.helper.make_graph(
            [*nodes, make("MatMul", ["x", "0"], ["y"])], "g", sides[:1], sides[1:], constants
        )
        data = onnx.helper.make_model(graph).SerializeToString()
        if count == 4:
            assert len(foreign.read_bytes(data).layers) == 1
        else:
            with pytest.raises(ExportError, match="with '4' its operators make more than 4 weights for each number"):
                foreign.read_bytes(data)


def lce(layers: int, last: str = "", constant: np.ndarray | None = None) -> bytes:
    """Dense layers with signs between them, all on one tensor of weights; then softmax and a sign, or a constant."""
    pytest.importorskip("flatbuffers")
    model = Model()
    graph = model.subgraph("main")
    source = at = graph.tensor("x", (1, 8), np.float32)
    weights = graph.constant("w", KERNEL)
    for i in range(layers):
        if i:
            at = graph.custom("LceQuantize", [at], graph.tensor("q", (1, 8), np.int32))
        at = graph.apply(Op.FULLY_CONNECTED, [at, weights], graph.tensor(f"y{i}", (1, 8), np.float32), {})
    if last == "softmax":
        at = graph.apply(cast(Any, SimpleNamespace(value=(25, 9))), [at], graph.tensor("soft", (1, 8), np.float32), {})
        at = graph.custom("LceQuantize", [at], graph.tensor("q", (1, 8), np.int32))
    if constant is not None:
        at = graph.apply(Op.MUL, [at, graph.constant("c", constant)], graph.tensor("m", (1, 8), np.float32), {})
    model.signature("s", graph, [source], [at])
    return model.serialize()


def test_layers_of_one_tensor_have_a_limit() -> None:
    assert len(foreign.read_bytes(lce(MAX_LAYERS)).layers) == MAX_LAYERS
    with pytest.raises(
        ExportError, match=f"'y{MAX_LAYERS}' comes behind {MAX_LAYERS} others, the most that the format"
    ):
        foreign.read_bytes(lce(MAX_LAYERS + 1))


def test_steps_of_larqs_converter_that_decide_otherwise_are_refused() -> None:
    with pytest.raises(ExportError, match="'soft' is a softmax that other layers follow"):
        foreign.read_bytes(lce(1, "softmax"))
    with pytest.raises(
        ExportError, match=r"'m' has a constant of shape \(8, 1\), .*: give one number, or one for each"
    ):
        foreign.read_bytes(lce(1, constant=np.ones((8, 1), np.float32)))


@pytest.mark.parametrize("count", [3, 5])
def test_thresholds_are_one_for_each_unit(count: int) -> None:
    chain = foreign.Chain("a test", (3,))
    chain.dense("a", np.ones((4, 3), np.int8), np.ones(4))
    with pytest.raises(ExportError, match=f"layer 'b' has {count} thresholds for 4 units: this file is damaged"):
        chain.steps("b", np.zeros(count))


def torch_file(content: object, size: int | None = None) -> bytes:
    """A file of torch.save of this object. size: that its directory tells of data.pkl, if not the right one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps(content, 2))
        archive.filelist[0].file_size = size or archive.filelist[0].file_size
    return buffer.getvalue()


def test_parts_and_keys_of_a_state_dict_are_bounded() -> None:
    with pytest.raises(ExportError, match="damaged file of PyTorch: .*its parts overlap"):
        foreign.read_bytes(torch_file({}, 1 << 20))
    with pytest.raises(ExportError, match="a key is neither text nor number"):
        foreign.read_bytes(torch_file({(("a", "b"), "c"): 1}))
