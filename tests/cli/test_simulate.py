"""metabit simulate: the figures are those of the calls that ran, from one build and one emulator process."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabit.data import load
from metabit.experiments import board_run, stream
from metabit.experiments.rivals import SLDA
from metabit.export import read_image
from metabit.firmware_sim import Device, build, load_board

VECTORS = Path(__file__).parent.parent / "vectors"


def budgets(folder: Path, limits: str) -> Path:
    file = folder / "budgets.toml"
    file.write_text(f"[emulator]\ninstructions_per_call = 1_000_000_000\n[default]\nstack_bytes = 2048\n{limits}\n")
    return file


def test_the_costs_are_those_of_the_stream_that_ran(metabit: Any, image: Path, data: Path) -> None:
    """Every step again by hand: mean, 95th percentile, worst with its row, for predictions and learning steps."""
    words = ("simulate", image, "--data", data, "--learn", "--passes", 2, "--limit", 110, "--seed", 5, "--json")
    found = metabit(*words).json()["measurement"]
    task, board = load(str(data), seed=5).whole(), load_board("nrf52840")
    order = np.concatenate(list(stream.chunks(len(task.y_train), 2, 110, 5, board_run.CHUNK)))
    elf = build(image, board)
    with Device(elf, board) as device:
        before = device.predict_many(task.x_test).insns
        learnt = device.learn_many(task.x_train[order], task.y_train[order])
        after = device.predict_many(task.x_test).insns
    learn, predict = found["learn"], found["predict"]
    assert learn["samples"] == 110 and learn["insns_mean"] == learnt.insns.mean()
    assert (learn["insns_max"], learn["cycles_max"]) == (learnt.insns.max(), learnt.cycles.max())
    assert learn["cycles_p95"] == np.sort(learnt.cycles)[int(np.ceil(0.95 * 110)) - 1]
    assert learn["worst_call"] == learnt.cycles.argmax() and learn["worst_sample"] == order[learnt.cycles.argmax()]
    assert learn["worst_data"] == f"{data}, training part"
    assert predict["insns_mean"] == np.concatenate([before, after]).mean()
    assert predict["samples"] == 2 * len(task.y_test) and predict["worst_data"].startswith(f"{data}, test part ")
    shorter = metabit(*words[:8], 5, *words[9:]).json()["measurement"]
    assert shorter["learn"]["insns_mean"] == learnt.insns[:5].mean()


def test_budgets_are_compared_with_the_worst_step_of_the_stream(
    metabit: Any, image: Path, data: Path, tmp_path: Path
) -> None:
    words = ("simulate", image, "--data", data, "--learn", "--limit", 60, "--budgets")
    learn = metabit(*words, budgets(tmp_path, ""), "--json").json()["measurement"]["learn"]
    assert learn["ms_p95"] < learn["ms_max"]
    between, above = (learn["ms_p95"] + learn["ms_max"]) / 2, learn["ms_max"] * 1.001
    metabit(*words, budgets(tmp_path, f"learn_ms = {between}")).fails("learn_ms", "exceeds", code=3)
    assert metabit(*words, budgets(tmp_path, f"learn_ms = {above}")).code == 0


def test_one_build_and_one_emulator_process(metabit: Any, image: Path, data: Path, monkeypatch: Any) -> None:
    started, built, true_build = [], [], board_run.build

    class Counted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, args: Any, **kwargs: Any) -> None:
            started.extend(["worker"] if "run.worker" in " ".join(map(str, args)) else [])
            super().__init__(args, **kwargs)

    def build_counted(*args: Any, **kwargs: Any) -> Path:
        built.append(args)
        return true_build(*args, **kwargs)

    monkeypatch.setattr(subprocess, "Popen", Counted)
    monkeypatch.setattr(board_run, "build", build_counted)
    monkeypatch.setattr("metabit.firmware_sim.report.measure.build", build_counted)
    assert metabit("simulate", image, "--data", data, "--learn", "--report", "there").code == 0
    assert (len(started), len(built)) == (1, 1)
    found = metabit("simulate", image, "--data", data, "--learn", "--layers", "--json").json()["measurement"]
    assert (len(started), len(built)) == (3, 3)
    assert {row["call"] for row in found["layers"]} == {"predict", "learn"} and "second build" in found["layer_samples"]


@pytest.mark.parametrize("learn", [True, False])
def test_without_learning_no_step_is_reported(metabit: Any, image: Path, data: Path, learn: bool) -> None:
    words = ("simulate", image, "--data", data, *(["--learn"] if learn else []))
    ran, found = metabit(*words), metabit(*words, "--json").json()
    assert (found["measurement"]["learn"] is not None) == learn
    assert ("learn_ms" in [c["budget"] for c in found["budgets"]]) == learn
    words_of = " ".join(ran.out.split())  # a caption wraps where a path is long
    assert ("No learning step was measured: add --learn" in words_of) != learn
    assert ("Worst learning step: sample " in words_of) == learn and "Worst prediction: sample " in words_of


@pytest.mark.parametrize("stem", ["votes-3bit", "conv-uint8", "output-5bit"])
def test_a_report_of_any_model(metabit: Any, tmp_path: Path, stem: str) -> None:
    """Also with words to escape in the name of the image."""
    image = (VECTORS / f"{stem}.mbit").read_bytes()
    (tmp_path / "a<b>.mbit").write_bytes(image)
    model, rng = read_image(image), np.random.default_rng(2)
    features, most = (model.input_bits, 1) if model.packed else (model.input_bytes, 255)
    x = rng.integers(0, most + 1, (60, features)).astype(np.uint8)
    np.savez(tmp_path / "stream.npz", x=x, y=np.arange(60) % model.classes)
    ran = metabit("simulate", "a<b>.mbit", "--data", "stream.npz", "--learn", "--report", "reports/here")
    assert ran.code == 0 and "reports/here/report.html" in ran.out
    told = json.loads((tmp_path / "reports/here/report.json").read_text())
    page = (tmp_path / "reports/here/report.html").read_text()
    assert told["boards"][0]["learn"]["samples"] == told["chapters"][0]["deployments"][0]["curve"][-1][0] > 0
    learnt, compared = told["chapters"][0]["deployments"][0], told["chapters"][0]["comparisons"][""]
    assert sum(learnt["levels_after"].values()) == learnt["synapses"]
    lines = compared["lines"]
    assert len(lines) == 6 and lines[0]["after"] == learnt["curve"][-1][1]
    assert "Beside other learners" in page and compared["verdicts"][0].split(":")[0] in page
    assert "a&lt;b&gt;.mbit on nrf52840" in page and "<b>.mbit" not in page and "nan" not in page
    worst = told["boards"][0]["learn"]
    assert f"sample {worst['worst_sample']} of stream.npz, training part" in page


def test_a_report_without_learning(metabit: Any, image: Path, data: Path, tmp_path: Path) -> None:
    assert metabit("simulate", image, "--data", data, "--report", ".").code == 0
    page = (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["chapters"] == [] and "Beside other" not in page
    assert "Learning on the device" not in page and "learning step" not in page[page.index("<main>") :]


def test_a_missing_package_for_the_report_is_one_sentence(
    metabit: Any, image: Path, data: Path, monkeypatch: Any
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "jinja2", None)
    metabit("simulate", image, "--data", data, "--report", "there").fails("jinja2", "pip install 'metabit[firmware]'")
    assert not Path("there").exists()


def test_tables_in_forty_columns_cut_no_word(metabit: Any, image: Path, data: Path, monkeypatch: Any) -> None:
    from rich.console import Console

    from metabit.experiments import show

    monkeypatch.setattr(show, "out", Console(width=40))
    for words in (("simulate", image, "--data", data, "--learn", "--limit", 20), ("boards",)):
        ran = metabit(*words)
        assert ran.code == 0 and "…" not in ran.out
        for word in ("nrf52840", "budget") if words[0] == "simulate" else ("stm32f746", "Cortex-M0+", "320.0"):
            assert word in ran.out


def test_ctrl_c_in_the_run_is_one_sentence_and_writes_nothing(
    metabit: Any, image: Path, data: Path, monkeypatch: Any
) -> None:
    before = {path for path in Path().rglob("*")}
    monkeypatch.setattr(board_run.Meter, "learn", lambda *_: signal.raise_signal(signal.SIGINT))
    words = ("simulate", image, "--data", data, "--learn", "--report", "new/report")
    for more in ((), ("--json",)):
        ran = metabit(*words, *more)
        ran.fails("interrupted: the run did not end, so nothing is reported or written", "--limit", code=130)
        assert "{" not in ran.out and {path for path in Path().rglob("*")} == before


def test_ctrl_c_among_the_rivals_keeps_the_measurement(metabit: Any, image: Path, data: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(SLDA, "learn", lambda *_: signal.raise_signal(signal.SIGINT))
    ran = metabit("simulate", image, "--data", data, "--learn", "--limit", 9, "--report", "r", "--json")
    ran.fails("interrupted: the device is measured whole, the other learners are left out", code=130)
    told = ran.json()
    assert told["interrupted"] and told["rivals"] is None and told["measurement"]["learn"]["samples"] == 9
    assert Path("r/report.json").is_file() and Path("r/report.html").is_file()
