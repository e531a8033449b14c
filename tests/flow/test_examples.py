"""Every example is run or built, and does what it says."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from metabit.export import fresh_votes, write_image
from metabit.runtime import Model

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(name: str, argument: Path) -> str:
    ran = subprocess.run([sys.executable, EXAMPLES / name, argument], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_own_data(tmp_path: Path) -> None:
    said = run("own_data.py", tmp_path)
    rates = [float(rate) for rate in re.findall(r"([\d.]+) %", said)]
    old_before, _, new_before, new_after = rates
    assert old_before > 90 and new_after > new_before + 5, said
    first, learned = (Model.open(tmp_path / name) for name in ("model.mbit", "learned.mbit"))
    assert (first.steps, learned.steps) == (0, 456)


def test_stream_chart(tmp_path: Path) -> None:
    said = run("stream_chart.py", tmp_path / "stream.svg")
    assert "3,594 samples" in said and float(re.findall(r"([\d.]+) %", said)[0]) > 50
    assert "turned from here on" in (tmp_path / "stream.svg").read_text()


@pytest.fixture
def port(tmp_path: Path) -> Path:
    """A copy of examples/port, beside a small image."""
    folder = tmp_path / "port"
    shutil.copytree(EXAMPLES / "port", folder, ignore=shutil.ignore_patterns("generated", "try", "*.o"))
    (tmp_path / "model.mbit").write_bytes(write_image(fresh_votes(12, 32, 2)))
    script = tmp_path / "metabit"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from metabit.cli import main; main()' \"$@\"\n")
    script.chmod(0o755)
    return folder


def make(folder: Path, *words: str) -> str:
    given = [f"IMAGE={folder.parent / 'model.mbit'}", f"METABIT={folder.parent / 'metabit'}"]
    ran = subprocess.run(["make", "-C", str(folder), *words, *given], capture_output=True, text=True, env=os.environ)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_the_port_answers_as_python_does(port: Path) -> None:
    make(port)
    model, rng = Model.open(port.parent / "model.mbit"), np.random.default_rng(1)
    sent, expected = b"", [0]
    for x in rng.integers(0, 256, (100, 12)).astype(np.uint8):
        label = int(x[0] > 127)
        sent += b"l" + x.tobytes() + bytes([label]) + b"p" + x.tobytes()
        expected += [model.learn_one(x, label).predicted, model.predict_one(x)]
    assert list(subprocess.run([port / "try"], input=sent, capture_output=True).stdout) == expected


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="no arm-none-eabi-gcc")
def test_the_port_is_a_program_for_a_chip(port: Path) -> None:
    """test_porting.py runs the same files under QEMU."""
    bare = ROOT / "firmware_sim" / "build" / "firmware" / "freestanding"
    make(port, "chip", f"BARE=-ffreestanding -I{bare}")
    assert (port / "chip.elf").stat().st_size > 5000
    told = make(port, "compare-chip", "PYTHON=echo")
    assert "compare.py" in told and "qemu-system-arm -M mps2-an386" in told and "-kernel chip.elf" in told
    told = make(port, "compare-keep", "PYTHON=echo", f"BARE=-ffreestanding -I{bare}")
    assert "--restart qemu-system-arm -M mps2-an386" in told and "-kernel keep.elf" in told
    assert (port / "keep.elf").stat().st_size > (port / "chip.elf").stat().st_size


@pytest.mark.parametrize("name", ["main.c", "serial.c", "chip.c", "chip.ld", "keep.c", "flash.c", "compare.py"])
def test_the_port_is_the_one_of_the_page(name: str) -> None:
    page, language = (
        (ROOT / "docs" / "porting.md").read_text(),
        {"py": "python"}.get(name.split(".")[1], name.split(".")[1]),
    )
    assert f"```{language}\n{(EXAMPLES / 'port' / name).read_text()}```" in page


SENSORS = {"gesture": "gesture", "keyword": "keywords", "predictive_maintenance": "maintenance"}


@pytest.mark.parametrize("name", SENSORS)
def test_a_sensor_is_read_in_c_as_in_python(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A small training; then the page's own command compiles the C program, which answers the stream as Python did."""
    if name == "gesture" and "METABIT_DATA_DIR" not in os.environ:
        pytest.skip("the recordings are in METABIT_DATA_DIR")
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / name / f"{SENSORS[name]}.py")
    assert spec is not None and spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    program.main(tmp_path / "out" / name, quick=True)
    said = capsys.readouterr().out
    for learner in ("metabit", "not learning", "majority class", "softmax SGD", "nearest class mean", "SLDA"):
        assert re.search(rf"^\| {learner} \| [\d,]+ \|", said, re.MULTILINE), said
    assert float(re.findall(r"([\d.]+) % right", said)[-1]) > 40
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    page = (EXAMPLES / name / "README.md").read_text()
    (compiled,) = re.findall(r"^gcc .*$", page, re.MULTILINE)
    (tmp_path / "examples").symlink_to(EXAMPLES)
    warnings = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
    ran = subprocess.run([*shlex.split(compiled), *warnings, "-O0"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    folder = tmp_path / "out" / name
    answer = subprocess.run([folder / "try"], input=(folder / "stream.bin").read_bytes(), capture_output=True)
    assert answer.returncode == 0 and answer.stdout == (folder / "labels.txt").read_bytes()
    assert len(set(answer.stdout.split())) > 2
