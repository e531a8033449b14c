"""The recorded tables say what the recorded runs say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def _training() -> ModuleType:
    spec = importlib.util.spec_from_file_location("training", ROOT / "benchmarks" / "training.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["training"] = importlib.util.module_from_spec(spec)  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


TRAINING = _training()


@pytest.mark.parametrize("name", [name for name in TRAINING.EXPERIMENTS if TRAINING.done(name)])
def test_table_follows_from_the_runs(name: str) -> None:
    page = TRAINING.RESULTS / f"{name}.md"
    recorded = page.read_text().splitlines()
    expected = TRAINING.table(name).splitlines()
    # The line in between says where and when.
    assert recorded[0] == expected[0] and recorded[3:] == expected[3:]
    assert (TRAINING.RESULTS / f"{name}.svg").stat().st_size > 2000


def test_index_follows_from_the_runs() -> None:
    assert (TRAINING.RESULTS / "README.md").read_text() == TRAINING.index()
