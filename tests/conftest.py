"""The whole suite: helper modules by name, the marker `fast`, and the table of optional tools at the end of a run."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts background programs like this: Ctrl-C would be ignored here and in every child.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# One thread for each process: threads of torch that share a core with another test cost three times the CPU in waiting.
os.environ.setdefault("OMP_NUM_THREADS", "1")

for helpers in (".", "export"):  # networks.py; frozen_reference.py. pytest's importlib mode leaves sys.path alone.
    sys.path.insert(0, str(Path(__file__).parent / helpers))

SLOW: dict[str, tuple[str, ...]] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test as fast unless `SLOW` names its file or its function."""
    here = Path(__file__).parent
    for item in items:
        slow = SLOW.get(item.path.relative_to(here).as_posix())
        name = getattr(item, "originalname", item.name)
        if slow is None or (slow and name not in slow):
            item.add_marker(pytest.mark.fast)


def _program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name) is not None


def _package(name: str) -> Callable[[], bool]:
    return lambda: importlib.util.find_spec(name) is not None


def _has_newlib() -> bool:
    words = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-fsyntax-only", "-xc", "-"]
    return subprocess.run(words, input=b"#include <string.h>\n", capture_output=True).returncode == 0


OPTIONAL: dict[str, tuple[Callable[[], bool], str]] = {
    "gcc": (_program("gcc"), r"\bno gcc\b"),
    "g++": (_program("g++"), r"\bno g\+\+"),
    "clang": (_program("clang"), r"\bno clang\b"),
    "arm-none-eabi-gcc": (_program("arm-none-eabi-gcc"), r"arm-none-eabi"),
    "its C library (newlib)": (lambda: not shutil.which("arm-none-eabi-gcc") or _has_newlib(), r"newlib"),
    "real data (METABIT_DATA_DIR)": (lambda: "METABIT_DATA_DIR" in os.environ, r"METABIT_DATA_DIR"),
    "native training step (_fused)": (lambda: _package("metabit.train.rule._fused")(), r"_fused"),
    "a user who is not root": (lambda: os.name != "posix" or os.geteuid() != 0, r"\broot\b"),
    **{name: (_package(name), rf"\b{name}\b") for name in
       ("torch", "onnx", "onnxruntime", "flatbuffers", "ai_edge_litert", "tensorboard", "ray")},
}  # fmt: skip
"""Optional tool -> is it here, and the reason that tests without it give for not running."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which optional tools are absent, and how many tests were not run for each."""
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]  # type: ignore[index]
    left_out: Counter[str] = Counter()
    for reason in reasons:
        named = [tool for tool, (_, words) in OPTIONAL.items() if re.search(words, reason)]
        left_out[named[0] if named else reason.removeprefix("Skipped: ")] += 1
    absent = [tool for tool, (is_here, _) in OPTIONAL.items() if not is_here()]
    rows = [(tool, "absent" if tool in absent else "present", left_out.pop(tool, 0)) for tool in OPTIONAL]
    rows = [row for row in rows if row[1] == "absent" or row[2]] + [(why, "", n) for why, n in left_out.items()]
    terminalreporter.section("optional tools")
    if not rows:
        terminalreporter.write_line("all are here: nothing was left out")
    for tool, state, count in rows:
        terminalreporter.write_line(f"{tool:<34} {state:<8} {count:>5} tests not run")
