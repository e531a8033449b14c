"""Reader of the TOML files of this package: boards, budgets, cycle models. Every error names the file and the field."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from metabit.firmware_sim.errors import BoardError, require

_PARSER = "tomllib" if sys.version_info >= (3, 11) else "tomli"
MOST = 1 << 32
"""Largest integer and number that a field may have unless its reader says otherwise: all addresses are 32 bits wide."""


class Table:
    """A TOML table and its place in the file."""

    def __init__(self, data: dict[str, Any], place: str) -> None:
        self._data, self.place = data, place

    def only(self, known: Iterable[str]) -> None:
        """Raise BoardError for a field outside `known`, so that a misspelt limit is not ignored."""
        unknown = sorted(set(self._data) - set(known))
        if unknown:
            self.refuse(f"unknown field {unknown[0]!r}; known fields: {', '.join(sorted(known))}")

    def refuse(self, why: str) -> NoReturn:
        raise BoardError(f"{self.place}: {why}")

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def table(self, key: str) -> Table:
        return Table(self._get(key, dict, "a table"), f"{self.place}.{key}")

    def text(self, key: str, default: str | None = None) -> str:
        value: str = self._get(key, str, "text", default)
        return value

    def words(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        found = self._get(key, list, "a list of texts")
        if not all(isinstance(word, str) for word in found):
            self.refuse(f"{key} = {found!r} must be a list of texts")
        return tuple(found)

    def integer(self, key: str, default: int | None = None, *, least: int = 0, most: int = MOST) -> int:
        value: int = self._get(key, int, "an integer", default)
        self._check(key, value, least, most)
        return value

    def number(self, key: str) -> float:
        """A finite number in 0..MOST."""
        value: float = self._get(key, (int, float), "a number")
        if isinstance(value, float) and not math.isfinite(value):
            self.refuse(f"{key} = {value} must be a finite number")
        self._check(key, value, 0, MOST)
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value: bool = self._get(key, bool, "true or false", default)
        return value

    def _check(self, key: str, value: float, least: int, most: int) -> None:
        if value < least:
            self.refuse(f"{key} = {value:g} must be at least {least}")
        if value > most:
            self.refuse(f"{key} = {value:g} must be at most {most:,}")

    def _get(self, key: str, kind: type | tuple[type, ...], what: str, default: Any = None) -> Any:
        value = self._data.get(key, default)
        if value is None:
            self.refuse(f"field {key!r} is missing")
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.refuse(f"{key} = {value!r} must be {what}")
        return value


def read_table(path: Path) -> Table:
    """Return the root table of a TOML file. Raises BoardError if the file cannot be read or parsed."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BoardError(f"cannot read {path}: {error.strerror}") from error
    try:
        return Table(require(_PARSER).loads(data.decode("utf-8")), path.name)
    except UnicodeDecodeError as error:
        raise BoardError(f"{path}: not a UTF-8 text file: byte {data[error.start]:#04x} at {error.start}") from error
    except ValueError as error:
        raise BoardError(f"{path}: not valid TOML: {error}") from error
