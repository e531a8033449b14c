"""Gates under a head on the emulated boards: board, host and oracle agree on the whole state after each of 500 steps."""

from __future__ import annotations

import numpy as np
import pytest
from networks import gates_network, inputs

from metabit.export import write_image
from metabit.export.frozen import HeadRows
from metabit.export.oracle import Oracle
from metabit.export.vectors import state_of
from metabit.firmware_sim import Device, build, load_board
from metabit.runtime import Model

STEPS = 500


@pytest.mark.parametrize(
    ("name", "values", "classes", "per_class"),
    [
        ("rp2040", 128, 2, 1),
        ("sam3x8e", 32, 10, 1),
        ("nrf52840", 128, 10, 1),
        ("nrf5340", 32, 10, 2),
        ("stm32f746", 64, 100, 1),
    ],
)
def test_a_head_is_the_same_after_each_step(name: str, values: int, classes: int, per_class: int) -> None:
    """A third of the classes are spare, at least one. From the middle of the stream on, half of these come in, at least one."""
    spare = max(1, classes // 3)
    rows = HeadRows(per_class, 1, 2) if per_class > 1 else None
    frozen = gates_network(values + classes, units=values // 2, classes=classes, spare=spare, rows=rows, samples=200)
    x, rng = inputs(frozen, STEPS, values), np.random.default_rng(classes)
    half = [rng.integers(0, most, STEPS // 2) for most in (classes - spare, classes - spare // 2)]
    labels = np.concatenate(half)
    model, oracle, board = Model(write_image(frozen)), Oracle(frozen), load_board(name)
    with Device(build(write_image(frozen), board), board) as device:
        replies = device.learn_many(x, labels, states=True)
        scores = device.predict_many(x[:9]).scores
    assert replies.states is not None
    for sample, label, reply, state in zip(x, labels.tolist(), replies, replies.states, strict=True):
        step = model.learn_one(sample, label)
        assert (reply.label, reply.skipped, reply.visited, reply.moved, reply.flipped) == step
        assert step == oracle.learn(frozen.unpack(sample), label)
        assert state.tobytes() == model.state() == state_of(frozen, oracle)
    assert scores is not None and np.array_equal(scores, model.scores(x[:9]))
