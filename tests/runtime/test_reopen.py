"""Nothing learnt is lost at a restart: a run that is saved and reopened at any sample ends in the bytes of one that was not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import conv, fresh_network, gates_network, inputs, network, oracle_input, ternary, voting, windowed

from metabit.export.files.image import read_image, write_image
from metabit.export.frozen import Frozen, HeadRows, HeadSettings
from metabit.export.oracle import Oracle
from metabit.export.vectors import learned
from metabit.runtime import Model

BELOW = windowed(5, (6, 5, 2), (conv(9, 3, 2, True),), (6,), "2", 3, (False,))


def eager(frozen: Frozen) -> Frozen:
    """The network in which nearly every sample votes, and one vote is enough to visit a synapse."""
    *below, graded, output = frozen.layers
    rule = replace(
        graded.rule, dose=2**20 - 1, votes_needed=np.zeros_like(graded.rule.votes_needed), chance_per_vote=65535
    )
    return replace(frozen, layers=(*below, replace(graded, rule=rule), output), skip_below=0)


KINDS = {
    "visits": network(1, (9, 20, 4), 3, 2, (True, True), 9000),
    "visits, packed bits": network(2, (20, 10, 3), 4, 0, (False, True), 30000),
    "ternary backward": ternary(network(10, (15, 70, 40, 5), 4, 3, (True, True, True), 12000)),
    "convolution below": windowed(3, (7, 6, 3), (conv(9, 3, 1, True, 2),), (10, 4), "bits", 4, (True, True)),
    "bytes below": windowed(4, (1, 1, 45), (), (34, 3), "uint8", 4, (False, True)),
    "votes": eager(voting(3, inputs=37, planes=2, units=40, classes=5, k=3, batch=32)),
    "votes, packed bits": voting(4, inputs=30, planes=1, units=33, classes=3, batch=64, source="bits"),
    "votes above a convolution": eager(voting(5, planes=3, below=BELOW, batch=32)),
    "output levels": gates_network(21, features=21, planes=2, units=33, classes=3, last="levels", k=4, learns=True),
    "head": gates_network(22, features=9, planes=5, units=7, classes=6, kind="int16", spare=2),
    "head with rows": gates_network(24, features=13, units=8, classes=4, spare=1, rows=HeadRows(3, 1, 2), row_count=9),
    "head whose weights follow every fourth step": gates_network(
        25, features=9, units=7, classes=4, spare=1, head=HeadSettings(sweep_every=4)
    ),
    "units from nothing": fresh_network(30, features=9, units=24, classes=4, spare=1),
}
STEPS = 70  # the 32 slots of a batch are filled twice


def stream(frozen: Frozen, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs that say what their label is, with noise."""
    rng = np.random.default_rng(seed)
    faces, y = inputs(frozen, frozen.classes, seed), rng.integers(0, frozen.classes, n)
    noise = rng.random((n, faces.shape[1])) < 0.2
    return np.where(noise, inputs(frozen, n, seed + 1), faces[y]), y


@pytest.mark.parametrize("kind", KINDS)
def test_saved_at_any_sample_and_continued_it_ends_in_the_same_bytes(kind: str) -> None:
    frozen = KINDS[kind]
    x, y = stream(frozen, STEPS, 7)
    whole, often, starts = Model(write_image(frozen)), Model(write_image(frozen)), []
    for i in range(STEPS):
        starts.append(Model(often.image()))
        often = Model(often.image())
        assert often.learn_one(x[i], int(y[i])) == whole.learn_one(x[i], int(y[i]))
    assert often.image() == whole.image() and whole.steps == STEPS and whole.state() != starts[0].state()
    for i, model in enumerate(starts):
        model.learn_many(x[i:], y[i:])
        assert model.image() == whole.image(), f"reopened at sample {i}"


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.integers(0, 2**16), st.lists(st.integers(0, 15), max_size=4))
def test_so_does_the_oracle_and_both_agree(kind: str, seed: int, cuts: list[int]) -> None:
    frozen = KINDS[kind]
    x, y = stream(frozen, 16, seed)
    model, oracle = Model(write_image(frozen)), Oracle(frozen)
    for i in range(16):
        if i in cuts:
            image = write_image(learned(oracle.net, oracle))
            model, oracle = Model(model.image()), Oracle(read_image(image))
        assert model.learn_one(x[i], int(y[i])) == oracle.learn(oracle_input(frozen, x[i]), int(y[i]))
    whole = Model(write_image(frozen))
    whole.learn_many(x, y)
    assert write_image(learned(oracle.net, oracle)) == model.image() == whole.image()
