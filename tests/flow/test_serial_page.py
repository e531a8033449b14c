"""docs/serial.md: its commands run in order, those for the device against QEMU; its tables say what the code does."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import command_line
import numpy as np
import pytest

from metabit.firmware_sim import Qemu, SerialDevice, load_target
from metabit.firmware_sim.serial import protocol

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serial.md").read_text()
LINES = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
ADDRESS = "tcp://127.0.0.1:1234"


def test_the_page_runs_from_the_first_command_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("qemu-system-arm") is None:
        pytest.skip("no qemu-system-arm (apt-get install qemu-system-arm)")
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).integers(0, 256, (60, 12)).astype(np.uint8)
    y = (x[:, 0] > 127).astype(int)
    np.savez("my.npz", x=x, y=y)
    machine, told = None, ""
    try:
        for line in LINES:
            words = shlex.split(line, comments=True)
            if words[0] == "qemu-system-arm":
                assert line in told.replace("\n", " ")  # the command that metabit firmware has just printed
                machine = Qemu(Path("out/firmware/model-mps2-an386.elf"), load_target("mps2-an386"))
                continue
            words = [machine.url if machine and word == ADDRESS else word for word in words]
            assert command_line.run(*words[1:]) == 0, line
            told = capsys.readouterr().out
        assert machine is not None
        with SerialDevice(machine.url) as device:
            code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
            assert code and device.refresh().steps == 20  # as in the image that was pushed
        exec(code[1].replace(ADDRESS, machine.url), {"x": x, "y": y})
        with SerialDevice(machine.url) as device:
            assert device.restart().steps == 80
    finally:
        if machine is not None:
            machine.close()


def test_the_table_of_commands_is_that_of_the_code() -> None:
    rows = {int(number): name for number, name in re.findall(r"^\| (\d+) (\w+) \|", PAGE, re.MULTILINE)}
    header = (ROOT / "runtime" / "include" / "metabit_serial.h").read_text()
    assert len(rows) == 10
    for number, name in rows.items():
        assert getattr(protocol, name.upper()) == number and f"MB_SERIAL_{name.upper()} = {number}" in header
