"""Draws of xorshift32 as ONNX nodes, many at once.

The generator is linear over bits: the state after m draws is a 32 x 32 matrix of bits, to the power m, times the state. So from the
states after 0 .. m - 1 draws one product gives those after m .. 2m - 1, and a loop of log2(n) rounds gives n of them, each exactly
the state that draws one after the other reach.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from metabit.export.learning.onnx_graph import Graph, Operand, Value
from metabit.export.oracle.visits import next_state

_BITS = np.arange(32)


@functools.cache
def leaps(rounds: int) -> NDArray[np.int8]:
    """int8 (rounds, 32, 32): bits of a state @ leaps[i], modulo 2, are the bits after 2**i draws."""
    one = np.array([next_state(1 << bit) >> _BITS & 1 for bit in range(32)], np.int64)
    found = [one]
    for _ in range(rounds - 1):
        found.append(found[-1] @ found[-1] & 1)
    return np.array(found, np.int8)


class Stream:
    """The draws that follow a state. Row i of ``bits``, uint8 (rows, 32), is the state after i draws, its lowest bit first."""

    def __init__(self, g: Graph, state: Value, count: Operand, most: int) -> None:
        """state: int64 (). count: draws that are wanted; most: a number of draws that count never exceeds, below 2^31."""
        self.g = g
        rounds = most.bit_length()
        powers = g.constant([1 << i for i in range(rounds)])
        needed = (g.int64(count).reshape(1) >= powers).cast(np.int64).sum(0)
        matrices, state = g.constant(leaps(rounds), np.int8), state.reshape(1, 1)
        first = ((state // (1 << _BITS[None])) & 1).cast(np.uint8)

        def doubled(i: Value, rows: list[Value]) -> tuple[list[Value], list[Value]]:
            sums = g.op("MatMulInteger", rows[0], matrices.take(i), dtype=np.int32)
            return [g.concat(rows[0], (sums & 1).cast(np.uint8))], []

        (self.bits,), _ = g.loop(needed, [first], doubled)

    def draws(self) -> Value:
        """int64 (rows,), the value of draw() after each number of draws; row 0 is the draw before the first."""
        return self.bits.slice(16, 32, 1).cast(np.int64) @ self.g.constant(1 << _BITS[:16])

    def state(self, used: Operand) -> Value:
        """int64 (), the state after this number of draws."""
        return (self.bits.take(used).cast(np.int64) * (1 << _BITS)).sum(0)
