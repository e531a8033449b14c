"""Probe firmware for every board."""

import sys
from pathlib import Path

import pytest

from metabit.firmware_sim import Board, boards, load_board

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for probes, sample_report: pytest's importlib mode leaves sys.path alone

from probes import compile_probe  # noqa: E402


@pytest.fixture(params=boards())
def board(request: pytest.FixtureRequest) -> Board:
    return load_board(request.param)


@pytest.fixture(params=["nrf52840", "rp2040"])
def either_board(request: pytest.FixtureRequest) -> Board:
    """Where the core makes no difference: the largest and the smallest instruction set."""
    return load_board(request.param)


@pytest.fixture
def either_probe(either_board: Board) -> Path:
    return compile_probe(either_board, "probe.c", "counted.S")


@pytest.fixture
def probe(board: Board) -> Path:
    return compile_probe(board, "probe.c", "counted.S")


@pytest.fixture
def image() -> Path:
    return HERE.parent / "vectors" / "all-4bit.mbit"
