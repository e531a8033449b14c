"""docs/security.md: each invariant has a number and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_every_invariant_is_shown_by_tests_that_exist() -> None:
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, len(rows) + 1)) and len(rows) >= 15
    for number, shown in rows:
        tests, programs = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", shown), re.findall(r"`(tests/[\w/]+\.c)`", shown)
        assert tests or programs, f"invariant {number} is shown by nothing"
        assert all((ROOT / program).is_file() for program in programs), number
        for file, test in tests:
            assert f"def {test}(" in (ROOT / file).read_text(), (number, file, test)


def test_every_function_it_names_is_in_a_header() -> None:
    headers = "".join(path.read_text() for path in (ROOT / "runtime" / "include").glob("*.h"))
    named = set(re.findall(r"`(mb_\w+|MB_\w+)`", PAGE))
    assert len(named) > 8 and all(re.search(rf"\b{name}\b", headers) for name in named), named
