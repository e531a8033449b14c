"""The cores that the C runtime is compiled for: those of the boards, and those that only a port has. docs/porting.md shows them."""

from __future__ import annotations

from dataclasses import dataclass

from metabit.firmware_sim import board


@dataclass(frozen=True)
class Flags:
    """gcc: of arm-none-eabi-gcc; none where another gcc is needed. zig: of `zig cc`."""

    title: str
    gcc: tuple[str, ...]
    zig: tuple[str, ...]


FLAGS = {
    "m7": Flags(
        "Cortex-M7",
        ("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"),
        ("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m7+fp_armv8d16sp"),
    ),
    "m33": Flags(
        "Cortex-M33",
        ("-mcpu=cortex-m33", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"),
        ("-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m33+fp_armv8d16sp+dsp"),
    ),
    "rv32imc": Flags("RV32IMC", (), ("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+c")),
} | {
    core.name: Flags(core.title, core.gcc_flags, ("-target", core.zig_target, f"-mcpu={core.zig_cpu}"))
    for core in board.CORES.values()
}
