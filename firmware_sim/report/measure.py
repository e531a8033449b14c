"""Image + board + samples -> what it costs: memory from the ELF, instructions and stack from runs, time estimated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabit.export.files.image import read_image
from metabit.export.frozen import ConvLayer, Layer
from metabit.firmware_sim.board import Board
from metabit.firmware_sim.build.elf import Program
from metabit.firmware_sim.build.toolchain import Compiler, build, compiler_version
from metabit.firmware_sim.price.cycles import load_model
from metabit.firmware_sim.price.stack import StackBound, stack_bound
from metabit.firmware_sim.report.budgets import Budgets
from metabit.firmware_sim.run.emulate import Device, Replies


@dataclass(frozen=True)
class Memory:
    """Bytes: named parts in address order, and how much of this memory the board has."""

    parts: dict[str, int]
    available: int

    @property
    def total(self) -> int:
        return sum(self.parts.values())


@dataclass(frozen=True)
class Cost:
    """One library call over a number of samples. insns exact, cycles and ms estimated."""

    samples: int
    insns_mean: float
    insns_max: int
    cycles_mean: float
    cycles_max: int
    ms_mean: float
    ms_max: float


@dataclass(frozen=True)
class LayerCost:
    """Mean cost of one phase of one layer in one call ("predict" or "learn"). phase "setup": all that is in no layer."""

    call: str
    phase: str
    layer: str
    insns: float
    cycles: float
    ms: float


@dataclass(frozen=True)
class Measurement:
    """Everything one board was measured for.

    compiler: its version and options. model: to be printed wherever cycles or ms are. stack_high_water: bytes the runs took;
    stack_bound: what any run can.
    """

    board: str
    description: str
    core: str
    clock_hz: int
    wait_states: str
    compiler: str
    model: str
    model_source: str
    band_percent: int
    flash: Memory
    ram: Memory
    stack_high_water: int
    stack_bound: StackBound
    boot: Cost
    predict: Cost
    learn: Cost | None
    layers: tuple[LayerCost, ...]


def measure(
    image: bytes | str | Path,
    board: Board,
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    opt: str = "-Os",
    compiler: Compiler = "zig",
    budgets: Budgets | None = None,
) -> Measurement:
    """Build the firmware, predict every sample of x and, where y is given, learn every one.

    The headline numbers come from the firmware a user would flash. The split by layer comes from a second build that
    reports layer boundaries, and so does not add up to exactly the same.
    """
    blob = image if isinstance(image, bytes) else Path(image).read_bytes()
    model = load_model(board.cycle_model)
    elf = build(blob, board, opt=opt, compiler=compiler)
    with Device(elf, board, budgets=budgets) as device:
        boot = _cost(board, np.array([device.boot_insns]), np.array([device.boot_cycles]))
        predicted = device.predict_many(x)
        learned = device.learn_many(x, y) if y is not None else None
        stack = device.stack_high_water
    program = Program.read(elf)
    sizes = program.sizes
    return Measurement(
        board=board.name,
        description=board.description,
        core=board.core.title,
        clock_hz=board.clock_hz,
        wait_states=board.wait_states,
        compiler=f"{compiler_version(compiler)} {opt}",
        model=model.label,
        model_source=model.source,
        band_percent=model.band_percent,
        flash=Memory({"code": sizes.code, "image": sizes.image, "data": sizes.initial_data}, board.flash.usable),
        ram=Memory(
            {"stack": sizes.stack, "other": sizes.other_ram, "state": sizes.state, "arena": sizes.arena}, board.ram.size
        ),
        stack_high_water=stack,
        stack_bound=stack_bound(program),
        boot=boot,
        predict=_cost(board, predicted.insns, predicted.cycles),
        learn=_cost(board, learned.insns, learned.cycles) if learned is not None else None,
        layers=_layers(blob, board, x, y, build(blob, board, opt=opt, compiler=compiler, profile=True), budgets),
    )


def _layers(
    image: bytes, board: Board, x: ArrayLike, y: ArrayLike | None, elf: Path, budgets: Budgets | None
) -> tuple[LayerCost, ...]:
    names = layer_names(image)
    with Device(elf, board, budgets=budgets) as device:
        runs: list[tuple[str, Replies]] = [("predict", device.predict_many(x))]
        if y is not None:
            runs.append(("learn", device.learn_many(x, y)))
    costs: list[LayerCost] = []
    for call, replies in runs:
        n, insns, cycles = len(replies), int(replies.insns.sum()), int(replies.cycles.sum())
        for row in replies.profile:
            name = names[row.layer] if row.layer < len(names) else ""
            costs.append(_layer(board, call, row.phase, name, row.insns / n, row.cycles / n))
            insns, cycles = insns - row.insns, cycles - row.cycles
        costs.append(_layer(board, call, "setup", "", insns / n, cycles / n))
    return tuple(costs)


def _layer(board: Board, call: str, phase: str, layer: str, insns: float, cycles: float) -> LayerCost:
    return LayerCost(call, phase, layer, insns, cycles, board.milliseconds(cycles))


def layer_names(image: bytes) -> Sequence[str]:
    """What the layer numbers of a profile mean."""
    network = read_image(image)
    names = ["encode"] if network.encode is not None else []
    return names + [_layer_name(layer) for layer in network.layers]


def _layer_name(layer: Layer) -> str:
    if not isinstance(layer, ConvLayer):
        return f"{layer.kind} {layer.inputs}→{layer.units}"
    c = layer.geometry
    height, width = c.pooled
    return f"conv {c.kernel}x{c.kernel} {c.height}x{c.width}x{c.channels}→{height}x{width}x{layer.units}"


def _cost(board: Board, insns: NDArray[np.uint64], cycles: NDArray[np.uint64]) -> Cost:
    return Cost(
        samples=len(insns),
        insns_mean=float(insns.mean()),
        insns_max=int(insns.max()),
        cycles_mean=float(cycles.mean()),
        cycles_max=int(cycles.max()),
        ms_mean=board.milliseconds(float(cycles.mean())),
        ms_max=board.milliseconds(int(cycles.max())),
    )
