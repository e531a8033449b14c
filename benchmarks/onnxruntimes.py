"""model.onnx in many versions of onnxruntime, and beside float32: docs/results/runtime/onnxruntime.md.

    python benchmarks/onnxruntimes.py versions
    python benchmarks/onnxruntimes.py speed

Versions: each one is installed into a folder of its own (METABIT_ORT_DIR, else build/onnxruntimes), and runs the networks of
tests/vectors, every kind that there is, with functions and inlined; scores are compared with the oracle's. Speed: a network of
784-512-512-10 with random weights, batch 1, in turns with a float32 network of the same shape on the same number of threads.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from engines import HIDDEN, SEED, relu_net
from host import processor

from metabit import export
from metabit.experiments import results
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.export import DenseLayer, Encode, Frozen, Oracle, OutputLayer
from metabit.export.files.onnx_file import write_onnx

PAGE = "docs/results/runtime/onnxruntime.md"
ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("1.16.3", "1.17.3", "1.18.1", "1.19.2", "1.20.1", "1.21.1", "1.22.1", "1.23.2", "1.24.4", "1.26.0", "1.28.0", "1.30.0",
            "1.32.0")  # fmt: skip
FORMS = ("packed", "inline")
ENGINES = (*FORMS, "float32")
THREADS = (1, 2)
INPUTS = 8
TURNS, CALLS = 150, 64

CHILD = """
import json, sys, time
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.log_severity_level = 4
told = []
for name in json.load(open(sys.argv[1] + "/names.json")):
    with np.load(f"{sys.argv[1]}/{name}.npz") as arrays:
        x, want = arrays["x"], arrays["want"]
    row = {"name": name}
    for form in ("packed", "inline"):
        try:
            session = onnxruntime.InferenceSession(f"{sys.argv[1]}/{name}.{form}.onnx", options, providers=["CPUExecutionProvider"])
            given = {session.get_inputs()[0].name: x}
            row[form] = bool(np.array_equal(session.run(["scores"], given)[0], want))
            given, took = {session.get_inputs()[0].name: x[:1]}, []
            for _ in range(200):
                begin = time.perf_counter()
                session.run(["scores"], given)
                took.append(time.perf_counter() - begin)
            row[form + "_us"] = round(1e6 * min(took), 1)
        except Exception as error:
            row[form], row[form + "_error"] = False, str(error)[:200]
    told.append(row)
print(json.dumps(told))
"""


def random_network() -> Frozen:
    """784-512-512-10, one bit a weight, pixels on from 128."""
    rng, inputs, layers = np.random.default_rng(SEED), 784, []
    for units in HIDDEN:
        hidden, theta = (
            rng.integers(-1, 1, (units, inputs)).astype(np.int8),
            rng.integers(-20, 21, units).astype(np.int32),
        )
        layers.append(DenseLayer(hidden, 1, "signs" if layers else "bits", theta))
        inputs = units
    output = OutputLayer(rng.integers(-1, 1, (10, inputs)).astype(np.int8), 1, "signs", *np.ones((2, 10), np.int32))
    return Frozen((*layers, output), Encode(np.full((1, 784), 128, np.uint8)), 100, 0, 1)


def networks() -> dict[str, Frozen]:
    """The networks of tests/vectors, and the one of `speed`."""
    golden = {
        path.stem: export.read_image(path.read_bytes()) for path in sorted((ROOT / "tests" / "vectors").glob("*.mbit"))
    }
    return {**golden, "784-512-512-10": random_network()}


# Measuring


def cells(name: str) -> dict[str, list[Cell]]:
    if name == "versions":
        return {version: [{"experiment": name, "version": version}] for version in VERSIONS}
    return {
        engine: [{"experiment": name, "engine": engine, "threads": threads} for threads in THREADS]
        for engine in ENGINES
    }


def together(asked: Sequence[Cell]) -> list[Row]:
    about = results.provenance("numpy", "onnx", "onnxruntime") | {"processor": processor(), "seed": SEED}
    rows = versions([cell["version"] for cell in asked]) if asked[0]["experiment"] == "versions" else speed(asked)
    return [about | row for row in rows]


def versions(asked: Sequence[str]) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        nets = networks()
        Path(folder, "names.json").write_text(json.dumps(list(nets)))
        for name, frozen in nets.items():
            lowest = export.frozen.LOWEST[frozen.integers]
            shape = (INPUTS, frozen.features)
            high = 2 if frozen.packed else 256 + 256 * 255 * (lowest < 0)
            x = np.random.default_rng(SEED).integers(lowest, lowest + high, shape).astype(frozen.integers)
            want = np.array([Oracle(frozen).scores(one) for one in x])
            np.savez(Path(folder, f"{name}.npz"), x=x, want=want)
            for form in FORMS:
                Path(folder, f"{name}.{form}.onnx").write_bytes(write_onnx(frozen, inline=form == "inline"))
        return [version_row(version, folder) for version in asked]


def environment(version: str) -> dict[str, str]:
    """The environment of a process that imports this version, which is installed first if it is missing."""
    home = Path(os.environ.get("METABIT_ORT_DIR", ROOT / "build" / "onnxruntimes")) / version
    if not home.exists():
        install = ["pip", "install", "--quiet", "--no-deps", "--target", str(home), f"onnxruntime=={version}"]
        subprocess.run([sys.executable, "-m", *install], check=True)
    return os.environ | {"PYTHONPATH": str(home), "OMP_NUM_THREADS": "1"}


def version_row(version: str, folder: str) -> Row:
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, folder], env=environment(version), capture_output=True, text=True, check=True
    )
    told = json.loads(ran.stdout)
    row: Row = {"onnxruntime": version, "networks": len(told), "inputs": INPUTS}
    for form in FORMS:
        row[form] = sum(one[form] for one in told)
        row[f"{form}_us"] = told[-1].get(f"{form}_us")
        row[f"{form}_fails"] = {one["name"]: one.get(f"{form}_error", "other scores") for one in told if not one[form]}
    return row


def speed(asked: Sequence[Cell]) -> list[Row]:
    """One number of threads after the other: the idle threads of a session spin for a while, and would take time from others."""
    frozen, rng = random_network(), np.random.default_rng(SEED)
    x = rng.integers(0, 256, (CALLS, 1, 784)).astype(np.uint8)
    files = {
        "packed": write_onnx(frozen),
        "inline": write_onnx(frozen, inline=True),
        "float32": relu_net().SerializeToString(),
    }
    given = {engine: x.astype(np.float32) / 255 if engine == "float32" else x for engine in files}
    times: dict[tuple[str, int], list[float]] = {}
    for threads in THREADS:
        engines = [cell["engine"] for cell in asked if cell["threads"] == threads]
        runs = {engine: caller(files[engine], given[engine], threads) for engine in engines}
        for _ in range(TURNS):
            for engine, run in runs.items():
                begin = time.perf_counter()
                run()
                times.setdefault((engine, threads), []).append(1e6 * (time.perf_counter() - begin) / CALLS)
        del runs
    rows = []
    for cell in asked:
        took = times[cell["engine"], cell["threads"]]
        figures = {"min_us": round(min(took), 2), "median_us": round(statistics.median(took), 2)}
        rows.append({**figures, "bytes": len(files[cell["engine"]]), "turns": TURNS, "calls": CALLS})
    return rows


def caller(data: bytes, x: np.ndarray, threads: int) -> Callable[[], None]:
    """Runs every input of x, batch 1."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    binding, source = session.io_binding(), session.get_inputs()[0].name
    binding.bind_output("scores")

    def run() -> None:
        for one in x:
            binding.bind_cpu_input(source, one)
            session.run_with_iobinding(binding)

    return run


# The page


def versions_section() -> str:
    rows = BENCHMARK.rows("versions")
    one = rows[0]
    about = (
        f"{one['networks']} networks, all kinds, {one['inputs']} inputs each, {one['processor']}, {one['date']}, seed "
        f"{one['seed']}, numpy {one['numpy']}, files by onnx {one['onnx']}. *Equal* is the number of networks whose scores are the "
        "oracle's, integer by integer. The times are the best of 200 calls of 784-512-512-10 at batch 1, one thread: a "
        f"version that unpacks the weights at every call, not once at load, is slow. {BENCHMARK.raw(PAGE)}"
    )
    head = ["onnxruntime", "equal, packed", "equal, inlined", "packed, µs", "inlined, µs"]
    table = [
        [
            r["onnxruntime"],
            *(f"{r[form]} of {r['networks']}" for form in FORMS),
            *(f"{r[f'{form}_us']:.0f}" for form in FORMS),
        ]
        for r in rows
    ]
    return results.page("ONNX Runtime, version by version", about, results.markdown(head, table))


def speed_section() -> str:
    rows = BENCHMARK.rows("speed")
    one = rows[0]
    about = (
        f"784-512-512-10 at batch 1 beside float32 of the same shape (ReLU), {one['turns']} turns of {one['calls']} calls, "
        f"engines in turns in one run, from Python; onnxruntime {one['onnxruntime']}, {one['processor']}, {one['date']}, seed "
        f"{one['seed']}. The "
        "binary network takes uint8 pixels and compares them with its threshold, the other one takes float32."
    )
    least = {r["threads"]: r for r in rows if r["engine"] == "float32"}
    head = ["file", "threads", "bytes", "best turn, µs", "median turn, µs", "times as fast as float32, best", "median"]
    table = [
        [r["engine"], str(r["threads"]), f"{r['bytes']:,}", f"{r['min_us']:.1f}", f"{r['median_us']:.1f}",
         *(f"{least[r['threads']][key] / r[key]:.2f}" for key in ("min_us", "median_us"))]
        for r in rows
    ]  # fmt: skip
    return results.page("Beside float32", about, results.markdown(head, table), level=2)


BENCHMARK = Benchmark(
    __file__,
    {"versions": "model.onnx in versions of onnxruntime", "speed": "model.onnx beside float32"},
    cells,
    lambda: (
        {PAGE: versions_section() + "\n" + speed_section()}
        if BENCHMARK.rows("versions") and BENCHMARK.rows("speed")
        else {}
    ),
    together=together,
)

if __name__ == "__main__":
    results.main(BENCHMARK)
