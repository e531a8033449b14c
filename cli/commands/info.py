"""metabit info"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, requires, version

from metabit.cli import show

EXTRAS = ("train", "export", "firmware")


def command(json: show.Json = False) -> None:
    """Show versions and which extras are installed: what to paste into a bug report.

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
    show.table("metabit", ["what", "version"], facts.items())
    for extra, found in packages.items():
        rows = [(name, number or "absent") for name, number in found.items()]
        missing = None if all(found.values()) else f"pip install 'metabit[{extra}]'"
        show.table(f"extra: {extra}", ["package", "version"], rows, caption=missing)


def _applies(marker: str) -> bool:
    """Whether the marker's condition on the Python version, if any, holds here."""
    minor = int(platform.python_version_tuple()[1])
    text = marker.replace("'", '"').replace(" ", "")
    return not ('python_version<"3.12"' in text and minor >= 12 or 'python_version>="3.12"' in text and minor < 12)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
