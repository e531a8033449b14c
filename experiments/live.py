"""A chart of learning in the terminal, while it happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import ArrayLike
from rich.console import Console
from rich.live import Live
from rich.text import Text

from metabit.experiments.stream import Tally

_BARS = " ▁▂▃▄▅▆▇█"
_MOST = 60
"""Columns of the chart: the last ones are shown."""


def bars(values: list[float], top: float) -> str:
    """A column of eighths for each value in 0..top."""
    return "".join(_BARS[min(8, max(0, round(8 * value / top)))] if top > 0 else _BARS[0] for value in values)


class Chart:
    """Accuracy, moved levels and flipped weights of a stream of learning steps, a column for each `window` of them."""

    def __init__(self, title: str, window: int) -> None:
        self.title, self.window = title, window
        self._tallies: list[Tally] = []
        self._live: Live | None = None

    def add(self, steps: Any, labels: ArrayLike) -> None:
        """Take one learning step, as `learn_many` returns it for one sample, and its label (1,)."""
        if not self._tallies or self._tallies[-1].samples == self.window:
            self._tallies.append(Tally())
        self._tallies[-1].learned(1, steps)
        self._tallies[-1].predicted(steps.predicted, labels)  # type: ignore[arg-type]
        if self._live is not None:
            self._live.update(Text(self.text()))

    def columns(self) -> list[dict[str, float]]:
        """The numbers of each column: samples, accuracy 0..1, and per sample the skipped steps, moved levels and flips."""
        return [
            {
                "samples": t.samples,
                "accuracy": t.right / t.samples,
                **{k: v for k, v in t.per_sample().items() if k != "visited"},
            }
            for t in self._tallies
        ]

    def text(self) -> str:
        """The chart: a row of bars for each measure, with its last value and the top of its bars."""
        rows, shown = [self.title], self.columns()[-_MOST:]
        for name, top in (("accuracy", 1.0), ("skipped", 1.0), ("moved", None), ("flipped", None)):
            values = [column[name] for column in shown]
            if name != "accuracy" and not any(values):
                continue  # a head moves no levels
            most = top if top is not None else max(values, default=0.0)
            last = values[-1] if values else 0.0
            told = f"{last:.0%}" if name == "accuracy" else f"{last:.1f} a sample, at most {most:.1f}"
            rows.append(f"{name:>9} |{bars(values, most):<{min(_MOST, len(shown))}}| {told}")
        seen, right = sum(t.samples for t in self._tallies), sum(t.right for t in self._tallies)
        rows.append(
            f"{seen:,} samples, {right / max(1, seen):.1%} right before they were learnt, {self.window} in a column"
        )
        return "\n".join(rows)

    @contextmanager
    def live(self, console: Console) -> Iterator[None]:
        """Show the chart and keep it up to date, on a terminal; elsewhere nothing is shown."""
        if not console.is_terminal:
            yield
            return
        with Live(console=console, refresh_per_second=8, transient=True) as self._live:
            yield
        self._live = None
