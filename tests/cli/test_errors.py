"""Mistakes of a new user: one clear sentence that names the value, the limit and the way out; no traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import network

from metabit.export import write_image
from metabit.runtime import _core


def fails(ran: Any, *words: str, code: int = 1) -> None:
    ran.fails(*words, code=code)


@pytest.mark.parametrize("verb", ["inspect", "run", "simulate"])
def test_missing_image(metabit: Any, verb: str) -> None:
    fails(metabit(verb, "nowhere.mbit"), "nowhere.mbit", "No such file")


@pytest.mark.parametrize("verb", ["inspect", "run", "simulate"])
def test_an_image_that_is_none(metabit: Any, tmp_path: Path, verb: str) -> None:
    (tmp_path / "text.mbit").write_text("hello " * 30)
    fails(metabit(verb, "text.mbit"), "not a metabit image")


@pytest.mark.parametrize(("asked", "words"), [("fast", "none of this name"), ("neon", "processor lacks them")])
def test_vectors_that_are_not_there(metabit: Any, image: Path, monkeypatch: Any, asked: str, words: str) -> None:
    if asked in _core.VECTORS_HERE:
        pytest.skip(f"this processor has {asked}")
    monkeypatch.setenv("METABIT_VECTORS", asked)
    fails(metabit("inspect", image), f"METABIT_VECTORS={asked}", words)


def test_truncated_image(metabit: Any, image: Path) -> None:
    image.write_bytes(image.read_bytes()[:-10])
    fails(metabit("run", image), "truncated")


def test_sources_where_something_else_lies(metabit: Any, image: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "metabit.c").write_text("int mine;\n")
    fails(metabit("sources", "mine", "--single-file"), "mine/metabit.c", "not generated", "another folder")
    assert metabit("sources", "mine").code == 0
    (tmp_path / "mine" / "metabit.h").unlink()
    (tmp_path / "mine" / "metabit.h").mkdir()
    fails(metabit("sources", "mine"), "mine/metabit.h", "Is a directory")
    fails(metabit("sources", image), str(image), "File exists")
    fails(metabit("sources", image / "below"), "Not a directory")
    fails(metabit("sources", "/proc/nowhere"), "/proc/nowhere", "No such file")
    fails(metabit("sources", "there", "--image", "nowhere.mbit"), "nowhere.mbit", "No such file")
    assert not (tmp_path / "there").exists()


def test_missing_checkpoint(metabit: Any) -> None:
    fails(metabit("export", "nowhere.safetensors"), "nowhere.safetensors", "does not exist")


def test_unknown_data(metabit: Any, image: Path) -> None:
    fails(metabit("run", image, "--data", "digist"), "digist", "digits")


def test_missing_data_file(metabit: Any, image: Path) -> None:
    fails(metabit("run", image, "--data", "nowhere.npz"), "nowhere.npz", "does not exist")


def test_wrong_shape(metabit: Any, image: Path) -> None:
    np.savez("narrow.npz", x=np.zeros((20, 5), np.uint8), y=np.arange(20) % 2)
    fails(metabit("run", image, "--data", "narrow.npz"), "5 features", "takes 64")


def test_label_out_of_range(metabit: Any, image: Path) -> None:
    np.savez("labels.npz", x=np.zeros((40, 64), np.uint8), y=np.repeat([0, 10], 20))
    fails(metabit("run", image, "--data", "labels.npz", "--learn"), "2 labels (0, 10)", "10 classes", "classes=NAME")
    np.savez("labels.npz", x=np.zeros((60, 64), np.uint8), y=np.arange(60) % 12)
    fails(metabit("run", image, "--data", "labels.npz", "--learn"), "labels up to 11", "10 classes")


@pytest.mark.parametrize("value", [300.0, -1.0, 0.5, np.nan])
def test_float_out_of_range(metabit: Any, image: Path, value: float) -> None:
    x = np.full((40, 64), 2.0)
    x[7, 3] = value
    np.savez("floats.npz", x=x, y=np.arange(40) % 10)
    fails(metabit("run", image, "--data", "floats.npz"), "x[7, 3]", str(value))


def test_unknown_board(metabit: Any, image: Path) -> None:
    fails(metabit("simulate", image, "--board", "esp9000"), "esp9000", "nrf52840", "rp2040")


def test_image_too_big_for_the_board(metabit: Any, tmp_path: Path, data: Path) -> None:
    big = tmp_path / "big.mbit"
    big.write_bytes(write_image(network(0, (64, 800, 10), 8, 8, (True, False), 9000)))  # 400 KiB of state
    fails(metabit("simulate", big, "--board", "rp2040", "--data", data), "RAM", "rp2040")


def test_a_breached_budget_exits_3_with_value_and_limit(metabit: Any, image: Path, data: Path, tmp_path: Path) -> None:
    budgets = tmp_path / "tight.toml"
    budgets.write_text(
        "[emulator]\ninstructions_per_call = 1_000_000_000\n[default]\nstack_bytes = 2048\nflash_bytes = 1000\n"
    )
    ran = metabit("simulate", image, "--data", data, "--budgets", budgets)
    fails(ran, "flash_bytes", "exceeds", "1,000", code=3)


def test_frozen_image_does_not_learn(metabit: Any, tmp_path: Path, data: Path) -> None:
    path = tmp_path / "frozen.mbit"
    path.write_bytes(write_image(network(0, (64, 40, 10), 4, 2, (False, False))))
    fails(metabit("run", path, "--data", data, "--learn"), "nothing to learn")
    fails(metabit("simulate", path, "--data", data, "--learn"), "frozen", "--bits")


def test_options_that_do_not_go_together(metabit: Any, image: Path, data: Path) -> None:
    fails(metabit("run", image, "--data", data, "--save", "x.mbit"), "--save", "--learn")
    fails(metabit("run", image, "--data", data, "--learn", "--save", "no/folder/x.mbit"), "no/folder")
    fails(metabit("run", image, "--data", data, "--learn", "--save", "."), "--save .", "file")
    fails(metabit("run", image, "--data", data, "--limit", "5"), "--limit", "--learn")
    fails(metabit("run", image, "--data", data, "--shuffle"), "--shuffle", "--learn")
    fails(metabit("simulate", image, "--data", data, "--passes", "2"), "--passes", "--learn")
    fails(metabit("simulate", image, "--data", data, "--shuffle"), "--shuffle", "--learn")
    fails(metabit("export", image), "-o")
    fails(metabit("export", image, "-o", "there", "--bits", "3"), "brings its own")
    fails(metabit("export", image, "-o", "there", "--formats", " , "), "--formats")


def test_export_options_out_of_range(metabit: Any, tmp_path: Path) -> None:
    fails(metabit("export", "x.safetensors", "--bits", "9"), "bits=9", "8")
    fails(metabit("export", "x.safetensors", "--m", "some"), "--m some", "auto")
    fails(metabit("export", "x.safetensors", "--m", "-1"), "m=-1", "auto")
    fails(metabit("export", "x.safetensors", "--visits", "0"), "--visits 0", "above 0")
    fails(metabit("export", "x.safetensors", "--backward", "signs"), "backward='signs'", "'exact' or 'ternary'")
    fails(metabit("verify", "--bits", "two"), "two", "2,4,8")
    fails(metabit("verify", "--bits", "1"), "--bits 1", "2 to 8")
    fails(metabit("verify", "--board", "esp9000"), "esp9000")


def test_training_data_with_a_wrong_shape(metabit: Any) -> None:
    np.savez("images.npz", x=np.zeros((20, 8, 8), np.uint8), y=np.zeros(20, int))
    fails(metabit("train", "images.npz"), "(20, 8, 8)", "reshape")


def test_a_folder_that_cannot_be_written(metabit: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    fails(metabit("train", "digits", "-o", "file/out", "--epochs", "1"), "file")


def test_usage_error_exits_2(metabit: Any) -> None:
    ran = metabit("run", "--lern")
    assert ran.code == 2 and "--lern" in ran.err


def test_verify_with_data_that_does_not_fit(metabit: Any, tmp_path: Path) -> None:
    from metabit import train

    spec = train.Spec(3, (8,), 2, [1, 5])
    train.save("c.safetensors", train.Network(spec), rule=train.Rule.of(spec, 0.0))
    fails(metabit("verify", "c.safetensors", "--bits", "2"), "64 features", "takes 3")


def test_a_path_with_brackets_is_a_path(metabit: Any, image: Path, data: Path) -> None:
    odd = image.parent / "m[old][" / "a].mbit"
    odd.parent.mkdir()
    odd.write_bytes(image.read_bytes())
    ran = metabit("inspect", "m[old][/a].mbit")
    assert ran.code == 0 and "m[old][/a].mbit" in ran.out
    fails(metabit("inspect", "x[/b].mbit"), "x[/b].mbit")


def test_bits_as_features_need_no_encoder(metabit: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (200, 20)).astype(np.uint8)
    np.savez("bits.npz", x=x, y=x[:, 3])
    assert metabit("train", "bits.npz", "--set", "planes=0", "--hidden", "40", "--epochs", "3").code == 0
    assert metabit("export").code == 0
    learned = metabit("run", "--data", "bits.npz", "--learn", "--json").json()
    assert learned["accuracy_after"]["bits.npz"] > 0.6 and learned["read"]["bits.npz"]["features"] == 20
    assert metabit("simulate", "--data", "bits.npz", "--json").code == 0
    assert (
        metabit("verify", "out/checkpoint.safetensors", "--data", "bits.npz", "--bits", "3", "--steps", "20").code == 0
    )
    np.savez("grey.npz", x=x * 9, y=x[:, 3])
    fails(metabit("run", "--data", "grey.npz"), "9", "0 or 1")
