"""metabit merge"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import gates_network

from metabit.cli.outputs import warn_of_fewer_classes
from metabit.export import Frozen, Notes, write_image
from metabit.runtime import Model


def named(*more: str) -> Frozen:
    """A head of four classes, one of them spare, and names for three or more."""
    frozen = gates_network(22, features=9, planes=5, units=7, classes=4, kind="int16", spare=1)
    return replace(frozen, notes=Notes(("still", "walk", "run", *more), ()))


def learnt() -> Model:
    model, rng = Model(write_image(named())), np.random.default_rng(0)
    model.learn_many(rng.integers(0, 256, (80, model.input_size)).astype(np.uint8), rng.integers(0, 3, 80))
    return model


def test_a_learned_model_is_updated(metabit: Any, tmp_path: Path) -> None:
    old, model = learnt(), Model(write_image(named("jump")))
    old.save(tmp_path / "learned.mbit")
    model.save(tmp_path / "new.mbit")
    words = ("merge", tmp_path / "learned.mbit", tmp_path / "new.mbit", "-o", tmp_path / "out.mbit")
    told = metabit(*words, "--json").json()
    assert (told["what"], told["kept"], told["fresh"], told["gone"], told["steps"]) == ("classes", 3, 1, 1, 80)
    merged = Model.open(tmp_path / "out.mbit")
    assert merged.identity == model.identity and merged.steps == 80
    ran = metabit(*words)
    assert ran.code == 0 and "3 taken over, 1 as in" in ran.out and "80 steps learnt" in ran.out
    (tmp_path / "state").write_bytes(old.snapshot())
    factory = Model(write_image(named()))
    factory.save(tmp_path / "factory.mbit")
    same = (
        "merge",
        tmp_path / "factory.mbit",
        tmp_path / "new.mbit",
        "--state",
        tmp_path / "state",
        "-o",
        tmp_path / "b.mbit",
    )
    assert metabit(*same).code == 0 and (tmp_path / "b.mbit").read_bytes() == (tmp_path / "out.mbit").read_bytes()
    other = metabit(
        "merge",
        tmp_path / "new.mbit",
        tmp_path / "factory.mbit",
        "--state",
        tmp_path / "state",
        "-o",
        tmp_path / "c.mbit",
    )
    assert other.code == 1 and "grew from image" in other.err and not (tmp_path / "c.mbit").exists()
    assert "folder that exists" in metabit(*words[:-1], tmp_path / "no" / "out.mbit").err


def test_nothing_that_was_learnt_is_written_over(metabit: Any, tmp_path: Path) -> None:
    old, new, out = (tmp_path / name for name in ("learned.mbit", "new.mbit", "out/merged.mbit"))
    learnt().save(old)
    Model(write_image(named("jump"))).save(new)
    out.parent.mkdir()
    before = old.read_bytes(), new.read_bytes()
    for words in ((old, old, "-o", old), (old, new, "-o", new, "--force"), (old, new, "--state", out, "-o", out)):
        out.write_bytes(b"state")
        metabit("merge", *words).fails("is an input of this command", "name another output")
    metabit("merge", old, new).fails("out/merged.mbit exists, and has other content", "-o", "--force")
    assert (old.read_bytes(), new.read_bytes(), out.read_bytes()) == (*before, b"state")
    assert metabit("merge", old, new, "--force").code == 0 and Model.open(out).steps == 80
    assert metabit("merge", old, new).code == 0  # of equal content
    out.write_bytes(b"other")
    assert metabit("merge", old, new, "-o", "out/merged.mbit").code == 0 and Model.open(out).steps == 80


def test_images_in_the_wrong_order_are_refused(metabit: Any, tmp_path: Path) -> None:
    learnt().save(tmp_path / "learned.mbit")
    Model(write_image(named("jump"))).save(tmp_path / "new.mbit")
    swapped = metabit("merge", "new.mbit", "learned.mbit", "-o", "out.mbit")
    swapped.fails("new.mbit has learnt nothing", "learned.mbit has 80 steps", "metabit merge learned.mbit new.mbit")
    assert not (tmp_path / "out.mbit").exists()
    assert metabit("merge", "new.mbit", "new.mbit", "-o", "out.mbit").code == 0  # neither has learnt


def test_an_export_says_that_room_for_classes_is_gone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Model(write_image(named())).save(tmp_path / "model.mbit")
    for name, classes, said in (("model.mbit", 3, True), ("model.mbit", 4, False), ("none.mbit", 3, False)):
        warn_of_fewer_classes(tmp_path / name, classes)
        assert ("had 4 classes, the new one has 3: give --spare-classes" in capfd.readouterr().err) == said
