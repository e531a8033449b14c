"""A report filled with made-up round numbers, for testing how it is written and drawn."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from metabit.firmware_sim.budgets import Check
from metabit.firmware_sim.price.stack import StackBound
from metabit.firmware_sim.report.cost import Cost
from metabit.firmware_sim.report.measure import LayerCost, Measurement, Memory
from metabit.firmware_sim.report.page import Chapter, Comparison, Deployment, Line, Provenance, Report


def cost(ms: float, clock_hz: int, samples: int = 100) -> Cost:
    cycles = ms * clock_hz / 1e3
    return Cost(
        samples=samples,
        insns_mean=cycles * 0.8,
        insns_p95=int(cycles * 0.85),
        insns_max=int(cycles * 0.9),
        cycles_mean=cycles,
        cycles_p95=int(cycles * 1.05),
        cycles_max=int(cycles * 1.1),
        ms_mean=ms,
        ms_p95=ms * 1.05,
        ms_max=ms * 1.1,
        worst_call=samples // 2,
        worst_sample=7,
        worst_data="the training part",
        course=tuple((samples * i // 10, ms, ms * (1.1 if i == 5 else 1.05)) for i in range(1, 11))
        if samples > 1
        else (),
    )


def measurement(board: str = "nrf52840", clock_hz: int = 64_000_000) -> Measurement:
    def layer(call: str, phase: str, name: str, ms: float) -> LayerCost:
        return LayerCost(call, phase, name, ms * clock_hz / 1.25e3, ms * clock_hz / 1e3, ms)

    forward = [("encode", 0.1), ("dense 256→512", 0.5), ("output 512→10", 0.1)]
    layers = [layer(call, "forward", name, ms) for call in ("predict", "learn") for name, ms in forward]
    layers += [layer("learn", "error", "", 0.01), layer("learn", "backward", "output 512→10", 0.4)]
    layers += [layer("learn", "update", "dense 256→512", 0.6), layer("learn", "update", "output 512→10", 1.2)]
    return Measurement(
        board=board,
        description=f"Example board {board}",
        core="Cortex-M4F",
        clock_hz=clock_hz,
        wait_states="Flash wait states are not modelled.",
        compiler="zig 0.17.1 -Os",
        model="Cortex-M4 model 1, ±10 %, zero-wait memory",
        model_source="Arm DDI 0439",
        band_percent=10,
        flash=Memory({"code": 8_284, "image": 88_528, "data": 0}, 1 << 20),
        ram=Memory({"stack": 2_048, "other": 72, "state": 87_168, "arena": 5_984}, 256 << 10),
        samples="all samples of an example",
        layer_samples="the first samples of an example",
        stack_high_water=736,
        stack_bound=StackBound(980, ("Reset_Handler", "main", "mb_learn"), {"mb_predict": 756, "mb_learn": 932}),
        boot=cost(24.0, clock_hz, 1),
        predict=cost(0.7, clock_hz),
        learn=cost(3.0, clock_hz),
        layers=tuple(layers),
    )


def deployment(name: str = "metaplastic, k = 5", forgets: float = 0.02) -> Deployment:
    def point(step: int) -> tuple[int, tuple[float, float]]:
        progress = 1 - math.exp(-step / 1500)
        return step, (0.941 - forgets * progress, 0.62 + 0.29 * progress)

    def bell(width: float) -> dict[int, int]:
        return {h: int(12_000 * math.exp(-(((h + 0.5) / width) ** 2) / 2)) for h in range(-16, 16)}

    return Deployment(
        name=name,
        description="Trained on the first dataset, then learns the second.",
        datasets=("old task", "new task"),
        curve=[point(step) for step in range(0, 6001, 200)],
        visited=421.9,
        moved=212.4,
        flipped=3.1,
        synapses=136_192,
        levels_before=bell(4.0),
        levels_after=bell(5.5),
    )


def comparison() -> Comparison:
    lines = (
        Line("metabit <a>", 87_168, (0.941, 0.62), (0.921, 0.91), 0.875),
        Line("SLDA", 10_920, (0.931, 0.1), (0.902, 0.94)),
    )
    return Comparison(("new task", "old task"), ("old task",), lines, "They began alike.", ("SLDA is better here.",))


def chapter(**changes: Any) -> Chapter:
    both = [deployment(), deployment("plain binary, k = 1 <control>", forgets=0.31)]
    return dataclasses.replace(Chapter("Learning <b>", "In place.", both, {"mixed": comparison()}), **changes)


def report(**changes: Any) -> Report:
    boards = [measurement(), measurement("rp2040", 133_000_000)]
    checks = [Check(b.board, "learn_ms", 3.3, 25.0) for b in boards]
    checks += [Check(b.board, "flash_bytes", 96_812, 131_072) for b in boards]
    checks += [Check("nrf52840", "ram_bytes", 95_272, 114_688), Check("rp2040", "ram_bytes", 95_272, 90_000)]
    checks += [Check("nrf52840", "predict_ms", 0.77, 3.0), Check("nrf52840", "stack_bytes", 736, 2_048)]
    sample = Report(
        title="Learns on the board",
        summary="A network of 133,120 synapses was trained on one task and learnt another one on the board.",
        network="256 thermometer inputs, 512 hidden units, 10 classes, 5 hidden bits a synapse.",
        chapters=[chapter()],
        boards=boards,
        checks=checks,
        provenance=Provenance("metabit demo --seed 1", 1, "2025-01-01", {"metabit": "0.1.0", "compiler": "zig 0.17.1"}),
        notes=["Every number on this page is an example."],
    )
    return dataclasses.replace(sample, **changes)
