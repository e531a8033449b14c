"""Networks of gates in C and in the oracle: every score, every step and the whole state after it (docs/learning-rule.md)."""

from __future__ import annotations

import os

import numpy as np
import pytest
from networks import gates_network, inputs_of_density, oracle_input, seal

from metabit.export import write_image
from metabit.export.frozen import Frozen, HeadRows, HeadSettings
from metabit.export.oracle import Oracle
from metabit.export.vectors import state_of
from metabit.runtime import Model

STEPS = int(os.environ.get("METABIT_GATE_STEPS", "20"))
"""Steps of each head. tests/firmware_sim/test_heads.py makes 500, on the boards too."""


def near(size: int, classes: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Device inputs near three centres of each class, and labels."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    centres = rng.integers(0, 256, (classes, 3, size))
    noise = rng.normal(0, 50, (n, size))
    return np.clip(centres[y, rng.integers(0, 3, n)] + noise, 0, 255).astype(np.uint8), y


def compare(frozen: Frozen, labels: int, steps: int, seed: int = 0, chance: bool = False) -> Model:
    """Predicts and learns in both, labels below `labels`, or by chance, and compares all there is."""
    oracle, model = Oracle(frozen), Model(write_image(frozen))
    learns = any(layer.learns for layer in frozen.layers)
    x, y = near(model.input_size, labels, steps, seed)
    y = np.random.default_rng(seed).permutation(y) if chance else y
    for sample, label in zip(x, y, strict=True):
        given = oracle_input(frozen, sample)
        assert model.scores(sample[None])[0].tolist() == oracle.forward(given)[2].tolist()
        if learns:
            step, told = model.learn_one(sample, int(label)), oracle.learn(given, int(label))
            assert tuple(step) == tuple(told)
            assert model.state() == state_of(frozen, oracle)
    if learns:
        assert model.steps == steps and Model(model.image()).state() == model.state()
    return model


@pytest.mark.parametrize("planes", [0, 1, 16])
@pytest.mark.parametrize("units", [1, 31, 32, 70])
def test_levels(planes: int, units: int) -> None:
    for seed, (k, learns) in enumerate([(2, True), (3, False), (5, True), (8, True), (8, False)]):
        for kind, shared in (("uint8", False), ("int16", False), ("int16", True), ("uint8", True)):
            compare(gates_network(seed, 11, planes, units, 12, "levels", kind, k, learns, shared=shared), 12, 3, seed)


@pytest.mark.parametrize("last", ["levels", "head"])
@pytest.mark.parametrize("kind", ["uint8", "int16"])
@pytest.mark.parametrize("shared", [False, True])
def test_counts_beyond_a_byte(last: str, kind: str, shared: bool) -> None:
    """More than 255 inputs are on, and sums reach +-600; then as many as the cuts of random features give."""
    frozen = gates_network(6, 600, 1, 36, 5, last, kind, learns=last == "levels", shared=shared)
    hidden = frozen.layers[0].hidden
    hidden[:8], hidden[8:16] = 0, -1
    oracle, model = Oracle(frozen), Model(write_image(frozen))
    highest = np.frombuffer(np.full(600, 255 if kind == "uint8" else 32767, kind).tobytes(), np.uint8)
    for sample in (highest, highest // 2, *near(model.input_size, 3, 3, 6)[0]):
        assert model.scores(sample[None])[0].tolist() == oracle.forward(oracle_input(frozen, sample))[2].tolist()


@pytest.mark.parametrize(
    ("kind", "planes", "shared"),
    [("uint8", 0, False), ("uint8", 1, True), ("uint8", 1, False), ("uint8", 3, True), ("uint8", 3, False), ("int16", 1, True),
     ("int16", 7, False), ("uint8", 16, False)],
)  # fmt: skip
def test_inputs_are_listed_in_parts(kind: str, planes: int, shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """256 at once. Full parts end at, before and behind the last input, between planes and inside them."""
    monkeypatch.setenv("METABIT_VECTORS", "none")
    for inputs in (224, 225, 248, 255, 256, 257, 264, 511, 512, 513, 800):
        features = max(1, inputs // (planes or 1))
        frozen = gates_network(inputs, features, planes, 40, 3, "levels", kind, shared=shared)
        oracle, model = Oracle(frozen), Model(write_image(frozen))
        for seed, density in enumerate((0, 0.3, 0.9, 1)):
            x = inputs_of_density(frozen, density, 1, seed)
            x[x == 255] = 127 if kind == "int16" else 255  # the high byte of the largest int16
            expected = oracle.forward(oracle_input(frozen, x[0]))[2].tolist()
            assert model.scores(x)[0].tolist() == expected
            assert model.predict_tickets(model.tickets(x))[0] == np.argmax(expected)


@pytest.mark.parametrize("planes", [17, 18, 20])
def test_counter_planes_that_no_sum_needs(planes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """FORMAT.md allows up to 20, whatever the inputs."""
    monkeypatch.setenv("METABIT_VECTORS", "none")
    frozen = gates_network(0, units=40, last="levels")
    image = bytearray(write_image(frozen))
    x = inputs_of_density(frozen, 0.7, 5)
    expected = Model(bytes(image)).scores(x)
    image[2 * 64 + 3] = planes  # of the gates' record
    assert np.array_equal(Model(seal(image)).scores(x), expected)


@pytest.mark.parametrize("kind", ["uint8", "int16"])
@pytest.mark.parametrize("shared", [False, True])
def test_features_at_any_address_and_cuts_of_every_value(kind: str, shared: bool) -> None:
    """Features are compared eight at a time where their address allows it; planes of an odd number of them begin anywhere."""
    for features, planes in ((3, 1), (4, 1), (8, 3), (11, 5), (260, 1)):
        frozen = gates_network(features, features, planes, 5, 3, "levels", kind, shared=shared)
        if kind == "uint8":
            frozen.encode.cuts.ravel()[:] = np.resize([0, 127, 128, 254, 255, 1, 126, 129], frozen.encode.cuts.size)  # type: ignore[union-attr]
        oracle, model = Oracle(frozen), Model(write_image(frozen))
        room = (
            np.random.default_rng(features)
            .choice([0, 1, 126, 127, 128, 129, 254, 255], model.input_size + 3)
            .astype(np.uint8)
        )
        room[4:12] = 0
        for offset in range(4):
            sample = room[offset : offset + model.input_size]
            assert model.scores(sample[None])[0].tolist() == oracle.forward(oracle_input(frozen, sample))[2].tolist()


def test_levels_learn_on() -> None:
    for k in (2, 5, 8):
        compare(gates_network(k, units=33, classes=17, last="levels", k=k, learns=True), 17, 60)


@pytest.mark.parametrize("spare", [0, 1, 2], ids=["no spare class", "unused", "used"])
@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("values", [32, 64, 128])
def test_heads(values: int, classes: int, spare: int) -> None:
    """Spare classes: a third of them, at least one. Used: samples of them come in."""
    left_out = max(1, classes // 3) if spare else 0
    settings = HeadSettings(memory=63, covariance_memory=0 if values == 64 and spare == 0 else 128, ridge=410)
    frozen = gates_network(
        values + classes, units=values // 2, classes=classes, spare=left_out, samples=200, head=settings
    )
    compare(frozen, classes if spare == 2 else classes - left_out, STEPS)


@pytest.mark.parametrize(
    ("classes", "rows", "per_class", "spare"), [(2, 9, 8, 0), (10, 15, 2, 3), (10, 10, 4, 2), (100, 128, 3, 5)]
)
def test_several_rows_a_class(classes: int, rows: int, per_class: int, spare: int) -> None:
    frozen = gates_network(
        classes, units=16, classes=classes, spare=spare, rows=HeadRows(per_class, 1, 2), row_count=rows, samples=150
    )
    model = compare(frozen, classes, 6 * STEPS, chance=True)
    block = 16 + 8 * rows + 32 * 34 + 64 * rows + 2 * rows + 6 + 32 * rows
    owners = np.frombuffer(model.state()[block : block + rows], np.uint8)
    assert np.bincount(owners[owners != 255]).max() <= per_class
    if (classes, rows) != (10, 10):
        assert len(set(owners[owners != 255])) < (owners != 255).sum(), "no class took a second row"


@pytest.mark.parametrize("every", [2, 4, 128])
def test_weights_follow_every_so_many_steps(every: int) -> None:
    one, rows = HeadSettings(sweep_every=every), HeadRows(2, 1, 2)
    compare(gates_network(7, units=9, classes=5, spare=1, head=one), 5, 3 * STEPS, chance=True)
    compare(gates_network(8, units=9, classes=5, spare=1, head=one, rows=rows, row_count=8), 5, 3 * STEPS, chance=True)
    still = Model(write_image(gates_network(7, units=9, classes=5, head=one)))
    weights = slice(still.state_size - 5 * 18, still.state_size)
    before, x = still.state()[weights], near(still.input_size, 5, every, 1)
    for step in range(every):
        assert still.state()[weights] == before, step
        still.learn_one(x[0][step], int(x[1][step]))
    assert still.state()[weights] != before


def test_counts_that_reach_their_limit_halve() -> None:
    frozen = gates_network(3, units=4, classes=3, spare=1)
    head = frozen.layers[-1]
    head.counts[:2] = 1020, 70  # type: ignore[attr-defined]
    compare(frozen, 2, 30)


def test_rows_run_out() -> None:
    """Other classes may have taken all rows, in an image that no writer makes: the class is then refused, and nothing changes."""
    frozen = gates_network(5, units=6, classes=4, spare=1, rows=HeadRows(2, 1, 1), row_count=4)
    head = frozen.layers[-1]
    head.counts[3], head.owners[3] = 5, 0  # type: ignore[attr-defined]
    model = Model(write_image(frozen))
    x, before = np.zeros(model.input_size, np.uint8), model.state()
    with pytest.raises(ValueError, match="label"):
        model.learn_one(x, 3)
    assert model.state() == before
    model.learn_one(x, 1)
    assert model.state() != before
