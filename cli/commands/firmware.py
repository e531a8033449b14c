"""metabit firmware"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metabit.cli import datasets
from metabit.cli.commands.simulate import Optimise
from metabit.experiments import show

if TYPE_CHECKING:
    from metabit.firmware_sim import Target

BOARD = "nrf52840"


def command(
    image: datasets.Image = datasets.MODEL,
    board: Annotated[
        str | None, typer.Option(help="A board or a machine of QEMU, by name, or a target file.", show_default=BOARD)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder to write into.", show_default="firmware, beside the image"),
    ] = None,
    all_parts: Annotated[
        bool,
        typer.Option("--all-parts", help="Keep library parts that this image does not need, for images pushed later."),
    ] = False,
    flash_file: Annotated[
        Path | None,
        typer.Option(
            help="File in which the printed command of QEMU keeps the flash that the program writes (mps2 machines)."
        ),
    ] = None,
    opt: Annotated[Optimise, typer.Option(help="Optimisation of the compiler.")] = Optimise.size,
    names: Annotated[bool, typer.Option("--list", help="List the boards and machines.")] = False,
    json: show.Json = False,
) -> None:
    """Write a program to flash: the image, the runtime, and a serial line by which metabit device talks to it (docs/serial.md).

    ELF, Intel HEX and BIN, and UF2 for the RP2040. It learns in place, and keeps what it learnt in flash where the board's driver
    can. The programs for QEMU's machines are tested; those for boards have never run on silicon.

    Example: [bold]metabit firmware out/model.mbit --board rp2040[/]

    On an emulator: [bold]metabit firmware out/model.mbit --board mps2-an386[/], then the command that it prints.
    """
    from metabit.cli.errors import UsageError
    from metabit.firmware_sim import Program, build_serial, load_target, targets, write_firmware
    from metabit.runtime import Model

    if names:
        known = [load_target(name) for name in targets()]
        facts = [(t.name, t.board.core.title, t.board.description, _keeps(t)) for t in known]
        if json:
            show.emit([dict(zip(("name", "core", "description", "keeps"), row, strict=True)) for row in facts])
        else:
            show.table("boards and machines", ["name", "core", "description", "keeps"], facts)
        return
    if not image.is_file():
        raise UsageError(f"{image}: No such file or directory: give the path of a .mbit file")
    target, model = load_target(board or BOARD), Model.open(image)
    target.machine(flash_file)  # refuses a file before the program is built
    if board is None:
        show.warn(f"warning: no --board: the program is for {BOARD}; metabit firmware --list names the others")
    elf = build_serial(model.image(), target, opt=f"-{opt.value}", all_parts=all_parts)
    sizes = Program.read(elf).sizes
    written = write_firmware(elf, target, out or image.parent / "firmware", f"{image.stem}-{target.name}")
    run = target.command(written[0], flash_file)
    if json:
        show.emit({
            "board": target.name, "core": target.board.core.title, "flash": sizes.flash, "ram": sizes.ram,
            "files": [str(path) for path in written], "run": run, "baud": target.baud, "keeps": _keeps(target),
        })  # fmt: skip
        return
    rows = [(str(path), f"{path.stat().st_size:,} bytes") for path in written]
    show.table(f"{image} for {target.board.description}", ["file", ""], rows)
    show.say(f"flash {show.size(sizes.flash)}, RAM {show.size(sizes.ram)}, {target.baud} baud, keeps: {_keeps(target)}")
    if target.note:
        show.say(target.note)
    show.say(f"run it: {run}" if run else "flash it, then: metabit device PORT info")


def _keeps(target: Target) -> str:
    return "state and images" if target.nor else "nothing: no flash driver"
