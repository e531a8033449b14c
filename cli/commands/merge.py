"""metabit merge"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metabit.cli import outputs
from metabit.cli.errors import UsageError
from metabit.experiments import show

MERGED = Path("out/merged.mbit")


def command(
    learned: Annotated[Path, typer.Argument(help="The .mbit image that has learnt.")],
    new: Annotated[Path, typer.Argument(help="The new .mbit image, which is to replace it.")],
    given: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The image to write; none of those read.", show_default=f"{MERGED}"),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="A state that a device learnt with LEARNED, such as a snapshot read from it.")
    ] = None,
    force: outputs.Force = False,
    json: show.Json = False,
) -> None:
    """Update a learned model: write the new image with what it can take over of the learnt state, and say what that is.

    The whole state is taken over if the images differ only in what was learnt. If only inputs and layers below the learning one are
    equal, what was learnt about the classes that both have is (equal by name). Else nothing fits, and the new image is
    written as it is. An image without a learning step before one with some is refused: they were given in the wrong order.

    Example: [bold]metabit merge out/learned.mbit out/model.mbit -o out/merged.mbit[/]
    """
    from metabit.runtime import Model

    output = given or MERGED
    if output.is_dir() or not output.parent.is_dir():
        raise UsageError(f"--output {output}: give a file in a folder that exists")
    outputs.check_inputs(output, [learned, new, state])
    old, model = Model.open(learned), Model.open(new)
    if state is not None:
        old.restore(state.read_bytes())
    if model.steps > old.steps == 0:
        raise UsageError(
            f"{learned} has learnt nothing, and {new} has {model.steps:,} steps, which would be lost: give the learned image "
            f"first, metabit merge {new} {learned}"
        )
    merged = model.merge(old)
    outputs.check_replaced(output, model.image(), force or given is not None, "name another file by -o")
    model.save(output)
    if json:
        show.emit(
            {"learned": str(learned), "new": str(new), "output": str(output), "steps": model.steps, **merged._asdict()}
        )
        return
    show.say(merged.reason)
    if merged.what == "classes":
        show.say(f"classes: {merged.kept} taken over, {merged.fresh} as in {new}, {merged.gone} of {learned} are gone")
    show.say(f"saved as {output}: {model.steps:,} steps learnt")
