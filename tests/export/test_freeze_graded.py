"""A network of graded units after training and on the device: the same predictions, and hidden weights that become levels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from agreement import agree_while_learning

from metabit import train
from metabit.data import Task, load
from metabit.export import (
    VOTES_AFTER_TRAINING,
    ExportError,
    VisitOptions,
    VoteOptions,
    freeze,
    freeze_graded,
    write_image,
)
from metabit.export.freeze.levels import quantise, tables
from metabit.export.frozen import Frozen, GradedLayer
from metabit.runtime import Model
from metabit.train.network.norms import SHARPNESS

M = 20.0


@pytest.fixture(scope="module")
def task() -> Task:
    return load("digits").whole()


@pytest.fixture(scope="module")
def trained(task: Task) -> train.Checkpoint:
    spec = train.Spec(64, (40,), 10, encode=(4, 12), norm="static", output="code", units="graded")
    network = train.Network(spec)
    train.fit(network, task, epochs=3, lr=0.02, m=M)
    return train.Checkpoint(spec, network.tensors(), train.Rule.of(spec, M))


def with_m(checkpoint: train.Checkpoint, m: float) -> train.Checkpoint:
    return replace(checkpoint, rule=train.Rule.of(checkpoint.spec, m))


def rule(frozen: Frozen) -> Any:
    return frozen.layers[0].rule


def test_the_device_predicts_what_training_predicted(trained: train.Checkpoint, task: Task) -> None:
    """Where it is sure of every weight: then only the ramp is rounded otherwise, to finer steps."""
    scores = trained.to_network()(torch.from_numpy(task.x_test)).detach().numpy()
    frozen = freeze_graded(trained)
    h = frozen.layers[0].hidden
    sure = replace(frozen.layers[0], hidden=np.where(h >= 0, np.maximum(h, 4), np.minimum(h, -5)).astype(np.int8))
    model = Model(write_image(replace(frozen, layers=(sure, frozen.layers[1]))))
    assert (model.predict_many(task.x_test) == scores.argmax(1)).mean() >= 0.99
    votes = model.scores(task.x_test).astype(float)  # whole numbers: training sees them less their mean, in one size
    votes -= votes.mean(1, keepdims=True)
    difference = scores - SHARPNESS * votes / votes.std(1, keepdims=True)
    assert np.abs(difference).mean() < 0.05 * SHARPNESS


def test_what_is_unsure_does_not_make_it_worse(trained: train.Checkpoint, task: Task) -> None:
    trained_right = (trained.to_network()(torch.from_numpy(task.x_test)).argmax(1).numpy() == task.y_test).mean()
    model = Model(write_image(freeze_graded(trained)))
    assert (model.predict_many(task.x_test) == task.y_test).mean() > trained_right - 0.05 > 0.8


def test_oracle_and_c_learn_alike_from_there(trained: train.Checkpoint, task: Task) -> None:
    sideways = load("digits:sideways").whole()
    _, model = agree_while_learning(freeze_graded(trained), sideways.x_train[:150], sideways.y_train[:150])
    assert model.state() != Model(write_image(freeze_graded(trained))).state()


def test_a_level_is_as_wide_as_training_says(trained: train.Checkpoint) -> None:
    w = trained.tensors["layers.0.hidden"].astype(np.float64)
    frozen = freeze_graded(trained, VoteOptions(bits=5, delta=0.2))
    assert np.array_equal(frozen.layers[0].hidden, np.clip(np.floor(w * M / 0.2), -16, 15))
    assert np.array_equal(frozen.layers[0].weights, np.where(w >= 0, 1, -1))
    for table in (rule(frozen).strengthen, rule(frozen).weaken):
        assert np.array_equal(table, tables(M, 0.2 / M, 5, "same")[1])


def test_without_metaplasticity_in_training_the_surest_get_the_highest_level(trained: train.Checkpoint) -> None:
    plain = with_m(trained, 0.0)
    levels, _ = quantise(plain.tensors["layers.0.hidden"].astype(np.float64), 4)
    assert np.array_equal(freeze_graded(plain).layers[0].hidden, levels)
    assert np.array_equal(rule(freeze_graded(plain)).weaken, tables(1.0, VOTES_AFTER_TRAINING.delta, 4, "same")[1])


def test_m_of_the_device(trained: train.Checkpoint) -> None:
    off, same, twice = (freeze_graded(trained, m=m) for m in (0.0, M, 2 * M))
    assert (rule(off).strengthen == 65535).all() and (rule(off).weaken == 65535).all()
    assert np.array_equal(rule(same).weaken, rule(freeze_graded(trained)).weaken)
    assert np.array_equal(rule(twice).weaken, tables(1.0, 2 * VOTES_AFTER_TRAINING.delta, 4, "same")[1])
    for frozen in (off, twice):
        assert np.array_equal(frozen.layers[0].hidden, freeze_graded(trained).layers[0].hidden)


def test_its_code_thresholds_and_ramp_are_its_own(trained: train.Checkpoint) -> None:
    spec = replace(trained.spec, ramp=(50, 500))
    frozen = freeze_graded(replace(trained, spec=spec))
    assert np.array_equal(frozen.layers[1].weights, trained.tensors["layers.1.code"])
    assert frozen.encode is not None and np.array_equal(frozen.encode.thresholds, spec.thresholds)
    graded = frozen.layers[0]
    assert isinstance(graded, GradedLayer) and (graded.low, graded.high, graded.planes) == (50, 500, 2)


def test_wrong_roads_are_sentences(trained: train.Checkpoint) -> None:
    with pytest.raises(ExportError, match="units='graded' learn on the device by votes"):
        freeze(trained, VisitOptions(bits=4))
    spec = train.Spec(6, (5,), 3)
    signs = train.Checkpoint(spec, train.Network(spec).tensors(), train.Rule.of(spec, 1.0))
    with pytest.raises(ExportError, match="units='sign' do not learn by votes"):
        freeze_graded(signs)
    with pytest.raises(ExportError, match="delta=-"):
        freeze_graded(trained, m=-1.0)
    trained = replace(trained, tensors=dict(trained.tensors))
    trained.tensors["layers.0.hidden"] = np.full_like(trained.tensors["layers.0.hidden"], np.nan)
    with pytest.raises(ExportError, match=r"layers\.0\.hidden holds NaN"):
        freeze_graded(trained)
