"""The demo, with one pass of the second stream: its files, its numbers, and less forgetting with metaplasticity than without."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from metabit import firmware_sim


def test_demo(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "from metabit.cli import main; main()", "demo", "-o", "demo", "--passes", "1"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    folder = tmp_path / "demo"
    for name in ("checkpoint.safetensors", "model.mbit", "model.onnx", "model.tflite", "learned.mbit", "report.html"):
        assert (folder / name).stat().st_size > 0
    report = json.loads((folder / "report.json").read_text())
    first, second = report["chapters"]
    for learnt in first["deployments"]:
        start, end = learnt["curve"][0][1], learnt["curve"][-1][1]
        assert start[0] > 0.93 and start[1] < 0.3 and start[2] == 0
        assert end[1] > 0.75 and end[2] > 0.5, "it learns the turned digits and the new one"
        assert start[0] - end[0] < 0.04, "it keeps the old task"
    for order, compared in first["comparisons"].items():
        lines = {line["name"]: line for line in compared["lines"]}
        ours = next(d for d in first["deployments"] if d["name"] == f"head, {order}")["curve"][-1][1]
        assert lines["metabit (head)"]["after"] == [ours[1], ours[0], ours[2]]
        assert compared["known"] == ["upright 0 to 8"] and compared["taught"] == ["nine"] and compared["verdicts"]
        assert lines["SLDA"]["after"][0] > 0.8 > lines["SLDA"]["before"][0] and lines["SLDA"]["before"][1] > 0.85
    paper = {d["name"]: d["curve"] for d in second["deployments"]}
    for learner in ("levels", "visits"):
        metaplastic = paper["levels, m = 2" if learner == "levels" else "visits, metaplastic"]
        start, end, plain = metaplastic[0][1], metaplastic[-1][1], paper[f"{learner}, m = 0"][-1][1]
        assert start[0] > 0.93 and end[1] > 0.5 and start[0] - end[0] < 0.08
        assert plain[0] < end[0], "with m = 0 it forgets more"
    assert paper["visits, frozen"][0][1] == paper["visits, frozen"][-1][1]
    assert [board["board"] for board in report["boards"]] == firmware_sim.boards()
    assert all(board["stack_high_water"] <= board["stack_bound"]["total"] for board in report["boards"])
    assert report["passed"] and all(check["passed"] for check in report["checks"])
    page = (folder / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page, "self-contained"
