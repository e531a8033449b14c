"""Chips and emulated machines that `metabit firmware` writes a program for: a target is a TOML file in targets/."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from metabit.firmware_sim.board import CORES, Board, Core, Region, load_board
from metabit.firmware_sim.build.native import FIRMWARE
from metabit.firmware_sim.errors import BoardError, FirmwareError
from metabit.firmware_sim.serial.line import BAUD
from metabit.firmware_sim.toml_files import Table, read_table

SOURCES = FIRMWARE.parent / "serial"
_TARGETS = Path(__file__).parent / "targets"
_RISCV = Core("rv32imc", "RV32IMC", "riscv32-freestanding-none", "generic_rv32+m+c", (), "", False, False)
_CORES = {**CORES, "m0": replace(CORES["m0plus"], name="m0plus", title="Cortex-M0"), _RISCV.name: _RISCV}
_FIELDS = (
    "board", "core", "description", "note", "sources", "defines", "flash", "ram", "uart", "nor", "reset", "qemu", "qemu_memory",
    "uf2",
)  # fmt: skip
_AIRCR, _SYSRESETREQ = 0xE000_ED0C, 0x05FA_0004


@dataclass(frozen=True)
class Nor:
    """Flash of a target that the program itself writes, beside the program. A size of 0 pages: there is none.

    store: where `mb_save` keeps the state. spare: two slots for images that are pushed.
    """

    page_size: int
    program_size: int
    store: Region
    spare: Region


@dataclass(frozen=True)
class Target:
    """A checked target file. board.flash ends where the flash begins that the program writes.

    sources: C files of build/serial. more: macros of their own, NAME=VALUE. qemu: the words of its command, () for real chips.
    memory: bytes of its memory that a file can back, 0 if none can. uf2: family of UF2 files, 0 for none. note: what is known of
    it, one sentence.
    """

    name: str
    board: Board
    sources: tuple[str, ...]
    uart: int
    irq: int | None
    clock: int
    baud: int
    more: tuple[str, ...]
    nor: Nor | None
    reset: tuple[int, int]
    qemu: tuple[str, ...]
    memory: int
    uf2: int
    note: str

    @property
    def defines(self) -> dict[str, int | str]:
        """Macros of the chip for the C files of build/serial."""
        known: dict[str, int | str] = {
            "UART_BASE": f"{self.uart}u", "UART_CLOCK": f"{self.clock}u", "UART_BAUD": f"{self.baud}u",
            "RESET_ADDRESS": f"{self.reset[0]}u", "RESET_VALUE": f"{self.reset[1]}u",
            "TARGET_NAME": self.name, "CORE_NAME": self.board.core.title,
        }  # fmt: skip
        known |= dict(word.split("=", 1) for word in self.more)
        if self.irq is not None:
            known["UART_IRQ"] = f"{self.irq}u"
        if self.nor:
            size = self.nor.page_size
            known |= {"FLASH_PAGE_SIZE": f"{size}u", "FLASH_PROGRAM_SIZE": f"{self.nor.program_size}u"}
            for name, region in (("STORE", self.nor.store), ("SPARE", self.nor.spare)):
                known |= {f"{name}_ORIGIN": f"{region.origin}u", f"{name}_PAGES": f"{region.size // size}u"}
        return known

    def machine(self, flash: Path | None = None) -> tuple[str, ...]:
        """The first words of QEMU's command: the machine and, with flash, the file that keeps what the program writes to flash.

        QEMU creates the file, which holds what the program wrote also after QEMU was killed. Raises FirmwareError: no file can back
        the flash of this target.
        """
        if flash is None:
            return self.qemu
        if not self.memory:
            able = ", ".join(name for name in targets() if load_target(name).memory)
            raise FirmwareError(f"{self.name}: no file can keep its flash: leave the file out, or take one of {able}")
        path = str(flash).replace(",", ",,")
        file = f"memory-backend-file,id=flash,size={self.memory},mem-path={path},share=on"
        return (*self.qemu, "-object", file, "-machine", "memory-backend=flash")

    def command(self, elf: Path, flash: Path | None = None) -> str | None:
        """The command that runs a program on QEMU with its serial port at tcp://127.0.0.1:1234; None for a chip."""
        line = "socket,id=line,host=127.0.0.1,port=1234,server=on,wait=off,nodelay=on"
        words = (
            *(shlex.quote(word) for word in self.machine(flash)),
            "-display none -monitor none -chardev",
            line,
            "-serial chardev:line -kernel",
            shlex.quote(str(elf)),
        )
        return " ".join(words) if self.qemu else None


def targets() -> list[str]:
    """Return the names of all targets, sorted."""
    return sorted(path.stem for path in _TARGETS.glob("*.toml"))


def machines() -> list[str]:
    """Return the names of the targets that QEMU emulates, sorted."""
    return [name for name in targets() if load_target(name).qemu]


def load_target(name: str | Path) -> Target:
    """Return a target by name, or by the path of a TOML file (copy one of targets/). Raises BoardError."""
    path = Path(name)
    if path.suffix != ".toml":
        if str(name) not in targets():
            known = ", ".join(targets())
            raise BoardError(
                f"no program can be written for board {str(name)!r}; known: {known}, or the path of a .toml file"
            )
        path = _TARGETS / f"{name}.toml"
    return _parse(read_table(path), path.stem)


def _parse(table: Table, name: str) -> Target:
    table.only(_FIELDS)
    uart = table.table("uart")
    uart.only(("base", "irq", "clock_hz", "baud"))
    board = load_board(table.text("board")) if "board" in table else _machine(table, name)
    nor = _nor(table.table("nor")) if "nor" in table else None
    if nor:
        begin = min(
            [region.origin for region in (nor.store, nor.spare) if region.origin in board.flash] or [board.flash.end]
        )
        board = replace(board, flash=replace(board.flash, size=begin - board.flash.origin))
    sources = table.words("sources")
    for source in sources:
        if not (SOURCES / source).is_file():
            table.refuse(f"sources has {source!r}, which is no file of {SOURCES}")
    more = table.words("defines") if "defines" in table else ()
    for word in more:
        if "=" not in word:
            table.refuse(f"defines has {word!r}: write NAME=VALUE")
    reset = table.table("reset") if "reset" in table else None
    return Target(
        name=name,
        board=board,
        sources=sources,
        uart=uart.integer("base"),
        irq=uart.integer("irq", most=495) if "irq" in uart else None,
        clock=uart.integer("clock_hz", least=1),
        baud=uart.integer("baud", BAUD, least=300),
        more=more,
        nor=nor,
        reset=(reset.integer("address"), reset.integer("value")) if reset else (_AIRCR, _SYSRESETREQ),
        qemu=table.words("qemu") if "qemu" in table else (),
        memory=table.integer("qemu_memory", 0),
        uf2=table.integer("uf2", 0),
        note=table.text("note", ""),
    )


def _machine(table: Table, name: str) -> Board:
    core = table.text("core")
    if core not in _CORES:
        table.refuse(f"unknown core {core!r}; known cores: {', '.join(_CORES)}")
    flash, ram = (_region(table.table(part)) for part in ("flash", "ram"))
    return Board(name, table.text("description"), _CORES[core], 1, "none", "emulated, without a clock", flash, ram)


def _region(table: Table) -> Region:
    table.only(("origin", "size"))
    return Region(table.integer("origin"), table.integer("size", least=1024))


def _nor(table: Table) -> Nor:
    table.only(("page_size", "program_size", "store", "store_pages", "spare", "spare_pages"))
    size = table.integer("page_size", least=128)
    store, spare = (
        Region(table.integer(name), table.integer(f"{name}_pages", least=2) * size) for name in ("store", "spare")
    )
    return Nor(size, table.integer("program_size", least=1, most=32), store, spare)
