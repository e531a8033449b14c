"""metabit package"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metabit.experiments import show
from metabit.experiments.errors import UsageError
from metabit.runtime.package import KINDS, URL, write_package


def command(
    kind: Annotated[str, typer.Argument(help=f"Build system: {', '.join(KINDS)}.")],
    models: Annotated[list[Path] | None, typer.Argument(help="Images: NAME.mbit becomes NAME_image.h.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Its folder.", show_default="out/KIND/metabit")] = None,
    url: Annotated[str, typer.Option(help="Web page that the package names.")] = URL,
    force: Annotated[bool, typer.Option("--force", help="Replace the package in that folder.")] = False,
    json: show.Json = False,
) -> None:  # fmt: skip
    """Write the C library as a package for Arduino, PlatformIO, Zephyr, ESP-IDF, CMake or a CMSIS-Pack (docs/packages.md).

    Parts of the library that none of the images needs are off in it. The example uses the first image; without one it has a
    small network that has learnt nothing.

    Example: [bold]metabit package zephyr out/model.mbit -o out/zephyr/metabit[/]
    """
    if kind not in KINDS:
        raise UsageError(f"there is no package for {kind!r}: name one of {', '.join(KINDS)}")
    folder = output or Path("out") / kind / "metabit"
    written = write_package(kind, folder, models=models or (), url=url, force=force)
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in written}
    if json:
        show.emit({"kind": kind, "folder": str(folder), "files": [{"name": n, "bytes": b} for n, b in sizes.items()]})
        return
    show.say(
        f"{KINDS[kind].title} in {folder}: {len(sizes)} files, {sum(sizes.values()):,} bytes. Read {folder / 'README.md'} next."
    )
