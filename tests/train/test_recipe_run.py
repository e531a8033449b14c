from __future__ import annotations

import signal
from typing import Any

import numpy as np
import pytest

from metabit.data import Task, load
from metabit.train import recipe
from metabit.train.errors import TrainError
from metabit.train.recipe_run import RecipeSettings, applies, run_recipe

RNG = np.random.default_rng(0)
Y = np.arange(200) % 3
X = (RNG.normal(size=(200, 4)) + 3 * np.eye(4)[Y]).astype(np.float32)
TASK = Task("t", X[:160], Y[:160], X[160:], Y[160:], class_names=("a", "b", "c"), feature_names=("p", "q", "r", "s"))


@pytest.mark.parametrize(
    ("changes", "own", "builtin"),
    [
        ({}, True, False),
        ({"hidden": [64], "epochs": 3, "seed": 1}, True, False),
        ({"hidden": 64}, True, False),
        ({"hidden": [64, 64]}, False, False),
        ({"hidden": []}, False, False),
        ({"m": 0.0}, False, False),
        ({"planes": 2}, False, False),
        ({"preset": "mlp-256"}, False, False),
        ({"preset": "unheard"}, False, False),
        ({"preset": "normed-64"}, True, True),
        ({"bits": 4}, True, True),
    ],
)
def test_which_network_settings_are_for(changes: dict[str, Any], own: bool, builtin: bool) -> None:
    assert (applies(changes, default=True), applies(changes, default=False)) == (own, builtin)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 4, "m": 2}, "bits=4 is of the default network and m=2 is of the paper's networks: leave one out"),
        ({"preset": "normed-64", "norm": "static"}, "preset=normed-64 is of the default network and norm=static"),
        ({"rate": 0.1, "hidden": [4, 4]}, r"rate=0.1 is of the default network and hidden=\[4, 4\]"),
    ],
)
def test_settings_of_both_kinds_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainError, match=message):
        applies(changes, default=True)


def test_a_preset_and_hidden_are_units() -> None:
    assert RecipeSettings.of({}).units == 32
    assert RecipeSettings.of({"preset": "normed-128"}).units == 128
    assert RecipeSettings.of({"preset": "normed-128", "hidden": [48], "bits": 6}) == RecipeSettings(units=48, bits=6)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden", 0), ("hidden", 1025), ("hidden", 2.5), ("bits", 1), ("bits", 9), ("thresholds", 0), ("thresholds", 17),
        ("epochs", 0), ("epochs", True), ("seed", -1), ("rate", "fast"), ("noise", None), ("shared", 1),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(TrainError, match=f"{'units' if name == 'hidden' else name}={value!r}: must be "):
        RecipeSettings.of({name: value})


def test_a_run_has_a_history_and_a_checkpoint() -> None:
    told: list[recipe.Report] = []
    ran = run_recipe(TASK, RecipeSettings(units=8, epochs=6, seed=2), told.append)
    assert [row["epoch"] for row in ran.history] == [1, 2, 3, 4, 5, 6] == [report.passes for report in told]
    assert ran.history[-1]["step"] == 18 == told[-1].steps  # three batches of at most 64 are a pass
    assert not ran.interrupted and ran.history[-1]["accuracy"] == [ran.accuracy]
    right = ran.trained.predict(TASK.x_test) == TASK.y_test
    assert ran.accuracy == right.mean() > 0.8
    assert ran.balanced == pytest.approx(np.mean([right[TASK.y_test == c].mean() for c in range(3)]))
    found = ran.checkpoint({"data": "t"})
    assert found.class_names == ("a", "b", "c") and found.feature_names == ("p", "q", "r", "s")
    assert found.settings["units"] == 8 and found.history == ran.history and len(found.labels) == 160


def test_many_passes_have_few_reports() -> None:
    ran = run_recipe(TASK, RecipeSettings(units=4, epochs=120))
    assert len(ran.history) == 40 and ran.history[-1]["epoch"] == 120


def test_ctrl_c_ends_it_with_a_network_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def tell(report: recipe.Report) -> None:
        if report.passes == 3:
            signal.raise_signal(signal.SIGINT)

    ran = run_recipe(TASK, RecipeSettings(units=8, epochs=10), tell)
    assert ran.interrupted and len(ran.trained.losses) == 9 and len(ran.history) == 3
    assert ran.checkpoint().to_network() is not None and ran.accuracy > 0.4


def test_thresholds_are_each_features_own_unless_they_are_shared() -> None:
    x = RNG.integers(0, 256, (50, 900)).astype(np.uint8)
    picture = Task("p", x, np.arange(50) % 2, x, np.arange(50) % 2, shape=(30, 30, 1))
    own, shared = (
        run_recipe(picture, RecipeSettings(units=2, epochs=1, shared=shared)).trained.encoder
        for shared in (False, True)
    )
    assert own.planes == shared.planes == 1
    assert len(np.unique(own.thresholds)) > 1 == len(np.unique(shared.thresholds))
    digits = run_recipe(load("digits").task(0), RecipeSettings(units=2, epochs=1, thresholds=3)).trained.encoder
    assert digits.planes == 3


def test_more_classes_than_an_output_holds() -> None:
    y = np.arange(1025)
    many = Task("t", X[:1].repeat(1025, 0), y, X[:1], y[:1])
    with pytest.raises(TrainError, match="t has 1025 classes: the default network has at most 1024"):
        run_recipe(many, RecipeSettings())


def test_more_bits_than_a_unit_takes() -> None:
    x = np.zeros((10, 16385), np.uint8)
    x[::2] = 1
    with pytest.raises(
        TrainError, match="16385 features with 1 thresholds each are 16385 bits: a unit has at most 16384"
    ):
        run_recipe(Task("t", x, np.arange(10) % 2, x, np.arange(10) % 2), RecipeSettings())
