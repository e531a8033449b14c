"""The guard: the C against the oracle after every step, hostile guard data, and what ends learning and begins it again."""

from __future__ import annotations

import contextlib
import struct
import threading
from dataclasses import replace

import numpy as np
import pytest
from networks import gates_network, inputs, network, voting

from metabit.export import Frozen, Oracle, write_image
from metabit.export.errors import ExportError
from metabit.export.guard import HEAD, GuardOptions, checksum, guard_data, identity
from metabit.export.oracle.guard import Guard as OracleGuard
from metabit.runtime import Guard, Model, ModelError

NETWORKS: dict[str, Frozen] = {
    "head": gates_network(1, features=20, planes=2, units=9, classes=3),
    "levels": gates_network(2, features=20, planes=2, units=11, classes=3, last="levels", learns=True),
    "visits": network(3, (12, 20, 4), learns=(True, True)),
    "visits of the output": network(4, (12, 20, 4), learns=(False, True)),
    "votes": voting(5, inputs=10, planes=2, units=30, classes=4),
}
STEPS = 160
EAGER = GuardOptions(samples=8, allowed=1, spared=0, patience=12, apart=5, per_step=3, repeats=2, run=4)


def given(frozen: Frozen, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and the labels that the network gives them."""
    x = inputs(frozen, n, seed)
    return x, Model(write_image(frozen)).predict_many(x).astype(np.int64)


def data_of(frozen: Frozen, options: GuardOptions = EAGER) -> bytes:
    image, (x, y) = write_image(frozen), given(frozen, 200, 7)
    y[::10] = (y[::10] + 1) % 3  # some are wrong
    return guard_data(frozen, image, x, y, Model(image).scores(x), options)


def stream(frozen: Frozen, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Right labels, then wrong ones, then a stuck sensor, then one class, then right labels again."""
    (x, y), rng = given(frozen, n, seed), np.random.default_rng(seed)
    fifth = n // 5
    y[fifth : 2 * fifth] = rng.integers(0, 3, fifth)
    x[2 * fifth : 2 * fifth + 9] = x[0]
    y[3 * fifth : 3 * fifth + 9] = 1
    return x, y


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "stops"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_device_does_what_the_oracle_does(name: str, keep: bool) -> None:
    frozen = NETWORKS[name]
    strict = replace(EAGER, allowed=0) if name == "votes" else EAGER  # it learns slowly
    data, model = data_of(frozen, strict), Model(write_image(frozen))
    device, oracle = Guard(model, data, keep=keep), OracleGuard(Oracle(frozen), data, keep)
    seen = set()
    for row, label in zip(*stream(frozen, STEPS, 8), strict=True):
        device.learn_many(row[None], [label])
        oracle.learn(row, int(label))
        r = device.report
        counts = (oracle.learnt, oracle.refused, oracle.tests, oracle.right, oracle.saves, oracle.ends)
        assert (r.learnt, r.refused, r.tests, r.right, r.saves, r.ends) == counts
        assert (r.slow * 2**16, r.fast * 2**16) == (oracle.slow, oracle.fast)
        assert (r.status, r.reason) == (
            ["watching", "stopped", "rolled back"][oracle.status],
            ["", "forgot", "labels"][oracle.reason],
        )
        assert np.array_equal(
            model.scores(row[None])[0], oracle.network.scores(oracle.network.net.unpack(row[None])[0])
        )
        seen |= {r.status, r.reason, "saved" if r.saves else "", "refused" if r.refused else ""}
    assert model.steps == oracle.network.steps
    assert ("rolled back" if keep else "stopped") in seen and "refused" in seen


def test_every_way_is_taken() -> None:
    """The comparison above relies on it: in some network each branch was reached."""
    reasons, saves = set(), 0
    for frozen in NETWORKS.values():
        guard = Guard(Model(write_image(frozen)), data_of(frozen))
        for row, label in zip(*stream(frozen, STEPS, 8), strict=True):
            guard.learn_many(row[None], [label])
            reasons.add(guard.report.reason)
        saves += guard.report.saves
    assert reasons == {"", "forgot", "labels"} and saves


@pytest.mark.parametrize("spared", [0, 7])
def test_a_state_is_kept_only_while_few_enough_guard_samples_are_wrong(spared: int) -> None:
    frozen = NETWORKS["head"]
    data = bytearray(data_of(frozen, replace(EAGER, allowed=7, spared=spared, patience=1000, repeats=0, run=0)))
    data[HEAD.size] = (data[HEAD.size] + 1) % 3  # one sample has a wrong label
    struct.pack_into("<I", data, 8, checksum(bytes(data[12:])))
    guard = Guard(Model(write_image(frozen)), bytes(data), keep=True)
    guard.learn_many(*given(frozen, 300, 8))
    assert guard.report.ends == 0 and bool(guard.report.saves) == bool(spared)


def test_tickets_are_as_good_as_inputs() -> None:
    frozen = NETWORKS["head"]
    data, (x, y) = data_of(frozen), stream(frozen, 100, 9)
    by_input, by_ticket = Model(write_image(frozen)), Model(write_image(frozen))
    one, other = Guard(by_input, data), Guard(by_ticket, data)
    one.learn_many(x, y)
    other.learn_tickets(by_ticket.tickets(x), y)
    assert one.report == other.report and by_input.state() == by_ticket.state()


def test_the_state_that_returns_is_one_that_was_kept() -> None:
    """No part of two states: after learning has ended the state is that of a moment at which it was saved, byte for byte."""
    for name, frozen in NETWORKS.items():
        model = Model(write_image(frozen))
        guard, kept = Guard(model, data_of(frozen)), {model.state()}
        x, y = stream(frozen, STEPS, 10)
        for row, label in zip(x, y, strict=True):
            before = guard.report
            guard.learn_many(row[None], [label])
            if guard.report.saves > before.saves:
                kept = {model.state()}
            if guard.report.ends > before.ends:
                assert model.state() in kept, name


def test_it_is_not_told_to_go_on_in_the_middle_of_a_batch() -> None:
    frozen = NETWORKS["levels"]
    guard, (x, y), done = (
        Guard(Model(write_image(frozen)), data_of(frozen)),
        given(frozen, 20_000, 12),
        threading.Event(),
    )

    def learn() -> None:
        while not done.is_set():
            with contextlib.suppress(RuntimeError):  # the other thread resumes
                guard.learn_many(x, y)

    thread = threading.Thread(target=learn)
    thread.start()
    try:
        while True:  # between two batches it may
            try:
                guard.resume()
            except RuntimeError as error:
                assert "in use by another thread" in str(error)
                break
    finally:
        done.set()
        thread.join()
    guard.resume()


def test_learning_goes_on_when_it_is_told_to_or_the_labels_are_good_again() -> None:
    frozen = NETWORKS["levels"]
    model = Model(write_image(frozen))
    guard, (x, y) = Guard(model, data_of(frozen), keep=False), given(frozen, 60, 11)
    wrong = (y + 1 + np.arange(60) % 2) % 3
    guard.learn_many(x, wrong)
    assert guard.report.status == "stopped"
    before = model.state()
    steps = guard.learn_many(x[:3], wrong[:3])
    assert steps.skipped.all() and model.state() == before
    guard.resume()
    guard.learn_many(x[4:5], y[4:5])
    assert guard.report.status == "watching" and model.steps == guard.report.learnt

    model = Model(write_image(frozen))
    guard, learnt = Guard(model, data_of(frozen)), model.state()
    guard.learn_many(x, wrong)
    assert guard.report.status == "rolled back" and model.state() == learnt
    good = struct.unpack_from("<H", data_of(frozen), 22)[0] / 2**16
    for n in range(1000):
        steps = guard.learn_many(x[n % 60][None], [y[n % 60]])
        if guard.report.status == "watching":
            break
        assert guard.report.slow < good and model.state() == learnt and steps.skipped.all()
    assert guard.report.slow == pytest.approx(good, abs=2**-16) and guard.report.reason == ""
    before = model.steps
    guard.learn_many(x[3:4], y[3:4])
    assert model.steps == before + 1


@pytest.mark.parametrize("name", ["head", "visits"])
def test_damaged_or_foreign_data_are_refused(name: str) -> None:
    frozen = NETWORKS[name]
    data, model = data_of(frozen), Model(write_image(frozen))
    for at in range(len(data)):
        with pytest.raises(ModelError, match="guard data are damaged or of another image") as found:
            Guard(model, data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        assert found.value.code == -34
    for size in (0, 3, 31, 32, len(data) - 1):
        with pytest.raises(ModelError, match="damaged"):
            Guard(model, data[:size])
    with pytest.raises(ModelError, match="damaged"):
        Guard(Model(write_image(NETWORKS["levels"])), data)


def test_learnt_images_take_the_same_guard() -> None:
    frozen = NETWORKS["head"]
    model = Model(write_image(frozen))
    model.learn_many(*given(frozen, 20, 12))
    assert identity(model.image()) == identity(write_image(frozen)) == model.identity
    assert Guard(Model(model.image()), data_of(frozen)).report.status == "watching"


def test_the_samples_are_right_and_balanced() -> None:
    frozen = NETWORKS["head"]
    x, y = given(frozen, 300, 13)
    data = data_of(frozen, GuardOptions(samples=10))
    count, size = struct.unpack_from("<HH", data, 12)
    assert len(data) == HEAD.size + count * (2 + size)
    labels = [struct.unpack_from("<H", data, at)[0] for at in range(HEAD.size, len(data), size + 2)]
    assert count == 10 and sorted(labels) == [0] * 4 + [1] * 3 + [2] * 3
    model = Model(write_image(frozen))
    tickets = np.frombuffer(data[HEAD.size :], np.uint8).reshape(count, -1)[:, 2:]
    assert np.array_equal(model.predict_tickets(np.ascontiguousarray(tickets)), labels)
    assert struct.unpack_from("<I", data, 8)[0] == checksum(data[12:])


def test_what_cannot_be_a_guard() -> None:
    frozen = NETWORKS["head"]
    image, (x, y) = write_image(frozen), given(frozen, 30, 14)
    scores = Model(image).scores(x)
    with pytest.raises(ExportError, match="0 samples: must be from 1"):
        guard_data(frozen, image, x, y, scores, GuardOptions(samples=0))
    with pytest.raises(ExportError, match="out of range"):
        guard_data(frozen, image, x, y, scores, GuardOptions(patience=65536))
    with pytest.raises(ExportError, match="right ones of two classes"):
        guard_data(frozen, image, x, np.zeros_like(y), scores)
    still = gates_network(6, last="levels")
    with pytest.raises(ExportError, match="no layer of this network learns"):
        guard_data(still, write_image(still), x, y, scores)
