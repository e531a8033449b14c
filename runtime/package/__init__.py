"""The C library as a package of a build system: `write_package` writes one folder that it takes as it is.

`templates/KIND` has the files of a kind as they lie in its package, with `@placeholders@`; `templates/shared` has what several
kinds use. `content.py` fills them in and adds the library, `parts.py` says which parts can be left out, `models.py` reads images.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from metabit.runtime.package.content import KINDS, URL, Kind, contents
from metabit.runtime.package.models import PackageError
from metabit.runtime.package.parts import parts

__all__ = ["KINDS", "URL", "Kind", "PackageError", "contents", "parts", "write_package"]

_MANIFEST = "metabit-package.json"


def write_package(
    kind: str,
    folder: str | os.PathLike[str],
    *,
    models: Sequence[str | os.PathLike[str]] = (),
    url: str = URL,
    force: bool = False,
) -> list[Path]:
    """Writes the C library as a package, completely or not at all, and returns its files.

    Args:
        kind: one of KINDS. folder: is created; Arduino and ESP-IDF take its name for the library.
        models: images that become NAME_image.h after their files; the example uses the first. Without one the example has a small
            network that has learnt nothing. Parts of the library that none of them needs are off.
        url: the web page that the package names.
        force: replace the package in the folder. Files that this function did not write stay as they are.

    Raises:
        FileExistsError: the folder holds files, or with force a file is in the way that is not of a package.
        OSError: it cannot be written. PackageError: the folder's name, or two models of one name.
        ModelError: a damaged image. KeyError: the kind.
    """
    layout, place = KINDS[kind], Path(folder)
    name = place.resolve().name
    if layout.folder is not None and not layout.folder.fullmatch(name):
        raise PackageError(f"folder {name!r}: {layout.folder_rule}, such as metabit")
    files = contents(kind, [Path(model) for model in models], url)
    listed = {"metabit": version("metabit"), "kind": kind, "files": sorted(files)}
    files[_MANIFEST] = (json.dumps(listed, indent=2) + "\n").encode()
    old = _clear(place, files, force)
    new = place.resolve().with_name(f"{name}.{os.getpid()}.part")
    try:
        for path, content in files.items():
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            (new / path).write_bytes(content)
        if place.exists():
            for path in files:
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                os.replace(new / path, place / path)
            _remove(place, old - files.keys())
        else:
            os.replace(new, place)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return [place / path for path in sorted(files)]


def _clear(place: Path, files: dict[str, bytes], force: bool) -> set[str]:
    """Checks that the files may be written. Returns those of the package that lies there."""
    if place.exists() and not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it is a file: name a folder for the package", str(place))
    if not place.exists() or not any(place.iterdir()):
        return set()
    if not force:
        raise FileExistsError(
            errno.EEXIST, "holds files: name another folder, or replace the package in it by --force", str(place)
        )
    try:
        old = {*json.loads((place / _MANIFEST).read_text("utf-8"))["files"], _MANIFEST}
    except (OSError, ValueError, KeyError, TypeError):
        old = set()
    for path in files:
        if (place / path).exists() and (path not in old or not (place / path).is_file()):
            raise FileExistsError(
                errno.EEXIST,
                "is not of a package that metabit wrote: move it, or name another folder",
                str(place / path),
            )
    return {path for path in old if ".." not in PurePosixPath(path).parts and not PurePosixPath(path).is_absolute()}


def _remove(place: Path, gone: set[str]) -> None:
    """Removes files of an earlier package, and folders that are empty then."""
    for path in gone:
        (place / path).unlink(missing_ok=True)
        for parent in PurePosixPath(path).parents[:-1]:
            if (place / parent).is_dir() and not any((place / parent).iterdir()):
                (place / parent).rmdir()
