"""Tickets: what they hold, and that learning from one equals learning from its input, bit for bit."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from networks import conv, gates_network, inputs, network, voting, windowed

from metabit.export import Frozen, LevelsLayer, Oracle, read_image, write_image
from metabit.export.oracle.tickets import ticket
from metabit.runtime import InputError, Model

VECTORS = Path(__file__).parents[1] / "vectors"
NETWORKS: dict[str, tuple[Frozen, int]] = {
    "the second layer learns": (network(1, (40, 50, 33, 10), learns=(False, True, True)), 7),
    "only the output learns": (network(2, (40, 50, 9, 10), learns=(False, False, True)), 2),
    "as many bits as features": (network(3, (5, 30, 4), planes=8), 5),
    "learns on packed bits": (network(4, (41, 30, 4), planes=0), 6),
    "above a convolution": (windowed(5, (6, 5, 2), (conv(9, 3, 2, True),), (20, 6), "2"), 11),
    "above bytes": (windowed(6, (1, 1, 45), (), (34, 3), "uint8", learns=(False, True)), 5),
    "votes": (voting(7, inputs=37, planes=2), 10),
    "votes on packed bits": (voting(8, inputs=20, planes=3, source="bits"), 8),
    "levels": (gates_network(9, features=30, planes=4, units=11, classes=5, last="levels", learns=True), 11),
    "levels above few features": (gates_network(10, features=9, planes=2, units=33, last="levels", learns=True), 3),
    "a head's values": (gates_network(11, features=90, planes=4, units=12), 24),
    "the bits of cuts": (gates_network(12, features=13, planes=3, units=40, kind="int16"), 5),
    "the packed bits": (gates_network(13, features=37, planes=0, units=20), 5),
    "cuts of a network that does not learn": (gates_network(14, features=20, planes=2, last="levels"), 5),
}


@functools.cache
def images() -> dict[str, Frozen]:
    golden = {path.stem: read_image(path.read_bytes()) for path in sorted(VECTORS.glob("*.mbit"))}
    return golden | {name: frozen for name, (frozen, _) in NETWORKS.items()}


@pytest.mark.parametrize("name", images())
def test_a_ticket_is_as_good_as_its_input(name: str) -> None:
    frozen, x = images()[name], inputs(images()[name], 30, seed=5)
    rng, oracle = np.random.default_rng(6), Oracle(frozen)
    by_input, by_ticket = Model(write_image(frozen)), Model(write_image(frozen))
    tickets = by_ticket.tickets(x)
    assert tickets.shape == (30, by_ticket.ticket_size) and by_ticket.ticket_size <= by_ticket.input_size
    assert by_ticket.ticket_size == NETWORKS.get(name, (None, by_ticket.ticket_size))[1]
    assert [row.tobytes() for row in tickets] == [ticket(oracle, row) for row in x]
    assert by_ticket.ticket(x[3]) == tickets[3].tobytes()
    learns = by_input.learner != "none"
    known = frozen.classes - 2 if frozen.layers[-1].kind == "head" else frozen.classes
    for row, kept, y in zip(x, tickets, rng.integers(0, known, len(x)).tolist(), strict=True):
        assert by_input.predict_one(row) == by_ticket.predict_tickets(kept[None])[0]
        if learns:
            assert by_input.learn_one(row, y) == by_ticket.learn_ticket(kept.tobytes(), y)
            assert by_input.state() == by_ticket.state()
    assert np.array_equal(by_ticket.tickets(x), tickets), "tickets do not depend on what was learnt"


def test_the_reference_learns_the_same_from_tickets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METABIT_VECTORS", "none")  # the device's code
    for name, frozen in images().items():
        x, model = inputs(frozen, 8, seed=7), Model(write_image(frozen))
        other = Model(write_image(frozen))
        if model.learner != "none":
            y = np.zeros(len(x), np.int64)
            model.learn_many(x, y)
            other.learn_tickets(other.tickets(x), y)
        assert model.image() == other.image(), name


@pytest.mark.parametrize("name", images())
def test_hostile_tickets_are_refused_or_harmless(name: str) -> None:
    frozen, rng = images()[name], np.random.default_rng(8)
    model = Model(write_image(frozen))
    tickets = rng.integers(0, 256, (40, model.ticket_size)).astype(np.uint8)
    tickets[0], tickets[1], tickets[2] = 128, 127, 255
    of_levels = isinstance(frozen.layers[-1], LevelsLayer) and model.ticket_size == frozen.layers[-1].inputs
    refused = 0
    for row in tickets:
        before = model.image()
        try:
            model.predict_tickets(row[None])
            if model.learner != "none":
                model.learn_ticket(row.tobytes(), int(rng.integers(model.classes)))
        except InputError as wrong:
            refused += "ticket" in str(wrong)
            assert model.image() == before
    assert refused == (
        sum((np.abs(row.view(np.int8)) > 8).any() or (row == 128).any() for row in tickets) if of_levels else 0
    )
    assert Model(model.image()).classes == model.classes  # the state that they left is a sound one


def test_bits_beyond_the_last_are_not_looked_at() -> None:
    frozen = NETWORKS["the second layer learns"][0]
    model, other = Model(write_image(frozen)), Model(write_image(frozen))
    tickets = model.tickets(inputs(frozen, 10))
    loud = tickets.copy()
    loud[:, -1] |= 0xFC  # 50 bits
    labels = np.arange(10)
    model.learn_tickets(tickets, labels)
    other.learn_tickets(loud, labels)
    assert model.state() == other.state()


def test_what_is_no_ticket_is_refused() -> None:
    model = Model(write_image(NETWORKS["levels"][0]))
    with pytest.raises(InputError, match=r"they must be uint8 \(n, 11\)"):
        model.learn_ticket(bytes(10), 0)
    with pytest.raises(InputError, match="int64"):
        model.predict_tickets(np.zeros((2, 11), np.int64))
    with pytest.raises(InputError, match="label 5 is outside"):
        model.learn_ticket(bytes(11), 5)
    with pytest.raises(InputError, match="not made by this image"):
        model.learn_ticket(bytes([9] * 11), 0)
    still = Model(write_image(NETWORKS["cuts of a network that does not learn"][0]))
    with pytest.raises(InputError, match="nothing to learn"):
        still.learn_ticket(still.ticket(np.zeros(20)), 0)
