"""Board + image + C sources -> the ELF file a user would flash. By zig's clang, or by arm-none-eabi-gcc if asked."""

from __future__ import annotations

import hashlib
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
from metabit.export import DenseLayer, read_image
from metabit.firmware_sim.board import Board
from metabit.firmware_sim.report.budgets import load_budgets
from metabit.firmware_sim.build.elf import Program
from metabit.firmware_sim.errors import BuildError, DoesNotFit, require

Compiler = Literal["zig", "gcc"]

FIRMWARE = Path(__file__).parent / "firmware"
_GCC = "arm-none-eabi-gcc"
_COMMON = (
    "-std=c99", "-g", "-ffreestanding", "-ffunction-sections", "-fdata-sections", "-fomit-frame-pointer",
    "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fno-math-errno", "-ffp-contract=off",
    "-Wall", "-Wextra",
)  # fmt: skip
_ZIG_OPT = {"-O3": ("-O2", "-Xclang", "-O3"), "-Oz": ("-Os", "-Xclang", "-Oz")}
"""zig quietly turns -O3 into -O2 and -Oz into -Os; this gets the real ones."""

_UNLIMITED = 1 << 28
"""Region size for measuring a program that does not fit."""


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
    """Build the firmware around an .mbit image and return the path of its ELF, which lives in the cache.

    without: macros of the parts of the library to leave out, by default those that the image does not need (`left_out`).
    mode: "infer" reserves a smaller arena and no state, and leaves learning out: every learn is refused. stack_size: bytes
    reserved, by default the board's budget. profile: a build whose library reports layer boundaries; its totals include
    those reports.
    """
    blob = image if isinstance(image, bytes) else Path(image).read_bytes()
    model = runtime.Model(blob)
    sizes = {
        "STATE_BYTES": model.state_size if mode == "learn" else 0,
        "ARENA_BYTES": model.arena_size(mode),
        "CLASSES": model.classes,
    }
    own = (FIRMWARE / name for name in ("startup.c", "main.c", "memory.c", "port_emulated.c", "image.S"))
    return compile_elf(
        [*runtime.sources(), *own],
        board,
        apart={FIRMWARE / "main.c": sizes},
        include_dirs=[runtime.include_dir(), FIRMWARE, FIRMWARE / "freestanding"],
        defines=dict.fromkeys([*(left_out(blob, mode) if without is None else without), *["MB_PROFILE"][:profile]], 1),
        files={"image.mbit": blob},
        stack_size=stack_size,
        opt=opt,
        compiler=compiler,
    )


def left_out(image: bytes, mode: Literal["learn", "infer"] = "learn") -> tuple[str, ...]:
    """Macros (metabit.h, "Build") of the parts of the library that an image can do without."""
    layers = read_image(image).layers
    needed = {
        "MB_WITHOUT_LEARN": mode == "learn" and any(layer.learns for layer in layers),
        "MB_WITHOUT_CONV": any(layer.kind == "conv" for layer in layers),
        "MB_WITHOUT_BYTES": any(layer.takes == "bytes" for layer in layers),
        "MB_WITHOUT_GRADED": any(layer.kind == "graded" for layer in layers),
        "MB_WITHOUT_TERNARY": mode == "learn" and any(isinstance(layer, DenseLayer) and layer.ternary for layer in layers),
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
) -> Path:
    """Compile and link C and assembler sources for a board, check the result, cache it under its content's hash.

    apart: which sources have defines of their own; the others compile alike for every image, and zig's cache has them.
    files: data that the assembler sources include by name (.incbin).
    """
    version, command = compiler_version(compiler), [*compile_command(board, compiler, opt), *_defines(defines or {})]
    own = {source: _defines(given) for source, given in (apart or {}).items()}
    if stack_size is None:
        stack_size = load_budgets().of(board.name).stack_bytes
    headers = [path for directory in include_dirs for path in sorted(directory.glob("*.h"))]
    siblings = [path for directory in {s.parent for s in sources} for path in sorted(directory.glob("*.[hi]*"))]
    key = _digest(
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
            Program.read(place / "firmware.elf").check(board)
            _publish(place / "firmware.elf", target)
    return target


def host_library(source: Path, headers: Sequence[Path] = ()) -> Path:
    """Compile one libc-free C file into a shared library for this machine: no compiler, no binary wheel needed."""
    require("ziglang")
    system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, "linux")
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    flags = ["-target", f"{machine}-{system}-none", "-O2", "-std=c99", "-shared", "-fPIC", "-nostdlib", "-fno-builtin"]
    flags += ["-fno-sanitize=undefined", "-fno-stack-protector", "-Wall", "-Wextra"]
    suffix = {"macos": ".dylib", "windows": ".dll"}.get(system, ".so")
    key = _digest(importlib.metadata.version("ziglang"), *flags, *(p.read_bytes() for p in (source, *headers)))
    target = cache_dir() / "host" / f"{source.stem}-{key[:20]}{suffix}"
    if not target.exists():
        with tempfile.TemporaryDirectory(prefix="metabit-") as temporary:
            output = Path(temporary) / target.name
            _run([*_zig(), *flags, str(source), "-o", str(output)], Path(temporary))
            _publish(output, target)
    return target


def cache_dir() -> Path:
    """$METABIT_CACHE_DIR, or the platform's place for caches."""
    if chosen := os.environ.get("METABIT_CACHE_DIR"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "metabit"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "metabit" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metabit"


def compiler_version(compiler: Compiler = "zig") -> str:
    """What to write into a report."""
    if compiler == "zig":
        require("ziglang")
        return "zig " + importlib.metadata.version("ziglang")
    if shutil.which(_GCC) is None:
        raise BuildError(f"{_GCC} is not on PATH; the default compiler, zig, comes with metabit's firmware extra")
    asked = subprocess.run([_GCC, "-dumpfullversion"], capture_output=True, text=True, check=True)
    return f"gcc {asked.stdout.strip()}"


def compile_command(board: Board, compiler: Compiler = "zig", opt: str = "-Os") -> list[str]:
    """The compiler with the flags that every source gets."""
    core = board.core
    by_hand = ["-DMB_THUMB1"] if core.name == "m0plus" and (compiler == "zig" or opt not in ("-O0", "-Os")) else []
    if compiler == "gcc":
        return [_GCC, *core.gcc_flags, opt, *_COMMON, *by_hand]
    target = ["-target", core.zig_target, f"-mcpu={core.zig_cpu}"]
    # UBSan would call into a library that is not there.
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
    """Writes place/firmware.elf."""
    objects: list[str] = []
    for source in sources:
        if source.suffix == ".S" or source in apart:
            # Apart from the C files: an include path names this image, and the compiler's own cache would miss them.
            objects.append(str(place / f"{source.stem}.o"))
            _run([*command, f"-I{place}", *apart.get(source, ()), "-c", str(source), "-o", objects[-1]], place)
        else:
            objects.append(str(source))
    # -n: GNU ld would otherwise load the ELF header into the bootloader's place, below the vector table.
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
        # Link once more without limits, only to say how much it would need.
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


def _publish(file: Path, target: Path) -> None:
    """Into the cache in one step, so that nobody ever sees half a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent)
    os.close(handle)
    shutil.copyfile(file, temporary)
    os.replace(temporary, target)


def _digest(*parts: str | bytes) -> str:
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "little") + data)
    return sha.hexdigest()
