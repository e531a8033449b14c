"""The device's generator in TFLite's operators (docs/learning-rule.md, "Update"): many numbers at once.

xorshift32 is linear in the bits of its state, so 2^n steps are one matrix of bits, looked up four bits at a time. A row of states
grows to twice its length by applying the matrix of that many steps to all of it. The 32 bits of a state are those of an int32.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from metabit.export.learning.tflite_values import Code, Value
from metabit.export.oracle.visits import next_state

Words = NDArray[np.uint32]


def states(code: Code, state: Value, count: int) -> Value:
    """int32 (1 + 2^n,) with 2^n >= count: the state (1,) itself, and those after 1, 2, 3 .. draws."""
    row = _ahead(code, state, 0)
    for doubled in range((max(count, 1) - 1).bit_length()):
        row = code.join([row, _ahead(code, row, doubled)])
    return code.join([state, row])


def upper(states: Value) -> Value:
    """The numbers that draw() gives at these states, 0..65535."""
    return (states >> 16) % 65536


def _ahead(code: Code, row: Value, doubled: int) -> Value:
    """The states 2^doubled draws after those of a row (n,)."""
    (size,) = row.shape
    nibbles = (row.reshape(size, 1) >> code.table(4 * np.arange(8)[None])) % 16
    found = code.table(_steps(doubled).view(np.int32)).take(nibbles + code.table(16 * np.arange(8)[None]))
    for _ in range(3):
        one, other = found.halves(1)
        found = one ^ other
    return found.reshape(size)


@functools.cache
def _steps(doubled: int) -> Words:
    """uint32 (128,): entry 16 p + v is the state 2^doubled draws after the state v << 4 p."""
    if not doubled:
        columns = np.array([next_state(1 << bit) for bit in range(32)], np.uint32)
    else:
        columns = _apply(
            _steps(doubled - 1), _apply(_steps(doubled - 1), np.uint32(1) << np.arange(32, dtype=np.uint32))
        )
    told = [np.uint32(0)] * 128
    for entry in range(128):
        bits = [4 * (entry >> 4) + bit for bit in range(4) if entry >> bit & 1]
        told[entry] = np.bitwise_xor.reduce(columns[bits], dtype=np.uint32)
    return np.array(told, np.uint32)


def _apply(steps: Words, states: Words) -> Words:
    nibbles = (states[:, None] >> (4 * np.arange(8, dtype=np.uint32))) & 15
    found: Words = np.bitwise_xor.reduce(steps[nibbles + 16 * np.arange(8)], axis=1)
    return found
