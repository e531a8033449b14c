"""A rival as firmware on an emulated board, and its C on this machine."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rival_networks import Rival

from metabit import runtime
from metabit.experiments.errors import UsageError
from metabit.firmware_sim import Board, Device
from metabit.firmware_sim.build.elf import Program
from metabit.firmware_sim.build.toolchain import FIRMWARE, Compiler, compile_elf

FOLDER = Path(__file__).parent / "rivals"
CMSIS = "METABIT_CMSIS_NN"
"""Environment variable: a checkout of github.com/ARM-software/CMSIS-NN."""
CMSIS_FILES = (
    "FullyConnectedFunctions/arm_fully_connected_s8.c",
    "FullyConnectedFunctions/arm_fully_connected_per_channel_s8.c",
    "NNSupportFunctions/arm_nn_vec_mat_mult_t_s8.c",
    "NNSupportFunctions/arm_nn_vec_mat_mult_t_per_ch_s8.c",
)
HARNESS = {"main", "scores", "model", "vectors", "image", "arena_memory", "state_memory", "memcpy", "memset", "memmove"}
"""Symbols of the firmware, beside those of port and handlers, that are not of the network's code."""


def cmsis_folder() -> Path | None:
    return Path(os.environ[CMSIS]) if CMSIS in os.environ else None


@cache
def cmsis_version() -> str:
    done = subprocess.run(
        ["git", "-C", os.environ[CMSIS], "describe", "--tags", "--always"], capture_output=True, text=True, check=True
    )
    return f"CMSIS-NN {done.stdout.strip()}"


def _sources(rival: Rival) -> tuple[list[Path], list[Path]]:
    """C files and include folders of a rival."""
    if rival.source != "cmsis.c":
        return [FOLDER / rival.source], [FOLDER]
    folder = cmsis_folder()
    if folder is None:
        raise UsageError(f"{CMSIS} is not set: clone github.com/ARM-software/CMSIS-NN and let {CMSIS} name the folder")
    return [FOLDER / rival.source, *(folder / "Source" / file for file in CMSIS_FILES)], [FOLDER, folder / "Include"]


def build(rival: Rival, board: Board, *, opt: str = "-Os", compiler: Compiler = "zig", stack: int = 8192) -> Path:
    """The ELF file of a rival. Its arena, if it has one, is its static memory."""
    sources, includes = _sources(rival)
    own = [FIRMWARE / name for name in ("startup.c", "memory.c", "port_emulated.c", "image.S")]
    macros = rival.macros()
    return compile_elf(
        [*sources, FOLDER / "main.c", *own],
        board,
        apart={FOLDER / rival.source: macros, FOLDER / "main.c": macros, FIRMWARE / "memory.c": {"DEFINES_MEMCPY": 1}},
        include_dirs=[*includes, runtime.include_dir(), FIRMWARE, FOLDER / "builtin"],
        files={"image.mbit": rival.image},
        stack_size=stack,
        opt=opt,
        compiler=compiler,
        floats=rival.floats,
    )


def code_bytes(program: Program) -> int:
    """Bytes of the network's code and its constant tables, without start-up, port and memcpy."""
    low, high = program.code_range
    segments = [(at, at + len(blob)) for at, blob in program.segments]
    return sum(
        symbol.size
        for name, symbol in program.symbols.items()
        if name not in HARNESS
        and not name.startswith("port_")
        and not name.endswith("Handler")
        and any(start <= symbol.address < end for start, end in segments)
    )


def memory(device: Device) -> dict[str, int]:
    """Flash: the constants and the code apart. RAM: everything but the input, with the stack that the calls used."""
    program = Program.read(device.elf)
    sizes = program.sizes
    return {
        "constants": sizes.image, "code": code_bytes(program), "program": sizes.code + sizes.initial_data,
        "ram": sizes.ram - sizes.stack + device.stack_high_water,
    }  # fmt: skip


def as_bytes(integers: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 or int16 (n, F) -> what the port gives the firmware."""
    return np.ascontiguousarray(integers).view(np.uint8).reshape(len(integers), -1)


class Library:
    """A rival's C as a library of this machine, for tests and for streams that it learns."""

    def __init__(self, rival: Rival, folder: Path, options: Sequence[str] = ("-O2",)) -> None:
        values = ",".join(map(str, rival.image))
        (folder / "image.c").write_text(
            "#include <stdint.h>\nextern const uint8_t image[];\n"
            f"const uint8_t image[] __attribute__((aligned(16))) = {{{values}}};\n"
        )
        sources, includes = _sources(rival)
        command = ["gcc", "-std=c99", "-shared", "-fPIC", "-ffp-contract=off", *options]
        command += [f"-D{name}={value}" for name, value in rival.macros().items()]
        command += [f"-I{path}" for path in includes]
        target = folder / "rival.so"
        subprocess.run([*command, folder / "image.c", *sources, "-o", target], check=True, capture_output=True)
        self._library, self._classes = ctypes.CDLL(str(target)), rival.defines["CLASSES"]

    def scores(self, integers: NDArray[Any]) -> NDArray[np.int32]:
        """Integers (n, F) -> int32 (n, C)."""
        found = np.empty((len(integers), self._classes), np.int32)
        for row, x in zip(found, np.ascontiguousarray(integers), strict=True):
            self._library.rival_predict(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(row.ctypes.data))
        return found

    def learn(self, integers: NDArray[Any], labels: NDArray[Any]) -> None:
        for x, y in zip(np.ascontiguousarray(integers), labels.tolist(), strict=True):
            self._library.rival_learn(ctypes.c_void_p(x.ctypes.data), ctypes.c_uint32(y))
