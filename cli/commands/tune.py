"""metabit tune"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from typer import Argument, Option

from metabit.cli import beside, datasets
from metabit.cli.commands.fresh import sample_of, thresholds_of, warn_of
from metabit.cli.errors import UsageError
from metabit.cli.removed import refusing
from metabit.experiments import show, stream
from metabit.experiments.race import Race, Trial

if TYPE_CHECKING:
    from metabit.data import Task
    from metabit.experiments.tuning import Bench, Start
    from metabit.firmware_sim import Comparison

SHOWN = 10
"""Trials in the table; --json has them all."""


class Order(str, Enum):
    """Order in which a stream is learnt: as the data has it, class after class, or at random."""

    time = "time"
    sorted = "sorted"
    mixed = "mixed"


def command(
    source: Annotated[Path | None, Argument(help="A checkpoint or a .mbit image; by default what metabit fresh makes.")] = None,
    data: datasets.Data = "digits",
    output: Annotated[Path | None, Option("-o", "--output", help="Write the network with the best settings here.")] = None,
    also: Annotated[list[str] | None, Option(help="Data of an old task that must not be forgotten; repeatable.")] = None,
    order: Annotated[list[Order] | None, Option(help="Order of the stream; repeatable, by default all three.")] = None,
    trials: Annotated[int, Option(help="Settings to try, drawn at random.", min=1)] = 32,
    rounds: Annotated[int, Option(help="Seeds that the last ones left are tried with.", min=1)] = 8,
    passes: datasets.Passes = 1,
    spare: Annotated[int, Option("--spare-classes", help="Heads of a checkpoint: classes to come.", min=0)] = 0,
    units: Annotated[int | None, Option(help="Units of a head without a source, by default 64, and 128.")] = None,
    hidden: Annotated[int | None, Option(help="Hidden units of votes without a source, 192 by default.")] = None,
    bits: Annotated[int | None, Option(help="Bits a synapse of votes without a source, 4 by default.")] = None,
    table: Annotated[Path, Option(help="Every finished run, JSON lines; none is run twice.")] = Path("out/tune.jsonl"),
    workers: Annotated[int, Option(help="Processes at once; 0: this one.", min=0)] = 0,
    no_rivals: datasets.NoRivals = False,
    seed: show.Seed = 0,
    json: show.Json = False,
) -> None:  # fmt: skip
    """Search the learner and the settings that learn your own stream best, without forgetting.

    A trial learns the training part, but for one sample of every ten: in time order, class after class, and mixed, each from the
    start. Its score is the mean of two accuracies at the end: on the samples left out (new), and on samples of the old tasks that
    --also names, so that forgetting counts. The better half is tried again with another seed and other samples left out, and so on.
    The best trial replaces the present settings only if it beats them by more than chance on seeds that neither has seen. The test
    parts are used once, after the choice, to compare it with other learners. All learners that a checkpoint can have compete:
    a head with one row a class or two, and levels, or visits or votes; without a source, heads and votes from nothing. Ctrl-C keeps
    the finished runs.

    Example: [bold]metabit tune out/checkpoint.safetensors --data my.csv --also old.csv -o out/tuned.mbit[/]
    """
    from metabit.data.rows import write_whole
    from metabit.experiments.tuning import ORDERS, Bench, draw

    if source is not None and (units, hidden, bits) != (None, None, None):
        raise UsageError("a source brings its own network: leave out --units, --hidden and --bits")
    if spare and (source is None or source.suffix == ".mbit"):
        raise UsageError(
            "--spare-classes belongs to a checkpoint: an image has its own, and metabit fresh --spare-classes makes one"
        )
    if output is not None and output.resolve() == table.resolve():
        raise UsageError(
            f"--output and --table are both {output}: the image would replace the finished runs, name two files"
        )
    if output is not None and output.is_dir():
        raise UsageError(f"--output {output}: give a file, not a folder")
    starts, tasks = _opened(source, data, also or [], spare, units, hidden, bits, seed)
    others = {name: tasks[name] for name in dict.fromkeys(also or [])}
    bench = Bench.of(starts, tasks[data], others, passes, [one.value for one in order] if order else ORDERS)
    race = Race(draw(starts, trials, seed), rounds, seed, {"stream": bench.digest()})
    for file in (table, output) if output is not None else (table,):
        file.parent.mkdir(parents=True, exist_ok=True)
    interrupted = False
    try:
        with show.bar(f"tuning on {data}", race.runs) as bar:
            found = race.run(bench, table, workers=workers, progress=lambda row: bar.step())
    except KeyboardInterrupt:
        interrupted, found = True, race.ranking(table)
    best = None if interrupted else race.winner(table)
    gains = race.gains(table, found[0].number) if found and found[0].number else []
    runs = sum(len(trial.rows) for trial in found) + 2 * len(gains)
    tuned = None
    if best is not None:
        start, settings = bench.start(best.settings)
        tuned = start.tuned(settings)
    if output is not None and tuned is not None:
        write_whole(output, tuned)
    compared = None if tuned is None or no_rivals else _compared(tuned, bench, data, tasks, seed)

    if json:
        show.emit(
            {
                "source": str(source) if source else None, "data": data,
                "read": {name: task.facts() for name, task in tasks.items()},
                "order": stream.order_of(tasks[data].y_train, False), "orders": list(bench.orders), "table": str(table),
                "runs": runs, "interrupted": interrupted, "best": best.settings if best else None, "gains": gains,
                "trials": [{"trial": t.number, "settings": t.settings, "runs": len(t.rows), **_means(t)} for t in found],
                "rivals": beside.facts(compared), "saved": str(output) if output is not None and best else None,
            }
        )  # fmt: skip
    else:
        datasets.say(*tasks.values())
        _tell(found, bench, data)
        if best is not None:
            show.say(_verdict(best, gains) + (f"; saved as {output}" if output is not None else ""))
        if compared is not None:
            beside.tell(compared)
    if interrupted:
        show.warn(f"interrupted: {runs} of {race.runs} runs are finished and kept in {table}, the same command goes on")
        raise typer.Exit(130)


def _opened(
    source: Path | None,
    data: str,
    also: list[str],
    spare: int,
    units: int | None,
    hidden: int | None,
    bits: int | None,
    seed: int,
) -> tuple[dict[str, Start], dict[str, Task]]:
    """The learners that compete, and the datasets as their inputs; the stream is the first of them."""
    from metabit.data.task import check_bytes
    from metabit.experiments.learners import fresh_starts, trained_starts
    from metabit.experiments.tuning import Image, check_samples
    from metabit.export import VoteOptions
    from metabit.runtime import Model

    tasks: dict[str, Task] = {}
    names = dict.fromkeys([data, *also])
    if source is None:
        task = datasets.loaded(data, seed)
        check_samples(task)
        options = None
        if hidden is not None or bits is not None:
            check_bytes(task, "votes", "leave out --hidden and --bits: a head takes any numbers")
        if task.x_train.dtype == np.uint8:
            options = VoteOptions(bits=4 if bits is None else bits, thresholds=thresholds_of(task), seed=seed)
        sizes = (64, 128) if units is None else (units,)
        sample = sample_of(task, seed)
        warn_of(task, sample)
        starts = fresh_starts(task, sample, sizes, seed, 192 if hidden is None else hidden, options)
        tasks[data] = task
        del names[data]
    elif source.suffix == ".mbit":
        blob = source.read_bytes()
        starts = {Model(blob).learner: Image(blob)}
    else:
        starts = trained_starts(source, spare)
    frozen = next(iter(starts.values())).first()
    return starts, tasks | datasets.opened(names, frozen, seed, quiet=True)


def _compared(image: bytes, bench: Bench, data: str, tasks: Mapping[str, Task], seed: int) -> Comparison:
    """The best image beside its rivals, all of them on the whole training part and on the test parts."""
    from metabit.firmware_sim import Line
    from metabit.runtime import Model

    model, tally, task = Model(image), stream.Tally(), tasks[data]
    how: dict[str, Any] = {"passes": bench.passes, "limit": None, "seed": seed, "shuffle": bench.orders == ("mixed",)}

    def tested() -> tuple[float, ...]:
        return tuple(stream.accuracy(model.predict_many, t.x_test, t.y_test) for t in tasks.values())

    before = tested()
    for piece in stream.chunks(len(task.y_train), how["passes"], None, seed, beside.CHUNK, how["shuffle"]):
        steps = model.learn_many(task.x_train[piece], task.y_train[piece])
        tally.learned(len(piece), steps)
        tally.predicted(steps.predicted, task.y_train[piece])
    ours = Line(f"metabit ({model.learner})", model.state_size, before, tested(), tally.prequential)
    return beside.compared(image, tasks, ours, list(bench.kept), **how)


def _means(trial: Trial) -> dict[str, Any]:
    """Means of all results over the runs of a trial; results by name or by order stay so."""
    first = trial.rows[0]
    deep = {
        name: {key: sum(row[name][key] for row in trial.rows) / len(trial.rows) for key in first[name]}
        for name in ("new", "old", "kept")
    }
    return {name: trial.mean(name) for name in ("score", "prequential", "moved")} | deep


def _plain(trial: Trial) -> str:
    changed = [f"{name} {value}" for name, value in trial.settings.items() if name != "learner"]
    return f"{trial.settings['learner']}: {', '.join(changed) or 'as it is'}"


def _verdict(best: Trial, gains: list[float]) -> str:
    """Summary of the final comparison, in percentage points; without one, no trial led the present settings."""
    if not gains:
        return "nothing leads the settings as they are"
    said = f"{100 * sum(gains) / len(gains):+.1f} points on {len(gains)} other seeds"
    found = f"best: {_plain(best)}, {said}"
    return found if best.number else f"best as it is: the first comes to {said}, not beyond chance"


def _tell(found: list[Trial], bench: Bench, data: str) -> None:
    """Shows the best trials, and each learner as it is in its place."""
    if not found:
        return
    rows = []
    for trial in [t for place, t in enumerate(found) if place < SHOWN or t.number < len(bench.starts)]:
        means = _means(trial)
        shares = [f"{show.percent(means['new'][order])}" + (f" / {show.percent(means['old'][order])}" if means["old"] else "")
                  for order in bench.orders]  # fmt: skip
        rows.append((_plain(trial), len(trial.rows), show.percent(means["score"]), *shares))
    pair = "new / old" if bench.kept else "new"
    unknown = "" if bench.kept else "; nothing counts what is forgotten: name the data of before deployment by --also"
    show.table(
        f"{data}: best of {len(found)} settings",
        ["learner and settings", "runs", "score", *(f"{order}: {pair}" for order in bench.orders)],
        rows,
        caption="accuracy at the end on samples left out, by the order of the stream; score: mean of new and old over all "
        f"orders; a mean over the trial's runs{unknown}",
    )


app = typer.Typer(rich_markup_mode="rich", add_completion=False)
app.command("tune", cls=refusing({"--shuffle": "is --order mixed now"}))(command)
