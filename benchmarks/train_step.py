"""Time of a training step against its bare matrix products: docs/results/train/step.md from results/train_step.jsonl.

    python benchmarks/train_step.py all

784-1024-1024-10 with batch normalisation at batch 100. A step is everything between a batch in memory and updated
parameters: forward, cross-entropy, backward, metaplastic Adam. The bare products are the eight that any such step has
to make (three forward, three for the weights' gradients, two for the activations'), on operands that are allocated before.
Sides take turns, ten steps each, and the table has medians over all turns.
"""

from __future__ import annotations

import gc
import itertools
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from metabit.experiments import results
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.train.network.binarize import BinaryLinear, binarize_activation
from metabit.train.network.products import set_gradient_products
from metabit.train.rule import fused
from metabit.train.rule.metaplastic import MetaplasticAdam

PAGE = "docs/results/train/step.md"
WIDTHS = (784, 1024, 1024, 10)
BATCH = 100
SETTINGS = {"lr": 0.005, "weight_decay": 1e-7}
M = 1.35
SAMPLES = 60_000

Step = Callable[[], None]


@cache
def data() -> tuple[Tensor, Tensor]:
    """Random images of MNIST's size and density, and labels: uint8 (n, 784), int64 (n,)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (SAMPLES, WIDTHS[0]), generator=generator, dtype=torch.uint8)
    x[torch.rand(x.shape, generator=generator) > 0.19] = 0
    return x, torch.randint(0, WIDTHS[-1], (SAMPLES,), generator=generator)


class Net(torch.nn.Module):
    """Binary layers made from the public parts of metabit.train."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        shapes = list(zip(WIDTHS, WIDTHS[1:], strict=False))
        self.linears = torch.nn.ModuleList(BinaryLinear(k, n, generator) for k, n in shapes)
        self.norms = torch.nn.ModuleList(torch.nn.BatchNorm1d(n) for _, n in shapes)

    def forward(self, x: Tensor) -> Tensor:
        for i, (linear, norm) in enumerate(zip(self.linears, self.norms, strict=True)):
            x = norm(linear(x))
            if i + 1 < len(self.linears):
                x = binarize_activation(x)
        return x


def ours(scale: float | None = None, gradients: torch.dtype = torch.bfloat16, native: bool = True) -> Step:
    """metabit's step. scale: pixels become floats times this, which need float32 products; None: they stay uint8."""
    x, y = data()
    x, y = x[:BATCH], y[:BATCH]
    inputs = x if scale is None else x * scale
    net = Net()
    optimizer = MetaplasticAdam(net.parameters(), m=M, **SETTINGS)
    extension = fused.extension

    def step() -> None:
        set_gradient_products(gradients)
        fused.extension = extension if native else None
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(inputs), y).backward()
        optimizer.step()
        fused.extension = extension

    return step


def formula() -> Step:
    """The formulation of the paper's authors in torch operations: float32 products of the signs, Adam on whole tensors."""
    x, y = data()
    inputs, y, net = x[:BATCH] / 255, y[:BATCH], Net()
    hidden = [linear.hidden for linear in net.linears]
    state = {p: [torch.zeros_like(p), torch.zeros_like(p)] for p in net.parameters()}
    numbers = itertools.count(1)

    def step() -> None:
        net.zero_grad()
        h, weights = inputs, [torch.sign(p.detach()).requires_grad_() for p in hidden]
        for i, (w, norm) in enumerate(zip(weights, net.norms, strict=True)):
            h = norm(torch.nn.functional.linear(h, w))
            if i + 1 < len(hidden):
                h = torch.nn.functional.hardtanh(h)
                h = h + (torch.sign(h) - h).detach()
        torch.nn.functional.cross_entropy(h, y).backward()
        for p, w in zip(hidden, weights, strict=True):
            p.grad = w.grad
        t = next(numbers)
        scale = SETTINGS["lr"] * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        with torch.no_grad():
            for p, (first, second) in state.items():
                g = p.grad.add(p, alpha=SETTINGS["weight_decay"])
                first.mul_(0.9).add_(g, alpha=0.1)
                second.mul_(0.999).addcmul_(g, g, value=0.001)
                u = first / second.sqrt().add_(1e-8)
                if p.dim() > 1:
                    u = torch.where(torch.sign(p) * first > 0, (1 - torch.tanh(M * p.abs()) ** 2) * u, u)
                p.sub_(u, alpha=scale)

    return step


def products(dtype: torch.dtype) -> Step:
    """The eight matrix products alone, into memory that is allocated before."""
    x = [torch.randn(BATCH, k).to(dtype) for k in WIDTHS[:-1]]
    w = [torch.randn(n, k).to(dtype) for k, n in zip(WIDTHS, WIDTHS[1:], strict=False)]
    g = [torch.randn(BATCH, n).to(dtype) for n in WIDTHS[1:]]
    x_out, w_out, g_out = ([torch.empty_like(t) for t in tensors] for tensors in (x, w, g))

    def step() -> None:
        for i in range(len(w)):
            torch.mm(x[i], w[i].T, out=g_out[i])
        for i in reversed(range(len(w))):
            torch.mm(g[i].T, x[i], out=w_out[i])
            if i:
                torch.mm(g[i], w[i], out=x_out[i])

    return step


def loading() -> Step:
    """A shuffled batch of the dataset."""
    x, y = data()
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(2))
    batches = itertools.cycle(order.split(BATCH))

    def step() -> None:
        chosen = next(batches)
        x.index_select(0, chosen), y.index_select(0, chosen)

    return step


SIDES: dict[str, Callable[[], Step]] = {
    "bare products, float32": lambda: products(torch.float32),
    "bare products, bfloat16": lambda: products(torch.bfloat16),
    "metabit, a whole step": ours,
    "metabit, float32 gradient products": lambda: ours(gradients=torch.float32),
    "metabit, float inputs (first layer float32)": lambda: ours(scale=1 / 255),
    "metabit, optimizer in torch operations": lambda: ours(native=False),
    "the paper's code restated in torch": formula,
    "loading a batch": loading,
}


TURNS, STEPS = 25, 10
MEASURED = ("metabit, a whole step", "the paper's code restated in torch")
"""Sides whose peak memory is measured as well."""


def cells(name: str) -> dict[str, list[Cell]]:
    if name == "memory":
        return {side: [{"experiment": name, "side": side}] for side in MEASURED}
    return {side: [{"experiment": name, "side": side, "threads": threads} for threads in (1, 2)] for side in SIDES}


def here(asked: Cell) -> bool:
    if asked["experiment"] == "memory":
        return sys.platform == "linux"
    return asked["threads"] <= (os.cpu_count() or 1)


def together(asked: Sequence[Cell]) -> list[Row]:
    about = results.provenance("torch") | {"instructions": instructions()}
    if asked[0]["experiment"] == "memory":
        return [peak_memory(cell["side"]) | about for cell in asked]
    times = {threads: step_times(threads) for threads in sorted({cell["threads"] for cell in asked})}
    return [times[cell["threads"]][cell["side"]] | {"turns": TURNS, "steps": STEPS} | about for cell in asked]


def step_times(threads: int) -> dict[str, Row]:
    """Milliseconds a step of each side, and the quotient to the bare float32 products of the same turn."""
    torch.set_num_threads(threads)
    sides = {name: make() for name, make in SIDES.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    gc.disable()
    for turn in range(TURNS + 1):
        for name, step in sides.items():
            step()  # caches, allocator, threads
            begin = time.perf_counter()
            for _ in range(STEPS):
                step()
            if turn:  # the first turn only warms up
                times[name].append((time.perf_counter() - begin) / STEPS * 1e3)
        gc.collect()
    gc.enable()
    bare = times[next(iter(SIDES))]
    figures = {
        name: (statistics.median(took), min(took), statistics.median(v / b for v, b in zip(took, bare, strict=True)))
        for name, took in times.items()
    }
    keys = ("median_ms", "min_ms", "to_bare")
    return {name: {k: round(v, 3) for k, v in zip(keys, some, strict=True)} for name, some in figures.items()}


def peak_memory(name: str) -> Row:
    """MiB of a new process: with torch imported and the data loaded, and at the peak of 20 steps."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        before, peak = process.submit(peak_here, name).result()
    return {"before_mib": round(before), "peak_mib": round(peak), "step_mib": round(peak - before)}


def peak_here(name: str) -> list[float]:
    """Resident MiB now, and at the peak of 20 steps."""
    torch.set_num_threads(1)
    SIDES["loading a batch"]()()
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts here
    found = []
    for steps in (0, 20):
        step = SIDES[name]() if steps else None
        for _ in range(steps):
            step()
        lines = Path("/proc/self/status").read_text().splitlines()
        found += [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
    return found


def instructions() -> str:
    """Instruction sets that torch's products use here."""
    flags = (("VNNI", "_is_vnni_supported"), ("bf16", "_is_avx512_bf16_supported"))
    extra = [name for name, flag in flags if getattr(torch.cpu, flag)()]
    return " + ".join([torch.backends.cpu.get_cpu_capability(), *extra])


def step_page() -> str:
    """docs/results/train/step.md"""
    found = BENCHMARK.done("step")
    one = next(iter(found.values()))[0]
    threads = sorted({row["threads"] for rows in found.values() for row in rows})
    columns = [c for t in threads for c in (f"{t} thread{'s' * (t != 1)}, ms", "of the bare products")]
    by_side = {side: {row["threads"]: row for row in rows} for side, rows in found.items()}
    rows = [
        [side, *(f"{of[t][key]:.2f}" for t in threads for key in ("median_ms", "to_bare"))]
        for side, of in by_side.items()
    ]
    memory = ", ".join(f"{row['side']}: {row['step_mib']} MiB" for row in BENCHMARK.rows("memory"))
    about = (
        f"`python benchmarks/train_step.py all` on {one['machine']}, {one['instructions']}, torch {one['torch']}, {one['date']}: "
        f"784-1024-1024-10, batch {BATCH}, medians of {one['turns']} turns of {one['steps']} steps, sides interleaved; quotients "
        "within each turn. Forward sums are exact integers except with float inputs; gradient products are bfloat16 with float32 "
        "accumulators, a choice (`metabit.nn.set_gradient_products`), except where float32, the default, is said. "
        f"{BENCHMARK.raw(PAGE)}"
    )
    note = f"Peak memory of 20 steps beyond imports and the dataset, in a new process: {memory}."
    return results.page("A training step", about, results.markdown(["", *columns], rows), [note])


BENCHMARK = Benchmark(
    __file__, {"step": "Time of a training step", "memory": "Peak memory of a training step"},
    cells, lambda: {PAGE: step_page()} if BENCHMARK.rows("step") else {}, together=together, here=here,
)  # fmt: skip

if __name__ == "__main__":
    results.main(BENCHMARK)
