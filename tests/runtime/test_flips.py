"""A bit that changes by accident in RAM while a program runs: no call leaves its memory (docs/security.md).

METABIT_FLIPS sets how many bits of each memory are flipped.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from compilers import run

from metabit.runtime import write_sources

HERE = Path(__file__).parent
FLIPS = os.environ.get("METABIT_FLIPS", "8")
NETWORKS = ("gates-head-rows", "gates-levels", "all-4bit", "votes-3bit")


@pytest.fixture(scope="module")
def flips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flips")
    write_sources(folder, single_file=True)
    sanitized = ("-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    run("gcc", "-std=gnu99", *sanitized, f"-I{folder}", HERE / "flips.c", folder / "metabit.c", "-o", folder / "flips")
    return folder / "flips"


@pytest.mark.parametrize("name", NETWORKS)
def test_a_flipped_bit_of_state_or_arena_stays_in_its_memory(flips: Path, name: str) -> None:
    for memory in ("state", "arena"):
        said = run(flips, memory, FLIPS, "1", HERE.parent / "vectors" / f"{name}.mbit")
        same, other, named, broken = map(int, re.findall(r"\d+", said))
        assert broken == 0 and same + other + named == int(FLIPS), said


def test_a_flipped_bit_of_the_image_is_named_when_the_state_is_saved(flips: Path) -> None:
    """Unless it ends the program before: mb_open checks the image once."""
    for memory in ("constants", "records"):
        said = run(flips, memory, FLIPS, "1", HERE.parent / "vectors" / "gates-head.mbit")
        same, other, named, broken = map(int, re.findall(r"\d+", said))
        assert same == other == 0 and named > 0, said
