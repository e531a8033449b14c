"""metabit verify"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer
from numpy.typing import NDArray
from typer import Argument, Option

from metabit.cli import datasets
from metabit.cli.errors import UsageError
from metabit.data import thermometer
from metabit.experiments import show, stream
from metabit.experiments.demo_settings import RECIPE
from metabit.train.gates_checkpoint import GatesCheckpoint

if TYPE_CHECKING:
    from metabit.data import Task
    from metabit.export import Frozen
    from metabit.firmware_sim import Board
    from metabit.train import Checkpoint

QUICK_EPOCHS = 5


@dataclass
class Ran:
    """Results of one engine on the same inputs: scores int (n, C), and the state after each step, uint8 (steps, S)."""

    name: str
    scores: NDArray[np.integer[Any]]
    states: NDArray[np.uint8] | None = None


def command(
    checkpoint: Annotated[Path | None, Argument(help="checkpoint.safetensors; else a network is trained briefly.")] = None,
    data: datasets.Data = "digits",
    bits: Annotated[str, Option(help="Hidden bits to try, comma-separated; of the paper's networks.")] = "2,4,8",
    steps: Annotated[int, Option(help="Learning steps, the whole state compared after each.", min=1)] = 500,
    board: Annotated[list[str] | None, Option(help="Boards to emulate; repeatable. Default: all.")] = None,
    seed: show.Seed = 0,
    json: show.Json = False,
) -> None:  # fmt: skip
    """Show that every engine computes the same integers and learns the same state.

    The default network is verified with its learners head and levels, a network of the paper with each number of bits.

    Scores: NumPy oracle, ONNX Runtime, TFLite, the C runtime on this machine and on each emulated board, on every test sample.
    State: oracle, C here and C on each board, all bytes after every learning step. Exits with 1 if anything differs.

    Example: [bold]metabit verify --bits 4 --steps 100 --board rp2040[/]
    """
    from metabit import train
    from metabit.firmware_sim import boards, load_board

    try:
        widths = [int(k) for k in bits.split(",")]
    except ValueError:
        raise UsageError(f"--bits {bits}: give whole numbers separated by commas, such as 2,4,8") from None
    if any(not 2 <= k <= 8 for k in widths):
        raise UsageError(f"--bits {bits}: only 2 to 8 hidden bits learn")
    chips = [load_board(name) for name in board or boards()]
    source = train.load_checkpoint(checkpoint) if checkpoint else None
    if source is None:
        read = datasets.loaded(data, seed)
        source = _quick(read, seed)
    elif isinstance(source, GatesCheckpoint):
        read = datasets.loaded(data, seed, source.classes, source.class_names)
    else:
        read = datasets.loaded(data, seed, source.spec.classes)
    networks = _networks(source, widths, seed)
    rows: list[dict[str, Any]] = []
    with show.bar("verifying", (4 + len(chips)) * len(networks)) as bar:
        for name, frozen in networks.items():
            task = stream.as_inputs(read, frozen)
            ran = run_all(frozen, task, steps, chips, lambda text: bar.step(text=text))
            rows += [{"bits": name, **row} for row in compare(ran)]
    equal = all(row["scores_differ"] == 0 and not row["states_differ"] for row in rows)
    if json:
        found = {"equal": equal, "read": read.facts(), "test_samples": len(task.y_test), "steps": steps}
        show.emit({**found, "engines": rows})
    else:
        datasets.say(read)
        show.table(
            f"against the oracle: scores of {len(task.y_test)} samples, state after each of {steps} steps",
            ["" if isinstance(source, GatesCheckpoint) else "k", "engine", "scores that differ", "states that differ"],
            [["" if value is None else value for value in row.values()] for row in rows],
            caption="all equal" if equal else None,
        )
    if not equal:
        raise typer.Exit(1)


def _quick(task: Task, seed: int) -> Checkpoint | GatesCheckpoint:
    """A network trained for `QUICK_EPOCHS` epochs: one of the paper of which every layer learns, or the default network."""
    from metabit import train
    from metabit.train.recipe_run import RecipeSettings, run_recipe

    if task.x_train.dtype != np.uint8:
        return run_recipe(task, RecipeSettings(epochs=QUICK_EPOCHS, seed=seed)).checkpoint()
    spec = train.Spec(task.features, RECIPE.hidden, task.classes, thermometer(task.x_train, RECIPE.planes), seed=seed)
    network = train.Network(spec)
    train.fit(network, task, epochs=QUICK_EPOCHS, m=RECIPE.m, seed=seed)
    return train.Checkpoint(spec, network.tensors(), train.Rule.of(spec, RECIPE.m))


def _networks(source: Checkpoint | GatesCheckpoint, widths: Sequence[int], seed: int) -> dict[int | str, Frozen]:
    """The networks to verify, by number of bits or by learner."""
    from metabit import export

    seed %= 2**32
    if not isinstance(source, GatesCheckpoint):
        return {k: export.freeze(source, export.VisitOptions(bits=k, seed=seed)) for k in widths}
    learners: tuple[Literal["head", "levels"], ...] = ("head", "levels") if source.head_fits() else ("levels",)
    return {name: export.freeze_gates(source, options=export.GateOptions(learner=name, seed=seed)) for name in learners}


def run_all(frozen: Frozen, task: Task, steps: int, chips: Sequence[Board], step: Callable[[str], None]) -> list[Ran]:
    """Scores of the test part and states of the learning steps, by every engine; ``step`` is called after each."""
    from metabit import export, firmware_sim
    from metabit.export.files.onnx_file import run_onnx, write_onnx
    from metabit.export.files.tflite_file import run_tflite, write_tflite
    from metabit.export.oracle import Oracle
    from metabit.export.vectors import state_of
    from metabit.runtime import Model

    image = export.write_image(frozen)
    model, order = Model(image), np.arange(steps) % len(task.y_train)
    x, samples, labels = model.device_bytes(task.x_test), model.device_bytes(task.x_train[order]), task.y_train[order]
    given = frozen.unpack(x)  # what engines outside metabit and the oracle take

    oracle, states = Oracle(frozen), []
    scores = np.array([oracle.scores(sample) for sample in given])
    for sample, label in zip(frozen.unpack(samples), labels, strict=True):
        oracle.learn(sample, int(label))
        states.append(np.frombuffer(state_of(frozen, oracle), np.uint8))
    ran = [Ran("NumPy oracle", scores, np.array(states))]
    step("NumPy oracle")
    ran.append(Ran("ONNX Runtime", run_onnx(write_onnx(frozen), given)))
    ran.append(Ran("TFLite", run_tflite(write_tflite(frozen), given)))
    step("ONNX Runtime")
    step("TFLite")

    scores, states = model.scores(x), []
    for sample, label in zip(samples, labels, strict=True):
        model.learn_one(sample, int(label))
        states.append(np.frombuffer(model.state(), np.uint8))
    ran.append(Ran("C, this machine", scores, np.array(states)))
    step("C, this machine")
    for chip in chips:
        with firmware_sim.Device(firmware_sim.build(image, chip), chip) as device:
            predicted = device.predict_many(x).scores
            assert predicted is not None
            ran.append(Ran(f"C, {chip.name}", predicted, device.learn_many(samples, labels, states=True).states))
        step(chip.name)
    return ran


def compare(ran: list[Ran]) -> list[dict[str, Any]]:
    """Number of samples and of steps in which each engine differs from the oracle, the first one."""
    want = ran[0]
    assert want.states is not None
    rows = []
    for engine in ran:
        states = None if engine.states is None else int((engine.states != want.states).any(axis=1).sum())
        differ = int((engine.scores != want.scores).any(axis=1).sum())
        rows.append({"engine": engine.name, "scores_differ": differ, "states_differ": states})
    return rows
