"""Prediction of one image at a time on a computer, beside other engines: docs/results/runtime/host.md from results/host.jsonl.

    METABIT_DATA_DIR=... python benchmarks/host.py all

A network of 784-512-512-10, trained for an epoch on MNIST, with its pixels on or off. Engines that run this network (the C runtime
with every set of vectors, its ONNX file, Larq Compute Engine where it is installed) must predict the same labels; float32 and int8
networks of the same shape with ReLU show the cost of the usual alternatives. One thread, batch 1; engines take turns over the same
images. Then a network of gates from 8-bit pixels, and learning, 784-256-10, from Python. "Library" is a loop in C around mb_predict
(host.c), compiled as the wheel is.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from engines import (
    BATCH,
    BITS,
    ENGINES,
    GATES,
    HIDDEN,
    LCE,
    OF_GATES,
    SEED,
    VECTORS,
    Engine,
    Inputs,
    frozen_net,
    gates_net,
    mnist,
)  # fmt: skip

from metabit import export
from metabit.experiments import results
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.runtime import Model, _core

PAGE = "docs/results/runtime/host.md"
LEARNER = (256,)
DIGITS = 1000
TURNS = 60
SHORT, SHORT_TURNS = BATCH, 200
"""Digits and turns of gates: turns so short that some of them are not interrupted on a busy machine."""
LEARN_TURNS = 10

EMULATED = (
    "This processor has no AVX-512. Its functions ran in an emulator (Bochs 2.7 as an Ice Lake, "
    "`tests/runtime/emulated.py`): 17,340 predictions of 234 networks, and learning steps between them, equal the ones without "
    "vectors in every integer. There a prediction of this network takes 2,115 instructions with AVX-512 and 3,748 with AVX2; "
    "the µs that AVX-512 takes were not measured."
)
"""The sentences about AVX-512 where no row of gates has it."""

BEST = str(_core.VECTORS_HERE[-1])
"""The widest vectors of this machine."""


# Measuring


def cells(name: str) -> dict[str, list[Cell]]:
    variants = {"predict": ENGINES, "gates": OF_GATES, "learn": dict.fromkeys(VECTORS)}[name]
    return {variant: [{"experiment": name, "engine": variant}] for variant in variants}


def here(asked: Cell) -> bool:
    """True if this machine has the vectors or the engine; 8-bit pixels and learning are measured on the widest only."""
    engine, name = asked["engine"], asked["experiment"]
    if name == "learn":
        return engine in ("none", BEST)
    if name == "gates":
        return not engine.startswith("metabit, library") or engine.split(", ")[2] in _core.VECTORS_HERE
    if engine.startswith("metabit, library"):
        vectors = engine.split(", ")[2]
        return vectors == BEST if "8-bit" in engine else vectors in _core.VECTORS_HERE
    return engine != LCE or find_spec("larq_compute_engine") is not None


def together(asked: Sequence[Cell]) -> list[Row]:
    about = results.provenance("numpy", "onnxruntime", "torch") | {"processor": processor(), "seed": SEED}
    names = [cell["engine"] for cell in asked]
    measure = {"predict": predicting, "gates": gates, "learn": learning}[asked[0]["experiment"]]
    return [row | about for row in measure(names)]


def predicting(names: list[str]) -> list[Row]:
    """Microseconds an image of each engine; all that run the same network must agree on every label, every turn."""
    frozen, x = frozen_net(HIDDEN), mnist().x_test[:DIGITS]
    right = Model(export.write_image(frozen)).predict_many(x) == mnist().y_test[:DIGITS]
    on, accuracy = round(float((x >= 128).mean()), 4), round(100 * float(right.mean()), 1)
    about = {"digits": DIGITS, "on": on, "accuracy": accuracy, "turns": TURNS}
    return in_turns({name: ENGINES[name](Inputs(frozen, x)) for name in names}, about)


def gates(names: list[str]) -> list[Row]:
    """As `predicting`, for the network of gates. Engines take the pixels in the form that they need, made beforehand."""
    image, task = gates_net(), mnist()
    right = Model(image).predict_many(task.x_test) == task.y_test
    about = {"digits": SHORT, "accuracy": round(100 * float(right.mean()), 1), "turns": SHORT_TURNS}
    x = np.ascontiguousarray(task.x_test[:SHORT])
    return in_turns({name: OF_GATES[name](image, x) for name in names}, about)


def in_turns(sides: dict[str, Engine], about: Row) -> list[Row]:
    times: dict[str, list[float]] = {name: [] for name in sides}
    want = None
    for turn in range(about["turns"] + 1):
        for name, engine in sides.items():
            took, labels = engine()
            if labels is not None:
                want = labels.copy() if want is None else want
                assert np.array_equal(labels, want), f"{name} disagrees"
            if turn:  # the first turn only warms up
                times[name].append(1e6 * took)
    return [
        {"min_us": round(min(some), 3), "median_us": round(statistics.median(some), 3), **about}
        for some in times.values()
    ]


def learning(names: list[str]) -> list[Row]:
    """Samples a second of learn_many, from the same image on the same images in every turn, to the same state."""
    frozen, task = frozen_net(LEARNER), mnist()
    image, labels = export.write_image(replace(frozen, encode=None)), task.y_train[:10_000]
    x = np.packbits(task.x_train[:10_000] >= 128, axis=1, bitorder="little")
    rates: dict[str, list[float]] = {name: [] for name in names}
    ends = set()
    for _ in range(LEARN_TURNS):
        for vectors, values in rates.items():
            os.environ["METABIT_VECTORS"] = vectors
            model = Model(image)
            del os.environ["METABIT_VECTORS"]
            begin = time.perf_counter()
            steps = model.learn_many(x, labels)
            values.append(len(x) / (time.perf_counter() - begin))
            ends.add(model.state())
    assert len(ends) == 1, "kernels of different vectors learn different states"
    about = {name: round(float(getattr(steps, name).mean()), 1) for name in ("visited", "moved", "flipped")}
    return [
        {"best_per_s": round(max(some)), "median_per_s": round(statistics.median(some)), "samples": len(x), **about}
        for some in rates.values()
    ]


# The page


def processor() -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    names = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
    return f"{[*names, platform.processor() or platform.machine()][0]}, {os.cpu_count()} cores"


def host_page() -> str:
    """Returns the text of docs/results/runtime/host.md."""
    predicted, learnt = BENCHMARK.rows("predict"), BENCHMARK.rows("learn")
    one, least = predicted[0], min(row["min_us"] for row in predicted)
    about = (
        f"{BENCHMARK.command('all')} on {one['processor']}, {one['date']}, numpy {one['numpy']}, onnxruntime "
        f"{one['onnxruntime']}, seed {one['seed']}. 784-{'-'.join(map(str, HIDDEN))}-10, {one['digits']} MNIST test images with "
        f"pixels on from 128 ({100 * one['on']:.1f} % on), {one['accuracy']} % of them right; one thread, batch 1 unless said, "
        f"{one['turns']} turns over all images, engines interleaved. Inputs are bits, in the form each engine takes them. All "
        "engines with metabit's network agreed on every label, Larq Compute Engine (its indirect kernel) among them; the ReLU "
        "networks have the same shape and random weights. Library rows are a loop in C, all others are called from Python. "
        f"{BENCHMARK.raw(PAGE)}"
    )
    rows = [
        [r["engine"], f"{r['min_us']:.2f}", f"{r['median_us']:.2f}", f"{r['min_us'] / least:.1f}"] for r in predicted
    ]
    head = ["engine", "µs an image, best turn", "median turn", "best, times the fastest"]
    text = results.page("Prediction of one image at a time on a computer", about, results.markdown(head, rows))
    if found := BENCHMARK.rows("gates"):
        text += "\n" + gates_section(found)
    if not learnt:
        return text
    one = learnt[0]
    about = (
        f"784-{'-'.join(map(str, LEARNER))}-10 at k = {BITS}, `learn_many` on {one['samples']} images in one call, one thread: "
        f"{one['visited']} synapses visited a sample, {one['moved']} moved, {one['flipped']} flipped; all rows end in one state."
    )
    rows = [[r["engine"], f"{r['best_per_s']:,}", f"{r['median_per_s']:,}"] for r in learnt]
    table = results.markdown(["vectors", "samples/s, best turn", "median turn"], rows)
    return text + "\n" + results.page("Learning", about, table, level=2)


def gates_section(found: list[Row]) -> str:
    one, least = found[0], min(row["min_us"] for row in found)
    about = (
        f"784-{GATES} gates from 8-bit pixels on {one['processor']}, {one['date']}, onnxruntime {one['onnxruntime']}, torch "
        f"{one['torch']}: {one['digits']} MNIST test images, {one['accuracy']} % of all right, one thread, {one['turns']} turns, "
        f"engines interleaved. The ReLU networks are 784-{GATES}-10 with random weights and take pixels as float32. Batch {BATCH}: "
        "as many images in one call. The machine had other work at the same time, which single calls of ONNX Runtime and torch "
        "suffer from most."
    )
    if not any("avx512" in row["engine"] for row in found):
        about += f" {EMULATED}"
    rows = [[r["engine"], f"{r['min_us']:.2f}", f"{r['median_us']:.2f}", f"{r['min_us'] / least:.1f}"] for r in found]
    head = ["engine", "µs an image, best turn", "median turn", "best, times the fastest"]
    return results.page("Gates", about, results.markdown(head, rows), level=2)


BENCHMARK = Benchmark(
    __file__,
    {"predict": "µs an image, engine by engine", "gates": "µs an image of gates, engine by engine",
     "learn": "Samples a second of learn_many"},
    cells, lambda: {PAGE: host_page()} if BENCHMARK.rows("predict") else {}, together=together, here=here,
)  # fmt: skip

if __name__ == "__main__":
    results.main(BENCHMARK)
