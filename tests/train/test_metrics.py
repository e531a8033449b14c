from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabit.data.errors import DataError
from metabit.data.rows import append_row, read_rows, write_whole
from metabit.train import metrics
from metabit.train.errors import TrainError

MATRIX = [[0.9, 0.2, 0.1], [0.8, 0.95, 0.3], [0.6, 0.85, 0.9]]


def history() -> list[dict[str, Any]]:
    rows, step = [], 0
    for task, final in enumerate(MATRIX):
        for epoch in (1, 2):
            step += 10
            accuracy = [value / 2 if epoch == 1 else value for value in final]
            rows.append(
                {"task": task, "epoch": epoch, "step": step, "loss": 0.5, "accuracy": accuracy, "flipped": 0.01}
            )
    return rows


def test_the_measures_of_three_tasks() -> None:
    assert metrics.mean_accuracy(MATRIX) == pytest.approx((0.6 + 0.85 + 0.9) / 3)
    assert metrics.forgetting(MATRIX) == pytest.approx(((0.9 - 0.6) + (0.95 - 0.85)) / 2)
    assert metrics.backward_transfer(MATRIX) == pytest.approx(((0.6 - 0.9) + (0.85 - 0.95)) / 2)
    assert metrics.forward_transfer(MATRIX, [0.1, 0.1, 0.12]) == pytest.approx(((0.2 - 0.1) + (0.3 - 0.12)) / 2)


def test_forgetting_counts_from_the_best_not_from_the_diagonal() -> None:
    matrix = [[0.5, 0, 0], [0.9, 0.5, 0], [0.4, 0.5, 0.5]]
    assert metrics.forgetting(matrix) == pytest.approx((0.5 + 0.0) / 2)
    assert metrics.backward_transfer(matrix) == pytest.approx((-0.1 + 0.0) / 2)


@given(st.integers(2, 8), st.integers(0, 2**32))
def test_forgetting_is_never_less_than_minus_backward_transfer(count: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).random((count, count))
    assert metrics.forgetting(matrix) >= -metrics.backward_transfer(matrix) - 1e-12


def test_what_was_not_evaluated() -> None:
    lower = np.where(np.triu(np.ones((3, 3)), 1) == 1, math.nan, MATRIX)
    assert metrics.mean_accuracy(lower) == metrics.mean_accuracy(MATRIX)
    assert metrics.forgetting(lower) == metrics.forgetting(MATRIX)
    assert metrics.summary(lower, [0.1] * 3)["forward_transfer"] is None
    assert metrics.summary(lower)["accuracy_matrix"][0] == [0.9, None, None]
    unfinished = np.full((3, 3), math.nan)
    unfinished[0] = MATRIX[0]
    assert metrics.summary(unfinished)["mean_accuracy"] is None
    assert metrics.summary(unfinished)["forgetting"] is None


def test_one_task_forgets_nothing() -> None:
    values = metrics.summary([[0.7]], [0.1])
    assert values["mean_accuracy"] == 0.7
    assert values["forgetting"] == values["backward_transfer"] == values["forward_transfer"] == 0


def test_the_matrix_of_a_history() -> None:
    np.testing.assert_array_equal(metrics.accuracy_matrix(history()), MATRIX)
    seen = [{**row, "accuracy": row["accuracy"][: row["task"] + 1]} for row in history()[:3]]
    np.testing.assert_array_equal(metrics.accuracy_matrix(seen), [[0.9, math.nan], [0.4, 0.475]])


def test_hidden_histograms() -> None:
    tensors = {"layers.0.hidden": np.array([[-2.0, 0.0], [0.5, 2.0]]), "layers.0.norm.weight": np.ones(2)}
    (name, (counts, edges)), *rest = metrics.hidden_histograms(tensors, bins=3).items()
    assert name == "layers.0" and not rest
    np.testing.assert_array_equal(counts, [1, 2, 1])
    assert (edges[0], edges[-1]) == (-2, 2)
    clipped, _ = metrics.hidden_histograms(tensors, bins=2, limit=1)["layers.0"]
    assert clipped.sum() == 4


def test_files(tmp_path: Path) -> None:
    metrics.write_json(tmp_path / "h.json", history(), baseline=[0.1, 0.1, 0.12])
    content = json.loads((tmp_path / "h.json").read_text())
    assert content["history"] == history()
    assert content["summary"] == metrics.summary(MATRIX, [0.1, 0.1, 0.12])
    metrics.write_csv(
        tmp_path / "h.csv", [{**row, "accuracy": row["accuracy"][: row["task"] + 1]} for row in history()]
    )
    with (tmp_path / "h.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["accuracy_2"] for row in rows] == ["", "", "", "", "0.45", "0.9"]
    assert [int(row["step"]) for row in rows] == [10, 20, 30, 40, 50, 60]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["h.csv", "h.json"]


def test_a_table_survives_being_cut_short(tmp_path: Path) -> None:
    table = tmp_path / "t.jsonl"
    assert read_rows(table) == []
    append_row(table, {"m": 1, "accuracy": 0.5})
    append_row(table, {"m": 2})
    whole = table.read_bytes()
    write_whole(table, whole[:-3])
    assert read_rows(table) == [{"m": 1, "accuracy": 0.5}]
    append_row(table, {"m": 2})
    assert table.read_bytes() == whole
    write_whole(table, "hello\n")
    with pytest.raises((TrainError, DataError), match="line 1, is not a JSON object"):
        read_rows(table)
    assert table.read_text() == "hello\n"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.mean_accuracy([0.5]), "shape"),
        (lambda: metrics.accuracy_matrix([]), "empty"),
        (lambda: metrics.forward_transfer(MATRIX, [0.1]), "baseline"),
        (lambda: metrics.hidden_histograms({}), "no hidden weights"),
        (lambda: metrics.hidden_histograms({"a.hidden": [1.0]}, bins=0), "bins"),
        (lambda: append_row("/nowhere/t", {"a": math.nan}), "plain JSON"),
        (lambda: append_row("/nowhere/t", {}), "cannot write"),
        (lambda: metrics.write_csv("/nowhere/t", history()), "cannot write"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(call: Any, message: str) -> None:
    with pytest.raises((TrainError, DataError), match=message):
        call()
