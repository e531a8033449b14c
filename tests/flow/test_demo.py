"""The demo, with one pass of the stream: its files, its numbers, and less forgetting with metaplasticity than without."""

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
    metaplastic, plain, _, frozen = report["deployments"]
    upright, sideways = 0, 1
    start, end = metaplastic["curve"][0][1], metaplastic["curve"][-1][1]
    assert start[upright] > 0.93 and start[sideways] < 0.3
    assert end[sideways] > 0.75, "it learns the new task"
    assert start[upright] - end[upright] < 0.05, "it keeps the old task"
    assert plain["curve"][-1][1][upright] < end[upright], "with m = 0 it forgets more"
    assert frozen["curve"][0][1] == frozen["curve"][-1][1]
    lines = {line["name"]: line for line in report["comparison"]["lines"]}
    assert lines["metabit (metaplastic)"]["after"] == end[::-1] and report["comparison"]["known"] == ["upright"]
    assert lines["SLDA"]["after"][0] > 0.8 > lines["SLDA"]["before"][0] and lines["SLDA"]["before"][1] > 0.85
    assert report["comparison"]["verdicts"]
    assert [board["board"] for board in report["boards"]] == firmware_sim.boards()
    assert all(board["stack_high_water"] <= board["stack_bound"]["total"] for board in report["boards"])
    assert report["passed"] and all(check["passed"] for check in report["checks"])
    page = (folder / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page, "self-contained"
