"""Successive halving: search for the best settings by repeated trials, of which each round drops the worse half.

A trial is a dict of settings. Its score also depends on chance, so every round runs the remaining trials with another
seed and drops the worse half of them. The best of many trials may lead by luck alone, so at the end it is compared with
the first trial, the present settings, on seeds that neither has used. All runs are cells of a `sweep` in one table, so
a finished run is never repeated.
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
"""Seeds of the final comparison for each round."""


@dataclass(frozen=True)
class Trial:
    """A trial with its finished runs.

    Args:
        number: 0 is the trial of the present settings.
        settings: of the trial.
        rows: results of its finished runs, at least one, each with a ``score``.
    """

    number: int
    settings: Cell
    rows: tuple[Cell, ...]

    def mean(self, name: str) -> float:
        """Return the mean of result `name` over this trial's runs."""
        return float(np.mean([row[name] for row in self.rows]))


@dataclass(frozen=True)
class Race:
    """A search by successive halving.

    Args:
        settings: of each trial, JSON-ready, no two equal; the first are the present settings.
        rounds: number of rounds, >= 1; the trials of the last round have run that often.
        seed: of the first round. Round i has seed + i, and the DUEL · rounds seeds of the final comparison follow.
        fixed: part of every cell; it distinguishes the runs of this search from others in the table.

    Raises:
        TrainError: there are no settings, or rounds is below 1.
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
        """Number of trials in each round: the first trial and half of the others, rounded up, remain."""
        sizes = [len(self.settings)]
        for _ in range(self.rounds - 1):
            sizes.append(1 + sizes[-1] // 2)
        return sizes

    @property
    def runs(self) -> int:
        """Largest number of runs; there are fewer if the first trial leads."""
        return sum(self.sizes) + 2 * DUEL * self.rounds

    def cell(self, trial: int, round_: int) -> Cell:
        """Return the argument of `work`: ``settings``, ``seed`` and everything in `fixed`."""
        return {**(self.fixed or {}), "settings": dict(self.settings[trial]), "seed": self.seed + round_}

    def run(
        self,
        work: Callable[[Cell], Mapping[str, Any]],
        table: str | Path,
        *,
        workers: int | None = 0,
        progress: Callable[[Cell], None] | None = None,
    ) -> list[Trial]:
        """Run what is not in the table, and return `ranking`. Arguments and errors are those of `sweep`.

        Args:
            work: returns ``score``, of which larger is better, and any other results.
        """

        def finish(todo: Sequence[Cell]) -> None:
            for row in sweep(work, todo, table, workers=workers, progress=progress):
                if "error" in row:
                    raise TrainError(row["error"])

        left = list(range(len(self.settings)))
        for round_, size in enumerate(self.sizes):
            best = [trial.number for trial in self.ranking(table, round_) if trial.number in left] if round_ else left
            left = [0, *(number for number in best if number != 0)][:size]
            finish([self.cell(number, round_) for number in left])
        ranking = self.ranking(table)
        if ranking[0].number != 0:
            finish(self._duel(ranking[0].number))
        return ranking

    def _duel(self, number: int) -> list[Cell]:
        """Return the cells of a trial and of trial 0, in turns, with the seeds of the final comparison, which no round has."""
        return [self.cell(one, at) for at in range(self.rounds, (1 + DUEL) * self.rounds) for one in (number, 0)]

    def _finished(self, table: str | Path, cells: Sequence[Cell]) -> list[Cell | None]:
        """Row of each cell, or None. Raises TrainError for a row without a score, or a result that is not a finite number."""
        rows = finished(table, cells)
        for cell, row in zip(cells, rows, strict=True):
            results = {} if row is None else {"score": None} | {name: row[name] for name in row if name not in cell}
            for name, value in results.items():
                numbers = value.values() if isinstance(value, dict) else [value]
                if not all(isinstance(one, int | float) and np.isfinite(one) for one in numbers):
                    raise TrainError(
                        f"{table}: {name} of a finished run is {value!r}, not a finite number: delete that line"
                    )
        return rows

    def gains(self, table: str | Path, number: int) -> list[float]:
        """Return score of this trial minus score of trial 0 for each seed of the final comparison that both finished."""
        rows = self._finished(table, self._duel(number))
        pairs = zip(rows[::2], rows[1::2], strict=True)
        return [mine["score"] - theirs["score"] for mine, theirs in pairs if mine and theirs]

    def winner(self, table: str | Path) -> Trial | None:
        """Return the first of the ranking if it beat trial 0 in the final comparison by more than twice the standard error of
        the mean difference, else trial 0; None if no run of trial 0 has finished."""
        ranking = self.ranking(table)
        before = next((trial for trial in ranking if trial.number == 0), None)
        gains = self.gains(table, ranking[0].number) if before is not None and ranking[0] is not before else []
        if len(gains) < DUEL * self.rounds:  # not finished
            return before
        return ranking[0] if np.mean(gains) > 2 * np.std(gains, ddof=1) / len(gains) ** 0.5 else before

    def ranking(self, table: str | Path, rounds: int | None = None) -> list[Trial]:
        """Return the trials with a finished run, best first: by number of runs, then by mean score, then by number.

        Args:
            rounds: counts only the runs of the first rounds, as the table may hold those of later ones; None is all.
        """
        count, most = len(self.settings), self.rounds if rounds is None else rounds
        cells = [self.cell(number, round_) for number in range(count) for round_ in range(most)]
        rows = self._finished(table, cells)
        found = []
        for number in range(count):
            own = [row for row in rows[number * most : (number + 1) * most] if row is not None]
            if own:
                found.append(Trial(number, dict(self.settings[number]), tuple(own)))
        return sorted(found, key=lambda trial: (-len(trial.rows), -trial.mean("score"), trial.number))
