"""docs/pytorch.md runs from its first line of Python to its last, then its commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import command_line
import numpy as np
import pytest
import torch

from metabit.runtime import Model

PAGE = (Path(__file__).parents[2] / "docs" / "pytorch.md").read_text()


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    x = np.random.default_rng(0).integers(0, 256, (60, 12)).astype(np.uint8)
    np.savez("my.npz", x=x, y=(x[:, 0] > 127).astype(int))
    seen: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, seen)
    assert seen["gradients"]["2.hidden"].shape == (60, 64, 12) and seen["gradients"]["2.hidden"].any()
    assert Model.open("model.mbit").predict_many(x).tolist() == seen["scores"]
    commands = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    assert len(commands) == 2
    for line in commands:
        assert command_line.run(*shlex.split(line)[1:]) == 0, line
    assert Path("learned.mbit").is_file()
