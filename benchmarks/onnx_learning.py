"""model.train.onnx in many versions of onnxruntime: docs/results/runtime/onnx-learning.md.

    python benchmarks/onnx_learning.py versions

Each version is installed into a folder of its own (METABIT_ORT_DIR, else build/onnxruntimes). It learns random samples with the
networks of tests/vectors that do not learn by votes, and with the three of `TIMED`; every state array after the last step is
compared with the oracle's. The time of a step is that of a call with one sample, whose state goes in and comes out as arrays, and
that of one call with all samples.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from host import processor
from onnxruntimes import VERSIONS

from metabit import export
from metabit.experiments import results
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.export import DenseLayer, Frozen, Oracle, OutputLayer, Rule
from metabit.export.errors import ExportError
from metabit.export.learning import state_of, write_onnx_train
from metabit.export.vectors import learned

PAGE = "docs/results/runtime/onnx-learning.md"
ROOT = Path(__file__).resolve().parents[1]
SEED, STEPS = 2026, 100
TIMED = {"head": "64 values, 10 classes", "visits": "64-32-10, 4 bits", "large": "784-512-512-10, 4 bits"}

CHILD = """
import json, sys, time
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.log_severity_level = 4
told = []
for name in json.load(open(sys.argv[1] + "/names.json")):
    row = {"name": name}
    try:
        with np.load(f"{sys.argv[1]}/{name}.npz") as file:
            want = dict(file)
        x, y = want.pop("x"), want.pop("y")
        session = onnxruntime.InferenceSession(f"{sys.argv[1]}/{name}.onnx", options, providers=["CPUExecutionProvider"])
        source, names = session.get_inputs()[0].name, [k + ".next" for k in want]
        state, single = {}, []
        for i in range(len(x)):
            begin = time.perf_counter()
            out = session.run(["scores", *names], {source: x[i : i + 1], "target": y[i : i + 1], **state})
            single.append(time.perf_counter() - begin)
            state = dict(zip(want, out[1:]))
        together = []
        for _ in range(3):
            begin = time.perf_counter()
            out = session.run(names, {source: x, "target": y})
            together.append((time.perf_counter() - begin) / len(x))
        both = (state, dict(zip(want, out)))
        row["equal"] = all(np.array_equal(one[k], a) for one in both for k, a in want.items())
        row |= {"single_us": 1e6 * float(np.median(single)), "together_us": 1e6 * min(together)}
    except Exception as error:
        row |= {"equal": False, "error": str(error)[:200]}
    told.append(row)
print(json.dumps(told))
"""


def visits_network(*sizes: int) -> Frozen:
    """Random levels of 4 bits, and a rule that visits 0.12 of the synapses after a completely wrong sample, as export's default."""
    rng, layers = np.random.default_rng(SEED), []
    weaken = np.round(65535 * (1 - np.tanh(0.35 * (np.arange(8) + 0.5)) ** 2)).astype(np.uint16)
    for i, (inputs, units) in enumerate(zip(sizes, sizes[1:], strict=False)):
        hidden, takes = rng.integers(-8, 8, (units, inputs)).astype(np.int8), "signs" if i else "bits"
        rule = Rule(np.full(8, 65535, np.uint16), weaken, round(0.12 * units * 4096))
        if i < len(sizes) - 2:
            layers.append(DenseLayer(hidden, 4, takes, np.zeros(units, np.int32), int(inputs**0.5), rule))
        else:
            layers.append(OutputLayer(hidden, 4, takes, *np.array([[1], [0]], np.int32).repeat(units, 1), rule))
    return Frozen(tuple(layers), None, 1000, 80, SEED)


def networks() -> dict[str, Frozen]:
    """By name; the last ones are timed."""
    found: dict[str, Frozen] = {}
    for path in sorted((ROOT / "tests" / "vectors").glob("*.mbit")):
        frozen = export.read_image(path.read_bytes())
        try:
            state_of(frozen)
        except ExportError:  # it learns by votes, or not at all
            continue
        found[path.stem] = frozen
    sample = np.random.default_rng(SEED).integers(0, 256, (64, 20))
    head = export.fresh(sample, 10, units=64, takes="uint8", seed=SEED)
    return found | {"head": head, "visits": visits_network(64, 32, 10), "large": visits_network(784, 512, 512, 10)}


def together(asked: Sequence[Cell]) -> list[Row]:
    about = results.provenance("numpy", "onnx") | {"processor": processor()}
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder, "onnx", write_onnx_train)
        return [about | version_row(cell["version"], folder) for cell in asked]


def prepare(folder: str, ending: str, write: Callable[[Frozen], bytes]) -> None:
    """Writes the training file of each network, samples, and the state after them by the oracle; their names to names.json."""
    nets = networks()
    Path(folder, "names.json").write_text(json.dumps(list(nets)))
    for name, frozen in nets.items():
        rng = np.random.default_rng(SEED)
        lowest = export.frozen.LOWEST[frozen.integers]
        high = 2 if frozen.packed else 256 + 256 * 255 * (lowest < 0)
        x = rng.integers(lowest, lowest + high, (STEPS, frozen.features)).astype(frozen.integers)
        y, oracle = rng.integers(0, frozen.classes, STEPS), Oracle(frozen)
        for one, label in zip(x, y, strict=True):
            oracle.learn(one, int(label))
        np.savez(Path(folder, f"{name}.npz"), x=x, y=y, **state_of(learned(frozen, oracle)))
        Path(folder, f"{name}.{ending}").write_bytes(write(frozen))


def run_child(home: Path, package: str, *arguments: str) -> dict[str, Row]:
    """The output of a child, by network, with this package, which is installed into its own folder if it is not there."""
    if not home.exists():
        install = ["pip", "install", "--quiet", "--no-deps", "--target", str(home), package]
        subprocess.run([sys.executable, "-m", *install], check=True)
    environment = os.environ | {"PYTHONPATH": str(home), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return {one["name"]: one for one in json.loads(ran.stdout)}


def equality(told: dict[str, Row]) -> Row:
    """How many networks were equal, and why the others were not."""
    fails = {name: one.get("error", "another state") for name, one in told.items() if not one["equal"]}
    return {"networks": len(told), "steps": STEPS, "equal": len(told) - len(fails), "fails": fails}


def version_row(version: str, folder: str) -> Row:
    home = Path(os.environ.get("METABIT_ORT_DIR", ROOT / "build" / "onnxruntimes")) / version
    told = run_child(home, f"onnxruntime=={version}", CHILD, folder)
    row = {"onnxruntime": version} | equality(told)
    for name in TIMED:
        row |= {f"{name}_{key}": round(told[name].get(key, 0), 1) for key in ("single_us", "together_us")}
    return row


def page() -> str:
    rows = BENCHMARK.rows("versions")
    one = rows[0]
    about = (
        f"{one['networks']} networks that learn by a head, output levels or visits, {one['steps']} steps each on random samples, "
        f"{one['processor']}, {one['date']}, seed {SEED}, numpy {one['numpy']}, files by onnx {one['onnx']}. *Equal* is the "
        "number of networks whose whole state is the oracle's after the last step, in every bit, both one sample a call and all in "
        "one call. The times are microseconds a step on one thread: one sample a call (median), and all in one call (best of 3). "
        f"{BENCHMARK.raw(PAGE)}"
    )
    kinds = [f"{what}, {how}" for what in TIMED.values() for how in ("one a call", "together")]
    table = [
        [r["onnxruntime"], f"{r['equal']} of {r['networks']}",
         *(f"{r[f'{name}_{key}']:,.0f}" for name in TIMED for key in ("single_us", "together_us"))]
        for r in rows
    ]  # fmt: skip
    return results.page("Learning in ONNX Runtime", about, results.markdown(["onnxruntime", "equal", *kinds], table))


BENCHMARK = Benchmark(
    __file__,
    {"versions": "model.train.onnx in versions of onnxruntime"},
    lambda name: {version: [{"experiment": name, "version": version}] for version in VERSIONS},
    lambda: {PAGE: page()} if BENCHMARK.rows("versions") else {},
    together=together,
)

if __name__ == "__main__":
    results.main(BENCHMARK)
