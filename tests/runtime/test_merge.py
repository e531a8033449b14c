"""Updates: what a new image takes over of a learned one, and that the rest is as it left the factory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from networks import fresh_network, gates_network, network, voting

from metabit.export.files.image import read_image, write_image
from metabit.export.frozen import Encode, Frozen, HeadRows, HeadSettings, Layer, Notes
from metabit.runtime import Merged, Model

NAMES = ("still", "walk", "run", "stairs", "Träume", 'a "b"', "\\")


def named(frozen: Frozen, *names: str) -> Frozen:
    return replace(frozen, notes=Notes(names, ()))


def changed(frozen: Frozen, at: int, **change: Any) -> Frozen:
    """The network with another layer `at`, and another temperature: thresholds of layers that learn on signs lie in the state."""
    layers = list(frozen.layers)
    layers[at] = replace(layers[at], **change)
    return replace(frozen, layers=tuple(layers), temperature=frozen.temperature + 1)


def learnt(frozen: Frozen, steps: int = 80, seed: int = 0, crc32: bool = False) -> Model:
    model, rng = Model(write_image(frozen, crc32=crc32)), np.random.default_rng(seed)
    classes = len(frozen.notes.classes) if frozen.notes and frozen.notes.classes else frozen.classes
    x = rng.integers(0, 256, (steps, model.input_size)).astype(np.uint8)
    model.learn_many(x, rng.integers(0, classes, steps))
    return model


def merge(old: Model, new: Frozen) -> tuple[Frozen, Merged]:
    model = Model(write_image(new))
    factory = model.image()
    merged = model.merge(old)
    if merged.what == "nothing":
        assert model.image() == factory and (merged.kept, merged.fresh, merged.gone) == (0, new.classes, old.classes)
        assert merged.reason.startswith("nothing was taken over: ")
    elif merged.what == "classes":
        assert model.steps == old.steps and merged.kept + merged.fresh == new.classes
    image = model.image()  # checks everything, offsets and priors of a head included
    x = np.random.default_rng(5).integers(0, 256, (20, model.input_size)).astype(np.uint8)
    again = Model(image)
    np.testing.assert_array_equal(model.scores(x), again.scores(x))  # the host's copies are those of the state
    if model.learner != "none":
        model.learn_many(x, np.arange(20) % new.classes)
        again.learn_many(x, np.arange(20) % new.classes)
        assert model.image() == again.image()
    return read_image(image), merged


VISITS = named(network(1, (9, 40, 33, 4), 3, 2, (True, True, True), 9000), *NAMES[:4])
FEW = named(network(6, (9, 20, 4), 3, 2, (True, False), 9000), *NAMES[:4])
VOTES = named(voting(3, inputs=37, planes=2, units=40, classes=5, k=3, batch=32), *NAMES[:5])
LEVELS = named(
    gates_network(21, features=21, planes=2, units=33, classes=3, last="levels", k=5, learns=True), *NAMES[:3]
)
HEAD = named(gates_network(22, features=9, planes=5, units=7, classes=4, kind="int16", spare=1), *NAMES[:3])
FRESH = named(fresh_network(30, features=9, units=24, classes=4, spare=1), *NAMES[:3])
ROWS = named(
    gates_network(24, features=13, units=8, classes=4, spare=1, rows=HeadRows(3, 1, 2), row_count=9), *NAMES[:3]
)
SWEEPS = named(gates_network(25, features=9, units=7, classes=4, spare=1, head=HeadSettings(sweep_every=4)), *NAMES[:3])
ALL = {
    "visits": VISITS,
    "few": FEW,
    "votes": VOTES,
    "levels": LEVELS,
    "head": HEAD,
    "fresh": FRESH,
    "rows": ROWS,
    "sweeps": SWEEPS,
}


@pytest.mark.parametrize("frozen", ALL.values(), ids=ALL)
def test_an_image_of_equal_identity_takes_the_whole_state(frozen: Frozen) -> None:
    old = learnt(frozen)
    found, merged = merge(old, frozen)
    assert merged.what == "all" and write_image(found) == old.image() and merged.kept == frozen.classes


@pytest.mark.parametrize("frozen", ALL.values(), ids=ALL)
def test_other_rates_and_a_new_order_of_classes_keep_what_was_learnt(frozen: Frozen) -> None:
    """The new image has other settings, and its classes in another order: rows follow their names."""
    old = learnt(frozen)
    was = read_image(old.image())
    order = [*range(len(frozen.notes.classes))[::-1], *range(len(frozen.notes.classes), frozen.classes)]
    new = replace(reordered(frozen, order), temperature=frozen.temperature + 1, generator=7)
    found, merged = merge(old, new)
    assert (merged.what, merged.kept, merged.gone) == ("classes", len(known(was)), 0)
    assert (found.generator, found.counters, found.temperature) == (was.generator, was.counters, new.temperature)
    last, first = found.layers[-1], was.layers[-1]
    for layer, its in zip(found.layers[:-1], was.layers[:-1], strict=True):
        np.testing.assert_array_equal(layer.hidden, its.hidden)
    if last.kind != "head":
        np.testing.assert_array_equal(last.hidden, first.hidden[order])
        if last.kind == "output" and last.takes == "signs" and last.learns:
            assert_same_scores(found, was, order)
        return
    assert_head(last, first, order)


def known(frozen: Frozen) -> list[int]:
    """Classes of which something is known."""
    last: Any = frozen.layers[-1]
    if last.kind != "head":
        return list(range(frozen.classes))
    if last.rows.per_class == 1:
        return np.flatnonzero(last.counts).tolist()
    return sorted({int(c) for c in last.owners} - {255})


def reordered(frozen: Frozen, order: list[int]) -> Frozen:
    """The network with its classes in another order: `order[c]` is the number that class c had."""
    last: Any = frozen.layers[-1]
    if last.kind == "head":
        change = {}  # the factory's rows stay, so the merge must move all
    elif last.kind == "output":
        change = {"hidden": last.hidden[order], "mul": last.mul[order], "add": last.add[order]}
    else:
        change = {"hidden": last.hidden[order]}
    names = frozen.notes.classes
    layers: tuple[Layer, ...] = (*frozen.layers[:-1], replace(last, **change))
    return replace(frozen, layers=layers, notes=Notes(tuple(names[c] for c in order[: len(names)]), ()))


def assert_same_scores(found: Frozen, was: Frozen, order: list[int]) -> None:
    a, b = Model(write_image(found)), Model(write_image(was))
    x = np.random.default_rng(1).integers(0, 256, (30, a.input_size)).astype(np.uint8)
    np.testing.assert_array_equal(a.scores(x), b.scores(x)[:, order])


def assert_head(last: Any, first: Any, order: list[int]) -> None:
    np.testing.assert_array_equal(last.covariance, first.covariance)
    assert (last.seen, last.dither, last.turn) == (first.seen, first.dither, first.turn)
    for c, was in enumerate(order):
        for rows, its in zip(rows_of(last, c), rows_of(first, was), strict=True):
            assert last.counts[rows] == first.counts[its]
            np.testing.assert_array_equal(last.means[rows], first.means[its])
            np.testing.assert_array_equal(last.hidden[rows], first.hidden[its])


def rows_of(layer: Any, c: int) -> list[int]:
    if layer.rows.per_class == 1:
        return [c] if layer.counts[c] else []
    return np.flatnonzero(layer.owners == c).tolist()


def test_new_classes_are_as_in_the_new_image_and_old_ones_may_go() -> None:
    old = learnt(LEVELS)
    was = read_image(old.image())
    bigger = gates_network(21, features=21, planes=2, units=33, classes=3, last="levels", k=5, learns=True)
    last = bigger.layers[-1]
    hidden = np.concatenate([last.hidden, last.hidden[:2]])
    new = replace(
        bigger, layers=(bigger.layers[0], replace(last, hidden=hidden)), notes=Notes((*NAMES[1:3], *NAMES[4:7]), ())
    )
    found, merged = merge(old, new)
    assert merged[2:] == (2, 3, 1) and "the classes that both have" in merged.reason
    np.testing.assert_array_equal(found.layers[-1].hidden[:2], was.layers[-1].hidden[1:])
    np.testing.assert_array_equal(found.layers[-1].hidden[2:], hidden[2:])


@pytest.mark.parametrize("several", [False, True])
def test_a_head_keeps_new_classes_of_the_new_image_beside_learnt_ones(several: bool) -> None:
    rows = {"rows": HeadRows(3, 1, 2), "row_count": 9} if several else {}
    base = gates_network(24, features=13, units=8, classes=4, spare=0, **rows)
    old = learnt(named(base, *NAMES[:4]))
    was: Any = read_image(old.image()).layers[-1]
    new = named(base, NAMES[3], NAMES[4], NAMES[0], NAMES[5])
    found, merged = merge(old, new)
    last: Any = found.layers[-1]
    assert merged[2:] == (2, 2, 2)
    factory: Any = base.layers[-1]
    for c, (source, its) in enumerate([(was, 3), (factory, 1), (was, 0), (factory, 3)]):
        kept = rows_of(last, c)
        assert kept
        for a, b in zip(kept, rows_of(source, its), strict=False):
            np.testing.assert_array_equal(last.means[a], source.means[b])
            assert last.counts[a] == source.counts[b]
    np.testing.assert_array_equal(last.covariance, was.covariance)


def test_votes_keep_their_samples_only_with_an_equal_batch() -> None:
    old = learnt(VOTES)
    was: Any = read_image(old.image()).layers[0]
    rule: Any = VOTES.layers[0]
    found, _ = merge(old, replace(VOTES, skip_below=VOTES.skip_below + 1))
    kept: Any = found.layers[0]
    assert kept.kept.slot == was.kept.slot and np.array_equal(kept.kept.votes, was.kept.votes)
    needed = np.zeros(3 * 64 * 2 + 1, np.uint16)
    found, merged = merge(old, changed(VOTES, 0, rule=replace(rule.rule, batch=64, votes_needed=needed)))
    other: Any = found.layers[0]
    assert merged.what == "classes" and other.kept is None and np.array_equal(other.hidden, was.hidden)


def test_of_an_image_before_1_6_all_but_the_samples_is_taken_over() -> None:
    old = learnt(VOTES, crc32=True)
    found, merged = merge(old, VOTES)
    assert merged.what == "classes" and np.array_equal(found.layers[0].hidden, read_image(old.image()).layers[0].hidden)


FIRST, HIDDEN = VISITS.layers[:2]
NOTHING = {
    "it does not learn": (VISITS, network(1, (9, 40, 33, 4), 3, 2, (False, False, False)), "by different rules"),
    "another rule": (LEVELS, HEAD, "by different rules"),
    "another encoder": (VISITS, replace(VISITS, encode=Encode(VISITS.encode.thresholds ^ 1)), "layers below"),
    "other gates": (HEAD, named(gates_network(23, features=9, planes=5, units=7, classes=4, kind="int16", spare=1), *NAMES[:3]),
                    "layers below"),
    "other units from nothing": (FRESH, named(fresh_network(31, features=9, units=24, classes=4, spare=1), *NAMES[:3]),
                                 "layers below"),
    "another layer learns": (FEW, named(network(6, (9, 20, 4), 3, 2, (False, True), 9000), *NAMES[:4]), "layers below"),
    "more units": (FEW, named(network(6, (9, 21, 4), 3, 2, (True, False), 9000), *NAMES[:4]), "other sizes"),
    "more bits": (FEW, named(network(6, (9, 20, 4), 4, 2, (True, False), 9000), *NAMES[:4]), "other sizes"),
    "more bits of output levels": (LEVELS, named(gates_network(21, features=21, planes=2, units=33, classes=3, last="levels", k=4,
                                                               learns=True), *NAMES[:3]), "other sizes"),
    "another threshold": (VISITS, changed(VISITS, 0, theta=FIRST.theta + np.eye(1, 40, 39, dtype=np.int32)[0]), "thresholds"),
    "another threshold on signs": (VISITS, changed(VISITS, 1, theta=HIDDEN.theta + 2 * np.eye(1, 33, 5, dtype=np.int32)[0]),
                                   "thresholds"),
    "another scale": (VISITS, changed(VISITS, 2, mul=VISITS.layers[2].mul + 1), "scales"),
    "another output code": (FEW, changed(FEW, 1, hidden=-1 - FEW.layers[1].hidden), "weights"),
    "another ramp": (VOTES, changed(VOTES, 0, high=VOTES.layers[0].high + 1), "other sizes"),
    "other classes": (HEAD, named(HEAD, *NAMES[4:7], "x"), "no class"),
}  # fmt: skip


@pytest.mark.parametrize(("was", "new", "told"), NOTHING.values(), ids=NOTHING)
def test_what_does_not_fit_is_named_and_the_new_image_takes_effect(was: Frozen, new: Frozen, told: str) -> None:
    _, merged = merge(learnt(was), new)
    assert merged.what == "nothing" and told in merged.reason


def test_without_names_classes_are_equal_by_number() -> None:
    old = learnt(replace(LEVELS, notes=None))
    found, merged = merge(old, replace(LEVELS, skip_below=LEVELS.skip_below + 1))
    assert merged.kept == 3 and np.array_equal(found.layers[-1].hidden, read_image(old.image()).layers[-1].hidden)


def test_a_spare_class_that_was_learnt_and_has_no_name_stays_a_spare_class() -> None:
    """Class 3 has no name: it is taken over where the new image has none for it either, and gone where it names another."""
    old = Model(write_image(HEAD))
    x = np.random.default_rng(0).integers(0, 256, (40, old.input_size)).astype(np.uint8)
    old.learn_many(x, np.arange(40) % 4)
    _, merged = merge(old, replace(HEAD, skip_below=HEAD.skip_below + 1))
    assert merged[2:] == (4, 0, 0)
    _, merged = merge(old, named(HEAD, *NAMES[:3], "jump"))
    assert merged[2:] == (3, 1, 1)


def test_a_model_is_no_update_of_itself() -> None:
    model = Model(write_image(HEAD))
    with pytest.raises(TypeError, match="another model"):
        model.merge(model)
