"""Tables of what a firmware costs on a board: memory, time, time by layer, budgets."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from metabit.experiments import show
from metabit.firmware_sim import Check, Measurement


def show_costs(found: Measurement, checks: Sequence[Check]) -> None:
    """Print one measurement and its budgets."""
    limits = {c.budget: c for c in checks}

    def budget(name: str) -> tuple[str, str | Text]:
        c = limits.get(name)
        if c is None:
            return "", ""
        return f"{c.limit:,.6g} {c.unit}", Text("pass") if c.passed else Text("FAIL", style="bold red")

    memory: list[tuple[str, str, str, str | Text]] = [
        ("flash", f"{found.flash.total:,} B", *budget("flash_bytes")),
        ("RAM", f"{found.ram.total:,} B", *budget("ram_bytes")),
        ("  state", f"{found.ram.parts.get('state', 0):,} B", "", ""),
        ("  arena", f"{found.ram.parts.get('arena', 0):,} B", "", ""),
        ("  stack, most used", f"{found.stack_high_water:,} B", *budget("stack_bytes")),
        ("  stack, bound for every input", str(found.stack_bound), "", ""),
    ]
    refused = found.stack_bound.refused
    show.table(
        f"{found.board}: {found.core}, {found.clock_hz / 1e6:.0f} MHz",
        ["memory", "bytes", "budget", "result"],
        memory,
        caption=f"{refused[0].upper()}{refused[1:]}." if refused else None,
    )
    times: list[tuple[str, str, str, str, str, str | Text]] = [
        ("boot, with image check: ms", "", "", f"{found.boot.ms_max:.2f}", *budget("boot_ms"))
    ]
    for name, cost in (("predict", found.predict), ("learn", found.learn)):
        if cost is not None:
            times += [
                (f"{name}: instructions", f"{cost.insns_mean:,.0f}", f"{cost.insns_p95:,}", f"{cost.insns_max:,}", "", ""),
                (f"{name}: cycles", f"{cost.cycles_mean:,.0f}", f"{cost.cycles_p95:,}", f"{cost.cycles_max:,}", "", ""),
                (f"{name}: ms", f"{cost.ms_mean:.2f}", f"{cost.ms_p95:.2f}", f"{cost.ms_max:.2f}", *budget(f"{name}_ms")),
            ]  # fmt: skip
    worst = f"Worst prediction: {found.predict.worst}."
    worst += f" Worst learning step: {found.learn.worst}." if found.learn else ""
    exact = f"Instructions are exact; cycles and ms are estimated by {found.model}."
    show.table(
        "time of one call",
        ["call", "mean", "95 %", "worst", "budget", "result"],
        times,
        caption=f"Measured: {found.samples}. {worst} {exact} {found.wait_states} Built by {found.compiler}.",
    )
    if found.layers:
        steps = [
            (f"{cost.call}: {cost.phase} {cost.layer}", f"{cost.insns:,.0f}", f"{cost.cycles:,.0f}", f"{cost.ms:.3f}")
            for cost in found.layers
        ]
        head = ["step", "instructions", "cycles", "ms"]
        show.table("mean by layer", head, steps, caption=f"Measured: {found.layer_samples}.")
