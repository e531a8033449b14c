"""metabit import, and what follows it: metabit export and metabit train --start"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import conv, fresh_network, windowed

from metabit import train
from metabit.export import read_image, write_image
from metabit.export.bundle import FORMATS
from metabit.runtime import Model


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data and both kinds of networks: out/default, out/paper."""
    import command_line

    folder = tmp_path_factory.mktemp("import")
    x = np.random.default_rng(0).integers(0, 256, (80, 6)).astype(np.uint8)
    np.savez(folder / "my.npz", x=x, y=np.where(x[:, 0] > 127, "high", "low"))
    data = folder / "my.npz"
    small = ("--epochs", 2, "--hidden", 8)
    assert command_line.run("train", data, "-o", folder / "default", *small) == 0
    assert command_line.run("train", data, "-o", folder / "paper", *small, "--m", 5) == 0
    for kind in ("default", "paper"):
        assert command_line.run("export", folder / kind / "checkpoint.safetensors") == 0
        model = Model.open(folder / kind / "model.mbit")
        model.learn_many(x, (x[:, 1] > 127).astype(int))
        model.save(folder / kind / "learned.mbit")
    return folder


@pytest.mark.parametrize("kind", ["default", "paper"])
def test_a_learned_network_comes_home_and_trains_on(kind: str, trained: Path, metabit: Any, tmp_path: Path) -> None:
    learned, home = trained / kind / "learned.mbit", tmp_path / "home" / "checkpoint.safetensors"
    told = metabit("import", learned, "-o", home.parent, "--json").json()
    assert (told["kind"], told["learner"]) == (kind, {"default": "head", "paper": "visits"}[kind])
    assert (told["steps"], told["features"], told["classes"]) == (80, 6, 2) and told["checkpoint"] == str(home)
    assert metabit("export", home, "-o", tmp_path / "back").code == 0
    assert (tmp_path / "back" / "model.mbit").read_bytes() == learned.read_bytes()
    for name in ("model.onnx", "model.tflite"):  # any file has all of it
        assert metabit("import", tmp_path / "back" / name, "-o", tmp_path / name).code == 0
        other = train.load_checkpoint(tmp_path / name / "checkpoint.safetensors")
        assert other.device == learned.read_bytes()
    ran = metabit(
        "train", trained / "my.npz", "--start", home, "-o", tmp_path / "on", "--epochs", 2, "--seed", 3, "--json"
    )
    assert ran.code == 0 and ran.json()["epochs"] == 2
    found = train.load_checkpoint(tmp_path / "on" / "checkpoint.safetensors")
    used = found.provenance["settings"] if kind == "paper" else found.settings
    assert used["epochs"] == 2 and not {"preset", "hidden", "planes", "thresholds", "shared"} & used.keys()
    was = train.load_checkpoint(home)
    assert found.device == learned.read_bytes()
    hidden = "hidden" if kind == "default" else "layers.0.hidden"
    assert (
        not np.array_equal(found.tensors[hidden], was.tensors[hidden])
        and found.tensors[hidden].shape == was.tensors[hidden].shape
    )
    assert metabit("export", tmp_path / "on" / "checkpoint.safetensors").code == 0
    now, old = (read_image(path.read_bytes()) for path in (tmp_path / "on" / "model.mbit", learned))
    assert (now.counters, now.generator, now.notes) == (
        old.counters,
        old.generator,
        old.notes,
    ) and old.notes is not None
    assert write_image(now) != write_image(old)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_again(name: str, metabit: Any, tmp_path: Path) -> None:
    for package in ("onnx", "flatbuffers"):
        pytest.importorskip(package)
    frozen, form = windowed(1, (4, 4, 1), (conv(3, 2),), (3,)), FORMATS[name]
    (tmp_path / form.file).write_bytes(form.write(frozen))
    assert metabit("import", form.file, "-o", "home", "--json").json()["kind"] == "paper"
    checkpoint = train.load_checkpoint(tmp_path / "home" / "checkpoint.safetensors")
    assert checkpoint.device == write_image(frozen)


def test_a_file_that_is_cut_is_named(metabit: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    files = Path(__file__).parents[1] / "export" / "foreign"
    for name in ("finn_dense.onnx", "larq_dense.tflite"):
        (tmp_path / name).write_bytes((files / name).read_bytes()[:3000])
        metabit("import", name, "-o", "home").fails(f"{name}: ")
    assert not (tmp_path / "home").exists()


def test_a_run_that_was_stopped_resumes_from_its_start(trained: Path, tmp_path: Path) -> None:
    from metabit.data import load
    from metabit.train.run import STATE, run
    from metabit.train.settings import Settings, defaults

    scenario, start = load(str(trained / "my.npz")), train.load_checkpoint(trained / "paper" / "checkpoint.safetensors")
    assert isinstance(start, train.Checkpoint)
    settings = Settings.of(defaults("my.npz"), epochs=2, m=5.0)
    whole = run(scenario, settings, tmp_path, start=start)
    again = run(scenario, settings, tmp_path, resume=True, start=start)
    assert (tmp_path / STATE).exists() and again.checkpoint().tensors.keys() == whole.checkpoint().tensors.keys()
    with pytest.raises(train.TrainError, match="start="):
        run(scenario, settings, tmp_path, resume=True)


def test_errors_are_one_sentence(trained: Path, metabit: Any, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.mbit"
    fresh.write_bytes(write_image(fresh_network(1)))
    (tmp_path / "file").write_bytes(b"")
    learned = trained / "paper" / "learned.mbit"
    (tmp_path / "half.mbit").write_bytes(learned.read_bytes()[:900])
    for words, said in [
        ((fresh, "-o", tmp_path / "out"), "units from nothing"),
        ((learned, "-o", tmp_path / "file"), "name a folder"),
        ((tmp_path / "half.mbit", "-o", tmp_path / "out"), "half.mbit"),
        ((trained / "my.npz", "-o", tmp_path / "out"), "give a file that metabit export wrote"),
        ((tmp_path / "none.mbit", "-o", tmp_path / "out"), "No such file"),
    ]:
        ran = metabit("import", *words)
        assert ran.code == 1 and said in ran.err and ran.err.count("\n") == 1, ran.err
    assert not (tmp_path / "out").exists()
    start = ("--start", trained / "paper" / "checkpoint.safetensors", "-o", tmp_path / "out")
    for words, said in [
        ((trained / "my.npz", *start, "--hidden", 3), "brings its own"),
        ((trained / "my.npz", *start, "--set", "noise=0.2"), "holds one of the paper's networks"),
        (("digits", *start), "takes (samples, 6)"),
        (
            (trained / "my.npz", "--start", trained / "default" / "checkpoint.safetensors", "--m", 3),
            "holds one of the default",
        ),
        (("digits", "--start", trained / "default" / "checkpoint.safetensors"), "give data with"),
    ]:
        ran = metabit("train", *words)
        assert ran.code == 1 and said in ran.err, ran.err


LARQ = Path(__file__).parents[1] / "export" / "foreign"


@pytest.mark.parametrize("end", [".h5", ".tflite"])
def test_a_network_of_larq_comes_in_learns_and_trains_on(end: str, metabit: Any, tmp_path: Path) -> None:
    if end == ".h5":
        pytest.importorskip("h5py")
    given = ("import", LARQ / f"larq_dense{end}", "--input=-1,1,16", "--bits", 3)
    told = metabit(*given, "-o", "in", "--json").json()
    assert told["tool"] == {".h5": "Larq", ".tflite": "larq-compute-engine"}[end] and told["learner"] == "visits"
    assert told["network"] == "64 -> 33 -> 21 -> 10, a network of the paper" and told["image"] == str(
        Path("in/model.mbit")
    )
    image, golden = (tmp_path / "in" / "model.mbit").read_bytes(), np.load(LARQ / "larq.npz")
    assert (Model(image).predict_many(golden["x"]) == golden["larq_dense.lce"].argmax(1)).all()
    np.savez(tmp_path / "digits.npz", x=golden["x"], y=golden["y"])
    ran = metabit("run", "in/model.mbit", "--data", "digits.npz", "--learn", "--save", "learned.mbit")
    assert ran.code == 0 and Model.open(tmp_path / "learned.mbit").steps > 200
    if end == ".h5":
        assert (
            metabit("train", "digits.npz", "--start", "in/checkpoint.safetensors", "-o", "on", "--epochs", 1).code == 0
        )
    assert metabit("export", "in/checkpoint.safetensors", "--formats", "mbit,onnx", "-o", "back").code == 0
    assert (tmp_path / "back" / "model.mbit").read_bytes() == image
    for hidden, levels in (("surest", {-4, 3}), ("least", {-1, 0})):
        assert metabit(*given, "-o", hidden, "--hidden", hidden).out.count("layers that learn on the device: 1, 2") == 1
        assert set(np.unique(read_image((tmp_path / hidden / "model.mbit").read_bytes()).layers[1].hidden)) == levels


def test_an_import_is_written_whole_or_not_at_all(metabit: Any, tmp_path: Path) -> None:
    (tmp_path / "out" / "model.mbit").mkdir(parents=True)
    given = ("import", LARQ / "larq_dense.tflite", "--input=-1,1", "-o", "out")
    metabit(*given).fails("model.mbit is a folder, nothing was written")
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()


def test_a_manifest_of_another_form_says_nothing(metabit: Any, tmp_path: Path) -> None:
    image = write_image(fresh_network(1))
    (tmp_path / "a.mbit").write_bytes(image)
    told = {
        "sha256": {"a.mbit": hashlib.sha256(image).hexdigest()},
        "read": {"classes": {"a": 3}},
        "recall": {"a": "x"},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(told | {"data": "mine.csv"}))
    assert metabit("export", "a.mbit", "--formats", "mbit", "-o", "out").code == 0
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "Training data: mine.csv." in card and "Results are not known" in card


def test_options_of_other_tools_are_checked(trained: Path, metabit: Any, tmp_path: Path) -> None:
    larq, given = LARQ / "larq_dense.tflite", ("--input=-1,1", "-o", "out")
    metabit("import", trained / "paper" / "learned.mbit", "-o", "out", "--bits", 3).fails(
        "a network of metabit", "leave --bits out"
    )
    metabit("import", larq, "-o", "out").fails(
        "larq_dense.tflite", "does not say which numbers its 64 inputs are: add --input"
    )
    metabit("import", larq, "-o", "out", "--input=1").fails("--input '1'", "LOW,HIGH")
    metabit("import", larq, *given, "--hidden", "middle").fails("--hidden 'middle'", "choose from surest, least, file")
    metabit("import", larq, *given, "--hidden", "file").fails("has signs only, no hidden weights", "--hidden surest")
    for bits in (1, 9):
        metabit("import", larq, *given, "--bits", bits).fails(f"--bits {bits}: give 2 to 8")
    metabit("import", LARQ / "tensorflow.tflite", *given).fails(
        "tensorflow.tflite", "has real weights", "train it with binary weights"
    )
    assert not (tmp_path / "out").exists()
