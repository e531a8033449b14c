"""Options about data that commands share; datasets opened by name, each told in one line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from metabit.cli.errors import UsageError
from metabit.data import SCENARIOS, DataError, Task, load
from metabit.experiments import show, stream
from metabit.export import Frozen

HELP = (
    "a built-in name such as digits, rotated-digits:2 or mnist (metabit train --help lists them), an .npz or .csv file, a "
    "folder of pictures by class, or train.csv,test.csv. A sequence of tasks is one stream, task after task, tested on all of them."
)
MODEL = Path("out/model.mbit")
Image = Annotated[Path, Argument(help="A .mbit image.")]
DIGITS = "digits"
Data = Annotated[str, Option("--data", help=f"Dataset to test on, or to learn: {HELP}")]
OfModel = Annotated[
    str | None,
    Option(
        "--data",
        help=f"Dataset to test on, or to learn: {HELP} Without it {DIGITS}, or else the built-in data of the training.",
        show_default=False,
    ),
]
Learn = Annotated[bool, Option("--learn", help="Learn the training part, one sample at a time, in place.")]
Shuffle = Annotated[bool, Option("--shuffle", help="Learn in random order, not in file order; tasks are mixed.")]
Passes = Annotated[int, Option(help="Number of times the stream is learned.", min=1)]
Limit = Annotated[int | None, Option(help="Learn only so many samples.", min=1)]
Also = Annotated[list[str] | None, Option(help="Another dataset to test on, before and after; repeatable.")]

NoRivals = Annotated[
    bool, Option("--no-rivals", help="Leave out the learners that a learning report is compared with.")
]


def check_stream(learn: bool, limit: int | None, passes: int, shuffle: bool) -> None:
    """Raise UsageError for options of a stream without --learn."""
    if not learn and (limit is not None or passes != 1 or shuffle):
        raise UsageError("--limit, --passes and --shuffle belong to the stream to learn: add --learn")


def warn(text: str) -> None:
    """A warning of the reader, as a line on standard error."""
    show.warn(f"warning: {text}")


def opened(names: Iterable[str], frozen: Frozen, seed: int, quiet: bool) -> dict[str, Task]:
    """Each dataset once, as the network's inputs. Unless quiet, says what was read.

    A class that the network does not know is the same in all of them, by its name.

    Raises:
        UsageError, DataError: as `stream.open_task`.
    """
    tasks = {}
    for name in dict.fromkeys(names):
        task = tasks[name] = stream.open_task(name, frozen, seed=seed, warn=warn)
        frozen = replace(frozen, notes=stream.grown(frozen, task))
    if not quiet:
        say(*tasks.values())
    return tasks


def of_model(data: str | None, image: Path, frozen: Frozen, seed: int) -> str:
    """The dataset of --data; without it, digits, or where they do not fit, the built-in data that the network was trained on.

    Raises:
        UsageError: neither is there; the message names the user's own data that the network was trained on, if that is known.
    """
    if data is not None:
        return data
    known = trained_on(image)
    if known is not None and known.partition(":")[0] not in SCENARIOS:
        raise UsageError(
            f"--data is missing: {image} was trained on {known}, give --data {known} or other data like it"
        )
    try:
        stream.open_task(DIGITS, frozen, seed=seed)
    except (UsageError, DataError) as wrong:
        if known is not None:
            return known
        found = f"--data is missing, and {DIGITS} do not fit {image} ({wrong})"
        raise UsageError(f"{found}: give your data by --data") from None
    return DIGITS


def trained_on(image: Path) -> str | None:
    """The data that an image was trained on, as metabit train was given it; None where manifest.json beside it does not say so."""
    data = manifest_of(image).get("data")
    return data if isinstance(data, str) else None


def manifest_of(image: Path) -> dict[str, Any]:
    """The manifest.json beside an image; empty where there is none, or it is of another file."""
    try:
        told = json.loads(image.with_name("manifest.json").read_bytes())
        if told["sha256"][image.name] != hashlib.sha256(image.read_bytes()).hexdigest():
            return {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return dict(told)


def of_training(told: Mapping[str, Any]) -> dict[str, Any]:
    """Whatever a manifest or a provenance tells of the data, "data", "read" and "recall", each where it has the form of ours."""
    read, recall, found = told.get("read"), told.get("recall"), {}
    if isinstance(told.get("data"), str):
        found["data"] = told["data"]
    if isinstance(read, dict) and isinstance(counts := read.get("classes"), dict):
        numbers = [*(read.get(name) for name in ("samples", "features", "train", "test")), *counts.values()]
        texts = [read.get(name) for name in ("numbers", "held_out")]
        if all(isinstance(n, int) and n >= 0 for n in numbers) and all(isinstance(text, str) for text in texts):
            found["read"] = read
    if isinstance(recall, dict):
        shares = [share for share in recall.values() if share is not None]
        if all(isinstance(share, int | float) and 0 <= share <= 1 for share in shares):
            found["recall"] = recall
    return found


def loaded(name: str, seed: int, outputs: int | None = None, known: Sequence[str] = ()) -> Task:
    """A dataset, all its tasks in order, before there is a network that takes it.

    Raises:
        DataError: as `metabit.data.load`.
    """
    return load(name, seed=seed, outputs=outputs, known=known, warn=warn).whole()


def say(*tasks: Task) -> None:
    """Says what was read, a line for each dataset."""
    for task in tasks:
        show.say(task.line())
