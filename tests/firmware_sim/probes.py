"""Builds small firmware around files of this folder, with the room's own startup code and port."""

from pathlib import Path

from metabit import runtime
from metabit.firmware_sim import Board
from metabit.firmware_sim.build.toolchain import FIRMWARE, Compiler, compile_elf


def compile_probe(board: Board, *sources: str | Path, stack_size: int = 512, compiler: Compiler = "zig") -> Path:
    own = [FIRMWARE / name for name in ("startup.c", "memory.c", "port_emulated.c")]
    include_dirs = [runtime.include_dir(), FIRMWARE, FIRMWARE / "freestanding"]
    here = Path(__file__).parent
    return compile_elf(
        [*own, *(here / s for s in sources)], board, include_dirs=include_dirs, stack_size=stack_size, compiler=compiler
    )
