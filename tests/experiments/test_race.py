from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabit.experiments.race import DUEL, Race
from metabit.train.errors import TrainError

SETTINGS: list[dict[str, Any]] = [{}, *({"a": a} for a in range(1, 12))]


def noisy(cell: Mapping[str, Any], best: int = 7, noise: float = 0.3) -> dict[str, float]:
    """Trial `best` is better than the others, which are all alike; a single run hardly shows it."""
    a = cell["settings"].get("a", 0)
    return {"score": (a == best) + noise * np.random.default_rng([cell["seed"], a]).normal()}


def test_the_better_half_goes_on_and_the_best_wins(tmp_path: Path) -> None:
    race, calls = Race(SETTINGS, rounds=5, seed=3), []

    def work(cell: Mapping[str, Any]) -> dict[str, float]:
        calls.append((cell["settings"].get("a", 0), cell["seed"]))
        return noisy(cell)

    table = tmp_path / "table.jsonl"
    ranking = race.run(work, table)
    assert race.sizes == [12, 7, 4, 3, 2] and len(calls) == race.runs == sum(race.sizes) + 2 * DUEL * 5
    assert len(set(calls)) == len(calls)
    assert ranking[0].settings == {"a": 7} and len(ranking[0].rows) == 5
    assert sorted(len(trial.rows) for trial in ranking) == [1] * 5 + [2] * 3 + [3] + [4] + [5] * 2
    assert [trial.number for trial in ranking if len(trial.rows) == 5] == [7, 0]  # what there was is never dropped
    assert race.winner(table) == ranking[0]
    assert len(race.gains(table, 7)) == DUEL * 5 and np.mean(race.gains(table, 7)) > 0.5
    assert {seed for _, seed in calls[sum(race.sizes) :]} == set(range(3 + 5, 3 + 5 + DUEL * 5))
    assert race.run(work, table) == ranking and len(calls) == race.runs  # nothing is run twice


def test_a_race_with_more_trials_can_find_a_better_one(tmp_path: Path) -> None:
    """The first race's survivors have run in every round: that alone must not carry them through the second."""
    table, more = tmp_path / "table.jsonl", [*SETTINGS, *({"a": a} for a in range(12, 24))]
    assert Race(SETTINGS, rounds=7).run(lambda cell: noisy(cell, best=7, noise=0.1), table)[0].number == 7

    def better(cell: Mapping[str, Any]) -> dict[str, float]:
        return {"score": noisy(cell, best=7, noise=0.1)["score"] + 9 * (cell["settings"].get("a") == 20)}

    race = Race(more, rounds=7)
    assert race.run(better, table)[0].number == 20 and race.winner(table) == race.ranking(table)[0]


def test_luck_does_not_win(tmp_path: Path) -> None:
    """Where all trials are alike one leads, and is seldom taken for better."""
    leads = wins = 0
    for seed in range(30):
        race, table = Race(SETTINGS, rounds=3, seed=100 * seed), tmp_path / f"{seed}.jsonl"
        leads += race.run(lambda cell: noisy(cell, best=-1), table)[0].number != 0
        winner = race.winner(table)
        wins += winner is not None and winner.number != 0
    assert leads > 15 and wins <= 5


def test_what_there_was_wins_where_it_is_best(tmp_path: Path) -> None:
    race, table = Race(SETTINGS, rounds=3), tmp_path / "table.jsonl"
    ranking = race.run(lambda cell: noisy(cell, best=0, noise=0.1), table)
    assert ranking[0].number == 0 and race.winner(table) == ranking[0]
    assert len(table.read_text().splitlines()) == sum(race.sizes)  # nobody to compare it with


def test_an_interrupted_race_keeps_what_is_finished_and_goes_on(tmp_path: Path) -> None:
    race, table = Race(SETTINGS, rounds=3), tmp_path / "table.jsonl"
    assert race.ranking(table) == [] and race.winner(table) is None

    def stops(cell: Mapping[str, Any]) -> dict[str, float]:
        if len(table.read_text().splitlines() if table.exists() else []) == 15:
            raise KeyboardInterrupt
        return noisy(cell)

    with pytest.raises(KeyboardInterrupt):
        race.run(stops, table)
    assert sum(len(trial.rows) for trial in race.ranking(table)) == 15
    best = race.winner(table)
    assert best is not None and best.number == 0  # not yet compared
    assert race.run(noisy, table) == Race(SETTINGS, rounds=3).run(noisy, tmp_path / "other.jsonl")


def test_races_share_a_table(tmp_path: Path) -> None:
    table = tmp_path / "table.jsonl"
    first, second = (Race(SETTINGS[:3], rounds=2, fixed={"stream": name}) for name in "ab")
    ranking = first.run(noisy, table)
    assert second.ranking(table) == []
    second.run(lambda cell: {"score": 0.0}, table)
    assert first.ranking(table) == ranking
    assert {json.loads(line)["cell"]["stream"] for line in table.read_text().splitlines()} == {"a", "b"}


def test_a_trial_that_fails_is_one_sentence(tmp_path: Path) -> None:
    def fails(cell: Mapping[str, Any]) -> dict[str, float]:
        raise TrainError("no such luck")

    with pytest.raises(TrainError, match="no such luck"):
        Race(SETTINGS).run(fails, tmp_path / "table.jsonl")
    with pytest.raises(TrainError, match="at least one trial"):
        Race([])
    with pytest.raises(TrainError, match="rounds=0"):
        Race(SETTINGS, rounds=0)


@pytest.mark.parametrize(
    "change", [{"score": "0.5"}, {"score": None}, {"score": float("nan")}, {"kept": {"digits": "all"}}], ids=str
)
def test_a_table_with_text_for_a_number_is_refused_in_one_sentence(tmp_path: Path, change: dict[str, Any]) -> None:
    race, table = Race(SETTINGS[:3], rounds=1), tmp_path / "table.jsonl"
    race.run(noisy, table)
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    rows[0] |= change
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    name, value = next(iter(change.items()))
    with pytest.raises(TrainError) as caught:
        race.ranking(table)
    assert f"{table}: {name} of a finished run is {value!r}, not a finite number: delete that line" == str(caught.value)
