"""The front door: the `metabit` command. Composes the rooms and owns no logic of theirs; a module for each subcommand."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable

import typer

from metabit.cli.commands import (
    analyse,
    boards,
    demo,
    export,
    fresh,
    info,
    inspect,
    run,
    simulate,
    sources,
    sweep,
    train,
    tune,
    verify,
)

BREACH = 3
"""Exit code when a budget is broken; 1 is an error, 2 a command line that makes no sense, 130 Ctrl-C."""

app = typer.Typer(
    name="metabit",
    help="Binary neural networks that keep learning on a microcontroller without forgetting.\n\n"
    "The road: [bold]train[/] → [bold]export[/] → [bold]run[/] on this machine → [bold]simulate[/] on a board. "
    "Start with [bold]metabit demo[/].",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)


def interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with Ctrl-C as one word and exit code 130."""

    @functools.wraps(command)
    def run(*args: object, **kwargs: object) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            sys.stderr.write("metabit: interrupted\n")
            raise typer.Exit(130) from None

    return run


for module in (train, sweep, export, fresh, tune, inspect, run, simulate, sources, verify, boards, info, demo):
    app.command(module.__name__.rpartition(".")[2])(interruptible(module.command))
app.add_typer(analyse.app, name="analyse")


def main() -> None:
    """Runs the command; what a user can mend becomes one sentence and an exit code."""
    from metabit.cli.errors import sentence

    try:
        app()
    except BrokenPipeError:  # `metabit inspect | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        said = sentence(error)
        if said is None:
            raise
        sys.stderr.write(f"metabit: {said}\n")
        sys.exit(1)
