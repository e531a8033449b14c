"""benchmarks/equal_scores.py: every engine that is here gives the oracle's integers, and one that does not is counted."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from metabit import firmware_sim
from metabit.export import Frozen, read_image
from metabit.export.errors import MissingExtra

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
equal_scores = importlib.import_module("equal_scores")
INPUTS = 12
BOARD = "nrf52840"
"""One of the five: tests/firmware_sim compares all with the oracle."""
LEFT_OUT = {*firmware_sim.boards(), *(f"onnxruntime {v}" for v in equal_scores.ONNXRUNTIMES)} - {BOARD}
PLAIN = [name for name in equal_scores.ENGINES if name not in LEFT_OUT]


@cache
def small() -> tuple[Frozen, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """A network with bit planes and convolutions, its inputs, and the oracle's answer."""
    frozen = read_image((ROOT / "tests" / "vectors" / "conv-planes.mbit").read_bytes())
    x = np.random.default_rng(0).integers(0, 256, (INPUTS, frozen.features)).astype(np.uint8)
    return frozen, x, equal_scores.oracle(frozen, x)


@pytest.mark.parametrize("name", [*PLAIN, "onnxruntime"])
def test_an_engine_that_is_here_gives_the_oracles_integers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == BOARD:
        pytest.importorskip("ziglang")
        pytest.importorskip("unicorn")
    if name == "onnxruntime":  # the installed one, which no other process has to install
        monkeypatch.setattr(equal_scores, "environment", lambda _: dict(os.environ))
        name = f"onnxruntime {equal_scores.ONNXRUNTIMES[-1]}"
        run = partial(equal_scores.onnxruntime, version("onnxruntime"))
        engine = replace(equal_scores.ENGINES[name], run=run)
    else:
        engine = equal_scores.ENGINES[name]
    try:
        found = equal_scores.compare(engine, *small())
    except MissingExtra as absent:
        pytest.skip(str(absent))
    assert found == {"samples": INPUTS, "equal_scores": INPUTS, "equal_labels": INPUTS}


def test_other_scores_and_other_labels_are_counted() -> None:
    frozen, x, (scores, labels) = small()
    other, wrong = scores.copy(), labels.copy()
    other[3, 0] += 1
    wrong[:2] += 1
    engine = replace(equal_scores.ENGINES["oracle"], run=lambda frozen, x: (other, wrong))
    found = equal_scores.compare(engine, frozen, x, (scores, labels))
    assert found == {"samples": INPUTS, "equal_scores": INPUTS - 1, "equal_labels": INPUTS - 2}
    assert equal_scores.cell({**found, "engine": "any"}, []) == f"{INPUTS - 2} of {INPUTS}"
