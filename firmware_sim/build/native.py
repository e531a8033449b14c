"""Runs compilers, and compiles C for this machine. It needs no other room, so that the emulator process starts quickly."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from metabit.firmware_sim.build.cache import cache_dir, digest, write_whole
from metabit.firmware_sim.errors import BuildError, require

FIRMWARE = Path(__file__).parent / "firmware"


def zig() -> list[str]:
    """Return the command of zig's C compiler."""
    return [sys.executable, "-m", "ziglang", "cc"]


def zig_version() -> str:
    """Return the version of zig. Raises MissingExtra if it is not installed."""
    from importlib import metadata

    require("ziglang")
    return metadata.version("ziglang")


def hook_library() -> Path:
    """Return run/hook.c as a shared library, compiled if it is not in the cache."""
    source = FIRMWARE.parents[1] / "run" / "hook.c"
    return host_library(source, [source.with_suffix(".h"), FIRMWARE / "port_registers.h"])


def host_library(source: Path, headers: Sequence[Path] = ()) -> Path:
    """Compile one C file that needs no libc into a shared library for this machine, with zig."""
    system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, "linux")
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    flags = ["-target", f"{machine}-{system}-none", "-O2", "-std=c99", "-shared", "-fPIC", "-nostdlib", "-fno-builtin"]
    flags += ["-fno-sanitize=undefined", "-fno-stack-protector", "-Wall", "-Wextra"]
    suffix = {"macos": ".dylib", "windows": ".dll"}.get(system, ".so")
    key = digest(zig_version(), *flags, *(p.read_bytes() for p in (source, *headers)))
    target = cache_dir() / "host" / f"{source.stem}-{key[:20]}{suffix}"
    if not target.exists():
        with tempfile.TemporaryDirectory(prefix="metabit-") as temporary:
            output = Path(temporary) / target.name
            run_compiler([*zig(), *flags, str(source), "-o", str(output)], Path(temporary))
            write_whole(target, output.read_bytes())
    return target


def run_compiler(command: list[str], cwd: Path) -> None:
    """Run a compiler in a folder, with zig's own cache inside ours. Raises BuildError with its errors."""
    cache = cache_dir()
    places = {"ZIG_GLOBAL_CACHE_DIR": str(cache / "zig"), "ZIG_LOCAL_CACHE_DIR": str(cache / "zig-local")}
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **places}, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.splitlines()
        errors = [line for line in lines if "error" in line or "overflowed" in line]
        raise BuildError("the compiler refused:\n" + "\n".join((errors or lines)[:20]))
