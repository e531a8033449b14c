"""The cache of compiled files, and files written in one step."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sys
from pathlib import Path

from metabit.firmware_sim.errors import FirmwareError


def cache_dir() -> Path:
    """Return $METABIT_CACHE_DIR, or the folder that the platform keeps caches in."""
    if chosen := os.environ.get("METABIT_CACHE_DIR"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "metabit"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "metabit" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metabit"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file beside its place and rename it, so that no reader ever sees a part of it. Raises FirmwareError."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        raise FirmwareError(f"cannot write {path} ({error.strerror}): choose a folder that can be written") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def digest(*parts: str | bytes) -> str:
    """Return the SHA-256 of the parts and their lengths, in hexadecimal."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "little") + data)
    return sha.hexdigest()
