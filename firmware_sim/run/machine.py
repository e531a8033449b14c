"""The emulated microcontroller: connects unicorn, the memory map of the board, hook.c and the cycle model.

Only the emulator process (worker.py) imports this module, and only this module imports unicorn.

Not emulated: interrupts, SysTick, MPU and the rest of the system control space, which behaves like RAM here. Not detected:
unaligned LDRD and LDM on ARMv7-M, which fault on a chip.
"""

from __future__ import annotations

import ctypes as c
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.firmware_sim.build.elf import Program
from metabit.firmware_sim.errors import FirmwareFault, require
from metabit.firmware_sim.price.cycles import Pricer, load_model
from metabit.firmware_sim.run import structs
from metabit.firmware_sim.run.protocol import LEARN, PHASES, REPLY
from metabit.firmware_sim.run.structs import Block, DeviceState

_SYSTEM_CONTROL, _CPACR = 0xE000E000, 0xD88
_PORT_EXCEPTION = 0xDEAD  # PORT_EXCEPTION of port.h
_BLOCKS = 1 << 16
_NOWHERE = 0xFFFFFFFE
"""End address that emu_start needs; no code ever reaches it."""

_REASONS = {
    "UC_ERR_READ_UNMAPPED": "read from an address where the board has no memory",
    "UC_ERR_WRITE_UNMAPPED": "write to an address where the board has no memory",
    "UC_ERR_FETCH_UNMAPPED": "jump to an address where the board has no memory",
    "UC_ERR_READ_PROT": "read from protected memory",
    "UC_ERR_WRITE_PROT": "write to read-only memory",
    "UC_ERR_FETCH_PROT": "execution of RAM",
    "UC_ERR_INSN_INVALID": "an instruction this core does not have",
}
_EXCEPTIONS = {
    1: "undefined instruction",
    2: "supervisor call",
    3: "prefetch abort",
    4: "unaligned access",
    7: "breakpoint",
    17: "FPU instruction on a core without one",
    18: "jump to an even address: not Thumb code",
}

_u32, _u64, _p = c.c_uint32, c.c_uint64, c.c_void_p


class Machine:
    """An emulated board and its firmware, from reset on."""

    def __init__(self, elf: bytes, spec: dict[str, Any]) -> None:
        self.program, self.spec = Program(elf), spec
        self._failure: BaseException | None = None
        self._keep: list[Any] = []  # memory and callbacks that native code points to must stay alive
        self._unicorn, self._arm = require("unicorn"), require("unicorn.arm_const")
        self._pricer = Pricer(load_model(spec["cycle_model"]))
        self._hook = c.CDLL(spec["hook"])
        structs.check_layout(self._hook)
        self.uc = self._unicorn.Uc(
            self._unicorn.UC_ARCH_ARM, self._unicorn.UC_MODE_THUMB, getattr(self._arm, spec["unicorn_cpu"])
        )
        self._map_memory()
        self._connect()
        self._reset()

    def boot(self) -> None:
        """Run from reset to the first poll for a command."""
        self._run()

    def serve(
        self, command: int, inputs: NDArray[np.uint8], labels: NDArray[np.uint16], with_states: bool
    ) -> tuple[NDArray[Any], ...]:
        """Run one command for every sample of a batch and return (replies, scores, states).

        inputs: uint8 (n, width). labels: uint16 (n,), empty unless the command is LEARN. scores: int32 (n, classes), empty
        after LEARN. states: uint8 (n, state bytes) after each step, empty unless with_states.
        """
        d, count = self.device, len(inputs)
        replies = np.zeros(count, REPLY)
        scores = np.zeros((count if command != LEARN else 0, d.classes), np.int32)
        states = np.zeros((count if with_states else 0, d.state_size), np.uint8)
        d.inputs, d.labels, d.replies = inputs.ctypes.data, labels.ctypes.data, replies.ctypes.data
        d.scores = scores.ctypes.data if scores.size else None
        d.states = states.ctypes.data if states.size else None
        d.command, d.width, d.next, d.count = command, inputs.shape[1] if count else 0, 0, count
        c.memset(c.addressof(d) + DeviceState.profile.offset, 0, DeviceState.profile.size)
        try:
            self._run()
        finally:
            d.count = d.next = 0
        return replies, scores, states

    @property
    def state(self) -> bytes:
        return c.string_at(self.device.state, self.device.state_size)

    @property
    def stack_high_water(self) -> int:
        """Bytes of stack used since reset, by the lowest stack pointer: words reserved but not written count too."""
        return max(0, self.program.symbol("stack_top").address - int(self.device.sp_low))

    @property
    def profile(self) -> list[tuple[str, int, int, int, int]]:
        """(phase, layer, calls, insns, cycles) of the last batch; empty unless built with MB_PROFILE."""
        return [
            (PHASES.get(phase, str(phase)), layer, int(t.calls), int(t.insns), int(t.cycles))
            for (phase, layer), t in zip(np.ndindex(structs.PHASES, structs.LAYERS), self.device.profile, strict=True)
            if t.calls
        ]

    # Set up

    def _map_memory(self) -> None:
        uc, u = self.uc, self._unicorn
        flash, ram = self.spec["flash"], self.spec["ram"]
        uc.mem_map(flash[0], flash[1], u.UC_PROT_READ | u.UC_PROT_EXEC)
        for address, blob in self.program.segments:
            uc.mem_write(address, blob)
        self._ram = self._host_memory(ram[0], ram[1], u.UC_PROT_READ | u.UC_PROT_WRITE)
        # RAM of a chip has arbitrary content after reset; a pattern other than zero shows a missing initialisation.
        c.memset(self._ram, 0xA5, ram[1])
        self._system_control = self._host_memory(_SYSTEM_CONTROL, 0x1000, u.UC_PROT_READ | u.UC_PROT_WRITE)
        self._port_base, self._port_size, sample_base, self._sample_size = (_u32 * 4).in_dll(self._hook, "hook_ports")
        self._sample = self._host_memory(sample_base, self._sample_size, u.UC_PROT_READ)

    def _host_memory(self, address: int, size: int, protection: int) -> int:
        """Map memory that the host shares with the emulator and return its host address."""
        memory = mmap.mmap(-1, size)
        here = c.addressof(c.c_char.from_buffer(memory))
        self._keep.append(memory)
        self.uc.mem_map_ptr(address, size, protection, here)
        return here

    def _connect(self) -> None:
        library = require("unicorn.unicorn_py3.unicorn").uclib
        start, end = self.program.code_range
        decode = c.CFUNCTYPE(c.c_int, _u32, _u32, c.POINTER(Block))(self._price_block)
        blocks, slots = (Block * _BLOCKS)(), (_u32 * ((end - start) // 2 + 1))()
        self._keep += [decode, blocks, slots]
        state = self.program.symbols.get("state_memory")
        self.device = d = DeviceState()
        d.uc, d.emu_stop, d.reg_read = self.uc._uch, _address(library.uc_emu_stop), _address(library.uc_reg_read)
        d.decode, d.blocks, d.slot = _address(decode), c.addressof(blocks), c.addressof(slots)
        d.block_count, d.block_limit = 1, _BLOCKS  # index 0 means none
        d.code_start, d.code_size = start, end - start
        d.sp_register, d.sp_low = self._arm.UC_ARM_REG_SP, 0xFFFFFFFF
        d.patience = d.deadline = self.spec["patience"]
        d.sample = self._sample
        self._set_waits()
        if state is not None:
            d.state, d.state_size = self._ram + state.address - self.spec["ram"][0], state.size

        u, here = self._unicorn, c.c_void_p(c.addressof(d))
        invalid = u.UC_HOOK_MEM_UNMAPPED | u.UC_HOOK_MEM_PROT
        for kind, function in (
            (u.UC_HOOK_BLOCK, self._hook.hook_block),
            (invalid, self._hook.hook_memory),
            (u.UC_HOOK_INTR, self._hook.hook_interrupt),
        ):
            handle = c.c_size_t(0)
            arguments = (c.byref(handle), c.c_int(kind), c.cast(function, _p), here, _u64(1), _u64(0))
            self._require_ok(library.uc_hook_add(self.uc._uch, *arguments))
        read, write = (c.cast(f, _p) for f in (self._hook.hook_port_read, self._hook.hook_port_write))
        port = (_u64(self._port_base), c.c_size_t(self._port_size), read, here, write, here)
        self._require_ok(library.uc_mmio_map(self.uc._uch, *port))

    def _set_waits(self) -> None:
        """Give hook.c the wait states of code, if the file of the board has them.

        Data are left out: unicorn 2.1.4 loses the state of an IT block in which a hook sees a load.
        """
        d, waits = self.device, self.spec["waits"]
        if waits is None:
            return
        memory = (_u32 * max(1, waits["lines"]))()
        self._keep.append(memory)
        d.wait, d.line_shift, d.lines = waits["cycles"], waits["line"].bit_length() - 1, c.addressof(memory)
        d.ways, d.sets = waits["ways"], max(1, waits["lines"] // max(1, waits["ways"]))

    def _reset(self) -> None:
        vectors = self.uc.mem_read(self.spec["flash"][0] + self.spec["boot"], 8)
        self.uc.reg_write(self._arm.UC_ARM_REG_SP, int.from_bytes(vectors[:4], "little"))
        self.uc.reg_write(self._arm.UC_ARM_REG_PC, int.from_bytes(vectors[4:], "little"))

    def _require_ok(self, status: int) -> None:
        if status != self._unicorn.UC_ERR_OK:
            raise self._unicorn.UcError(status)

    # Run

    def _run(self) -> None:
        """Run until the firmware polls for a command after the last one. Raises FirmwareFault for any other stop."""
        if self._failure is not None:
            raise self._failure
        d = self.device
        d.current = d.stopped = d.fault_seen = 0
        failed = None
        try:
            self.uc.emu_start(self.uc.reg_read(self._arm.UC_ARM_REG_PC) | 1, _NOWHERE, 0, 0)
        except self._unicorn.UcError as error:
            failed = error.errno
        if failed is not None or d.stopped != structs.IDLE:
            self._failure = self._failure or self._fault(failed)
            raise self._failure

    def _fault(self, error: int | None) -> FirmwareFault:
        d, pc = self.device, int(self.uc.reg_read(self._arm.UC_ARM_REG_PC))
        address = int(d.fault_address) if d.fault_seen else None
        if error is not None:
            names = (n for n in _REASONS if getattr(self._unicorn, n) == error)
            reason = _REASONS.get(next(names, ""), f"emulator error {error}")
            top, limit = (self.program.symbol(n).address for n in ("stack_top", "stack_limit"))
            if address is not None and 2 * limit - top <= address < limit:
                reason = f"stack overflow: more than the {top - limit} bytes reserved (stack_bytes of the budget)"
        elif d.stopped == structs.EXIT:
            code = c.c_int32(d.value).value
            stopped = f"the firmware stopped with mb_status {code} (metabit.h)"
            reason = "exception handler reached" if code == _PORT_EXCEPTION else stopped
        elif d.stopped == structs.RUNAWAY:
            reason = f"no answer within {d.patience:,} instructions"
        elif d.stopped == structs.EXCEPTION:
            reason = _EXCEPTIONS.get(d.value, f"exception {d.value}")
        elif d.stopped == structs.OUTSIDE:
            reason, address = "jump to flash that holds no code", int(d.value)
        else:
            reason = "the firmware stopped by itself (WFI?)" if not d.stopped else f"emulator limit {d.stopped}"
        return FirmwareFault(reason, pc=pc, function=self.program.function_at(pc), address=address)

    def _price_block(self, address: int, size: int, out: Any) -> int:
        """Price one block for hook.c. An exception cannot pass through C: it is kept in _failure and 1 is returned."""
        try:
            cost = self._pricer.price(bytes(self.uc.mem_read(address, size)), address, self.program.word)
            self._check_core(cost.uses_fpu, cost.uses_dsp, address)
            block = out.contents
            block.insns, block.cycles, block.taken, block.entered = cost.insns, cost.cycles, cost.taken, cost.entered
            block.mispredicted, block.jump, block.sp_low = cost.mispredicted, cost.jump, cost.sp_low
            return 0
        except BaseException as error:
            self._failure = error
            return 1

    def _check_core(self, fpu: bool, dsp: bool, address: int) -> None:
        """Raise FirmwareFault for an instruction that the emulator executes and this core does not have."""
        fpu_enabled = c.c_uint32.from_address(self._system_control + _CPACR).value >> 20 & 0xF == 0xF
        reason = ""
        if dsp and not self.spec["dsp"]:
            reason = "a DSP instruction this core does not have"
        if fpu and not fpu_enabled:
            reason = "FPU instruction before CPACR enabled the FPU"
        if reason:
            raise FirmwareFault(reason, pc=address, function=self.program.function_at(address))


def _address(function: Any) -> int:
    return int(c.cast(function, _p).value or 0)
