"""metabit run"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metabit.cli.errors import UsageError
from metabit.experiments import show, stream

CHUNK = 100


def command(
    image: Annotated[Path, typer.Argument(help="A .mbit image.")] = Path("out/model.mbit"),
    data: Annotated[
        str, typer.Option("--data", help="Stream to evaluate or learn: digits, digits:sideways, or an .npz file.")
    ] = "digits",
    learn: Annotated[
        bool, typer.Option("--learn", help="Learn the training part, one sample at a time, in place.")
    ] = False,
    passes: Annotated[int, typer.Option(help="Times the stream is seen, each in a new order.", min=1)] = 1,
    limit: Annotated[int | None, typer.Option(help="Learn only so many samples.", min=1)] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="Another world to test on, before and after; repeatable.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write the learned image here.")] = None,
    seed: show.Seed = 0,
    json: show.Json = False,
) -> None:
    """Run an image on this machine through the C runtime: test it, or let it learn a stream.

    Learning reports prequential accuracy (each sample is predicted before it is learned) and the accuracy on the test parts
    before and after. Without learning it also shows the accuracy on the half of the predictions that are surer, those with the
    largest margin between best and second score. Ctrl-C stops the stream; with --save, what was learned until then is kept.

    Example: [bold]metabit run out/model.mbit --data digits:sideways --learn --also digits --save out/learned.mbit[/]
    """
    from metabit.export import read_image
    from metabit.runtime import Model

    if save is not None and not learn:
        raise UsageError("--save without --learn would write the image unchanged: add --learn")
    if not learn and (limit is not None or passes != 1):
        raise UsageError("--limit and --passes are of the stream to learn: add --learn")
    if save is not None and (save.is_dir() or not save.parent.is_dir()):
        raise UsageError(f"--save {save}: give a file in a folder that exists")
    model = Model.open(image)
    frozen = read_image(image.read_bytes())
    worlds = {name: stream.open_task(name, frozen) for name in dict.fromkeys([data, *(also or [])])}
    before = {n: stream.accuracy(model.predict_many, t.x_test, t.y_test) for n, t in worlds.items()}
    tally, interrupted = stream.Tally(), False
    if learn:
        task = worlds[data]
        count = len(task.y_train)
        try:
            with show.bar(f"learning {data}", stream.chunk_count(count, passes, limit, CHUNK)) as bar:
                for piece in stream.chunks(count, passes, limit, seed, CHUNK):
                    steps = model.learn_many(task.x_train[piece], task.y_train[piece])
                    tally.learned(len(piece), steps)
                    tally.predicted(steps.predicted, task.y_train[piece])
                    bar.step()
        except KeyboardInterrupt:
            interrupted = True
            tally.samples = (model.steps - frozen.counters.steps) % 2**32  # some of the last chunk was learned as well
        if save is not None:
            model.save(save)
    after = {n: stream.accuracy(model.predict_many, t.x_test, t.y_test) for n, t in worlds.items()} if learn else before
    surer = {
        n: stream.surer_half(model.predict_many(t.x_test), model.margins(t.x_test), t.y_test) for n, t in worlds.items()
    }

    if json:
        show.emit(
            {
                "image": str(image), "data": data, "accuracy_before": before, "accuracy_after": after,
                "accuracy_surer_half": surer,
                "samples": tally.samples, "interrupted": interrupted, "per_sample": tally.per_sample(),
                "prequential": tally.prequential if learn else None, "prequential_curve": tally.curve,
                "saved": str(save) if save else None,
            }
        )  # fmt: skip
    elif learn:
        show.table(
            f"{image} learned {tally.samples:,} samples of {data}" + (" (interrupted)" if interrupted else ""),
            ["world", "before", "after"],
            [(name, show.percent(before[name]), show.percent(after[name])) for name in worlds],
            caption=f"prequential accuracy {show.percent(tally.prequential)}; per sample "
            + ", ".join(f"{value:.1f} {name}" for name, value in tally.per_sample().items() if name != "skipped")
            + f"; {show.percent(tally.per_sample()['skipped'])} taught nothing",
        )
        if save is not None:
            show.say(f"saved as {save}")
    else:
        rows = [
            (name, show.percent(before[name]), show.percent(surer[name]), f"{len(task.y_test):,}")
            for name, task in worlds.items()
        ]
        show.table(f"{image}", ["world", "accuracy", "of the surer half", "test samples"], rows)
    if interrupted:
        raise typer.Exit(130)
