"""Checks of a file that the output of a command would replace."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from typer import Option

from metabit.cli.errors import UsageError
from metabit.experiments import show
from metabit.runtime import Model, ModelError

Force = Annotated[bool, Option("--force", help="Replace a file of other content also where no output was named.")]


def check_inputs(output: Path, inputs: Iterable[Path | None]) -> None:
    """Raise UsageError if the output is one of the files that the command reads."""
    for given in inputs:
        if given is not None and output.exists() and given.exists() and output.samefile(given):
            raise UsageError(f"{output} is an input of this command, which would write over it: name another output")


def check_replaced(output: Path, content: bytes, allowed: bool, way_out: str) -> None:
    """Raise UsageError if the output exists with other content and may not be replaced. way_out: a part of the sentence."""
    if not allowed and output.is_file() and output.read_bytes() != content:
        raise UsageError(f"{output} exists, and has other content: {way_out}, or replace it by --force")


def warn_of_fewer_classes(image: Path, classes: int) -> None:
    """Say it if an image that is about to be replaced has more classes than the new one, as after --spare-classes was left out."""
    try:
        before = Model.open(image).classes
    except (OSError, ModelError):
        return
    if before > classes:
        more = "give --spare-classes again to keep the room for more"
        show.warn(f"warning: {image} had {before} classes, the new one has {classes}: {more}")
