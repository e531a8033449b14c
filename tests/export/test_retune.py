"""Other learning settings for a network that is there: what changes, what stays, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from networks import gates_network, network, voting

from metabit.data import load, thermometer
from metabit.export import (
    ExportError,
    VisitOptions,
    VoteOptions,
    freeze,
    fresh_votes,
    read_image,
    retune,
    tunable_settings,
    write_image,
)
from metabit.export.freeze.levels import tables
from metabit.export.freeze.output_levels import levels_rule
from metabit.export.frozen import CERTAIN
from metabit.runtime import Model

OPTIONS = VoteOptions(bits=3, thresholds=(30, 90, 200), batch=64, passes=8, seed=5)
FRESH = fresh_votes(20, 33, 7, OPTIONS)
VALUES = {"delta": 0.7, "vote_rate": 0.3, "deviations": 1.5, "chance_per_vote": 0.6, "scale": 1.7, "skip_below": 0.05}


def test_no_settings_leave_everything() -> None:
    for frozen in (FRESH, network(3), voting(1, 9, 2, 5, 3, 4)):
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


@pytest.mark.parametrize("frozen", [FRESH, network(3)], ids=["votes", "dense"])
def test_every_value_worth_a_try_can_be_tried(frozen: Any) -> None:
    rng, seen = np.random.default_rng(1), set()
    for _ in range(40):
        image = write_image(retune(frozen, {name: one.draw(rng) for name, one in tunable_settings(frozen).items()}))
        assert Model(image).classes == frozen.classes
        seen.add(image)
    assert len(seen) == 40


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
    ],
)
def test_what_cannot_be_is_refused(frozen: Any, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ExportError, match=named):
        retune(frozen, settings)


def test_a_head_retuned_keeps_what_it_learned() -> None:
    head = gates_network(4, spare=1)
    assert sorted(tunable_settings(head)) == ["covariance_memory", "memory", "prior", "ridge"]
    found = retune(head, {"memory": 99.6, "covariance_memory": 64, "prior": "off"})
    last, before = found.layers[1], head.layers[1]
    assert vars(last.settings) == {"memory": 100, "covariance_memory": 64, "ridge": 410, "prior": False}
    assert np.array_equal(last.means, before.means) and last.seen <= 64
    assert write_image(read_image(write_image(found))) == write_image(found)
    with pytest.raises(ExportError, match="prior='maybe': must be 'on' or 'off'"):
        retune(head, {"prior": "maybe"})
    with pytest.raises(ExportError, match="memory=2000: must be from 1 to 1023"):
        retune(head, {"memory": 2000})
    with pytest.raises(ExportError, match="'delta' is no setting of this network: there are memory"):
        retune(head, {"delta": 0.1})


def test_output_levels_retuned_keep_their_levels() -> None:
    frozen = gates_network(4, last="levels", learns=True, k=5)
    rule, before = levels_rule(5, 10, 3.0, 0.5), frozen.layers[1]
    found = retune(frozen, {"m": 3.0, "skip_below": 0.25})
    assert np.array_equal(found.layers[1].rule.weaken, rule.weaken) and found.layers[1].rule.dose == before.rule.dose
    assert found.skip_below == 1024 and np.array_equal(found.layers[1].hidden, before.hidden)
    found = retune(frozen, {"dose": 0.5})
    assert found.layers[1].rule.dose == rule.dose and np.array_equal(found.layers[1].rule.weaken, before.rule.weaken)
    with pytest.raises(ExportError, match="m=-1: must be a finite number >= 0"):
        retune(frozen, {"m": -1})
    with pytest.raises(ExportError, match="no layer of this network learns"):
        retune(gates_network(4, last="levels"), {"m": 1})
