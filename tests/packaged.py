"""Programs of packages, built on this computer, and what they must answer.

`python tests/packaged.py` prints the table of docs/packages.md: bytes of each sample on a Cortex-M4F.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from compilers import WARNINGS, run

from metabit.runtime import Model, field_sources, left_out
from metabit.runtime.package import KINDS, write_package
from metabit.runtime.package.models import EXAMPLE

STUBS = Path(__file__).parent / "runtime" / "packages"
NO_SUCH_CLASS = "the label is not smaller than the number of classes, or the head has no row left for its class"
M4F = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def write(kind: str, folder: Path, *models: Path) -> Path:
    """A package in a path with a space."""
    place = folder / "a folder" / kind / "metabit"
    write_package(kind, place, models=models)
    return place


def compiled(
    folder: Path, sources: Sequence[Path], includes: Sequence[Path], *options: str, program: str = "app"
) -> Path:
    """A program of C and C++ files: C without a warning, C++ as C++11 without one."""
    where = [f"-I{path}" for path in includes]
    objects = []
    for path in sources:  # one at a time, as a run has a time limit
        objects.append(folder / f"{program}-{path.name}.o")
        language = ("gcc", "-std=c99") if path.suffix == ".c" else ("g++", "-std=c++11", "-x", "c++")
        run(*language, "-O0", *WARNINGS, *where, *options, "-c", path, "-o", objects[-1])
    run("gcc" if all(path.suffix == ".c" for path in sources) else "g++", *objects, "-o", folder / program)
    return folder / program


def cmake(source: Path, build: Path, **variables: str | Path) -> None:
    """Configures and builds a project."""
    cmake_runs("cmake", "-S", source, "-B", build, *(f"-D{name}={value}" for name, value in variables.items()))
    cmake_runs("cmake", "--build", build)


def cmake_runs(*words: str | Path) -> None:
    """A command of cmake, by ninja. The test is skipped without them or a compiler."""
    tools = {name: shutil.which(name, path=PATH) for name in ("cmake", "ninja", "gcc", "g++")}
    for name, found in tools.items():
        if found is None:
            pytest.skip(f"no {name}")
    generator = ("-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tools['ninja']}") if "-S" in words else ()
    run(str(tools["cmake"]), *generator, *words[1:])


def needs(module: str) -> None:
    pytest.importorskip(module, reason=f"no {module}")


def kconfig(file: Path, conf: Path, target: Path) -> Path:
    """The symbols that a Kconfig and a configuration give, as variables of CMake. Symbols of others are ignored."""
    needs("kconfiglib")
    import kconfiglib

    read = kconfiglib.Kconfig(str(file), warn_to_stderr=False)
    read.load_config(str(conf))
    assert all("undefined symbol" in warning and "METABIT" not in warning for warning in read.warnings), read.warnings
    on = [f"set(CONFIG_{name} y)" for name, symbol in read.syms.items() if symbol.str_value == "y" and symbol.nodes]
    target.write_text("\n".join(on) + "\n")
    return target


def talk(image: Path, learns: bool = True, samples: int = 40) -> tuple[list[str], list[str]]:
    """Lines that a person may type, and what the network answers by Python's binding."""
    model, rng = Model.open(image), np.random.default_rng(5)
    typed, said = [], []
    for i in range(samples):
        if model.inputs.scale is not None:
            x = np.round(rng.uniform(-20, 1100, model.inputs.values), 2)
        else:
            x = rng.integers(0, 256, model.inputs.values).astype(float)
        numbers = " ".join(f"{value:.10g}" for value in x)
        if i % 3 < 2 and learns:
            label = int(rng.integers(0, model.classes))
            typed.append(f"l {label} {numbers}")
            said.append(f"learnt {named(model, label)}, predicted {named(model, model.learn_one(x, label).predicted)}")
        else:
            typed.append(f"p {numbers}")
            said.append(f"{named(model, model.predict_one(x))}, margin {model.margins(x[None])[0]}")
    wrong = f"? p and {model.inputs.values} numbers, or l, a class and the numbers"
    typed += [
        "",
        f"p {numbers} 1",
        f"l 0.5 {numbers}",
        f"p {numbers[:-1]}x",
        "hello",
        f"l {model.classes} {numbers}" if learns else "p 1 2 3 4 5",
    ]
    said += [wrong, wrong, wrong, wrong, f"? {NO_SUCH_CLASS}" if learns else wrong]
    return typed, said


def named(model: Model, label: int) -> str:
    return f"class {label} ({model.inputs.classes[label]})" if label < len(model.inputs.classes) else f"class {label}"


def answers(program: Path, typed: Sequence[str], *arguments: str) -> list[str]:
    done = subprocess.run(
        [program, *arguments], input="\n".join([*typed, ""]), capture_output=True, text=True, timeout=60
    )
    return done.stdout.splitlines()


SAMPLES = {
    "arduino": ("examples/lines/lines.ino", "main"),
    "platformio": ("examples/lines/src/main.cpp", "main"),
    "zephyr": ("samples/lines/src/main.c", "main"),
    "esp-idf": ("examples/lines/main/main.c", "app_main"),
    "cmake": ("example/main.c", "main"),
    "cmsis-pack": ("template/main.c", "main"),
    "amalgamation": ("main.c", "main"),
}
"""Kind -> the source of its sample, and the function that the system calls."""


def sample_object(folder: Path, kind: str, models: Sequence[Path]) -> tuple[Path, tuple[str, ...]]:
    """Writes a package and compiles its sample for a Cortex-M4F. Returns the object and the options that the library gets too."""
    layout, place = KINDS[kind], folder / "a folder" / kind / "metabit"
    write_package(kind, place, models=models)
    sample = place / SAMPLES[kind][0]
    where = [f"-I{path}" for path in (place / layout.public, sample.parent, place / "config", STUBS)]
    options = (*M4F, "-Os", "-ffunction-sections", "-fdata-sections", "-Wall", "-Wextra", "-Werror", *where)
    if layout.config is None and models:  # as Kconfig or CMake gives them
        options += tuple(f"-D{macro}=1" for macro in left_out(models[0].read_bytes()))
    language = ("-x", "c", "-std=gnu17") if sample.suffix == ".c" else ("-x", "c++", "-std=gnu++17")
    run("arm-none-eabi-g++", *options, *language, "-Wno-unused-parameter", "-c", sample, "-o", folder / "sample.o")
    return folder / "sample.o", options


def sizes(folder: Path, kind: str, models: Sequence[Path]) -> tuple[int, int]:
    """Bytes of flash and of RAM of a sample on a Cortex-M4F: with the library and the network, without the system's own code."""
    sample, options = sample_object(folder, kind, models)
    place, (path, start) = folder / "a folder" / kind / "metabit", SAMPLES[kind]
    skipped = {one.name for one in field_sources()}  # nothing of field/ is linked
    objects = [sample]
    for one in sorted(place.rglob("*.c")):
        if one.name not in skipped and one != place / path:
            objects.append(folder / f"{one.name}.o")
            run("arm-none-eabi-gcc", *options, "-std=c99", "-c", one, "-o", objects[-1])
    roots = (f"-Wl,-e,{start}", *(["-Wl,-u,stub_commands"] if kind == "zephyr" else []))
    linked = ("-r", "-nostdlib", "-Wl,--gc-sections", *roots, "-o", folder / "all.o")
    run("arm-none-eabi-gcc", *M4F, *objects, *linked)
    text, data, bss = map(int, run("arm-none-eabi-size", folder / "all.o").splitlines()[1].split()[:3])
    return text + data, data + bss


if __name__ == "__main__":
    print("| package | flash, all parts | flash, only the parts it needs | RAM |\n|---|---|---|---|")
    for one in KINDS:
        found = []
        for images in ((), (EXAMPLE,)):
            with tempfile.TemporaryDirectory() as made:
                found.append(sizes(Path(made), one, images))
        print(f"| {one} | {found[0][0]:,} | {found[1][0]:,} | {found[1][1]:,} |")
