"""Integer scores of every engine beside the oracle's on 1,000 real pictures: docs/results/export/equal-scores.md.

    python benchmarks/equal_scores.py all

The networks are those of equal_scores_networks.py. An emulated board runs the firmware that predicts only, from flash: so all
networks but one fit all boards. METABIT_ORT_DIR names the folder of the versions of onnxruntime, as for onnxruntimes.py.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from equal_scores_networks import NETS, SAMPLES, frozen, inputs, pictures
from numpy.typing import NDArray
from onnxruntimes import environment

from metabit import firmware_sim
from metabit.experiments import results
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.export import ExportError, Frozen, Oracle, write_image
from metabit.export.errors import require
from metabit.export.files.lce_file import write_lce
from metabit.export.files.lce_runtime import lce_interpreter
from metabit.export.files.micro_file import ARENA, write_micro
from metabit.export.files.onnx_file import write_onnx
from metabit.export.files.tflite_file import RUNTIMES, write_tflite
from metabit.firmware_sim.build.toolchain import compiler_version
from metabit.runtime import Model

PAGE = "docs/results/export/equal-scores.md"
ONNXRUNTIMES = ("1.16.3", "1.18.1", "1.32.0")
"""The oldest that was tried, the oldest that metabit installs, and the newest."""
BATCH = 50
CHILD = """
import sys
import numpy as np, onnxruntime
assert onnxruntime.__version__ == sys.argv[2], onnxruntime.__file__
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx", options, providers=["CPUExecutionProvider"])
scores, labels = session.run(["scores", "label"], {session.get_inputs()[0].name: np.load(sys.argv[1] + "/x.npy")})
np.savez(sys.argv[1] + "/told.npz", scores=scores, labels=labels)
"""

Inputs = NDArray[Any]
Answer = tuple[NDArray[Any], NDArray[Any]]
"""Scores (n, classes) and labels (n,)."""


@dataclass(frozen=True)
class Engine:
    """An engine: the file that it runs, what computes the scores of inputs uint8 (n, F), and its version in words."""

    file: str
    run: Callable[[Frozen, Inputs], Answer]
    version: Callable[[], str]


# Engines


def oracle(frozen: Frozen, x: Inputs) -> Answer:
    network = Oracle(frozen)
    scores = np.array([network.scores(one) for one in x])
    return scores, scores.argmax(axis=1)


def host(frozen: Frozen, x: Inputs) -> Answer:
    model = Model(write_image(frozen))
    return model.scores(x), model.predict_many(x)


def board(name: str, frozen: Frozen, x: Inputs) -> Answer:
    image, chip = write_image(frozen), firmware_sim.load_board(name)
    with firmware_sim.Device(firmware_sim.build(image, chip, mode="infer"), chip) as device:
        replies = device.predict_many(Model(image).device_bytes(x))
    assert replies.scores is not None
    return replies.scores, replies.label


def onnxruntime(wanted: str, frozen: Frozen, x: Inputs) -> Answer:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.onnx").write_bytes(write_onnx(frozen))
        np.save(Path(folder, "x.npy"), x)
        subprocess.run([sys.executable, "-c", CHILD, folder, wanted], env=environment(wanted), check=True)
        with np.load(Path(folder, "told.npz")) as told:
            return told["scores"], told["labels"]


def reference(frozen: Frozen, x: Inputs) -> Answer:
    session = require("onnx.reference").ReferenceEvaluator(require("onnx").load_from_string(write_onnx(frozen)))
    (source,) = session.input_names
    return joined(session.run(["scores", "label"], {source: part}) for part in parts(x))


def tflite(package: str, frozen: Frozen, x: Inputs) -> Answer:
    interpreter = require(RUNTIMES[package], package).Interpreter(model_content=write_tflite(frozen), num_threads=1)
    infer = interpreter.get_signature_runner("infer")
    (source,) = infer.get_input_details()
    told = (infer(**{source: part}) for part in parts(x))
    return joined((one["scores"].copy(), one["label"].copy()) for one in told)


def micro(frozen: Frozen, x: Inputs) -> Answer:
    runtime = require("tflite_micro.python.tflite_micro.runtime", "tflite-micro")
    interpreter = runtime.Interpreter.from_bytes(write_micro(frozen), arena_size=ARENA)

    def one(row: Inputs) -> list[NDArray[Any]]:
        interpreter.set_input(row, 0)
        interpreter.invoke()
        return [interpreter.get_output(i).copy() for i in range(2)]

    return joined(one(row) for row in (x[:, None] ^ 128).view(np.int8))


def larq(frozen: Frozen, x: Inputs) -> Answer:
    engine = lce_interpreter(write_lce(frozen))
    return joined([out.copy() for out in engine.predict([row])] for row in x[:, None])


def parts(x: Inputs) -> Iterator[Inputs]:
    return (x[at : at + BATCH] for at in range(0, len(x), BATCH))


def joined(answers: Any) -> Answer:
    scores, labels = zip(*answers, strict=True)
    return np.concatenate(scores), np.concatenate(labels)


def of(package: str) -> Callable[[], str]:
    return partial(version, package)


ENGINES: dict[str, Engine] = {
    "oracle": Engine("model.mbit", oracle, lambda: f"numpy {version('numpy')}"),
    "C on the host": Engine("model.mbit", host, lambda: f"metabit {version('metabit')}"),
    **{name: Engine("model.mbit", partial(board, name), compiler_version) for name in firmware_sim.boards()},
    **{f"onnxruntime {v}": Engine("model.onnx", partial(onnxruntime, v), partial(str, v)) for v in ONNXRUNTIMES},
    "onnx.reference": Engine("model.onnx", reference, of("onnx")),
    "tflite-runtime": Engine("model.tflite", partial(tflite, "tflite-runtime"), of("tflite-runtime")),
    "LiteRT": Engine("model.tflite", partial(tflite, "ai-edge-litert"), of("ai-edge-litert")),
    "TFLite Micro": Engine("model.micro.tflite", micro, of("tflite-micro")),
    "Larq Compute Engine": Engine("model.lce.tflite", larq, of("larq-compute-engine")),
}


# Measuring


def cells(name: str) -> dict[str, list[Cell]]:
    return {
        network: [{"experiment": name, "network": network, "engine": engine} for engine in ENGINES] for network in NETS
    }


@cache
def wanted(network: str) -> Answer:
    return oracle(frozen(network), inputs(network))


def compare(engine: Engine, frozen: Frozen, x: Inputs, want: Answer) -> Row:
    """Inputs on which all scores, and the label, are those of the oracle; or why the engine cannot hold the network."""
    try:
        scores, labels = engine.run(frozen, x)
    except (ExportError, firmware_sim.DoesNotFit) as refused:
        return {"samples": 0, "why": str(refused)}
    if scores.shape != want[0].shape or labels.shape != want[1].shape:
        raise ExportError(f"scores {scores.shape} and labels {labels.shape} are not of {len(x)} inputs")
    equal = {"equal_scores": int((scores == want[0]).all(axis=1).sum()), "equal_labels": int((labels == want[1]).sum())}
    return {"samples": len(x), **equal}


def measure(asked: Cell) -> Row:
    network, engine = asked["network"], ENGINES[asked["engine"]]
    made, want = frozen(network), wanted(network)
    image = write_image(made)
    about = {"sha256": hashlib.sha256(image).hexdigest(), "bytes": len(image), "version": engine.version()}
    right = int((want[1] == pictures(NETS[network].data).y_test).sum())
    return results.provenance() | about | {"right": right} | compare(engine, made, inputs(network), want)


# The page


def page() -> str:
    rows = BENCHMARK.rows("scores")
    done = BENCHMARK.done("scores")
    ran = [row for row in rows if row["samples"] and row["engine"] != "oracle"]
    whys: list[str] = [row["why"] for row in rows if not row["samples"]]
    about = (
        f"{len(NETS)} networks, {len(ENGINES) - 1} engines beside the oracle, the first {SAMPLES:,} test pictures: "
        f"{sum(row['equal_scores'] for row in ran):,} of {sum(row['samples'] for row in ran):,} vectors of scores and "
        f"{sum(row['equal_labels'] for row in ran):,} labels are the oracle's, integer by integer. A cell is the number of "
        "pictures with equal scores and an equal label. Networks are columns, by the number of the table below. Boards are "
        "emulated, instruction by instruction, with the firmware that predicts only. "
        f"{results.places(rows)}. {BENCHMARK.raw(PAGE)}"
    )
    told = [{row["engine"]: row for row in some} for some in done.values()]
    table = [
        [name, engine.file, next(one[name]["version"] for one in told if name in one),
         *(cell(one.get(name), whys) for one in told)]
        for name, engine in ENGINES.items()
        if any(name in one for one in told)
    ]  # fmt: skip
    notes = [f"({i + 1}) {why}." for i, why in enumerate(whys)]
    head = ["engine", "file", "version", *(str(i + 1) for i in range(len(done)))]
    return results.page("Equal scores in every engine", about, results.markdown(head, table), notes)


def cell(row: Row | None, whys: list[str]) -> str:
    if row is None:
        return ""
    if not row["samples"]:
        return f"({whys.index(row['why']) + 1})"
    least = min(row["equal_scores"], row["equal_labels"])
    if row["engine"] == "oracle" or least == row["samples"]:
        return f"{row['samples']:,}"
    return f"{least:,} of {row['samples']:,}"


def networks_section() -> str:
    done = {network: rows[0] for network, rows in BENCHMARK.done("scores").items()}
    about = (
        "Each is trained for one or two epochs on 10,000 pictures (the units from nothing: 500, one by one), which is enough "
        "to compare integers and too little for accuracy. Layers that learn by visits or votes have levels of 4 bits where the "
        "name does not say another number, of 3 in the odd shapes (33 and 50 channels, stride 2 without padding, 37 units). "
        "Negative gains: each unit of each norm has one, and its weights and mean are negated, so the function is that of the "
        "network without them."
    )
    table = [
        [str(i + 1), network, NETS[network].data, f"{row['bytes']:,}", f"{row['right']:,}", f"`{row['sha256'][:16]}`"]
        for i, (network, row) in enumerate(done.items())
    ]
    head = ["", "network", "data", "bytes of model.mbit", f"right of {SAMPLES:,}", "sha256 begins"]
    return results.page("The networks", about, results.markdown(head, table), level=2)


BENCHMARK = Benchmark(
    __file__,
    {"scores": "integer scores of every engine beside the oracle's"},
    cells,
    lambda: {PAGE: page() + "\n" + networks_section()} if BENCHMARK.rows("scores") else {},
    measure=measure,
)

if __name__ == "__main__":
    results.main(BENCHMARK)
