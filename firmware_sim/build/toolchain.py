"""Compiles an image, the C runtime and the startup code into the ELF file that a user would flash.

The compiler is zig's clang, which the `firmware` extra brings along, or arm-none-eabi-gcc where it is installed.
"""

from __future__ import annotations

import shutil
import string
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from metabit.firmware_sim.board import Board
from metabit.firmware_sim.budgets import load_budgets
from metabit.firmware_sim.build.cache import cache_dir, digest, write_whole
from metabit.firmware_sim.build.elf import Program
from metabit.firmware_sim.build.native import FIRMWARE, run_compiler, zig, zig_version
from metabit.firmware_sim.errors import BoardError, BuildError, DoesNotFit

Compiler = Literal["zig", "gcc"]

_GCC = "arm-none-eabi-gcc"
_COMMON = (
    "-std=c99", "-g", "-ffreestanding", "-ffunction-sections", "-fdata-sections", "-fomit-frame-pointer",
    "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fno-math-errno", "-ffp-contract=off",
    "-Wall", "-Wextra",
)  # fmt: skip
_ZIG_OPT = {"-O3": ("-O2", "-Xclang", "-O3"), "-Oz": ("-Os", "-Xclang", "-Oz")}
"""Options that give -O3 and -Oz: zig itself replaces them by -O2 and -Os without a message."""

_UNLIMITED = 1 << 28
"""Size of a memory, in bytes, in which a program that does not fit the board is linked to learn its size."""


def build(
    image: bytes | str | Path,
    board: Board,
    *,
    mode: Literal["learn", "infer"] = "learn",
    stack_size: int | None = None,
    opt: str = "-Os",
    compiler: Compiler = "zig",
    profile: bool = False,
    without: Sequence[str] | None = None,
) -> Path:
    """Build the firmware around an .mbit image and return the path of its ELF file, which lies in the cache.

    Args:
        image: the image or its path.
        mode: "infer" leaves learning out and reserves a smaller arena and no state; every learn command is then refused.
        stack_size: bytes reserved for the stack; None takes stack_bytes of the built-in budgets.
        profile: link a library that reports the boundaries of layers; instruction counts then include these reports.
        without: macros of library parts to leave out; None leaves out what the image does not need (`left_out`).

    Raises:
        ModelError: the image is damaged. DoesNotFit: the board has too little memory. BuildError: the compiler failed.
    """
    from metabit import runtime

    blob = image if isinstance(image, bytes) else Path(image).read_bytes()
    model = runtime.Model(blob)
    sizes = {
        "STATE_BYTES": model.state_size if mode == "learn" else 0,
        "ARENA_BYTES": model.arena_size(mode),
        "CLASSES": model.classes,
    }
    macros = runtime.left_out(blob, mode) if without is None else without
    own = (FIRMWARE / name for name in ("startup.c", "main.c", "memory.c", "port_emulated.c", "image.S"))
    return compile_elf(
        [*runtime.sources(), *own],
        board,
        apart={FIRMWARE / "main.c": sizes},
        include_dirs=[runtime.include_dir(), FIRMWARE, FIRMWARE / "freestanding"],
        defines=dict.fromkeys([*macros, *["MB_PROFILE"][:profile]], 1),
        files={"image.mbit": blob},
        stack_size=stack_size,
        opt=opt,
        compiler=compiler,
    )


def compile_elf(
    sources: Sequence[Path],
    board: Board,
    *,
    apart: Mapping[Path, Mapping[str, int | str]] | None = None,
    include_dirs: Sequence[Path] = (),
    defines: Mapping[str, int | str] | None = None,
    files: Mapping[str, bytes] | None = None,
    stack_size: int | None = None,
    opt: str = "-Os",
    compiler: Compiler = "zig",
    floats: bool = False,
) -> Path:
    """Compile and link C and assembler sources for a board, check the result, and cache it by the hash of its inputs.

    apart: sources with defines of their own. All other sources compile alike for every image, so zig's cache holds them.
    files: data that the assembler sources include by name (.incbin). floats: the program may compute with floats in software,
    as rivals of benchmarks do.
    """
    if stack_size is None:
        stack_size = load_budgets().of(board.name).stack_bytes
    if stack_size > board.ram.size:
        raise BoardError(
            f"a stack of {stack_size:,} bytes is more than the {board.ram.size:,} bytes of RAM of board {board.name}: "
            "lower stack_bytes in the budget file"
        )
    version, command = compiler_version(compiler), [*compile_command(board, compiler, opt), *_defines(defines or {})]
    own = {source: _defines(given) for source, given in (apart or {}).items()}
    headers = [path for directory in include_dirs for path in sorted(directory.glob("*.h"))]
    siblings = [path for directory in {s.parent for s in sources} for path in sorted(directory.glob("*.[hi]*"))]
    library = digest(version, *command, *(path.read_bytes() for path in (*sources, *headers, *siblings)))
    flags = (flag for given in own.values() for flag in given)
    key = digest(library, *flags, _linker_script(board, stack_size), *(files or {}).values())
    target = cache_dir() / "elf" / f"{board.name}-{key[:20]}.elf"
    if not target.exists():
        includes = [f"-I{path}" for path in include_dirs]
        with tempfile.TemporaryDirectory(prefix="metabit-") as temporary:
            place = Path(temporary)
            for name, blob in (files or {}).items():
                (place / name).write_bytes(blob)
            _link([*command, *includes], sources, own, board, stack_size, place, compiler, library)
            Program.read(place / "firmware.elf").check(board, floats)
            write_whole(target, (place / "firmware.elf").read_bytes())
    return target


def compiler_version(compiler: Compiler = "zig") -> str:
    """Return name and version of a compiler. Raises BuildError or MissingExtra if it is not installed."""
    if compiler == "zig":
        return f"zig {zig_version()}"
    if shutil.which(_GCC) is None:
        raise BuildError(f"{_GCC} is not on PATH; the default compiler, zig, comes with metabit's firmware extra")
    done = subprocess.run([_GCC, "-dumpfullversion"], capture_output=True, text=True, check=True)
    return f"gcc {done.stdout.strip()}"


def compile_command(board: Board, compiler: Compiler = "zig", opt: str = "-Os") -> list[str]:
    """Return the compiler and the flags that every source is compiled with."""
    core = board.core
    by_hand = ["-DMB_THUMB1"] if core.name == "m0plus" and (compiler == "zig" or opt not in ("-O0", "-Os")) else []
    if compiler == "gcc":
        return [_GCC, *core.gcc_flags, opt, *_COMMON, *by_hand]
    target = ["-target", core.zig_target, f"-mcpu={core.zig_cpu}"]
    # zig turns UBSan on by default; its calls would need a library that the firmware does not have.
    return [*zig(), *target, *_ZIG_OPT.get(opt, (opt,)), "-fno-sanitize=undefined", *_COMMON, *by_hand]


def _defines(values: Mapping[str, int | str]) -> list[str]:
    return [f"-D{name}={value}" for name, value in values.items()]


def _link(
    command: list[str],
    sources: Sequence[Path],
    apart: Mapping[Path, list[str]],
    board: Board,
    stack_size: int,
    place: Path,
    compiler: Compiler,
    key: str,
) -> None:
    """Write place/firmware.elf. apart: flags of the sources that have flags of their own. key: of what all others depend on."""
    shared = [source for source in sources if source.suffix != ".S" and source not in apart]
    by_name = compiler == "gcc" and len({source.stem for source in shared}) == len(shared)
    made = _gcc_objects(command, shared, key, place) if by_name else {source: source for source in shared}
    for source in sources:
        if source not in made:
            # Compiled by itself: its include path names this image, so the compiler's cache could not be used for the others.
            made[source] = place / f"{source.stem}.o"
            words = [*command, f"-I{place}", *apart.get(source, ()), "-c", str(source), "-o", str(made[source])]
            run_compiler(words, place)
    objects = [str(made[source]) for source in sources]
    # -n: without it GNU ld places the ELF header below the vector table, where the boot loader lies.
    libraries = ["-nostdlib", *(["-lgcc", "-Wl,-n"] if compiler == "gcc" else [])]

    def link(target: Board) -> None:
        script = place / "link.ld"
        script.write_text(_linker_script(target, stack_size), encoding="utf-8")
        words = [*command, "-Wl,--gc-sections", "-Wl,-e,Reset_Handler", "-T", str(script), *objects]
        output = ["-o", str(place / "firmware.elf")]
        try:
            run_compiler([*words, *libraries, *output], place)
        except BuildError as error:
            if compiler == "gcc" or "undefined symbol" not in str(error):
                raise
            # The core lacks an instruction. zig's library has a function for it, but takes seconds to compile the first time.
            run_compiler([*words, *output], place)

    try:
        link(board)
    except BuildError as error:
        if "overflowed by" not in str(error):
            raise
        # Link again without limits, to name the memory that the program needs.
        link(replace(board, flash=replace(board.flash, size=_UNLIMITED), ram=replace(board.ram, size=_UNLIMITED)))
        raise _does_not_fit(Program.read(place / "firmware.elf"), board) from None


def _gcc_objects(command: list[str], sources: Sequence[Path], key: str, place: Path) -> dict[Path, Path]:
    """Compile sources, or find their objects in the cache: unlike zig, gcc has none of its own."""
    objects = {source: cache_dir() / "gcc" / key[:20] / f"{source.stem}.o" for source in sources}
    if not all(path.exists() for path in objects.values()):
        run_compiler([*command, "-c", *map(str, sources)], place)
        for path in objects.values():
            write_whole(path, (place / path.name).read_bytes())
    return objects


def _does_not_fit(program: Program, board: Board) -> DoesNotFit:
    size, flash, ram = program.sizes, board.flash.usable, board.ram.size
    if size.ram > ram:
        parts = f"state {size.state:,}, arena {size.arena:,}, stack {size.stack:,}, other {size.other_ram:,}"
        need = f"{size.ram:,} bytes of RAM ({parts}), board {board.name} has {ram:,}"
    else:
        need = f"{size.flash:,} bytes of flash (image {size.image:,}, code {size.code:,}), board {board.name} has {flash:,}"
    return DoesNotFit(f"the program needs {need}: use fewer hidden bits or units")


def _linker_script(board: Board, stack_size: int) -> str:
    template = string.Template((FIRMWARE / "link.ld.in").read_text(encoding="utf-8"))
    return template.substitute(
        board=board.name,
        flash_origin=f"{board.flash.origin + board.flash.boot:#010x}",
        flash_size=board.flash.usable,
        boot_origin=f"{board.flash.origin:#010x}",
        boot_size=board.flash.boot,
        ram_origin=f"{board.ram.origin:#010x}",
        ram_size=board.ram.size,
        stack_size=stack_size,
    )
