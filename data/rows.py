"""Files that are written whole or not at all, and tables of JSON lines that survive the end of their writer."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metabit.data.errors import DataError


def write_whole(path: str | Path, data: bytes | str) -> None:
    """Writes a file beside the target and moves it over the target, so that no reader sees half of it. Text becomes UTF-8.

    Raises DataError: the folder does not exist or cannot be written, or the path is a folder itself.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"cannot write {path}: it is a folder, name a file in it")
    # tempfile makes files that only one user can read, so it is not used here
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror}): choose a folder that can be written") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def append_row(path: str | Path, row: Mapping[str, Any]) -> None:
    """Appends one JSON object as one line and returns when it is on the disk. Only one process may write at a time.

    Raises DataError: the row is not plain JSON, or the file cannot be written.
    """
    try:
        line = json.dumps(row, sort_keys=True, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise DataError(f"a table row must be plain JSON: {error}") from None
    try:
        with Path(path).open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror}): choose a folder that can be written") from None


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a table; [] without such a file. An incomplete last line is removed from the file.

    Raises DataError: another line is not a JSON object; then the file is left as it is.
    """
    path = Path(path)
    if not path.exists():
        return []
    try:
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        rows = []
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number}, is not a JSON object: give a table that a sweep wrote")
            rows.append(row)
        if len(whole) < len(data):
            os.truncate(path, len(whole))
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}): give another file") from None
    return rows
