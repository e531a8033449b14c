"""The recorded tables say what the recorded runs say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def _benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


BENCHMARKS = [_benchmark(name) for name in ("training", "streams")]
PAGES = [(benchmark, name) for benchmark in BENCHMARKS for name in benchmark.EXPERIMENTS if benchmark.done(name)]


@pytest.mark.parametrize(("benchmark", "name"), PAGES, ids=[name for _, name in PAGES])
def test_table_follows_from_the_runs(benchmark: ModuleType, name: str) -> None:
    recorded = (benchmark.RESULTS / f"{name}.md").read_text().splitlines()
    expected = benchmark.table(name).splitlines()
    # The line in between says where and when.
    assert recorded[0] == expected[0] and recorded[3:] == expected[3:]
    assert (benchmark.RESULTS / f"{name}.svg").stat().st_size > 2000


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=["training", "streams"])
def test_index_follows_from_the_runs(benchmark: ModuleType) -> None:
    assert (benchmark.RESULTS / "README.md").read_text() == benchmark.index()


def test_confidence_page_follows_from_the_runs() -> None:
    confidence = _benchmark("confidence")
    rows = confidence.done()
    assert [row["seed"] for row in rows] == list(confidence.SEEDS)
    assert (confidence.RESULTS / "mnist-fashion.md").read_text() == confidence.table(rows)
    assert (confidence.RESULTS / "mnist-fashion.svg").stat().st_size > 2000


def test_auto_m_page_follows_from_the_runs() -> None:
    auto = _benchmark("auto_m")
    rows = auto.done()
    assert {(row["pair"], row["seed"], row["bits"]) for row in rows if row["guard"]} == {
        (pair, seed, bits) for pair in auto.PAIRS for seed in auto.SEEDS for bits in auto.BITS
    }
    assert (auto.RESULTS / "README.md").read_text() == auto.page(rows)
