"""A model for a C program: its sizes and names as macros, and its image as an array."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metabit.runtime.inputs import InputError
from metabit.runtime.parts import left_out

if TYPE_CHECKING:
    from metabit.runtime import Model

NAME = "model"
_PARTS = re.compile(r"^/\* It needs none of: (.*) \*/$", re.MULTILINE)


def model_header(image: bytes, name: str = NAME) -> str:
    """The header `model.h`: all that a program can know before the image is flashed.

    Macros MODEL_...: bytes of image and input, number and C type of the features, classes, words of state and arena, and
    initialisers of arrays: MODEL_CLASS_NAMES and MODEL_FEATURE_NAMES of strings, where the image has names (a spare class
    has ""), MODEL_LOW and MODEL_STEPS of floats, where `mb_quantise` makes the features from floats.

    Args:
        name: what all names in the header begin with, in lower case or capitals: `checked_name`.

    Raises:
        ModelError: the image is damaged. InputError: the name.
    """
    from metabit.runtime import Model

    what = f"sizes and names of {checked_name(name)}.mbit"
    return _file(name, f"{name}_H", what, image, "Several files may include it.", _defines(Model(image), name))


def image_header(path: Path, mark: str, name: str = NAME) -> str:
    """The header `model_image.h`: the macros, and the image as an array of words, which gives it its alignment.

    All cores that run it are little-endian. Raises as `model_header`.
    """
    from metabit.runtime import Model

    model = Model.open(path)
    data = path.read_bytes()[: model.image_size]
    words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
    rows = ["    " + " ".join(f"0x{word:08X}u," for word in words[i : i + 8]) for i in range(0, len(words), 8)]
    array = ["", f"static const uint32_t {checked_name(name)}_image[{len(words)}] = {{", *rows, "};"]
    note = f"{mark}. Include it in one file only: the array is part of it."
    return _file(name, f"{name}_IMAGE_H", f"the image {path.name}", data, note, [*_defines(model, name), *array])


def guard_header(data: bytes) -> str:
    """The header `model_guard.h`: guard data as an array of bytes, for mb_guard_open (metabit_guard.h)."""
    rows = ["    " + " ".join(f"0x{byte:02X}," for byte in data[i : i + 16]) for i in range(0, len(data), 16)]
    head = f"/* metabit {version('metabit')}: the guard data model.guard.bin. Include it in one file only. */"
    array = [f"static const uint8_t model_guard[{len(data)}] = {{", *rows, "};"]
    guard = ["#ifndef MODEL_GUARD_H", "#define MODEL_GUARD_H", "", "#include <stdint.h>", ""]
    return "\n".join([head, *guard, *array, "", "#endif", ""])


def checked_name(name: str) -> str:
    """The name of a model in C. Raises InputError unless it has lower-case letters, digits and _, a letter first."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"name {name!r}: C needs lower-case letters, digits and _, a letter first, such as gesture_2")
    return name


def not_needed(header: str) -> frozenset[str]:
    """The macros of library parts that the image of a generated header does not need; none if it does not say."""
    found = _PARTS.search(header)
    return frozenset(found[1].split()) if found else frozenset()


def _file(name: str, guard: str, what: str, image: bytes, note: str, lines: Iterable[str]) -> str:
    digest = hashlib.sha256(image).hexdigest()
    mark, guard = f"{name.upper()}_SHA256", guard.upper()
    return "\n".join(
        [
            f"/* metabit {version('metabit')}: {what}, sha256 {digest}.",
            f" * {note} */",
            f"/* It needs none of: {' '.join(left_out(image))} */",
            f"#if defined({mark}) && {mark} != 0x{digest[:8]}",
            f'#error "two images have the name {name}: write one of them with metabit sources --name and another name"',
            "#endif",
            f"#ifndef {guard}",
            f"#define {guard}",
            "",
            "#include <stdint.h>",
            "",
            f"#define {mark} 0x{digest[:8]} /* its first 32 bits */",
            *lines,
            "",
            "#endif",
            "",
        ]
    )


def _defines(model: Model, name: str) -> list[str]:
    takes, start = model.inputs, name.upper()
    sizes = {
        "IMAGE_BYTES": (model.image_size, "flash"),
        "INPUT_BYTES": (model.input_size, "of one input, mb_input_size"),
        "FEATURES": (takes.values, "numbers of one input"),
        "FEATURE_TYPE": ("int16_t" if takes.dtype.itemsize == 2 else "uint8_t", "of such a number"),
        "CLASSES": (model.classes, "scores, mb_classes"),
        "TICKET_BYTES": (model.ticket_size, "of one ticket, mb_ticket_size"),
        "STATE_WORDS": (model.state_size // 4, "state memory, mb_state_size"),
        "ARENA_WORDS": (model.arena_size("learn") // 4, "arena to predict and learn"),
        "ARENA_WORDS_PREDICT": (model.arena_size("infer") // 4, "arena to predict only"),
    }
    lines = [f"#define {start}_{name} {size} /* {what} */" for name, (size, what) in sizes.items()]
    if names := takes.classes:
        spare = [""] * (model.classes - len(names))
        lines.append(_array(f"{start}_CLASS_NAMES", map(_string, [*names, *spare])))
    if model.feature_names:
        lines.append(_array(f"{start}_FEATURE_NAMES", map(_string, model.feature_names)))
    if takes.scale is not None:
        rows = zip(("LOW", "STEPS"), takes.scale, strict=True)
        lines += [_array(f"{start}_{name}", map(_float, row)) for name, row in rows]
    return lines


def _array(name: str, values: Iterable[str]) -> str:
    """An initialiser of several lines, at most 100 characters of values in each."""
    lines, line = [], ""
    for value in values:
        if line and len(line) + len(value) > 100:
            lines.append(line)
            line = ""
        line += f"{value}, "
    return f"#define {name} {{ \\\n" + "".join(f"    {line.rstrip()} \\\n" for line in [*lines, line]) + "}"


def _string(text: str) -> str:
    """A C string of UTF-8: every byte that is not plain ASCII, and what C gives a meaning, is an octal escape."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}" for byte in text.encode()
    )
    return f'"{plain}"'


def _float(value: np.float32) -> str:
    text = f"{float(value):.9g}"
    return f"{text}f" if set(text) & set(".e") else f"{text}.0f"
