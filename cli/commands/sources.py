"""metabit sources"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metabit.experiments import show


def command(
    folder: Annotated[Path, typer.Argument(help="Folder to write into. It is created if it does not exist.")] = Path("out/runtime"),
    single_file: Annotated[bool, typer.Option("--single-file", help="Write the library as metabit.c and metabit.h.")] = False,
    image: Annotated[Path | None, typer.Option(help="Also write this image as model_image.h: an array, and memory sizes.")] = None,
    name: Annotated[str, typer.Option(help="Name of the image in C, for programs with several: NAME_image.h.")] = "model",
    json: show.Json = False,
) -> None:  # fmt: skip
    """Write the C runtime for a firmware project of yours (docs/porting.md).

    Example: [bold]metabit sources out/runtime --single-file --image out/model.mbit[/]
    """
    from metabit.runtime import write_sources

    if name != "model" and image is None:
        raise typer.BadParameter("--name names the image: give --image too")
    written = write_sources(folder, single_file=single_file, image=image, name=name)
    facts = [
        (path.relative_to(folder).as_posix(), path.stat().st_size, len(path.read_text("utf-8").splitlines()))
        for path in written
    ]
    if json:
        files = [dict(zip(("name", "bytes", "lines"), fact, strict=True)) for fact in facts]
        show.emit({"folder": str(folder), "files": files})
        return
    show.table(str(folder), ["file", "bytes", "lines"], [(name, f"{b:,}", f"{n:,}") for name, b, n in facts])
