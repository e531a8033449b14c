"""Other learning settings for a network that is there: what changes, what stays, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from networks import fresh_network, gates_network, network, voting
from sklearn.datasets import load_wine

from metabit.data import load, thermometer
from metabit.export import (
    ExportError,
    Frozen,
    GateOptions,
    VisitOptions,
    VoteOptions,
    freeze,
    freeze_gates,
    fresh_votes,
    learner_of,
    read_image,
    retune,
    tunable_settings,
    write_image,
)
from metabit.export.freeze.levels import tables
from metabit.export.frozen import CERTAIN
from metabit.runtime import Model
from metabit.train.recipe import fit_recipe

OPTIONS = VoteOptions(bits=3, thresholds=(30, 90, 200), batch=64, passes=8, seed=5)
FRESH = fresh_votes(20, 33, 7, OPTIONS)
HEAD = gates_network(1)
LEVELS = gates_network(2, last="levels", learns=True)
VALUES = {"delta": 0.7, "vote_rate": 0.3, "deviations": 1.5, "chance_per_vote": 0.6, "scale": 1.7, "skip_below": 0.05}


def test_no_settings_leave_everything() -> None:
    for frozen in (FRESH, network(3), voting(1, 9, 2, 5, 3, 4), HEAD, LEVELS, fresh_network(1)):
        assert write_image(retune(frozen, {})) == write_image(frozen)


@pytest.mark.parametrize("name", VALUES)
def test_a_fresh_network_retuned_is_one_made_so(name: str) -> None:
    changed = write_image(retune(FRESH, {name: VALUES[name]}))
    assert changed == write_image(fresh_votes(20, 33, 7, replace(OPTIONS, **{name: VALUES[name]})))
    assert changed != write_image(FRESH)
    assert set(VALUES) == set(tunable_settings(FRESH))


def checkpoint() -> Any:
    from metabit import train

    task = load("digits").whole()
    spec = train.Spec(64, (24, 16), 10, thermometer(task.x_train, 2))
    return train.Checkpoint(spec, train.Network(spec).tensors(), train.Rule.of(spec, 2.0))


@pytest.mark.parametrize(
    "setting", [{"visit_rate": 0.03}, {"skip_below": 0.2}, {"strengthen": "same"}, {"temperature": 4.0}], ids=str
)
def test_a_trained_network_retuned_is_one_exported_so(setting: dict[str, Any]) -> None:
    trained = checkpoint()
    before, wanted = freeze(trained, VisitOptions()), freeze(trained, VisitOptions(**setting))
    found = retune(before, setting)
    assert abs(found.temperature - wanted.temperature) <= 1  # of a rounded number
    assert write_image(replace(found, temperature=wanted.temperature)) == write_image(wanted) != write_image(before)


def test_delta_makes_the_tables_and_keeps_which_way_they_gate() -> None:
    certain = freeze(checkpoint(), VisitOptions())
    for strengthen, frozen in (("certain", certain), ("same", retune(certain, {"strengthen": "same"}))):
        for layer in retune(frozen, {"delta": 0.3}).layers:
            assert layer.rule is not None
            expected = tables(1.0, 0.3, layer.bits, strengthen)
            np.testing.assert_array_equal((layer.rule.strengthen, layer.rule.weaken), expected)
    rule = retune(certain, {"delta": 0.3}).layers[0].rule
    assert rule is not None and (rule.strengthen == CERTAIN).all() and (rule.weaken < CERTAIN).all()


def test_what_was_learnt_stays() -> None:
    model = Model(write_image(FRESH))
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (200, 20)).astype(np.uint8)
    model.learn_many(x, x[:, 0] // 37)
    learnt = read_image(model.image())
    other = retune(learnt, VALUES)
    np.testing.assert_array_equal(other.layers[0].hidden, learnt.layers[0].hidden)
    assert (other.counters, other.generator) == (learnt.counters, learnt.generator)
    np.testing.assert_array_equal(Model(write_image(other)).scores(x), model.scores(x))


def test_a_head_and_levels_retuned_are_ones_exported_so() -> None:
    x, y = load_wine(return_X_y=True)
    trained = fit_recipe(x, y, units=12, steps=60)

    def made(**options: Any) -> Frozen:
        return freeze_gates(trained, x, y, GateOptions(**options))

    for settings, options in (
        ({"memory": 90}, {"memory": 90}), ({"prior": "off"}, {"prior": False}),
        ({"prior": "on", "memory": 1023}, {"memory": 1023}),
    ):  # fmt: skip
        assert write_image(retune(made(), settings)) == write_image(made(**options))
    for settings in ({"m": 0.7}, {"dose": 2.5}, {"skip_below": 0.1}, {"m": 5.0, "dose": 0.3, "skip_below": 0.02}):
        assert write_image(retune(made(learner="levels"), settings)) == write_image(made(learner="levels", **settings))


def test_learners_by_name() -> None:
    found = [learner_of(frozen) for frozen in (HEAD, fresh_network(1), LEVELS, FRESH, network(3))]
    assert [one.name for one in found if one] == ["head", "head", "levels", "votes", "visits"]
    assert learner_of(gates_network(2, last="levels")) is None


@pytest.mark.parametrize("frozen", [FRESH, network(3), HEAD, LEVELS], ids=["votes", "dense", "head", "levels"])
def test_every_value_worth_a_try_can_be_tried(frozen: Any) -> None:
    rng, seen = np.random.default_rng(1), set()
    for _ in range(40):
        image = write_image(retune(frozen, {name: one.draw(rng) for name, one in tunable_settings(frozen).items()}))
        assert Model(image).classes == frozen.classes
        seen.add(image)
    assert len(seen) > 30


@pytest.mark.parametrize(
    ("frozen", "settings", "named"),
    [
        (FRESH, {"visit_rate": 0.1}, "'visit_rate' is no setting of this network: there are delta"),
        (network(3), {"chance_per_vote": 0.1}, "'chance_per_vote' is no setting"),
        (FRESH, {"chance_per_vote": 2.0}, "chance_per_vote=2.0"),
        (network(3), {"delta": float("nan")}, "delta=nan"),
        (network(3), {"visit_rate": 0}, "visit_rate=0"),
        (network(3), {"skip_below": 2}, "skip_below=2"),
        (network(3), {"strengthen": "most"}, "strengthen='most'"),
        (network(3, learns=(False, False, False)), {}, "nothing to tune"),
        (HEAD, {"memory": 0}, "memory=0"),
        (HEAD, {"memory": 9.5}, "memory=9.5"),
        (HEAD, {"prior": True}, "prior=True: must be 'on' or 'off'"),
        (HEAD, {"m": 1.0}, "'m' is no setting of this network: there are memory, prior"),
        (LEVELS, {"m": -1.0}, "m=-1.0"),
        (LEVELS, {"dose": 0.0}, "dose=0.0"),
        (LEVELS, {"skip_below": 2}, "skip_below=2"),
    ],
)
def test_what_cannot_be_is_refused(frozen: Any, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ExportError, match=named):
        retune(frozen, settings)
