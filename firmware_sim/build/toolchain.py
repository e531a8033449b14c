"""Compiles an image, the C runtime and the startup code into the ELF file that a user would flash.

The compiler is zig's clang, which the `firmware` extra brings along, or arm-none-eabi-gcc where it is installed.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import string
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from metabit import runtime
from metabit.export import Cuts, DenseLayer, Frozen, HeadLayer, read_image
from metabit.firmware_sim.board import Board
from metabit.firmware_sim.budgets import load_budgets
from metabit.firmware_sim.build.cache import cache_dir, digest, write_whole
from metabit.firmware_sim.build.elf import Program
from metabit.firmware_sim.errors import BoardError, BuildError, DoesNotFit, require

Compiler = Literal["zig", "gcc"]

FIRMWARE = Path(__file__).parent / "firmware"
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
    network: Frozen | None = None,
    mode: Literal["learn", "infer"] = "learn",
    stack_size: int | None = None,
    opt: str = "-Os",
    compiler: Compiler = "zig",
    profile: bool = False,
    without: Sequence[str] | None = None,
) -> Path:
    """Build the firmware around an .mbit image and return the path of its ELF file, which lies in the cache.

    Args:
        image: the image or its path. network: what `read_image` returned for it, if the caller has that already.
        mode: "infer" leaves learning out and reserves a smaller arena and no state; every learn command is then refused.
        stack_size: bytes reserved for the stack; None takes stack_bytes of the built-in budgets.
        profile: link a library that reports the boundaries of layers; instruction counts then include these reports.
        without: macros of library parts to leave out; None leaves out what the image does not need (`left_out`).

    Raises:
        ModelError: the image is damaged. DoesNotFit: the board has too little memory. BuildError: the compiler failed.
    """
    blob = image if isinstance(image, bytes) else Path(image).read_bytes()
    model = runtime.Model(blob)
    sizes = {
        "STATE_BYTES": model.state_size if mode == "learn" else 0,
        "ARENA_BYTES": model.arena_size(mode),
        "CLASSES": model.classes,
    }
    macros = left_out(network or blob, mode) if without is None else without
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


def left_out(image: bytes | Frozen, mode: Literal["learn", "infer"] = "learn") -> tuple[str, ...]:
    """Return the macros (metabit.h, "Build") of the library parts that an image does not need."""
    network = image if isinstance(image, Frozen) else read_image(image)
    layers = network.layers
    kinds = {layer.kind for layer in layers}
    learns = mode == "learn"
    needed = {
        "MB_WITHOUT_LEARN": learns and any(layer.learns for layer in layers),
        "MB_WITHOUT_CONV": "conv" in kinds,
        "MB_WITHOUT_BYTES": any(layer.takes == "bytes" for layer in layers),
        "MB_WITHOUT_GRADED": "graded" in kinds,
        "MB_WITHOUT_GATES": isinstance(network.encode, Cuts) or bool(kinds & {"gates", "levels", "head"}),
        "MB_WITHOUT_VISITS": learns
        and "graded" not in kinds
        and any(layer.learns for layer in layers if layer.kind in ("dense", "output")),
        "MB_WITHOUT_TERNARY": learns and any(isinstance(layer, DenseLayer) and layer.ternary for layer in layers),
        "MB_WITHOUT_DENSE": not kinds & {"gates", "triples"},
        "MB_WITHOUT_LEVELS": "levels" in kinds,
        "MB_WITHOUT_HEAD": "head" in kinds,
        "MB_WITHOUT_ROWS": any(isinstance(layer, HeadLayer) and layer.rows.per_class > 1 for layer in layers),
        "MB_WITHOUT_TRIPLES": "triples" in kinds,
    }
    return tuple(macro for macro, is_needed in needed.items() if not is_needed)


def compile_elf(
    sources: Sequence[Path],
    board: Board,
    *,
    apart: Mapping[Path, Mapping[str, int]] | None = None,
    include_dirs: Sequence[Path] = (),
    defines: Mapping[str, int] | None = None,
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
    key = digest(
        version, *command, *(flag for given in own.values() for flag in given), _linker_script(board, stack_size),
        *(path.read_bytes() for path in (*sources, *headers, *siblings)), *(files or {}).values(),
    )  # fmt: skip
    target = cache_dir() / "elf" / f"{board.name}-{key[:20]}.elf"
    if not target.exists():
        includes = [f"-I{path}" for path in include_dirs]
        with tempfile.TemporaryDirectory(prefix="metabit-") as temporary:
            place = Path(temporary)
            for name, blob in (files or {}).items():
                (place / name).write_bytes(blob)
            _link([*command, *includes], sources, own, board, stack_size, place, compiler)
            Program.read(place / "firmware.elf").check(board, floats)
            write_whole(target, (place / "firmware.elf").read_bytes())
    return target


def host_library(source: Path, headers: Sequence[Path] = ()) -> Path:
    """Compile one C file that needs no libc into a shared library for this machine, with zig."""
    require("ziglang")
    system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, "linux")
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    flags = ["-target", f"{machine}-{system}-none", "-O2", "-std=c99", "-shared", "-fPIC", "-nostdlib", "-fno-builtin"]
    flags += ["-fno-sanitize=undefined", "-fno-stack-protector", "-Wall", "-Wextra"]
    suffix = {"macos": ".dylib", "windows": ".dll"}.get(system, ".so")
    key = digest(importlib.metadata.version("ziglang"), *flags, *(p.read_bytes() for p in (source, *headers)))
    target = cache_dir() / "host" / f"{source.stem}-{key[:20]}{suffix}"
    if not target.exists():
        with tempfile.TemporaryDirectory(prefix="metabit-") as temporary:
            output = Path(temporary) / target.name
            _run([*_zig(), *flags, str(source), "-o", str(output)], Path(temporary))
            write_whole(target, output.read_bytes())
    return target


def compiler_version(compiler: Compiler = "zig") -> str:
    """Return name and version of a compiler. Raises BuildError or MissingExtra if it is not installed."""
    if compiler == "zig":
        require("ziglang")
        return "zig " + importlib.metadata.version("ziglang")
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
    return [*_zig(), *target, *_ZIG_OPT.get(opt, (opt,)), "-fno-sanitize=undefined", *_COMMON, *by_hand]


def _zig() -> list[str]:
    return [sys.executable, "-m", "ziglang", "cc"]


def _defines(values: Mapping[str, int]) -> list[str]:
    return [f"-D{name}={value}" for name, value in values.items()]


def _link(
    command: list[str],
    sources: Sequence[Path],
    apart: Mapping[Path, list[str]],
    board: Board,
    stack_size: int,
    place: Path,
    compiler: Compiler,
) -> None:
    """Write place/firmware.elf. apart: flags of the sources that have flags of their own."""
    objects: list[str] = []
    for source in sources:
        if source.suffix == ".S" or source in apart:
            # Compiled by itself: its include path names this image, so the compiler's cache could not be used for the others.
            objects.append(str(place / f"{source.stem}.o"))
            _run([*command, f"-I{place}", *apart.get(source, ()), "-c", str(source), "-o", objects[-1]], place)
        else:
            objects.append(str(source))
    # -n: without it GNU ld places the ELF header below the vector table, where the boot loader lies.
    libraries = ["-nostdlib", "-lgcc", "-Wl,-n"] if compiler == "gcc" else []

    def link(target: Board) -> None:
        script = place / "link.ld"
        script.write_text(_linker_script(target, stack_size), encoding="utf-8")
        linker = ["-Wl,--gc-sections", "-Wl,-e,Reset_Handler", "-T", str(script)]
        _run([*command, *linker, *objects, *libraries, "-o", str(place / "firmware.elf")], place)

    try:
        link(board)
    except BuildError as error:
        if "overflowed by" not in str(error):
            raise
        # Link again without limits, to name the memory that the program needs.
        link(replace(board, flash=replace(board.flash, size=_UNLIMITED), ram=replace(board.ram, size=_UNLIMITED)))
        raise _does_not_fit(Program.read(place / "firmware.elf"), board) from None


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
        ram_origin=f"{board.ram.origin:#010x}",
        ram_size=board.ram.size,
        stack_size=stack_size,
    )


def _run(command: list[str], cwd: Path) -> None:
    cache = cache_dir()
    places = {"ZIG_GLOBAL_CACHE_DIR": str(cache / "zig"), "ZIG_LOCAL_CACHE_DIR": str(cache / "zig-local")}
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **places}, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.splitlines()
        errors = [line for line in lines if "error" in line or "overflowed" in line]
        raise BuildError("the compiler refused:\n" + "\n".join((errors or lines)[:20]))
