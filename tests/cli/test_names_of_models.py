"""A model keeps the names of its features and classes, and data are matched to it by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabit.experiments.stream import Tally
from metabit.runtime import Model, Steps

NAMES = np.array(["idle", "run", "walk"])


def table(path: str, columns: str, labels: np.ndarray | None = None) -> None:
    """A table of four features; the first three tell the classes. columns: their names in the order of the file."""
    rng, y = np.random.default_rng(3), np.arange(150) % 3
    values = dict(zip("abcd", (rng.normal(size=(150, 4)) + 6 * np.eye(4)[y]).T, strict=True))
    words = NAMES[y] if labels is None else labels[y]
    rows = [",".join([*(f"{values[name][i]:.5g}" for name in columns), str(words[i])]) for i in range(150)]
    Path(path).write_text("\n".join([",".join([*columns, "label"]), *rows]) + "\n")


@pytest.fixture
def learned(metabit: Any) -> Path:
    table("x.csv", "abcd")
    assert metabit("fresh", "x.csv", "-o", "f.mbit", "--units", 32).code == 0
    words = ("run", "f.mbit", "--data", "x.csv", "--learn", "--save", "l.mbit", "--no-rivals")
    assert metabit(*words).code == 0
    return Path("l.mbit")


def test_columns_are_matched_by_their_names(metabit: Any, learned: Path) -> None:
    table("moved.csv", "dbac")
    here, there = (metabit("run", learned, "--data", name, "--json").json() for name in ("x.csv", "moved.csv"))
    assert here["accuracy_before"]["x.csv"] == there["accuracy_before"]["moved.csv"] > 0.9
    Path("other.csv").write_text(Path("x.csv").read_text().replace("a,b,c,d", "a,b,e,d", 1))
    metabit("run", learned, "--data", "other.csv").fails("other.csv has no feature c", "rename the column")


def test_a_network_without_class_names_takes_those_that_it_learns(metabit: Any) -> None:
    table("x.csv", "abcd")
    table("turned.csv", "abcd", np.array(["walk", "idle", "run"]))  # numbered otherwise if it were read alone
    metabit("fresh", "--ranges", "4*-4..10", "--classes", 3, "--units", 32, "-o", "f.mbit")
    assert Model.open("f.mbit").inputs.classes == ()
    metabit("run", "f.mbit", "--data", "x.csv", "--learn", "--save", "l.mbit", "--no-rivals")
    assert Model.open("l.mbit").class_names == tuple(NAMES)
    told = [metabit("run", "l.mbit", "--data", name, "--json").json() for name in ("x.csv", "turned.csv")]
    right, wrong = (run["accuracy_before"][name] for run, name in zip(told, ("x.csv", "turned.csv"), strict=True))
    assert right > 0.9 and wrong < 0.1, "the names decide, not the order of the labels in a file"


def test_words_for_numbered_classes_are_not_guessed(metabit: Any) -> None:
    table("n.csv", "abcd", np.arange(3))
    table("words.csv", "abcd")
    metabit("train", "n.csv", "--epochs", 2)
    metabit("export", "--spare-classes", 1, "--formats", "mbit")
    metabit("run", "--data", "words.csv").fails("labels in words", "3 classes are numbers", "classes=NAME")
    told = metabit("run", "--data", "words.csv,classes=idle/run/walk", "--json")
    assert told.json()["after"]["words.csv,classes=idle/run/walk"]["recall"]


def test_tune_keeps_room_for_classes_to_come(metabit: Any) -> None:
    table("x.csv", "abcd")
    metabit("train", "x.csv", "--epochs", 2)
    words = ("tune", "out/checkpoint.safetensors", "--data", "x.csv", "--trials", 1, "--rounds", 1, "--no-rivals")
    assert metabit(*words, "--spare-classes", 2, "-o", "t.mbit").code == 0
    assert Model.open("t.mbit").classes == 5
    metabit(*words, "--spare-classes", 126).fails("--spare-classes 126", "give fewer")
    metabit("tune", "t.mbit", "--data", "x.csv", "--spare-classes", 1).fails("belongs to a checkpoint")
    metabit("export", "--spare-classes", 200).fails("--spare-classes 200", "at most 125")


def test_a_chunk_that_was_stopped_is_not_counted() -> None:
    counts = np.full(100, 3, np.uint32)
    tally = Tally()
    tally.learned(100, Steps(counts, counts > 9, counts, counts, counts))
    tally.predicted(counts, counts)
    tally.samples = 150  # as after Ctrl-C in the second chunk
    assert tally.prequential == 1 and tally.per_sample()["visited"] == 3
