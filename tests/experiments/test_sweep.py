from __future__ import annotations

import csv
import functools
import json
from pathlib import Path
from typing import Any

import pytest
from mishaps import run_with_mishaps

from metabit.experiments.sweep import RETRIES, cells, sweep, to_csv
from metabit.train.errors import TrainError

EIGHT: dict[str, list[Any]] = {"m": [0.0, 8.0], "bits": [None, 4], "seed": [0, 1]}


def test_cells_are_every_combination() -> None:
    grid = cells(EIGHT, epochs=2)
    assert len(grid) == 8 and len({json.dumps(cell) for cell in grid}) == 8
    assert grid[0] == {"m": 0.0, "bits": None, "seed": 0, "epochs": 2}
    assert grid[1] == {"m": 0.0, "bits": None, "seed": 1, "epochs": 2}


def test_eight_runs_survive_a_killed_worker_and_a_killed_sweep(tmp_path: Path) -> None:
    work = functools.partial(run_with_mishaps, str(tmp_path))

    def tries() -> dict[str, int]:
        return {path.stem: path.stat().st_size for path in tmp_path.glob("*.tries")}

    table, todo = tmp_path / "table.jsonl", cells(EIGHT)
    seen: list[dict[str, Any]] = []
    rows = sweep(work, todo, table, workers=2, progress=seen.append)
    assert [{key: row[key] for key in EIGHT} for row in rows] == todo
    assert len(seen) == 8 and len(table.read_text().splitlines()) == 8
    assert [row.get("error") for row in rows].count("out of luck") == 1
    assert sum("accuracy" in row for row in rows) == 7
    assert tries()["8.0-None-1"] == 2 and sum(tries().values()) == 9

    # The sweep was killed while it wrote its last line; one cell had failed. Only these two are run again.
    text = table.read_bytes()
    table.write_bytes(text[:-5])
    last = json.loads(text.splitlines()[-1])
    again = sweep(work, todo, table, workers=0)
    assert sum(tries().values()) == 11 - ("error" in last)
    assert all("accuracy" in row for row in again)
    assert [row["accuracy"] for row in again if "error" not in row][0] == rows[0]["accuracy"]

    before = tries()
    assert sweep(work, todo, table) == again  # nothing left: no process is started
    assert tries() == before

    with pytest.raises(TrainError, match=f"1 cells killed their worker {RETRIES + 1} times, .*'bits': 'fatal'"):
        sweep(work, [{"m": 0.0, "bits": "fatal", "seed": 0}, {"m": 1.0, "bits": None, "seed": 0}], table, workers=1)
    assert tries()["0.0-fatal-0"] == RETRIES + 1 and tries()["1.0-None-0"] == 1  # the other one is finished

    to_csv(table, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open() as file:
        assert {"cell", "accuracy"} <= set(csv.DictReader(file).fieldnames or [])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda table: cells({"m": []}), "at least one"),
        (lambda table: cells({"m": [1, 1]}), "none twice"),
        (lambda table: cells({"m": [1]}, m=2), "both an axis"),
        (lambda table: sweep(dict, [{"m": 1}, {"m": 1}], table), "appear twice"),
        (lambda table: sweep(dict, [{"m": float("nan")}], table), "plain JSON"),
        (lambda table: sweep(dict, [{"m": 1}], table, workers=-1), "workers=-1"),
    ],
)
def test_what_cannot_be_swept_is_one_sentence(tmp_path: Path, call: Any, message: str) -> None:
    with pytest.raises(TrainError, match=message):
        call(tmp_path / "t.jsonl")
    (tmp_path / "t.jsonl").write_text('{"m": 1}\n')
    with pytest.raises(TrainError, match="without a cell"):
        sweep(dict, [{"m": 1}], tmp_path / "t.jsonl")


def test_a_cell_is_a_run_that_can_go_on(tmp_path: Path) -> None:
    from metabit.experiments.sweep import run_cell

    todo = cells({"m": [0.0, 25.0]}, scenario="rotated-digits", tasks=2, epochs=3, hidden=[32], seed=1)
    rows = sweep(functools.partial(run_cell, folder=str(tmp_path / "runs")), todo, tmp_path / "t.jsonl", workers=0)
    assert [row["m"] for row in rows] == [0.0, 25.0] and all(row["epochs"] == 6 for row in rows)
    assert all(len(row["final_accuracy"]) == 2 and 0 < row["mean_accuracy"] <= 1 for row in rows)
    assert not list((tmp_path / "runs").iterdir())
