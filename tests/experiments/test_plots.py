from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabit.experiments import plots
from metabit.experiments.quadratic import Quadratic, switch_rows
from metabit.train.errors import TrainError


def history(tasks: int, epochs: int = 3, **more: Any) -> list[dict[str, Any]]:
    generator = np.random.default_rng(0)
    row = {"step": 1, "loss": 1.0, "flipped": 0.1, **more}
    return [
        {"task": t, "epoch": e, "accuracy": list(generator.random(t + 1)), **row}
        for t in range(tasks)
        for e in range(epochs)
    ]


def draw(name: str, path: Path) -> None:
    generator = np.random.default_rng(1)
    if name == "accuracy":
        plots.accuracy_over_time(path, history(3), names=["MNIST", "Fashion", "USPS"])
    elif name == "stream":
        plots.accuracy_over_time(path, history(20, 2))
    elif name == "final":
        plots.final_accuracy(path, {"m = 0": [[0.3, 0.4, 0.95], [0.2, 0.5, 0.9]], "m = 2": [[0.9, 0.85, 0.8]]})
    elif name == "matrix":
        plots.accuracy_heat_map(path, [[0.9, np.nan], [0.4, 0.8]], names=["upright", "sideways"])
    elif name == "hidden":
        plots.hidden_histograms(path, {f"layers.{i}.hidden": generator.normal(size=(8, 9)) for i in range(2)})
    else:
        task = Quadratic.random(40)
        plots.switch_increase(path, switch_rows(task, task.train()))


@pytest.mark.parametrize(
    "file", ["accuracy.svg", "stream.svg", "matrix.svg", "matrix.png", "hidden.svg", "final.svg", "quadratic.svg"]
)
def test_a_picture_is_drawn_and_drawn_the_same(tmp_path: Path, file: str) -> None:
    """One function saves them all: a single .png shows that this format is repeatable too."""
    name, suffix = Path(file).stem, Path(file).suffix
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    draw(name, first)
    draw(name, second)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size > 3000


def test_what_the_picture_says(tmp_path: Path) -> None:
    draw("accuracy", tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    for words in ("learning MNIST", "Fashion", "test accuracy, %", "epoch"):
        assert words in text
    draw("matrix", tmp_path / "m.svg")
    text = (tmp_path / "m.svg").read_text()
    assert all(words in text for words in ("upright", ">90<", ">40<", "tested on", "after learning"))


def test_epochs_that_were_not_evaluated_are_bridged(tmp_path: Path) -> None:
    rows = history(2)
    rows[1]["accuracy"], rows[3]["accuracy"] = [], [None, 0.5]
    plots.accuracy_over_time(tmp_path / "a.svg", rows)
    assert (tmp_path / "a.svg").exists()


def test_curves_in_two_panels(tmp_path: Path) -> None:
    lines = {"rule": ([1, 10, 100], [10, 50, 90]), "none": ([1, 10, 100], [5, 5, 5])}
    plots.curves(tmp_path / "a.svg", {"old": lines, "new": lines}, "samples", "accuracy, %", log=True)
    text = (tmp_path / "a.svg").read_text()
    assert all(f">{words}<" in text for words in ("old", "new", "samples", "accuracy, %", "rule", "none"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: plots.accuracy_over_time(path / "a.gif", history(1)), r"\.svg or \.png"),
        (lambda path: plots.accuracy_over_time(path / "a.svg", []), "empty"),
        (lambda path: plots.accuracy_over_time(path / "a.svg", history(3), names=["one"]), "1 names for 3 tasks"),
        (lambda path: plots.switch_increase(path / "a.svg", []), "nothing to draw"),
        (lambda path: plots.curves(path / "a.svg", {"empty": {}}, "x", "y"), "nothing to draw"),
        (lambda path: plots.hidden_histograms(path / "a.svg", {}), "no hidden weights"),
        (lambda path: plots.accuracy_over_time(path / "no" / "a.svg", history(1)), "cannot write"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(tmp_path: Path, call: Any, message: str) -> None:
    with pytest.raises(TrainError, match=message):
        call(tmp_path)
    assert not list(tmp_path.iterdir())
