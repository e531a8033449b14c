"""pyproject.toml: which package of TFLite each platform and Python takes, and that Python has no upper bound."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

Requirement = pytest.importorskip("packaging.requirements").Requirement
TOML = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
PROJECT: dict[str, Any] = TOML.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


def taken(extra: str, system: str, machine: str, python: str) -> set[str]:
    """Names of the packages of an extra that a platform takes and others may not."""
    there = {"sys_platform": system, "platform_machine": machine, "python_version": python}
    listed = map(Requirement, PROJECT["optional-dependencies"][extra])
    return {one.name for one in listed if one.marker and one.marker.evaluate(there)}


@pytest.mark.parametrize(
    "there, packages",
    [
        (("linux", "x86_64", "3.10"), {"tflite-runtime", "numpy"}),
        (("linux", "aarch64", "3.11"), {"tflite-runtime", "numpy"}),
        (("linux", "x86_64", "3.12"), {"ai-edge-litert"}),
        (("linux", "x86_64", "3.15"), {"ai-edge-litert"}),
        (("win32", "AMD64", "3.10"), {"ai-edge-litert"}),
        (("darwin", "arm64", "3.11"), {"ai-edge-litert"}),
        (("darwin", "x86_64", "3.11"), set()),
    ],
)
def test_each_platform_takes_the_package_of_tflite_that_has_wheels(
    there: tuple[str, str, str], packages: set[str]
) -> None:
    assert taken("export", *there) == packages


def test_tflite_micro_is_taken_where_it_has_wheels() -> None:
    assert taken("micro", "linux", "x86_64", "3.14") == {"tflite-micro"}
    assert taken("micro", "linux", "aarch64", "3.14") == taken("micro", "win32", "AMD64", "3.12") == set()


def test_python_has_no_upper_bound() -> None:
    assert PROJECT["requires-python"] == ">=3.10"
