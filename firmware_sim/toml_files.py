"""Reads the TOML tables of this room (boards, budgets, cycle models) and says exactly which field is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from metabit.firmware_sim.errors import BoardError, require

_PARSER = "tomllib" if sys.version_info >= (3, 11) else "tomli"


class Table:
    """One TOML table with its place in the file, so that an error can name both."""

    def __init__(self, data: dict[str, Any], place: str) -> None:
        self._data, self.place = data, place

    def only(self, known: Iterable[str]) -> None:
        """Refuse misspelt fields: a silently ignored limit is worse than an error."""
        unknown = sorted(set(self._data) - set(known))
        if unknown:
            raise BoardError(f"{self.place}: unknown field {unknown[0]!r}; known fields: {', '.join(sorted(known))}")

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

    def integer(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        value: int = self._get(key, int, "an integer", default)
        if value < least:
            raise BoardError(f"{self.place}: {key} = {value} must be at least {least}")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        value: bool = self._get(key, bool, "true or false", default)
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = float(self._get(key, (int, float), "a number", default))
        if value < 0:
            raise BoardError(f"{self.place}: {key} = {value:g} must not be negative")
        return value

    def _get(self, key: str, kind: type | tuple[type, ...], what: str, default: Any = None) -> Any:
        value = self._data.get(key, default)
        if value is None:
            raise BoardError(f"{self.place}: field {key!r} is missing")
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise BoardError(f"{self.place}: {key} = {value!r} must be {what}")
        return value


def read_table(path: Path) -> Table:
    """The root table of a TOML file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BoardError(f"cannot read {path}: {error.strerror}") from error
    try:
        return Table(require(_PARSER).loads(text), path.name)
    except ValueError as error:
        raise BoardError(f"{path}: not valid TOML: {error}") from error
