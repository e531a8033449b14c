"""Measurement of a firmware on a board: memory from its ELF file, instructions, cycles and stack from the calls that ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabit.export import Frozen, read_image
from metabit.export.frozen import ConvLayer, Layer
from metabit.firmware_sim.board import Board
from metabit.firmware_sim.budgets import Budgets, load_budgets
from metabit.firmware_sim.build.elf import Program
from metabit.firmware_sim.build.toolchain import Compiler, build, compiler_version
from metabit.firmware_sim.price.cycles import load_model
from metabit.firmware_sim.price.stack import StackBound, stack_bound
from metabit.firmware_sim.report.cost import CallLog, Cost
from metabit.firmware_sim.run.emulate import Device, Replies

_Rows = Sequence[int] | NDArray[np.integer[Any]] | None


@dataclass(frozen=True)
class Memory:
    """Bytes of the named parts, in address order, and bytes that the board has."""

    parts: dict[str, int]
    available: int

    @property
    def total(self) -> int:
        return sum(self.parts.values())


@dataclass(frozen=True)
class LayerCost:
    """Mean cost of one phase of one layer in one call, "predict" or "learn". phase "setup": instructions outside all layers."""

    call: str
    phase: str
    layer: str
    insns: float
    cycles: float
    ms: float


@dataclass(frozen=True)
class Measurement:
    """Memory and time of one firmware on one board.

    compiler: its version and options. model: label of the cycle model, to be printed beside every cycle count and duration.
    stack_high_water: bytes of stack that the calls used. stack_bound: bytes that no input can exceed.
    learn: None if no sample was learned. samples, layer_samples: sentences that say how the samples were chosen.
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
    samples: str
    boot: Cost
    predict: Cost
    learn: Cost | None
    layers: tuple[LayerCost, ...]
    layer_samples: str


class Meter:
    """Runs samples on a device and keeps the cost of every call.

    data: name of the data set that the samples come from; rows: their rows in it, None for 0, 1, 2, ...
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.predicted, self.learned = CallLog(), CallLog()

    def predict(self, x: ArrayLike, data: str, rows: _Rows = None) -> Replies:
        """Predict inputs, uint8 (n, input_size), in order."""
        replies = self.device.predict_many(x)
        self.predicted.add(replies, data, rows)
        return replies

    def learn(self, x: ArrayLike, y: ArrayLike, data: str, rows: _Rows = None) -> Replies:
        """Learn samples in order: inputs uint8 (n, input_size), labels (n,)."""
        replies = self.device.learn_many(x, y)
        self.learned.add(replies, data, rows)
        return replies

    def measurement(
        self,
        samples: str,
        *,
        opt: str,
        compiler: Compiler = "zig",
        layers: tuple[LayerCost, ...] = (),
        layer_samples: str = "",
    ) -> Measurement:
        """Return the measurement of all calls so far; one prediction at least must be among them.

        opt, compiler: as the firmware was built. samples, layers, layer_samples: see Measurement.
        """
        device, board = self.device, self.device.board
        model, program = load_model(board.cycle_model), Program.read(device.elf)
        sizes = program.sizes
        boot = CallLog([device.boot_insns], [device.boot_cycles], [0], ["boot"])
        ram = {"stack": sizes.stack, "other": sizes.other_ram, "state": sizes.state, "arena": sizes.arena}
        return Measurement(
            board=board.name,
            description=board.description,
            core=board.core.title,
            clock_hz=board.clock_hz,
            wait_states=board.wait_states,
            compiler=f"{compiler_version(compiler)} {opt}",
            model=model.label_with(board.waits.label) if board.waits else model.label,
            model_source=model.source,
            band_percent=model.band_percent,
            flash=Memory({"code": sizes.code, "image": sizes.image, "data": sizes.initial_data}, board.flash.usable),
            ram=Memory(ram, board.ram.size),
            stack_high_water=device.stack_high_water,
            stack_bound=stack_bound(program),
            samples=samples,
            boot=boot.cost(board),
            predict=self.predicted.cost(board),
            learn=self.learned.cost(board) if self.learned.cycles else None,
            layers=layers,
            layer_samples=layer_samples,
        )


def measure(
    image: bytes | str | Path,
    board: Board,
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    samples: str = "",
    opt: str = "-Os",
    compiler: Compiler = "zig",
    budgets: Budgets | None = None,
    layers: bool = True,
) -> Measurement:
    """Build the firmware, predict every sample of x and, if y is given, learn every sample once.

    All predictions run before the first learning step, so they have the weights of the image. The samples are those that the
    caller passes, in their order; a stream that runs on continues with other costs, which `Meter` measures while it runs.

    Args:
        x: inputs, uint8 (n, input_size), n >= 1. y: labels (n,) in 0..classes-1, None to predict only.
        samples: the words with which reports say how the samples were chosen; by default, the number and "in the order given".
        budgets: give the size of the stack and the longest call; None takes the built-in ones.
        layers: also build a second firmware, which reports the boundaries of layers, to split the mean cost by layer.

    Raises:
        ModelError, InputError, DoesNotFit, BuildError, FirmwareFault, MissingExtra.
    """
    blob = image if isinstance(image, bytes) else Path(image).read_bytes()
    limits, network, count = budgets or load_budgets(), read_image(blob), len(np.asarray(x))
    stack = limits.of(board.name).stack_bytes
    elf = build(blob, board, stack_size=stack, opt=opt, compiler=compiler)
    told = samples or f"the {count:,} samples given, in their order"
    with Device(elf, board, budgets=limits) as device:
        meter = Meter(device)
        meter.predict(x, told)
        if y is not None:
            meter.learn(x, y, told)
        split: tuple[LayerCost, ...] = ()
        if layers:
            split = layer_costs(blob, board, x, x, y, network=network, opt=opt, compiler=compiler, budgets=limits)
        return meter.measurement(
            f"{told}, predicted with the weights of the image{'' if y is None else ', then learnt once'}",
            opt=opt,
            compiler=compiler,
            layers=split,
            layer_samples=f"the same samples, in {SECOND_BUILD}" if split else "",
        )


SECOND_BUILD = "a second build of the firmware, which reports the boundaries of layers"


def layer_costs(
    image: bytes,
    board: Board,
    x_predict: ArrayLike,
    x_learn: ArrayLike,
    y_learn: ArrayLike | None,
    *,
    network: Frozen,
    opt: str = "-Os",
    compiler: Compiler = "zig",
    budgets: Budgets,
) -> tuple[LayerCost, ...]:
    """Split the mean cost of a call by layer and phase, with a firmware that reports the boundaries of layers.

    The reports and another code layout add a few percent, so the sum differs a little from the cost of the flashed firmware.
    """
    stack = budgets.of(board.name).stack_bytes
    elf = build(image, board, stack_size=stack, opt=opt, compiler=compiler, profile=True)
    names = layer_names(network)
    with Device(elf, board, budgets=budgets) as device:
        runs: list[tuple[str, Replies]] = [("predict", device.predict_many(x_predict))]
        if y_learn is not None:
            runs.append(("learn", device.learn_many(x_learn, y_learn)))
    costs: list[LayerCost] = []
    for call, replies in runs:
        n, insns, cycles = len(replies), int(replies.insns.sum()), int(replies.cycles.sum())
        for row in replies.profile:
            name = names[row.layer] if row.layer < len(names) else ""
            costs.append(_layer(board, call, row.phase, name, row.insns / n, row.cycles / n))
            insns, cycles = insns - row.insns, cycles - row.cycles
        costs.append(_layer(board, call, "setup", "", insns / n, cycles / n))
    return tuple(costs)


def layer_names(network: Frozen) -> list[str]:
    """Return a name for each layer number of a profile."""
    names = ["encode"] if network.encode is not None else []
    return names + [_layer_name(layer) for layer in network.layers]


def _layer(board: Board, call: str, phase: str, layer: str, insns: float, cycles: float) -> LayerCost:
    return LayerCost(call, phase, layer, insns, cycles, board.milliseconds(cycles))


def _layer_name(layer: Layer) -> str:
    if not isinstance(layer, ConvLayer):
        return f"{layer.kind} {layer.inputs}→{layer.units}"
    c = layer.geometry
    height, width = c.pooled
    return f"conv {c.kernel}x{c.kernel} {c.height}x{c.width}x{c.channels}→{height}x{width}x{layer.units}"
