from pathlib import Path

import pytest

from metabit.firmware_sim import BoardError, boards, load_board
from metabit.firmware_sim.board import CORES
from metabit.firmware_sim.price.cycles import load_model

GOOD = """
name = "mine"
core = "m3"
clock_hz = 72_000_000
cycle_model = "m3"
[flash]
origin = 0x0800_0000
size = 65_536
[ram]
origin = 0x2000_0000
size = 20_480
"""


def test_the_boards_that_come_along_are_complete() -> None:
    assert len(boards()) >= 5
    assert {load_board(name).core.name for name in boards()} == set(CORES)
    for name in boards():
        board = load_board(name)
        assert board.name == name and board.description and board.wait_states
        assert load_model(board.cycle_model).title == board.core.title.replace("M4F", "M4")


def test_a_board_of_your_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(GOOD)
    board = load_board(file)
    assert (board.name, board.core.title, board.flash.end) == ("mine", "Cortex-M3", 0x08010000)
    assert board.milliseconds(72_000) == 1.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('core = "m3"', 'core = "m55"', r"mine.toml: unknown core 'm55'; known cores: m0plus, m3, m4f, m7, m33"),
        ("clock_hz = 72_000_000", "", "mine.toml: field 'clock_hz' is missing"),
        ("clock_hz = 72_000_000", "clock_hz = 0", "clock_hz = 0 must be at least 1"),
        ("clock_hz = 72_000_000", 'clock_hz = "fast"', "clock_hz = 'fast' must be an integer"),
        ("clock_hz", "clock_hertz", "unknown field 'clock_hertz'; known fields: clock_hz"),
        ("[ram]", "[memory]", "unknown field 'memory'"),
        ("size = 20_480", "size = 20_000", r"mine.toml.ram: origin and size must be multiples of 1024"),
        ("0x2000_0000", "0x0800_1000", "flash and ram overlap"),
        ("0x2000_0000", "0xFFFF_FC00", "does not fit into 32-bit addresses"),
        ("name =", "name", "not valid TOML"),
        ("72_000_000", "72_000_000_000", "clock_hz = 7.2e\\+10 must be at most 4,294,967,296"),
        ('"mine"', '"../../etc/board"', r"name = '../../etc/board' must be 1 to 64 characters of A-Z a-z 0-9 . _ -"),
        ('"mine"', '"a*/ b"', "must be 1 to 64 characters"),
        ('"mine"', '"mine\\n"', "must be 1 to 64 characters"),
        ('"mine"', f'"{"x" * 65}"', "must be 1 to 64 characters"),
        ('"mine"', '""', "must be 1 to 64 characters"),
    ],
)
def test_a_board_file_that_is_wrong_says_where(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(BoardError, match=message):
        load_board(file)


def test_a_board_file_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "board.toml"
    file.write_bytes(GOOD.encode() + b'description = "\xb5C"\n')
    with pytest.raises(BoardError, match=r"board.toml: not a UTF-8 text file: byte 0xb5 at \d+$"):
        load_board(file)


def test_a_name_of_64_characters_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "long.toml"
    file.write_text(GOOD.replace('"mine"', f'"{"aZ09._-x" * 8}"'))
    assert len(load_board(file).name) == 64


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(BoardError, match=f"unknown board 'uno'; known boards: {', '.join(boards())}, or"):
        load_board("uno")
    with pytest.raises(BoardError, match="unknown cycle model 'm99'; known models: m0plus, m3, m4, m7, m33"):
        load_model("m99")
    with pytest.raises(BoardError, match="cannot read .*nowhere.toml: No such file"):
        load_board("nowhere.toml")
