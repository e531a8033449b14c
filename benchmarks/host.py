"""One digit at a time on a computer, engines paired in one run: docs/results/runtime/host.{json,md}.

    METABIT_DATA_DIR=... python benchmarks/host.py

A network of 784-512-512-10, trained for an epoch on MNIST, its pixels on or off. Engines that run this network (the C runtime on
every width of vector, its ONNX file, Larq Compute Engine where it is installed) must give the same scores; float32 and int8
networks of the same shape with ReLU stand for what would run instead. One thread, batch 1; engines take turns over the same digits.
Then learning, 784-256-10, from Python. "Library" is a loop in C around mb_predict (host.c), compiled as the wheel is.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from lce import lce_file, lce_runner
from numpy.typing import NDArray

from metabit import export, train
from metabit.data import Task
from metabit.data import image_sets as datasets
from metabit.data.rows import write_whole
from metabit.export.files.onnx_file import write_onnx
from metabit.runtime import Model, _core, include_dir, sources

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "runtime"
HIDDEN = (512, 512)
LEARNER = (256,)
BITS = 4
VISITS = 0.02
"""Of the learner: about a hundred synapses a sample."""
BATCH = 256
SEED = 0

Bytes = NDArray[np.uint8]
Engine = Callable[[], tuple[float, Any]]
"""Seconds a digit of one turn over all digits, and their labels, or None for another network."""


# Networks


def frozen_net(hidden: tuple[int, ...], task: Task, epochs: int) -> export.Frozen:
    """Trained on digits whose pixels are on from 128."""
    spec = train.Spec(features=784, hidden=hidden, classes=10, encode=(128,), seed=SEED)
    network = train.Network(spec)
    history = train.fit(network, task, epochs=epochs, m=1.35, seed=SEED)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        train.save(path, network, rule=train.Rule.of(spec, m=1.35), history=history)
        checkpoint = train.load_checkpoint(path)
    return export.freeze(checkpoint, export.Options(bits=BITS, visits=VISITS, seed=SEED))


def relu_net(hidden: tuple[int, ...]) -> Any:
    """Float32 of the same shape, random weights."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(SEED)
    sizes, nodes, weights, signal = (784, *hidden, 10), [], [], "x"
    for i, (k, n) in enumerate(zip(sizes, sizes[1:], strict=False)):
        weights.append(numpy_helper.from_array((rng.standard_normal((k, n)) / np.sqrt(k)).astype(np.float32), f"w{i}"))
        weights.append(numpy_helper.from_array((rng.standard_normal(n) / 8).astype(np.float32), f"b{i}"))
        nodes.append(helper.make_node("MatMul", [signal, f"w{i}"], [f"product{i}"]))
        last = i == len(sizes) - 2
        nodes.append(helper.make_node("Add", [f"product{i}", f"b{i}"], ["scores" if last else f"sum{i}"]))
        if not last:
            nodes.append(helper.make_node("Relu", [f"sum{i}"], [f"h{i}"]))
            signal = f"h{i}"
    value = helper.make_tensor_value_info
    ends = [value("x", TensorProto.FLOAT, ["n", 784])], [value("scores", TensorProto.FLOAT, ["n", 10])]
    graph = helper.make_graph(nodes, "relu", *ends, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def int8_net(model: Any, x: NDArray[np.float32]) -> bytes:
    """The same, quantised by ONNX Runtime's own tool, calibrated on digits."""
    import onnx
    from onnxruntime import quantization as q

    class Digits(q.CalibrationDataReader):
        def __init__(self) -> None:
            self.rows = iter(x[:200])

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            row = next(self.rows, None)
            return None if row is None else {"x": row[None]}

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "a.onnx", Path(folder) / "b.onnx"
        onnx.save(model, source)
        q.quantize_static(
            source, target, Digits(), quant_format=q.QuantFormat.QOperator, activation_type=q.QuantType.QUInt8
        )
        return target.read_bytes()


# Engines


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


def in_library(c: ctypes.CDLL, image: bytes, vectors: str, x: Bytes) -> Engine:
    model, labels = c.host_open(image, len(image), vectors.encode()), np.zeros(len(x), np.uint16)
    assert model, f"the library does not open with {vectors}"

    def turn() -> tuple[float, Any]:
        return c.host_predict(model, x.ctypes.data, len(x), labels.ctypes.data) / 1e9 / len(x), labels

    return turn


def in_python(image: bytes, x: Bytes, at_a_time: int) -> Engine:
    """predict_many, or predict_one if one at a time."""
    model = Model(image)

    def turn() -> tuple[float, Any]:
        begin = time.perf_counter()
        labels = model.predict_many(x) if at_a_time > 1 else np.array([model.predict_one(one) for one in x])
        return (time.perf_counter() - begin) / len(x), labels

    return turn


def in_onnxruntime(data: bytes, x: NDArray[Any], batch: int, same: bool) -> Engine:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    name, rows = session.get_inputs()[0].name, [x[i : i + batch] for i in range(0, len(x), batch)]
    wanted = ["label" if same else "scores"]

    def turn() -> tuple[float, Any]:
        begin = time.perf_counter()
        out = [session.run(wanted, {name: row})[0] for row in rows]
        took = (time.perf_counter() - begin) / len(x)
        return took, np.concatenate(out) if same else None

    return turn


def in_lce(frozen: export.Frozen, bits: NDArray[np.bool_]) -> Engine:
    run, rows = lce_runner(lce_file(frozen)), list(bits[:, None, None, None])

    def turn() -> tuple[float, Any]:
        begin = time.perf_counter()
        out = [run(row) for row in rows]
        took = (time.perf_counter() - begin) / len(rows)
        return took, np.array(out).reshape(len(rows), -1).argmax(1)

    return turn


def engines(frozen: export.Frozen, digits: Bytes) -> dict[str, Engine]:
    """Every engine by the name it has in the table."""
    bare = replace(frozen, encode=None)
    on = digits >= 128
    packed = np.packbits(on, axis=1, bitorder="little")
    image, encoded, c = export.write_image(bare), export.write_image(frozen), library()
    floats = on.astype(np.float32)
    relu = relu_net(HIDDEN)
    int8 = int8_net(relu, floats)
    found: dict[str, Engine] = {
        f"metabit, library, {vectors}": in_library(c, image, vectors, packed)
        for vectors in reversed(_core.VECTORS_HERE)
    }
    best = _core.VECTORS_HERE[-1]
    found[f"metabit, library, {best}, 8-bit pixels"] = in_library(c, encoded, best, digits)
    found["metabit, Python, predict_many"] = in_python(image, packed, len(packed))
    found["metabit, Python, predict_one"] = in_python(image, packed, 1)
    for batch, said in ((1, ""), (BATCH, f", batch {BATCH}")):
        found[f"ONNX Runtime, metabit's packed file{said}"] = in_onnxruntime(
            write_onnx(bare), on.astype(np.uint8), batch, True
        )
        found[f"ONNX Runtime, int8 ReLU network{said}"] = in_onnxruntime(int8, floats, batch, False)
        found[f"ONNX Runtime, float32 ReLU network{said}"] = in_onnxruntime(
            relu.SerializeToString(), floats, batch, False
        )
    try:
        found["Larq Compute Engine"] = in_lce(bare, on)
    except ImportError:
        print("no Larq Compute Engine here: pip install --no-deps larq-compute-engine tqdm")
    return found


# Measuring


def measure(sides: dict[str, Engine], turns: int) -> dict[str, dict[str, float]]:
    """Microseconds a digit of each engine; all that run the same network must agree on every digit, every turn."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    want = None
    for turn in range(turns + 1):
        for name, engine in sides.items():
            took, labels = engine()
            if labels is not None:
                want = labels.copy() if want is None else want
                assert np.array_equal(labels, want), f"{name} disagrees"
            if turn:  # the first only warms up
                seconds[name].append(1e6 * took)
    return {
        name: {"min_us": round(min(values), 3), "median_us": round(statistics.median(values), 3)}
        for name, values in seconds.items()
    }


def learning(frozen: export.Frozen, digits: Bytes, labels: NDArray[Any], turns: int) -> dict[str, Any]:
    """learn_many from the same image on the same digits, every time."""
    image, x = export.write_image(replace(frozen, encode=None)), np.packbits(digits >= 128, axis=1, bitorder="little")
    rows: dict[str, Any] = {}
    ends = set()
    rates: dict[str, list[float]] = {"none": [], _core.VECTORS_HERE[-1]: []}
    for _ in range(turns):
        for vectors, values in rates.items():
            os.environ["METABIT_VECTORS"] = vectors
            model = Model(image)
            del os.environ["METABIT_VECTORS"]
            begin = time.perf_counter()
            steps = model.learn_many(x, labels)
            values.append(len(x) / (time.perf_counter() - begin))
            ends.add(model.state())
    assert len(ends) == 1, "vectors learn something else"
    for vectors, values in rates.items():
        rows[vectors] = {"best_per_s": round(max(values)), "median_per_s": round(statistics.median(values))}
    means = {name: round(float(getattr(steps, name).mean()), 1) for name in ("visited", "moved", "flipped")}
    return {
        "samples": len(x),
        "rates": rows,
        **means,
        "prequential": round(100 * float((steps.predicted == labels).mean()), 1),
    }


# The page


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ", 1)[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def page(result: dict[str, Any]) -> str:
    least = min(row["min_us"] for row in result["engines"].values())
    lines = [
        "# One digit at a time on a computer",
        "",
        f"`{result['command']}` on {result['machine']}, {result['date']}, seed {result['seed']}; {result['versions']}. "
        f"784-{'-'.join(map(str, HIDDEN))}-10, {result['digits']} MNIST test digits with pixels on from 128 "
        f"({100 * result['on']:.1f} % on), {result['accuracy']} % of them right; one thread, batch 1 unless said, "
        f"{result['turns']} turns over all digits, engines interleaved. Inputs are bits, in the form each engine takes them. All "
        "engines with metabit's network agreed on every digit, Larq Compute Engine (its indirect kernel) among them; the ReLU "
        "networks have the same shape and random weights. Library rows are a loop in C, all others are called from Python.",
        "",
        "| engine | µs a digit, best turn | median turn | best, times the fastest |",
        "|---|---|---|---|",
    ]
    for name, row in result["engines"].items():
        lines.append(f"| {name} | {row['min_us']:.2f} | {row['median_us']:.2f} | {row['min_us'] / least:.1f} |")
    learnt = result["learning"]
    lines += [
        "",
        f"Learning, 784-{'-'.join(map(str, LEARNER))}-10 at k = {BITS}, `learn_many` on {learnt['samples']} digits in one call, "
        f"one thread: {learnt['visited']} synapses visited a sample, {learnt['moved']} moved, {learnt['flipped']} flipped; the "
        "same state on either row.",
        "",
        "| vectors | samples/s, best turn | median turn |",
        "|---|---|---|",
    ]
    for vectors, row in learnt["rates"].items():
        lines.append(f"| {vectors} | {row['best_per_s']:,} | {row['median_per_s']:,} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--digits", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    import onnxruntime

    data = datasets.load("mnist")
    flat = [np.ascontiguousarray(x.reshape(len(x), -1)) for x in (data.x_train, data.x_test)]
    task = Task("mnist", flat[0], data.y_train.astype(np.int64), flat[1], data.y_test.astype(np.int64))
    frozen, learner = frozen_net(HIDDEN, task, 1), frozen_net(LEARNER, task, 1)
    digits = task.x_test[: args.digits]
    right = Model(export.write_image(frozen)).predict_many(digits) == task.y_test[: args.digits]
    versions = [f"numpy {np.__version__}", f"onnxruntime {onnxruntime.__version__}"]
    result = {
        "command": "METABIT_DATA_DIR=... python benchmarks/host.py",
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "date": datetime.date.today().isoformat(),
        "seed": SEED,
        "versions": ", ".join(versions),
        "digits": len(digits),
        "on": round(float((digits >= 128).mean()), 4),
        "accuracy": round(100 * float(right.mean()), 1),
        "turns": args.turns,
        "engines": measure(engines(frozen, digits), args.turns),
        "learning": learning(learner, task.x_train[:10_000], task.y_train[:10_000], max(5, args.turns // 6)),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    write_whole(args.out / "host.json", json.dumps(result, indent=1) + "\n")
    write_whole(args.out / "host.md", page(result))
    print(page(result))


if __name__ == "__main__":
    main()
