"""A model for a C program: its sizes and names as macros, and its image as an array."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from metabit.runtime import Model


def model_header(image: bytes, name: str = "model.mbit") -> str:
    """The header `model.h`: all that a program can know before the image is flashed.

    Macros MODEL_...: bytes of image and input, number and C type of the features, classes, words of state and arena, and
    initialisers of arrays: MODEL_CLASS_NAMES and MODEL_FEATURE_NAMES of strings, where the image has names (a spare class
    has ""), MODEL_LOW and MODEL_STEPS of floats, where `mb_quantise` makes the features from floats.

    Raises ModelError: the image is damaged.
    """
    from metabit.runtime import Model

    return _file(
        "MODEL_H", f"sizes and names of {name}", image, "Several files may include it.", _defines(Model(image))
    )


def image_header(path: Path, mark: str) -> str:
    """The header `model_image.h`: the macros, and the image as an array of words, which gives it its alignment.

    All cores that run it are little-endian. Raises ModelError: the image is damaged.
    """
    from metabit.runtime import Model

    model = Model.open(path)
    data = path.read_bytes()[: model.image_size]
    words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
    rows = ["    " + " ".join(f"0x{word:08X}u," for word in words[i : i + 8]) for i in range(0, len(words), 8)]
    array = ["", f"static const uint32_t model_image[{len(words)}] = {{", *rows, "};"]
    note = f"{mark}. Include it in one file only: the array is part of it."
    return _file("MODEL_IMAGE_H", f"the image {path.name}", data, note, [*_defines(model), *array])


def guard_header(data: bytes) -> str:
    """The header `model_guard.h`: guard data as an array of bytes, for mb_guard_open (metabit_guard.h)."""
    rows = ["    " + " ".join(f"0x{byte:02X}," for byte in data[i : i + 16]) for i in range(0, len(data), 16)]
    array = [f"static const uint8_t model_guard[{len(data)}] = {{", *rows, "};"]
    note = "Include it in one file only: the array is part of it."
    return _file("MODEL_GUARD_H", "the guard data model.guard.bin", data, note, array)


def _file(guard: str, what: str, image: bytes, note: str, lines: Iterable[str]) -> str:
    digest = hashlib.sha256(image).hexdigest()
    head = f"/* metabit {version('metabit')}: {what}, sha256 {digest}.\n * {note} */\n"
    return head + "\n".join(
        [f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", "", *lines, "", "#endif", ""]
    )


def _defines(model: Model) -> list[str]:
    takes = model.inputs
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
    lines = [f"#define MODEL_{name} {size} /* {what} */" for name, (size, what) in sizes.items()]
    if names := takes.classes:
        spare = [""] * (model.classes - len(names))
        lines.append(_array("CLASS_NAMES", map(_string, [*names, *spare])))
    if model.feature_names:
        lines.append(_array("FEATURE_NAMES", map(_string, model.feature_names)))
    if takes.scale is not None:
        lines += [_array(name, map(_float, row)) for name, row in zip(("LOW", "STEPS"), takes.scale, strict=True)]
    return lines


def _array(name: str, values: Iterable[str]) -> str:
    """An initialiser of several lines, at most 100 characters of values in each."""
    lines, line = [], ""
    for value in values:
        if line and len(line) + len(value) > 100:
            lines.append(line)
            line = ""
        line += f"{value}, "
    return f"#define MODEL_{name} {{ \\\n" + "".join(f"    {line.rstrip()} \\\n" for line in [*lines, line]) + "}"


def _string(text: str) -> str:
    """A C string of UTF-8: every byte that is not plain ASCII, and what C gives a meaning, is an octal escape."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}" for byte in text.encode()
    )
    return f'"{plain}"'


def _float(value: np.float32) -> str:
    text = f"{float(value):.9g}"
    return f"{text}f" if set(text) & set(".e") else f"{text}.0f"
