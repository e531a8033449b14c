"""Cycle estimates: decodes a basic block and prices it with a model of cycles.toml.

Instruction counts are exact. Cycles are estimates for memory without wait states; print `Model.label` beside them. hook.c adds the
wait states of a board whose file has them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from metabit.firmware_sim.errors import BoardError, FirmwareError
from metabit.firmware_sim.price.instructions import DIRECT, LOAD, MULTIPLE, PAIR, STORE, Constants, Decoder, Instruction
from metabit.firmware_sim.price.pipeline import Pipeline
from metabit.firmware_sim.toml_files import read_table

_FILE = Path(__file__).parent / "cycles.toml"

_FPU_NO_RESULT = frozenset({"vmov", "vmrs", "vmsr", "vcmp", "vcmpe", "vneg", "vabs"})


@dataclass(frozen=True)
class Model:
    """The cycle model of one core, from cycles.toml.

    band_percent: expected error in either direction. pipeline: None for a core whose instructions run one after the other.
    """

    name: str
    version: str
    title: str
    source: str
    band_percent: int
    costs: dict[str, int]
    table: dict[str, int]
    pipeline: Pipeline | None = None

    @property
    def label(self) -> str:
        return self.label_with("zero-wait memory")

    def label_with(self, memory: str) -> str:
        """The model in words, for reports. memory: what it assumes of the memory."""
        return f"{self.title} model {self.version}, ±{self.band_percent} %, {memory}"


def load_model(name: str) -> Model:
    """Read a cycle model by its name. Raises BoardError for an unknown one."""
    root = read_table(_FILE)
    names = [key for key in root if key != "version"]
    if name not in names:
        raise BoardError(f"unknown cycle model {name!r}; known models: {', '.join(names)}")
    model = root.table(name)
    groups = [model.table(group) for group in ("memory", "jumps", "waits") if group in model]
    table = model.table("table") if "table" in model else None
    return Model(
        name=name,
        version=root.text("version"),
        title=model.text("title"),
        source=model.text("source"),
        band_percent=model.integer("band_percent"),
        costs={key: group.integer(key) for group in groups for key in group},
        table={one: int(cycles) for cycles in table for one in table.text(cycles).split()} if table else {},
        pipeline=Pipeline.read(model.table("pipeline")) if "pipeline" in model else None,
    )


class Jump(IntEnum):
    """End of a block, as a branch predictor sees it: jump_kind of hook.h."""

    CERTAIN = 0  # no jump, or a jump with a constant target
    CONDITIONAL = 1
    INDIRECT = 2


@dataclass(frozen=True)
class BlockCost:
    """Cost of one basic block.

    cycles: without a taken jump at its end. taken, entered: extra cycles if a jump leaves or enters it. mispredicted: extra
    cycles of a wrong prediction, 0 on a core without a branch predictor. sp_low: lowest stack pointer inside the block minus
    its value at the start, bytes, <= 0.
    """

    insns: int
    cycles: int
    taken: int
    entered: int
    mispredicted: int
    jump: Jump
    sp_low: int
    uses_fpu: bool
    uses_dsp: bool


class Pricer:
    """Prices basic blocks by one model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._decoder = Decoder()

    def price(self, code: bytes, address: int, word: Callable[[int], int] = lambda address: 0) -> BlockCost:
        """Return the cost of the block `code` at `address`. word: reads a literal of the program.

        Raises FirmwareError if the code cannot be decoded.
        """
        block = list(self._decoder.read(code, address))
        if sum(i.size for i in block) != len(code):
            raise FirmwareError(f"cannot decode the code at {address:#010x}: {code.hex(' ', 2)}")
        sp = low = 0
        known = Constants(self._decoder, word)
        for instruction in block:
            sp += known.sp_change(instruction) or 0
            low = min(low, sp)
            known.learn(instruction)
        straddles = block[0].size == 4 and address % 4 == 2
        pipeline = self.model.pipeline
        return BlockCost(
            insns=len(block),
            cycles=pipeline.cycles(block) if pipeline else sum(self._cycles(block, at) for at in range(len(block))),
            taken=self._taken(block[-1]),
            entered=self.model.costs["entered_unaligned"] if straddles else 0,
            mispredicted=self.model.costs["mispredicted"],
            jump=_jump(block[-1]),
            sp_low=low,
            uses_fpu=any(i.name.startswith("v") for i in block),
            uses_dsp=any(i.dsp for i in block),
        )

    def _cycles(self, block: list[Instruction], at: int) -> int:
        """Return the cycles of block[at], which depend on its neighbours, without the cost of a taken jump."""
        this, costs = block[at], self.model.costs
        before = block[at - 1] if at > 0 else None
        after_load = before is not None and before.name in LOAD and not before.writes & this.pointers
        if this.name in LOAD:
            return costs["load_pipelined" if after_load else "load"]
        if this.name in STORE:
            return costs["store_pipelined" if after_load else "store_indexed" if this.indexed else "store"]
        if this.name in PAIR:
            return costs["pair"]
        if this.name in MULTIPLE:
            return costs["multiple"] + this.registers * (2 if this.double else 1)
        if this.name == "it":
            # An IT in the second half of a word, behind a 16-bit instruction, takes no cycle.
            return 0 if costs["it_folded"] and before is not None and before.size == 2 else 1
        cycles = self.model.table.get(this.name, 1)
        if this.name.startswith("v"):
            cycles += 1 if this.double and this.name in ("vldr", "vstr") else 0
            cycles += 1 if this.name == "vmov" and this.registers >= 3 else 0
            waits = at + 1 < len(block) and this.writes & block[at + 1].reads
            cycles += costs["result_wait"] if waits and this.name not in _FPU_NO_RESULT | {"vldr", "vstr"} else 0
        return cycles

    def _taken(self, last: Instruction) -> int:
        if last.name in DIRECT:
            return self.model.costs["taken_direct"]
        if not last.writes_pc:
            return 0
        return self.model.costs["taken_load" if last.name in LOAD | MULTIPLE else "taken_indirect"]


def _jump(last: Instruction) -> Jump:
    if last.name in ("cbz", "cbnz") or (last.conditional and (last.name in DIRECT or last.writes_pc)):
        return Jump.CONDITIONAL
    return Jump.INDIRECT if last.writes_pc and last.name not in DIRECT else Jump.CERTAIN
