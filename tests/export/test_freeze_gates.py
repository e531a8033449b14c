"""A trained network of gates in integers: the classes of training, heads that know them, and options that are impossible."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from metabit.data.encoder import Encoder
from metabit.export import (
    GateOptions,
    HeadLayer,
    LevelsLayer,
    Notes,
    Oracle,
    freeze,
    freeze_gates,
    read_image,
    write_image,
)
from metabit.export.errors import ExportError
from metabit.export.freeze.gates import cuts_of, gates_arrays
from metabit.export.freeze.gates_source import GatesArrays
from metabit.export.freeze.output_levels import levels_rule, levels_temperature
from metabit.export.frozen import COUNT_FLOOR, FREE, Frozen
from metabit.export.oracle.head import UNKNOWN
from metabit.train import load_checkpoint
from metabit.train.gates_checkpoint import GatesCheckpoint
from metabit.train.recipe import Trained, fit_recipe

LOADERS = {"wine": load_wine, "cancer": load_breast_cancer, "digits": load_digits}


class Case:
    def __init__(self, name: str) -> None:
        self.x, self.y = LOADERS[name](return_X_y=True)
        self.part = np.arange(len(self.y)) % 2 == 0
        steps = 250 if name == "digits" else 120
        self.trained: Trained = fit_recipe(self.x[self.part], self.y[self.part], units=32, steps=steps)

    def frozen(self, **options: Any) -> Frozen:
        return freeze_gates(self.trained, self.x[self.part], self.y[self.part], GateOptions(**options))

    def test(self, most: int = 250) -> tuple[np.ndarray, np.ndarray]:
        return self.x[~self.part][:most], self.y[~self.part][:most]


@pytest.fixture(scope="module", params=LOADERS)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


@pytest.fixture(scope="module")
def wine() -> Case:
    return Case("wine")


def labels(frozen: Frozen, case: Case, x: np.ndarray) -> np.ndarray:
    oracle = Oracle(frozen)
    return np.array([oracle.predict(one) for one in case.trained.encoder.quantise(x)])


@pytest.mark.parametrize("learner", ["none", "levels"])
def test_integers_predict_what_floats_predict(case: Case, learner: str) -> None:
    frozen = case.frozen(learner=learner)
    x, _ = case.test()
    assert (labels(frozen, case, x) == case.trained.predict(x)).mean() >= 0.995
    assert frozen.layers[1].learns == (learner == "levels")
    assert write_image(read_image(write_image(frozen))) == write_image(frozen)


def test_a_head_is_about_as_good_as_the_trained_output(case: Case) -> None:
    x, y = case.test()
    trained = (case.trained.predict(x) == y).mean()
    assert (labels(case.frozen(), case, x) == y).mean() >= trained - 0.03


def test_the_head_knows_the_training_part_and_has_room(wine: Case) -> None:
    frozen = wine.frozen(spare_classes=2, memory=100, covariance_memory=64, ridge=500, prior=False, seed=7)
    head = frozen.layers[1]
    assert isinstance(head, HeadLayer) and frozen.classes == head.classes == len(head.hidden) == 5
    assert head.counts.tolist() == [*np.bincount(wine.y[wine.part]), 0, 0]
    assert vars(head.settings) == {
        "memory": 100,
        "covariance_memory": 64,
        "ridge": 500,
        "prior": False,
        "sweep_every": 1,
    }
    oracle, x = Oracle(frozen), wine.trained.encoder.quantise(wine.x)
    assert oracle.scores(x[0])[3:].tolist() == [UNKNOWN, UNKNOWN]
    oracle.learn(x[0], 4)
    assert oracle.scores(x[0])[4] > UNKNOWN == oracle.scores(x[0])[3]


def test_rows_of_a_class_begin_free(wine: Case) -> None:
    frozen = wine.frozen(rows_per_class=2, spare_classes=1, far=5, doubt_limit=9)
    head = frozen.layers[1]
    assert isinstance(head, HeadLayer) and len(head.hidden) == 8 and frozen.classes == 4
    assert head.owners.tolist() == [0, 1, 2, *[FREE] * 5] and not head.doubts.any()
    assert (head.rows.per_class, head.rows.far, head.rows.doubt_limit) == (2, 5, 9)
    few = wine.frozen(rows_per_class=8, rows=4).layers[1]
    assert len(few.hidden) == 4
    many = wine.frozen(rows_per_class=8, spare_classes=30).layers[1]
    assert len(many.hidden) == 128


def test_encoder_names_and_seed_go_along(wine: Case) -> None:
    arrays = gates_arrays(wine.trained)
    assert isinstance(arrays, GatesArrays)
    named = replace(arrays, class_names=("a", "b", "c"), feature_names=tuple(f"f{i}" for i in range(13)))
    frozen = freeze_gates(named, wine.x[wine.part], wine.y[wine.part])
    assert frozen.notes == Notes(("a", "b", "c"), named.feature_names)
    assert wine.frozen().notes is None
    encoder = wine.trained.encoder
    assert frozen.encode is not None and np.array_equal(frozen.encode.thresholds, encoder.thresholds)
    assert wine.frozen(seed=1).generator != wine.frozen(seed=2).generator
    assert wine.frozen(seed=1).layers[1].dither != wine.frozen(seed=2).layers[1].dither


def test_a_checkpoint_keeps_the_sums_a_head_needs(wine: Case) -> None:
    """A source with sums of the training part gives the image that the training part itself gives."""
    arrays = gates_arrays(wine.trained)
    assert isinstance(arrays, GatesArrays)
    bits = arrays.encoder.to_bits(wine.x[wine.part]).astype(np.int64)
    kept = replace(arrays, sums=(bits @ arrays.weights.T).astype(np.int16), labels=wine.y[wine.part])
    assert write_image(freeze_gates(kept)) == write_image(wine.frozen())


def test_features_that_share_their_thresholds_store_them_once() -> None:
    x = np.random.default_rng(0).integers(0, 256, (60, 20)).astype(np.uint8)
    shared = cuts_of(Encoder.fit(x, 3, shared=True))
    assert shared.cuts.shape == (3, 1) and shared.shared == shared.features == 20 and shared.scale is None
    assert np.array_equal(shared.thresholds, Encoder.fit(x, 3, shared=True).thresholds)
    own = cuts_of(Encoder.fit(x.astype(np.float32) / 7, 3))
    assert own.cuts.shape == (3, 20) and own.shared == 0 and own.scale is not None and own.kind == "int16"
    one = cuts_of(Encoder.fit(x[:, :1], 3))
    assert one.cuts.shape == (3, 1) and one.shared == 0 and one.features == 1


def test_a_feature_that_never_varies_never_passes_its_threshold() -> None:
    x = np.stack([np.arange(40), np.full(40, 255)], axis=1).astype(np.uint8)
    encoder = Encoder.fit(x, 2)
    cuts = cuts_of(encoder)
    assert cuts.cuts.dtype == np.uint8 and np.array_equal(cuts.thresholds, encoder.thresholds)
    assert cuts.cuts[:, 1].tolist() == [255, 255]


def test_output_levels_take_their_rule_from_the_sizes(wine: Case) -> None:
    frozen = wine.frozen(learner="levels", m=1.0, dose=2.0, skip_below=0.25)
    last, rule = frozen.layers[1], levels_rule(5, 32, 1.0, 2.0)
    assert isinstance(last, LevelsLayer) and last.rule is not None and last.rule.dose == rule.dose
    assert np.array_equal(last.rule.weaken, rule.weaken)
    assert (frozen.temperature, frozen.skip_below) == (levels_temperature(5, 32), 1024)
    assert np.array_equal(last.hidden, wine.trained.network.output.levels().numpy())


def test_a_head_learns_what_the_device_is_told(wine: Case) -> None:
    """Labels 0 and 1 exchanged, for as many samples as a mean remembers: the head follows."""
    frozen, x = wine.frozen(memory=20, covariance_memory=0), wine.trained.encoder.quantise(wine.x)
    turned = np.array([1, 0, 2])[wine.y]
    oracle = Oracle(frozen)
    assert oracle.head is not None and oracle.head.head.seen == COUNT_FLOOR
    for _ in range(2):
        for one, label in zip(x[wine.part], turned[wine.part], strict=True):
            oracle.learn(one, int(label))
    found = np.array([oracle.predict(one) for one in x[~wine.part]])
    assert (found == turned[~wine.part]).mean() > 0.85
    assert oracle.steps == 2 * wine.part.sum()


# Impossible


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"learner": "visits"}, "learner='visits': must be 'head', 'levels' or 'none'"),
        ({"spare_classes": -1}, "spare_classes=-1: must be a whole number from 0 to 128"),
        ({"rows_per_class": 9}, "rows_per_class=9: must be a whole number from 1 to 8"),
        ({"rows_per_class": 1.0}, "rows_per_class=1.0: must be a whole number from 1 to 8"),
        ({"rows": 6}, "rows=6: a head with one row a class has as many rows as classes, leave it out"),
        ({"rows_per_class": 2, "rows": 129}, "rows=129: must be a whole number from 2 to 128, or left out"),
        ({"far": 64}, "far=64: must be a whole number from 1 to 63 nats"),
        ({"doubt_limit": 0}, "doubt_limit=0: must be a whole number from 1 to 255 samples"),
        ({"memory": 1024}, "memory=1024: must be a whole number from 1 to 1023 samples"),
        ({"covariance_memory": 63}, "covariance_memory=63: must be 0, or from 64 to 8192 samples"),
        ({"ridge": 0}, "ridge=0: must be a whole number from 1 to 32767"),
        ({"prior": 1}, "prior=1: must be True or False"),
        ({"m": float("nan")}, "m=nan: must be a finite number >= 0"),
        ({"dose": 0}, "dose=0: must be a finite number above 0"),
        ({"skip_below": 1.5}, "skip_below=1.5: must be from 0 to 1"),
        ({"seed": -1}, "seed=-1: must be a whole number from 0 to 4294967295"),
        ({"learner": "none", "spare_classes": 1}, "spare_classes=1, rows_per_class=1: only a head has spare classes"),
        (
            {"learner": "levels", "rows_per_class": 2},
            "spare_classes=0, rows_per_class=2: only a head has spare classes",
        ),
    ],
)
def test_options_that_are_impossible(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ExportError) as caught:
        GateOptions(**options)
    assert sentence in str(caught.value)


def test_training_parts_that_do_not_fit(wine: Case) -> None:
    x, y = wine.x[wine.part], wine.y[wine.part]
    for wrong_x, wrong_y, sentence in (
        (None, None, "a head is fitted on the training part: pass x and y, or a checkpoint, which keeps its sums"),
        (x, None, "a head is fitted on the training part"),
        (GateOptions(learner="none"), None, "x is a GateOptions and y a NoneType"),
        (None, y, "options have their name, options=GateOptions(...)"),
        (x, y[:-1], "labels of shape (88,), int64, for 89 samples: give a whole number for each"),
        (x, y + 0.5, "labels of shape (89,), float64, for 89 samples"),
        (x, y + 1, "labels from 1 to 3: the network has the classes 0 to 2"),
    ):
        with pytest.raises(ExportError) as caught:
            freeze_gates(wine.trained, wrong_x, wrong_y)
        assert sentence in str(caught.value)
    with pytest.raises(ExportError, match="129 classes, spare ones included, and 128 rows: give fewer spare classes"):
        wine.frozen(spare_classes=126)
    with pytest.raises(ExportError, match="5 classes, spare ones included, and 4 rows"):
        wine.frozen(spare_classes=2, rows_per_class=2, rows=4)


def test_more_gates_than_a_head_takes() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 4)), np.arange(80) % 2
    trained = fit_recipe(x, y, units=65, steps=3)
    with pytest.raises(
        ExportError, match="a head takes at most 64 gates, this network has 65: train fewer units, or choose"
    ):
        freeze_gates(trained, x, y)
    assert freeze_gates(trained, options=GateOptions(learner="none")).layers[0].units == 65


def test_numbers_that_are_not_finite(wine: Case) -> None:
    arrays = gates_arrays(wine.trained)
    assert isinstance(arrays, GatesArrays)
    with pytest.raises(ExportError, match="a unit's normalisation is not finite: train again with a lower rate"):
        freeze_gates(replace(arrays, beta=arrays.beta * np.nan), wine.x[wine.part], wine.y[wine.part])


def test_a_checkpoint_file_gives_the_image_that_training_gives(wine: Case, tmp_path: Path) -> None:
    names = ("first", "second", "third")
    path = tmp_path / "checkpoint.safetensors"
    GatesCheckpoint.of(wine.trained, wine.y[wine.part], names).write(path)
    read = load_checkpoint(path)
    assert isinstance(read, GatesCheckpoint)
    for options in ({}, {"spare_classes": 3}, {"learner": "levels"}, {"learner": "none"}):
        frozen = freeze_gates(read, options=GateOptions(**options))
        assert frozen.notes is not None and frozen.notes.classes == names
        assert write_image(replace(frozen, notes=None)) == write_image(wine.frozen(**options))
    with pytest.raises(ExportError, match="the default network, of gates: export.freeze_gates makes its integers"):
        freeze(read)
