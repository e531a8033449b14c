"""Cost of the library calls of one kind: mean, 95th percentile, worst call, and the course over the stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.firmware_sim.board import Board
from metabit.firmware_sim.run.emulate import Replies

_POINTS = 60
"""Points of a course at most."""


@dataclass(frozen=True)
class Cost:
    """Cost of `samples` calls. Instructions are exact; cycles and milliseconds are estimates.

    p95: the smallest value that at least 95 % of the calls do not exceed. max: the largest value.
    worst_call: position of the call with most cycles, from 0, in the order the calls ran.
    worst_sample: row of its sample in the data set `worst_data`, from 0.
    course: at most 60 rows (calls so far, mean ms, largest ms), each over the calls since the row before.
    """

    samples: int
    insns_mean: float
    insns_p95: int
    insns_max: int
    cycles_mean: float
    cycles_p95: int
    cycles_max: int
    ms_mean: float
    ms_p95: float
    ms_max: float
    worst_call: int
    worst_sample: int
    worst_data: str
    course: tuple[tuple[int, float, float], ...]

    @property
    def worst(self) -> str:
        """The worst call in words."""
        return f"sample {self.worst_sample:,} of {self.worst_data}, call {self.worst_call + 1:,} of {self.samples:,}"


@dataclass
class CallLog:
    """Instructions and cycles of calls, in the order they ran."""

    insns: list[int] = field(default_factory=list)
    cycles: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    data: list[str] = field(default_factory=list)

    def add(self, replies: Replies, data: str, rows: Sequence[int] | NDArray[np.integer[Any]] | None = None) -> None:
        """Append the calls of a batch. data: name of the data set; rows: row of each sample in it, None for 0, 1, 2, ..."""
        self.insns += replies.insns.tolist()
        self.cycles += replies.cycles.tolist()
        self.rows += [int(row) for row in (range(len(replies)) if rows is None else rows)]
        self.data += [data] * len(replies)

    def cost(self, board: Board) -> Cost:
        """Return the cost of all calls; there must be one at least."""
        insns, cycles = np.array(self.insns), np.array(self.cycles)
        worst = int(cycles.argmax())
        return Cost(
            samples=len(cycles),
            insns_mean=float(insns.mean()),
            insns_p95=_p95(insns),
            insns_max=int(insns.max()),
            cycles_mean=float(cycles.mean()),
            cycles_p95=_p95(cycles),
            cycles_max=int(cycles.max()),
            ms_mean=board.milliseconds(float(cycles.mean())),
            ms_p95=board.milliseconds(_p95(cycles)),
            ms_max=board.milliseconds(int(cycles.max())),
            worst_call=worst,
            worst_sample=self.rows[worst],
            worst_data=self.data[worst],
            course=_course(board, cycles),
        )


def _p95(values: NDArray[np.int64]) -> int:
    return int(np.percentile(values, 95, method="inverted_cdf"))


def _course(board: Board, cycles: NDArray[np.int64]) -> tuple[tuple[int, float, float], ...]:
    ends = np.unique(np.linspace(0, len(cycles), min(_POINTS, len(cycles)) + 1).astype(int))
    return tuple(
        (int(end), board.milliseconds(float(cycles[at:end].mean())), board.milliseconds(int(cycles[at:end].max())))
        for at, end in zip(ends[:-1], ends[1:], strict=True)
    )
