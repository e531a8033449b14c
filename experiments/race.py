"""Which settings suit best: tried side by side, the better half tried again and again, until few are left.

A trial is a dict of settings. What it scores depends on chance as well, so every round repeats the trials that are left with
another seed and drops the worse half of them. Of many trials one is first by luck alone, so at the end it meets the first
trial, what there was before anything was tuned, on seeds that neither has run with. Runs are cells of a `sweep`: in one
table, on as many machines, finished once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metabit.experiments.sweep import Cell, finished, sweep
from metabit.train.errors import TrainError

DUEL = 2
"""Seeds of the comparison at the end, for each round."""


@dataclass(frozen=True)
class Trial:
    """number: 0 is what there was before. rows: what its finished runs found, at least one, each with a ``score``."""

    number: int
    settings: Cell
    rows: tuple[Cell, ...]

    def mean(self, name: str) -> float:
        """Of a result over the runs."""
        return float(np.mean([row[name] for row in self.rows]))


@dataclass(frozen=True)
class Race:
    """What is to be tried.

    Args:
        settings: of each trial, JSON-ready, no two alike; the first is what there was before.
        rounds: the survivors of the last one have run so often. At least 1.
        seed: of the first round; the others count on, and so do the DUEL · rounds seeds of the comparison at the end.
        fixed: belongs to every cell, to tell the runs of this race from others in the table.
    """

    settings: Sequence[Cell]
    rounds: int = 8
    seed: int = 0
    fixed: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.settings:
            raise TrainError("no settings to try: give at least one trial")
        if self.rounds < 1:
            raise TrainError(f"rounds={self.rounds}: must be at least 1")

    @property
    def sizes(self) -> list[int]:
        """Trials in each round: the first of them and half of the others, rounded up, go on."""
        sizes = [len(self.settings)]
        for _ in range(self.rounds - 1):
            sizes.append(1 + sizes[-1] // 2)
        return sizes

    @property
    def runs(self) -> int:
        """As many as there can be; fewer if the first trial leads."""
        return sum(self.sizes) + 2 * DUEL * self.rounds

    def cell(self, trial: int, round_: int) -> Cell:
        """What `work` gets: ``settings``, ``seed`` and all that is fixed."""
        return {**(self.fixed or {}), "settings": dict(self.settings[trial]), "seed": self.seed + round_}

    def run(
        self,
        work: Callable[[Cell], Mapping[str, Any]],
        table: str | Path,
        *,
        workers: int | None = 0,
        progress: Callable[[Cell], None] | None = None,
    ) -> list[Trial]:
        """Runs what the table does not have yet, and returns `ranking`. Arguments and errors are `sweep`'s.

        work: returns ``score``, larger is better, and whatever else it found.
        """
        left = list(range(len(self.settings)))
        for round_, size in enumerate(self.sizes):
            best = [trial.number for trial in self.ranking(table, round_) if trial.number in left] if round_ else left
            left = [0, *(number for number in best if number != 0)][:size]
            self._sweep(work, [self.cell(number, round_) for number in left], table, workers, progress)
        ranking = self.ranking(table)
        if ranking[0].number != 0:
            self._sweep(
                work, [cell for pair in self._duel(ranking[0].number) for cell in pair], table, workers, progress
            )
        return ranking

    def _duel(self, number: int) -> list[tuple[Cell, Cell]]:
        """Trial and trial 0 side by side, on seeds that no round had."""
        return [
            (self.cell(number, at), self.cell(0, at)) for at in range(self.rounds, self.rounds + DUEL * self.rounds)
        ]

    def _sweep(
        self,
        work: Callable[[Cell], Mapping[str, Any]],
        todo: Sequence[Cell],
        table: str | Path,
        workers: int | None,
        progress: Callable[[Cell], None] | None,
    ) -> None:
        for row in sweep(work, todo, table, workers=workers, progress=progress):
            if "error" in row:
                raise TrainError(row["error"])

    def gains(self, table: str | Path, number: int) -> list[float]:
        """What this trial scored above trial 0 on each seed of the comparison at the end that both have finished."""
        pairs = self._duel(number)
        rows = finished(table, [cell for pair in pairs for cell in pair])
        return [
            mine["score"] - theirs["score"]
            for mine, theirs in zip(rows[::2], rows[1::2], strict=True)
            if mine and theirs
        ]

    def winner(self, table: str | Path) -> Trial | None:
        """The first of the ranking if it beat trial 0 in the comparison at the end by more than twice the standard error of their
        mean difference; else trial 0. None if no run of trial 0 has finished."""
        ranking = self.ranking(table)
        before = next((trial for trial in ranking if trial.number == 0), None)
        gains = self.gains(table, ranking[0].number) if before is not None and ranking[0] is not before else []
        if len(gains) < DUEL * self.rounds:  # not finished
            return before
        return ranking[0] if np.mean(gains) > 2 * np.std(gains, ddof=1) / len(gains) ** 0.5 else before

    def ranking(self, table: str | Path, rounds: int | None = None) -> list[Trial]:
        """Trials that have finished a run, best first: those that went further before those that were dropped, then by mean
        score, then by number. What there was before stays in to the end, so it stands where its score puts it.

        rounds: only the runs of so many, from the first: a table may hold later ones, of a race with fewer trials."""
        count, most = len(self.settings), self.rounds if rounds is None else rounds
        rows = finished(table, [self.cell(number, round_) for number in range(count) for round_ in range(most)])
        found = []
        for number in range(count):
            own = [row for row in rows[number * most : (number + 1) * most] if row is not None]
            if own:
                found.append(Trial(number, dict(self.settings[number]), tuple(own)))
        return sorted(found, key=lambda trial: (-len(trial.rows), -trial.mean("score"), trial.number))
