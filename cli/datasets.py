"""Datasets of a command: opened by name, and what was read said in one line each."""

from __future__ import annotations

from collections.abc import Iterable

from metabit.data import Task, load
from metabit.experiments import show, stream
from metabit.export import Frozen

HELP = (
    "a built-in name such as digits, rotated-digits:2 or mnist (metabit train --help lists them), an .npz or .csv file, a "
    "folder of pictures by class, or train.csv,test.csv. A sequence of tasks is one stream, task after task, tested on all of them."
)


def warn(text: str) -> None:
    """A warning of the reader, as a line on standard error."""
    show.warn(f"warning: {text}")


def opened(names: Iterable[str], frozen: Frozen, seed: int, quiet: bool) -> dict[str, Task]:
    """Each dataset once, as the network's inputs. Unless quiet, says what was read.

    Raises:
        UsageError, DataError: as `stream.open_task`.
    """
    tasks = {name: stream.open_task(name, frozen, seed=seed, warn=warn) for name in dict.fromkeys(names)}
    if not quiet:
        say(*tasks.values())
    return tasks


def loaded(name: str, seed: int, outputs: int | None = None) -> Task:
    """A dataset, all its tasks in order, before there is a network that takes it.

    Raises:
        DataError: as `metabit.data.load`.
    """
    return load(name, seed=seed, outputs=outputs, warn=warn).whole()


def say(*tasks: Task) -> None:
    """Says what was read, a line for each dataset."""
    for task in tasks:
        show.say(task.line())
