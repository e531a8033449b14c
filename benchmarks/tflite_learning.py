"""model.train.tflite in several TFLite runtimes: docs/results/runtime/tflite-learning.md.

    python benchmarks/tflite_learning.py runtimes

Networks, samples and states are those of benchmarks/onnx_learning.py. Each runtime is installed into a folder of its own
(METABIT_TFLITE_DIR, else build/tflites). The time of a step is the processor time of one
call of the signature "train".
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from host import processor
from onnx_learning import ROOT, SEED, TIMED, equality, prepare, run_child

from metabit.experiments import results
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.export.learning import write_tflite_train

PAGE = "docs/results/runtime/tflite-learning.md"
RUNTIMES = ("tflite-runtime 2.14.0", *(f"ai-edge-litert {version}" for version in ("1.0.1", "1.4.0", "2.0.2", "2.3.0")))

CHILD = """
import importlib, json, sys, time
import numpy as np
Interpreter = importlib.import_module(sys.argv[2] + ".interpreter").Interpreter
told = []
for name in json.load(open(sys.argv[1] + "/names.json")):
    row = {"name": name}
    try:
        with np.load(f"{sys.argv[1]}/{name}.npz") as file:
            want = dict(file)
        x, y = want.pop("x"), want.pop("y").astype(np.int32)
        data = open(f"{sys.argv[1]}/{name}.tflite", "rb").read()
        interpreter = Interpreter(model_content=data, num_threads=1)
        train, save = (interpreter.get_signature_runner(name) for name in ("train", "save"))
        (source,) = train.get_input_details().keys() - {"target"}
        times = []
        for i in range(len(x)):
            begin = time.process_time()
            train(**{source: x[i : i + 1], "target": y[i : i + 1]})
            times.append(time.process_time() - begin)
        found = save()
        row["equal"] = found.keys() == want.keys() and all(
            np.array_equal(found[k].view(a.dtype).reshape(a.shape), a) for k, a in want.items()
        )
        row |= {"us": 1e6 * float(np.median(times)), "bytes": len(data)}
    except Exception as error:
        row |= {"equal": False, "error": str(error)[:200]}
    told.append(row)
print(json.dumps(told))
"""


def together(asked: Sequence[Cell]) -> list[Row]:
    about = results.provenance("numpy", "flatbuffers") | {"processor": processor()}
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder, "tflite", write_tflite_train)
        return [about | runtime_row(cell["runtime"], folder) for cell in asked]


def runtime_row(runtime: str, folder: str) -> Row:
    package, version = runtime.split()
    home = Path(os.environ.get("METABIT_TFLITE_DIR", ROOT / "build" / "tflites")) / f"{package}-{version}"
    told = run_child(home, f"{package}=={version}", CHILD, folder, package.replace("-", "_"))
    row = {"runtime": runtime} | equality(told)
    for name in TIMED:
        row |= {f"{name}_us": round(told[name].get("us", 0), 1), f"{name}_bytes": told[name].get("bytes", 0)}
    return row


def page() -> str:
    rows = BENCHMARK.rows("runtimes")
    one = rows[0]
    sizes = ", ".join(f"{one[f'{name}_bytes']:,} for {what}" for name, what in TIMED.items())
    about = (
        f"{one['networks']} networks that learn by a head, output levels or visits, {one['steps']} steps each on random samples, "
        f"{one['processor']}, {one['date']}, seed {SEED}, numpy {one['numpy']}, files by flatbuffers {one['flatbuffers']}. *Equal* "
        "is the number of networks whose whole state is the oracle's after the last step, in every bit. The times are microseconds "
        f"of processor time a step on one thread, one sample a call (median). Bytes of the files: {sizes}. {BENCHMARK.raw(PAGE)}"
    )
    table = [
        [r["runtime"], f"{r['equal']} of {r['networks']}", *(f"{r[f'{name}_us']:,.0f}" for name in TIMED)] for r in rows
    ]
    return results.page("Learning in TFLite", about, results.markdown(["runtime", "equal", *TIMED.values()], table))


BENCHMARK = Benchmark(
    __file__,
    {"runtimes": "model.train.tflite in several TFLite runtimes"},
    lambda name: {runtime: [{"experiment": name, "runtime": runtime}] for runtime in RUNTIMES},
    lambda: {PAGE: page()} if BENCHMARK.rows("runtimes") else {},
    together=together,
)

if __name__ == "__main__":
    results.main(BENCHMARK)
