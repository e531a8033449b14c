"""`metabit tune`: what it finds, what it writes, what it keeps, what it says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import network

from metabit.data import load
from metabit.experiments.tuning import HELD, ORDERS, Bench, FreshVotes, Image, Order, draw, held_out, ordered
from metabit.export import VoteOptions, fresh_votes, read_image, retune, write_image
from metabit.runtime import Model

SHORT = ("--trials", 6, "--rounds", 2)


def test_it_finds_what_a_badly_set_network_lacks(metabit: Any) -> None:
    bad = retune(fresh_votes(64, 64, 10, VoteOptions(thresholds=(3, 9))), {"deviations": 6.0, "chance_per_vote": 0.001})
    Path("bad.mbit").write_bytes(write_image(bad))
    words = ("tune", "bad.mbit", "--data", "digits", "--trials", 12, "--rounds", 3, "--json", "-o", "deep/tuned.mbit")
    found = metabit(*words).json()
    assert found["best"] and np.mean(found["gains"]) > 0.1
    assert found["best"] == found["trials"][0]["settings"] and found["trials"][0]["new"]["mixed"] > 0.5
    tuned = read_image(Path("deep/tuned.mbit").read_bytes())
    assert found["best"].pop("learner") == "votes"
    assert write_image(retune(bad, found["best"])) == write_image(tuned)
    assert tuned.counters.steps == 0 and tuned.generator == bad.generator

    def learnt(image: str) -> float:
        return float(metabit("run", image, "--data", "digits", "--learn", "--json").json()["accuracy_after"]["digits"])

    assert learnt("deep/tuned.mbit") > learnt("bad.mbit") + 0.1  # on the test part, which tuning never saw
    rows = Path("out/tune.jsonl").read_bytes()
    found["best"]["learner"] = "votes"
    assert metabit(*words).json() == found and Path("out/tune.jsonl").read_bytes() == rows  # nothing is run twice


def test_without_a_source_it_tunes_what_fresh_would_make(metabit: Any) -> None:
    ran = metabit("tune", "--data", "digits", "--hidden", 32, *SHORT, "-o", "a.mbit")
    assert ran.code == 0 and "as it is" in ran.out and ("other seeds" in ran.out or "nothing leads" in ran.out)
    assert "time: new" in ran.out and "name the data of before" in ran.out and "saved as a.mbit" in ran.out
    found = metabit("tune", "--data", "digits", "--hidden", 32, *SHORT, "--json", "--table", "other.jsonl").json()
    assert {trial["trial"] for trial in found["trials"]} == set(range(9)) and found["saved"] is None
    assert {trial["settings"]["learner"] for trial in found["trials"]} == {"head, 64 units", "head, 128 units", "votes"}
    words = {
        "head": ("--units", 64),
        "head, 128 units": ("--units", 128),
        "votes": ("--learner", "votes", "--hidden", 32),
    }
    metabit("fresh", "digits", "-o", "fresh.mbit", *words[found["best"].pop("learner")])
    start = read_image(Path("fresh.mbit").read_bytes())
    assert Path("a.mbit").read_bytes() == write_image(retune(start, found["best"]))


def test_floats_without_a_source_have_heads_only(metabit: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 120)
    np.savez(tmp_path / "floats.npz", x=(rng.normal(size=(120, 5)) + 3 * np.eye(3, 5)[y]) * 1e4, y=y)
    found = metabit("tune", "--data", "floats.npz", "--trials", 2, "--rounds", 1, "--json").json()
    assert {trial["settings"]["learner"] for trial in found["trials"]} == {"head, 64 units", "head, 128 units"}
    assert found["trials"][0]["score"] > 0.8
    metabit("tune", "--data", "floats.npz", "--hidden", 9).fails("votes takes whole numbers from 0 to 255", "--hidden")


def test_the_score_counts_what_is_forgotten_in_every_order(metabit: Any, image: Path, data: Path) -> None:
    words = ("tune", image, "--data", data, "--also", "digits", "--also", "digits:sideways", *SHORT)
    found = metabit(*words, "--json").json()
    for trial in found["trials"]:
        assert set(trial["new"]) == set(trial["old"]) == set(ORDERS) and set(trial["kept"]) == {
            "digits",
            "digits:sideways",
        }
        assert trial["score"] == pytest.approx(np.mean([*trial["new"].values(), *trial["old"].values()]))
        assert np.mean(list(trial["old"].values())) == pytest.approx(np.mean(list(trial["kept"].values())))
    names = {name for trial in found["trials"] for name in trial["settings"]}
    assert "visit_rate" in names
    assert names <= {"learner", "delta", "strengthen", "visit_rate", "temperature", "skip_below"}
    lines = found["rivals"]["lines"]
    assert lines[0]["name"] == "metabit (visits)" and list(lines[0]["after"]) == [
        str(data),
        "digits",
        "digits:sideways",
    ]
    told = metabit(*words).out
    assert "mixed: new / old" in told and "visits: as it is" in told and "SLDA" in told
    alone = metabit(*words[:4], *SHORT, "--order", "mixed", "--no-rivals", "--json").json()
    assert alone["orders"] == ["mixed"] and alone["rivals"] is None
    for trial in alone["trials"]:
        assert trial["old"] == {} and trial["score"] == trial["new"]["mixed"]
    removed = metabit("tune", image, "--data", data, "--shuffle")
    assert removed.code == 2 and "--shuffle is --order mixed now" in removed.err


def test_the_best_image_is_compared_on_the_test_parts_with_its_rivals(metabit: Any) -> None:
    """The line of the model is what metabit run gives for the image that was written."""
    words = ("--data", "digits:sideways", "--also", "digits")
    found = metabit("tune", *words, "--hidden", 32, "--trials", 1, "--rounds", 1, "-o", "a.mbit", "--json").json()
    ran = metabit("run", "a.mbit", *words, "--learn", "--json").json()
    assert found["rivals"] == ran["rivals"]


def test_a_checkpoint_competes_with_every_learner_it_can_have(metabit: Any) -> None:
    for preset, learner in (("mlp-256", "visits"), ("gates-192", "votes")):
        metabit("train", "digits", "-o", preset, "--preset", preset, "--epochs", 1)
        words = ("tune", f"{preset}/checkpoint.safetensors", "--data", "digits:sideways", "--also", "digits")
        found = metabit(*words, "--trials", 2, "--rounds", 1, "-o", f"{preset}/tuned.mbit", "--json").json()
        assert {trial["settings"]["learner"] for trial in found["trials"]} == {learner}
        metabit(
            "export", f"{preset}/checkpoint.safetensors", "--formats", "mbit", "--bits", 5 if learner == "visits" else 4
        )
        settings = {name: value for name, value in found["best"].items() if name != "learner"}
        exported = read_image(Path(preset, "model.mbit").read_bytes())
        tuned = read_image(Path(preset, "tuned.mbit").read_bytes())
        assert write_image(replace(retune(exported, settings), generator=tuned.generator)) == write_image(tuned)


def test_heads_and_levels_of_the_default_network_compete(metabit: Any) -> None:
    metabit("train", "digits", "-o", "net", "--epochs", 2)
    words = ("tune", "net/checkpoint.safetensors", "--data", "digits:sideways", "--also", "digits", *SHORT)
    found = metabit(*words, "-o", "net/tuned.mbit", "--json").json()
    names = {trial["settings"]["learner"]: trial for trial in reversed(found["trials"])}
    assert set(names) == {"head", "head, 2 rows a class", "levels"}
    assert (
        names["head"]["new"]["sorted"] > 0.6 > names["levels"]["new"]["sorted"]
    )  # only means keep a class while others come
    assert found["best"]["learner"].startswith("head")
    assert metabit("inspect", "net/tuned.mbit", "--json").json()["learned"]["steps"] == 0


def test_orders_of_a_stream() -> None:
    y = np.array([2, 0, 2, 1, 0, 1, 2])

    def rows(order: Order, seed: int) -> Any:
        return ordered(y, order, np.random.default_rng(seed)).tolist()

    assert rows("time", 0) == list(range(7))
    assert sorted(rows("mixed", 0)) == list(range(7)) and rows("mixed", 0) != rows("mixed", 1)
    seen = set()
    for seed in range(9):
        at = rows("sorted", seed)
        seen.add(tuple(dict.fromkeys(y[at].tolist())))
        assert [i for i in at if y[i] == 2] == [0, 2, 6] and (np.diff(y[at]) != 0).sum() == 2
    assert len(seen) > 2  # the classes come in random order


def test_what_is_held_out_is_spread_over_the_stream_and_never_learnt() -> None:
    for samples in (20, 57, 400):
        for seed in range(5):
            blocks = held_out(samples, seed)[: samples // HELD * HELD].reshape(-1, HELD)
            assert (blocks.sum(1) == 1).all() and held_out(samples, seed).sum() == samples // HELD
    assert not np.array_equal(held_out(400, 0), held_out(400, 1))
    task = load("digits").whole()
    start = FreshVotes((64, 32, 10), VoteOptions(thresholds=(3, 9)))
    bench = Bench.of({"votes": start}, task, {}, orders=("time",))
    row = bench({"settings": {"learner": "votes"}, "seed": 4})
    held = held_out(len(task.y_train), 4)
    model = Model(write_image(start.network({}, 4)))
    steps = model.learn_many(task.x_train[~held], task.y_train[~held])
    assert row["new"] == {"time": (model.predict_many(task.x_train[held]) == task.y_train[held]).mean()}
    assert row["prequential"] == (steps.predicted == task.y_train[~held]).mean()
    assert row["score"] == row["new"]["time"] and row["old"] == row["kept"] == {}


def test_more_trials_begin_with_the_same_ones() -> None:
    both = {"visits": Image(write_image(network(3))), "votes": FreshVotes((64, 32, 10))}
    few, many = draw(both, 5, 1), draw(both, 9, 1)
    assert len({str(settings) for settings in draw(both, 600, 1)}) == 602  # none twice
    assert many[:7] == few and few[:2] == [{"learner": "visits"}, {"learner": "votes"}] and draw(both, 5, 2) != few
    assert [one["learner"] for one in few[2:]] == ["visits", "votes", "visits", "votes", "visits"]
    assert all(len(one) > 1 for one in few[2:])


def test_another_stream_or_network_is_another_race() -> None:
    task, start = load("digits").whole(), FreshVotes((64, 32, 10))
    starts = {"votes": start}
    known = {
        Bench.of(starts, task, {}).digest(),
        Bench.of(starts, task, {}, passes=2).digest(),
        Bench.of(starts, load("digits:sideways").whole(), {}).digest(),
        Bench.of(starts, task, {"digits": task}).digest(),
        Bench.of({"votes": FreshVotes((64, 33, 10))}, task, {}).digest(),
        Bench.of(starts, task, {}, orders=("time",)).digest(),
        Bench.of(starts | {"other": start}, task, {}).digest(),
    }
    assert len(known) == 7


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
