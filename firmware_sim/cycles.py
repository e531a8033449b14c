"""Cycle estimates: decodes a basic block once and prices it with one of the models in cycles.toml.

Instruction counts are exact. Cycles are an estimate for zero-wait-state memory: `Model.label` must stand beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metabit.firmware_sim.errors import BoardError, FirmwareError, require
from metabit.firmware_sim.tables import read_table

_FILE = Path(__file__).parent / "cycles.toml"

_LOAD = frozenset({"ldr", "ldrb", "ldrh", "ldrsb", "ldrsh"})
_STORE = frozenset({"str", "strb", "strh"})
_PAIR = frozenset({"ldrd", "strd"})
_STACKING = frozenset({"push", "pop", "vpush", "vpop"})
_MULTIPLE = _STACKING | {"ldm", "ldmdb", "stm", "stmdb", "vldmia", "vldmdb", "vstmia", "vstmdb"}
_DIRECT = frozenset({"b", "bl", "cbz", "cbnz"})
_FPU_NO_RESULT = frozenset({"vmov", "vmrs", "vmsr", "vcmp", "vcmpe", "vneg", "vabs"})


@dataclass(frozen=True)
class Model:
    """One table of cycles.toml. band_percent: how far off it may be, either way."""

    name: str
    version: str
    title: str
    source: str
    band_percent: int
    costs: dict[str, int]
    table: dict[str, int]

    @property
    def label(self) -> str:
        return f"{self.title} model {self.version}, ±{self.band_percent} %, zero-wait memory"


def load_model(name: str) -> Model:
    root = read_table(_FILE)
    names = [key for key in root if key != "version"]
    if name not in names:
        raise BoardError(f"unknown cycle model {name!r}; known models: {', '.join(names)}")
    model = root.table(name)
    table = model.table("table")
    return Model(
        name=name,
        version=root.text("version"),
        title=model.text("title"),
        source=model.text("source"),
        band_percent=model.integer("band_percent"),
        costs={key: model.integer(key) for key in model if key not in ("title", "source", "band_percent", "table")},
        table={key: table.integer(key) for key in table},
    )


@dataclass(frozen=True)
class BlockCost:
    """cycles: falling through; taken, entered: extra for a jump out of and into this block.

    sp_low: lowest stack pointer inside, bytes relative to the start, <= 0.
    """

    insns: int
    cycles: int
    taken: int
    entered: int
    sp_low: int
    uses_fpu: bool
    uses_dsp: bool


@dataclass(frozen=True)
class Instruction:
    """What pricing needs to know of one instruction. Registers are capstone's numbers."""

    name: str
    size: int
    reads: frozenset[int]
    writes: frozenset[int]
    address: frozenset[int]
    indexed: bool
    registers: int
    double: bool
    writes_pc: bool
    sp_change: int
    dsp: bool


class Pricer:
    """Prices blocks for one model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._arm: Any = require("capstone.arm")
        capstone = require("capstone")
        self._decoder: Any = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
        self._decoder.detail = True

    def price(self, code: bytes, address: int) -> BlockCost:
        block = [self._read(i) for i in self._decoder.disasm(code, address)]
        if sum(i.size for i in block) != len(code):
            raise FirmwareError(f"cannot decode the code at {address:#010x}: {code.hex(' ', 2)}")
        sp = low = cycles = 0
        for at, instruction in enumerate(block):
            cycles += self._cycles(block, at)
            sp += instruction.sp_change
            low = min(low, sp)
        straddles = block[0].size == 4 and address % 4 == 2
        return BlockCost(
            insns=len(block),
            cycles=cycles,
            taken=self._taken(block[-1]),
            entered=self.model.costs["entered_unaligned"] if straddles else 0,
            sp_low=low,
            uses_fpu=any(i.name.startswith("v") for i in block),
            uses_dsp=any(i.dsp for i in block),
        )

    def _cycles(self, block: list[Instruction], at: int) -> int:
        """One instruction, given its neighbours; what a taken jump adds comes on top."""
        this, costs = block[at], self.model.costs
        before = block[at - 1] if at > 0 else None
        after_load = before is not None and before.name in _LOAD and not before.writes & this.address
        if this.name in _LOAD:
            return costs["load_pipelined" if after_load else "load"]
        if this.name in _STORE:
            return costs["store_pipelined" if after_load else "store_indexed" if this.indexed else "store"]
        if this.name in _PAIR:
            return costs["pair"]
        if this.name in _MULTIPLE:
            return costs["multiple"] + this.registers * (2 if this.double else 1)
        if this.name == "it":
            # The fetch unit absorbs an IT that shares a word with a 16-bit instruction before it.
            return 0 if costs["it_folded"] and before is not None and before.size == 2 else 1
        cycles = self.model.table.get(this.name, 1)
        if this.name.startswith("v"):
            cycles += 1 if this.double and this.name in ("vldr", "vstr") else 0
            cycles += 1 if this.name == "vmov" and this.registers >= 3 else 0
            waits = at + 1 < len(block) and this.writes & block[at + 1].reads
            cycles += costs["result_wait"] if waits and this.name not in _FPU_NO_RESULT | {"vldr", "vstr"} else 0
        return cycles

    def _taken(self, last: Instruction) -> int:
        if last.name in _DIRECT:
            return self.model.costs["taken_direct"]
        if not last.writes_pc:
            return 0
        return self.model.costs["taken_load" if last.name in _LOAD | _MULTIPLE else "taken_indirect"]

    def _read(self, i: Any) -> Instruction:
        arm = self._arm
        reads, writes = (frozenset(registers) - {arm.ARM_REG_CPSR} for registers in i.regs_access())
        name = str(i.insn_name() if i.id != arm.ARM_INS_HINT else i.mnemonic)
        memory = next((o.mem for o in i.operands if o.type == arm.ARM_OP_MEM), None)
        registers = [o.reg for o in i.operands if o.type == arm.ARM_OP_REG]
        count = len(registers) - (1 if name in _MULTIPLE - _STACKING else 0)
        double = name.startswith("v") and bool(registers) and i.reg_name(registers[-1]).startswith("d")
        if name in ("vldr", "vstr"):
            double = i.reg_name(registers[0]).startswith("d")
        return Instruction(
            name=name,
            size=i.size,
            reads=reads,
            writes=writes,
            address=frozenset({memory.base, memory.index} - {0}) if memory else frozenset(),
            indexed=bool(memory and memory.index),
            registers=count,
            double=double,
            writes_pc=arm.ARM_REG_PC in writes or name in ("bx", "blx", "tbb", "tbh"),
            sp_change=self._sp_change(i, name, writes, memory, count, double),
            dsp=arm.ARM_GRP_THUMB2DSP in i.groups,
        )

    def _sp_change(self, i: Any, name: str, writes: frozenset[int], memory: Any, count: int, double: bool) -> int:
        """Bytes by which an instruction moves the stack pointer, where that is a constant."""
        arm = self._arm
        if name in _STACKING:
            return count * (8 if double else 4) * (1 if name.endswith("pop") else -1)
        if arm.ARM_REG_SP not in writes:
            return 0
        if name in ("add", "addw", "sub", "subw") and i.operands[-1].type == arm.ARM_OP_IMM:
            return int(i.operands[-1].imm) * (1 if name.startswith("add") else -1)
        if name in ("stmdb", "ldm"):
            return count * (4 if name == "ldm" else -4)
        return int(memory.disp) if memory is not None and i.writeback else 0
