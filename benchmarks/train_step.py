"""A whole training step against its bare matrix products, paired in one run: docs/results/train/step.{json,md}.

    python benchmarks/train_step.py

784-1024-1024-10 with batch normalisation at batch 100. A step is everything between a batch in memory and updated
parameters: forward, cross-entropy, backward, metaplastic Adam. The bare products are the eight that any such step has
to make (three forward, three for the weights' gradients, two for the activations'), on operands that lie ready.
Sides take turns, ten steps each, and the table has medians over all turns.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metabit.train.network.binarize import BinaryLinear, binarize_activation, set_gradient_products
from metabit.train.rule import fused
from metabit.train.rule.metaplastic import MetaplasticAdam

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "train"
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
    """Binary layers from the public parts, as anybody would write it."""

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


def ours(scale: float | None = None, gradients: torch.dtype | None = None, native: bool = True) -> Step:
    """metabit's step. scale: pixels become floats times this, which take float32 products; else they stay uint8."""
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
    """The authors' formulation, restated in torch operations: signs swapped in, float32 products, Adam by tensors."""
    x, y = data()
    inputs, y = x[:BATCH] / 255, y[:BATCH]
    net = Net()
    hidden = [linear.hidden for linear in net.linears]
    state = {p: [torch.zeros_like(p), torch.zeros_like(p)] for p in net.parameters()}
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        for p in net.parameters():
            p.grad = None
        h, weights = inputs, []
        for i, norm in enumerate(net.norms):
            weights.append(torch.sign(hidden[i].detach()).requires_grad_())
            h = norm(torch.nn.functional.linear(h, weights[-1]))
            if i + 1 < len(hidden):
                h = torch.nn.functional.hardtanh(h)
                h = h + (torch.sign(h) - h).detach()
        torch.nn.functional.cross_entropy(h, y).backward()
        for p, w in zip(hidden, weights, strict=True):
            p.grad = w.grad
        scale = SETTINGS["lr"] * math.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        with torch.no_grad():
            for p, (first, second) in state.items():
                g = p.grad.add(p, alpha=SETTINGS["weight_decay"])
                first.mul_(0.9).add_(g, alpha=0.1)
                second.mul_(0.999).addcmul_(g, g, value=0.001)
                u = first / second.sqrt().add_(1e-8)
                if p.dim() > 1:
                    f = 1 - torch.tanh(M * p.abs()) ** 2
                    u = torch.where(torch.sign(p) * first > 0, f * u, u)
                p.sub_(u, alpha=scale)

    return step


def products(dtype: torch.dtype) -> Step:
    """The eight matrix products and nothing else, into memory that lies ready."""
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
    """A shuffled batch out of the data set."""
    x, y = data()
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(2))
    at = 0

    def step() -> None:
        nonlocal at
        chosen = order[at : at + BATCH]
        at = (at + BATCH) % SAMPLES
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


def measure(threads: int, turns: int, steps: int) -> dict[str, dict[str, float]]:
    """Milliseconds per step of each side, and the quotient to the bare float32 products of the same turn."""
    torch.set_num_threads(threads)
    sides = {name: make() for name, make in SIDES.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    gc.disable()
    for turn in range(turns + 1):
        for name, step in sides.items():
            step()  # caches, allocator, threads
            begin = time.perf_counter()
            for _ in range(steps):
                step()
            if turn:  # the first turn only warms up
                times[name].append((time.perf_counter() - begin) / steps * 1e3)
        gc.collect()
    gc.enable()
    bare = times[next(iter(SIDES))]
    return {
        name: {
            "median_ms": round(statistics.median(values), 3),
            "min_ms": round(min(values), 3),
            "to_bare": round(statistics.median(v / b for v, b in zip(values, bare, strict=True)), 3),
        }
        for name, values in times.items()
    }


def peak_memory(name: str) -> dict[str, float]:
    """MiB of a fresh process: with torch imported and the data there, and at the peak of 20 steps."""
    code = f"import train_step as t; print(*t.peak_here({name!r}))"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    before, peak = (float(value) for value in done.stdout.split())
    return {"before_mib": round(before), "peak_mib": round(peak), "step_mib": round(peak - before)}


def peak_here(name: str) -> tuple[float, float]:
    """Resident MiB now, and at the peak of 20 steps."""
    torch.set_num_threads(1)
    step = SIDES["loading a batch"]()
    step()
    del step
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts here
    before = _resident("VmHWM")
    step = SIDES[name]()
    for _ in range(20):
        step()
    return before, _resident("VmHWM")


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def table(result: dict[str, Any]) -> str:
    threads = list(result["threads"])
    head = "| | " + " | ".join(f"{t} thread{'s' * (t != '1')}, ms | of the bare products" for t in threads) + " |"
    lines = [head, "|---" * (1 + 2 * len(threads)) + "|"]
    for name in SIDES:
        rows = [result["threads"][t][name] for t in threads]
        lines.append(f"| {name} | " + " | ".join(f"{r['median_ms']:.2f} | {r['to_bare']:.2f}" for r in rows) + " |")
    return "\n".join(lines)


def page(result: dict[str, Any]) -> str:
    head = (
        f"`{result['command']}` on {result['machine']}, torch {result['torch']}, {result['date']}: 784-1024-1024-10, "
        f"batch {BATCH}, medians of {result['turns']} turns of {result['steps']} steps, sides interleaved; quotients within "
        "each turn. Forward sums are exact integers except with float inputs; gradient products are bfloat16 with float32 "
        "accumulators except where float32 is said."
    )
    memory = ", ".join(f"{name}: {m['step_mib']} MiB" for name, m in result["memory"].items())
    foot = f"Peak memory of 20 steps beyond imports and the data set, in a fresh process: {memory}."
    return "\n\n".join(["# A training step", head, table(result), foot]) + "\n"


def machine() -> str:
    capability = torch.backends.cpu.get_cpu_capability()
    extra = [
        n for n, f in (("VNNI", "_is_vnni_supported"), ("bf16", "_is_avx512_bf16_supported")) if getattr(torch.cpu, f)()
    ]
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {' + '.join([capability, *extra])}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=25)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    result = {
        "command": "python benchmarks/train_step.py",
        "machine": machine(),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
        "turns": args.turns,
        "steps": args.steps,
        "threads": {str(t): measure(t, args.turns, args.steps) for t in sorted({1, os.cpu_count() or 1})},
        "memory": {n: peak_memory(n) for n in ("metabit, a whole step", "the paper's code restated in torch")}
        if sys.platform == "linux"
        else {},
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "step.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.out / "step.md").write_text(page(result))
    print(page(result))


if __name__ == "__main__":
    main()
