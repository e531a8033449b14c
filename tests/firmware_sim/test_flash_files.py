"""Programs for chips: what is in HEX, BIN and UF2 is what the ELF has; the RP2040's second stage; target files."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from flash_readers import read_hex, read_uf2
from serial_lines import image

from metabit.firmware_sim import (
    BoardError,
    BuildError,
    Program,
    boards,
    build_serial,
    load_target,
    targets,
    write_firmware,
)
from metabit.firmware_sim.build.flash_files import write_hex, write_uf2
from metabit.firmware_sim.build.native import FIRMWARE, run_compiler
from metabit.firmware_sim.build.toolchain import compile_command
from metabit.firmware_sim.serial.target import SOURCES
from metabit.runtime import include_dir

RP2040 = 0xE48B_FF56


def test_a_program_is_the_same_in_every_file(tmp_path: Path) -> None:
    """The RP2040's, which has all of them."""
    start, target = image(20), load_target("rp2040")
    elf = build_serial(start, target)
    written = {path.suffix: path.read_bytes() for path in write_firmware(elf, target, tmp_path, "a")}
    assert set(written) == {".elf", ".hex", ".bin", ".uf2"} and written[".elf"] == elf.read_bytes()
    base, flat = read_uf2(written[".uf2"], RP2040)
    assert base == 0x1000_0000 and flat.startswith(written[".bin"]) and set(flat[len(written[".bin"]) :]) <= {0xFF}
    hexed = read_hex(written[".hex"])
    segments = Program(written[".elf"]).segments
    assert hexed == {at + i: byte for at, blob in segments for i, byte in enumerate(blob)}
    assert all(written[".bin"][at - base] == byte for at, byte in hexed.items())
    assert start in written[".bin"]
    # the boot ROM runs the second stage if its checksum is right, and it jumps to the vector table behind it
    stage, vectors = flat[:256], flat[256:264]
    assert _crc_of_boot_rom(stage[:252]) == int.from_bytes(stage[252:], "little")
    top, reset = int.from_bytes(vectors[:4], "little"), int.from_bytes(vectors[4:], "little")
    assert 0x2000_0000 < top <= 0x2004_2000 and reset == Program(written[".elf"]).symbol("Reset_Handler").address | 1


def _crc_of_boot_rom(data: bytes) -> int:
    """RP2040 datasheet, 2.8.1.3.1: polynomial 04C11DB7, begins with ones, nothing reflected."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C1_1DB7 if crc >> 31 else crc << 1) & 0xFFFF_FFFF
    return crc


def test_hex_crosses_the_end_of_64_kilobytes() -> None:
    parts = [(0x0800_FFF5, bytes(range(40))), (0x2000_0000, b"\1\2\3")]
    text = write_hex(parts)
    assert read_hex(text) == {at + i: byte for at, blob in parts for i, byte in enumerate(blob)}
    assert text.startswith(b":020000040800F2\r\n") and text.endswith(
        b":00000001FF\r\n"
    )  # as the format's description has them
    for wrong in (text[:-13], text.replace(b"F2\r", b"F3\r"), text.replace(b":03", b":04")):
        with pytest.raises(BuildError, match="HEX file"):
            read_hex(wrong)


def test_uf2_refuses_what_is_damaged() -> None:
    data = write_uf2(0x1000_0000, bytes(1000), RP2040)
    assert (
        len(data) == 4 * 512
        and data[:8] == b"UF2\nWQ]\x9e"
        and read_uf2(data, RP2040) == (0x1000_0000, bytes(1000) + b"\xff" * 24)
    )
    for wrong in (data[:-1], data[512:], data[:512] + data[1024:], b"\0" + data[1:]):
        with pytest.raises(BuildError, match="UF2"):
            read_uf2(wrong, RP2040)
    with pytest.raises(BuildError, match="family"):
        read_uf2(data, 1)
    with pytest.raises(BuildError, match="multiple of 256"):
        write_uf2(0x1000_0010, b"", RP2040)


def test_every_board_has_a_target_and_every_target_says_where_it_ran() -> None:
    assert set(boards()) < set(targets())
    for name in targets():
        target = load_target(name)
        assert target.qemu or "never run on silicon" in target.note, name
        elf = Path("my models") / "a.elf"
        command = target.command(elf)
        assert (command is None) == (not target.qemu)
        assert command is None or shlex.split(command)[-2:] == ["-kernel", str(elf)]
        if target.nor:
            for region in (target.nor.store, target.nor.spare):
                assert region.size % target.nor.page_size == 0 and region.origin % 4 == 0
                assert region.origin not in target.board.flash and region.origin not in target.board.ram, name


@pytest.mark.parametrize("name", boards())
def test_the_sources_of_every_board_compile_without_a_warning(name: str, tmp_path: Path) -> None:
    target, sizes = load_target(name), ("STATE_BYTES=400", "ARENA_BYTES=400", "CLASSES=3", "INPUT_BYTES=12")
    defines = [f"-D{macro}" for macro in (*sizes, *(f"{key}={value}" for key, value in target.defines.items()))]
    includes = [f"-I{folder}" for folder in (include_dir(), SOURCES, FIRMWARE, FIRMWARE / "freestanding")]
    sources = [str(SOURCES / source) for source in ("main.c", *target.sources)]
    words = (*compile_command(target.board), *defines, *includes, "-Wconversion", "-Werror", "-c", *sources)
    run_compiler([str(word) for word in words], tmp_path)


def test_target_files_are_checked(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    text = (SOURCES.parents[1] / "serial" / "targets" / "mps2-an386.toml").read_text()
    own.write_text(text)
    assert load_target(own).defines["TARGET_NAME"] == "mine"
    for old, new, said in (
        ('"m4f"', '"m99"', "unknown core 'm99'"),
        ("uart_cmsdk.c", "uart_none.c", "which is no file of"),
        ("page_size", "pagesize", "unknown field 'pagesize'"),
        ('["uart_cmsdk.c", "flash_memory.c"]', '"uart_cmsdk.c"', "must be a list of texts"),
        ("sources = ", 'defines = ["UART"]\nsources = ', "defines has 'UART': write NAME=VALUE"),
    ):
        own.write_text(text.replace(old, new))
        with pytest.raises(BoardError, match=said):
            load_target(own)
    with pytest.raises(BoardError, match=r"board 'pico'; known: .*rp2040"):
        load_target("pico")


def test_an_image_that_does_not_learn_is_refused() -> None:
    frozen = (Path(__file__).parents[1] / "vectors" / "gates-none.mbit").read_bytes()
    with pytest.raises(BuildError, match="nothing in this image learns"):
        build_serial(frozen, load_target("rp2040"))


def test_the_rp2040s_program_runs_on_rp2040js(tmp_path: Path) -> None:
    """Boot from flash, second stage, clocks, UART. METABIT_RP2040JS names a folder in which npm installed rp2040js."""
    import os
    import subprocess

    import numpy as np

    from metabit.firmware_sim import SerialDevice
    from metabit.runtime import Model

    place = os.environ.get("METABIT_RP2040JS")
    if place is None or shutil.which("node") is None:
        pytest.skip("no rp2040js (METABIT_RP2040JS)")
    start, target = image(20), load_target("rp2040")
    (_, _, binary, _) = write_firmware(build_serial(start, target), target, tmp_path, "a")
    program = Path(place) / "metabit-rp2040.mjs"
    program.write_bytes(
        Path(__file__).with_name("rp2040.mjs").read_bytes()
    )  # beside node_modules, where node looks for packages
    running = subprocess.Popen(["node", program, binary], stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        with SerialDevice(f"tcp://127.0.0.1:{int(running.stdout.readline())}", timeout=20) as device:
            model, rng = Model(start), np.random.default_rng(0)
            x, y = rng.integers(0, 256, (10, 12)).astype(np.uint8), rng.integers(0, 3, 10)
            assert (device.predict_many(x).scores == model.scores(x)).all()
            device.learn_many(x, y)
            model.learn_many(x, y)
            assert device.state() == model.state() and not device.info.saves
    finally:
        running.kill()
        running.wait()
