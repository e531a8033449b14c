"""Many small runs in parallel processes, with one table that a crash does not damage.

A cell of the sweep is a plain dict of settings. Its row in the table is the cell and the results of its run. Only this
process writes the table, one line for each finished cell, and each line is on the disk before the next is written. If a
worker is killed, another worker runs its cell. If the sweep is killed, the next one runs only the missing cells.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
import itertools
import json
import os
import platform
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from importlib.metadata import version
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

from metabit.data.errors import DataError
from metabit.data.rows import append_row, read_rows, write_whole
from metabit.train.errors import TrainError

Cell = dict[str, Any]

RETRIES = 3
"""Number of repetitions for a cell whose process ended without a result."""


def cells(axes: Mapping[str, Sequence[Any]], **fixed: Any) -> list[Cell]:
    """Return every combination of the axes' values with the fixed settings; the last axis changes fastest.

    Raises:
        TrainError: an axis has no values or one value twice, or is also fixed.
    """
    for name, values in axes.items():
        if not values or len({_key({"": value}) for value in values}) != len(values):
            raise TrainError(f"axis {name}={list(values)}: give at least one value, and none twice")
        if name in fixed:
            raise TrainError(f"{name} is both an axis and fixed: leave one out")
    return [{**fixed, **dict(zip(axes, values, strict=True))} for values in itertools.product(*axes.values())]


def sweep(
    work: Callable[[Cell], Mapping[str, Any]],
    todo: Sequence[Cell],
    table: str | Path,
    *,
    workers: int | None = None,
    progress: Callable[[Cell], None] | None = None,
) -> list[Cell]:
    """Run every cell that is not in the table.

    Args:
        work: computes the results of a cell, JSON-ready, in a worker process with one thread. It must be picklable,
            and equal cells must give equal results.
        todo: cells, JSON-ready, no two equal.
        table: JSON lines; made if it does not exist. Rows of other cells stay in it.
        workers: parallel processes; None is one for each core; 0 runs the cells in turn in this process.
        progress: called with each new row.

    Returns:
        the rows of ``todo``, in its order. If work raised an error, the row has ``error`` (a sentence) instead of
        results, and the next sweep runs the cell again.

    Raises:
        DataError: the table cannot be read or written.
        TrainError: one cell killed its worker in all `RETRIES` repetitions (the other cells are finished first), or the
            table has a row without a cell.
    """
    table = Path(table)
    wanted = {_key(cell): cell for cell in todo}
    if len(wanted) != len(todo):
        raise TrainError(f"{len(todo) - len(wanted)} cells appear twice: leave them out")
    if workers is not None and workers < 0:
        raise TrainError(f"workers={workers}: must be at least 0")
    found = _read(table, wanted)
    missing = {key: cell for key, cell in wanted.items() if key not in found}

    def finish(key: str, result: Mapping[str, Any]) -> None:
        append_row(table, {"cell": wanted[key], **result})
        found[key] = {**wanted[key], **result}
        if progress is not None:
            progress(found[key])

    if workers == 0:
        for key, cell in missing.items():
            finish(key, _try(work, cell))
    elif missing:
        _run(work, missing, workers or os.cpu_count() or 1, finish)
    return [found[key] for key in wanted]


def finished(table: str | Path, asked: Sequence[Cell]) -> list[Cell | None]:
    """Return the row of each of these cells, or None if it is missing or has an error. Errors are those of `sweep`."""
    keys = [_key(cell) for cell in asked]
    found = _read(Path(table), dict(zip(keys, asked, strict=True)))
    return [found.get(key) for key in keys]


def run_cell(cell: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Run one cell of `metabit sweep`: one `metabit.train.run` of a scenario.

    The run saves into a folder of its own, so that a cell whose worker was killed continues from the last save. The
    folder is removed at the end.

    Args:
        cell: ``scenario``, optionally ``tasks``, and any `metabit.train.Settings` by name; None is the default.
        folder: for the saved states of all cells.

    Returns:
        mean_accuracy, forgetting, backward_transfer, final_accuracy; just_learnt, each task's accuracy just after it
        was learnt; epochs; seconds of this attempt; machine, torch and date.
    """
    from metabit.data import load
    from metabit.train.metrics import accuracy_matrix, summary
    from metabit.train.run import STATE, run
    from metabit.train.settings import Settings, defaults

    changes = dict(cell)
    row = load(changes.pop("scenario"), tasks=changes.pop("tasks", None))
    settings = Settings.of(defaults(row.name), **changes)
    place = Path(folder) / hashlib.sha256(_key(cell).encode()).hexdigest()[:16]
    start = time.monotonic()
    ran = run(row, settings, place, resume=(place / STATE).exists())
    if ran.interrupted:
        raise KeyboardInterrupt
    matrix = accuracy_matrix(ran.history)
    measures = summary(matrix)
    shutil.rmtree(place)
    kept = {name: measures[name] for name in ("mean_accuracy", "forgetting", "backward_transfer", "final_accuracy")}
    kept["just_learnt"] = [None if value != value else value for value in matrix.diagonal().tolist()]
    seconds = round(time.monotonic() - start, 1)
    return {**kept, "epochs": len(ran.history), "seconds": seconds, **provenance("torch")}


def provenance(*packages: str) -> dict[str, str]:
    """Where and when a row was measured: machine, date (ISO 8601), and each package's version under the package's name."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return {"machine": machine, "date": datetime.date.today().isoformat(), **{name: version(name) for name in packages}}


def to_csv(table: str | Path, path: str | Path) -> None:
    """Write the table as CSV: a column for every name in any row, in order of appearance; lists and objects as JSON."""
    rows = read_rows(table)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in row.items()})
    write_whole(path, text.getvalue())


def _run(
    work: Callable[[Cell], Mapping[str, Any]],
    missing: Mapping[str, Cell],
    workers: int,
    finish: Callable[[str, Mapping[str, Any]], None],
) -> None:
    """Run the cells in processes. Each process is a pool of its own, so that its death is that of one cell."""
    new = partial(ProcessPoolExecutor, 1, get_context("spawn"), initializer=_begin)
    todo, idle = list(missing), [new() for _ in range(min(workers, len(missing)))]
    running: dict[Future[dict[str, Any]], tuple[str, ProcessPoolExecutor]] = {}
    deaths: Counter[str] = Counter()
    try:
        while todo or running:
            while todo and idle:
                key, pool = todo.pop(0), idle.pop()
                running[pool.submit(_try, work, missing[key])] = key, pool
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                key, pool = running.pop(done)
                if isinstance(done.exception(), BrokenProcessPool):
                    deaths[key] += 1
                    todo += [key] * (deaths[key] <= RETRIES)
                    pool = new()
                else:
                    finish(key, done.result())
                idle.append(pool)
    finally:
        for child in active_children():  # also those whose cells an interrupt left unfinished
            child.terminate()
    if dead := [missing[key] for key, count in deaths.items() if count > RETRIES]:
        raise TrainError(
            f"{len(dead)} cells killed their worker {RETRIES + 1} times, the first is {dead[0]}: is there enough memory? "
            "The others are in the table"
        )


def _begin() -> None:
    """Prepare a worker process: one thread, and Ctrl-C is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"  # torch reads it when it is imported
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _try(work: Callable[[Cell], Mapping[str, Any]], cell: Cell) -> dict[str, Any]:
    """Run one cell in the worker. An error that the user can mend becomes a row, and the sweep continues."""
    try:
        return dict(work(dict(cell)))
    except (DataError, TrainError, ArithmeticError) as error:
        return {"error": str(error)}


def _read(table: Path, wanted: Mapping[str, Cell]) -> dict[str, Cell]:
    """Return the rows of the wanted cells by their keys, without rows that have an error."""
    found = {}
    for row in read_rows(table):
        cell = row.pop("cell", None)
        if not isinstance(cell, dict):
            raise TrainError(f"{table} has a row without a cell: give the table of a sweep")
        if "error" not in row and (key := _key(cell)) in wanted:
            found[key] = {**wanted[key], **row}
    return found


def _key(cell: Mapping[str, Any]) -> str:
    try:
        return json.dumps(cell, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TrainError(f"a cell must be plain JSON: {error}") from None
