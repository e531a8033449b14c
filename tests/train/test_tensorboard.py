from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorboard")


def test_what_was_written_can_be_read(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from metabit.train.tensorboard import Board

    row = {"task": 1, "epoch": 2, "step": 30, "loss": 0.25, "accuracy": [0.5, 0.75, None], "flipped": 0.125}
    with Board(tmp_path / "board") as board:
        board.row(row)
        board.row({**row, "step": 40, "accuracy": [], "loss": float("nan")})
        board.hidden({"layers.0.hidden": np.linspace(-1, 1, 100), "layers.0.norm.mean": np.ones(3)}, step=30)
    with Board(tmp_path / "board") as board:  # resumed
        board.row({**row, "step": 50})

    events = EventAccumulator(str(tmp_path / "board")).Reload()
    assert set(events.Tags()["scalars"]) == {
        "train/task", "train/epoch", "train/loss", "train/flipped", "accuracy/task 01", "accuracy/task 02", "accuracy/mean",
    }  # fmt: skip
    assert [(e.step, e.value) for e in events.Scalars("accuracy/mean")] == [(30, 0.625), (50, 0.625)]
    assert [e.step for e in events.Scalars("train/flipped")] == [30, 40, 50]
    assert [e.step for e in events.Scalars("train/loss")] == [30, 50]
    assert events.Tags()["histograms"] == ["hidden/layers.0"]
    assert events.Histograms("hidden/layers.0")[0].histogram_value.num == 100


def test_without_tensorboard_it_is_one_sentence() -> None:
    code = "import sys\nsys.modules['tensorboard'] = None\nfrom metabit.train.errors import MissingExtraError\n"
    code += "try:\n    import metabit.train.tensorboard\nexcept MissingExtraError as error:\n    print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "metabit.train needs tensorboard: pip install 'metabit[train]'", done.stderr


def test_an_unusable_folder_is_told_before_the_first_epoch(tmp_path: Path) -> None:
    from metabit.train.errors import TrainError
    from metabit.train.tensorboard import Board

    (tmp_path / "board").write_text("a file")
    with pytest.raises(TrainError, match="choose another folder"):
        Board(tmp_path / "board")


def test_who_has_nothing_to_say_writes_nothing(tmp_path: Path) -> None:
    from metabit.train.tensorboard import Board

    with Board(tmp_path / "board"):
        pass
    assert not list((tmp_path / "board").iterdir())
