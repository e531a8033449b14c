"""Ranges of features in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from metabit.cli import ranges
from metabit.cli.errors import UsageError


@pytest.mark.parametrize(
    ("text", "ends", "names"),
    [
        ("0..1", [[0, 1]], ()),
        ("0..1,20..40", [[0, 1], [20, 40]], ()),
        ("-1.5..-0.5, 1e-3..2.5E2,0...5", [[-1.5, -0.5], [1e-3, 250], [0, 0.5]], ()),
        ("heat:20..40,rpm: 0..9000", [[20, 40], [0, 9000]], ("heat", "rpm")),
        ("heat:20..40,0..9000", [[20, 40], [0, 9000]], ()),
        ("3*0..255,pixel:2*-1..1", [[0, 255]] * 3 + [[-1, 1]] * 2, ()),
        ("pixel:2*-1..1", [[-1, 1]] * 2, ("pixel 0", "pixel 1")),
    ],
)
def test_ranges_in_words(text: str, ends: list[list[float]], names: tuple[str, ...]) -> None:
    found, named = ranges.read(text)
    assert found.tolist() == ends and named == names


def test_ranges_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sensors.txt"
    path.write_text("# of the board\nheat: 20..40  # degrees\nrpm: 0..9000, volt: 0..3.3\n")
    found, named = ranges.read(str(path))
    assert found.tolist() == [[20, 40], [0, 9000], [0, 3.3]] and named == ("heat", "rpm", "volt")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1..0", "--ranges: '1..0': must be LOW..HIGH, two numbers, the greater one last, as 20..40"),
        ("0..1,a..2", "'a..2': must be LOW..HIGH"),
        ("0..1,2...", "'2...': must be LOW..HIGH"),
        ("0..nan", "'0..nan': must be LOW..HIGH"),
        ("0*0..1", "'0*0..1': must be LOW..HIGH"),
        ("20000*0..1", "more than 16384 features"),
        ("0-1", "--ranges 0-1: is no range, and no file of text"),
    ],
)
def test_no_ranges(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        ranges.read(text)
    assert sentence in str(caught.value)


def test_a_file_without_ranges(tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.write_text("# nothing\n")
    with pytest.raises(UsageError, match="there is no range: give one for each feature, as 0..1"):
        ranges.read(str(path))
