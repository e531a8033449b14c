"""Microcontroller boards and cores as data: a board is a TOML file, a core is a row of `CORES`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from metabit.firmware_sim.errors import BoardError
from metabit.firmware_sim.toml_files import Table, read_table

_BOARDS = Path(__file__).parent / "boards"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Characters of a board name: the name becomes part of cache paths and of the linker script."""


@dataclass(frozen=True)
class Core:
    """Compiler options of a core and the CPU model that the emulator uses for it.

    zig_cpu: names the FPU explicitly, because zig's CPU models leave the optional FPU out.
    unicorn_cpu: name of a constant in unicorn.arm_const. UC_MODE_MCLASS is never set: it would force a Cortex-M33.
    fpu, dsp: True if the core has the extension.
    """

    name: str
    title: str
    zig_target: str
    zig_cpu: str
    gcc_flags: tuple[str, ...]
    unicorn_cpu: str
    fpu: bool
    dsp: bool


CORES = {
    core.name: core
    for core in (
        Core("m0plus", "Cortex-M0+", "thumb-freestanding-eabi", "cortex_m0plus",
             ("-mcpu=cortex-m0plus", "-mthumb", "-mfloat-abi=soft"), "UC_CPU_ARM_CORTEX_M0", False, False),
        Core("m3", "Cortex-M3", "thumb-freestanding-eabi", "cortex_m3",
             ("-mcpu=cortex-m3", "-mthumb", "-mfloat-abi=soft"), "UC_CPU_ARM_CORTEX_M3", False, False),
        Core("m4f", "Cortex-M4F", "thumb-freestanding-eabihf", "cortex_m4+vfp4d16sp",
             ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
             "UC_CPU_ARM_CORTEX_M4", True, True),
        Core("m7", "Cortex-M7", "thumb-freestanding-eabihf", "cortex_m7+fp_armv8d16sp",
             ("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"),
             "UC_CPU_ARM_CORTEX_M7", True, True),
        Core("m33", "Cortex-M33", "thumb-freestanding-eabihf", "cortex_m33+fp_armv8d16sp+dsp",
             ("-mcpu=cortex-m33", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"),
             "UC_CPU_ARM_CORTEX_M33", True, True),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Region:
    """A memory of a board, in bytes. boot: bytes at its start that a boot loader occupies."""

    origin: int
    size: int
    boot: int = 0

    @property
    def end(self) -> int:
        return self.origin + self.size

    @property
    def usable(self) -> int:
        return self.size - self.boot

    def __contains__(self, address: int) -> bool:
        return self.origin <= address < self.end


@dataclass(frozen=True)
class Waits:
    """Wait states of code in flash: the table [flash.waits] of a board file. Data in flash are priced without.

    cycles: a fetch that the cache does not hold waits so long. line: bytes that it brings, a power of two. lines, ways: of the
    cache, least recently used first out; 0 lines is no cache, one line a read buffer.
    """

    cycles: int
    line: int
    lines: int = 0
    ways: int = 0

    @classmethod
    def read(cls, table: Table) -> Waits:
        table.only(("cycles", "line", "lines", "ways"))
        line, lines = table.integer("line", least=2, most=1024), table.integer("lines", 0, most=1 << 16)
        ways = table.integer("ways", min(1, lines), most=16)
        sets = lines // ways if ways else 0
        if line & (line - 1):
            table.refuse(f"line = {line} must be a power of two")
        if ways * sets != lines or sets & (sets - 1):
            table.refuse(f"lines = {lines} must be ways = {ways} times a power of two")
        return cls(table.integer("cycles", least=1, most=255), line, lines, ways)

    @property
    def label(self) -> str:
        """In words, for reports."""
        cache = f"cache {self.lines} × {self.line} bytes" if self.lines else "no cache"
        return f"code in flash waits {self.cycles} ({cache}), data zero-wait"


@dataclass(frozen=True)
class Board:
    """A checked board file.

    wait_states: one sentence about what the cycle estimates leave out. waits: None where estimates are for memory without wait
    states.
    """

    name: str
    description: str
    core: Core
    clock_hz: int
    cycle_model: str
    wait_states: str
    flash: Region
    ram: Region
    waits: Waits | None = None

    def milliseconds(self, cycles: float) -> float:
        """Duration of `cycles` clock cycles."""
        return cycles / self.clock_hz * 1e3


def boards() -> list[str]:
    """Return the names of the boards that metabit brings along, sorted."""
    return sorted(path.stem for path in _BOARDS.glob("*.toml"))


def load_board(name: str | Path) -> Board:
    """Return a board by name, or by the path of a TOML file (copy boards/nrf52840.toml). Raises BoardError."""
    path = Path(name)
    if path.suffix != ".toml":
        if str(name) not in boards():
            known = ", ".join(boards())
            raise BoardError(f"unknown board {str(name)!r}; known boards: {known}, or the path of a .toml file")
        path = _BOARDS / f"{name}.toml"
    return _parse(read_table(path))


def _parse(table: Table) -> Board:
    table.only(("name", "description", "core", "clock_hz", "cycle_model", "wait_states", "flash", "ram"))
    name, core = table.text("name"), table.text("core")
    if not _NAME.fullmatch(name):
        table.refuse(f"name = {name!r} must be 1 to 64 characters of A-Z a-z 0-9 . _ -")
    if core not in CORES:
        table.refuse(f"unknown core {core!r}; known cores: {', '.join(CORES)}")
    flash, ram = _region(table.table("flash"), ("waits",)), _region(table.table("ram"))
    if flash.origin < ram.end and ram.origin < flash.end:
        table.refuse("flash and ram overlap")
    return Board(
        name=name,
        description=table.text("description", ""),
        core=CORES[core],
        clock_hz=table.integer("clock_hz", least=1),
        cycle_model=table.text("cycle_model"),
        wait_states=table.text("wait_states", "not modelled"),
        flash=flash,
        ram=ram,
        waits=Waits.read(table.table("flash").table("waits")) if "waits" in table.table("flash") else None,
    )


def _region(table: Table, more: tuple[str, ...] = ()) -> Region:
    table.only(("origin", "size", "boot", *more))
    region = Region(table.integer("origin"), table.integer("size", least=1024), table.integer("boot", 0))
    # The emulator protects memory in pages of 1 KiB; the vector table needs an alignment of 256 bytes.
    if region.origin % 1024 or region.size % 1024 or region.boot % 256:
        table.refuse("origin and size must be multiples of 1024, boot of 256")
    if region.end > 1 << 32 or region.boot >= region.size:
        table.refuse("region does not fit into 32-bit addresses, or boot not into its size")
    return region
