"""Windows and features on the emulated boards: the integers of metabit.data.features."""

from __future__ import annotations

import numpy as np
from probes import compile_probe

from metabit.data.features import Windows
from metabit.firmware_sim import Board, Device
from metabit.runtime import field_sources

FEATURES_C = next(path for path in field_sources() if path.name == "features.c")


def test_a_board_computes_the_features_of_training(either_board: Board) -> None:
    rng, how = np.random.default_rng(0), Windows(128, 128, edges=(1, 3, 20, 64))
    size = rng.choice([1, 30, 2000, 32767], (40, 1, 2))
    x = np.rint(size * np.sin(rng.uniform(0, 3, (40, 1, 2)) * np.arange(128)[:, None]) + rng.normal(size=(40, 128, 2)))
    windows = np.clip(x, -32768, 32767).astype("<i2")
    with Device(compile_probe(either_board, "features.c", FEATURES_C), either_board) as device:
        scores = device.predict_many(windows.reshape(40, -1).view(np.uint8)).scores
    assert scores is not None and np.array_equal(scores, how.of(windows.reshape(-1, 2)))
