"""Reader of a firmware ELF file: segments, symbols, sizes, and the checks that a firmware must pass before it is flashed."""

from __future__ import annotations

import bisect
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from metabit.firmware_sim.board import Board
from metabit.firmware_sim.errors import BuildError, require

_SOFT_FLOAT = re.compile(r"__aeabi_[fd](add|sub|rsub|mul|div|cmp\w*)|__aeabi_[a-z0-9]*2[fd]|__(add|sub|mul|div)[sd]f3")
_HARD_FLOAT_ABI = 0x400  # EF_ARM_ABI_FLOAT_HARD in e_flags


@dataclass(frozen=True)
class Symbol:
    name: str
    address: int
    size: int


@dataclass(frozen=True)
class Function:
    """A function; its instructions and literals lie at [start, end)."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Sizes:
    """Sizes in bytes. initial_data: initial values of .data, in flash. stack: bytes reserved."""

    code: int
    image: int
    initial_data: int
    stack: int
    state: int
    arena: int
    other_ram: int

    @property
    def flash(self) -> int:
        return self.code + self.image + self.initial_data

    @property
    def ram(self) -> int:
        return self.stack + self.state + self.arena + self.other_ram


class Program:
    """A firmware ELF file."""

    def __init__(self, data: bytes) -> None:
        file = require("elftools.elf.elffile").ELFFile
        if data[:4] != b"\x7fELF":
            raise BuildError(f"not an ELF file: it starts with {data[:4]!r}")
        self.data = data
        self._elf: Any = file(io.BytesIO(data))

    @classmethod
    def read(cls, path: Path) -> Program:
        return cls(path.read_bytes())

    @property
    def entry(self) -> int:
        return int(self._elf["e_entry"])

    @cached_property
    def segments(self) -> list[tuple[int, bytes]]:
        """The parts of flash that a programmer tool writes: (address, bytes)."""
        loads = (s for s in self._elf.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"])
        return [(int(s["p_paddr"]), bytes(s.data())) for s in loads]

    @cached_property
    def symbols(self) -> dict[str, Symbol]:
        return {s.name: Symbol(s.name, int(s["st_value"]), int(s["st_size"])) for s in self._symtab() if s.name}

    def symbol(self, name: str) -> Symbol:
        if name not in self.symbols:
            raise BuildError(f"the firmware has no symbol {name!r}: it was not linked from firmware_sim/build/firmware")
        return self.symbols[name]

    @cached_property
    def functions(self) -> list[Function]:
        """All functions in address order; a function with several names is listed once for each."""
        found = sorted(
            (int(s["st_value"]) & ~1, int(s["st_size"]), s.name)
            for s in self._symtab()
            if s["st_info"]["type"] == "STT_FUNC"
        )
        # An assembler function may have size 0: it ends where the next function begins.
        ends = [*(start for start, _, _ in found[1:]), self.code_range[1]]
        return [
            Function(name, at, at + size if size else end) for (at, size, name), end in zip(found, ends, strict=True)
        ]

    def function(self, address: int) -> Function | None:
        """Return the function that holds an address."""
        i = bisect.bisect_right(self.functions, address, key=lambda f: f.start) - 1
        return self.functions[i] if i >= 0 and address < self.functions[i].end else None

    def function_at(self, address: int) -> str:
        """Return the name of the function that holds an address, "?" if there is none."""
        function = self.function(address)
        return function.name if function else "?"

    @cached_property
    def code_range(self) -> tuple[int, int]:
        """Addresses [start, end) that hold instructions."""
        code = self._section(".text")
        return int(code["sh_addr"]), int(code["sh_addr"] + code["sh_size"])

    @cached_property
    def sizes(self) -> Sizes:
        """Sizes by the ELF file; a gap left by alignment counts to the part before it."""
        flash = max(at + len(blob) for at, blob in self.segments) - min(at for at, _ in self.segments)
        section = {s.name: (int(s["sh_addr"]), int(s["sh_size"])) for s in self._elf.iter_sections()}
        in_ram = [section[name] for name in (".stack", ".data", ".bss") if name in section]
        ram = max(at + size for at, size in in_ram) - min(at for at, _ in in_ram)
        data, stack = (section[name][1] if name in section else 0 for name in (".data", ".stack"))
        image, state, arena = (
            self.symbols[name].size if name in self.symbols else 0 for name in ("image", "state_memory", "arena_memory")
        )
        return Sizes(
            code=flash - image - data,
            image=image,
            initial_data=data,
            stack=stack,
            state=state,
            arena=arena,
            other_ram=ram - stack - state - arena,
        )

    def check(self, board: Board, floats: bool = False) -> None:
        """Raise BuildError for a wrong entry point, a wrong float ABI, soft floats unless `floats`, or FPU code without an FPU."""
        if self._elf["e_machine"] != "EM_ARM":
            if self.entry != board.flash.origin or self.entry != self.symbol("Reset_Handler").address:
                raise BuildError(f"the program does not begin with Reset_Handler (entry {self.entry:#x})")
            return
        vectors = next((blob for at, blob in self.segments if at == board.flash.origin + board.flash.boot), b"")
        reset = int.from_bytes(vectors[4:8], "little")
        if reset != self.entry or reset != self.symbol("Reset_Handler").address | 1:
            raise BuildError(
                f"the vector table does not start with Reset_Handler (entry {self.entry:#x}, vector {reset:#x})"
            )
        if bool(self._elf["e_flags"] & _HARD_FLOAT_ABI) != board.core.fpu:
            raise BuildError(f"the float ABI is not the one of {board.core.title}")
        helper = next((name for name in self.symbols if _SOFT_FLOAT.fullmatch(name)), None)
        if helper is not None and not floats:
            raise BuildError(
                f"soft-float helper {helper} was linked: the runtime uses integers only, so another source uses a float"
            )
        if not board.core.fpu:
            for address, text in self.instructions():
                if text.startswith("v"):
                    raise BuildError(f"FPU instruction `{text}` at {address:#010x}, but {board.core.title} has no FPU")

    def instructions(self) -> Iterator[tuple[int, str]]:
        """Yield (address, text) of every instruction in .text."""
        capstone = require("capstone")
        decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
        decoder.skipdata = True  # continue after bytes that cannot be decoded
        for address, blob in self.code(*self.code_range):
            for i in decoder.disasm(blob, address):
                yield i.address, f"{i.mnemonic} {i.op_str}".strip()

    def code(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Yield the pieces of [start, end) in .text that hold instructions, without literal pools: (address, bytes)."""
        at, text = self.code_range[0], self._text
        first = bisect.bisect_right(self._marks, (start, "~")) - 1
        for (mark, kind), (next_mark, _) in zip(
            self._marks[max(first, 0) : -1], self._marks[max(first, 0) + 1 :], strict=True
        ):
            low, high = max(mark, start), min(next_mark, end)
            if mark >= end:
                return
            if kind == "t" and low < high:
                yield low, text[low - at : high - at]

    def word(self, address: int) -> int:
        """Return the 32-bit word at an address in .text, for instance a literal."""
        at = address - self.code_range[0]
        return int.from_bytes(self._text[at : at + 4], "little")

    @cached_property
    def _text(self) -> bytes:
        return bytes(self._section(".text").data())

    @cached_property
    def _marks(self) -> list[tuple[int, str]]:
        """Addresses where instructions ("t") and literals ("d") begin, from the $t and $d mapping symbols, and the end."""
        start, end = self.code_range
        marks = {(int(s["st_value"]), s.name[1]) for s in self._symtab() if s.name[:2] in ("$t", "$d")}
        return [*sorted(m for m in marks if start <= m[0] < end), (end, "d")]

    def _section(self, name: str) -> Any:
        section = self._elf.get_section_by_name(name)
        if section is None:
            raise BuildError(f"the firmware has no section {name}")
        return section

    def _symtab(self) -> Any:
        return self._section(".symtab").iter_symbols()
