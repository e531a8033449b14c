"""Accuracy against flash, RAM and cycles, beside rivals: docs/results/runtime/equal-accuracy.md from results/equal_accuracy.jsonl.

    METABIT_DATA_DIR=... METABIT_CMSIS_NN=... python benchmarks/equal_accuracy.py all
    METABIT_DATA_DIR=... python benchmarks/equal_accuracy.py all --only metabit --again

The second command measures the rows of metabit alone, after a change to its kernels. Every network predicts all test samples in its
own integers (metabit in the C runtime, rivals in NumPy), and `SAMPLES` of them on emulated boards, which must give the same scores.
METABIT_CMSIS_NN names a checkout of github.com/ARM-software/CMSIS-NN; its rows need it. Rivals' C is in benchmarks/rivals.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import rival_device
import rival_learners
import rival_networks
import rival_symbols
import streams
import torch
from checkpoints import digest
from equal_accuracy_page import SAMPLES, pages_of, picture
from numpy.typing import NDArray
from rival_networks import Rival, Settings

from metabit import firmware_sim
from metabit.data.encoder import Encoder
from metabit.experiments import learner_streams, results
from metabit.experiments.development_problems import problem
from metabit.experiments.development_sets import DataSet
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.export import GateOptions, freeze_gates, write_image
from metabit.firmware_sim.build.toolchain import compiler_version
from metabit.firmware_sim.errors import BuildError
from metabit.firmware_sim.price.cycles import load_model
from metabit.runtime import Model, sources

SEEDS = (0, 1, 2)
BOARDS = ("nrf52840", "rp2040")
FLAGS = ("zig -Os", "gcc -Os", "gcc -O2")
PICTURES = ("mnist", "fashion-mnist")
SENSORS = ("wisdm", "watch")
SIZES = {
    "mnist": (32, 64, 96, 128, 256),
    "fashion-mnist": (32, 64, 96, 128, 256),
    "wisdm": (32, 64, 128, 192),
    "watch": (32, 64, 128, 192),
}
"""Gates of metabit's networks."""
NAMES = {"mnist": "MNIST", "fashion-mnist": "Fashion", "wisdm": "wisdm", "watch": "watch"}
HEADS = (32, 64)


@dataclass(frozen=True)
class Kind:
    """A rival: function of `rival_networks` that trains it, and its settings. data: the sets it is measured on."""

    make: str
    settings: Mapping[str, Any]
    data: tuple[str, ...] = (*PICTURES, *SENSORS)


RIVALS = {
    **{f"CMSIS-NN int8, {n} units": Kind("cmsis", {"units": n}) for n in (32, 64)},
    "CMSIS-NN int8, 128 units": Kind("cmsis", {"units": 128}, PICTURES),
    "int8 by columns, 64 units": Kind("columns", {"units": 64, "bits": 8}),
    "4 bits by columns, 64 units": Kind("columns", {"units": 64, "bits": 4}),
    "ternary by columns, 64 units": Kind("columns", {"units": 64, "bits": 2}),
    "ternary by columns, 128 units": Kind("columns", {"units": 128, "bits": 2}, PICTURES),
    "Tsetlin machine, 500 clauses": Kind("tsetlin", {"clauses": 500, "literals": 16}),
    "hyperdimensional, 2048 bits": Kind("hyper", {"dimensions": 2048}, PICTURES),
    "hyperdimensional, 1024 bits": Kind("hyper", {"dimensions": 1024}, SENSORS),
}
MAKE: dict[str, Any] = {
    "cmsis": rival_networks.cmsis, "columns": rival_networks.columns, "tsetlin": rival_symbols.tsetlin,
    "hyper": rival_symbols.hyper, "sgd": rival_learners.sgd, "niti": rival_learners.niti,
}  # fmt: skip
ON_SENSORS: dict[str, tuple[int, ...]] = {
    "head": (16, 32, 64), "gates": (16, 32, 64), "sgd": (64,), "niti": (64,),
    **dict.fromkeys(learner_streams.RIVALS, (0,)),
}  # fmt: skip
LEARNERS: dict[str, dict[str, tuple[int, ...]]] = {
    "mnist": {"head": (32, 64), "votes": (192,), "sgd": (64,), "niti": (64,)},
    **dict.fromkeys(SENSORS, ON_SENSORS),
}
"""Data -> learner -> units, 0 for a learner without any. A rival of `learner_streams` has its name there."""
LEARNER_NAMES = {
    "head": "metabit, {} gates and head", "gates": "metabit, {} gates, not learning", "votes": "metabit, votes, {} graded units",
    "sgd": "float SGD, {} units", "niti": "int8 in place, {} units",
}  # fmt: skip
WARM = 600
"""Samples that a learner by votes has seen before, so that its batch is full."""
ROOMY = 1 << 20


def cells(name: str) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    if name == "learning":
        return {
            f"{NAMES[data]}: {LEARNER_NAMES.get(learner, learner).format(n)}": [
                {"experiment": name, "data": data, "network": learner, "units": n, "seed": seed}
                for seed in (SEEDS if data in SENSORS else SEEDS[:1])
            ]
            for data, learners in LEARNERS.items()
            for learner, units in learners.items()
            for n in units
        }
    for data in PICTURES if name == "pictures" else SENSORS:
        for units in SIZES[data]:
            found[f"{NAMES[data]}: metabit, {units} gates"] = [
                {"experiment": name, "data": data, "network": "gates", "units": units, "seed": seed} for seed in SEEDS
            ]
        for units in HEADS:
            found[f"{NAMES[data]}: metabit, {units} gates and head"] = [
                {"experiment": name, "data": data, "network": "head", "units": units, "seed": seed} for seed in SEEDS
            ]
        for rival, kind in RIVALS.items():
            if data in kind.data:
                found[f"{NAMES[data]}: {rival}"] = [
                    {"experiment": name, "data": data, "network": kind.make, **kind.settings, "seed": seed,
                     "training": asdict(Settings())} for seed in SEEDS
                ]  # fmt: skip
    return found


def here(asked: Cell) -> bool:
    if asked["network"] == "tsetlin":
        return find_spec("green_tsetlin") is not None
    return asked["network"] != "cmsis" or rival_device.cmsis_folder() is not None


@functools.cache
def data_of(name: str, seed: int) -> DataSet:
    """Pictures as they are; of a sensor the people that are known before deployment."""
    return learner_streams.pictures(name) if name in PICTURES else problem(name, seed).old


def encoder_of(data: DataSet) -> Encoder:
    """metabit's: for MNIST one threshold for all pixels."""
    return Encoder.fit(data.x, 1, shared=True) if data.name == "mnist" else Encoder.fit(data.x)


def measure(asked: Cell) -> Row:
    """Accuracy of one network; of that of seed 0 also its costs."""
    torch.set_num_threads(1)
    start, data = time.perf_counter(), data_of(asked["data"], asked["seed"])
    if asked["experiment"] == "learning":
        row = _learner(asked, data)
    else:
        row = _metabit(asked, data) if asked["network"] in ("gates", "head") else _rival(asked, data)
    return {**row, "seconds": round(time.perf_counter() - start, 1), **results.provenance("numpy", "torch")}


def _metabit(asked: Cell, data: DataSet) -> Row:
    trained = learner_streams.trained(data, asked["units"], asked["seed"], data.name == "mnist")
    learner = "none" if asked["network"] == "gates" else "head"
    given = () if learner == "none" else (data.x, data.y)
    image = write_image(replace(freeze_gates(trained, *given, options=GateOptions(learner=learner)), notes=None))
    model = Model(image)
    q, labels = trained.encoder.quantise(data.x_test), model.predict_many(data.x_test)
    row: Row = {"accuracy": _percent(labels, data.y_test), "test samples": len(labels)}
    if asked["seed"] == 0:
        few = q[:SAMPLES]
        scores, on = model.scores(data.x_test[:SAMPLES]), trained.encoder.compare(few).sum(1)
        mode = "infer" if learner == "none" else "learn"

        def build(board: firmware_sim.Board, compiler: Any, opt: str) -> Any:
            return firmware_sim.build(image, board, mode=mode, compiler=compiler, opt=opt)

        row |= {"costs": _costs(build, few, scores, on), "sources": _library()}
    return row


def _rival(asked: Cell, data: DataSet) -> Row:
    encoder = encoder_of(data)
    given = {
        key: value for key, value in asked.items() if key in ("units", "bits", "clauses", "literals", "dimensions")
    }
    rival: Rival = MAKE[asked["network"]](
        encoder, encoder.quantise(data.x), data.y, data.classes, seed=asked["seed"],
        settings=Settings(**asked["training"]), **given,
    )  # fmt: skip
    q = encoder.quantise(data.x_test)
    scores = np.concatenate([rival.predict(part) for part in np.array_split(q, max(1, len(q) // 1000))])
    row: Row = {"accuracy": _percent(scores.argmax(1), data.y_test), "test samples": len(q)}
    if asked["seed"] == 0:
        few = q[:SAMPLES]

        row["costs"] = _costs(functools.partial(_built, rival), few, scores[:SAMPLES], encoder.compare(few).sum(1))
        if asked["network"] == "cmsis":
            row["rival"] = rival_device.cmsis_version()
    return row


def _learner(asked: Cell, data: DataSet) -> Row:
    """A learner that has seen the old task: before and after the new one, old/new accuracy of sensors; of seed 0 the costs of its
    steps. Not learning and the rivals of `learner_streams` have no steps on a board: their bytes of state instead.
    """
    learner, units, seed = asked["network"], asked["units"], asked["seed"]
    row: Row = {}
    if learner == "votes":
        experiment = streams.EXPERIMENTS["permuted-mnist-1"]
        image = streams.first_image(experiment, streams.LARGEST["784-192-10, 4 bits"], seed)
        x, y = (
            np.concatenate(part) for part in zip(*islice(streams.Stream(experiment, seed).samples(0), 10), strict=True)
        )
        return _metabit_steps(image, x[: WARM + SAMPLES], y[: WARM + SAMPLES], WARM)
    parts = problem(asked["data"], seed).parts if asked["data"] in SENSORS else ()
    x, y = (np.concatenate([getattr(part, of) for part in parts or (data,)]) for of in ("x", "y"))
    tested: Callable[..., NDArray[Any]]
    learn: Callable[..., Any]
    in_python: learner_streams.InPlace | None = None
    if learner == "gates" or learner in learner_streams.RIVALS:
        fixed = learner == "gates"
        in_python = learner_streams.Device(units, learner="none") if fixed else learner_streams.Rival(learner)
        in_python.fit(data, seed)
        tested, learn = in_python.predict, in_python.learn
    elif learner == "head":
        trained = learner_streams.trained(data, units, seed, data.name == "mnist")
        image = write_image(replace(freeze_gates(trained, data.x, data.y), notes=None))
        model, q = Model(image), trained.encoder.quantise(x)
        tested, learn = model.predict_many, model.learn_many
    else:
        encoder = encoder_of(data)
        passes = Settings() if parts else Settings(passes=1)
        rival: Rival = MAKE[learner](encoder, encoder.quantise(data.x), data.y, data.classes, units, seed, passes)
        q = encoder.quantise(x)
    with tempfile.TemporaryDirectory() as folder:
        if learner in MAKE:
            library = rival_device.Library(rival, Path(folder))
            tested = lambda a: library.scores(encoder.quantise(a)).argmax(1)  # noqa: E731
            learn = lambda a, b: library.learn(encoder.quantise(a), b)  # noqa: E731
        if parts:
            new = problem(asked["data"], seed).new_test()
            row["before"] = [_percent(tested(data.x_test), data.y_test), _percent(tested(new[0]), new[1])]
            learn(x, y)
            row["after"] = [_percent(tested(data.x_test), data.y_test), _percent(tested(new[0]), new[1])]
    if in_python:
        return row | {"state": in_python.bytes()}
    if seed:
        return row
    if learner == "head":
        return row | _metabit_steps(image, rival_device.as_bytes(q[:SAMPLES]), y[:SAMPLES], 0)
    costs = _steps(functools.partial(_built, rival), rival_device.as_bytes(q[:SAMPLES]), y[:SAMPLES], 0)
    return row | {"costs": costs, "state": rival.arrays["START"].nbytes}


def _metabit_steps(image: bytes, x: NDArray[Any], y: NDArray[Any], warm: int) -> Row:
    def build(board: firmware_sim.Board, compiler: Any, opt: str) -> Any:
        return firmware_sim.build(image, board, compiler=compiler, opt=opt)

    return {"costs": _steps(build, x, y, warm), "state": Model(image).state_size, "sources": _library()}


def _built(rival: Rival, board: firmware_sim.Board, compiler: Any, opt: str) -> Any:
    return rival_device.build(rival, board, compiler=compiler, opt=opt)


def _steps(build: Any, x: NDArray[Any], y: NDArray[Any], warm: int) -> list[Row]:
    """Cycles of a prediction and of a learning step, after `warm` samples: the step of sample i follows its prediction."""
    found = []
    for name in BOARDS:
        board = firmware_sim.load_board(name)
        board = replace(board, ram=replace(board.ram, size=ROOMY))
        for flags in FLAGS[:2]:
            compiler, opt = flags.split()
            if not _installed(compiler):
                continue
            with firmware_sim.Device(build(board, compiler, opt), board) as device:
                if warm:
                    device.learn_many(x[:warm], y[:warm])
                told, taught = device.predict_many(x[warm:]), device.learn_many(x[warm:], y[warm:])
                used = rival_device.memory(device)
            found.append({
                "board": name, "flags": flags, "compiler": compiler_version(compiler),  # type: ignore[arg-type]
                "model": load_model(board.cycle_model).label, "predict": round(float(told.cycles.mean())),
                "learn": round(float(taught.cycles.mean())), "worst": int(taught.cycles.max()), **used,
            })  # fmt: skip
    return found


def _installed(compiler: str) -> bool:
    try:
        return bool(compiler_version(compiler))  # type: ignore[arg-type]
    except BuildError:
        return False


def _percent(labels: NDArray[Any], y: NDArray[Any]) -> float:
    return round(100 * float((labels == y).mean()), 3)


def _library() -> str:
    return digest(b"".join(path.read_bytes() for path in sources()))


def _costs(build: Any, x: NDArray[Any], scores: NDArray[Any], on: NDArray[Any]) -> list[Row]:
    """A row for each board and compiler: cycles of a prediction from the features on, and memory."""
    found = []
    for name in BOARDS:
        board = firmware_sim.load_board(name)
        for flags in FLAGS:
            compiler, opt = flags.split()
            if not _installed(compiler):
                continue
            with firmware_sim.Device(build(board, compiler, opt), board) as device:
                replies = device.predict_many(rival_device.as_bytes(x))
                used = rival_device.memory(device)
            assert np.array_equal(replies.scores, scores), f"{name}, {flags}: the board computes other scores"
            cycles = replies.cycles.astype(np.float64)
            each, base = np.polyfit(on, cycles, 1) if np.ptp(on) else (0.0, cycles.mean())
            found.append({
                "board": name, "flags": flags, "compiler": compiler_version(compiler), "model": load_model(board.cycle_model).label,
                "cycles": round(cycles.mean()), "worst": int(cycles.max()), "insns": round(float(replies.insns.mean())),
                "on": round(float(on.mean()), 1), "each input": round(float(each), 1),
                "at 120": round(float(base + 120 * each)), **used,
            })  # fmt: skip
    return found


TITLES = {
    "pictures": "MNIST and Fashion-MNIST",
    "sensors": "Sensors: wisdm and watch",
    "learning": "Learning in place: accuracy, cycles and RAM of a step",
}
BENCHMARK = Benchmark(
    __file__,
    TITLES,
    cells,
    lambda: pages_of(BENCHMARK),
    measure,
    here=here,
    pictures=lambda: picture(BENCHMARK),
)

if __name__ == "__main__":
    results.main(BENCHMARK)
