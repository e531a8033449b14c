"""Programs that tests call, compilers above all; and C code as a library."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from metabit.firmware_sim.build.toolchain import cache_dir

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror")


def run(*command: str | Path, data: bytes = b"") -> str:
    """Standard output of a program that must succeed, given data as its input. The test is skipped without the program."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]}")
    cache = {f"ZIG_{kind}_CACHE_DIR": str(cache_dir() / f"zig-{kind.lower()}") for kind in ("GLOBAL", "LOCAL")}
    done = subprocess.run(command, input=data, capture_output=True, timeout=120, env={**os.environ, **cache})
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


UNDEFINED = ("-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all")
"""Options of gcc by which a library ends the test at undefined behaviour."""


def shared(target: Path, *sources: str | Path, options: tuple[str, ...] = ()) -> ctypes.CDLL:
    """C sources as a library, compiled by gcc without a warning."""
    run("gcc", "-std=c99", *WARNINGS, "-shared", "-fPIC", *options, *sources, "-lm", "-o", target)
    return ctypes.CDLL(str(target))
