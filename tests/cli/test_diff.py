"""metabit diff, metabit inspect of ONNX and TFLite, and the model card of metabit export"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from networks import network

from metabit.cli.inside import bars
from metabit.export import write_image
from metabit.runtime import Model


def test_what_a_network_learnt_is_told_by_layer_and_class(metabit: Any, image: Path) -> None:
    image.write_bytes(write_image(network(3, (64, 40, 10), 4, 2, dose=9000)))
    model, rng = Model.open(image), np.random.default_rng(0)
    model.learn_many(rng.integers(0, 256, (30, 64)).astype(np.uint8), rng.integers(0, 10, 30))
    model.save("learned.mbit")
    told, ran = metabit("diff", image, "learned.mbit", "--json").json(), metabit("diff", image, "learned.mbit")
    learned = metabit("inspect", "learned.mbit", "--json").json()["learned"]
    assert told["steps"] == 30 and 0 < sum(layer["flipped"] for layer in told["layers"]) <= learned["flipped"]
    first, last = told["layers"]
    assert (first["rows_are"], last["rows_are"]) == ("units", "classes") and [*last["rows"]] == [
        str(i) for i in range(10)
    ]
    assert sum(row["moved"] for row in last["rows"].values()) == last["moved"]
    assert ran.code == 0 and "30 learning steps" in ran.out and "layer 1: class" in ran.out
    assert "the same network, bit for bit" in metabit("diff", image, image).out


def test_every_file_of_an_export_is_inspected_and_compared(metabit: Any, image: Path) -> None:
    assert metabit("export", image, "-o", "out", "--license", "MIT").code == 0
    whole = metabit("inspect", "out", "--json").json()
    for name in ("onnx", "tflite"):
        path = f"out/model.{name}"
        told = metabit("inspect", path, "--json").json()
        assert told["memory"].pop(f"this file, {told['format']}") == Path(path).stat().st_size
        assert told["format"].lower() == name
        assert {key: told[key] for key in ("layers", "memory", "shape", "learner")} == {
            key: whole[key] for key in ("layers", "memory", "shape", "learner")
        }
        assert "the same network, bit for bit" in metabit("diff", path, "out/model.mbit").out
    card = Path("out/MODEL_CARD.md").read_text()
    for name in ("model.mbit", "model.onnx", "model.tflite", "model.h", "vectors.npz"):
        assert hashlib.sha256(Path("out", name).read_bytes()).hexdigest() in card
    assert card.endswith("MIT\n") and "not known" in card


def test_a_card_names_data_and_results(metabit: Any) -> None:
    metabit("train", "digits", "--epochs", 1)
    assert metabit("export", "--formats", "mbit").code == 0
    card = Path("out/MODEL_CARD.md").read_text()
    assert "Training data: digits." in card and "| 0 | 178 | " in card and "the network as it was trained" in card
    assert metabit("export", "out/model.mbit", "-o", "again", "--formats", "mbit").code == 0
    assert "| 0 | 178 | " in Path("again/MODEL_CARD.md").read_text()


def test_other_files_are_named(metabit: Any, image: Path) -> None:
    Path("text").write_text("no network")
    metabit("inspect", "text").fails("text: not a metabit image, ONNX or TFLite", "no netwo")
    metabit("diff", image, "nowhere.mbit").fails("nowhere.mbit", "No such file")


def test_bars_show_each_level_or_groups_of_them() -> None:
    assert bars({-2: 1, -1: 8, 0: 4}, 2) == "▁█▄ "
    assert bars({-128: 5, 127: 10}, 8) == "▄" + " " * 14 + "█"
