"""Options that were removed: for one release, each is answered with an error that names its replacement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typer.core import TyperCommand


def refusing(removed: Mapping[str, str]) -> type[TyperCommand]:
    """Return a class of command that refuses removed options with exit code 2.

    Args:
        removed: option with its dashes -> the rest of a sentence about it, such as "--lr": "is --set lr={value} now".
            {value} stands for the value that the user gave.
    """

    class Refusing(TyperCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            for i, word in enumerate(args):
                name, equals, value = word.partition("=")
                if name in removed:
                    value = value if equals else " ".join(args[i + 1 : i + 2])
                    shown = f"{name} {value}" if "{value}" in removed[name] else name
                    ctx.fail(f"{shown} {removed[name].format(value=value)}")
            return super().parse_args(ctx, args)

    return Refusing
