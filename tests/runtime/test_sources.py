"""The C runtime as people compile it themselves: freestanding C99 without a warning, no floats, no libc but three names."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import numpy as np
import pytest
from compilers import WARNINGS, run, shared

from metabit.runtime import field_sources, include_dir, sources


def objects(folder: Path, *options: str) -> list[Path]:
    made = []
    for source in (*sources(), *field_sources()):
        made.append(folder / f"{source.stem}.o")
        run("gcc", "-std=c99", "-ffreestanding", "-fno-stack-protector", *WARNINGS, *options, f"-I{include_dir()}", "-c", source,
            "-o", made[-1])  # fmt: skip
    return made


def without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*|\"[^\"\n]*\"", " ", text, flags=re.DOTALL)


def files() -> list[Path]:
    folders = (include_dir(), sources()[0].parent, field_sources()[0].parent)
    return sorted(path for folder in folders for path in folder.iterdir())


def test_the_sources_are_there() -> None:
    runtime = Path(__file__).parents[2] / "runtime"
    assert sources() == sorted((runtime / "src").glob("*.c")) and field_sources() == sorted(
        (runtime / "field").glob("*.c")
    )
    assert (include_dir() / "metabit.h").is_file()


def test_margin_of_the_header_is_best_less_second(tmp_path: Path) -> None:
    code, library = tmp_path / "margin.c", tmp_path / "margin.so"
    code.write_text(
        '#include "metabit.h"\nuint32_t margin(const int32_t *s, uint16_t n);\n'
        "uint32_t margin(const int32_t *s, uint16_t n) { return mb_margin(s, n); }\n"
    )
    margin = shared(library, code, options=(f"-I{include_dir()}",)).margin
    margin.restype = ctypes.c_uint32
    rng = np.random.default_rng(0)
    for classes in range(1, 12):
        for low, high in ((-3, 3), (-(2**31), 2**31)):
            for scores in rng.integers(low, high, (50, classes)).astype(np.int32):
                second, best = np.sort(scores.astype(np.int64))[-2:] if classes > 1 else (0, 0)
                assert margin(scores.ctypes.data_as(ctypes.c_void_p), classes) == best - second


@pytest.mark.parametrize("options", [("-O0",), ("-O3", "-DMB_PROFILE")], ids=" ".join)
def test_they_compile_without_a_warning(tmp_path: Path, options: tuple[str, ...]) -> None:
    """The next test compiles them with the same warnings at -Os and -O2."""
    assert len(objects(tmp_path, *options)) == len(sources()) + len(field_sources())


@pytest.mark.parametrize("level", ["-Os", "-O2", "-O3"])
def test_they_need_three_functions_of_libc_and_no_global_memory(tmp_path: Path, level: str) -> None:
    built = objects(tmp_path, level, "-fno-pic")
    undefined, defined = set(), {}
    for line in run("nm", "-P", *built).splitlines():
        name, kind, *_ = line.split() if not line.endswith(":") else ("", "", "")
        if kind == "U":
            undefined.add(name)
        elif kind:
            defined[name] = kind
    assert undefined - defined.keys() <= {"memcpy", "memset", "memcmp"}
    assert {name: kind for name, kind in defined.items() if kind in "dDbBcC"} == {}  # code and constants only
    assert all(name.startswith("mb_") for name, kind in defined.items() if kind == "T")


@pytest.mark.parametrize("standard", ["c++11", "c++17"])
def test_the_header_is_also_cpp(tmp_path: Path, standard: str) -> None:
    unit = tmp_path / "unit.cpp"
    unit.write_text(
        "".join(f"#include <{path.name}>\n" for path in sorted(include_dir().glob("*.h")) * 2)
        + "mb_status f(mb_model &m, const void *x) { uint16_t label; return mb_predict(&m, x, nullptr, &label); }\n"
    )
    run("g++", f"-std={standard}", *WARNINGS, f"-I{include_dir()}", "-c", unit, "-o", tmp_path / "unit.o")
    assert "mb_predict\n" in run("nm", "-u", tmp_path / "unit.o")  # with C's name, not C++'s


@pytest.mark.parametrize(
    "path", [path for path in files() if path.name != "metabit_float.h"], ids=lambda path: path.name
)
def test_there_is_no_float_and_no_heap(path: Path) -> None:
    text = without_comments(path.read_text())
    assert re.findall(r"\b(?:float|double|malloc|calloc|realloc|free|alloca)\b", text) == []
    assert re.findall(r"\b\d+\.\d*|\b\d+[eE][-+]?\d+\b", text) == []


def test_the_library_does_without_the_header_for_floats() -> None:
    assert not any("metabit_float.h" in path.read_text() for path in files() if path.name != "metabit_float.h")


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_only_the_library_itself_and_three_headers_are_included(path: Path) -> None:
    own = {file.name for file in files()}
    for name in re.findall(r"#\s*include\s+[\"<]([^\">]+)[\">]", path.read_text()):
        assert name in own | {"stddef.h", "stdint.h", "string.h", "metabit_config.h"}  # the last one is the user's
