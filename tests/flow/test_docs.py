"""Every metabit command of the pages in docs/ runs as it is written there, every link and every named file exists."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import command_line
import numpy as np
import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(
    page for page in DOCS.glob("*.md") if "```sh" in page.read_text() and page.stem not in ("deploying", "pytorch")
)  # test_serial_page.py has a device for the first, tests/nn/test_page.py runs the Python of the second


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).integers(0, 256, (60, 12)).astype(np.uint8)  # the reader's own my.npz and my.csv
    y = (x[:, 0] > 127).astype(int)
    np.savez(tmp_path / "my.npz", x=x, y=y, task=np.arange(60) % 2)
    rows = [",".join([*map(str, row), ("low", "high")[label]]) for row, label in zip(x / 7, y, strict=True)]
    (tmp_path / "my.csv").write_text("\n".join([",".join([*(f"f{i}" for i in range(12)), "label"]), *rows]) + "\n")
    shutil.copy(DOCS.parent / "tests" / "export" / "foreign" / "larq_dense.h5", tmp_path / "larq.h5")
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("metabit ")]
    lines = [
        line for line in lines if not line.startswith("metabit device ")
    ]  # test_serial_page.py has an emulator for them
    assert lines
    for line in lines:
        assert command_line.run(*shlex.split(line, comments=True)[1:]) == 0, line


def test_the_architecture_names_files_that_exist() -> None:
    """Each name in backquotes with a slash is a path; a bare file name is somewhere in a room or in the tests."""
    root = DOCS.parent
    named = set(re.findall(r"`([\w./-]+(?:/|\.(?:py|c|h|md|toml)))`", (DOCS / "architecture.md").read_text()))
    rooms = ("data", "train", "export", "runtime", "firmware_sim", "experiments", "cli", "tests")
    known = {path.name for room in rooms for path in (root / room).rglob("*.*")}
    subfolders = {f"{path.name}/" for room in rooms for path in (root / room).rglob("*") if path.is_dir()}
    gone = {name for name in named if not (root / name).exists() and name not in known | subfolders}
    assert len(named) > 40 and not gone, gone


def test_links_lead_somewhere() -> None:
    for page in DOCS.rglob("*.md"):
        for link in re.findall(r"\]\(([^)h#][^)#]*)\)", page.read_text()):
            assert (page.parent / link).exists(), (page.name, link)
