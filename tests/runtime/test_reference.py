"""The plain reference (tests/reference) makes every golden vector that it covers, as the runtime and the oracle do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
VECTORS = sorted((TESTS / "vectors").glob("*.mbit"))
LEFT_OUT = {"conv-bits", "conv-planes", "conv-uint8", "dense-uint8"} | {
    path.stem for path in VECTORS if "head" in path.stem or "sweeps" in path.stem
}
"""Vectors with convolutions, first layers on 8-bit inputs or heads, which this program does not have. The head in C,
tests/reference/head.c, is compared by tests/export/test_oracle_head.py."""


@pytest.mark.parametrize("image", VECTORS, ids=lambda path: path.stem)
def test_the_reference_makes_the_golden_vectors(reference: Path, image: Path) -> None:
    done = subprocess.run([reference, image, image.with_suffix(".vec")], capture_output=True, text=True)
    assert done.returncode == (77 if image.stem in LEFT_OUT else 0), done.stderr


def test_what_is_left_out_exists() -> None:
    assert {path.stem for path in VECTORS} > LEFT_OUT


def test_a_changed_state_is_seen(reference: Path, tmp_path: Path) -> None:
    image = TESTS / "vectors" / "all-4bit.mbit"
    vector = bytearray(image.with_suffix(".vec").read_bytes())
    vector[-1] ^= 1
    changed = tmp_path / "changed.vec"
    changed.write_bytes(vector)
    assert subprocess.run([reference, image, changed], capture_output=True).returncode == 1
