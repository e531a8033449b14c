"""A guard on a development problem: harm takes little of the old task, right labels lose nothing (docs/results/guard/README.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metabit.experiments import guarding, learner_streams
from metabit.experiments.guarding import CLEAN, HARMFUL
from metabit.export import Frozen


def test_the_old_task_is_kept_and_the_new_one_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner_streams, "TRAINED", tmp_path)  # trained once, for both learners
    kept_and_learnt(guarding.deployed("cancer", "head", 32, 0))
    kept_and_learnt(guarding.deployed("cancer", "levels", 32, 0))


def kept_and_learnt(frozen: Frozen) -> None:
    found = guarding.compared("cancer", frozen, 0, names=(*CLEAN, *HARMFUL))
    old, new = found["before"]
    for stream in HARMFUL:
        assert found[stream]["guarded"][0] >= old - 2, stream
    assert found["wrong labels"]["unguarded"][0] < old - 10
    assert found["wrong labels"]["report"]["status"] == "rolled back"
    for stream in CLEAN:
        assert found[stream]["guarded"][1] >= found[stream]["unguarded"][1] - 0.5, stream


def test_streams_are_as_they_say() -> None:
    x, y = guarding.stream("stuck sensor", "wine", 3)
    assert len(np.unique(x, axis=0)) == 1 and len(np.unique(y)) == 3 and len(y) == guarding.LONG
    half, _ = guarding.stream(guarding.HALF_STUCK, "wine", 3)
    assert (half == half[0]).all(0).sum() == 7
    _, one = guarding.stream("one class", "wine", 3)
    assert len(np.unique(one)) == 1
    right, wrong = guarding.stream(guarding.HALF_STUCK, "wine", 3)[1], guarding.stream("wrong labels", "wine", 3)[1]
    assert 0.4 < (right != wrong).mean() < 0.6
    rows, _ = guarding.stream("shuffled", "wine", 3)
    assert len(rows) < guarding.LONG
