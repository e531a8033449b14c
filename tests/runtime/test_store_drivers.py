"""The drivers of examples/store: two run, the others are compiled against declarations of what they call."""

from __future__ import annotations

from pathlib import Path

import pytest
from compilers import WARNINGS, run

from metabit.runtime import field_sources, include_dir, sources

HERE = Path(__file__).parent
DRIVERS = HERE.parents[1] / "examples" / "store"
IMAGE = HERE.parent / "vectors" / "words-visits.mbit"
DECLARED = {"littlefs.c": (), "esp_nvs.c": (), "zephyr_nvs.c": (), "arduino_eeprom.cpp": ("-DESP32", "-DAVR")}
RUN = {"raw_flash.c", "file.c"}


@pytest.mark.parametrize("name", DECLARED)
def test_a_driver_fits_its_platform(name: str, tmp_path: Path) -> None:
    compiler, standard = ("g++", "c++11") if name.endswith("cpp") else ("gcc", "c99")
    places = (f"-I{include_dir()}", f"-I{HERE / 'store_stubs'}")
    for board in DECLARED[name] or ("-DNONE",):
        run(compiler, f"-std={standard}", *WARNINGS, board, *places, "-c", DRIVERS / name, "-o", tmp_path / "driver.o")


def test_every_driver_is_tested_and_on_the_page() -> None:
    drivers = {path.name for path in DRIVERS.glob("*.c*")}
    assert drivers == {*DECLARED, *RUN}
    assert all(f"`{name}`" in (DRIVERS / "README.md").read_text() for name in drivers)


def test_states_come_back_from_flash_and_from_a_file(tmp_path: Path) -> None:
    code = [HERE / "drivers.c", *(DRIVERS / name for name in sorted(RUN)), *sources(), *field_sources()]
    run("gcc", "-std=c99", *WARNINGS, "-O0", f"-I{include_dir()}", *code, "-o", tmp_path / "drivers")
    steps = [f"{30 * n} steps" for n in (1, 2, 3, 4)]
    assert run(tmp_path / "drivers", IMAGE, "raw").splitlines() == steps
    file = tmp_path / "store.bin"
    told = [run(tmp_path / "drivers", IMAGE, file, *first) for first in (("first",), (), (), ())]
    assert "".join(told).splitlines() == steps and file.stat().st_size == 24 * 512
