"""Names, and the parts of the library that the images need, as `metabit sources --image --name` writes them for a program."""

from __future__ import annotations

import ctypes
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compilers import WARNINGS, run, shared

from metabit.export import read_image, write_image
from metabit.export.frozen import Notes
from metabit.runtime import InputError, Model, include_dir, left_out, write_sources
from metabit.runtime.c_header import image_header, not_needed
from metabit.runtime.inputs import Inputs

VECTORS = sorted((Path(__file__).parents[1] / "vectors").glob("*.mbit"))
BY_NAME = {path.stem: path for path in VECTORS}


def defined(folder: Path) -> set[str]:
    return set(re.findall(r"#define (MB_\w+) 1\n", (folder / "metabit_config.h").read_text()))


# Names

TWO = r"""
#include <stdio.h>
#include "metabit.h"
#include "gesture_image.h"
#include "word_2_image.h"

static uint32_t state_a[GESTURE_STATE_WORDS], arena_a[GESTURE_ARENA_WORDS];
static uint32_t state_b[WORD_2_STATE_WORDS], arena_b[WORD_2_ARENA_WORDS];
static const char *const names[GESTURE_CLASSES] = GESTURE_CLASS_NAMES;

int main(void)
{
    mb_model a, b;
    uint8_t x[GESTURE_INPUT_BYTES], y[WORD_2_INPUT_BYTES];
    if (mb_open(&a, gesture_image, sizeof gesture_image) != MB_OK || mb_open(&b, word_2_image, sizeof word_2_image) != MB_OK
        || mb_attach(&a, state_a, sizeof state_a, arena_a, sizeof arena_a) != MB_OK
        || mb_attach(&b, state_b, sizeof state_b, arena_b, sizeof arena_b) != MB_OK) {
        return 1;
    }
    while (fread(x, 1, sizeof x, stdin) == sizeof x && fread(y, 1, sizeof y, stdin) == sizeof y) {
        uint16_t first, second;
        if (mb_predict(&a, x, NULL, &first) != MB_OK || mb_predict(&b, y, NULL, &second) != MB_OK
            || mb_learn(&a, x, 1, NULL) != MB_OK || mb_learn(&b, y, 0, NULL) != MB_OK) {
            return 1;
        }
        printf("%u:%s %u\n", first, names[first], second);
    }
    return 0;
}
"""


def test_a_program_with_two_models(tmp_path: Path) -> None:
    named = read_image(BY_NAME["gates-head"].read_bytes())
    (tmp_path / "named.mbit").write_bytes(write_image(replace(named, notes=Notes(("up", "down")))))
    paths = {"gesture": tmp_path / "named.mbit", "word_2": BY_NAME["all-4bit"]}
    for name, path in paths.items():
        write_sources(tmp_path, single_file=True, image=path, name=name)
        text = (tmp_path / f"{name}_image.h").read_text()
        assert not re.search(r"model", "".join(text.splitlines(True)[2:]), re.IGNORECASE)
    (tmp_path / "main.c").write_text(TWO)
    flags = [flag for flag in WARNINGS if flag != "-Wpedantic"]
    run("gcc", "-std=c99", *flags, tmp_path / "main.c", tmp_path / "metabit.c", "-o", tmp_path / "two")
    a, b = (Model.open(path) for path in paths.values())
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, 256, (20, m.input_size)).astype(np.uint8) for m in (a, b))
    said = run(tmp_path / "two", data=b"".join(p.tobytes() + q.tobytes() for p, q in zip(x, y, strict=True)))
    names = [*a.inputs.classes, *[""] * a.classes]
    expected = []
    for p, q in zip(x, y, strict=True):
        first, second = int(a.predict_many(p[None])[0]), int(b.predict_many(q[None])[0])
        expected.append(f"{first}:{names[first]} {second}")
        a.learn_many(p[None], [1])
        b.learn_many(q[None], [0])
    assert said.splitlines() == expected
    assert defined(tmp_path) == set(left_out(a.image())) & set(left_out(b.image()))


def test_two_images_of_one_name_are_an_error(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_sources(tmp_path / folder, image=BY_NAME["all-4bit" if folder == "one" else "gates-head"])
    unit = tmp_path / "unit.c"
    unit.write_text('#include "one/model_image.h"\n#include "two/model_image.h"\n')
    ran = subprocess.run(["gcc", "-fsyntax-only", unit], capture_output=True, text=True)
    assert (
        ran.returncode and "two images have the name model: write one of them with metabit sources --name" in ran.stderr
    )
    unit.write_text('#include "one/model_image.h"\n#include "one/model_image.h"\n')
    run("gcc", "-Wall", "-Werror", "-Wno-unused", "-fsyntax-only", unit)


def test_names_of_an_image_are_no_code(tmp_path: Path) -> None:
    names = ('"}; int evil; char *s[] = {"', "*/ int evil; /*")
    image = tmp_path / 'star*slash? int evil; "quote.mbit'
    image.write_bytes(write_image(replace(read_image(BY_NAME["gates-head"].read_bytes()), notes=Notes(names))))
    write_sources(tmp_path / "out", single_file=True, image=image)
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "model_image.h"\n'
        "int main(void) { const char *names[] = MODEL_CLASS_NAMES; int evil = (int)sizeof model_image;\n"
        'printf("%d\\n%s\\n%s\\n", evil, names[0], names[1]); return 0; }\n'
    )
    run("gcc", "-std=c99", "-Wall", "-Werror", f"-I{tmp_path / 'out'}", tmp_path / "main.c", "-o", tmp_path / "main")
    assert run(tmp_path / "main").splitlines() == [str(image.stat().st_size), *names]


@pytest.mark.parametrize("name", ["", "2nd", "Model", "a b", "größe", "a-b"])
def test_a_name_that_c_cannot_take(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="lower-case letters"):
        write_sources(tmp_path / "out", image=VECTORS[0], name=name)
    assert not (tmp_path / "out").exists()


# Parts


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], ctypes.CDLL]:
    return {}


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_library_of_exactly_these_parts_computes_the_same(
    built: dict[tuple[str, ...], ctypes.CDLL], tmp_path: Path, path: Path
) -> None:
    """As a program is built from the folder, without a flag that names a part. One build for all images with the same parts."""
    image = path.read_bytes()
    parts = left_out(image)
    assert not_needed(image_header(path, "")) == set(parts)
    if parts not in built:
        write_sources(tmp_path, single_file=True, image=path)
        assert defined(tmp_path) == set(parts)
        built[parts] = shared(tmp_path / "metabit.so", tmp_path / "metabit.c", options=("-O0",))
    c, host = built[parts], Model(image)
    learns = "MB_WITHOUT_LEARN" not in parts
    assert hasattr(c, "mb_learn") == learns
    blob = (ctypes.c_uint32 * (len(image) // 4)).from_buffer_copy(image)
    model, size = (ctypes.c_uint64 * 16)(), ctypes.c_size_t
    assert c.mb_open(model, blob, size(len(image))) == 0
    state, arena = ((ctypes.c_uint32 * (n // 4))() for n in (host.state_size, host.arena_size()))
    assert c.mb_attach(model, state, size(4 * len(state)), arena, size(4 * len(arena))) == 0
    rng, scores, label = np.random.default_rng(0), np.empty(host.classes, np.int32), ctypes.c_uint16()
    x = rng.integers(0, 256, (20, host.input_size)).astype(np.uint8)
    for one, right in zip(Inputs.of(image).device(x), rng.integers(0, host.classes, 20).tolist(), strict=True):
        where = one.ctypes.data_as(ctypes.c_void_p)
        assert c.mb_predict(model, where, scores.ctypes.data_as(ctypes.c_void_p), ctypes.byref(label)) == 0
        assert (scores == host.scores(one[None])[0]).all() and label.value == host.predict_many(one[None])[0]
        if learns:
            assert c.mb_learn(model, where, ctypes.c_uint16(right), None) == 0
            host.learn_many(one[None], [right])
            assert bytes(state) == host.state()


def test_what_several_images_need_is_built_whatever_the_order(tmp_path: Path) -> None:
    write_sources(tmp_path, single_file=True, image=BY_NAME["conv-bits"], name="a")
    assert "MB_WITHOUT_CONV" not in defined(tmp_path) and "MB_WITHOUT_GATES" in defined(tmp_path)
    write_sources(tmp_path, single_file=True, image=BY_NAME["gates-head"], name="b")
    assert not {"MB_WITHOUT_CONV", "MB_WITHOUT_GATES", "MB_WITHOUT_LEARN"} & defined(tmp_path)
    (tmp_path / "a_image.h").unlink()
    write_sources(tmp_path, single_file=True)
    assert defined(tmp_path) == set(left_out(BY_NAME["gates-head"].read_bytes()))


def test_a_file_of_ones_own_names_the_parts(tmp_path: Path) -> None:
    (tmp_path / "mine.h").write_text("#define MB_WITHOUT_LEARN 1\n")
    (tmp_path / "unit.c").write_text('#include "metabit.h"\n#ifndef MB_WITHOUT_LEARN\n#error "not read"\n#endif\n')
    config = ('-DMB_CONFIG="mine.h"', f"-I{include_dir()}", f"-I{tmp_path}")
    run("gcc", "-std=c99", *WARNINGS, *config, "-fsyntax-only", tmp_path / "unit.c")


# Cores that it does not run on


@pytest.mark.parametrize(
    "compiler",
    [("clang", "--target=avr", "-mmcu=atmega328p"), ("gcc", "-U__SIZEOF_INT__", "-D__SIZEOF_INT__=2"),
     ("gcc", "-U__CHAR_BIT__", "-D__CHAR_BIT__=16")],
    ids=["avr", "int", "byte"],
)  # fmt: skip
def test_a_core_with_another_int_or_byte_gets_a_sentence(tmp_path: Path, compiler: tuple[str, ...]) -> None:
    unit = tmp_path / "unit.c"
    unit.write_text('#include "metabit.h"\n')
    run(compiler[0], "--version")  # skips the test without it
    ran = subprocess.run(
        [*compiler, "-ffreestanding", f"-I{include_dir()}", "-fsyntax-only", unit], capture_output=True, text=True
    )
    assert ran.returncode and "metabit needs an int of at least 32 bits and bytes of 8 bits" in ran.stderr
