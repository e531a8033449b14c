"""`metabit package`: every kind of package has what its build system needs, its sample is built and answers as Python does."""

from __future__ import annotations

import configparser
import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from compilers import run
from packaged import (
    PATH,
    SAMPLES,
    STUBS,
    answers,
    cmake,
    cmake_runs,
    compiled,
    kconfig,
    needs,
    sample_object,
    sizes,
    talk,
    write,
)

from metabit.runtime import Model, include_dir, left_out
from metabit.runtime.amalgamate import HERE
from metabit.runtime.package import KINDS, URL, PackageError, parts, write_package
from metabit.runtime.package.content import contents
from metabit.runtime.package.models import EXAMPLE, c_name

VECTORS = Path(__file__).parents[1] / "vectors"
PAGE = (Path(__file__).parents[2] / "docs" / "packages.md").read_text()
NAMED = VECTORS / "gates-head-int16.mbit"
"""An image with class names and a scale of each feature."""
SPARED = set(left_out(NAMED.read_bytes()))


@functools.cache
def plain(kind: str) -> dict[str, bytes]:
    return contents(kind, [], URL)


def keyword(folder: Path) -> Path:
    """The image in a file whose name is a keyword of C."""
    return Path(shutil.copy(NAMED, folder / "int.mbit"))


def page_commands(program: str) -> list[list[str]]:
    """The commands of docs/packages.md that call a program; tests/flow/test_docs.py runs those of metabit."""
    lines = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    assert {words[0] for words in lines} == {"metabit", "cmake", "gcc"}
    return [[word.replace("$PWD", os.getcwd()) for word in words] for words in lines if words[0] == program]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


# Every kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_is_whole(kind: str) -> None:
    files, layout = plain(kind), KINDS[kind]
    assert {"LICENSE", "README.md"} <= files.keys() and b"Apache License" in files["LICENSE"]
    names = {Path(path).name for path in files}
    assert {path.name for path in include_dir().glob("*.h")} <= names
    assert {path.name for path in (HERE / "field").glob("*.[ch]")} <= names
    if layout.core is None:
        assert b"mb_learn" in files["metabit.c"]
    else:
        assert {path.name for path in (HERE / "src").iterdir()} <= names
    for path, content in files.items():
        left = {} if path.endswith((".pack", ".in")) else set(re.findall(rb"@\w+@", content))
        assert not left, (path, left)
    everything = b"\n".join(files.values())
    settings = everything if layout.config is None else files[layout.config]
    assert all(re.search(rb"(?:METABIT|MB_WITHOUT)_" + part.encode(), settings) for part in parts())


@pytest.mark.parametrize("kind", KINDS)
def test_every_system_can_store_its_names(kind: str) -> None:
    """Windows has reserved names, forbids characters and does not tell capitals apart."""
    paths = list(plain(kind))
    assert len({path.lower() for path in paths}) == len(paths)
    for path in paths:
        assert len(path) < 60 and all(
            re.fullmatch(r"[\w-][\w.-]*", part) and part[-1] != "." for part in path.split("/")
        ), path
        assert not any(
            re.fullmatch(r"con|prn|aux|nul|(com|lpt)\d", part.split(".")[0], re.I) for part in path.split("/")
        )


def test_the_header_lists_the_parts() -> None:
    """Every macro that the sources know, and nothing else, with a text."""
    code = "".join(path.read_text() for path in (HERE / "src").iterdir())
    assert {f"MB_WITHOUT_{part}" for part in parts()} == set(re.findall(r"MB_WITHOUT_\w+", code)) and len(parts()) > 7
    assert all(len(text) > 10 and "*" not in text for text in parts().values())


@pytest.mark.parametrize("kind", KINDS)
def test_what_no_model_needs_is_off(kind: str) -> None:
    """For one model; for two, what neither needs. Without a model nothing is off."""
    layout, votes = KINDS[kind], VECTORS / "votes-3bit.mbit"
    both = SPARED & set(left_out(votes.read_bytes()))
    assert set() < both < SPARED
    for images, off in (([], set()), ([NAMED], SPARED), ([NAMED, votes], both)):
        files = {
            path: data.decode() for path, data in contents(kind, images, URL).items() if not path.endswith(".pack")
        }
        if layout.config:
            found = set(re.findall(r"^#define (MB_WITHOUT_\w+) 1$", files[layout.config], re.MULTILINE))
        elif kind == "cmake":
            found = {f"MB_WITHOUT_{part}" for part in re.findall(r'METABIT_(\w+) ".*" OFF\)', files["CMakeLists.txt"])}
        else:
            text = files["zephyr/Kconfig" if kind == "zephyr" else "Kconfig"]
            found = {f"MB_WITHOUT_{part}" for part in re.findall(r"config METABIT_(\w+)\n.*\n\tdefault n", text)}
        assert found == off


# Single kinds


def properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_arduino_s_registry_would_take_it(tmp_path: Path) -> None:
    """The rules of the library specification and of arduino-lint, and PlatformIO's reader of library.properties."""
    place = write("arduino", tmp_path)
    said = properties((place / "library.properties").read_text())
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert required <= said.keys() and all(said.values())
    assert re.fullmatch(r"(?!arduino)[a-z0-9][\w.-]{0,62}", said["name"], re.I) and " " not in said["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", said["version"])
    assert "arduino" not in said["maintainer"].lower() and re.match(r"https?://", said["url"])
    categories = (
        "Display,Communication,Signal Input/Output,Sensors,Device Control,Timing,Data Storage,Data Processing,Other"
    )
    assert said["category"] in categories.split(",")
    assert "avr" not in said["architectures"].split(",")  # 16-bit int
    assert (place / "src" / said["includes"]).is_file()
    (sketch,) = place.glob("examples/*/*.ino")
    assert sketch.stem == sketch.parent.name
    for row in (place / "keywords.txt").read_text().splitlines():
        assert re.fullmatch(r"\w+\t(KEYWORD1|KEYWORD2|LITERAL1)", row)
    assert {"mb_model\tKEYWORD1", "mb_learn\tKEYWORD2", "MB_E_CONST_CRC\tLITERAL1"} <= set(
        (place / "keywords.txt").read_text().splitlines()
    )
    assert manifest(place)["headers"] == ["metabit.h"]


def manifest(place: Path) -> dict[str, object]:
    """A library's manifest as PlatformIO reads and checks it. The list of licences is on the network: one is known here."""
    needs("platformio")
    from platformio.package.manifest.parser import ManifestParserFactory
    from platformio.package.manifest.schema import ManifestSchema

    class Schema(ManifestSchema):  # type: ignore[misc]
        @staticmethod
        def load_spdx_licenses() -> dict[str, list[dict[str, str]]]:
            return {"licenses": [{"licenseId": "Apache-2.0"}]}

    found: dict[str, object] = Schema().load_manifest(ManifestParserFactory.new_from_dir(str(place)).as_dict())
    return found


def test_platformio_reads_it(tmp_path: Path) -> None:
    found = manifest(write("platformio", tmp_path))
    assert found["name"] == "metabit" and found["license"] == "Apache-2.0"
    assert {"metabit.h", "metabit_float.h"} <= set(found["headers"])  # type: ignore[arg-type, call-overload]
    (example,) = found["examples"]  # type: ignore[misc]
    assert {"platformio.ini", "src/main.cpp", "src/metabit_lines.h", "src/model_image.h"} == set(example["files"])


def test_the_sketch_answers_as_python_does(tmp_path: Path) -> None:
    """With the user's model, without the parts that it does not need. Arduino and PlatformIO build all of src, with src on the
    path; both packages have the same sources."""
    place = write("arduino", tmp_path, keyword(tmp_path))
    sketch = place / "examples" / "lines" / "lines.ino"
    program = compiled(tmp_path, [sketch, *(place / "src").rglob("*.c")], [place / "src", sketch.parent, STUBS])
    typed, said = talk(NAMED)
    assert answers(program, typed) == ["ready", *said]
    theirs = {path: data for path, data in plain("platformio").items() if path.startswith("src/")}
    assert theirs == {path: data for path, data in plain("arduino").items() if path.startswith("src/")}
    assert plain("platformio")["examples/lines/src/main.cpp"] == plain("arduino")["examples/lines/lines.ino"]


@pytest.mark.parametrize("learns", [True, False], ids=["learns", "predicts"])
def test_the_zephyr_sample_answers_as_python_does(tmp_path: Path, learns: bool) -> None:
    place = write("zephyr", tmp_path, keyword(tmp_path))
    module = (place / "zephyr" / "module.yml").read_text()
    assert dict(re.findall(r"(\w+): (\S+)", module)) == {
        "name": "metabit",
        "cmake": "zephyr",
        "kconfig": "zephyr/Kconfig",
    }
    assert (place / "samples").is_dir() and re.search(r"^samples:\n  - samples$", module, re.MULTILINE)
    conf = place / "samples" / "lines" / "prj.conf"
    if not learns:
        conf.write_text(conf.read_text() + "CONFIG_METABIT_LEARN=n\n")
    cmake(
        STUBS / "zephyr_app", tmp_path / "build", MODULE=place, STUB=STUBS,
        CONFIG=kconfig(place / "zephyr" / "Kconfig", conf, tmp_path / "config.cmake"),
    )  # fmt: skip
    typed, said = talk(NAMED, learns)
    words = {"p": "metabit predict", "l": "metabit learn"}
    typed = [f"{words[line[0]]}{line[1:]}" for line in typed if line[:1] in words]
    said = [
        line
        for line, sent in zip(said, [line for line in talk(NAMED, learns)[0] if line], strict=True)
        if sent[0] in words
    ]
    assert answers(tmp_path / "build" / "app", typed) == ["metabit: ready", *said]


def test_the_zephyr_module_is_off_unless_it_is_wanted(tmp_path: Path) -> None:
    place = write("zephyr", tmp_path)
    (tmp_path / "prj.conf").write_text("CONFIG_SHELL=y\n")
    assert kconfig(place / "zephyr" / "Kconfig", tmp_path / "prj.conf", tmp_path / "c").read_text().strip() == ""
    for line in re.findall(r"^CONFIG_METABIT\w*=\w$", (place / "README.md").read_text(), re.MULTILINE):
        (tmp_path / "prj.conf").write_text(f"CONFIG_METABIT=y\n{line}\n")
        found = kconfig(place / "zephyr" / "Kconfig", tmp_path / "prj.conf", tmp_path / "c").read_text()
        assert line[:-2] not in found.replace(")", " ").split("set("), line


def test_the_esp_idf_component_is_checked_and_answers_as_python_does(tmp_path: Path) -> None:
    place = write("esp-idf", tmp_path, keyword(tmp_path))
    needs("idf_component_manager")
    lint, pack = (
        ["manifest", "lint"],
        ["component", "pack", "--name", "metabit", "--dest-dir", str(tmp_path / "packed")],
    )
    code = (
        "from idf_component_manager.cli.core import initialize_cli\n"
        f"for words in {[lint, pack]}: initialize_cli()(['--warnings-as-errors', *words], standalone_mode=False)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.suffix for path in (tmp_path / "packed").glob("metabit_*.tgz")] == [".tgz"]
    (tmp_path / "sdkconfig").write_text("CONFIG_METABIT_CHECKS=n\n")
    cmake(
        STUBS / "idf_app", tmp_path / "build", COMPONENT=place, STUB=STUBS,
        CONFIG=kconfig(place / "Kconfig", tmp_path / "sdkconfig", tmp_path / "config.cmake"),
    )  # fmt: skip
    typed, said = talk(NAMED)
    assert answers(tmp_path / "build" / "app", typed) == ["ready", *said]
    commands = json.loads(run(str(shutil.which("ninja", path=PATH)), "-C", tmp_path / "build", "-t", "compdb"))
    (one,) = [row["command"] for row in commands if row["file"].endswith("main.c")]
    assert {f"MB_WITHOUT_{part}" for part in re.findall(r"-DMB_WITHOUT_(\w+)=1", one)} == SPARED | {"MB_WITHOUT_CHECKS"}


CPP = """
#include "int_image.h"
#include "metabit.h"
#include "metabit_float.h"
int main() {
    mb_model m;
    return mb_open(&m, int_image, sizeof int_image) == MB_OK && mb_classes(&m) == INT_CLASSES ? 0 : 1;
}
"""


def test_cmake_and_pkg_config_find_the_installed_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's commands, in a folder with a space in its name. C and C++; parts that are off are off for them too, and a
    shared library keeps the symbols."""
    here = tmp_path / "a folder"
    here.mkdir()
    monkeypatch.chdir(here)
    write_package("cmake", "out/cmake/metabit", models=[keyword(tmp_path)])
    first, *others = page_commands("cmake")
    cmake_runs(*first, "-DMETABIT_CHECKS=OFF", "-DCMAKE_INSTALL_LIBDIR=lib", "-DCMAKE_BUILD_TYPE=Debug")
    for words in others:
        cmake_runs(*words)
    prefix, place = here / "out" / "installed", here / "out" / "cmake" / "metabit"
    typed, said = talk(NAMED)
    assert answers(here / "out" / "example" / "lines", typed) == ["ready", *said]
    assert (prefix / "share" / "licenses" / "metabit" / "LICENSE").is_file()
    consumer = tmp_path / "consumer"
    consumer.mkdir()
    (consumer / "main.cpp").write_text(CPP)
    (consumer / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(consumer CXX)\nfind_package(metabit REQUIRED)\n"
        "add_executable(cpp main.cpp)\ntarget_link_libraries(cpp PRIVATE metabit::metabit)\n"
    )
    cmake(consumer, tmp_path / "used", CMAKE_PREFIX_PATH=prefix)
    run(tmp_path / "used" / "cpp")
    if shutil.which("pkg-config") is None:
        pytest.skip("no pkg-config")
    words = ["env", f"PKG_CONFIG_PATH={prefix / 'lib' / 'pkgconfig'}", "pkg-config", "--cflags", "--libs", "metabit"]
    flags = shlex.split(run(*words))
    assert {f"-D{macro}=1" for macro in SPARED | {"MB_WITHOUT_CHECKS"}} == {
        flag for flag in flags if flag.startswith("-D")
    }
    run("gcc", "-std=c99", place / "example" / "main.c", "-o", tmp_path / "plain", *flags)
    assert answers(tmp_path / "plain", typed) == ["ready", *said]
    whole = ("-Wl,--whole-archive", prefix / "lib" / "libmetabit.a", "-Wl,--no-whole-archive")
    run("gcc", "-shared", "-o", tmp_path / "shared.so", *whole)
    assert "mb_" not in run("nm", "-D", "--defined-only", tmp_path / "shared.so")
    assert " T mb_learn\n" in run("nm", prefix / "lib" / "libmetabit.a")


def test_a_cmsis_pack_names_files_that_exist(tmp_path: Path) -> None:
    place = write("cmsis-pack", tmp_path, keyword(tmp_path), VECTORS / "votes-3bit.mbit")
    root = ElementTree.parse(place / "metabit.metabit.pdsc").getroot()
    vendor, name = root.findtext("vendor"), root.findtext("name")
    release = root.find("releases/release").attrib["version"]  # type: ignore[union-attr]
    assert (place / f"{vendor}.{name}.pdsc").is_file() and re.fullmatch(r"[\w-]+", f"{vendor}{name}")
    with zipfile.ZipFile(place / f"{vendor}.{name}.{release}.pack") as archive:
        inside = {path: archive.read(path) for path in archive.namelist()}
    assert all((place / path).read_bytes() == data for path, data in inside.items()) and len(inside) > 50
    named = [root.findtext("license", ""), root.find("description").attrib["overview"]]  # type: ignore[union-attr]
    named += [file.attrib["name"] for file in root.iter("file")]
    assert set(named) <= inside.keys() and len(named) == len(set(named))
    listed = {path for path in inside if path.startswith(("src/", "field/")) and path.endswith(".c")}
    assert listed == {path for path in named if path.startswith(("src/", "field/"))}
    components = {one.attrib["Csub"]: one for one in root.iter("component")}
    assert {"Core", "Model int", "Model votes_3bit"} <= components.keys()
    conditions = {one.attrib["id"] for one in root.iter("condition")}
    assert {one.attrib["condition"] for one in root.iter() if "condition" in one.attrib} <= conditions
    config = [file for file in root.iter("file") if file.attrib.get("attr") == "config"]
    assert [file.attrib["name"] for file in config] == ["config/metabit_config.h"]
    assert contents("cmsis-pack", [], URL) == contents("cmsis-pack", [], URL)  # the archive has no dates


def test_the_single_file_answers_as_python_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the page's command; without a model."""
    monkeypatch.chdir(tmp_path)
    write_package("amalgamation", "out/amalgamation/metabit")
    (words,) = page_commands("gcc")
    run(*(word.replace("-Os", "-O0") for word in words))  # sooner
    typed, said = talk(EXAMPLE)
    assert answers(tmp_path / "out" / "lines", typed) == ["ready", *said] and len(set(said)) > 20


# Models


@pytest.mark.parametrize(
    ("file", "name"),
    [("int.mbit", "int"), ("Con (2).mbit", "con_2"), ("7segments.mbit", "model_7segments"), ("größe.mbit", "gr_e"),
     ("---.mbit", "model"), ("a.b-c.mbit", "a_b_c"), ("model.mbit", "model")],
)  # fmt: skip
def test_any_file_name_becomes_a_name_in_c(file: str, name: str) -> None:
    assert c_name(Path(file)) == name


def test_two_models_live_in_one_program(tmp_path: Path) -> None:
    """Both headers in one file of C and of C++, the parts that either needs; two of one name are refused."""
    other = Path(shutil.copy(VECTORS / "votes-3bit.mbit", tmp_path / "While.mbit"))
    place = write("amalgamation", tmp_path, keyword(tmp_path), other)
    code = """#include "int_image.h"
#include "while_image.h"
#include "metabit.h"
#include "metabit_float.h"
static uint32_t a[INT_STATE_WORDS], b[WHILE_STATE_WORDS], c[INT_ARENA_WORDS], d[WHILE_ARENA_WORDS];
int main(void)
{
    mb_model m, n;
    int bad = mb_open(&m, int_image, sizeof int_image) != MB_OK || mb_open(&n, while_image, sizeof while_image) != MB_OK;
    bad |= mb_attach(&m, a, sizeof a, c, sizeof c) != MB_OK || mb_attach(&n, b, sizeof b, d, sizeof d) != MB_OK;
    return bad || mb_classes(&m) != INT_CLASSES || mb_classes(&n) != WHILE_CLASSES;
}
"""
    (tmp_path / "two.c").write_text(code)
    (tmp_path / "other.cpp").write_text(code.replace("main", "other").replace("void", ""))
    run(compiled(tmp_path, [tmp_path / "two.c", tmp_path / "other.cpp", place / "metabit.c"], [place]))
    with pytest.raises(PackageError, match=r"INT\.mbit: a model of the package has the name int already"):
        write_package("cmake", tmp_path / "x", models=[tmp_path / "int.mbit", tmp_path / "INT.mbit"])
    assert not (tmp_path / "x").exists()


# The folder


def test_nothing_of_others_is_overwritten(tmp_path: Path) -> None:
    place = tmp_path / "metabit"
    write_package("cmake", place)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    with pytest.raises(FileExistsError, match="holds files"):
        write_package("cmake", place)
    (place / "mine.c").write_text("int mine;\n")
    (place / "LICENSE").write_text("changed\n")
    write_package("cmake", place, force=True)
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before | {
        place / "mine.c": b"int mine;\n"
    }
    write_package("arduino", place, force=True)  # another kind: what the first left goes, with its folders
    names = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    assert names == {*plain("arduino"), "metabit-package.json", "mine.c"}
    assert not (place / "include").exists()
    (place / "zephyr").mkdir()
    (place / "zephyr" / "Kconfig").write_text("mine\n")
    with pytest.raises(FileExistsError, match="Kconfig|is not of a package"):
        write_package("zephyr", place, force=True)
    assert {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()} == names | {
        "zephyr/Kconfig"
    }
    (place / "metabit-package.json").write_text('{"files": ["../outside", "/etc/passwd", "LICENSE"]}')
    (tmp_path / "outside").write_text("mine\n")
    with pytest.raises(FileExistsError):
        write_package("arduino", place, force=True)
    assert (tmp_path / "outside").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        write_package("cmake", tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "metabit", "outside"]


@pytest.mark.parametrize(
    ("kind", "name"), [("arduino", "my lib"), ("arduino", "x" * 64), ("esp-idf", "a.b"), ("esp-idf", "a b")]
)
def test_a_folder_whose_name_the_build_system_refuses(tmp_path: Path, kind: str, name: str) -> None:
    with pytest.raises(PackageError, match=r"takes .* folder, such as metabit"):
        write_package(kind, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["", "metabit", 'https://x"', "https://x\nname=y", "javascript:1"])
def test_a_page_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(PackageError, match="web page"):
        write_package("arduino", tmp_path / "metabit", url=url)
    assert list(tmp_path.iterdir()) == []
    write_package("cmsis-pack", tmp_path / "metabit", url="https://example.com/?a=1&b=2")
    assert (
        ElementTree.parse(tmp_path / "metabit/metabit.metabit.pdsc").findtext("url") == "https://example.com/?a=1&b=2"
    )


def test_a_damaged_model_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.mbit").write_bytes(NAMED.read_bytes()[:-4])
    with pytest.raises(ValueError, match="bad.mbit"):
        write_package("zephyr", tmp_path / "metabit", models=[tmp_path / "bad.mbit"])
    assert [path.name for path in tmp_path.iterdir()] == ["bad.mbit"]


def test_the_example_s_network_learns() -> None:
    """Three clouds of numbers, ten samples of each."""
    model, rng = Model.open(EXAMPLE), np.random.default_rng(0)
    y = np.arange(60) % 3
    x = np.array([[200, 200, 800], [200, 800, 200], [800, 200, 200]])[y] + rng.normal(0, 80, (60, 3))
    assert model.steps == 0 and EXAMPLE.stat().st_size < 2500
    model.learn_many(x[:30], y[:30])
    assert np.mean(model.predict_many(x[30:]) == y[30:]) > 0.9


# A chip


@pytest.mark.parametrize("kind", ["arduino", "zephyr", "esp-idf", "cmake"])
def test_the_sample_compiles_for_a_chip(tmp_path: Path, kind: str) -> None:
    """Among the others, PlatformIO's is Arduino's and the rest have that of CMake."""
    sample_object(tmp_path, kind, [keyword(tmp_path)])
    for one in ("cmsis-pack", "amalgamation"):
        assert plain(one)[SAMPLES[one][0]] == plain("cmake")[SAMPLES["cmake"][0]]


def test_a_sample_is_as_large_as_the_page_says(tmp_path: Path) -> None:
    """One row of the table of docs/packages.md, within a tenth: compilers differ."""
    rows = re.findall(r"^\| (\S+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)
    assert {row[0] for row in rows} == set(KINDS)
    (said,) = (row[2:] for row in rows if row[0] == "cmsis-pack")
    for here, there in zip(sizes(tmp_path, "cmsis-pack", [EXAMPLE]), said, strict=True):
        assert here == pytest.approx(int(there.replace(",", "")), rel=0.1)


# The page


def test_the_page_s_snippets_are_read(tmp_path: Path) -> None:
    needs("idf_component_manager")  # which brings a reader of YAML
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe")
    west, component = (yaml.load(block) for block in blocks("yaml"))
    (project,) = west["manifest"]["projects"]
    assert project["remote"] in {remote["name"] for remote in west["manifest"]["remotes"]} and project["revision"]
    assert component["dependencies"]["metabit"].keys() == {"version", "override_path"}
    ini = configparser.ConfigParser()
    ini.read_string(blocks("ini")[0])
    assert (
        ini["env:pico"]["lib_deps"].startswith("metabit=") and ini["env:pico"]["build_flags"] == "-DMB_WITHOUT_CONV=1"
    )
    (tmp_path / "prj.conf").write_text(blocks("kconfig")[0])
    (tmp_path / "Kconfig").write_bytes(contents("zephyr", [], URL)["zephyr/Kconfig"])
    on = kconfig(tmp_path / "Kconfig", tmp_path / "prj.conf", tmp_path / "on").read_text()
    assert "CONFIG_METABIT y" in on and "METABIT_CONV" not in on
    (wanted,) = re.findall(r"find_package\(metabit ([\d.]+) REQUIRED\)", PAGE)
    assert re.search(rf"project\(metabit VERSION {re.escape(wanted)}\.", plain("cmake")["CMakeLists.txt"].decode())
    (pack,) = (yaml.load(block) for block in blocks("yml"))
    pdsc = contents("cmsis-pack", [keyword(tmp_path)], URL)["metabit.metabit.pdsc"].decode()
    for one in pack["components"]:
        cclass, group, sub = one["component"].split(":")
        row = f'Cclass="{cclass}" Cgroup="{group}" Csub="{sub.replace("model", "int")}"'
        assert row in pdsc
    assert "CONV" in parts() and all(f"| {name} |" in PAGE for name in KINDS)
