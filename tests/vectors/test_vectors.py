"""The committed vectors are what the oracle makes of their networks today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    spec = importlib.util.spec_from_file_location("make", HERE / "make.py")
    assert spec is not None and spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    return make.files()


def test_every_vector_is_committed_and_no_other(made: dict[str, bytes]) -> None:
    assert sorted(made) == sorted(path.name for path in HERE.iterdir() if path.suffix in (".mbit", ".vec"))


def test_no_byte_would_change(made: dict[str, bytes]) -> None:
    changed = [name for name, data in made.items() if (HERE / name).read_bytes() != data]
    assert not changed, f"{changed}: if the rule or the format changed on purpose, run python tests/vectors/make.py"
