"""A command line in this process: it spares each command the start of Python and the import of torch."""

from __future__ import annotations

import sys

import pytest

from metabit.cli import main


def run(*words: object) -> int:
    """Runs `metabit WORDS` in the current folder and returns its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["metabit", *map(str, words)])
        try:
            main()
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0
