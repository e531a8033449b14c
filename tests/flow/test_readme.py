"""Documentation runs: every metabit command and every snippet of the README, as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import command_line
import numpy as np
import pytest

from metabit.runtime import include_dir, sources

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README's commands and snippets were run, in order."""
    folder = tmp_path_factory.mktemp("readme")
    commands = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for language, block in re.findall(r"```(sh|python)\n(.*?)```", README, re.DOTALL):
            if language == "python":
                names: dict[str, Any] = {}
                if "predict_one" in block:  # one sample, which the reader's program has
                    names = {"x": np.load("wine.npz")["x"][0], "y": 0}
                exec(block, names)
                assert "predict_one" not in block or (names["name"] == "class_0" and names["margin"] >= 0)
            for line in block.splitlines() if language == "sh" else []:
                assert command_line.run(*shlex.split(line)[1:]) == 0, line
                commands += 1
    assert commands >= 10
    return folder


def test_the_commands_leave_what_they_say(followed: Path) -> None:
    for name in ("checkpoint.safetensors", "model.mbit", "model.onnx", "model.tflite", "vectors.npz", "manifest.json"):
        assert (followed / "out" / name).stat().st_size > 0
    assert (followed / "out/learned/model.mbit").read_bytes() == (followed / "out/learned.mbit").read_bytes()


def test_a_strangers_own_file(followed: Path) -> None:
    for name in ("accuracy.svg", "hidden.svg", "history.csv", "model.mbit", "model.h", "learned.mbit"):
        assert (followed / "wine" / name).stat().st_size > 0


def test_the_c_snippet_compiles(tmp_path: Path) -> None:
    (body,) = blocks("c")
    code = tmp_path / "snippet.c"
    code.write_text(
        '#include "metabit.h"\n'
        "uint16_t use(const void *image, size_t image_len, const uint8_t *features, uint16_t true_label) {\n"
        "static uint32_t state[1000], arena[1000]; uint16_t label = 0;\n" + body + "return label; }\n"
    )
    words = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{include_dir()}", "-c", str(code), "-o", "/dev/null"]
    subprocess.run(words, check=True)
    assert {path.name for path in sources()} == {path.name for path in (ROOT / "runtime/src").glob("*.c")} != set()


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert {"demo", "test", "exact"} <= targets
    assert all(f"\n{target}:" in makefile for target in targets)


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)h#][^)#]*)\)", README):
        assert (ROOT / link).exists(), link
