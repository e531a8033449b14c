"""cppcheck over the library and what stands around it. A line that it misunderstands says why beside it.

The suite checks each file as it is built without options; without --max-configs=1 the command takes the MB_WITHOUT_... too.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from compilers import run

RUNTIME = Path(__file__).parents[2] / "runtime"
OPTIONS = ("-q", "--std=c99", "--max-configs=1", "-UMB_CONFIG", "--enable=warning,style,performance,portability",
           "--inline-suppr", "--error-exitcode=1")  # fmt: skip
PLACES = tuple(f"-I{RUNTIME / name}" for name in ("include", "field", "src"))


def checked(*files: Path) -> str:
    """Returns what cppcheck 2.10 finds: other versions know other rules."""
    if not run("cppcheck", "--version").startswith("Cppcheck 2.10"):
        pytest.skip("cppcheck 2.10 is absent, and other versions know other rules")
    done = subprocess.run(["cppcheck", *OPTIONS, *PLACES, *files], capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 1), done.stderr
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("room", ["src", "field"])
def test_cppcheck_finds_nothing_that_has_no_reason_beside_it(room: str) -> None:
    assert not checked(RUNTIME / room)


def test_cppcheck_finds_an_error(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.c"
    wrong.write_text("int last(void)\n{\n    int three[3] = {0};\n    return three[3];\n}\n")
    assert "arrayIndexOutOfBounds" in checked(wrong)
