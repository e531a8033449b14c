"""metabit export --guard and metabit run --guard, from a table to a device that notices."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from metabit.runtime import Model


def table(path: Path) -> None:
    """Two classes that a network tells apart, and a second file in which half of the labels are wrong."""
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2
    x = rng.normal(size=(120, 4)) + 3 * y[:, None]
    np.savez(path / "mine.npz", x=x.astype(np.float32), y=y)
    rows = rng.permutation(np.tile(np.arange(120), 20))
    np.savez(
        path / "wrong.npz", x=(x[rows] + rng.normal(size=(2400, 4)) / 9).astype(np.float32), y=rng.integers(0, 2, 2400)
    )


def test_a_guarded_stream(metabit: Any, tmp_path: Path) -> None:
    table(tmp_path)
    assert metabit("train", "mine.npz", "-o", "mine", "--epochs", 20, "--json").code == 0
    told = metabit("export", "mine/checkpoint.safetensors", "--guard", 20, "--formats", "mbit")
    model = Model.open("mine/model.mbit")
    size = 32 + 20 * (2 + model.ticket_size)
    assert told.code == 0 and f"guard: {size:,} bytes of flash" in told.out
    data = Path("mine/model.guard.bin").read_bytes()
    header = Path("mine/model_guard.h").read_text()
    assert f"model_guard[{size}]" in header and bytes(int(n, 16) for n in re.findall(r"0x(..),", header)) == data
    assert f"MODEL_TICKET_BYTES {model.ticket_size} " in Path("mine/model.h").read_text()

    words = ("run", "mine/model.mbit", "--data", "wrong.npz", "--also", "mine.npz", "--learn", "--no-rivals")
    plain = metabit(*words, "--json").json()
    found = metabit(*words, "--guard", "mine/model.guard.bin", "--json").json()
    assert plain["guard"] is None and found["guard"]["status"] == "rolled back"
    assert found["accuracy_after"]["mine.npz"] >= found["accuracy_before"]["mine.npz"] - 0.02
    assert "guard: rolled back, because" in metabit(*words, "--guard", "mine/model.guard.bin").out


def test_errors_name_the_way_out(metabit: Any, image: Path) -> None:
    metabit("export", image, "-o", "there", "--data", "digits").fails(
        "--data names the dataset of the guard samples", "--guard 64"
    )
    metabit("export", image, "-o", "there", "--guard", 0, "--data", "digits").fails("0 samples", "from 1 to 4096")
    metabit("export", image, "-o", "there", "--guard", 8).fails("--guard 8 needs samples", "--data")
    metabit("run", image, "--guard", "there.bin", "--data", "digits").fails("--guard watches learning", "--learn")
    Path("there.bin").write_bytes(bytes(100))
    metabit("run", image, "--guard", "there.bin", "--data", "digits", "--learn").fails("damaged or of another image")
