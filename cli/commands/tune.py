"""metabit tune"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from metabit.cli import datasets
from metabit.cli.commands.fresh import thresholds_of
from metabit.cli.errors import UsageError
from metabit.experiments import show, stream
from metabit.experiments.race import Race, Trial

SHOWN = 10
"""Trials in the table; --json has them all."""


def command(
    image: Annotated[Path | None, Argument(help="A .mbit image that learns; by default one that metabit fresh makes.")] = None,
    data: datasets.Data = "digits",
    shuffle: datasets.Shuffle = False,
    output: Annotated[Path | None, Option("-o", "--output", help="Write the network with the best settings here.")] = None,
    also: Annotated[list[str] | None, Option(help="Another dataset that must not be forgotten; repeatable.")] = None,
    trials: Annotated[int, Option(help="Settings to try, drawn at random.", min=1)] = 32,
    rounds: Annotated[int, Option(help="Seeds that the last ones left are tried with.", min=1)] = 8,
    passes: datasets.Passes = 1,
    hidden: Annotated[int | None, Option(help="Hidden units without an image, 192 by default.")] = None,
    bits: Annotated[int | None, Option(help="Bits a synapse without an image, 4 by default.")] = None,
    table: Annotated[Path, Option(help="Every finished run, JSON lines; none is run twice.")] = Path("out/tune.jsonl"),
    workers: Annotated[int, Option(help="Processes at once; 0: this one.", min=0)] = 0,
    seed: show.Seed = 0,
    json: show.Json = False,
) -> None:  # fmt: skip
    """Search the learning settings with which a network learns your own stream best, without forgetting.

    A trial learns the training part, but for one sample of every ten, in file order. Its score is the mean of its prequential
    accuracy, its accuracy at the end on the samples left out, and its accuracy at the end on each dataset of --also, so that
    forgetting counts. The better half is tried again with another seed and other samples left out, and so on. The best trial
    replaces the present settings only if it beats them by more than chance on seeds that neither has seen. No setting costs
    memory, and the test part is never used. Ctrl-C keeps the finished runs.

    Example: [bold]metabit tune --data digits --trials 16 -o out/tuned.mbit[/]
    """
    from metabit.data.rows import write_whole
    from metabit.experiments.tuning import Bench, Start, draw
    from metabit.export import VoteOptions, read_image

    if image is not None and (hidden is not None or bits is not None):
        raise UsageError("an image brings its own network: leave out --hidden and --bits")
    if output is not None and output.resolve() == table.resolve():
        raise UsageError(
            f"--output and --table are both {output}: the image would replace the finished runs, name two files"
        )
    if output is not None and output.is_dir():
        raise UsageError(f"--output {output}: give a file, not a folder")
    if image is None:
        task = datasets.loaded(data, seed)
        options = VoteOptions(bits=4 if bits is None else bits, thresholds=thresholds_of(task), seed=seed)
        start = Start(None, (task.features, 192 if hidden is None else hidden, task.classes), options)
    else:
        start = Start(image.read_bytes())
    frozen = start.network({}, seed) if start.image is None else read_image(start.image)
    settings = draw(frozen, trials, seed)
    names = dict.fromkeys(also or [] if image is None else [data, *(also or [])])
    tasks = datasets.opened(names, frozen, seed, quiet=True)
    if image is None:
        tasks[data] = stream.as_inputs(task, frozen)
    others = {name: tasks[name] for name in dict.fromkeys(also or [])}
    bench = Bench.of(start, tasks[data], others, passes, seed if shuffle else None)
    race = Race(settings, rounds, seed, {"stream": bench.digest()})
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
    if output is not None and best is not None:
        write_whole(output, start.tuned(best.settings))

    if json:
        show.emit(
            {
                "image": str(image) if image else None, "data": data,
                "read": {name: task.facts() for name, task in tasks.items()},
                "order": stream.order_of(tasks[data].y_train, shuffle), "table": str(table), "runs": runs,
                "interrupted": interrupted, "best": best.settings if best else None, "gains": gains,
                "trials": [{"trial": t.number, "settings": t.settings, "runs": len(t.rows), **_means(t)} for t in found],
                "saved": str(output) if output is not None and best else None,
            }
        )  # fmt: skip
    else:
        datasets.say(*tasks.values())
        _tell(found, data)
        if best is not None:
            show.say(_verdict(best, gains) + (f"; saved as {output}" if output is not None else ""))
    if interrupted:
        show.warn(f"interrupted: {runs} of {race.runs} runs are finished and kept in {table}, the same command goes on")
        raise typer.Exit(130)


def _means(trial: Trial) -> dict[str, Any]:
    kept = {name: sum(row["kept"][name] for row in trial.rows) / len(trial.rows) for name in trial.rows[0]["kept"]}
    return {name: trial.mean(name) for name in ("score", "prequential", "retention", "moved")} | {"kept": kept}


def _plain(trial: Trial) -> str:
    return ", ".join(f"{name} {value}" for name, value in trial.settings.items()) or "as it is"


def _verdict(best: Trial, gains: list[float]) -> str:
    """Summary of the final comparison, in percentage points; without one, no trial led the present settings."""
    if not gains:
        return "nothing leads the settings as they are"
    said = f"{100 * sum(gains) / len(gains):+.1f} points on {len(gains)} other seeds"
    found = f"best: {_plain(best)}, {said}"
    return found if best.number else f"best as it is: the first comes to {said}, not beyond chance"


def _tell(found: list[Trial], data: str) -> None:
    """Shows the best trials, and the present settings in their place."""
    if not found:
        return
    rows = []
    for trial in [t for place, t in enumerate(found) if place < SHOWN or t.number == 0]:
        means = _means(trial)
        shares = [means["score"], means["prequential"], means["retention"], *means["kept"].values()]
        rows.append((_plain(trial), len(trial.rows), *map(show.percent, shares)))
    show.table(
        f"{data}: best of {len(found)} settings",
        ["settings", "runs", "score", "prequential", "held out", *found[0].rows[0]["kept"]],
        rows,
        caption="score: mean of prequential accuracy and the accuracies at the end; a mean over the trial's runs",
    )
