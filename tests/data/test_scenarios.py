from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabit.data import SCENARIOS, image_sets, load
from metabit.data.errors import DataError
from metabit.data.image_sets import Images
from metabit.train.settings import Settings, defaults

OURS = ("digits", "digits:sideways", "rotated-digits", "split-digits")
REAL = pytest.mark.skipif("METABIT_DATA_DIR" not in os.environ, reason="METABIT_DATA_DIR is not set: no real data here")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every public dataset in small: 5,000 training images of noise and 100 for the test."""

    @functools.cache
    def few(name: str) -> Images:
        rng = np.random.default_rng(len(name))
        size = {"usps": (16, 16, 1), "cifar10": (32, 32, 3)}.get(name, (28, 28, 1))
        x, y = rng.integers(0, 256, (5100, *size)).astype(np.uint8), np.arange(5100) % 10
        return Images(x[:5000], y[:5000], x[5000:], y[5000:])

    monkeypatch.setattr(image_sets, "load", few)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "watch"])
def test_every_row_makes_tasks_that_fit_its_network(small: None, name: str) -> None:
    row = load(name)
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
    row = load("permuted-mnist")
    a, b, c = row.task(0), row.task(1), row.task(0, seed=1)
    original = image_sets.load("mnist").x_train.reshape(-1, 784)
    for task in (a, b, c):
        assert np.array_equal(np.sort(task.x_train[:9], axis=1), np.sort(original[:9], axis=1))
        assert not np.array_equal(task.x_train[:9], original[:9])  # the first one is shuffled, too
    assert not np.array_equal(a.x_train[:9], b.x_train[:9]) and not np.array_equal(a.x_train[:9], c.x_train[:9])
    train, test = a.x_train[0], a.x_test[0]
    order = np.random.default_rng((0, 0)).permutation(784)
    assert np.array_equal(train, original[0][order]) and np.array_equal(
        test, image_sets.load("mnist").x_test[0].ravel()[order]
    )


def test_streams_deal_every_sample_once(small: None) -> None:
    parts = [load("stream-fashion").task(i, seed=1) for i in range(5)]
    together = np.concatenate([part.x_train for part in parts])
    whole = image_sets.load("fashion-mnist").x_train.reshape(5000, -1)
    assert np.array_equal(np.unique(together, axis=0), np.unique(whole, axis=0))
    assert all(len(part.y_train) == 1000 and len(np.unique(part.y_train)) == 10 for part in parts)


def test_usps_gets_a_black_frame(small: None) -> None:
    first, second = load("mnist-usps").task(0), load("mnist-usps").task(1)
    assert first.x_train.shape == (2000, 784) and second.x_train.shape == (1800, 784)
    images = second.x_train.reshape(-1, 28, 28)
    inner = images[:, 6:22, 6:22]
    assert inner.sum() == images.sum() and inner.min() == 0 < inner.max()
    consecutive = image_sets.load("mnist").x_train.reshape(5000, -1)
    start = int(np.flatnonzero((consecutive == first.x_train[0]).all(1))[0])
    assert np.array_equal(first.x_train, consecutive[start : start + 2000])


def test_digits_turn_and_split() -> None:
    turned = [load("rotated-digits").task(i) for i in range(4)]
    assert np.array_equal(turned[1].x_test, load("digits:sideways").task(0).x_test)
    image = turned[0].x_train[5].reshape(8, 8)
    assert np.array_equal(turned[2].x_train[5].reshape(8, 8), image[::-1, ::-1])
    split = [load("split-digits").task(i) for i in range(5)]
    assert sum(len(task.x_train) for task in split) == len(turned[0].x_train)
    assert all(set(task.y_train) == {0, 1} for task in split)


@REAL
def test_watch_is_one_person_a_task() -> None:
    row = load("watch")
    tasks = [row.task(i) for i in range(row.count)]
    assert all(set(task.y_train) <= set(range(7)) and len(task.y_test) > 20 for task in tasks)
    assert all(task.features == 150 and 100 < task.x_train.mean() < 160 for task in tasks)


def test_watch_without_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("METABIT_DATA_DIR", raising=False)
    with pytest.raises(DataError, match="watch has no public home .* set METABIT_DATA_DIR"):
        load("watch").task(0)
    monkeypatch.setenv("METABIT_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match="watch.npz does not exist"):
        load("watch").task(0)


def test_a_sequence_is_one_stream_in_order() -> None:
    row = load("rotated-digits")
    whole, parts = row.whole(), list(row)
    assert len(row) == len(parts) == 4 and whole.name == "rotated-digits, 4 tasks in order"
    assert np.array_equal(whole.x_train, np.concatenate([part.x_train for part in parts]))
    assert np.array_equal(whole.y_test, np.concatenate([part.y_test for part in parts]))
    assert "4 tasks in order" in whole.line() and "of each task: 20 % of every class" in whole.line()


def test_tasks_with_the_same_test_part_are_tested_on_it_once(small: None) -> None:
    whole = load("stream-fashion", tasks=3).whole()
    assert len(whole.y_train) == 3000 and len(whole.y_test) == 100
    assert len(load("permuted-mnist", tasks=3).whole().y_test) == 300  # each has an order of pixels of its own


def test_one_task_of_a_sequence_by_number() -> None:
    second = load("rotated-digits:2")
    assert second.count == 1 and np.array_equal(second.task(0).x_train, load("digits:sideways").task(0).x_train)
    assert load("split-digits:5").classes == 2 and load("split-digits:5").whole().name == "split-digits:5"
    for wrong in ("rotated-digits:0", "rotated-digits:5", "rotated-digits:two"):
        with pytest.raises(DataError, match="the tasks of rotated-digits are rotated-digits:1 to rotated-digits:4"):
            load(wrong)


def test_the_seed_of_load_is_the_seed_of_its_tasks() -> None:
    assert np.array_equal(load("digits", seed=3).task(0).x_test, load("digits").task(0, seed=3).x_test)
    assert not np.array_equal(load("digits", seed=3).whole().x_test, load("digits").whole().x_test)


def test_too_many_tasks() -> None:
    with pytest.raises(DataError, match="tasks=61: stream-fashion has 1 to 60"):
        load("stream-fashion", tasks=61)


def test_defaults_of_own_data_are_those_of_the_road() -> None:
    from metabit.experiments.demo_settings import RECIPE

    ours: Any = defaults("digits")
    assert (ours.planes, ours.output, ours.m, ours.epochs) == (RECIPE.planes, RECIPE.output, RECIPE.m, RECIPE.epochs)
    assert Settings.of(ours).spec(load("digits").task(0), 10).hidden == RECIPE.hidden
