"""Model of an in-order pipeline that issues up to two instructions a cycle: Cortex-M7, and Cortex-M33 for 16-bit pairs.

An instruction starts as soon as its operands are ready and every unit that it needs is free. Latencies and units are data
(cycles.toml); this file assigns instructions to kinds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from metabit.firmware_sim.price.instructions import DIRECT, LOAD, MULTIPLE, PAIR, STORE, Instruction
from metabit.firmware_sim.toml_files import Table

_NARROW = LOAD - {"ldr"}
_SHIFT = frozenset({"lsl", "lsr", "asr", "ror", "rrx"})
_KINDS = {
    "add": "add addw sub subw mov movw",
    "compare": "cmp cmn tst teq",
    "extend": "sxtb sxth uxtb uxth sxtb16 uxtb16",
    "extract": "sbfx ubfx pkhbt pkhtb sxtab sxtah uxtab uxtah",
    "insert": "bfi bfc",
    "reverse": "rev rev16 revsh rbit",
    "count": "clz",
    "simd": "sadd8 sadd16 ssub8 ssub16 uadd8 uadd16 usub8 usub16 sasx ssax uasx usax sel",
    "saturate": "ssat usat ssat16 usat16 qadd qsub qdadd qdsub qadd8 qadd16 qsub8 qsub16 usad8 usada8",
    "multiply": "mul mla mls smull umull smlal umlal umaal smlad smladx smlsd smlald smuad smusd smmul smmla smmulr smmls "
    "smulbb smulbt smultb smultt smlabb smlabt smlatb smlatt smlawb smlawt smulwb smulwt smlalbb",
    "divide": "udiv sdiv",
    "jump": "bx blx",
    "table_jump": "tbb tbh",
    "it": "it",
    "nop": "nop",
    "system": "mrs msr dmb dsb isb svc bkpt udf wfe wfi sev cpsid cpsie vmrs vmsr",
    "fpu_accumulate": "vmla vmls vfma vfms vfnma vfnms vnmla vnmls",
    "fpu_divide": "vdiv vsqrt",
    "fpu_load": "vldr",
    "fpu_store": "vstr",
}
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names.split()}
_KIND_OF |= dict.fromkeys(DIRECT, "jump") | dict.fromkeys(_SHIFT, "shift") | dict.fromkeys(MULTIPLE, "multiple")
_KIND_OF |= {"ldr": "load"} | dict.fromkeys(_NARROW, "load_narrow") | dict.fromkeys(STORE, "store")
_KIND_OF |= dict.fromkeys(PAIR, "pair")
KINDS = frozenset(_KIND_OF.values()) | {"alu", "shifted", "fpu"}
_MEMORY = frozenset({"load", "store"})


@dataclass(frozen=True)
class Kind:
    """Timing of the instructions of one kind, in cycles.

    units: units that an instruction occupies when it starts, one of each. latency: from the start to the use of the result. busy:
    from the start to the start of the next instruction. early: address operands, or all operands if there is no address, are
    needed so many cycles before the start. late: accumulated and stored operands are needed so many cycles after the start.
    first: can only be the first instruction of a cycle. alone: no other instruction starts in the same cycle. forwards: whether
    the result can be used in the same cycle, where the operands were there a cycle before: "first" by the first instruction of a
    cycle, "any" by both.
    """

    units: frozenset[str]
    latency: int
    busy: int
    early: int
    late: int
    first: bool
    alone: bool
    forwards: str

    @classmethod
    def read(cls, table: Table, known_units: dict[str, int]) -> Kind:
        table.only(("units", "latency", "busy", "early", "late", "first", "alone", "forwards"))
        units = table.text("units", "").split()
        for unit in units:
            if unit not in known_units:
                table.refuse(f"unit {unit!r} is not among {', '.join(known_units)}")
        return cls(
            units=frozenset(units),
            latency=table.integer("latency", 1),
            busy=table.integer("busy", 1, least=1),
            early=table.integer("early", 0),
            late=table.integer("late", 0),
            first=table.flag("first"),
            alone=table.flag("alone"),
            forwards=table.text("forwards", ""),
        )

    def needed(self, register: int, instruction: Instruction) -> int:
        """Return the cycle, relative to the start, at which a register is needed."""
        if register in instruction.pointers or (self.early and not instruction.pointers):
            return -self.early
        return self.late if register in instruction.accumulated else 0


@dataclass
class _Group:
    """Instructions that start in the same cycle."""

    members: list[Instruction] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)
    closed: bool = False

    def add(self, instruction: Instruction, kind: Kind) -> None:
        self.members.append(instruction)
        for unit in kind.units:
            self.used[unit] = self.used.get(unit, 0) + 1
        self.closed = self.closed or kind.alone or kind.busy > 1 or len(self.members) == 2


@dataclass(frozen=True)
class Pipeline:
    """Pipeline of one core. compared, computed: cycles until a condition set by a compare, by another instruction, can be used.
    predicted: direct jumps wait for nothing, because a wrong prediction is paid for afterwards.
    """

    units: dict[str, int]
    kinds: dict[str, Kind]
    short_pairs: bool
    multiple: int
    multiple_width: int
    pointer_latency: int
    compared: int
    computed: int
    predicted: bool

    @classmethod
    def read(cls, table: Table) -> Pipeline:
        table.only(("units", "rules", "kinds"))
        counts, rules, kinds = (table.table(part) for part in ("units", "rules", "kinds"))
        rules.only(
            ("short_pairs", "multiple", "multiple_width", "pointer_latency", "compared", "computed", "predicted")
        )
        units = {name: counts.integer(name, least=1) for name in counts}
        found = {name: Kind.read(kinds.table(names), units) for names in kinds for name in names.split()}
        if found.keys() != KINDS:
            kinds.refuse(f"the kinds must be {', '.join(sorted(KINDS))}")
        return cls(
            units=units,
            kinds=found,
            short_pairs=rules.flag("short_pairs"),
            multiple=rules.integer("multiple"),
            multiple_width=rules.integer("multiple_width", least=1),
            pointer_latency=rules.integer("pointer_latency"),
            compared=rules.integer("compared"),
            computed=rules.integer("computed"),
            predicted=rules.flag("predicted"),
        )

    def cycles(self, block: list[Instruction]) -> int:
        """Return the cycles from the first instruction of a block to the first one of the next block."""
        now, condition, group = 0, 0, _Group()
        ready: dict[int, int] = {}
        for instruction in block:
            name = self._kind(instruction)
            kind = self.kinds[name]
            operands = (instruction.reads | instruction.pointers) & ready.keys()
            waits = not (self.predicted and instruction.name in DIRECT)
            needed = [ready[register] - kind.needed(register, instruction) for register in operands] if waits else []
            start = max([now, *needed])
            if waits and (instruction.conditional or instruction.reads_flags):
                start = max(start, condition)
            if start == now and not self._fits(group, instruction, kind):
                start += 1
            if start > now:
                now, group = start, _Group()
            group.add(instruction, kind)
            busy = self._busy(instruction, name)
            group.closed = group.closed or busy > 1
            now += busy - 1
            sooner = kind.forwards == "any" or (kind.forwards == "first" and len(group.members) == 1)
            forwarded = sooner and all(at < start for at in needed)
            ready |= dict.fromkeys(instruction.writes, now + (0 if forwarded else kind.latency))
            if instruction.updates_pointer:
                ready |= dict.fromkeys(instruction.pointers, now + self.pointer_latency)
            if instruction.sets_flags:
                condition = now + (self.compared if name == "compare" else self.computed)
        return now + 1

    def _kind(self, instruction: Instruction) -> str:
        name = _KIND_OF.get(instruction.name, "fpu" if instruction.name.startswith("v") else "alu")
        return "shifted" if name in ("alu", "add") and instruction.shifted else name

    def _busy(self, instruction: Instruction, kind: str) -> int:
        if kind != "multiple":
            return self.kinds[kind].busy
        words = instruction.registers * (2 if instruction.double else 1)
        return max(1, self.multiple + -(-words // self.multiple_width))

    def _fits(self, group: _Group, instruction: Instruction, kind: Kind) -> bool:
        """Return True if `instruction` can start in the same cycle as the group."""
        if not group.members:
            return True
        if group.closed or kind.first or kind.alone:
            return False
        if self.short_pairs and not self._short_pair(group, instruction, kind):
            return False
        return all(group.used.get(unit, 0) < self.units[unit] for unit in kind.units)

    @staticmethod
    def _short_pair(group: _Group, instruction: Instruction, kind: Kind) -> bool:
        """Return True for two 16-bit instructions in one word of which at most one accesses memory."""
        before = group.members[0]
        one_word = before.size == instruction.size == 2 and before.at % 4 == 0
        return one_word and not (kind.units & _MEMORY and _MEMORY & group.used.keys())
