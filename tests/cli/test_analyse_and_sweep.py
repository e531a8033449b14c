"""The analyses and the sweep as commands, on the smallest problems."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from metabit import train
from metabit.cli.commands import analyse, sweep
from metabit.data import load, thermometer


def call(app: typer.Typer, *arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_quadratic(tmp_path: Path) -> None:
    said = json.loads(call(analyse.app, "quadratic", "--size", "40", "--json", "--plot", str(tmp_path / "q.svg")))
    assert said["bound"] < said["loss"]
    assert said["rows"][-1]["increase"] > said["rows"][0]["increase"]
    assert (tmp_path / "q.svg").stat().st_size > 3000
    assert "no signs can do better" in call(analyse.app, "quadratic", "--size", "40")


def test_switches(tmp_path: Path) -> None:
    task = load("digits").whole()
    spec = train.Spec(64, (16,), 10, encode=thermometer(task.x_train, 4))
    network = train.Network(spec)
    train.fit(network, task, epochs=2)
    path = tmp_path / "checkpoint.safetensors"
    train.save(path, network, rule=train.Rule.of(spec, 0.0))
    rows = json.loads(
        call(analyse.app, "switches", str(path), "--bins", "3", "--draws", "2", "--samples", "200", "--json")
    )
    assert {row["layer"] for row in rows} == {"layers.0", "layers.1"}
    assert "nats" in call(analyse.app, "switches", str(path), "--bins", "2", "--draws", "1", "--samples", "100")


def test_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(sweep.command)
    arguments = "rotated-digits --m 0 --m 25 --width 16 --tasks 2 --epochs 1 --workers 0".split()
    said = call(app, *arguments)
    assert "mean accuracy" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_file()) == ["sweep.csv", "sweep.jsonl"]
    before = (tmp_path / "out" / "sweep.jsonl").read_bytes()
    rows = json.loads(call(app, *arguments, "--json"))
    assert [row["m"] for row in rows] == [0.0, 25.0]
    assert (tmp_path / "out" / "sweep.jsonl").read_bytes() == before
