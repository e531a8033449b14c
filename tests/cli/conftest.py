"""A command line in this process: what the user types, what comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import command_line
import numpy as np
import pytest
from networks import network
from rich.console import Console

from metabit.experiments import show
from metabit.export import write_image


@dataclass
class Ran:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def fails(self, *words: str, code: int = 1) -> None:
        """One line on standard error with all the words, the exit code, and nothing else."""
        assert self.code == code, self
        lines = [line for line in self.err.splitlines() if line.strip()]
        assert len(lines) == 1 and lines[0].startswith("metabit: "), self.err
        assert "Traceback" not in self.err
        for word in words:
            assert word in self.err, (word, self.err)


Run = Callable[..., Ran]


@pytest.fixture
def metabit(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """metabit("inspect", path) -> Ran, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")  # of the help
    monkeypatch.setattr(show, "out", Console(width=200))

    def run(*words: object) -> Ran:
        code = command_line.run(*words)
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A small image that learns: 64 features, 10 classes, random weights."""
    path = tmp_path / "model.mbit"
    path.write_bytes(write_image(network(3, (64, 40, 10), 4, 2, (True, False), 9000)))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small stream that fits the image."""
    rng = np.random.default_rng(0)
    path = tmp_path / "data.npz"
    np.savez(path, x=rng.integers(0, 256, (100, 64)).astype(np.uint8), y=np.arange(100) % 10)
    return path
