"""Comparison of the C runtime with the NumPy oracle."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from networks import oracle_input

from metabit.export.files.image import write_image
from metabit.export.frozen import Frozen
from metabit.export.oracle import Oracle
from metabit.export.vectors import learned, state_of, write_vectors
from metabit.runtime import InputError, Model


def agree_while_learning(frozen: Frozen, x: np.ndarray, labels: np.ndarray) -> tuple[Oracle, Model]:
    """Scores before each step, what the step reports, and every byte of the state after it. Frozen networks refuse to learn."""
    oracle, model = Oracle(frozen), Model(write_image(frozen))
    learns = any(layer.learns for layer in frozen.layers)
    assert model.state() == state_of(frozen, oracle)
    for given_x, label in zip(x, labels, strict=True):
        bits = oracle_input(frozen, given_x)
        np.testing.assert_array_equal(model.scores(given_x[None])[0], oracle.scores(bits))
        assert model.predict_one(given_x) == oracle.predict(bits)
        if not learns:
            with pytest.raises(InputError, match="nothing to learn"):
                model.learn_one(given_x, int(label))
            continue
        assert model.learn_one(given_x, int(label)) == oracle.learn(bits, int(label))
        assert model.state() == state_of(frozen, oracle)
    assert model.image() == write_image(learned(frozen, oracle))
    return oracle, model


def replay_vector(frozen: Frozen, inputs: int, steps: int, seed: int, crc32: bool = False) -> bytes:
    """The vectors that tests/runtime/replay.c reads: inputs, their scores, and the whole state after each step."""
    with np.load(io.BytesIO(write_vectors(frozen, inputs=inputs, steps=steps, seed=seed, crc32=crc32))) as v:
        x, labels = v["features"], v["learn_labels"] if "learn_labels" in v else []
        states = np.bitwise_xor.accumulate(v["state_changes"])[1:] if len(labels) else []
        state_size = len(state_of(frozen, Oracle(frozen), crc32=crc32))
        parts = [struct.pack("<5I", len(x), frozen.classes, x.shape[1], len(labels), state_size)]
        parts += [x.tobytes(), v["scores"].astype("<i4").tobytes()]
        infos = v["learn_info"] if len(labels) else []
        for label, info, state in zip(labels, infos, states, strict=True):
            parts += [struct.pack("<H5I", label, *info), state.tobytes()]
    return b"".join(parts)
