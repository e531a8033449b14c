"""The flashable program of a device: image, runtime and serial protocol as ELF, HEX, BIN and UF2."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from metabit import runtime
from metabit.export import read_image
from metabit.firmware_sim.build.cache import write_whole
from metabit.firmware_sim.build.elf import Program
from metabit.firmware_sim.build.flash_files import write_hex, write_uf2
from metabit.firmware_sim.build.native import FIRMWARE
from metabit.firmware_sim.build.toolchain import compile_elf
from metabit.firmware_sim.errors import BuildError
from metabit.firmware_sim.serial.target import SOURCES, Target


def build_serial(
    image: bytes, target: Target, *, opt: str = "-Os", compiler: Literal["zig", "gcc"] = "zig", all_parts: bool = False
) -> Path:
    """Build the program around an .mbit image and return the path of its ELF file, which lies in the cache.

    all_parts: keep the parts of the library that this image does not need, for images that are pushed later.

    Raises:
        ModelError: the image is damaged. DoesNotFit: the chip has too little memory. BuildError: nothing learns, or the compiler
        failed.
    """
    model = runtime.Model(image)
    frozen = read_image(image)
    if not any(layer.learns for layer in frozen.layers):
        raise BuildError("nothing in this image learns: export it with a learner, metabit export --learner")
    macros: dict[str, int | str] = dict.fromkeys(() if all_parts else runtime.left_out(image), 1)
    sizes: dict[str, int | str] = {
        "STATE_BYTES": model.state_size, "ARENA_BYTES": model.arena_size("learn"), "CLASSES": model.classes,
        "INPUT_BYTES": model.input_size,
    }  # fmt: skip
    chip = target.defines
    own = [SOURCES / name for name in ("main.c", *target.sources)]
    start = [] if any(source.suffix == ".S" and "start" in source.name for source in own) else [FIRMWARE / "startup.c"]
    keeps = (
        runtime.field_sources() if target.nor else [path for path in runtime.field_sources() if "serial" in path.name]
    )
    return compile_elf(
        [*runtime.sources(), *keeps, *start, FIRMWARE / "memory.c", FIRMWARE / "image.S", *own],
        target.board,
        apart={path: {**chip, **(sizes if path.name == "main.c" else {})} for path in own},
        include_dirs=[runtime.include_dir(), SOURCES, FIRMWARE, FIRMWARE / "freestanding"],
        defines=macros if target.nor else {**macros, "MB_WITHOUT_STORE": 1},
        files={"image.mbit": image},
        opt=opt,
        compiler=compiler,
    )


def write_firmware(elf: Path, target: Target, folder: Path, name: str) -> list[Path]:
    """Write NAME.elf, .hex and .bin, and .uf2 where the target has a family of UF2, and return their paths.

    The .bin begins at the lowest address of flash. Raises FirmwareError if the folder cannot be written.
    """
    data = elf.read_bytes()
    segments = sorted(Program(data).segments)
    base = segments[0][0]
    flat = bytearray()
    for at, blob in segments:
        flat += b"\xff" * (at - base - len(flat)) + blob
    files = {".elf": data, ".hex": write_hex(segments), ".bin": bytes(flat)}
    if target.uf2:
        files[".uf2"] = write_uf2(base, bytes(flat), target.uf2)
    for suffix, content in files.items():
        write_whole(folder / f"{name}{suffix}", content)
    return [folder / f"{name}{suffix}" for suffix in files]
