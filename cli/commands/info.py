"""metabit info"""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version

from metabit.experiments import show

EXTRAS = ("train", "export", "firmware")


def command(json: show.Json = False) -> None:
    """Show the versions of metabit and of its optional packages, for a bug report.

    Example: [bold]metabit info[/]
    """
    packages: dict[str, dict[str, str | None]] = {extra: {} for extra in EXTRAS}
    for line in requires("metabit") or []:
        requirement, _, marker = line.partition(";")
        name = requirement.split("[")[0].split("<")[0].split(">")[0].split("=")[0].split("!")[0].strip()
        for extra in EXTRAS:
            if f'extra == "{extra}"' in marker.replace("'", '"') and _applies(marker):
                packages[extra][name] = _version(name)
    facts = {"metabit": _version("metabit"), "python": platform.python_version(), "system": platform.system(),
             "machine": platform.machine(), "numpy": _version("numpy")}  # fmt: skip
    if json:
        show.emit({**facts, "extras": packages})
        return
    show.table("metabit", ["package", "version"], facts.items())
    for extra, found in packages.items():
        rows = [(name, number or "absent") for name, number in found.items()]
        missing = None if all(found.values()) else f"pip install 'metabit[{extra}]'"
        show.table(f"extra: {extra}", ["package", "version"], rows, caption=missing)


def _applies(marker: str) -> bool:
    """True if this Python meets every condition of the marker on the Python version."""
    here = tuple(int(part) for part in platform.python_version_tuple()[:2])
    for relation, version_ in re.findall(r"""python_version\s*([<>=!]+)\s*["']([\d.]+)["']""", marker):
        other = tuple(int(part) for part in version_.split("."))
        if not {"<": here < other, "<=": here <= other, ">": here > other, ">=": here >= other, "==": here == other}[
            relation
        ]:
            return False
    return True


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
