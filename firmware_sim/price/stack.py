"""Upper bound on the stack of a firmware for every input, computed from its ELF file.

The stack pointer is followed along all branches of every function; a call, or a jump into another function, adds the bound of
that function. Recursion, calls through pointers and frames of variable size have no bound: the result names the function.

The firmware uses no interrupts. An application that does must add, for each priority level, the 32 bytes of an exception frame
(104 with FPU registers) and the bound of the handler. Code that only a jump table leads to is assumed to start with the largest
depth at any jump through a table.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from metabit.firmware_sim.build.elf import Function, Program
from metabit.firmware_sim.errors import StackUnbounded
from metabit.firmware_sim.price.instructions import MULTIPLE, Constants, Decoder, Instruction

CALLS = ("mb_open", "mb_attach", "mb_predict", "mb_learn")
"""Library functions that get a bound of their own."""

_TABLE_HELPER = "__gnu_thumb1_case"  # in libgcc: returns to an address from the table behind the call
_RISES = 64
"""An instruction reached so many times, each time with a deeper stack, is taken for a loop that pushes."""


@dataclass(frozen=True)
class StackBound:
    """Bounds in bytes.

    total: from reset on, None if there is no bound; `refused` then says why. way: the functions from reset to the deepest one.
    calls: bounds of the library functions in CALLS.
    """

    total: int | None
    way: tuple[str, ...] = ()
    calls: dict[str, int] = field(default_factory=dict)
    refused: str = ""

    def __str__(self) -> str:
        return f"{self.total:,} B" if self.total is not None else "none"


def stack_bound(program: Program) -> StackBound:
    """Return the bound of a whole firmware. Does not raise StackUnbounded: the result says why there is no bound."""
    stack = Stack(program)
    try:
        total, way = stack.deepest("Reset_Handler")
        calls = {name: stack.deepest(name)[0] for name in CALLS if name in program.symbols}
    except StackUnbounded as error:
        return StackBound(None, refused=str(error))
    return StackBound(total, way, calls)


@dataclass(frozen=True)
class _Own:
    """Stack of one function without its callees. frame: bytes. callees: (bytes in use at the call, address)."""

    frame: int
    callees: frozenset[tuple[int, int]]


class Stack:
    """Stack use of the functions of one program."""

    def __init__(self, program: Program) -> None:
        self._program, self._decoder = program, Decoder()
        self._own: dict[int, _Own] = {}
        self._deepest: dict[int, tuple[int, tuple[str, ...]]] = {}

    def frame(self, name: str) -> int:
        """Return the bytes that a function uses itself, saved registers included, as gcc's -fstack-usage counts them."""
        return self._walked(self._program.symbol(name).address & ~1).frame

    def deepest(self, name: str) -> tuple[int, tuple[str, ...]]:
        """Return the bound of a call of the function and the functions to the deepest one. Raises StackUnbounded."""
        return self._down(self._program.symbol(name).address & ~1, ())

    def _down(self, address: int, above: tuple[int, ...]) -> tuple[int, tuple[str, ...]]:
        if address in above:
            circle = [self._program.function_at(a) for a in (*above[above.index(address) :], address)]
            raise StackUnbounded(f"the stack has no bound: {circle[0]} calls itself ({' → '.join(circle)})")
        if address not in self._deepest:
            own, name = self._walked(address), self._program.function_at(address)
            ways: list[tuple[int, tuple[str, ...]]] = [(own.frame, (name,))]
            for depth, callee in own.callees:
                below, way = self._down(callee, (*above, address))
                ways.append((depth + below, (name, *way)))
            self._deepest[address] = max(ways)
        return self._deepest[address]

    def _walked(self, address: int) -> _Own:
        if address not in self._own:
            function = self._program.function(address)
            if function is None:
                raise StackUnbounded(f"the stack has no bound: a call leads to {address:#010x}, where no function lies")
            self._own[address] = _Walk(self._program, self._decoder, function, address).own()
        return self._own[address]


class _Walk:
    """Follows the stack pointer from one address of a function to all its ends. Depths are bytes below the entry."""

    def __init__(self, program: Program, decoder: Decoder, function: Function, entry: int) -> None:
        self._program, self._decoder, self._function = program, decoder, function
        pieces = program.code(function.start, function.end)
        self._code = {i.at: i for at, blob in pieces for i in decoder.read(blob, at)}
        self._depth: dict[int, int] = {}  # largest depth before each instruction
        self._rises: dict[int, int] = {}
        self._joins = {i.target for i in self._code.values() if i.target is not None}
        self._todo = [(entry, 0)]
        self._tables: set[int] = set()  # depths at jumps through a table
        self._callees: set[tuple[int, int]] = set()
        self._frame = 0

    def own(self) -> _Own:
        while self._todo:
            self._straight(*self._todo.pop())
            if not self._todo and self._tables:
                # Code that was not reached yet can only be a target of a table.
                rest = self._code.keys() - self._depth.keys()
                self._todo += [(min(rest), max(self._tables))] if rest else []
        return _Own(self._frame, frozenset(self._callees))

    def _straight(self, at: int, depth: int) -> None:
        """Follow the code from an address to the next unconditional jump."""
        known = Constants(self._decoder, self._program.word)
        before: Instruction | None = None
        perhaps = False  # True behind a `bl` that may have been a jump: no code needs to follow
        while self._depth.get(at, -1) < depth:
            if at not in self._code:
                if perhaps and self._function.start < at < self._function.end:
                    return
                if before is None or before.name != "bl":  # a `bl` at the end of a function does not return
                    self._callees.add((depth, at))
                return
            self._arrive(at, depth)
            if at in self._joins:
                known = Constants(self._decoder, self._program.word)  # other branches may bring other values
            before = self._code[at]
            after = self._moved(before, depth, known)
            self._frame = max(self._frame, depth, after)
            if self._leaves(before, depth, after, known):
                return
            perhaps |= before.name == "bl" and self._inside(before.target)
            depth = max(depth, after) if before.conditional else after
            known.learn(before)
            at += before.size

    def _arrive(self, at: int, depth: int) -> None:
        self._rises[at] = self._rises.get(at, 0) + 1
        if self._rises[at] > _RISES:
            raise self._refusal("takes more stack with every round of a loop", self._code[at])
        self._depth[at] = depth

    def _moved(self, i: Instruction, depth: int, known: Constants) -> int:
        """Return the depth after an instruction."""
        change = known.sp_change(i)
        if change is None:
            raise self._refusal("moves the stack pointer by an amount known only at run time", i)
        if depth - change < 0:
            raise self._refusal("pops more than it pushed", i)
        return depth - change

    def _leaves(self, i: Instruction, depth: int, after: int, known: Constants) -> bool:
        """Record the other successors of an instruction; return True if the next instruction is not one of them."""
        decoder = self._decoder
        if i.name == "udf":
            return True
        if i.name == "bl" and i.target is not None:
            if self._inside(i.target):
                # A call, or gcc's far jump on ARMv6-M, where `b` reaches 2 KiB: follow both.
                self._jump(i.target, depth)
                return False
            self._callees.add((depth, i.target))
            table = self._program.function_at(i.target).startswith(_TABLE_HELPER)
            self._tables |= {depth} if table else set()
            return table
        if i.target is not None:
            self._jump(i.target, depth)
            return i.name == "b" and not i.conditional
        if not i.writes_pc:
            return False
        register = i.operands[-1] if i.operands else 0
        address = known.value(register) if i.name in ("bx", "blx") else None
        if address is not None:
            self._callees.add((depth, address & ~1))
            return i.name == "bx" and not i.conditional
        stacked = (i.name in MULTIPLE or i.name == "ldr") and decoder.sp in i.pointers
        if not stacked and not (i.name in ("bx", "mov") and register == decoder.lr):
            literal = i.name == "ldr" and i.pointers == {decoder.pc} and not i.indexed
            if literal:
                self._jump(known.literal(i) & ~1, depth)
            elif i.name in ("tbb", "tbh", "mov", "add") or (i.name == "ldr" and decoder.pc in i.pointers):
                self._tables.add(after)
            else:
                raise self._refusal("calls through a pointer", i)
        return not i.conditional

    def _inside(self, target: int | None) -> bool:
        return target is not None and self._function.start < target < self._function.end

    def _jump(self, target: int, depth: int) -> None:
        if self._function.start <= target < self._function.end:
            self._todo.append((target, depth))
        else:
            self._callees.add((depth, target))

    def _refusal(self, what: str, i: Instruction) -> StackUnbounded:
        return StackUnbounded(f"the stack has no bound: {self._function.name} {what} at {i.at:#010x} (`{i.text}`)")
