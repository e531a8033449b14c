"""The recorded tables say what the recorded runs say."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from metabit.data import Task
from metabit.export import read_image, write_image

ROOT = Path(__file__).parents[2]


def _benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


sys.path.insert(0, str(ROOT / "benchmarks"))  # they share lab.py
NAMES = ("training", "streams", "field")
BENCHMARKS = [_benchmark(name) for name in NAMES]
PAGES = [(benchmark, name) for benchmark in BENCHMARKS for name in benchmark.EXPERIMENTS if benchmark.done(name)]


@pytest.mark.parametrize(("benchmark", "name"), PAGES, ids=[name for _, name in PAGES])
def test_table_follows_from_the_runs(benchmark: ModuleType, name: str) -> None:
    recorded = (benchmark.RESULTS / f"{name}.md").read_text().splitlines()
    expected = benchmark.table(name).splitlines()
    # The line in between says where and when.
    assert recorded[0] == expected[0] and recorded[3:] == expected[3:]
    assert (benchmark.RESULTS / f"{name}.svg").stat().st_size > 2000


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=NAMES)
def test_index_follows_from_the_runs(benchmark: ModuleType) -> None:
    assert (benchmark.RESULTS / "README.md").read_text() == benchmark.index()


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=NAMES)
def test_no_page_is_of_runs_that_are_gone(benchmark: ModuleType) -> None:
    pages = {path.stem for path in benchmark.RESULTS.glob("*.md")} - {"README", "frontier", "step"}
    assert pages == {name for name in benchmark.EXPERIMENTS if benchmark.done(name)}


def test_head_page_follows_from_the_runs() -> None:
    head = _benchmark("head")
    found = head.done()
    assert set(found) == {head.TRAINED, *head.HEADS}
    assert (head.RESULTS / "README.md").read_text() == head.table(found)
    assert (head.RESULTS / "cifar10.svg").stat().st_size > 2000


def test_frontier_page_follows_from_its_measurements() -> None:
    frontier = _benchmark("frontier")
    points = json.loads((frontier.streams.RESULTS / "frontier.json").read_text())
    done = {device: [row["accuracy"] for row in runs] for device, runs in frontier.streams.done(frontier.NAME).items()}
    assert {point["device"]: point["accuracy"] for point in points} == done
    experiment = frontier.streams.EXPERIMENTS[frontier.NAME]
    for point in points:
        image = frontier.streams.first_image(experiment, experiment.devices[point["device"]], 0)
        assert frontier.streams.key(experiment, image).items() <= point.items()
    assert (frontier.streams.RESULTS / "frontier.md").read_text() == frontier.table(points)
    assert (frontier.streams.RESULTS / "frontier.svg").stat().st_size > 2000


def test_the_readme_and_the_demo_page_follow_from_the_demo() -> None:
    demo = _benchmark("demo")
    result = json.loads((demo.RESULTS / "demo.json").read_text())
    readme = demo.README.read_text()
    assert (
        demo.fill(demo.fill(readme, "demo", demo.learning_table(result)), "boards", demo.boards_table(result)) == readme
    )
    assert (demo.RESULTS / "demo.md").read_text() == demo.page(result)
    assert {row["board"] for row in result["boards"]} == set(demo.firmware_sim.boards())


def test_kernels_page_follows_from_its_measurements() -> None:
    kernels = _benchmark("kernels")
    found = json.loads((kernels.RESULTS / "kernels.json").read_text())
    assert (kernels.RESULTS / "kernels.md").read_text() == kernels.table(found)
    measured = {(cell["case"], cell["board"], cell["flags"]) for cell in found["cells"]}
    assert measured == {
        (c.name, b, f) for c in kernels.cases() for b in kernels.firmware_sim.boards() for f in kernels.FLAGS
    }


def test_confidence_page_follows_from_the_runs() -> None:
    confidence = _benchmark("confidence")
    rows = confidence.done()
    assert [row["seed"] for row in rows] == list(confidence.SEEDS)
    assert (confidence.RESULTS / "mnist-fashion.md").read_text() == confidence.table(rows)
    assert (confidence.RESULTS / "mnist-fashion.svg").stat().st_size > 2000


def test_backward_page_follows_from_the_runs() -> None:
    backward = _benchmark("backward")
    for pair in backward.PAIRS:
        for dose in backward.DOSES:
            for way in backward.WAYS:
                assert [row["seed"] for row in backward.done(pair, dose, way)] == list(backward.SEEDS)
    assert (backward.RESULTS / "README.md").read_text() == backward.page()


def test_auto_m_page_follows_from_the_runs() -> None:
    auto = _benchmark("auto_m")
    rows = auto.done()
    assert {(row["pair"], row["seed"], row["bits"]) for row in rows if row["guard"]} == {
        (pair, seed, bits) for pair in auto.PAIRS for seed in auto.SEEDS for bits in auto.BITS
    }
    assert (auto.RESULTS / "README.md").read_text() == auto.page(rows)


def test_a_device_given_signs_alone_predicts_alike_and_is_sure_of_nothing() -> None:
    field = BENCHMARKS[-1]
    frozen = field.fresh(6, 5, 3)
    levels = np.random.default_rng(0).integers(-8, 8, (5, 6)).astype(np.int8)
    taught = field.replace(frozen, layers=(field.replace(frozen.layers[0], hidden=levels), frozen.layers[1]))
    given = read_image(write_image(field.signs_at(taught, 0))).layers[0]
    assert np.array_equal(given.weights, np.where(levels >= 0, 1, -1)) and set(np.unique(given.hidden)) == {-1, 0}
    assert set(np.unique(field.signs_at(taught, 7).layers[0].hidden)) == {-8, 7}


def test_windows_that_overlap_are_never_on_both_sides() -> None:
    field = BENCHMARKS[-1]
    y = np.repeat([3, 1, 3], [10, 20, 5])
    x = np.arange(35, dtype=np.uint8)[:, None]
    both = Task("both", x, y, x, y)
    experiment = field.replace(field.EXPERIMENTS["watch"], load=lambda: (both, both))
    old, _ = field.worlds(experiment, validate=True)
    assert old.x_test[:, 0].tolist() == [8, 9, *range(26, 30), 34]
    learnt = old.x_train[:, 0].tolist()
    assert learnt == [*range(5), *range(10, 23), 30]
    untouched, _ = field.worlds(experiment, validate=False)
    assert untouched is both


def test_host_page_follows_from_its_measurements() -> None:
    host = _benchmark("host")
    result = json.loads((host.RESULTS / "host.json").read_text())
    assert (host.RESULTS / "host.md").read_text() == host.page(result)
    best = {name: row["min_us"] for name, row in result["engines"].items()}
    wide, narrow = (f"{best[f'metabit, library, {name}']:.2f} µs" for name in ("avx512vbmi2", "avx2"))
    assert f"{wide} a digit with AVX-512 and {narrow} with AVX2" in (ROOT / "README.md").read_text()
