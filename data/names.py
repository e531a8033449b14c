"""load: what a name means. A built-in name, a file, a folder of pictures, or a training file and a test file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from metabit.data.arrays import Raw, Warn, scenario_of, task_names, tell
from metabit.data.csv_files import read_csv
from metabit.data.errors import DataError
from metabit.data.image_folders import read_folder
from metabit.data.npz_files import read_npz
from metabit.data.scenarios import SCENARIOS
from metabit.data.task import Scenario

OPTIONS: dict[str, tuple[str, ...]] = {"label": (), "index": ("keep", "drop"), "header": ("yes", "no"), "classes": ()}
"""Option -> its values, () for any."""

CSV = (".csv", ".csv.gz", ".tsv", ".tsv.gz")


def load(
    name: str | Path,
    *,
    seed: int = 0,
    tasks: int | None = None,
    outputs: int | None = None,
    known: Sequence[str] = (),
    warn: Warn | None = None,
) -> Scenario:
    """A dataset or a sequence of tasks, by name. Every command takes the same names.

    ============================  =======================================================================
    ``digits``, ``mnist`` ...     a row of `SCENARIOS`; ``rotated-digits:2`` is its second task alone
    ``my.npz``                    arrays x (n, F) and y (n,), optionally x_test, y_test, task, task_test,
                                  feature_names (F,)
    ``my.csv``                    a table (`csv_files.read_csv`), also .csv.gz, .tsv, .tsv.gz
    ``my.npz:right``              the samples whose ``task`` is right, as one task
    ``pictures``                  a folder with a subfolder of pictures for each class
    ``train.csv,test.csv``        a training part and a test part: two files, or two folders
    ============================  =======================================================================

    After a file's name, options may follow, each with a comma before it: ``label=COLUMN`` (name, or number from 1),
    ``index=keep`` (take a row index for a feature), ``header=yes`` or ``header=no``, ``classes=idle/walk/run`` (the name
    of each class, in order). So a name with its options reads the same in every command.

    How features and labels are read: `arrays.from_arrays`. Features keep their values. Classes are those of the whole
    file, for all its tasks and for both parts.

    Args:
        seed: of splits, permutations and parts, where a task is given none of its own.
        tasks: use only the first so many tasks.
        outputs, known: number of classes of the model that the data is for, and their names (`labels.classes`).
        warn: receives each warning, one sentence; by default it becomes a `DataWarning`.

    Returns:
        a scenario: ``load("digits").task(0)`` is its first task, ``load("rotated-digits").whole()`` all tasks in order
        as one. Built-in data is read when a task is made, a file at once.

    Raises:
        DataError: unknown name, no such file, or anything about the values in it.
        MissingExtraError: the data needs a package that is not installed.
    """
    text = str(name).removeprefix("file:")
    found = SCENARIOS.get(text) or _part_of_builtin(text)
    if found is None:
        found, notes = _file(text, outputs, known)
        tell(notes, warn)
    return replace(found.first(tasks), seed=seed)


def _part_of_builtin(text: str) -> Scenario | None:
    head, _, number = text.rpartition(":")
    if head not in SCENARIOS or Path(text).exists():
        return None
    row = SCENARIOS[head]
    if not (number.isdecimal() and 1 <= int(number) <= row.most):
        close = get_close_matches(text, SCENARIOS, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        tasks = f"the tasks of {head} are {head}:1 to {head}:{row.most}" if row.most > 1 else f"{head} has one task"
        raise DataError(f"unknown data {text!r}: {tasks}{meant}")
    return row.only(int(number) - 1)


def _file(text: str, outputs: int | None, known: Sequence[str]) -> tuple[Scenario, list[str]]:
    paths, options = _parts(text)
    picked = ""
    head, colon, tail = paths[0].rpartition(":")
    if colon and _kind(head) and not Path(paths[0]).exists():
        paths[0], picked = head, tail
    for path in paths:
        if not _kind(path):
            files = "the path of an .npz or .csv file, of a folder of pictures, or train.csv,test.csv"
            raise DataError(f"unknown data {path!r}: use one of {', '.join(SCENARIOS)}; or {files}")
    raw = _read(paths, options)
    order = tuple(options["classes"].split("/")) if "classes" in options else ()
    title = ",".join(paths)
    found, notes = scenario_of(title, raw, order=order, outputs=outputs, known=known)
    if not picked:
        return found, notes
    ids = task_names(raw.train)
    if picked not in ids:
        known = f"there are {', '.join(ids)}" if ids else f"it has no column or array named task, use {title}"
        raise DataError(f"{title} has no task {picked}: {known}")
    return replace(found.only(ids.index(picked)), name=f"{title}:{picked}"), notes


def _parts(text: str) -> tuple[list[str], dict[str, str]]:
    """Paths and options of a name; a path that exists is taken as it stands, commas and all."""
    if Path(text).exists():
        return [text], {}
    paths: list[str] = []
    options: dict[str, str] = {}
    for word in text.split(","):
        key, equals, value = word.partition("=")
        if not (equals and paths and key in OPTIONS):
            paths.append(word)
        elif not value or (OPTIONS[key] and value not in OPTIONS[key]):
            raise DataError(f"{text}: {word} must be {key}={'|'.join(OPTIONS[key]) or 'VALUE'}")
        else:
            options[key] = value
    if len(paths) > 2:
        raise DataError(f"{text} names {len(paths)} files: give one, or train,test; options are {', '.join(OPTIONS)}")
    return paths, options


def _kind(path: str) -> str:
    """ "csv", "npz", "folder", or "" for what is none of them."""
    if path.endswith(CSV):
        return "csv"
    if path.endswith(".npz"):
        return "npz"
    return "folder" if path and Path(path).is_dir() else ""


def _read(paths: list[str], options: dict[str, str]) -> Raw:
    kinds = [_kind(path) for path in paths]
    if len(set(kinds)) > 1:
        raise DataError(f"{' and '.join(paths)} are of two kinds: give the training part and the test part in one kind")
    if kinds[0] == "csv":
        return _tables(paths, options)
    for key in options:
        if key != "classes":
            raise DataError(f"{','.join(paths)}: {key}= is an option of .csv files, leave it out")
    read = read_npz if kinds[0] == "npz" else read_folder
    raws = [read(Path(path)) for path in paths]
    if len(raws) == 1:
        return raws[0]
    for path, raw in zip(paths, raws, strict=True):
        if raw.test is not None:
            raise DataError(f"{path} has a test part of its own: give it alone, or a file without one")
    if raws[0].shape != raws[1].shape:
        sizes = ["x".join(map(str, raw.shape or ())) for raw in raws]
        raise DataError(f"{paths[0]} has pictures of {sizes[0]} and {paths[1]} of {sizes[1]}: they must agree")
    return Raw(raws[0].train, raws[1].train, raws[0].shape, [note for raw in raws for note in raw.notes])


def _tables(paths: list[str], options: dict[str, str]) -> Raw:
    header = options.get("header", "")
    train, layout, notes = read_csv(
        Path(paths[0]), label=options.get("label", ""), index=options.get("index", "drop"), header=header
    )
    if len(paths) == 1:
        return Raw(train, notes=notes)
    test, _, more = read_csv(Path(paths[1]), header=header, like=layout)
    return Raw(train, test, notes=notes + more)
