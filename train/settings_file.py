"""Settings as a user writes them: a TOML or JSON file, or ``name=value`` on the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metabit.train.errors import TrainError


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read settings by name from a file: .json holds one object, .toml has no tables. `Settings.of` checks them.

    Raises TrainError: the file does not exist, is neither TOML nor JSON, or is damaged.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise TrainError(f"cannot read the settings in {path} ({why}): give a .toml or .json file") from None
    if path.suffix not in (".toml", ".json"):
        raise TrainError(f"{path} is no settings file: its name must end in .toml or .json")
    try:
        values = json.loads(text) if path.suffix == ".json" else _toml(text, path)
    except ValueError as error:  # of both parsers
        raise TrainError(f"{path} is damaged ({error}): write name = value lines, or one JSON object") from None
    if not isinstance(values, dict):
        raise TrainError(f"{path} holds no settings: write one JSON object, such as {{'lr': 0.3}}")
    return values


def parse_setting(text: str) -> tuple[str, Any]:
    """Return name and value of ``name=value``. The value is read as JSON, ``a,b`` as a list, and other text as it is.

    Raises TrainError: there is no "=" in it.
    """
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise TrainError(f"--set {text}: must be name=value, such as lr=0.3")
    for form in (value, f"[{value}]"):
        try:
            return name.strip().replace("-", "_"), json.loads(form)
        except ValueError:
            continue
    return name.strip().replace("-", "_"), value.strip()


def merge(file: str | Path | None, texts: Sequence[str], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by name: those of the file, replaced by those of ``--set`` and of the other options.

    Args:
        texts: ``name=value`` each.
        flags: setting -> value of its own option; None was not given.

    Raises:
        TrainError: a setting is given twice on the command line, or the file cannot be read.
    """
    found = {} if file is None else read_settings(file)
    given = {name: value for name, value in flags.items() if value is not None}
    for name, value in map(parse_setting, texts):
        if name in given:
            raise TrainError(f"--set {name}={value}: {name} is given twice, leave one out")
        given[name] = value
    return {**found, **given}


def _toml(text: str, path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ModuleNotFoundError:
            raise TrainError(f"{path} is TOML, which Python 3.10 reads with pip install tomli: or give JSON") from None
    return tomllib.loads(text)
