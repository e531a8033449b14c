"""docs/porting.md: its commands run in order, its C files compile, its little program does what Python does."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import command_line
import numpy as np
import pytest
from cores import FLAGS
from networks import gates_network

from metabit.experiments.stream import open_task
from metabit.export import Notes, read_image, write_image
from metabit.firmware_sim.build.toolchain import cache_dir
from metabit.runtime import Model, field_sources, include_dir, sources

PAGE = (Path(__file__).parents[2] / "docs" / "porting.md").read_text()
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-Os")
BARE = ("-ffreestanding", "-Ibare")
"""Flags for a tool chain without a C library, as the page says."""
ZIG = (sys.executable, "-m", "ziglang", "cc", "-fno-sanitize=undefined")


def run(folder: Path, *command: str | Path, data: bytes = b"") -> bytes:
    cache = {f"ZIG_{kind}_CACHE_DIR": str(cache_dir() / f"zig-{kind.lower()}") for kind in ("GLOBAL", "LOCAL")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder, input=data, capture_output=True, timeout=300, env={**os.environ, **cache},
    )  # fmt: skip
    assert done.returncode == 0, (command, done.stdout.decode(), done.stderr.decode())
    return done.stdout


def has_headers(compiler: str) -> bool:
    """True if the compiler finds <string.h> and <stdint.h> by itself. Debian's arm-none-eabi-gcc needs newlib for that."""
    code = b"#include <string.h>\n#include <stdint.h>\n"
    ran = subprocess.run(
        [compiler, "-mcpu=cortex-m4", "-mthumb", "-fsyntax-only", "-xc", "-"], input=code, capture_output=True
    )
    return ran.returncode == 0


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder after the page was followed: its files written, its commands run, those for Arm where it is there."""
    folder = tmp_path_factory.mktemp("port")
    for block in [block for language in ("c", "asm", "ld", "python") for block in blocks(language)]:
        name = re.match(r"(?:/\*|#) ([\w./]+)", block)
        assert name, f"no file name in {block[:60]!r}"
        (folder / name[1]).parent.mkdir(exist_ok=True)
        (folder / name[1]).write_text(block)
    ran = set()
    for program, *words in commands():
        if words[0] in ("simulate", "run", "export"):
            continue  # test_docs.py runs them, and nothing here needs them
        if program == "arm-none-eabi-gcc" and shutil.which(program) and not has_headers(program):
            words += BARE
        needs = ["gcc"] if words[-1] == "./try" else ["arm-none-eabi-gcc", "qemu-system-arm"]
        if words[0] == "compare.py" and not all(map(shutil.which, needs)):
            continue
        if program == "metabit" or words[0] == "compare.py":
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                patch.setattr(sys, "argv", words)
                if program == "metabit":
                    assert command_line.run(*words) == 0, words
                else:
                    runpy.run_path(words[0])  # exits with a text where answers differ
        elif program == "python":
            run(folder, sys.executable, *words)
        elif shutil.which(program):
            run(folder, program, *words)
        else:
            assert program in ("gcc", "arm-none-eabi-gcc", "arm-none-eabi-size", "arm-none-eabi-nm"), program
        ran.add(program)
    assert {"metabit", "python"} <= ran
    return folder


def test_the_program_answers_as_python_does(project: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    model, rng = Model.open(project / "out/model.mbit"), np.random.default_rng(1)
    sent, expected = b"", [0]
    for x in rng.integers(0, 17, (200, model.input_size)).astype(np.uint8):
        if rng.random() < 0.7:
            label = int(x[2] > 8)
            sent += b"l" + x.tobytes() + bytes([label])
            expected.append(model.learn_one(x, label).predicted)
        else:
            sent += b"p" + x.tobytes()
            expected.append(model.predict_one(x))
    assert list(run(project, "./try", data=sent)) == expected and len(set(expected)) == 2
    wrong = b"l" + bytes(model.input_size) + bytes([200])  # a label there is not
    stopped = subprocess.run(["./try"], cwd=project, input=wrong, capture_output=True)
    assert (stopped.returncode, stopped.stdout) == (1, bytes([0, 0xFF]))


def test_other_answers_are_noticed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    timer = threading.Timer
    monkeypatch.setattr(threading, "Timer", lambda limit, act: timer(limit / 300, act))
    silent = "did not come, the limit is 60 s, this computer's is"
    for words, said in (
        (["printf", r"\0\1"], "answer 2 of the port is 1, this computer's is 0: the port holds another image"),
        (["printf", r"\377"], "answer 1 of the port is 255, this computer's is 0"),
        (["true"], f"answer 1 of the port {silent}"),
        (["sleep", "60"], f"answer 1 of the port {silent}"),
    ):
        monkeypatch.setattr(sys, "argv", ["compare.py", "out/model.mbit", "digits", *words])
        with pytest.raises(SystemExit, match=re.escape(said)):
            runpy.run_path("compare.py")


def test_what_the_port_learnt_outlives_the_power_only_where_it_is_saved(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's own comparison passed with keep.elf: the flash holds the state. Without saving the same comparison fails."""
    if not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm"))):
        pytest.skip("no arm-none-eabi-gcc or no qemu-system-arm")
    monkeypatch.chdir(project)
    model = Model.open("out/model.mbit")
    task = open_task("digits", read_image(model.image()))
    model.learn_many(task.x_train[:100], task.y_train[:100])
    assert model.steps == 100 and model.state() in Path("flash.bin").read_bytes()
    (line,) = (words for _, *words in commands() if "--restart" in words)
    monkeypatch.setattr(sys, "argv", [word.replace("keep.elf", "chip.elf") for word in line])
    with pytest.raises(SystemExit, match="answer .* learnt before"):
        runpy.run_path("compare.py")


@pytest.mark.parametrize("core", ["m0plus", "m4f"])
def test_every_file_compiles_for_a_chip(project: Path, tmp_path: Path, core: str) -> None:
    for name in ("main.c", "timed.c", "wake.c", "keep.c", "flash.c", "update.c", "signed.c", "chip.c", "image.S"):
        flags = WARNINGS if name.endswith(".c") else ()
        run(project, *ZIG, *FLAGS[core].zig, *flags, "-Iport", "-Ibare", "-c", name, "-o", tmp_path / f"{name}.o")
    image = (project / "out/model.mbit").read_bytes()
    assert image in (tmp_path / "image.S.o").read_bytes()
    (tmp_path / "use.c").write_text(
        '#include "image.h"\nlong n(void);\nlong n(void) { return (long)(image_end - image); }\n'
    )
    run(project, *ZIG, *FLAGS[core].zig, *WARNINGS, "-I.", "-c", tmp_path / "use.c", "-o", tmp_path / "use.o")


def test_the_table_of_flags_is_what_the_library_is_tested_with() -> None:
    rows = re.findall(r"^\| ([\w+-]+) \| (?:`([^`]*)`)? ?\| `(-target [^`]*)` \|$", PAGE, re.MULTILINE)
    assert {row[0]: (tuple(row[1].split()), tuple(row[2].split())) for row in rows} == {
        flags.title: (flags.gcc, flags.zig) for flags in FLAGS.values()
    }


def test_what_the_library_needs_is_what_the_page_says(project: Path, tmp_path: Path) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("no arm-none-eabi-gcc")
    for core in ("m0plus", "m4f"):
        built = tmp_path / "metabit.o"
        words = ("arm-none-eabi-gcc", "-std=c99", "-Os", *FLAGS[core].gcc, *BARE)
        run(project, *words, "-c", "port/metabit.c", "-o", built)
        needed = set(run(project, "arm-none-eabi-nm", "-u", built).decode().split()) - {"U"}
        assert {"memcpy", "memset"} <= needed
        helpers = needed - {"memcpy", "memset"}
        assert all(re.match(r"__aeabi_(u?idiv(mod)?|lmul|llsl|llsr)$|__gnu_thumb1_case", name) for name in helpers)
        assert bool(helpers) == (core == "m0plus")


def test_new_firmware_takes_over_what_was_learnt(project: Path, tmp_path: Path) -> None:
    """update.c, and signed.c with a verifier that is no signature, as the page has them."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    frozen = gates_network(22, features=9, planes=5, units=7, classes=4, kind="int16", spare=1)
    images = [replace(frozen, notes=Notes(("still", "walk", "run", *more), ())) for more in ((), ("jump",))]
    old, new = (Model(write_image(image)) for image in images)
    for name, model in (("old", old), ("new", new)):
        model.save(tmp_path / f"{name}.mbit")
    files = [project / name for name in ("update.c", "signed.c")]
    files += [Path(__file__).with_name("update_main.c"), *sources(), *field_sources()]
    run(project, "gcc", "-std=c99", "-O0", f"-I{include_dir()}", *files, "-o", tmp_path / "update")
    factory = new.state()
    steps = np.arange(50)[:, None] * 37 + np.arange(old.input_size) * 11
    old.learn_many(steps.astype(np.uint8), np.arange(50) % 3)
    assert new.merge(old).what == "classes" and new.steps == 50
    for keep, state in (("1", new.state()), ("0", factory)):
        assert run(tmp_path, "./update", "old.mbit", "new.mbit", keep) == 2 * state, keep


def test_every_error_it_names_is_one() -> None:
    header = (Path(__file__).parents[2] / "runtime/include/metabit.h").read_text()
    named = set(re.findall(r"`(MB_E_\w+)`", PAGE))
    assert len(named) > 10 and all(re.search(rf"\b{name} = -", header) for name in named)
