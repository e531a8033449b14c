"""The default network by its commands: any numbers -> train -> export -> run, learn, save, with names all the way."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metabit import train
from metabit.cli import datasets
from metabit.data import load
from metabit.export import read_image
from metabit.runtime import Model
from metabit.train import recipe
from metabit.train.gates_checkpoint import GatesCheckpoint

torch.set_num_threads(1)
RNG = np.random.default_rng(5)
SCALE = np.array([1, 1000, 0.001, 1, 30])
NAMES = np.array(["idle", "run", "walk", "jump"])
Y = RNG.permutation(240) % 4
X = (RNG.normal(size=(240, 5)) + 5 * np.eye(5)[Y]) * SCALE
QUICK = ("--epochs", 25)


def csv(path: str, rows: np.ndarray, labels: np.ndarray, header: str = "a,b,c,d,e,label") -> str:
    cells = [",".join([*(f"{value:.6g}" for value in row), str(y)]) for row, y in zip(rows, labels, strict=True)]
    Path(path).write_text("\n".join([header, *cells]) + "\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of three of four classes of a table of floats."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        known = Y < 3
        task = load(csv("x.csv", X[known], NAMES[Y[known]]), warn=lambda note: None).whole()
        from metabit.train.recipe_run import RecipeSettings, run_recipe

        run_recipe(task, RecipeSettings(epochs=40)).checkpoint({"data": "x.csv"}).write("checkpoint.safetensors")
    return folder / "checkpoint.safetensors"


@pytest.fixture
def files(metabit: Any) -> None:
    """x.csv: three classes. all.csv: a fourth. jump.csv: only the fourth."""
    known = Y < 3
    csv("x.csv", X[known], NAMES[Y[known]])
    csv("all.csv", X, NAMES[Y])
    csv("jump.csv", X[~known], NAMES[Y[~known]])


def test_a_table_of_floats_from_training_to_a_learned_image(metabit: Any, files: None) -> None:
    ran = metabit("train", "x.csv", *QUICK, "--plot")
    assert (
        ran.code == 0
        and "x.csv: 180 samples of 5 features (float32); 3 classes (idle: 60, run: 60, walk: 60)" in ran.out
    )
    assert (
        "5 features, 16 thresholds each, 32 gates, 3 classes" in ran.out
        and "25 epochs on x.csv, test accuracy" in ran.out
    )
    assert {path.name for path in Path("out").iterdir()} == {
        "checkpoint.safetensors", "history.json", "history.csv", "accuracy.svg", "hidden.svg",
    }  # fmt: skip
    history = json.loads(Path("out/history.json").read_text())["history"]
    assert len(history) == 25 and history[-1]["accuracy"][0] > 0.8
    ran = metabit("export", "--spare-classes", 1)
    assert (
        ran.code == 0 and "learner head: " in ran.out and "model.h" in ran.out and ", runtime: equal integer" in ran.out
    )
    model, task = Model.open("out/model.mbit"), load("x.csv", warn=lambda note: None).whole()
    assert model.class_names == ("idle", "run", "walk", "class 3") and model.feature_names == tuple("abcde")
    right = model.predict_many(task.x_test) == task.y_test
    told = metabit("run", "--data", "x.csv", "--json").json()
    assert told["accuracy_before"]["x.csv"] == right.mean() > 0.8
    words = ("run", "--data", "x.csv", "--learn", "--save", "out/learned.mbit", "--json")
    assert metabit(*words).json()["samples"] == 144
    model.learn_many(task.x_train, task.y_train)
    assert Path("out/learned.mbit").read_bytes() == model.image()


def bitmaps() -> tuple[np.ndarray, np.ndarray]:
    """Pictures of 8x8 as floats 0.0 and 1.0, four classes, with a tenth of the pixels turned over."""
    rng = np.random.default_rng(6)
    pattern, y = rng.random((4, 64)) < 0.5, np.arange(160) % 4
    return (pattern[y] ^ (rng.random((160, 64)) < 0.1)).astype(float), y


def ranges() -> tuple[np.ndarray, np.ndarray]:
    """Only features of small range tell the classes; others span thousands."""
    rng, y = np.random.default_rng(7), np.arange(160) % 2
    wide = rng.integers(-5000, 5000, (160, 6))
    return np.column_stack([wide, 100 + 3 * y[:, None] + rng.integers(-1, 2, (160, 3))]), y


@pytest.mark.parametrize(
    ("data", "names", "dtype", "thresholds"),
    [
        (bitmaps, (0, 1, 2, 3), "uint8", 1),
        (bitmaps, (0, 1000, 5000, 7), "uint8", 1),
        (ranges, ("no", "yes"), "int16", 16),
        (ranges, (1, 2), "int16", 16),
    ],
)
def test_bits_and_features_of_any_range_and_labels_with_gaps(
    metabit: Any, data: Any, names: Any, dtype: str, thresholds: int
) -> None:
    x, y = data()
    np.savez("own.npz", x=x, y=np.array(names)[y])
    facts = metabit("train", "own.npz", "--epochs", 40, "--json").json()
    assert facts["network"]["thresholds"] == thresholds and facts["test_accuracy"] > 0.9
    told = metabit("export", "--formats", "mbit", "--json").json()
    assert told["learner"] == "head"
    model, ran = Model.open("out/model.mbit"), metabit("run", "--data", "own.npz", "--learn", "--json", "--no-rivals")
    labels = sorted(names)
    assert model.class_names == tuple(map(str, labels)) and model.inputs.dtype.name == dtype
    assert list(ran.json()["after"]["own.npz"]["recall"]) == list(model.class_names)
    predicted = np.array(labels)[model.predict_many(x)]
    assert (predicted == np.array(names)[y]).mean() > 0.9
    for form in (np.float32, np.float64, np.int32):
        assert np.array_equal(model.scores(x.astype(form)), model.scores(x))


def test_pictures_in_folders(metabit: Any) -> None:
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(8)
    for i in range(60):
        for c, name in enumerate(("bar", "dot")):
            pixels = rng.integers(0, 60, (24, 24)).astype(np.uint8)
            pixels[10:14, 4:20] += 150 if c == 0 else 0
            pixels[8:16, 8:16] += 150 if c == 1 else 0
            folder = Path("pictures", name)
            folder.mkdir(parents=True, exist_ok=True)
            image.fromarray(pixels).save(folder / f"{i}.png")
    facts = metabit("train", "pictures", "--epochs", 15, "--set", "shared=true", "--json").json()
    assert facts["network"]["thresholds"] == 1 and facts["network"]["features"] == 576 and facts["test_accuracy"] > 0.9
    assert metabit("export", "--formats", "mbit").code == 0
    told = metabit("inspect", "--json").json()
    assert told["names"]["classes"] == ["bar", "dot"] and "ranges" not in told["names"]
    assert metabit("run", "--data", "pictures", "--json").json()["accuracy_before"]["pictures"] > 0.9


def test_a_class_that_is_new_takes_a_spare_row_and_its_name_is_saved(metabit: Any, files: None, trained: Path) -> None:
    assert metabit("export", trained, "-o", "out", "--spare-classes", 1, "--formats", "mbit").code == 0
    ran = metabit("run", "--data", "all.csv", "--also", "x.csv", "--learn", "--save", "out/four.mbit", "--no-rivals")
    assert ran.code == 0 and "all.csv: jump: new to the model, class 3" in ran.err and "jump" in ran.out
    learned = Model.open("out/four.mbit")
    assert learned.class_names == ("idle", "run", "walk", "jump") and learned.steps == 192
    told = metabit("run", "out/four.mbit", "--data", "all.csv", "--json").json()
    assert told["after"]["all.csv"]["recall"]["jump"] > 0.7
    # the new class alone, and then again under its name
    ran = metabit("run", "--data", "jump.csv", "--learn", "--save", "out/alone.mbit", "--json", "--no-rivals").json()
    assert ran["read"]["jump.csv"]["classes"] == {"idle": 0, "run": 0, "walk": 0, "jump": 60}
    ran = metabit("run", "out/alone.mbit", "--data", "all.csv", "--json").json()
    assert ran["after"]["all.csv"]["recall"]["jump"] > 0.7
    # the state is that of the model in memory, whatever was said about names
    frozen, model = read_image(Path("out/alone.mbit").read_bytes()), Model.open("out/model.mbit")
    alone = load("jump.csv", known=("idle", "run", "walk"), outputs=4, warn=lambda note: None).whole()
    model.learn_many(alone.x_train, alone.y_train)
    assert Model.open("out/alone.mbit").state() == model.state() and frozen.counters.steps == 48


def test_a_new_class_without_a_spare_row_is_one_sentence(metabit: Any, files: None, trained: Path) -> None:
    metabit("export", trained, "-o", "out", "--formats", "mbit")
    for more in ((), ("--learn",)):
        metabit("run", "--data", "all.csv", *more).fails(
            "all.csv has labels", "(jump)", "no spare class", "--spare-classes"
        )
    metabit("run", "--data", "x.csv", "--also", "all.csv").fails("(jump)", "--spare-classes")


def test_labels_are_classes_by_name_in_any_file(metabit: Any, files: None, trained: Path) -> None:
    metabit("export", trained, "-o", "out", "--formats", "mbit")
    some = (Y == 2) | (Y == 1)
    csv("some.csv", X[some], NAMES[Y[some]])
    told = metabit("run", "--data", "some.csv", "--json").json()
    assert told["read"]["some.csv"]["classes"] == {"idle": 0, "run": 60, "walk": 60}
    assert told["accuracy_before"]["some.csv"] > 0.8
    csv("one.csv", X[Y == 1], NAMES[Y[Y == 1]])
    metabit("run", "--data", "one.csv").fails("one.csv has one class only (run)")


def test_values_out_of_range_are_limited_and_counted(metabit: Any, files: None, trained: Path) -> None:
    metabit("export", trained, "-o", "out", "--formats", "mbit")
    far = X[Y < 3].copy()
    far[:7, 1] *= 1e6
    csv("far.csv", far, NAMES[Y[Y < 3]])
    ran = metabit("run", "--data", "far.csv")
    assert (
        ran.code == 0
        and "far.csv: 7 of 900 values lie outside the range of training" in ran.err
        and "(b: 7)" in ran.err
    )
    assert "outside" not in metabit("run", "--data", "x.csv").err


def test_a_gap_is_named_by_every_door(metabit: Any, files: None, trained: Path) -> None:
    metabit("export", trained, "-o", "out", "--formats", "mbit")
    x = X.copy()
    x[3, 2] = np.nan
    np.savez("gap.npz", x=x, y=Y)
    for words in (("train", "gap.npz"), ("run", "--data", "gap.npz"), ("fresh", "gap.npz")):
        metabit(*words).fails("x[3, 2] is nan: features must be finite")


def test_a_board_computes_and_learns_the_same(metabit: Any, files: None, trained: Path) -> None:
    metabit("export", trained, "-o", "out", "--spare-classes", 1, "--formats", "mbit")
    words = ("--data", "all.csv", "--learn", "--limit", 12, "--no-rivals", "--json")
    board = metabit("simulate", *words, "--board", "rp2040").json()
    here = metabit("run", *words).json()
    assert board["accuracy_after"] == here["accuracy_after"] and board["prequential"] == here["prequential"]


def test_without_data_it_is_the_built_in_data_of_the_training(
    metabit: Any, files: None, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metabit("export", trained, "-o", "out", "--formats", "mbit")
    image = Path("out/model.mbit")
    monkeypatch.setattr(datasets, "trained_on", lambda image: "mnist")
    assert datasets.of_model(None, image, read_image(image.read_bytes()), 0) == "mnist"
    assert datasets.of_model("all.csv", image, read_image(image.read_bytes()), 0) == "all.csv"


def test_every_engine_agrees(metabit: Any, files: None, trained: Path) -> None:
    ran = metabit("verify", trained, "--data", "x.csv", "--steps", 12, "--board", "rp2040")
    assert ran.code == 0 and "all equal" in ran.out and "head" in ran.out and "levels" in ran.out
    told = metabit("verify", "--data", "x.csv", "--steps", 3, "--board", "rp2040", "--json").json()
    assert told["equal"] and {row["bits"] for row in told["engines"]} == {"head", "levels"}


@pytest.mark.parametrize(
    ("words", "learner", "learns"),
    [((), "head", True), (("--learner", "levels", "--m", 1), "levels", True), (("--learner", "none"), "none", False)],
)
def test_a_learner_of_choice(metabit: Any, files: None, trained: Path, words: Any, learner: str, learns: bool) -> None:
    told = metabit("export", trained, "-o", "out", "--formats", "mbit", "--json", *words).json()
    assert told["learner"] == Model.open("out/model.mbit").learner == learner
    ran = metabit("run", "--data", "x.csv", "--learn", "--no-rivals", "--json")
    if learns:
        assert ran.json()["accuracy_after"]["x.csv"] > 0.8
    else:
        ran.fails("nothing to learn")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--learner visits", ("--learner visits", "networks of the paper", "head, levels and none")),
        ("--learner votes", ("--learner votes", "head, levels and none")),
        ("--learner trees", ("learner='trees'",)),
        ("--bits 4", ("--bits belongs to networks of the paper",)),
        ("--backward ternary", ("--backward belongs to networks of the paper",)),
        ("--m 2", ("--m is of levels that learn", "the learner is head")),
        ("--m auto", ("--m auto",)),
        ("--learner none --spare-classes 2", ("--spare-classes is of a head", "learner is none")),
        ("--learner levels --rows 2", ("--rows is of a head", "learner is levels")),
        ("--rows 9", ("--rows 9", "1 to 8")),
        ("--memory 0", ("memory=0", "1 to 1023")),
        ("--prior maybe", ("--prior maybe: must be on or off",)),
        ("--spare-classes 126", ("126 spare", "128")),
    ],
)
def test_a_learner_that_cannot_be_is_refused_with_the_way_out(
    metabit: Any, trained: Path, words: str, said: tuple[str, ...]
) -> None:
    if words == "--spare-classes 126":
        words, said = "--learner head --spare-classes 126", ("129 classes, spare ones included", "at most 128")
    ran = metabit("export", trained, "-o", "out", *words.split())
    assert not Path("out").exists()
    ran.fails(*said)


def test_networks_of_the_paper_refuse_what_is_of_a_head(metabit: Any, data: Path) -> None:
    assert metabit("train", data, "--preset", "mlp-tiny", "--epochs", 1, "-o", "p").code == 0
    for words, said in (
        ("--spare-classes 2", "train the default network"),
        ("--learner head", "train the default network"),
        ("--learner votes", "choose visits"),
        ("--learner none --bits 4", "has 1 bit"),
    ):
        metabit("export", "p/checkpoint.safetensors", *words.split()).fails(words.split()[0], said)
    for words, learner in (
        ("", "visits"),
        ("--learner visits", "visits"),
        ("--learner none", "none"),
        ("--bits 1", "none"),
    ):
        assert metabit("export", "p/checkpoint.safetensors", "--formats", "mbit", *words.split()).code == 0
        assert Model.open("p/model.mbit").learner == learner


def test_names_of_a_network_of_the_paper_are_exported(metabit: Any) -> None:
    csv("n.csv", np.random.default_rng(9).integers(0, 256, (90, 5)), NAMES[np.arange(90) % 3])
    assert metabit("train", "n.csv", "--hidden", 24, "--epochs", 1, "--m", 3).code == 0
    assert metabit("export").code == 0
    model = Model.open("out/model.mbit")
    assert model.class_names == ("idle", "run", "walk") and model.feature_names == tuple("abcde")


def test_more_gates_than_a_head_takes(metabit: Any, files: None) -> None:
    assert metabit("train", "x.csv", "--preset", "normed-128", "--epochs", 2).code == 0
    ran = metabit("export", "--formats", "mbit")
    assert ran.code == 0 and "the learner is levels" in ran.err and "learner levels: " in ran.out
    metabit("export", "--learner", "head").fails("a head takes at most 64 gates", "128")


def test_inspect_tells_the_learner_to_the_byte(metabit: Any, trained: Path) -> None:
    metabit(
        "export", trained, "-o", "out", "--spare-classes", 2, "--memory", 100, "--prior", "off", "--formats", "mbit"
    )
    told, ran = metabit("inspect", "--json"), metabit("inspect")
    learner, memory = told.json()["learner"], told.json()["memory"]
    h, rows = 64, 5
    assert learner["bytes"] == h * (h + 2) + rows * (4 + 4 + 2 * h + 2 + h) + 6 == memory["RAM: state"] - 16
    assert {name: learner[name] for name in ("classes", "spare classes", "rows", "values", "memory", "prior")} == {
        "classes": 5, "spare classes": 2, "rows": rows, "values": h, "memory": 100, "prior": "off",
    }  # fmt: skip
    names = told.json()["names"]
    assert names["classes"] == ["idle", "run", "walk"] and names["takes"] == "int16" and len(names["ranges"]) == 5
    assert all(
        low < X[Y < 3][:, i].min() and X[Y < 3][:, i].max() < high for i, (low, high) in enumerate(names["ranges"])
    )
    assert "learner head, bytes" in ran.out and "classes: idle, run, walk" in ran.out and "b -" in ran.out


def test_the_header_holds_what_the_model_says(metabit: Any, trained: Path) -> None:
    metabit("export", trained, "-o", "out", "--spare-classes", 1, "--formats", "mbit")
    model = Model.open("out/model.mbit")
    Path("main.c").write_text(
        '#include <stdio.h>\n#include "out/model.h"\n'
        "static const char *const names[MODEL_CLASSES] = MODEL_CLASS_NAMES;\n"
        "static const char *const features[MODEL_FEATURES] = MODEL_FEATURE_NAMES;\n"
        "static const float low[] = MODEL_LOW, steps[] = MODEL_STEPS;\n"
        "static uint32_t state[MODEL_STATE_WORDS], arena[MODEL_ARENA_WORDS];\n"
        "int main(void) { MODEL_FEATURE_TYPE x[MODEL_FEATURES];\n"
        '  printf("%u %u %u %u\\n", (unsigned)sizeof state, (unsigned)sizeof arena, (unsigned)sizeof x, MODEL_IMAGE_BYTES);\n'
        '  for (int i = 0; i < MODEL_CLASSES; i++) { printf("%s|", names[i]); }\n'
        '  for (int i = 0; i < MODEL_FEATURES; i++) { printf("\\n%s %.9g %.9g", features[i], low[i], steps[i]); }\n'
        "  return 0; }\n"
    )
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "main.c", "-o", "main"], check=True)
    first, names, *rows = subprocess.run(["./main"], check=True, capture_output=True, text=True).stdout.splitlines()
    assert list(map(int, first.split())) == [
        model.state_size, model.arena_size(), model.input_size, Path("out/model.mbit").stat().st_size,
    ]  # fmt: skip
    assert names == "idle|run|walk||"
    assert model.inputs.scale is not None
    for row, name, low, steps in zip(rows, "abcde", *model.inputs.scale, strict=True):
        title, a, b = row.split()
        assert title == name and (np.float32(a), np.float32(b)) == (low, steps)


def test_own_tasks_are_learnt_together_and_said(metabit: Any) -> None:
    np.savez("t.npz", x=X, y=Y, task=np.arange(240) % 3)
    ran = metabit("train", "t.npz", "--epochs", 2)
    assert ran.code == 0 and "All 3 tasks are learnt together" in ran.out and "240 samples" in ran.out
    assert metabit("train", "t.npz", "--epochs", 2, "--json").json()["tasks"] == 3


def test_a_sequence_of_the_table_keeps_the_network_of_the_paper(metabit: Any) -> None:
    assert metabit("train", "rotated-digits", "--tasks", 1, "--epochs", 1, "--hidden", 24).code == 0
    assert not isinstance(train.load_checkpoint("out/checkpoint.safetensors"), GatesCheckpoint)
    for name in ("digits", "rotated-digits:2"):
        assert metabit("train", name, "--epochs", 1).code == 0
        found = train.load_checkpoint("out/checkpoint.safetensors")
        assert isinstance(found, GatesCheckpoint) and found.class_names == tuple("0123456789")
    metabit("train", "digits", "--set", "bits=4", "--m", 2).fails("bits=4", "m=2", "leave one out")
    metabit("train", "digits", "--preset", "normed-32", "--resume").fails("--resume", "trained in one go")


def test_a_network_of_the_paper_refuses_other_numbers(metabit: Any, files: None) -> None:
    ran = metabit("train", "x.csv", "--m", 3, "-o", "p")
    said = ran.err.splitlines()[-1]
    assert ran.code == 1 and said.startswith("metabit: x.csv has features from -") and "(float32)" in said
    assert "takes whole numbers from 0 to 255" in said and "train the default network" in said
    assert not Path("p").exists()


def interrupt(monkeypatch: pytest.MonkeyPatch, at: int) -> Any:
    """Ctrl-C at the batch of this number, counted from 0. Returns what draws batches otherwise."""
    step, count = recipe._Batches.next, iter(range(10**9))

    def interrupted(batches: Any) -> Any:
        if next(count) == at:
            signal.raise_signal(signal.SIGINT)
        return step(batches)

    monkeypatch.setattr(recipe._Batches, "next", interrupted)
    return step


def test_ctrl_c_leaves_a_checkpoint_that_works(metabit: Any, files: None, monkeypatch: pytest.MonkeyPatch) -> None:
    step = interrupt(monkeypatch, 20)
    ran = metabit("train", "x.csv")
    assert ran.code == 130 and "Interrupted after 21 steps: the network is saved as it was then" in ran.out
    assert "0 epochs" not in ran.out and "in place" not in ran.out and "not judged" not in ran.out
    monkeypatch.setattr(recipe._Batches, "next", step)
    assert metabit("export", "--formats", "mbit").code == 0
    assert metabit("run", "--data", "x.csv", "--json").json()["accuracy_before"]["x.csv"] > 0.5


def test_a_feature_that_had_one_value_in_training_is_named(metabit: Any) -> None:
    x = X.copy()
    x[:, 1] = 12.5
    csv("one.csv", x, NAMES[Y])
    csv("all.csv", X, NAMES[Y])
    assert "does not look" not in metabit("train", "one.csv", "--epochs", 2).err
    metabit("export", "--formats", "mbit")
    said = metabit("run", "--data", "all.csv").err
    assert "all.csv: the model does not look at b, which varies here and had one value" in said
    assert "does not look" not in metabit("run", "--data", "one.csv").err
    assert "one.csv,all.csv: the network does not look at b" in metabit("train", "one.csv,all.csv", "--epochs", 2).err


def test_ctrl_c_in_the_first_epoch_says_how_far_it_came(
    metabit: Any, files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(monkeypatch, 1)
    ran = metabit("train", "x.csv")
    assert ran.code == 130 and "Interrupted after 2 steps" in ran.out
    assert "out/checkpoint.safetensors: 2 steps of the first epoch on x.csv, test accuracy" in ran.out
    interrupt(monkeypatch, 1)
    told = metabit("train", "x.csv", "--json").json()
    assert told["judged"] is None and told["not_judged"] == "the training was interrupted" and told["steps"] == 2


def test_without_data_the_error_names_those_of_training(metabit: Any, files: None, trained: Path) -> None:
    metabit("export", trained, "-o", "out", "--formats", "mbit")
    for verb in ("run", "simulate"):
        metabit(verb).fails("--data is missing: out/model.mbit was trained on x.csv", "give --data x.csv")
    metabit("run", "--data", "x.csv", "--learn", "--save", "out/learned.mbit", "--no-rivals")
    metabit("run", "out/learned.mbit").fails("--data is missing", "give your data by --data")
    metabit("export", "out/model.mbit", "-o", "again", "--formats", "mbit")
    metabit("run", "again/model.mbit").fails("was trained on x.csv")
    metabit("export", "out/learned.mbit", "-o", "other", "--spare-classes", 1).fails(
        "--spare-classes 1: out/learned.mbit has room", "export its checkpoint.safetensors with --spare-classes 1"
    )
    metabit("fresh", "x.csv", "-o", "f.mbit", "--units", 8)
    metabit("export", "f.mbit", "-o", "other", "--spare-classes", 1).fails("metabit fresh DATA --spare-classes 1")
    assert not Path("other").exists()


def test_own_data_as_wide_as_digits_are_not_taken_for_them(metabit: Any) -> None:
    rng = np.random.default_rng(0)
    np.savez("wide.npz", x=rng.integers(0, 16, (80, 64)), y=np.arange(80) % 10)
    metabit("train", "wide.npz", "--epochs", 1)
    metabit("export", "--formats", "mbit")
    metabit("run").fails("was trained on wide.npz")
    metabit("train", "digits", "--epochs", 1)
    metabit("export", "--formats", "mbit")
    assert metabit("run").code == 0
