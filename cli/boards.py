"""What a board costs, as tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from metabit.experiments import show
from metabit.firmware_sim import Check, Measurement


def on_board(found: Measurement, checks: Sequence[Check]) -> None:
    """One measurement: memory, latency, latency per layer, budgets."""
    limits = {c.budget: c for c in checks}

    def budget(name: str) -> tuple[str, str | Text]:
        c = limits.get(name)
        return (
            ("", "")
            if c is None
            else (f"{c.limit:,.6g} {c.unit}", Text("pass") if c.passed else Text("FAIL", style="bold red"))
        )

    rows: list[tuple[str, str, str, str | Text]] = [
        ("flash", f"{found.flash.total:,} B", *budget("flash_bytes")),
        ("RAM", f"{found.ram.total:,} B", *budget("ram_bytes")),
        ("  state", f"{found.ram.parts.get('state', 0):,} B", "", ""),
        ("  arena", f"{found.ram.parts.get('arena', 0):,} B", "", ""),
        ("  stack, high-water", f"{found.stack_high_water:,} B", *budget("stack_bytes")),
        ("  stack, bound for every input", str(found.stack_bound), "", ""),
        ("boot, checks the image", f"{found.boot.ms_max:.2f} ms", *budget("boot_ms")),
        ("predict, mean", f"{found.predict.ms_mean:.2f} ms", "", ""),
        ("predict, worst", f"{found.predict.ms_max:.2f} ms", *budget("predict_ms")),
    ]
    if found.learn is not None:
        rows.append(("learn, mean", f"{found.learn.ms_mean:.2f} ms", "", ""))
        rows.append(("learn, worst", f"{found.learn.ms_max:.2f} ms", *budget("learn_ms")))
    show.table(f"{found.board}: {found.core}, {found.clock_hz / 1e6:.0f} MHz", ["what", "value", "budget", ""], rows)
    steps = [
        (f"{cost.call}: {cost.phase} {cost.layer}", f"{cost.insns:,.0f}", f"{cost.cycles:,.0f}", f"{cost.ms:.3f}")
        for cost in found.layers
    ]
    caption = (
        f"Instructions exact; cycles and ms estimated by {found.model}. {found.wait_states} Built by {found.compiler}."
    )
    if found.stack_bound.refused:
        caption += f" {found.stack_bound.refused[0].upper()}{found.stack_bound.refused[1:]}."
    show.table("per layer, mean", ["step", "instructions", "cycles", "ms"], steps, caption=caption)
