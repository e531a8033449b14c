"""Learners in place before streams: each stream begins with the state before deployment, and says old and new."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

from metabit.experiments import learner_streams
from metabit.experiments.development_problems import problem
from metabit.experiments.learner_streams import Device, Rival, in_place, new_class

pytest.importorskip("torch")
pytest.importorskip("sklearn")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(learner_streams, "TRAINED", tmp_path)
    return tmp_path


@pytest.mark.parametrize("learner", [Device(8), Rival("SLDA")])
def test_a_stream_of_each_kind(learner: Device | Rival) -> None:
    found = in_place(learner, "wine", 0)
    assert found["before"][0] > 80 and found["shuffled"][0] > 80 and found["sorted"][0] > 80
    assert found["two classes"][1] > 80 and found["bytes"] > 0


def test_what_does_not_learn_stays(folder: Path) -> None:
    found = in_place(Device(8, learner="none"), "wine", 0)
    old = found["before"][0]
    assert found["shuffled"] == found["sorted"] == found["before"]
    assert found["wrong labels"] == old and found["two classes"] == [old, old]
    assert len(list(folder.iterdir())) == 1


def test_a_copy_of_a_device_learns_for_itself() -> None:
    device, data = Device(8), problem("wine", 0).old
    device.fit(data, 0)
    before, other = device.predict(data.x), copy.deepcopy(device)
    other.learn(data.x, (data.y + 1) % 3)
    np.testing.assert_array_equal(device.predict(data.x), before)
    assert (other.predict(data.x) != before).any()


def test_a_class_unknown_before_is_learnt() -> None:
    found = new_class(Device(8), "wine", 0)
    for stream in ("mixed", "alone"):
        assert (np.array(found[stream]).mean(0) > 60).all()
    for old, new in new_class(Rival("majority"), "wine", 0)["alone"]:
        assert (old, new) in {(0.0, 100.0)} or new == 0
