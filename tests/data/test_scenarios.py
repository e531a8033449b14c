from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabit.data import download as datasets
from metabit.data.download import Images
from metabit.data.errors import DataError
from metabit.data.scenarios import SCENARIOS, scenario
from metabit.train.settings import Settings, defaults

OURS = ("digits", "digits:sideways", "rotated-digits", "split-digits")
REAL = pytest.mark.skipif("METABIT_DATA_DIR" not in os.environ, reason="METABIT_DATA_DIR is not set: no real data here")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every public data set in small: 60,000 training images of noise would do, too."""

    def load(name: str) -> Images:
        rng = np.random.default_rng(len(name))
        size = {"usps": (16, 16, 1), "cifar10": (32, 32, 3)}.get(name, (28, 28, 1))
        x, y = rng.integers(0, 256, (5100, *size)).astype(np.uint8), np.arange(5100) % 10
        return Images(x[:5000], y[:5000], x[5000:], y[5000:])

    monkeypatch.setattr(datasets, "load", load)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "watch"])
def test_every_row_makes_tasks_that_fit_its_network(small: None, name: str) -> None:
    row = scenario(name)
    row = row.first(min(row.count, 2))
    settings = Settings.of(defaults(row.name))
    first = row.task(0, seed=3)
    spec = settings.spec(first, row.classes)
    for i in range(row.count):
        task, again = row.task(i, seed=3), row.task(i, seed=3)
        assert task.x_train.dtype == np.uint8 and task.features == spec.features and task.shape == first.shape
        assert len(task.x_train) == len(task.y_train) > 0 and task.y_train.max() < row.classes <= spec.classes
        assert np.array_equal(task.x_train, again.x_train) and np.array_equal(task.y_test, again.y_test)
    assert Settings(**settings.to_dict()) == settings
    with pytest.raises(DataError, match=f"has no task {row.count}: they are 0 to"):
        row.task(row.count)


def test_permutations_differ_by_task_and_seed(small: None) -> None:
    row = scenario("permuted-mnist")
    a, b, c = row.task(0), row.task(1), row.task(0, seed=1)
    original = datasets.load("mnist").x_train.reshape(-1, 784)
    for task in (a, b, c):
        assert np.array_equal(np.sort(task.x_train[:9], axis=1), np.sort(original[:9], axis=1))
        assert not np.array_equal(task.x_train[:9], original[:9])  # the first one is shuffled, too
    assert not np.array_equal(a.x_train[:9], b.x_train[:9]) and not np.array_equal(a.x_train[:9], c.x_train[:9])
    train, test = a.x_train[0], a.x_test[0]
    order = np.random.default_rng((0, 0)).permutation(784)
    assert np.array_equal(train, original[0][order]) and np.array_equal(
        test, datasets.load("mnist").x_test[0].ravel()[order]
    )


def test_streams_deal_every_sample_once(small: None) -> None:
    parts = [scenario("stream-fashion").task(i, seed=1) for i in range(5)]
    together = np.concatenate([part.x_train for part in parts])
    whole = datasets.load("fashion-mnist").x_train.reshape(5000, -1)
    assert np.array_equal(np.unique(together, axis=0), np.unique(whole, axis=0))
    assert all(len(part.y_train) == 1000 and len(np.unique(part.y_train)) == 10 for part in parts)


def test_usps_gets_a_black_frame(small: None) -> None:
    first, second = scenario("mnist-usps").task(0), scenario("mnist-usps").task(1)
    assert first.x_train.shape == (2000, 784) and second.x_train.shape == (1800, 784)
    images = second.x_train.reshape(-1, 28, 28)
    inner = images[:, 6:22, 6:22]
    assert inner.sum() == images.sum() and inner.min() == 0 < inner.max()
    consecutive = datasets.load("mnist").x_train.reshape(5000, -1)
    start = int(np.flatnonzero((consecutive == first.x_train[0]).all(1))[0])
    assert np.array_equal(first.x_train, consecutive[start : start + 2000])


def test_digits_turn_and_split() -> None:
    turned = [scenario("rotated-digits").task(i) for i in range(4)]
    assert np.array_equal(turned[1].x_test, scenario("digits:sideways").task(0).x_test)
    image = turned[0].x_train[5].reshape(8, 8)
    assert np.array_equal(turned[2].x_train[5].reshape(8, 8), image[::-1, ::-1])
    split = [scenario("split-digits").task(i) for i in range(5)]
    assert sum(len(task.x_train) for task in split) == len(turned[0].x_train)
    assert all(set(task.y_train) == {0, 1} for task in split)


@REAL
def test_watch_is_one_person_a_task() -> None:
    row = scenario("watch")
    tasks = [row.task(i) for i in range(row.count)]
    assert all(set(task.y_train) <= set(range(7)) and len(task.y_test) > 20 for task in tasks)
    assert all(task.features == 150 and 100 < task.x_train.mean() < 160 for task in tasks)


def test_watch_without_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("METABIT_DATA_DIR", raising=False)
    with pytest.raises(DataError, match="watch has no public home .* set METABIT_DATA_DIR"):
        scenario("watch").task(0)
    monkeypatch.setenv("METABIT_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match="watch.npz does not exist"):
        scenario("watch").task(0)


X = np.arange(120, dtype=np.uint8).reshape(40, 3)
Y = np.arange(40) % 4


@pytest.mark.parametrize("prefix", ["", "file:"])
def test_an_npz_with_tasks_is_a_sequence(tmp_path: Path, prefix: str) -> None:
    path = f"{tmp_path}/my.npz"
    np.savez(path, x=X, y=Y, task=np.repeat([10, 9], 20))
    row = scenario(prefix + path)
    assert (row.count, row.classes) == (2, 4)
    assert [task.name for task in map(row.task, range(2))] == ["my:9", "my:10"]
    assert row.task(0).x_train.min() == 60 and row.first(1).count == 1
    assert scenario(f"{path}:10").count == 1 and scenario(f"{path}:10").task(0).x_train.max() < 60
    np.savez(path, x=X, y=Y)
    assert scenario(path).count == 1
    with pytest.raises(DataError, match=r"tasks=2: .*my.npz has 1 to 1"):
        scenario(path, 2)


def test_a_csv_with_and_without_names(tmp_path: Path) -> None:
    path = tmp_path / "my.csv"
    path.write_text("\n".join(",".join(map(str, [*x, y])) for x, y in zip(X.tolist(), Y.tolist(), strict=True)))
    row = scenario(str(path))
    assert (row.count, row.classes) == (1, 4) and len(row.task(0).x_train) == 32
    lines = [f"{y},{x[0]},{'left' if i < 20 else 'right'},{x[1]}" for i, (x, y) in enumerate(zip(X, Y, strict=True))]
    path.write_text("label,a,task,b\n" + "\n".join(lines) + "\n")
    row = scenario(str(path))
    assert (row.count, row.classes) == (2, 4) and row.task(1).name == "my:right"
    assert set(map(tuple, row.task(0).x_train)) <= set(map(tuple, X[:20, :2]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has 0 samples"),
        ("a,b\n", "has 0 samples and 2 columns"),
        ("1\n2\n", "has 2 samples and 1 columns: features and a label are needed"),
        ("1,2\n3\n", "row 2, has 1 cells: the first row has 2"),
        ("a,y\n1,0\n?,1\n", r"row 3, a: '\?' is no number"),
        ("a,y\n1,cat\n", "row 2, y: 'cat' is no number, number the classes"),
        ("a,y\n1000,0\n2,1\n", r"x\[0, 0\] is 1000.0: features must be whole numbers"),
    ],
)
def test_wrong_csv_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "my.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        scenario(str(tmp_path / "my.csv")).task(0)


def test_wrong_names_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown scenario 'mnst': use one of permuted-mnist, .* or the path of"):
        scenario("mnst")
    for name in ("none.npz", "file:none.npz", "none.csv"):
        with pytest.raises(DataError, match="does not exist or is not a file"):
            scenario(str(name)).task(0)
    with pytest.raises(DataError, match="tasks=61: stream-fashion has 1 to 60"):
        scenario("stream-fashion", 61)


def test_defaults_of_own_data_are_those_of_the_road() -> None:
    from metabit.experiments.demo_settings import RECIPE

    ours: Any = defaults("digits")
    assert (ours.planes, ours.output, ours.m, ours.epochs) == (RECIPE.planes, RECIPE.output, RECIPE.m, RECIPE.epochs)
    assert Settings.of(ours).spec(scenario("digits").task(0), 10).hidden == RECIPE.hidden
