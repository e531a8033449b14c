"""The `metabit` command. Each subcommand is one module of cli/commands, which is imported when the subcommand is used."""

from __future__ import annotations

import difflib
import os
import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

BREACH = 3
"""Exit code when a budget is broken. 1 is an error, 2 a command line that cannot be read, 130 Ctrl-C."""

COMMANDS = {
    "demo": "Train, export and learn on an emulated board: the whole workflow on a small task.",
    "train": "Train a binary network on one task or a sequence of tasks.",
    "export": "Convert a checkpoint into the device image, ONNX and TFLite.",
    "import": "Bring a network back from a device: the checkpoint from which training goes on.",
    "fresh": "Make an image without training that learns on the device from the first sample.",
    "inspect": "Show the layers, levels and cost of a network, in any of its files.",
    "diff": "Show what changed between two networks of one shape: weights, levels, classes.",
    "run": "Predict or learn on this computer with the C runtime.",
    "merge": "Update a learned model: a new image takes over what still fits.",
    "simulate": "Predict or learn on an emulated board: memory, time, budgets.",
    "tune": "Search the learning settings that suit a stream.",
    "sources": "Write the C runtime and an image for a firmware project.",
    "store": "Compute what saving on a device costs: flash, bytes a sample, days.",
    "package": "Write the C runtime as a package for Arduino, Zephyr, ESP-IDF and others.",
    "firmware": "Write a program to flash: image, runtime and serial line.",
    "device": "Talk to a device over its serial line: predict, learn, read out, update.",
    "verify": "Compare every engine, integer by integer.",
    "boards": "List the boards that can be emulated.",
    "sweep": "Train with every combination of settings, in parallel.",
    "analyse": "Repeat the paper's analyses of hidden weights.",
    "info": "Show the versions of metabit and its optional packages.",
}
"""Name of each command -> its line in `metabit --help`, which imports none of their modules."""
MODULES = {"import": "import_file"}
"""Command -> its module in cli/commands, where the names differ."""


class Commands(TyperGroup):
    """The group of all subcommands. Arguments have the types of whichever click this typer brings."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"metabit.cli.commands.{MODULES.get(cmd_name, cmd_name)}")
        app = getattr(module, "app", None)
        if app is None:
            app = typer.Typer(rich_markup_mode="rich", add_completion=False)
            app.command(cmd_name)(module.command)
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS)
            ctx.fail(
                f"there is no command {args[0]!r}: " + (f"did you mean {near[0]!r}?" if near else "see metabit --help")
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:  # since typer 0.29 the text has the limit without the value
            if problems := getattr(error.__cause__, "errors", None):
                error.message += f", not {problems()[0]['input']}"
            raise
        except KeyboardInterrupt:
            sys.stderr.write("metabit: interrupted\n")
            raise typer.Exit(130) from None


app = typer.Typer(name="metabit", cls=Commands, no_args_is_help=True, rich_markup_mode=None,
                  pretty_exceptions_enable=False, add_completion=False)  # fmt: skip


@app.callback()
def _metabit() -> None:
    """Binary neural networks that keep learning on a microcontroller without forgetting.

    Start with `metabit demo`. The usual order is train, export, run on this computer, simulate on a board. Every command
    has --help with an example.
    """


def main() -> None:
    """Runs the command. An error that the user can correct becomes one sentence on standard error and exit code 1."""
    try:
        app()
    except BrokenPipeError:  # `metabit inspect | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        from metabit.cli.errors import sentence

        said = sentence(error)
        if said is None:
            raise
        sys.stderr.write(f"metabit: {said}\n")
        sys.exit(1)
