"""The skeleton of the benchmarks, on a benchmark of two experiments in a folder of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metabit.data.rows import append_row, read_rows
from metabit.experiments import results
from metabit.experiments.results import Benchmark
from metabit.train.errors import TrainError


def squares(folder: Path, measured: list[int] | None = None, **more: Any) -> Benchmark:
    """Squares of the seeds, in two variants; the folder stands for the repository. `measured` gets each seed measured."""
    (folder / "results").mkdir(exist_ok=True)

    def cells(name: str) -> dict[str, list[dict[str, Any]]]:
        return {v: [{"experiment": name, "variant": v, "seed": s} for s in (0, 1, 2)] for v in ("plain", "other")}

    def measure(cell: dict[str, Any]) -> dict[str, Any]:
        if measured is not None:
            measured.append(cell["seed"])
        return {"square": cell["seed"] ** 2, "accuracy": [0.5, 0.25 * cell["seed"]]}

    def pages() -> dict[str, str]:
        return {"docs/squares.md": f"{[row['square'] for row in found.rows('one')]}\n"}

    fields: dict[str, Any] = {"measure": measure, "pages": pages} | more
    found = Benchmark(str(folder / "benchmarks" / "squares.py"), {"one": "One", "two": "Two"}, cells, **fields)
    return found


def test_what_is_missing_is_measured_and_pages_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured: list[int] = []
    benchmark = squares(tmp_path, measured)
    results.main(benchmark, ["one", "--seeds", "2", "--only", "plain"])
    assert measured == [0, 1]
    assert (tmp_path / "docs" / "squares.md").read_text() == "[0, 1]\n"
    results.main(benchmark, ["one"])
    assert measured == [0, 1, 0, 1, 2, 2]
    done = benchmark.done("one")
    assert [row["seed"] for row in done["plain"]] == [0, 1, 2] and [row["square"] for row in done["other"]] == [0, 1, 4]
    results.main(benchmark, [])
    assert "one                    6 of   6 rows  One" in capsys.readouterr().out
    assert len(read_rows(benchmark.table)) == 6 and benchmark.done("two") == {}


def test_again_replaces_rows_where_they_stand(tmp_path: Path) -> None:
    benchmark = squares(tmp_path)
    results.main(benchmark, ["all"])
    before = read_rows(benchmark.table)
    changed = squares(tmp_path, measure=lambda cell: {"square": -1})
    results.main(changed, ["one", "--again", "--seeds", "1"])
    after = read_rows(benchmark.table)
    assert [row["cell"] for row in after] == [row["cell"] for row in before]
    assert [row["square"] for row in after if row["cell"]["experiment"] == "one"] == [-1, -1, 1, 1, 4, 4]
    assert not (tmp_path / "build" / "results" / "squares.jsonl").exists()


def test_printing_keeps_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark = squares(tmp_path)
    results.main(benchmark, ["one", "--print"])
    assert "square=4" in capsys.readouterr().out
    assert not benchmark.table.exists() and not (tmp_path / "docs").exists()


def test_cells_in_turns_are_measured_together_or_not_at_all(tmp_path: Path) -> None:
    calls = []

    def together(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
        calls.append(len(cells))
        return [{"time": len(calls)} for _ in cells]

    benchmark = squares(tmp_path, measure=None, together=together, here=lambda cell: cell["seed"] < 2, pages=dict)
    results.main(benchmark, ["one"])
    results.main(benchmark, ["one"])
    assert calls == [4]
    rows = read_rows(benchmark.table)
    other = {"cell": {"experiment": "one", "variant": "plain", "seed": 2}, "time": 0}
    benchmark.table.write_text("".join(json.dumps(row) + "\n" for row in [other, *rows[1:]]))
    results.main(benchmark, ["one"])  # one row is gone: this machine's are measured anew, the other machine's is kept
    assert calls == [4, 4] and sorted(row["time"] for row in benchmark.rows("one")) == [0, 2, 2, 2, 2]


def test_a_cell_that_fails_is_an_error_and_is_tried_again(tmp_path: Path) -> None:
    def fail(cell: dict[str, Any]) -> dict[str, Any]:
        raise TrainError("no data")

    with pytest.raises(TrainError, match="3 of 3 cells failed, .*no data"):
        results.main(squares(tmp_path, measure=fail), ["one", "--only", "plain"])
    benchmark = squares(tmp_path)
    assert benchmark.done("one") == {}
    results.main(benchmark, ["one"])
    assert len(benchmark.rows("one")) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["three"], "unknown experiment 'three': choose from one, two, all"),
        (["one", "--validate", "{}"], "no settings"),
    ],
)
def test_what_cannot_be_asked_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        results.main(squares(tmp_path), arguments)
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_validation_prints_and_keeps_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark = squares(tmp_path, validate=lambda name, variant, changes: {"accuracy": changes["m"]})
    results.main(benchmark, ["two", "--only", "plain", "--validate", '{"m": 0.25}'])
    assert capsys.readouterr().out == "variant=plain accuracy=0.25\n" and not benchmark.table.exists()


def test_pictures_of_bars_are_of_experiments_with_rows(tmp_path: Path) -> None:
    benchmark = squares(tmp_path)
    results.main(benchmark, ["two"])
    (draw,) = results.bars(benchmark, "accuracy", {"one": ["a", "b"], "two": ["left", "right"]}).values()
    draw(tmp_path / "two.svg")
    text = (tmp_path / "two.svg").read_text()
    assert all(word in text for word in ("plain", "other", "left", "right", "Two"))


def test_a_table_escapes_bars_and_refuses_ragged_rows() -> None:
    assert results.markdown(["a", "b"], [["|x|", 1]]) == ["| a | b |", "|---|---|", "| \\|x\\| | 1 |"]
    with pytest.raises(ValueError, match="1 cells in a table of 2"):
        results.markdown(["a", "b"], [["x"]])


def test_a_spread_and_the_places_of_rows(tmp_path: Path) -> None:
    assert results.spread([0.5]) == "50.0" and results.spread([1.0, 3.0], 2, 1) == "2.00 ± 1.41"
    row = results.provenance("numpy")
    assert set(row) == {"machine", "date", "numpy"}
    assert results.places([row, row | {"torch": "2"}, row]) == (
        f"{row['machine']}, {row['date']}; {row['machine']}, torch 2, {row['date']}"
    )
    assert results.page("T", "about", ["| a |"], ["note"], level=2) == "## T\n\nabout\n\n| a |\n\n* note\n"
    append_row(tmp_path / "x.jsonl", row)
