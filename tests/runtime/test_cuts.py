"""Power cuts on an emulated chip: a firmware that resets itself in the middle of its saves, run by QEMU.

PYTHONPATH=tests .venv/bin/python tests/runtime/test_cuts.py 10000    # cuts of each network; the suite makes 150
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from compilers import run
from cores import FLAGS
from elftools.elf.elffile import ELFFile

from metabit.firmware_sim.build.toolchain import FIRMWARE
from metabit.runtime import Model, field_sources, write_sources

HERE = Path(__file__).parent
VECTORS = HERE.parent / "vectors"
NETWORKS = {"words-head": 8, "words-visits": 4, "gates-levels": 2}
"""Golden vector -> bytes of a program: a head, visits and levels."""
LIMIT = 2560
"""Bytes of code that saving may take on a Cortex-M4F."""


ZIG = (sys.executable, "-m", "ziglang", "cc", *FLAGS["m4f"].zig, "-Os", "-std=c99", "-ffreestanding", "-fno-sanitize=undefined",
       "-ffunction-sections", "-Wall", "-Wextra", "-Wconversion", "-Werror", f"-I{FIRMWARE / 'freestanding'}")  # fmt: skip


def library(folder: Path) -> Path:
    """The single file and field/ beside it, as objects of a Cortex-M4F in this folder."""
    write_sources(folder, single_file=True)
    for code in ("metabit.c", *(f"field/{path.name}" for path in field_sources())):
        run(*ZIG, f"-I{folder}", "-c", folder / code, "-o", folder / f"{Path(code).stem}.o")
    return folder


def firmware(built: Path, folder: Path, network: str, unit: int, cuts: int) -> Path:
    """The program as an ELF for QEMU's mps2-an386, a Cortex-M4."""
    image = VECTORS / f"{network}.mbit"
    model = Model.open(image)
    shutil.copy(image, folder / "image.mbit")
    sizes = (
        f"-DSTATE_BYTES={model.state_size}",
        f"-DARENA_BYTES={model.arena_size()}",
        f"-DUNIT={unit}",
        f"-DCUTS={cuts}",
    )
    own = [FIRMWARE / name for name in ("startup.c", "memory.c", "image.S")]
    places = [f"-I{path}" for path in (built, FIRMWARE, folder)]
    elf = folder / f"{network}-{unit}.elf"
    link = ("-Wl,--gc-sections", "-Wl,-e,Reset_Handler", "-T", HERE / "cuts.ld")
    run(*ZIG, *sizes, *places, *link, HERE / "cuts.c", *own, *sorted(built.glob("*.o")), "-o", elf)
    return elf


def emulated(elf: Path, limit: float = 100) -> str:
    if shutil.which("qemu-system-arm") is None:
        pytest.skip("no qemu-system-arm")
    options = ("-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none", "-accel", "tcg,tb-size=32")
    semihosting = ("-semihosting-config", "enable=on,target=native")
    command = ["qemu-system-arm", *options, *semihosting, "-kernel", str(elf)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(tmp_path_factory.mktemp("library"))


@pytest.mark.parametrize("network", NETWORKS)
def test_a_chip_that_resets_in_the_middle_of_its_saves_loses_nothing(built: Path, tmp_path: Path, network: str) -> None:
    said = emulated(firmware(built, tmp_path, network, NETWORKS[network], 150))
    found = re.fullmatch(r"150 cuts, (\d+) saves, 0 wrong\n", said)
    assert found and int(found[1]) > 75, said


def code_bytes(*objects: Path) -> int:
    """Bytes of code and constants, without the index for exceptions."""
    found = 0
    for path in objects:
        with path.open("rb") as file:
            for section in ELFFile(file).iter_sections():
                if section["sh_flags"] & 2 and not section.name.startswith(".ARM.exidx"):  # 2: it is loaded
                    found += section["sh_size"]
    return found


def test_saving_is_as_large_as_the_page_says(built: Path, tmp_path: Path) -> None:
    page = (HERE.parents[1] / "docs" / "porting.md").read_text()
    by_gcc, by_zig = (
        int(re.search(rf"([\d,]+) bytes by {by}", page)[1].replace(",", "")) for by in (r"gcc \S+", "zig cc")
    )  # type: ignore[index]
    assert code_bytes(built / "store.o", built / "store_log.o") == by_zig <= LIMIT and by_gcc <= LIMIT
    gcc = ("arm-none-eabi-gcc", *FLAGS["m4f"].gcc, "-Os", "-std=c99", "-ffreestanding", "-c", f"-I{built}")
    objects = [tmp_path / "store.o", tmp_path / "store_log.o"]
    for made in objects:
        run(*gcc, built / "field" / f"{made.stem}.c", "-o", made)
    version = run("arm-none-eabi-gcc", "-dumpfullversion").strip()
    assert code_bytes(*objects) == by_gcc if f"gcc {version}," in page else code_bytes(*objects) <= LIMIT


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        objects = Path(place, "library")
        library(objects)
        for one, size in NETWORKS.items():
            told = emulated(firmware(objects, Path(place), one, size, int(sys.argv[1])), 3600)
            print(f"{one}, programs of {size} bytes: {told}", end="", flush=True)
