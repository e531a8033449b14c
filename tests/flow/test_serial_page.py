"""docs/serial.md and docs/deploying.md: their commands run in order, those for the device against QEMU; their outputs are right."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import command_line
import numpy as np
import pytest

from metabit.firmware_sim import Qemu, SerialDevice, load_target
from metabit.firmware_sim.serial import protocol

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serial.md").read_text()
ADDRESS = "tcp://127.0.0.1:1234"
BLOCK = re.compile(r"```sh\n(.*?)```(?:\n```text\n(.*?)```)?", re.DOTALL)


@contextmanager
def walked(page: str, capsys: pytest.CaptureFixture[str]) -> Iterator[Qemu]:
    """Run every command of a page in the current folder, on one machine; what the page prints below them is what they printed."""
    if shutil.which("qemu-system-arm") is None:
        pytest.skip("no qemu-system-arm (apt-get install qemu-system-arm)")
    machine, told, started = None, "", ""
    for file, name in re.findall(r"```toml\n(# (\S+):.*?)```", page, re.DOTALL):
        Path(name).write_text(file)
    try:
        for commands, shown in BLOCK.findall(page):
            block = ""
            for line in commands.splitlines():
                words = shlex.split(line, comments=True)
                if words[0] == "qemu-system-arm":
                    if machine is not None:
                        assert line == started  # the same again, after Ctrl-C
                        machine.kill()
                        machine.close()
                    else:
                        assert line in told.replace("\n", " ")  # the command that metabit firmware has just printed
                    started, kept = line, re.search("mem-path=([^,]+)", line)
                    flash = Path(kept[1]) if kept else None
                    machine = Qemu(Path("out/firmware/model-mps2-an386.elf"), load_target("mps2-an386"), flash)
                    continue
                words = [machine.url if machine and word == ADDRESS else word for word in words]
                assert command_line.run(*words[1:]) == 0, line
                told = capsys.readouterr().out
                block += told
            for line in shown.splitlines():
                agrees(line, block)
        assert machine is not None
        yield machine
    finally:
        if machine is not None:
            machine.close()


def agrees(line: str, block: str) -> None:
    """A shown line is in a block of outputs, each word and each number of it. Bytes and times of programs, in a line with B, KiB or
    ms, may be a quarter off, because another compiler changes them; per cents 4 points, because on another processor training
    may round otherwise."""
    share = r"\d+\.\d+(?= %)"
    about = rf"{share}|\d+\.\d+|[\d,]+(?= B\b)" if re.search(r"\b(B|KiB|ms)\b", line) else share
    pattern = re.escape(re.sub(about, "#", bare(line))).replace(r"\#", r"([\d.,]+)")
    found = re.search(rf"(?<!\S){pattern}(?!\S)", bare(block))
    assert found, (line, block)
    for word, shown in zip(found.groups(), re.finditer(about, bare(line)), strict=True):
        near = {"abs": 4} if shown.string[shown.end() :].startswith(" %") else {"rel": 0.25}
        assert float(word.replace(",", "")) == pytest.approx(float(shown[0].replace(",", "")), **near), (line, found[0])


def bare(text: str) -> str:
    """Without the frames of tables."""
    return " ".join(re.sub(r"[^\w%.,:/]", " ", text).split())


def test_the_page_runs_from_the_first_command_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).integers(0, 17, (60, 64)).astype(np.uint8)
    y = (x[:, 0] > 8).astype(int)
    with walked(PAGE, capsys) as machine:
        with SerialDevice(machine.url) as device:
            code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
            assert code and device.refresh().steps == 20  # as in the image that was pushed
        exec(code[1].replace(ADDRESS, machine.url), {"x": x, "y": y})
        with SerialDevice(machine.url) as device:
            assert device.restart().steps == 80


def test_a_device_goes_from_the_factory_to_an_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/deploying.md; a model that needs more memory than its program has is refused, and changes nothing; another model's
    program lies beside that model, and runs the image that was pushed before."""
    monkeypatch.chdir(tmp_path)
    with walked((ROOT / "docs" / "deploying.md").read_text(), capsys) as machine:
        assert command_line.run("export", "out/checkpoint.safetensors", "--spare-classes", 3, "-o", "large") == 0
        capsys.readouterr()
        assert command_line.run("device", machine.url, "push", "large/model.mbit") == 1
        assert "too little RAM or spare flash for this image" in capsys.readouterr().err
        with SerialDevice(machine.url) as device:
            assert device.info.classes == 12 and device.restart().steps == 0
            pushed = device.info.identity
        before = Path("out/firmware/model-mps2-an386.elf").read_bytes()
        assert command_line.run("firmware", "large/model.mbit", "--board", "mps2-an386") == 0
        assert Path("out/firmware/model-mps2-an386.elf").read_bytes() == before
    with Qemu(Path("large/firmware/model-mps2-an386.elf"), load_target("mps2-an386"), Path("out/flash.bin")) as other:
        with SerialDevice(other.url) as device:
            assert device.info.identity == pushed and device.push(Path("large/model.mbit").read_bytes()).classes == 13


def test_a_stale_figure_is_noticed() -> None:
    printed = "│ flash │ 18,736 B │ pass │\n│ steps │ 300 │\naccuracy 65.0 %, saved at step 300\n"
    for line in ("│ flash │ 17,856 B │ pass │", "│ steps │ 300 │", "accuracy 65.0 %, saved at step 300"):
        agrees(line, printed)
    for line in ("│ flash │ 7,856 B │ pass │", "│ steps │ 30 │", "accuracy 70.0 %, saved at step 300", "at step 30"):
        with pytest.raises(AssertionError):
            agrees(line, printed)


def test_the_table_of_commands_is_that_of_the_code() -> None:
    rows = {int(number): name for number, name in re.findall(r"^\| (\d+) (\w+) \|", PAGE, re.MULTILINE)}
    header = (ROOT / "runtime" / "include" / "metabit_serial.h").read_text()
    assert len(rows) == 10
    for number, name in rows.items():
        assert getattr(protocol, name.upper()) == number and f"MB_SERIAL_{name.upper()} = {number}" in header
