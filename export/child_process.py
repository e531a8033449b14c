"""Child processes that run a module of metabit."""

import sys
from pathlib import Path

_START = "import sys; sys.path[:] = sys.argv[1:]; from {} import main; main()"
"""Program of the child. It replaces the module path before the first import: `python -m` and `python -c` search the current
directory first, where a file named numpy.py would be executed. (`-P` does the same from Python 3.11 on.)"""


def command(module: str) -> list[str]:
    """Return the command that calls `main()` of a module in a new process of this Python.

    Its module path is the one of this process without the current directory, which stays only if metabit itself was imported from
    it.
    """
    here, home = Path.cwd(), Path(__file__).resolve().parents[2]
    path = [p for p in sys.path if p and (Path(p).resolve() != here or here == home)]
    return [sys.executable, "-c", _START.format(module), *path]
