"""The parts of a rule that the graph of a training file calls."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from metabit.export.learning.onnx_graph import Value

Carried = dict[str, Value]
"""The state between two samples of a call, by name. The arrays may be wider than those of the file."""


class Learnt(NamedTuple):
    """State after a step, whether the sample taught, and the synapses visited, moved and flipped, int64 ()."""

    state: Carried
    taught: Value
    visited: Value
    moved: Value
    flipped: Value


class Rule(Protocol):
    """A network that learns, for one sample at a time."""

    def enter(self) -> Carried:
        """The state of the file as it is carried."""

    def leave(self, s: Carried) -> Carried:
        """The arrays of `metabit.export.learning.state` but the counters; their dtypes may still be wider."""

    def scores(self, s: Carried, x: Value) -> Value:
        """Scores int64 (C,) of what the lowest learning layer takes."""

    def accepts(self, s: Carried, label: Value) -> Value | None:
        """Computes whether a step with this label is possible, bool (); None where it always is."""
        return None

    def learn(self, s: Carried, x: Value, scores: Value, label: Value, steps: Value) -> Learnt:
        """A step. label: 0..C-1. steps: number of steps, this one included."""
