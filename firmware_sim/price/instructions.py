"""Thumb instructions, decoded by capstone and reduced to the fields that the cycle models and the stack bound use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from metabit.firmware_sim.errors import require

LOAD = frozenset({"ldr", "ldrb", "ldrh", "ldrsb", "ldrsh"})
STORE = frozenset({"str", "strb", "strh"})
PAIR = frozenset({"ldrd", "strd"})
STACKING = frozenset({"push", "pop", "vpush", "vpop"})
MULTIPLE = STACKING | {"ldm", "ldmdb", "stm", "stmdb", "vldmia", "vldmdb", "vstmia", "vstmdb"}
DIRECT = frozenset({"b", "bl", "cbz", "cbnz"})
INDIRECT = frozenset({"bx", "blx", "tbb", "tbh"})
_SINKING = frozenset({"push", "vpush", "stmdb", "vstmdb"})


@dataclass(frozen=True)
class Instruction:
    """A Thumb instruction. Registers are numbers of capstone.

    pointers: registers of the memory address. displacement: constant part of the address, bytes. accumulated: the register that a
    multiply-accumulate adds to, or that a store writes to memory. registers: number of registers that a load or store multiple
    moves. target: address of a direct jump. sp_change: change of the stack pointer in bytes, None if it is not a constant.
    """

    at: int
    name: str
    text: str
    size: int
    reads: frozenset[int]
    writes: frozenset[int]
    pointers: frozenset[int]
    accumulated: frozenset[int]
    updates_pointer: bool
    indexed: bool
    shifted: bool
    registers: int
    double: bool
    conditional: bool
    reads_flags: bool
    sets_flags: bool
    writes_pc: bool
    displacement: int
    target: int | None
    operands: tuple[int, ...]
    immediates: tuple[int, ...]
    sp_change: int | None
    dsp: bool


class Decoder:
    """A capstone decoder for Cortex-M, ARMv8-M included. It does not check that the core has an instruction."""

    def __init__(self) -> None:
        capstone = require("capstone")
        self._arm: Any = require("capstone.arm")
        self._capstone: Any = capstone.Cs(
            capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8
        )
        self._capstone.detail = True
        self.sp, self.lr, self.pc = (int(getattr(self._arm, f"ARM_REG_{name}")) for name in ("SP", "LR", "PC"))

    def read(self, code: bytes, at: int) -> Iterator[Instruction]:
        """Yield the instructions of `code`, up to the first bytes that cannot be decoded."""
        return (self._read(i) for i in self._capstone.disasm(code, at))

    def _read(self, i: Any) -> Instruction:
        arm = self._arm
        flags = {arm.ARM_REG_CPSR, arm.ARM_REG_ITSTATE}
        read, written = (frozenset(registers) for registers in i.regs_access())
        reads, writes = read - flags, written - flags
        name = str(i.insn_name() if i.id != arm.ARM_INS_HINT else i.mnemonic)
        memory = next((o.mem for o in i.operands if o.type == arm.ARM_OP_MEM), None)
        registers = [o.reg for o in i.operands if o.type == arm.ARM_OP_REG]
        immediates = tuple(int(o.imm) for o in i.operands if o.type == arm.ARM_OP_IMM)
        count = len(registers) - (1 if name in MULTIPLE - STACKING else 0)
        double = name.startswith("v") and bool(registers) and i.reg_name(registers[-1]).startswith("d")
        if name in ("vldr", "vstr"):
            double = i.reg_name(registers[0]).startswith("d")
        pointers = frozenset({memory.base, memory.index} - {0}) if memory else frozenset()
        if name in MULTIPLE:
            pointers = frozenset({self.sp} if name in STACKING else registers[:1])
        return Instruction(
            at=i.address,
            name=name,
            text=f"{i.mnemonic} {i.op_str}".strip(),
            size=i.size,
            reads=reads,
            writes=writes,
            pointers=pointers,
            accumulated=self._accumulated(name, registers, reads - pointers),
            updates_pointer=bool(i.writeback) or name in STACKING,
            indexed=bool(memory and memory.index),
            shifted=any(o.type == arm.ARM_OP_REG and o.shift.type for o in i.operands),
            registers=count,
            double=double,
            conditional=i.cc not in (arm.ARM_CC_AL, arm.ARM_CC_INVALID) and name != "it",
            reads_flags=arm.ARM_REG_CPSR in read,
            sets_flags=bool(i.update_flags) or arm.ARM_REG_CPSR in written,
            writes_pc=self.pc in writes or name in INDIRECT,
            displacement=int(memory.disp) if memory else 0,
            target=immediates[-1] if name in DIRECT else None,
            operands=tuple(registers),
            immediates=immediates,
            sp_change=self._sp_change(name, writes, memory, count, double, i, immediates),
            dsp=arm.ARM_GRP_THUMB2DSP in i.groups,
        )

    @staticmethod
    def _accumulated(name: str, registers: list[int], data: frozenset[int]) -> frozenset[int]:
        if name in STORE or name == "vstr":
            return data
        if name in ("vmla", "vmls", "vfma", "vfms", "vfnma", "vfnms", "vnmla", "vnmls"):
            return frozenset(registers[:1])
        return frozenset(registers[3:]) if len(registers) == 4 else frozenset()

    def _sp_change(
        self,
        name: str,
        writes: frozenset[int],
        memory: Any,
        count: int,
        double: bool,
        i: Any,
        immediates: tuple[int, ...],
    ) -> int | None:
        """Return the change of the stack pointer in bytes, None if it is not a constant."""
        if self.sp not in writes and name not in STACKING:
            return 0
        if name in MULTIPLE:
            return count * (8 if double else 4) * (-1 if name in _SINKING else 1)
        if name in ("add", "addw", "sub", "subw") and immediates and self.sp in i.regs_access()[0]:
            return immediates[-1] * (1 if name.startswith("add") else -1)
        if memory is not None and i.writeback:
            return immediates[-1] if immediates else int(memory.disp)  # post-indexed or pre-indexed
        return None


class Constants:
    """Values of registers that hold constants along straight code. Large frames and far calls need such registers."""

    def __init__(self, decoder: Decoder, word: Callable[[int], int]) -> None:
        """word: reads a literal of the program by its address."""
        self._decoder, self._word = decoder, word
        self._known: dict[int, int] = {}

    def value(self, register: int) -> int | None:
        return self._known.get(register)

    def literal(self, i: Instruction) -> int:
        return self._word((i.at + 4 & ~3) + i.displacement)

    def sp_change(self, i: Instruction) -> int | None:
        """Return Instruction.sp_change, or the constant in the register that is added to the stack pointer."""
        if i.sp_change is not None or i.name not in ("add", "sub") or i.immediates or i.shifted:
            return i.sp_change
        amount = self._known.get(i.operands[-1])
        if amount is None or i.operands[0] != self._decoder.sp:
            return None
        signed = amount - (1 << 32) if amount >> 31 else amount
        return signed if i.name == "add" else -signed

    def learn(self, i: Instruction) -> None:
        """Update the constants for an executed instruction."""
        if i.name in ("bl", "blx"):
            self._known.clear()
            return
        value: int | None = None
        last = i.immediates[-1] if i.immediates else None
        source = self._known.get(i.operands[-1]) if i.operands else None
        if i.name == "ldr" and i.pointers == {self._decoder.pc} and not i.indexed:
            value = self.literal(i)
        elif i.name in ("mov", "movw") and last is not None:
            value = last
        elif i.name == "mov" and not i.shifted:
            value = source
        elif source is not None and last is not None:
            value = self._computed(i.name, source, last)
        for register in i.writes:
            self._known.pop(register, None)
        if value is not None and not i.conditional and i.operands:
            self._known[i.operands[0]] = value & 0xFFFFFFFF

    @staticmethod
    def _computed(name: str, source: int, immediate: int) -> int | None:
        if name == "movt":
            return source & 0xFFFF | immediate << 16
        if name == "lsl":
            return source << immediate
        if name == "rsb":
            return immediate - source
        return source + immediate if name == "add" else source - immediate if name == "sub" else None
