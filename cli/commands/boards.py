"""metabit boards"""

from __future__ import annotations

from metabit.experiments import show


def command(json: show.Json = False) -> None:
    """List the boards that metabit brings along. metabit simulate --board also takes the path of a board file.

    Example: [bold]metabit boards --json[/]
    """
    from metabit.firmware_sim import boards, load_board

    known = [load_board(name) for name in boards()]
    if json:
        show.emit([
            {"name": b.name, "description": b.description, "core": b.core.title, "clock_hz": b.clock_hz,
             "flash": b.flash.size, "ram": b.ram.size, "wait_states": b.wait_states}
            for b in known
        ])  # fmt: skip
        return
    rows = [
        (
            b.name,
            b.core.title,
            f"{b.clock_hz / 1e6:.0f} MHz",
            *map(show.size, (b.flash.size, b.ram.size)),
            b.description,
        )
        for b in known
    ]
    show.table("boards", ["name", "core", "clock", "flash", "RAM", "description"], rows)
