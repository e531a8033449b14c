"""The options of `metabit export` about a guard, and its data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from typer import Option

from metabit import export
from metabit.cli import datasets
from metabit.cli.errors import UsageError

PANEL = "A guard"
Samples = Annotated[
    int | None,
    Option(
        "--guard",
        help="Samples on which a device that learns tests itself; 64 is a good number.",
        rich_help_panel=PANEL,
    ),
]
Data = Annotated[
    str | None,
    Option("--data", help="Dataset whose training part they come from; that of the training.", rich_help_panel=PANEL),
]


def files(guarded: bytes | None) -> Callable[[bytes], dict[str, bytes]] | None:
    """The files of guard data, as `export_all` takes them."""
    from metabit.runtime import guard_header

    if guarded is None:
        return None
    return lambda _: {"model.guard.bin": guarded, "model_guard.h": guard_header(guarded).encode()}


def guard_data(frozen: export.Frozen, data: str | None, samples: int, seed: int, quiet: bool) -> bytes:
    """The guard data, from the training part of a dataset."""
    from metabit.experiments.guarding import guard_of

    if data is None:
        raise UsageError(f"--guard {samples} needs samples: give data of the old task by --data")
    task = datasets.opened([data], frozen, seed, quiet)[data]
    options = export.GuardOptions(samples=samples, seed=seed)
    return guard_of(frozen, export.write_image(frozen), task.x_train, task.y_train, options)
