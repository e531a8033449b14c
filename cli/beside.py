"""The learning report: the model beside its rivals, as a table and as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from metabit.data import Task
from metabit.experiments import show, stream
from metabit.firmware_sim import Comparison, Line

CHUNK = 100
PATIENCE = 2.0
"""Seconds that the rivals may take before a progress bar appears."""


def compared(
    image: bytes,
    tasks: Mapping[str, Task],
    ours: Line,
    old: Sequence[str],
    *,
    passes: int,
    limit: int | None,
    seed: int,
    shuffle: bool,
) -> Comparison:
    """Let the rivals learn the stream of the model. Arguments: as of `comparison.compare` and `stream.chunks`."""
    from metabit.experiments import comparison

    count = len(next(iter(tasks.values())).y_train)
    total = count * passes if limit is None else min(limit, count * passes)
    with show.bar("the other learners", comparison.steps(total), PATIENCE) as bar:
        pieces = stream.chunks(count, passes, limit, seed, CHUNK, shuffle)
        return comparison.compare(image, tasks, pieces, ours, old, bar.step)


def tell(found: Comparison) -> None:
    """Print a comparison as a table with its verdicts below."""
    several = len(found.counted) > 1
    rows = [
        (
            line.name, f"{line.state:,}",
            *(f"{show.percent(b)} → {show.percent(a)}" for b, a in zip(line.before, line.after, strict=True)),
            *([show.percent(found.mean(line))] if several else []),
            "" if line.prequential is None else show.percent(line.prequential),
        )
        for line in found.lines
    ]  # fmt: skip
    columns = ["learner", "bytes of state", *found.datasets, *(["mean, after"] if several else []), "prequential"]
    show.table("beside other learners: test accuracy before → after the stream", columns, rows, caption=found.began)
    for sentence in found.verdicts:
        show.say(sentence)


def facts(found: Comparison | None) -> dict[str, Any] | None:
    """A comparison, JSON-ready: accuracies by dataset."""
    if found is None:
        return None
    lines = [
        asdict(line)
        | {when: dict(zip(found.datasets, getattr(line, when), strict=True)) for when in ("before", "after")}
        for line in found.lines
    ]
    return {"lines": lines, "known": list(found.known), "began": found.began, "verdicts": list(found.verdicts)}
