"""The files of a package of each kind, as bytes by their path in it."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape

from metabit.runtime import amalgamate
from metabit.runtime.package.models import EXAMPLE, PackagedModel, PackageError, about, read_models
from metabit.runtime.package.parts import settings

TEMPLATES = Path(__file__).parent / "templates"
URL = "https://arxiv.org/abs/2003.03533"
"""The paper of the learning rule: the page that a package names unless its publisher has one."""

_PARAGRAPH = (
    "Networks of binary gates predict and learn in place, one sample at a time, in integers: C99 without heap, globals and floats, "
    "for 32-bit cores."
)
_ARCHITECTURES = (
    "samd,sam,nrf52,rp2040,stm32,esp32,teensy,renesas_uno,renesas_portenta,mbed,mbed_nano,mbed_rp2040,mbed_nicla,mbed_portenta,"
    "mbed_giga,mbed_edge,mbed_opta,zephyr"
)


@dataclass(frozen=True)
class Kind:
    """Where the files of a package lie.

    Args:
        title: for whom it is. public, core, optional: folders of the headers in runtime/include, of runtime/src (None: the single
            file) and of runtime/field. example: folder of the example. shared: templates of templates/shared -> their names in it.
        config: the file of settings in C; None where the build system has settings of its own.
        folder, folder_rule: names of the package's own folder that the build system takes.
    """

    title: str
    public: str
    core: str | None
    optional: str
    example: str
    shared: Mapping[str, str] = field(default_factory=dict)
    config: str | None = None
    folder: re.Pattern[str] | None = None
    folder_rule: str = ""


_C_MAIN = {"main.c": "main.c", "metabit_lines.h": "metabit_lines.h"}
_LINES = {"metabit_lines.h": "metabit_lines.h"}
KINDS = {
    "arduino": Kind(
        "Arduino library", "src", "src/metabit", "src/metabit", "examples/lines", _LINES | {"lines.ino": "lines.ino"},
        "src/metabit_config.h", re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"),
        "the Arduino IDE takes at most 63 letters, digits, dots, - and _ for a library's folder",
    ),
    "platformio": Kind(
        "PlatformIO library", "src", "src/metabit", "src/metabit", "examples/lines/src", _LINES | {"lines.ino": "main.cpp"},
        "src/metabit_config.h",
    ),
    "zephyr": Kind("Zephyr module", "include", "src", "field", "samples/lines/src", _LINES),
    "esp-idf": Kind(
        "ESP-IDF component", "include", "src", "field", "examples/lines/main", _LINES, None, re.compile(r"[A-Za-z0-9_-]+"),
        "ESP-IDF takes letters, digits, - and _ for a component's folder",
    ),
    "cmake": Kind("CMake project with find_package and pkg-config", "include", "src", "field", "example", _C_MAIN),
    "cmsis-pack": Kind("CMSIS-Pack", "include", "src", "field", "template", _C_MAIN, "config/metabit_config.h"),
    "amalgamation": Kind("metabit.c and metabit.h", "", None, "field", "", _C_MAIN, "metabit_config.h"),
}  # fmt: skip
"""Build system -> its package."""


def _release() -> str:
    """The version as three numbers, which every build system takes: that of pyproject.toml without what follows them."""
    found = re.match(r"\d+(?:\.\d+){0,2}", distribution("metabit").version)
    assert found, "a version begins with a number"
    return ".".join([*found[0].split("."), "0", "0"][:3])


def contents(kind: str, images: Sequence[Path], url: str) -> dict[str, bytes]:
    """All files of a package, by path. images: of the user, none of them for the example's own."""
    if not re.fullmatch(r"https?://[^\s\"'<>\\]+", url):
        raise PackageError(f"url {url!r}: give a web page such as https://example.com/metabit")
    layout, models = KINDS[kind], read_models(images or [EXAMPLE])
    texts = _library(layout)
    texts |= {_at(layout.public if images else layout.example, f"{one.name}_image.h"): one.header for one in models}
    values = _values(layout, texts, models, url, own=bool(images))
    if layout.config:
        texts[layout.config] = _filled((TEMPLATES / "shared" / "metabit_config.h").read_text("utf-8"), values)
    for name, target in layout.shared.items():
        texts[_at(layout.example, target)] = _filled((TEMPLATES / "shared" / name).read_text("utf-8"), values)
    if kind == "arduino":
        texts["keywords.txt"] = _keywords(layout, texts)
    if kind == "cmsis-pack":
        values["components"] = _components(layout, texts, models, own=bool(images))
    for path in sorted(path for path in (TEMPLATES / kind).rglob("*") if path.is_file()):
        texts[path.relative_to(TEMPLATES / kind).as_posix()] = _filled(path.read_text("utf-8"), values)
    license_text = distribution("metabit").read_text("licenses/LICENSE")
    assert license_text is not None, "the installation has no LICENSE"
    texts["LICENSE"] = license_text
    files = {path: text.encode() for path, text in texts.items()}
    if kind == "cmsis-pack":
        files["metabit.metabit.pdsc"] = files.pop("package.pdsc")
        files[values["pack_file"]] = _zip(files)
    return files


def _at(folder: str, name: str) -> str:
    return (PurePosixPath(folder) / name).as_posix()


def _filled(template: str, values: Mapping[str, str]) -> str:
    """@key@ -> its value. CMake's own placeholders stay."""
    return re.sub(r"@(\w+)@", lambda found: values.get(found[1], found[0]), template)


def _library(layout: Kind) -> dict[str, str]:
    mark = f"/* metabit {_release()}. SPDX-License-Identifier: Apache-2.0 */\n"
    folders = [(amalgamate.include_dir(), layout.public), (amalgamate.HERE / "field", layout.optional)]
    folders += [(amalgamate.HERE / "src", layout.core)] if layout.core is not None else []
    texts = {
        _at(target, path.name): mark + path.read_text("utf-8")
        for folder, target in folders
        for path in sorted(folder.glob("*"))
        if path.suffix in (".c", ".h", ".inc")
    }
    return texts if layout.core is not None else texts | {"metabit.c": amalgamate.pair()}


def _values(
    layout: Kind, texts: Mapping[str, str], models: Sequence[PackagedModel], url: str, own: bool
) -> dict[str, str]:
    release = _release()
    sources = [path for path in texts if path.endswith(".c")]
    headers = [
        name for name in texts if PurePosixPath(name).parent == PurePosixPath(layout.public) and name.endswith(".h")
    ]
    spared = frozenset.intersection(*(model.spared for model in models)) if own else frozenset()
    return {
        "version": release,
        "url": url,
        "url_xml": escape(url),
        "author": "metabit authors",
        "sentence": f"{distribution('metabit').metadata['Summary']}.",
        "paragraph": _PARAGRAPH,
        "architectures": _ARCHITECTURES,
        "sources": "\n".join(f"  {path}" for path in sources),
        "sources_quoted": "\n".join(f'    "{path}"' for path in sources),
        "sources_root": "\n".join(f"    ${{root}}/{path}" for path in sources),
        "headers_json": ", ".join(f'"{PurePosixPath(name).name}"' for name in headers),
        "pack_file": f"metabit.metabit.{release}.pack",
        **settings(spared),
        **about(models, own),
    }


# Arduino


def _keywords(layout: Kind, texts: Mapping[str, str]) -> str:
    """Words that the Arduino IDE colours: types, functions and constants of the public headers."""
    public = "\n".join(texts[name] for name in texts if PurePosixPath(name).parent == PurePosixPath(layout.public))
    code = re.sub(r"/\*.*?\*/", "", public, flags=re.DOTALL)
    types = set(re.findall(r"^}\s*(mb_\w+);", code, re.MULTILINE))
    functions = set(re.findall(r"\b(mb_\w+)\(", code)) - types
    constants = set(re.findall(r"\b(MB_\w+) = ", code))
    rows = [(types, "KEYWORD1"), (functions, "KEYWORD2"), (constants, "LITERAL1")]
    return "".join(f"{word}\t{style}\n" for words, style in rows for word in sorted(words))


# CMSIS-Pack


def _components(layout: Kind, texts: Mapping[str, str], models: Sequence[PackagedModel], own: bool) -> str:
    def inside(folder: str, suffix: str) -> list[str]:
        return [path for path in texts if PurePosixPath(path).parent.name == folder and path.endswith(suffix)]

    images = [f"{model.name}_image.h" for model in models] if own else []
    release = _release()
    rows = [_file("header", path) for path in inside("include", ".h") if PurePosixPath(path).name not in images]
    rows += [f'<file category="header" name="{layout.config}" attr="config" version="{release}"/>']
    rows += [_file("source", path, 'language="c"') for path in inside("src", ".c")]
    select = 'attr="template" select="metabit: lines of text over standard input and output"'
    rows += [_file("source", "template/main.c", select)]
    rows += [_file("header", path, select) for path in inside("template", ".h")]
    found = [_component("Core", "Predicts and learns.", rows)]
    if field_rows := [_file("source", path, 'language="c"') for path in inside("field", ".c")]:
        found.append(_component("Field", "What a product needs around the core.", field_rows, needs_core=True))
    for model, image in zip(models, images, strict=False):
        header = [_file("header", f"include/{image}")]
        found.append(_component(f"Model {model.name}", model.facts.replace("`", ""), header, needs_core=True))
    return "\n".join(found)


def _file(category: str, path: str, more: str = "") -> str:
    return f'<file category="{category}" name="{path}"{" " * bool(more)}{more}/>'


def _component(name: str, text: str, rows: Sequence[str], needs_core: bool = False) -> str:
    condition = ' condition="metabit core"' if needs_core else ""
    return "\n".join(
        [
            f'    <component Cclass="Machine Learning" Cgroup="metabit" Csub="{name}" '
            f'Cversion="{_release()}"{condition}>',
            f"      <description>{escape(text)}</description>",
            "      <files>",
            *(f"        {row}" for row in rows),
            "      </files>",
            "    </component>",
        ]
    )


def _zip(files: Mapping[str, bytes]) -> bytes:
    """An archive that is the same at every time."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(path), content, zipfile.ZIP_DEFLATED)
    return made.getvalue()
