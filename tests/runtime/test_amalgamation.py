"""The runtime as one pair of files: it compiles for every core without a warning, from C and beside C++, and computes the same."""

from __future__ import annotations

import re
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from compilers import WARNINGS, run
from cores import FLAGS

from metabit.firmware_sim.build.toolchain import FIRMWARE
from metabit.runtime import Model, ModelError, amalgamate, field_sources, include_dir, sources, write_sources

HEADERS = {path.name for path in include_dir().glob("*.h")}
FIELD = {f"field/{path.name}" for path in field_sources()[0].parent.iterdir()}
VECTORS = sorted((Path(__file__).parents[1] / "vectors").glob("*.mbit"))
C99 = ("-std=c99", *WARNINGS, "-ffreestanding")

ZIG = (sys.executable, "-m", "ziglang", "cc", "-fno-sanitize=undefined")
STRING_H = f"-I{FIRMWARE / 'freestanding'}"  # zig and an arm-none-eabi-gcc without newlib bring no <string.h>
COMPILERS = {
    "gcc": ("gcc",),
    "clang": ("clang",),
    "zig-x86_64": (*ZIG, "-target", "x86_64-linux-none", STRING_H),
    **{f"zig-{name}": (*ZIG, *flags.zig, STRING_H) for name, flags in FLAGS.items()},
    **{f"arm-gcc-{name}": ("arm-none-eabi-gcc", *flags.gcc, STRING_H) for name, flags in FLAGS.items() if flags.gcc},
}

# Sets of macros the library can be compiled with: the first for every core, the others where compilers differ.
MACROS: tuple[tuple[str, ...], ...] = (
    (),
    ("MB_PROFILE",),
    ("MB_WITHOUT_LEARN", "MB_WITHOUT_CONV", "MB_WITHOUT_BYTES", "MB_WITHOUT_GRADED", "MB_WITHOUT_GATES"),
    ("MB_WITHOUT_LEARN",),
    ("MB_WITHOUT_CONV",),
    ("MB_WITHOUT_BYTES",),
    ("MB_WITHOUT_GRADED",),
    ("MB_WITHOUT_GATES",),
    ("MB_WITHOUT_VISITS",),
    ("MB_WITHOUT_VISITS", "MB_WITHOUT_GRADED"),
    ("MB_WITHOUT_TERNARY",),
    ("MB_WITHOUT_CHECKS",),
    ("MB_WITHOUT_DENSE",),
    ("MB_WITHOUT_DENSE", "MB_WITHOUT_LEVELS", "MB_WITHOUT_ROWS", "MB_WITHOUT_TRIPLES"),
    ("MB_WITHOUT_LEVELS",),
    ("MB_WITHOUT_HEAD",),
)
FEW = ("gcc", "clang", "zig-m0plus")

MATRIX = [(c, macros) for macros in MACROS for c in (FEW if macros else COMPILERS)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    written = write_sources(folder, single_file=True)
    assert {path.relative_to(folder).as_posix() for path in written} == {"metabit.c", *HEADERS, *FIELD}
    return folder


# Compilers


@pytest.mark.parametrize(
    ("compiler", "macros"), MATRIX, ids=lambda part: part if isinstance(part, str) else "+".join(part)
)
def test_it_compiles_without_a_warning(pair: Path, tmp_path: Path, compiler: str, macros: tuple[str, ...]) -> None:
    """clang, which zig is too, warns before it optimises: for sets of macros it reads the text of -Os and optimises nothing."""
    defines = [f"-D{name}" for name in macros]
    level = ("-O0", "-D__OPTIMIZE_SIZE__") if macros and "gcc" not in compiler else ("-Os",)
    run(*COMPILERS[compiler], *C99, *defines, *level, "-c", pair / "metabit.c", "-o", tmp_path / "metabit.o")


@pytest.mark.parametrize("level", ["-O0", "-O3"])
@pytest.mark.parametrize("compiler", [name for name in COMPILERS if "m0plus" in name])
def test_it_compiles_for_few_registers_at_every_level(pair: Path, tmp_path: Path, compiler: str, level: str) -> None:
    run(*COMPILERS[compiler], *C99, level, "-c", pair / "metabit.c", "-o", tmp_path / "metabit.o")
    if level != "-O0":
        by_hand = ("-DMB_THUMB1", "-fomit-frame-pointer")
        run(*COMPILERS[compiler], *C99, level, *by_hand, "-c", pair / "metabit.c", "-o", tmp_path / "metabit.o")


def test_it_defines_what_the_files_define(pair: Path, tmp_path: Path) -> None:
    run("gcc", *C99, "-O3", "-c", pair / "metabit.c", "-o", tmp_path / "metabit.o")
    for path in sources():
        run("gcc", *C99, "-O0", f"-I{include_dir()}", "-c", path, "-o", tmp_path / f"part-{path.stem}.o")

    def public(*objects: Path) -> set[str]:
        rows = [line.split() for line in run("nm", "-P", *objects).splitlines() if not line.endswith(":")]
        return {row[0] for row in rows if row[1] == "T"}

    assert public(tmp_path / "metabit.o") == public(*tmp_path.glob("part-*.o")) > {"mb_open", "mb_learn"}


@pytest.mark.parametrize("compiler", [name for name in COMPILERS if not name.startswith("zig-x")])
def test_what_lies_around_the_core_compiles_beside_the_pair(pair: Path, tmp_path: Path, compiler: str) -> None:
    assert FIELD
    for name in sorted(name for name in FIELD if name.endswith(".c")):
        run(*COMPILERS[compiler], *C99, "-Os", f"-I{pair}", "-c", pair / name, "-o", tmp_path / "part.o")


# Equal integers


@pytest.mark.parametrize("options", [("-O2",), ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")],
                         ids=["O2", "sanitized"])  # fmt: skip
def test_it_replays_the_golden_vectors(pair: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    program = tmp_path / "replay"
    code = (Path(__file__).with_name("replay.c"), pair / "metabit.c")
    run("gcc", "-std=c99", *options, f"-I{pair}", *code, "-o", program)
    for image in VECTORS:
        assert "300 damaged images" in run(program, image, image.with_suffix(".vec"), "300")


CPP = r"""
#include "metabit.h"
#include "model_image.h"
#include <cstdio>

static uint32_t state[MODEL_STATE_WORDS], arena[MODEL_ARENA_WORDS];

int main() {
    mb_model m;
    int32_t scores[MODEL_CLASSES];
    uint8_t x[MODEL_INPUT_BYTES];
    mb_status status = mb_open(&m, model_image, sizeof model_image);
    if (status == MB_OK) {
        status = mb_attach(&m, state, sizeof state, arena, sizeof arena);
    }
    while (status == MB_OK && std::fread(x, 1, sizeof x, stdin) == sizeof x) {
        uint16_t label = 0;
        mb_learn_info info = {};
        status = mb_predict(&m, x, scores, &label);
        if (status == MB_OK) {
            status = mb_learn(&m, x, static_cast<uint16_t>((label + 1u) % MODEL_CLASSES), &info);
        }
        std::printf("%u %u %u\n", label, mb_margin(scores, mb_classes(&m)), info.moved);
    }
    std::fprintf(stderr, "%s", mb_strerror(status));
    return status == MB_OK ? 0 : 1;
}
"""


@pytest.mark.parametrize("image", [path for path in VECTORS if path.stem in ("all-4bit", "conv-uint8", "votes-3bit")],
                         ids=lambda path: path.stem)  # fmt: skip
def test_a_cpp_program_uses_it(tmp_path: Path, image: Path) -> None:
    write_sources(tmp_path, single_file=True, image=image)
    (tmp_path / "main.cpp").write_text(CPP)
    run("gcc", "-std=c99", "-O1", "-c", tmp_path / "metabit.c", "-o", tmp_path / "metabit.o")
    run("g++", "-std=c++11", "-Wall", "-Wextra", "-Wconversion", "-Werror", tmp_path / "main.cpp", tmp_path / "metabit.o",
        "-o", tmp_path / "main")  # fmt: skip
    model = Model.open(image)
    inputs = np.random.default_rng(0).integers(0, 256, (60, model.input_size)).astype(np.uint8)
    said = run(tmp_path / "main", data=inputs.tobytes()).split()
    moved = 0
    for x, label, margin, levels in zip(inputs, said[::3], said[1::3], said[2::3], strict=True):
        assert (int(label), int(margin)) == (model.predict_one(x), model.margins(x[None])[0])
        step = model.learn_one(x, (int(label) + 1) % model.classes)
        assert int(levels) == step.moved
        moved += step.moved
    assert moved > 0


# The text


def test_it_is_the_same_every_time_and_says_what_it_is_made_of(pair: Path, tmp_path: Path) -> None:
    write_sources(tmp_path / "again", single_file=True)
    for name in ("metabit.c", "metabit.h"):
        text = (pair / name).read_text()
        assert (tmp_path / "again" / name).read_text() == text
        comment = text[: text.index("*/")]
        assert "SPDX-License-Identifier: Apache-2.0" in comment and amalgamate.digest() in comment
        assert re.match(r"/\* metabit \d+\.\d+\.\d+: ", text) and "Generated by `metabit sources`" in comment


def test_every_file_is_in_it_and_system_headers_are_at_the_top(pair: Path) -> None:
    """Once; a template, which has no guard, as often as it is included."""
    text = (pair / "metabit.c").read_text()
    parts = re.findall(r"^/\* ---- (.*) ---- \*/$", text, re.MULTILINE)
    files = {path.name: path.read_text() for path in sources()[0].parent.iterdir()}
    everything = "".join(files.values())
    for name in files:
        template = name.endswith(".inc")
        assert parts.count(name) == (everything.count(f'#include "{name}"') if template else 1), name
    assert set(parts) == files.keys()
    assert re.findall(r'#\s*include "(.*)"', text) == ["metabit.h"]
    assert max(text.rindex(f"#include <{name}.h>") for name in ("stdint", "string")) < text.index("/* ---- ")


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A library of four small files, which include each other in every way there is."""
    (tmp_path / "src").mkdir()
    shutil.copytree(include_dir(), tmp_path / "include")
    for name, text in {
        "a.c": "#include <string.h>\n#ifdef SOME\n#include \"guarded.h\"\n#include <stddef.h>\n#endif\n"
               "#define T 1\n#include \"template.inc\"\n#define T 2\n#include \"template.inc\"\n#define LOCAL 7\n",
        "b.c": "#include \"guarded.h\"\nint b(void) { return LOCAL; }\n",
        "c.c": "#include \"guarded.h\"\n#define LOCAL 9\nint c(void) { return LOCAL + seven(); }\n",
        "guarded.h": "/* why */\n#ifndef G_H\n#define G_H\n"
                     "static inline int seven(void) { return 7; }\n"
                     "static inline int unused(void) { return 8; }\nenum { LOCAL = 3 };\n#endif\n",
        "template.inc": "enum { JOIN(t, T) = T };\n#undef T\n",
    }.items():  # fmt: skip
        (tmp_path / "src" / name).write_text(text)
    monkeypatch.setattr(amalgamate, "HERE", tmp_path)
    yield tmp_path


@pytest.mark.parametrize("some", [(), ("-DSOME",)], ids=["without", "with"])
def test_guards_conditions_templates_and_macros(made_up: Path, some: tuple[str, ...]) -> None:
    """A header first met inside an #if is there again where it is needed; a template at each place; a macro ends with its file."""
    out = made_up / "out"
    write_sources(out, single_file=True)
    text = (out / "metabit.c").read_text()
    assert text.count("seven(void)") == 2 and text.count("enum { JOIN") == 2
    assert text.index("#ifdef SOME") < text.index("#include <stddef.h>") and text.index("#include <string.h>") < 1000
    macros = ("-DGLUE(a, b)=a##b", "-DJOIN(a, b)=GLUE(a, b)", *some)
    flags = ("-std=c99", "-Wall", "-Wextra", "-Werror", *macros)
    run(*COMPILERS["zig-x86_64"], *flags, "-c", out / "metabit.c", "-o", out / "m.o")
    main = '#include "metabit.c"\nint main(void) { return t1 == 1 && t2 == 2 && b() == 3 && c() == 16 ? 0 : 1; }\n'
    (out / "main.c").write_text(main)
    run("gcc", "-std=c99", *macros, out / "main.c", "-o", out / "main")
    run(out / "main")


# Files


def test_the_files_as_they_are_compile_from_one_folder(tmp_path: Path) -> None:
    written = write_sources(tmp_path)
    core = {path.name for path in sources()[0].parent.iterdir()}
    assert {path.relative_to(tmp_path).as_posix() for path in written} == {*core, *HEADERS, *FIELD}
    code = [*tmp_path.glob("*.c"), *tmp_path.glob("field/*.c")]
    run("gcc", *C99, "-O1", "-r", "-nostdlib", f"-I{tmp_path}", *code, "-o", tmp_path / "all.o")
    for path in written:
        folder = path.parent.name if path.parent != tmp_path else "include" if path.name in HEADERS else "src"
        original = include_dir().parent / folder / path.name
        assert path.read_text().endswith("*/\n" + original.read_text())


def test_the_image_becomes_an_array_of_its_bytes(tmp_path: Path) -> None:
    image = VECTORS[0]
    longer = tmp_path / "longer.mbit"
    longer.write_bytes(image.read_bytes() + b"rest")  # what lies behind an image is not part of it
    text = [path for path in write_sources(tmp_path, image=longer) if path.name == "model_image.h"][0].read_text()
    words = re.findall(r"0x([0-9A-F]{8})u,", text)
    assert b"".join(int(word, 16).to_bytes(4, "little") for word in words) == image.read_bytes()
    assert f"model_image[{len(words)}]" in text


def test_what_was_generated_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    write_sources(tmp_path, single_file=True)
    (tmp_path / "mine.c").write_text("int mine;\n")
    write_sources(tmp_path, single_file=True, image=VECTORS[0])
    write_sources(tmp_path, single_file=True)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.[ch]")}
    assert found == {"metabit.c", "metabit_config.h", "mine.c", "model_image.h", *HEADERS, *FIELD}
    before = (tmp_path / "metabit.h").read_bytes()
    (tmp_path / "metabit.c").write_text("int mine;\n")
    with pytest.raises(FileExistsError, match="not generated by metabit sources"):
        write_sources(tmp_path, single_file=True)
    assert (tmp_path / "metabit.c").read_text() == "int mine;\n" and (tmp_path / "metabit.h").read_bytes() == before


def test_two_forms_do_not_mix(tmp_path: Path) -> None:
    write_sources(tmp_path / "a", single_file=True)
    with pytest.raises(FileExistsError, match="earlier"):
        write_sources(tmp_path / "a")
    write_sources(tmp_path / "b")
    with pytest.raises(FileExistsError, match="earlier"):
        write_sources(tmp_path / "b", single_file=True)
    assert not (tmp_path / "b" / "metabit.c").exists()


def test_nothing_is_left_behind_by_a_failure(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mbit"
    damaged.write_bytes(VECTORS[0].read_bytes()[:-4])
    with pytest.raises(ModelError):
        write_sources(tmp_path / "out", image=damaged)
    assert not (tmp_path / "out").exists()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (20_000, hard)
    )  # metabit.h still fits, metabit.c does not: a disk that is full
    try:
        with pytest.raises(OSError):
            write_sources(tmp_path / "out", single_file=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "out").iterdir()) == []
