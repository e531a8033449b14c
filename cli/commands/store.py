"""metabit store"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from metabit.cli import datasets
from metabit.cli.errors import UsageError
from metabit.experiments import show


def command(
    image: Annotated[Path, typer.Argument(help="A .mbit image that learns.")] = datasets.MODEL,
    data: Annotated[str | None, typer.Option(help="Samples to learn. Without it every word changes between two saves.")] = None,
    save_every: Annotated[int, typer.Option(min=1, help="Learnt samples between two saves.")] = 100,
    samples_a_day: Annotated[int, typer.Option(min=1, help="Samples that the device learns in a day.")] = 1000,
    page_size: Annotated[int, typer.Option(help="Bytes that one erase clears.")] = 4096,
    pages: Annotated[int, typer.Option(help="Pages of flash for the store.")] = 12,
    program_size: Annotated[int, typer.Option(help="Bytes of one program: 1 to 32.")] = 8,
    endurance: Annotated[int, typer.Option(min=1, help="Erases that a page bears, by the data sheet.")] = 10_000,
    seed: show.Seed = 0,
    json: show.Json = False,
) -> None:  # fmt: skip
    """Compute what saving on a device costs (metabit_store.h): pages, bytes programmed for each learnt sample, days of flash life.

    With --data it learns the training part and compares the states that would be saved.

    Example: [bold]metabit store out/model.mbit --data digits --save-every 50[/]
    """
    from metabit.export import read_image
    from metabit.runtime import Model
    from metabit.runtime.flash_life import Cost, Store

    model = Model.open(image)
    if model.learner == "none":
        raise UsageError(f"{image} does not learn: there is nothing to save")
    try:
        store = Store(model.state_size, page_size, pages, program_size)
    except ValueError as wrong:
        raise UsageError(str(wrong)) from None
    if data is None:
        entries = [store.worst_entry()]
    else:
        frozen = read_image(image.read_bytes())
        task = datasets.opened([data], frozen, seed, quiet=json)[data]
        entries, before = [], model.state()
        for first in range(0, len(task.y_train) - save_every + 1, save_every):
            piece = slice(first, first + save_every)
            model.learn_many(task.x_train[piece], task.y_train[piece])
            after = model.state()
            entries.append(store.entry(before, after))
            before = after
        if not entries:
            raise UsageError(f"{data} has {len(task.y_train)} samples: give --save-every {save_every} or more of them")
    cost = Cost.of(store, entries, endurance)
    days = cost.saves * save_every / samples_a_day
    facts: dict[str, Any] = {
        "state": model.state_size, "pages at least": store.least_pages, "pages": pages, "flash": pages * page_size,
        "saves measured": len(entries) if data is not None else 0, "bytes a save": round(cost.bytes_a_save, 1),
        "bytes a learnt sample": round(cost.bytes_a_save / save_every, 2), "saves between two erases of a slot": cost.saves_a_slot,
        "days": round(days, 1), "years": round(days / 365.25, 1),
    }  # fmt: skip
    if json:
        show.emit({"image": str(image), "data": data, "save_every": save_every, "samples_a_day": samples_a_day,
                   "page_size": page_size, "program_size": program_size, "endurance": endurance, **facts})  # fmt: skip
        return
    how = f"measured on {data}" if data is not None else "every word changes between two saves: give --data for less"
    show.table(f"{image} saved every {save_every} samples, {how}", ["", ""], [(k, f"{v:,}") for k, v in facts.items()])
