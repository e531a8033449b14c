"""metabit run"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metabit.cli import beside, datasets
from metabit.cli.errors import UsageError
from metabit.experiments import show, stream
from metabit.experiments.confusion import Confusion

if TYPE_CHECKING:
    from metabit.export import Notes
    from metabit.runtime import Model

CHUNK = 100

WIDEST = 12
"""Most classes whose confusion matrix is shown as a table; --json always has it."""


def command(
    image: datasets.Image = datasets.MODEL,
    data: datasets.OfModel = None,
    learn: datasets.Learn = False,
    shuffle: datasets.Shuffle = False,
    passes: datasets.Passes = 1,
    limit: datasets.Limit = None,
    also: datasets.Also = None,
    no_rivals: datasets.NoRivals = False,
    guard: Annotated[
        Path | None, typer.Option(help="Learn with this model.guard.bin of metabit export --guard.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write the learned image here.")] = None,
    seed: show.Seed = 0,
    json: show.Json = False,
) -> None:
    """Run an image on this machine through the C runtime: test it, or let it learn a stream.

    Learning reports prequential accuracy (each sample is predicted before it is learned) and, before and after it, accuracy,
    balanced accuracy (mean of the recall over the classes) and recall by class on the test parts, and beside them not learning, the
    majority class, softmax regression, nearest class mean and SLDA on the same stream. Without learning the table also
    shows the accuracy on the half of the predictions with the largest margin between best and second score. Ctrl-C stops the
    stream; with --save, what was learned until then is kept.

    Example: [bold]metabit run out/model.mbit --data digits:sideways --learn --also digits --save out/learned.mbit[/]
    """
    from metabit.export import read_image
    from metabit.firmware_sim import Comparison, Line
    from metabit.runtime import Guard, Model

    if guard is not None and not learn:
        raise UsageError("--guard watches learning: add --learn")
    if save is not None and not learn:
        raise UsageError("--save without --learn would write the image unchanged: add --learn")
    datasets.check_stream(learn, limit, passes, shuffle)
    if save is not None and (save.is_dir() or not save.parent.is_dir()):
        raise UsageError(f"--save {save}: give a file in a folder that exists")
    model = Model.open(image)
    start = model.image()
    frozen = read_image(start)
    data = datasets.of_model(data, image, frozen, seed)
    tasks = datasets.opened([data, *(also or [])], frozen, seed, quiet=json)

    def tested() -> dict[str, Confusion]:
        return {name: Confusion.of(model.scores(t.x_test), t.y_test, t.labels) for name, t in tasks.items()}

    watched = None if guard is None else Guard(model, guard.read_bytes())
    before, tally, interrupted = tested(), stream.Tally(), False
    order = stream.order_of(tasks[data].y_train, shuffle)
    if learn:
        task = tasks[data]
        count = len(task.y_train)
        try:
            with show.bar(f"learning {data}", stream.chunk_count(count, passes, limit, CHUNK)) as bar:
                for piece in stream.chunks(count, passes, limit, seed, CHUNK, shuffle):
                    steps = (watched or model).learn_many(task.x_train[piece], task.y_train[piece])
                    tally.learned(len(piece), steps)
                    tally.predicted(steps.predicted, task.y_train[piece])
                    bar.step()
        except KeyboardInterrupt:
            interrupted = True
            tally.samples = (model.steps - frozen.counters.steps) % 2**32  # some of the last chunk was learned as well
        if save is not None:
            _save(save, model, stream.grown(frozen, task))
    after = tested() if learn else before
    compared: Comparison | None = None
    if learn and not interrupted and not no_rivals:
        shares = [tuple(found.accuracy for found in when.values()) for when in (before, after)]
        ours = Line(f"metabit ({model.learner})", model.state_size, shares[0], shares[1], tally.prequential)
        how: dict[str, Any] = {"passes": passes, "limit": limit, "seed": seed, "shuffle": shuffle}
        try:
            compared = beside.compared(start, tasks, ours, also or [], **how)
        except KeyboardInterrupt:
            interrupted = True

    if json:
        show.emit(
            {
                "image": str(image), "data": data, "read": {name: task.facts() for name, task in tasks.items()},
                "accuracy_before": {name: found.accuracy for name, found in before.items()},
                "accuracy_after": {name: found.accuracy for name, found in after.items()},
                "accuracy_surer_half": {name: found.surer_half for name, found in after.items()},
                "before": {name: found.facts() for name, found in before.items()},
                "after": {name: found.facts() for name, found in after.items()},
                "samples": tally.samples, "order": order if learn else None, "interrupted": interrupted,
                "per_sample": tally.per_sample(),
                "prequential": tally.prequential if learn else None, "prequential_curve": tally.curve,
                "guard": watched.report._asdict() if watched else None,
                "rivals": beside.facts(compared), "saved": str(save) if save else None,
            }
        )  # fmt: skip
    else:
        _tell(str(image), data, before, after if learn else None, tally, order + ", interrupted" * interrupted)
        if watched is not None:
            show.say(f"guard: {watched.report.sentence}")
        if compared is not None:
            beside.tell(compared)
        if save is not None:
            show.say(f"saved as {save}")
    if interrupted:
        raise typer.Exit(130)


def _save(path: Path, model: Model, notes: Notes | None) -> None:
    """Writes the learned image, with the names of classes that were new in this stream."""
    from metabit.data.rows import write_whole
    from metabit.export import read_image, write_image

    learned = read_image(model.image())
    if notes == learned.notes:
        model.save(path)
    else:
        write_whole(path, write_image(replace(learned, notes=notes)))


def _tell(
    image: str, data: str, before: Mapping[str, Confusion], after: Mapping[str, Confusion] | None, tally: stream.Tally, order: str
) -> None:  # fmt: skip
    if after is None:
        rows = [
            (name, *map(show.percent, (c.accuracy, c.balanced_accuracy, c.surer_half)), f"{c.counts.sum():,}")
            for name, c in before.items()
        ]
        show.table(image, ["dataset", "accuracy", "balanced", "of the surer half", "test samples"], rows)
    else:
        kinds = ("accuracy", "balanced_accuracy")
        counts = ", ".join(f"{value:.1f} {name}" for name, value in tally.per_sample().items() if name != "skipped")
        visits = (
            f"; per sample {counts}; {show.percent(tally.per_sample()['skipped'])} skipped" if tally.visited else ""
        )
        show.table(
            f"{image} learned {tally.samples:,} samples of {data} {order}",
            ["dataset", "before", "after", "balanced: before", "after"],
            [
                (name, *(show.percent(getattr(c[name], kind)) for kind in kinds for c in (before, after)))
                for name in before
            ],
            caption=f"prequential accuracy {show.percent(tally.prequential)}{visits}",
        )  # fmt: skip
    _tell_classes(data, before[data], None if after is None else after[data])


def _tell_classes(data: str, before: Confusion, after: Confusion | None) -> None:
    """Recall of each class, beside the number of samples of each predicted class where they fit."""

    def share(value: float | None) -> str:
        return "" if value is None else show.percent(value)

    last = after or before
    wide = len(last.names) <= WIDEST
    recalls = [before.recall] if after is None else [before.recall, after.recall]
    columns = ["class", "samples", *(["recall"] if after is None else ["recall before", "after"])]
    rows = [
        (
            name,
            f"{last.counts[i].sum():,}",
            *(share(recall[name]) for recall in recalls),
            *(f"{count:,}" if count else "" for count in last.counts[i].tolist() if wide),
        )
        for i, name in enumerate(last.names)
        if last.counts[i].any()
    ]
    note = f"columns {last.names[0]} to {last.names[-1]}: samples of the row's class that were predicted as this class"
    title = f"{data}, test part by class" + (", after learning" if after else "")
    show.table(title, [*columns, *(last.names if wide else ())], rows, caption=note if wide else None)
