"""The networks of benchmarks/host.py, and the engines that run them on a computer."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit import export, train
from metabit.data import Task, image_sets
from metabit.export.files.lce_file import write_lce
from metabit.export.files.lce_runtime import lce_interpreter
from metabit.export.files.onnx_file import write_onnx
from metabit.runtime import Model, include_dir, sources

HIDDEN = (512, 512)
BITS = 4
VISITS = 0.02
"""Visit rate of the learner: about a hundred synapses a sample."""
BATCH = 256
SEED = 0
VECTORS = ("avx512", "avx2", "neon", "words", "none")
"""Sets of vectors, widest first; rows are of those that a machine has."""

Bytes = NDArray[np.uint8]
Engine = Callable[[], tuple[float, Any]]
"""Runs one turn over all images: seconds an image, and the labels, or None for another network."""


# Networks


@cache
def mnist() -> Task:
    data = image_sets.load("mnist")
    flat = [np.ascontiguousarray(x.reshape(len(x), -1)) for x in (data.x_train, data.x_test)]
    return Task("mnist", flat[0], data.y_train.astype(np.int64), flat[1], data.y_test.astype(np.int64))


def frozen_net(hidden: tuple[int, ...]) -> export.Frozen:
    """Trained for an epoch on MNIST images whose pixels are on from 128."""
    spec = train.Spec(features=784, hidden=hidden, classes=10, encode=(128,), seed=SEED)
    network = train.Network(spec)
    train.fit(network, mnist(), epochs=1, m=1.35, seed=SEED)
    checkpoint = train.Checkpoint(spec, network.tensors(), train.Rule.of(spec, m=1.35))
    return export.freeze(checkpoint, export.VisitOptions(bits=BITS, visit_rate=VISITS, backward="exact", seed=SEED))


def relu_net(hidden: tuple[int, ...] = HIDDEN) -> Any:
    """Float32 of the same shape, random weights."""
    import onnx

    rng, sizes, weights = np.random.default_rng(SEED), (784, *hidden, 10), []
    for i, (k, n) in enumerate(zip(sizes, sizes[1:], strict=False)):
        weights.append(onnx.numpy_helper.from_array((rng.standard_normal((k, n)) / k**0.5).astype(np.float32), f"w{i}"))
        weights.append(onnx.numpy_helper.from_array((rng.standard_normal(n) / 8).astype(np.float32), f"b{i}"))
    layer = "p{0} = MatMul({1}, w{0})   {2} = Add(p{0}, b{0})".format
    steps = [layer(i, f"h{i - 1}" if i else "x", f"s{i}") + f"   h{i} = Relu(s{i})" for i in range(len(hidden))]
    last = layer(len(hidden), f"h{len(hidden) - 1}", "scores")
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> relu (float[n, 784] x) => (float[n, 10] scores) {'
        + " ".join([*steps, last]) + "}"
    )  # fmt: skip
    model.graph.initializer.extend(weights)
    onnx.checker.check_model(model)
    return model


def int8_net(model: Any, x: NDArray[np.float32]) -> bytes:
    """The float32 network quantised by ONNX Runtime's own tool, calibrated on MNIST images."""
    import onnx
    from onnxruntime import quantization as q

    class Digits(q.CalibrationDataReader):
        rows = iter(x[:200])

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(({"x": row[None]} for row in self.rows), None)

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "a.onnx", Path(folder) / "b.onnx"
        onnx.save(model, source)
        form = {"quant_format": q.QuantFormat.QOperator, "activation_type": q.QuantType.QUInt8}
        q.quantize_static(source, target, Digits(), **form)
        return target.read_bytes()


# Engines


@dataclass(frozen=True)
class Inputs:
    """The networks, and the same images in every form that an engine takes: uint8 (n, 784), and bits."""

    frozen: export.Frozen
    images: Bytes

    @property
    def bare(self) -> export.Frozen:
        """The network without its encoder: it takes bits."""
        return replace(self.frozen, encode=None)

    @property
    def on(self) -> NDArray[np.bool_]:
        return self.images >= 128

    @property
    def packed(self) -> Bytes:
        return np.packbits(self.on, axis=1, bitorder="little")


@cache
def library() -> ctypes.CDLL:
    """The runtime and host.c, with the wheel's options."""
    host = Path(__file__).parents[1] / "runtime" / "host"
    code = [*sources(), *host.glob("*.c"), Path(__file__).with_name("host.c")]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "host.so"
        options = ["-std=gnu99", "-O3", "-DNDEBUG", "-fPIC", "-shared", "-DMB_WIDE"]
        paths = [f"-I{path}" for path in (include_dir(), sources()[0].parent, host)]
        subprocess.run([os.environ.get("CC", "gcc"), *options, *paths, *code, "-o", target], check=True)
        c = ctypes.CDLL(str(target))
    c.host_open.restype, c.host_predict.restype = ctypes.c_void_p, ctypes.c_double
    c.host_open.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p]
    c.host_predict.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    return c


def in_library(inputs: Inputs, vectors: str, pixels: bool = False) -> Engine:
    image, x = export.write_image(inputs.frozen if pixels else inputs.bare), inputs.images if pixels else inputs.packed
    return loop_in_library(image, x, vectors)


def loop_in_library(image: bytes, x: Bytes, vectors: str) -> Engine:
    model, labels = library().host_open(image, len(image), vectors.encode()), np.zeros(len(x), np.uint16)
    assert model, f"the library does not open with {vectors}"

    def turn() -> tuple[float, Any]:
        kept = image, x  # C reads both
        return library().host_predict(model, kept[1].ctypes.data, len(x), labels.ctypes.data) / 1e9 / len(x), labels

    return turn


def timed(work: Callable[[], list[Any]], n: int, labels: Callable[[list[Any]], Any]) -> Engine:
    """An engine that is called from Python: work on n images, then labels of its outputs."""

    def turn() -> tuple[float, Any]:
        begin = time.perf_counter()
        out = work()
        return (time.perf_counter() - begin) / n, labels(out)

    return turn


def in_python(inputs: Inputs, one: bool) -> Engine:
    """predict_one on each image, or predict_many on all."""
    model, x = Model(export.write_image(inputs.bare)), inputs.packed
    if one:
        return timed(lambda: [model.predict_one(row) for row in x], len(x), np.array)
    return timed(lambda: [model.predict_many(x)], len(x), np.concatenate)


def in_onnxruntime(inputs: Inputs, network: str, batch: int) -> Engine:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    same, x = network == PACKED, inputs.on.astype(np.uint8 if network == PACKED else np.float32)
    relu = None if same else relu_net()
    data = write_onnx(inputs.bare) if same else int8_net(relu, x) if "int8" in network else relu.SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    name, rows = session.get_inputs()[0].name, [x[i : i + batch] for i in range(0, len(x), batch)]
    wanted = ["label" if same else "scores"]
    labels = np.concatenate if same else lambda out: None
    return timed(lambda: [session.run(wanted, {name: row})[0] for row in rows], len(x), labels)


def in_lce(inputs: Inputs) -> Engine:
    run, rows = lce_interpreter(write_lce(inputs.bare)).predict, list(inputs.on.astype(np.uint8)[:, None])
    return timed(lambda: [run([row])[1] for row in rows], len(rows), np.concatenate)


# Gates, from pixels


def gates_net() -> bytes:
    """The image of 784-96 gates, trained on MNIST, that only predicts from 8-bit pixels."""
    from metabit.experiments import learner_streams

    data = learner_streams.pictures("mnist")
    trained = learner_streams.trained(data, GATES, SEED, True)
    return export.write_image(export.freeze_gates(trained, options=export.GateOptions(learner="none")))


def gates_in_python(image: bytes, x: Bytes, batch: int) -> Engine:
    model = Model(image)
    if batch == 1:
        rows = list(x)
        return timed(lambda: [model.predict_one(row) for row in rows], len(x), np.array)
    parts = [x[i : i + batch] for i in range(0, len(x), batch)]
    return timed(lambda: [model.predict_many(part) for part in parts], len(x), np.concatenate)


def relu_in_onnxruntime(image: bytes, x: Bytes, batch: int) -> Engine:
    import onnxruntime as ort

    options, pixels = ort.SessionOptions(), (x / 255).astype(np.float32)
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    data = int8_net(relu_net((GATES,)), pixels)
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    parts = [pixels[i : i + batch] for i in range(0, len(x), batch)]
    return timed(lambda: [session.run(["scores"], {"x": part})[0] for part in parts], len(x), lambda out: None)


def relu_in_torch(image: bytes, x: Bytes, batch: int) -> Engine:
    """Linear layers by torch's own dynamic quantisation to int8."""
    import torch

    torch.set_num_threads(1)
    net = torch.nn.Sequential(torch.nn.Linear(784, GATES), torch.nn.ReLU(), torch.nn.Linear(GATES, 10))
    quantised = torch.ao.quantization.quantize_dynamic(net, {torch.nn.Linear}, torch.qint8)
    parts = [torch.from_numpy((x[i : i + batch] / 255).astype(np.float32)) for i in range(0, len(x), batch)]

    def work() -> list[Any]:
        with torch.inference_mode():
            return [quantised(part) for part in parts]

    return timed(work, len(x), lambda out: None)


GATES = 96
OF_GATES: dict[str, Callable[[bytes, Bytes], Engine]] = {
    **{f"metabit, library, {v}": partial(loop_in_library, vectors=v) for v in VECTORS},
    **{
        f"{name}, batch {batch}": partial(make, batch=batch)
        for batch in (1, BATCH)
        for name, make in (
            ("metabit, Python", gates_in_python),
            ("ONNX Runtime, int8 ReLU network", relu_in_onnxruntime),
            ("torch, int8 ReLU network", relu_in_torch),
        )
    },
}
"""Engine -> (image, pixels) -> it. The networks of ReLU are 784-96-10, with random weights."""

PACKED, LCE = "metabit's packed file", "Larq Compute Engine"
ENGINES: dict[str, Callable[[Inputs], Engine]] = {
    **{f"metabit, library, {v}": partial(in_library, vectors=v) for v in VECTORS},
    **{f"metabit, library, {v}, 8-bit pixels": partial(in_library, vectors=v, pixels=True) for v in VECTORS},
    "metabit, Python, predict_many": partial(in_python, one=False),
    "metabit, Python, predict_one": partial(in_python, one=True),
    **{
        f"ONNX Runtime, {network}{said}": partial(in_onnxruntime, network=network, batch=batch)
        for batch, said in ((1, ""), (BATCH, f", batch {BATCH}"))
        for network in (PACKED, "int8 ReLU network", "float32 ReLU network")
    },
    LCE: in_lce,
}
