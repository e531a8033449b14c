"""`metabit tune`: what it finds, what it writes, what it keeps, what it says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import network

from metabit.data import load
from metabit.experiments.tuning import HELD, Bench, Start, draw, held_out
from metabit.export import VoteOptions, fresh_votes, read_image, retune, write_image
from metabit.runtime import Model

SHORT = ("--trials", 6, "--rounds", 2)


def test_it_finds_what_a_badly_set_network_lacks(metabit: Any) -> None:
    bad = retune(fresh_votes(64, 64, 10, VoteOptions(thresholds=(3, 9))), {"deviations": 6.0, "chance_per_vote": 0.001})
    Path("bad.mbit").write_bytes(write_image(bad))
    words = ("tune", "bad.mbit", "--data", "digits", "--trials", 12, "--rounds", 3, "--json", "-o", "deep/tuned.mbit")
    found = metabit(*words).json()
    assert found["best"] and np.mean(found["gains"]) > 0.1
    assert found["best"] == found["trials"][0]["settings"] and found["trials"][0]["score"] > 0.5
    tuned = read_image(Path("deep/tuned.mbit").read_bytes())
    assert write_image(retune(bad, found["best"])) == write_image(tuned)
    assert tuned.counters.steps == 0 and tuned.generator == bad.generator

    def learnt(image: str) -> float:
        return float(metabit("run", image, "--data", "digits", "--learn", "--json").json()["accuracy_after"]["digits"])

    assert learnt("deep/tuned.mbit") > learnt("bad.mbit") + 0.1  # on the test part, which tuning never saw
    rows = Path("out/tune.jsonl").read_bytes()
    assert metabit(*words).json() == found and Path("out/tune.jsonl").read_bytes() == rows  # nothing is run twice


def test_without_an_image_it_tunes_what_fresh_would_make(metabit: Any) -> None:
    ran = metabit("tune", "--data", "digits", "--hidden", 32, *SHORT, "-o", "a.mbit")
    assert ran.code == 0 and "as it is" in ran.out and ("other seeds" in ran.out or "nothing leads" in ran.out)
    assert "prequential" in ran.out and "saved as a.mbit" in ran.out
    found = metabit("tune", "--data", "digits", "--hidden", 32, *SHORT, "--json", "--table", "other.jsonl").json()
    assert {trial["trial"] for trial in found["trials"]} == set(range(7)) and found["saved"] is None
    metabit("fresh", "digits", "-o", "fresh.mbit", "--learner", "votes", "--hidden", 32)
    start = read_image(Path("fresh.mbit").read_bytes())
    assert Path("a.mbit").read_bytes() == write_image(retune(start, found["best"]))


def test_dense_layers_and_tasks_to_keep(metabit: Any, image: Path, data: Path) -> None:
    found = metabit("tune", image, "--data", data, "--also", "digits", *SHORT, "--json").json()
    for trial in found["trials"]:
        parts = [trial["prequential"], trial["retention"], trial["kept"]["digits"]]
        assert trial["score"] == pytest.approx(np.mean(parts)) and all(0 <= part <= 1 for part in parts)
    names = {name for trial in found["trials"] for name in trial["settings"]}
    assert "visit_rate" in names and names <= {"delta", "strengthen", "visit_rate", "temperature", "skip_below"}
    assert "digits" in metabit("tune", image, "--data", data, "--also", "digits", *SHORT).out


def test_what_is_held_out_is_spread_over_the_stream_and_never_learnt() -> None:
    for samples in (20, 57, 400):
        for seed in range(5):
            blocks = held_out(samples, seed)[: samples // HELD * HELD].reshape(-1, HELD)
            assert (blocks.sum(1) == 1).all() and held_out(samples, seed).sum() == samples // HELD
    assert not np.array_equal(held_out(400, 0), held_out(400, 1))
    task = load("digits").whole()
    start = Start(None, (64, 32, 10), VoteOptions(thresholds=(3, 9)))
    bench = Bench.of(start, task, {})
    row = bench({"settings": {}, "seed": 4})
    held = held_out(len(task.y_train), 4)
    model = Model(write_image(start.network({}, 4)))
    steps = model.learn_many(task.x_train[~held], task.y_train[~held])
    assert row["retention"] == (model.predict_many(task.x_train[held]) == task.y_train[held]).mean()
    assert row["prequential"] == (steps.predicted == task.y_train[~held]).mean()
    assert row["score"] == np.mean([row["retention"], row["prequential"]])


def test_more_trials_begin_with_the_same_ones() -> None:
    frozen = network(3)
    few, many = draw(frozen, 5, 1), draw(frozen, 9, 1)
    assert len({str(settings) for settings in draw(frozen, 600, 1)}) == 601  # none twice
    assert many[:6] == few and few[0] == {} and all(few[1:]) and draw(frozen, 5, 2) != few


def test_another_stream_or_network_is_another_race() -> None:
    task, start = load("digits").whole(), Start(None, (64, 32, 10))
    known = {
        Bench.of(start, task, {}).digest(),
        Bench.of(start, task, {}, passes=2).digest(),
        Bench.of(start, load("digits:sideways").whole(), {}).digest(),
        Bench.of(start, task, {"digits": task}).digest(),
        Bench.of(Start(None, (64, 33, 10)), task, {}).digest(),
    }
    assert len(known) == 5


def test_two_processes_find_the_same(metabit: Any) -> None:
    words = ("tune", "--hidden", 32, "--trials", 3, "--rounds", 1, "--json", "--table")
    alone, together = metabit(*words, "a.jsonl").json(), metabit(*words, "b.jsonl", "--workers", 2).json()
    assert {**alone, "table": ""} == {**together, "table": ""}


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path) -> None:
    words = ["tune", "--trials", "2000", "--table", "kept.jsonl", "-o", "best.mbit", "--json"]
    child = subprocess.Popen(
        [sys.executable, "-c", "from metabit.cli import main; main()", *words],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    table, end = tmp_path / "kept.jsonl", time.monotonic() + 60
    while time.monotonic() < end and child.poll() is None:
        if table.exists() and table.read_text().count("\n") > 2:
            break
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    told, kept = json.loads(out), table.read_text().count("\n")
    assert told["interrupted"] and told["runs"] == kept > 2
    assert f"{kept} of" in err and "the same command goes on" in err
    assert told["best"] is None and not (tmp_path / "best.mbit").exists()  # the race is not over
