"""metabit fresh: what a user types, and what the network then learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest


def test_a_fresh_network_learns_from_its_first_sample(metabit: Any, tmp_path: Path) -> None:
    image = tmp_path / "deep" / "fresh.mbit"
    told = metabit("fresh", "digits", "-o", image, "--json").json()
    assert (told["learner"], told["features"], told["hidden"], told["classes"], told["input"]) == (
        "head",
        64,
        64,
        10,
        "uint8",
    )
    assert told["bytes"]["flash: image"] == image.stat().st_size and not told["scaled"]
    assert (
        "64 -> 16 -> 10, takes uint8, nothing learnt yet" in metabit("fresh", "digits", "-o", image, "--units", 16).out
    )
    metabit("fresh", "digits", "-o", image)
    ran = metabit("run", image, "--data", "digits", "--learn", "--limit", 300, "--json").json()
    assert ran["accuracy_after"]["digits"] > 0.8 > 0.2 > ran["accuracy_before"]["digits"]


def test_a_fresh_network_of_votes(metabit: Any, tmp_path: Path) -> None:
    words = ("fresh", "digits", "-o", "fresh.mbit", "--learner", "votes", "--hidden", 64)
    told = metabit(*words, "--json").json()
    assert (told["learner"], told["features"], told["hidden"], told["classes"], told["bits"]) == (
        "votes",
        64,
        64,
        10,
        4,
    )
    assert "64 -> 64 -> 10, 4 bits a synapse" in metabit(*words).out
    ran = metabit("run", "fresh.mbit", "--data", "digits", "--learn", "--passes", 3, "--json").json()
    assert ran["accuracy_after"]["digits"] > 0.7 > ran["accuracy_before"]["digits"]


@pytest.mark.parametrize("name", ["bytes", "mixed ranges", "floats 0 and 1"])
def test_files_that_failed_are_learnt_from_nothing(metabit: Any, tmp_path: Path, name: str) -> None:
    """Three classes of bytes, of features whose ranges differ by 25, and of floats 0 and 1."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 60)
    x = rng.normal(0, 1, (180, 8)) + 3 * rng.normal(0, 1, (3, 8))[y]
    if name == "floats 0 and 1":
        x = (x > 0).astype(np.float32)
    else:
        low, span = x.min(0), np.ptp(x, axis=0)
        x = np.rint((x - low) / span * (np.where(np.arange(8) < 4, 255, 10) if name == "mixed ranges" else 200)).astype(
            np.uint8
        )
    np.savez("x.npz", x=x, y=y)
    metabit("fresh", "x.npz", "-o", "f.mbit")
    ran = metabit("run", "f.mbit", "--data", "x.npz", "--learn", "--passes", 2, "--json").json()
    assert ran["accuracy_after"]["x.npz"] >= 0.9 > ran["accuracy_before"]["x.npz"]


def test_a_fresh_network_without_data(metabit: Any, tmp_path: Path) -> None:
    """Ranges and names; the network then learns the numbers of a table as they are, and a class beyond."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 240)
    x = np.stack([0.5 + 0.2 * (y == 1) + rng.normal(0, 0.05, 240), 30 + 5 * (y == 2) + rng.normal(0, 1, 240)], axis=1)
    np.savez("table.npz", x=x, y=y)
    told = metabit("fresh", "--ranges", "shake:0..1,heat:20..40", "--classes", 2, "--spare-classes", 1, "--units", 32,
                   "-o", "f.mbit", "--json").json()  # fmt: skip
    assert (told["features"], told["classes"], told["input"], told["scaled"]) == (2, 3, "int16", True)
    names = metabit("inspect", "f.mbit", "--json").json()["names"]
    assert names["features"] == ["shake", "heat"] and np.allclose(np.mean(names["ranges"], 1), [0.5, 30], rtol=0.05)
    ran = metabit("run", "f.mbit", "--data", "table.npz", "--learn", "--json").json()
    assert ran["accuracy_after"]["table.npz"] > 0.9
    whole = metabit(
        "fresh", "--ranges", "2*0..255", "--classes", 2, "--input", "uint8", "-o", "w.mbit", "--json"
    ).json()
    assert (whole["input"], whole["scaled"]) == ("uint8", False)


def own(path: str, change: Any) -> str:
    """A file of 120 samples of three float features, two of which tell its classes, after a change in place."""
    rng = np.random.default_rng(2)
    y = np.arange(120) % 2
    x = rng.normal(size=(120, 3)) + np.outer(y, [3, 3, 0])
    change(x)
    np.savez(path, x=x, y=y, feature_names=np.array(["a", "b", "c"]))
    return path


def test_a_spike_among_the_samples_is_named(metabit: Any) -> None:
    def spike(x: np.ndarray) -> None:
        x[:, 1] = np.where(np.arange(120) % 10 == 0, x[:, 1], 0.5 * x[:, 1])
        x[5:120:40, 1] = 1e7

    ran = [metabit("fresh", own("s.npz", spike), "-o", "s.mbit", "--seed", seed) for seed in range(3)]
    assert all(one.code == 0 for one in ran)
    assert any(
        "warning: s.npz: b is 1e+07 in one of the 64 samples" in one.err and "--ranges" in one.err for one in ran
    )
    assert not metabit("fresh", own("plain.npz", lambda x: None), "-o", "p.mbit").err
    words = ("tune", "--data", "s.npz", "--units", 8, "--trials", 1, "--rounds", 1, "--no-rivals", "--seed")
    assert any("b is 1e+07 in one of the 64 samples" in metabit(*words, seed).err for seed in range(3))


def test_a_feature_that_varies_later_is_named(metabit: Any) -> None:
    def late(x: np.ndarray) -> None:
        x[:, 2] = 4.0
        x[7, 2] = 5.0

    data = own("late.npz", late)
    ran = [metabit("fresh", data, "-o", f"{seed}.mbit", "--seed", seed) for seed in range(4)]
    said = ["the network does not look at c" in one.err and "--seed" in one.err for one in ran]
    assert 0 < sum(said) < 4, "some of the draws have the sample that differs"
    for seed, named in enumerate(said):
        own("other.npz", lambda x: None)
        told = (
            "other.npz: the model does not look at c, which varies here"
            in metabit("run", f"{seed}.mbit", "--data", "other.npz").err
        )
        assert told == named


def test_int16_numbers_of_a_file_are_scaled_where_the_image_says_so(metabit: Any) -> None:
    rng = np.random.default_rng(1)
    y = np.arange(120) % 2
    np.savez("i.npz", x=(rng.normal(size=(120, 4)) * 20 + 300 * y[:, None]).astype(np.int16), y=y)
    assert metabit("fresh", "i.npz", "--input", "float", "-o", "i.mbit", "--json").json()["scaled"]
    ran = metabit("run", "i.mbit", "--data", "i.npz", "--learn", "--no-rivals", "--json").json()
    assert ran["accuracy_after"]["i.npz"] > 0.9
