"""Data through the commands: one name in all of them, nothing changed in silence, nothing broken with a traceback."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabit.data import load
from metabit.runtime import Model

REAL = pytest.mark.skipif("METABIT_DATA_DIR" not in os.environ, reason="METABIT_DATA_DIR is not set: no MNIST here")
SMALL = ("--hidden", 24, "--epochs", 12, "--set", "batch=20")

RNG = np.random.default_rng(0)
Y = RNG.permutation(120) % 3
X = np.clip(RNG.normal([[40, 200, 120, 40], [200, 60, 40, 120], [120, 120, 220, 220]], 20, (40, 3, 4)), 0, 255).astype(
    int
)
X = np.array([X[i // 3, label] for i, label in enumerate(Y)])
"""120 samples of three classes that any network can tell apart, mixed."""


def csv(path: str, rows: np.ndarray, names: str = "", by: str = ",", mark: str = "") -> str:
    lines = [names, *(by.join(map(str, row)) for row in rows.tolist())]
    Path(path).write_text(mark + "\n".join(line for line in lines if line) + "\n", "utf-8")
    return path


def learnt(metabit: Any, *words: object) -> Any:
    """`metabit fresh` and `metabit run --learn` on the data of the first word."""
    assert metabit("fresh", words[0], "-o", "fresh.mbit", "--units", 16).code == 0
    ran = metabit("run", "fresh.mbit", "--data", words[0], "--learn", "--passes", 5, "--json", *words[1:])
    assert ran.code == 0, ran.err
    return ran.json()["after"][words[0]]


def test_what_was_trained_on_a_table_goes_through_every_command_by_its_name(metabit: Any) -> None:
    csv("x.csv", np.column_stack([X, Y]), "a,b,c,d,label")
    ran = metabit("train", "x.csv", *SMALL)
    assert ran.code == 0 and "x.csv: 120 samples of 4 features; 3 classes (0: 40, 1: 40, 2: 40)" in ran.out
    assert metabit("export", "--formats", "mbit").code == 0
    told = metabit("run", "--data", "x.csv", "--json").json()
    assert told["accuracy_before"]["x.csv"] > 0.9 and told["read"]["x.csv"]["classes"] == {"0": 40, "1": 40, "2": 40}
    assert metabit("run", "--data", "x.csv", "--learn").code == 0
    assert metabit("simulate", "--data", "x.csv", "--learn", "--limit", 5, "--json").json()["samples"] == 5
    assert metabit("fresh", "x.csv", "-o", "f.mbit", "--json").json()["features"] == 4
    tuned = metabit("tune", "out/model.mbit", "--data", "x.csv", "--trials", 2, "--rounds", 1, "--json")
    assert tuned.json()["read"]["x.csv"]["train"] == 96 and tuned.json()["order"] == "in file order"
    assert metabit("tune", "--data", "x.csv", "--trials", 2, "--rounds", 1).code == 0
    words = ("verify", "out/checkpoint.safetensors", "--data", "x.csv", "--bits", 3, "--steps", 5, "--board", "rp2040")
    assert metabit(*words).code == 0


def test_a_sequence_by_name_is_one_stream(metabit: Any) -> None:
    metabit("fresh", "rotated-digits", "-o", "f.mbit", "--units", 16)
    ran = metabit("run", "f.mbit", "--data", "rotated-digits", "--learn")
    assert ran.code == 0 and "rotated-digits, 4 tasks in order: 7,188 samples" in ran.out
    words = ("run", "f.mbit", "--data", "rotated-digits", "--also", "rotated-digits:1", "--learn", "--json")
    told = metabit(*words, "--save", "g.mbit").json()
    assert told["samples"] == 4 * 1438 and told["read"]["rotated-digits"]["test"] == 4 * 359
    assert told["read"]["rotated-digits:1"]["test"] == 359
    model, whole = Model.open("f.mbit"), load("rotated-digits").whole()
    model.learn_many(whole.x_train, whole.y_train)
    assert model.image() == Path("g.mbit").read_bytes()


@REAL
def test_a_public_dataset_by_name(metabit: Any) -> None:
    ran = metabit("fresh", "mnist", "-o", "f.mbit")
    assert ran.code == 0 and "784 -> 64 -> 10" in ran.out and "mnist: 70,000 samples of 784 features" in ran.out
    told = metabit("run", "f.mbit", "--data", "mnist", "--learn", "--limit", 500, "--json").json()
    assert told["accuracy_after"]["mnist"] > 0.5


def test_run_keeps_file_order_unless_told_to_shuffle(metabit: Any) -> None:
    order = np.argsort(Y, kind="stable")
    np.savez("sorted.npz", x=X[order], y=Y[order])
    metabit("fresh", "sorted.npz", "-o", "f.mbit", "--units", 16)
    words = ("run", "f.mbit", "--data", "sorted.npz", "--learn", "--passes", 2, "--json", "--save")
    told, shuffled = metabit(*words, "a.mbit").json(), metabit(*words, "b.mbit", "--shuffle").json()
    model, task = Model.open("f.mbit"), load("sorted.npz").whole()
    assert (np.diff(task.y_train) >= 0).all() and (np.diff(task.y_test) >= 0).all()
    for _ in range(2):
        model.learn_many(task.x_train, task.y_train)
    assert model.image() == Path("a.mbit").read_bytes() != Path("b.mbit").read_bytes()
    assert told["order"].startswith("in file order, which shows the classes one after the other")
    assert shuffled["order"] == "in random order"
    board = metabit("simulate", *words[1:-1], "--limit", 10).json()
    assert board["per_sample"] == metabit(*words[:-1], "--limit", 10).json()["per_sample"]


def test_tune_learns_in_every_order_unless_told_which(metabit: Any) -> None:
    np.savez("a.npz", x=X, y=Y)
    words = ("tune", "--data", "a.npz", "--units", 16, "--trials", 1, "--rounds", 1, "--json", "--table")
    told, mixed = metabit(*words, "a.jsonl").json(), metabit(*words, "b.jsonl", "--order", "mixed").json()
    assert (told["orders"], mixed["orders"]) == (["time", "sorted", "mixed"], ["mixed"])
    assert {trial["settings"]["learner"] for trial in told["trials"]} <= {"head, 16 units", "votes"}
    assert Path("a.jsonl").read_text() != Path("b.jsonl").read_text()


def test_a_rare_class_that_is_never_found_shows(metabit: Any) -> None:
    y = (np.arange(200) % 25 == 7).astype(int)
    np.savez("rare.npz", x=RNG.integers(0, 256, (200, 8)), y=y)
    metabit("fresh", "rare.npz", "-o", "f.mbit", "--units", 16)
    words = ("run", "f.mbit", "--data", "rare.npz", "--learn", "--save", "g.mbit")
    ran, after = metabit(*words), metabit(*words, "--json").json()["after"]["rare.npz"]
    assert "balanced" in ran.out and "recall before" in ran.out
    matrix, right = np.array(after["confusion"]), np.diag(after["confusion"])
    task, model = load("rare.npz").whole(), Model.open("g.mbit")
    predicted = model.predict_many(task.x_test)
    for true in (0, 1):
        for found in (0, 1):
            assert matrix[true, found] == ((task.y_test == true) & (predicted == found)).sum()
    assert after["accuracy"] == right.sum() / matrix.sum()
    assert list(after["recall"].values()) == (right / matrix.sum(1)).tolist()
    assert after["balanced_accuracy"] == pytest.approx((right / matrix.sum(1)).mean())


def test_the_matrix_is_left_out_where_it_is_too_wide(metabit: Any) -> None:
    np.savez("many.npz", x=RNG.integers(0, 256, (100, 8)), y=np.arange(100) % 20)
    metabit("fresh", "many.npz", "-o", "f.mbit", "--units", 16)
    ran = metabit("run", "f.mbit", "--data", "many.npz")
    assert ran.code == 0 and "recall" in ran.out and "predicted as this class" not in ran.out


def test_a_mark_and_an_index_column_change_nothing_that_is_learnt(metabit: Any) -> None:
    plain = learnt(metabit, csv("plain.csv", np.column_stack([Y, X]), "label,a,b,c,d"))
    assert learnt(metabit, csv("mark.csv", np.column_stack([Y, X]), "label,a,b,c,d", mark="\ufeff")) == plain
    assert learnt(metabit, csv("semicolon.csv", np.column_stack([X, Y]), by=";")) == plain
    assert learnt(metabit, csv("index.csv", np.column_stack([np.arange(120), X, Y]), ",a,b,c,d,label")) == plain
    said = metabit("run", "fresh.mbit", "--data", "index.csv")
    assert "metabit: warning: index.csv: the unnamed column 1 is a row index and was left out" in said.err
    assert metabit("fresh", "index.csv,index=keep", "-o", "f.mbit", "--json").json()["features"] == 5


@pytest.mark.parametrize("names", [("idle", "run", "walk"), (0, 1000, 5000), (1, 2, 3), (5, 9, 16383)])
def test_labels_of_any_kind_are_classes_with_names(metabit: Any, names: tuple[Any, ...]) -> None:
    np.savez("plain.npz", x=X, y=Y)
    plain = learnt(metabit, "plain.npz")
    np.savez("named.npz", x=X, y=np.array(names)[Y])
    named = learnt(metabit, "named.npz")
    assert named["confusion"] == plain["confusion"] and list(named["recall"]) == [str(name) for name in names]
    ran = metabit("run", "fresh.mbit", "--data", "named.npz")  # by the names in the image
    assert ran.code == 0 and not ran.err and str(names[2]) in ran.out
    made = metabit("fresh", "named.npz", "-o", "again.mbit")
    assert f"{names[0]}, {names[1]}, {names[2]} are classes 0 to 2" in made.err
    assert metabit("train", "named.npz", *SMALL[:2], "--epochs", 1).code == 0
    from metabit import train

    found = train.load_checkpoint("out/checkpoint.safetensors")
    assert isinstance(found, train.GatesCheckpoint) and found.class_names == tuple(map(str, names))
    assert metabit("train", "named.npz", *SMALL[:2], "--epochs", 1, "--m", 1).code == 0
    paper = train.load_checkpoint("out/checkpoint.safetensors")
    assert paper.provenance["class_names"] == [str(n) for n in names]


@pytest.mark.parametrize("verb", ["train", "fresh", "run", "simulate", "tune", "verify"])
def test_broken_data_is_one_sentence_in_every_command(metabit: Any, image: Path, verb: str) -> None:
    np.savez("one.npz", x=np.zeros((30, 64), np.uint8), y=np.zeros(30, int))
    np.savez("cut.npz", x=X, y=Y)
    Path("cut.npz").write_bytes(Path("cut.npz").read_bytes()[:300])
    csv("gap.csv", np.array([["1", "0"], ["1_0", "1"], ["3", "0"]]))
    for name, words in (
        ("one.npz", "one class only (0)"),
        ("cut.npz", "cut.npz is no readable .npz"),
        ("gap.csv", "line 2, column 1: '1_0' is no number"),
        ("nothing", "unknown data 'nothing'"),
    ):
        given = [name] if verb in ("train", "fresh") else ["--data", name]
        ran = metabit(verb, *([image] if verb in ("run", "simulate") else []), *given)
        ran.fails(words)
        assert not ran.out
    assert not Path("out").exists()


def test_a_label_that_only_the_test_part_has(metabit: Any) -> None:
    few = Y < 2
    np.savez("unseen.npz", x=X[few], y=Y[few], x_test=X, y_test=Y)
    assert learnt(metabit, "unseen.npz")["recall"]["2"] == 0


def test_a_column_of_labels_is_raveled_and_said(metabit: Any) -> None:
    np.savez("column.npz", x=X, y=Y[:, None])
    np.savez("plain.npz", x=X, y=Y)
    assert learnt(metabit, "column.npz") == learnt(metabit, "plain.npz")
    assert "y has shape (120, 1) and was raveled" in metabit("fresh", "column.npz", "-o", "f.mbit").err


def test_the_split_is_that_of_the_seed(metabit: Any) -> None:
    """A network must not be tested on what it was trained on: run takes the seed that train took."""
    np.savez("a.npz", x=X, y=Y)
    metabit("fresh", "a.npz", "-o", "f.mbit", "--seed", 3)
    ran = metabit("run", "f.mbit", "--data", "a.npz", "--seed", 3)
    assert "drawn with seed 3" in ran.out


def test_run_predicts_each_test_sample_once_before_and_once_after(
    metabit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez("a.npz", x=X, y=Y)
    metabit("fresh", "a.npz", "-o", "f.mbit", "--units", 16)
    opened, predicted, open_model, predict = [], [], Model.open.__func__, Model._predict  # type: ignore[attr-defined]
    monkeypatch.setattr(Model, "open", classmethod(lambda cls, path: (opened.append(path), open_model(cls, path))[1]))

    def counted(self: Model, x: Any, *more: Any, **options: Any) -> Any:
        predicted.append(len(x))
        return predict(self, x, *more, **options)

    monkeypatch.setattr(Model, "_predict", counted)
    for more in ([], ["--learn"]):  # the rivals' own lines predict as well
        opened.clear()
        predicted.clear()
        assert metabit("run", "f.mbit", "--data", "a.npz", "--no-rivals", *more).code == 0
        assert len(opened) == 1 and predicted == [24] * (1 + len(more))
