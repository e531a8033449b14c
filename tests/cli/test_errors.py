"""What a new user gets wrong: one clear sentence that names the value, the limit and the way out; no traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import network

from metabit.export import write_image


def fails(ran: Any, *words: str, code: int = 1) -> None:
    """One line on standard error with all the words, the exit code, and nothing else."""
    assert ran.code == code, ran
    lines = [line for line in ran.err.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("metabit: "), ran.err
    assert "Traceback" not in ran.err
    for word in words:
        assert word in ran.err, (word, ran.err)


@pytest.mark.parametrize("verb", ["inspect", "run", "simulate"])
def test_missing_image(metabit: Any, verb: str) -> None:
    fails(metabit(verb, "nowhere.mbit"), "nowhere.mbit", "No such file")


@pytest.mark.parametrize("verb", ["inspect", "run", "simulate"])
def test_an_image_that_is_none(metabit: Any, tmp_path: Path, verb: str) -> None:
    (tmp_path / "text.mbit").write_text("hello " * 30)
    fails(metabit(verb, "text.mbit"), "not a metabit image")


def test_truncated_image(metabit: Any, image: Path) -> None:
    image.write_bytes(image.read_bytes()[:-10])
    fails(metabit("run", image), "truncated")


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
    fails(metabit("run", image, "--data", "labels.npz", "--learn"), "labels up to 10", "10 classes")


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


def test_export_options_out_of_range(metabit: Any, tmp_path: Path) -> None:
    fails(metabit("export", "x.safetensors", "--bits", "9"), "bits=9", "8")
    fails(metabit("export", "x.safetensors", "--visits", "0"), "visits=0", "above 0")
    fails(metabit("verify", "--bits", "two"), "two", "2,4,8")


def test_training_data_with_a_wrong_shape(metabit: Any) -> None:
    np.savez("images.npz", x=np.zeros((20, 8, 8), np.uint8), y=np.zeros(20, int))
    fails(metabit("train", "images.npz"), "(20, 8, 8)", "reshape")


def test_a_folder_that_cannot_be_written(metabit: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    fails(metabit("train", "digits", "-o", "file/out", "--epochs", "1"), "file")


def test_usage_error_exits_2(metabit: Any) -> None:
    ran = metabit("run", "--lern")
    assert ran.code == 2 and "--lern" in ran.err
