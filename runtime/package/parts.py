"""Parts of the library that a program may leave out, as settings of each build system. metabit.h, "Build", is their list."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping

from metabit.runtime.amalgamate import include_dir

_ENTRY = re.compile(r"^ \*   (MB_WITHOUT_\w+)\s+(.*(?:\n \*  {6,}\S.*)*)", re.MULTILINE)


def parts() -> dict[str, str]:
    """The name of each part, without MB_WITHOUT_ -> what is absent without it, from metabit.h."""
    text = (include_dir() / "metabit.h").read_text("utf-8")
    return {
        macro.removeprefix("MB_WITHOUT_"): " ".join(re.sub(r"\n \*", " ", what).split()) + "." * (what[-1] != ".")
        for macro, what in _ENTRY.findall(text)
    }


def settings(spared: Iterable[str]) -> Mapping[str, str]:
    """All that the templates say about parts, by placeholder. spared: macros of the parts that no model of the package needs."""
    off = {macro.removeprefix("MB_WITHOUT_") for macro in spared}
    texts = parts()
    kconfig = [
        f'config METABIT_{part}\n\tbool "{_short(text)}"\n\tdefault {"n" if part in off else "y"}\n\thelp\n'
        + textwrap.fill(f"Off, the library is without: {text}", 76, initial_indent="\t  ", subsequent_indent="\t  ")
        + "\n"
        for part, text in texts.items()
    ]
    options = [
        f'option(METABIT_{part} "{_short(text)}" {"OFF" if part in off else "ON"})' for part, text in texts.items()
    ]
    return {
        "part_names": " ".join(texts),
        "part_kconfig": "\n".join(kconfig),
        "part_options": "\n".join(options),
        "part_lines_conf": "\n".join(f"CONFIG_METABIT_{part}=n" for part in texts),
        "part_lines_cmake": "\n".join(f"-DMETABIT_{part}=OFF" for part in texts),
        "part_lines_ini": "\n".join(f"    -DMB_WITHOUT_{part}=1" for part in texts),
        "part_lines_c": "\n\n".join(
            textwrap.fill(text, 110, initial_indent="/* ", subsequent_indent=" * ")
            + f" */\n{f'#define MB_WITHOUT_{part} 1' if part in off else f'/* #define MB_WITHOUT_{part} 1 */'}"
            for part, text in texts.items()
        ),
    }


def _short(text: str) -> str:
    return re.split(r"[;.]", text)[0]
