"""Tables for people: no width of the terminal cuts a word."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from metabit.experiments import show

ROWS = [("  stack, bound for every input", "868 B", "131,072 bytes", Text("pass")), ("flash", "93,252 B", "", "")]
COLUMNS = ["memory", "bytes", "budget", "result"]
WORD = re.compile(r"[^\s│┃┏┓┗┛━─┡┩╇┳┴└┘┼]+")


def printed(width: int, columns: list[str], rows: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch) -> str:
    console = Console(width=width)
    monkeypatch.setattr(show, "out", console)
    with console.capture() as capture:
        show.table("nrf52840: a board", columns, rows, caption="a note")
    return capture.get()


@pytest.mark.parametrize("width", [20, 30, 40, 41, 50, 60, 80, 200])
def test_every_word_is_whole(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(width, COLUMNS, ROWS, monkeypatch)
    for cell in (cell for row in ROWS for cell in row):
        for word in str(cell).split():
            assert word in WORD.findall(text), (width, word, text)
    assert "…" not in text and max(map(len, text.splitlines())) <= width


def test_a_narrow_terminal_gets_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(30, COLUMNS, ROWS, monkeypatch)
    assert "memory: flash\n  bytes: 93,252 B\n" in text and "━" not in text


@given(st.lists(st.text("ab ", min_size=1, max_size=30), min_size=1, max_size=5), st.integers(10, 120))
def test_widths_fit_and_hold_every_word(texts: list[str], available: int) -> None:
    cells = [[Text(text) for text in texts]]
    widths = show._widths(["" for _ in texts], cells, available)
    least = [max([len(word) for word in re.findall(r"^\s*\S+|\S+", text)] + [0]) for text in texts]
    if widths is None:
        assert sum(least) + 3 * len(texts) + 1 > available
    else:
        assert sum(widths) + 3 * len(texts) + 1 <= available
        assert all(a >= b for a, b in zip(widths, least, strict=True))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("after", "shown"), [(0.0, True), (100.0, False)])
def test_a_block_that_ends_in_time_shows_no_bar(after: float, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(show, "err", Console(file=screen, force_terminal=True, width=60))
    with show.bar("at work", 2, after) as bar:
        bar.step()
    assert bar.shown == shown == ("at work" in screen.getvalue())


def test_a_bar_appears_once_the_block_took_long(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, now = Terminal(), iter((10.0, 11.0, 13.0))
    monkeypatch.setattr(show, "err", Console(file=screen, force_terminal=True, width=60))
    monkeypatch.setattr(show, "monotonic", lambda: next(now))
    with show.bar("at work", 3, after=2.0) as bar:
        bar.step()
        assert not bar.shown and not screen.getvalue()
        bar.step()
        assert bar.shown
    assert "at work" in screen.getvalue()
