"""The C sources as a graph: no include cycle, no link cycle, and a library that knows nothing of the host."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from compilers import run

ROOT = Path(__file__).parents[1] / "runtime"
FILES = sorted(p for room in ("include", "src", "field", "host") for p in (ROOT / room).iterdir())
Graph = dict[str, set[str]]


def cycles(graph: Graph) -> list[list[str]]:
    """Every cycle that a depth-first walk from each node meets."""
    found: list[list[str]] = []

    def walk(node: str, path: list[str]) -> None:
        if node in path:
            found.append([*path[path.index(node) :], node])
            return
        for below in sorted(graph.get(node, ())):
            walk(below, [*path, node])

    for node in sorted(graph):
        walk(node, [])
    return found


def includes(path: Path) -> set[str]:
    return set(re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE))


def test_the_search_finds_a_cycle() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) and not cycles({"a": {"b", "c"}, "b": {"c"}})


def test_no_file_includes_itself_by_way_of_others() -> None:
    graph = {path.name: includes(path) for path in FILES}
    assert len(graph) == len(FILES) > 25, "two files have one name"
    assert cycles(graph) == []


def test_the_library_knows_nothing_of_the_host() -> None:
    host = {path.name for path in (ROOT / "host").iterdir()}
    for path in (*(ROOT / "src").iterdir(), *(ROOT / "field").iterdir()):
        assert not includes(path) & host, path.name
        assert not re.search(r"\bmb_wid|\bmb_vectors|\bhost/", path.read_text()), path.name


def test_a_template_says_which_macros_it_takes() -> None:
    """A file that is included several times ends in .inc and has no guard; every other header has one."""
    for path in FILES:
        text = path.read_text()
        guarded = bool(re.search(r"#ifndef (\w+)\n#define \1\n", text))
        assert guarded == (path.suffix == ".h"), path.name
        if path.suffix == ".inc":
            first = text[: text.index("*/")]
            for macro in re.findall(r"^#undef (\w+)", text, re.MULTILINE):
                assert macro in first, f"{path.name} does not tell of {macro}"


@pytest.mark.parametrize("host", [False, True], ids=["device", "host"])
def test_no_object_needs_itself_by_way_of_others(tmp_path: Path, host: bool) -> None:
    rooms = ("src", "field", "host") if host else ("src", "field")
    flags = ["-std=gnu99", "-Os", *(["-DMB_WIDE"] * host), *(f"-I{ROOT / room}" for room in ("include", *rooms))]
    sources = [path for path in FILES if path.suffix == ".c" and path.parent.name in rooms]
    owner: dict[str, str] = {}
    needs: Graph = {}
    for source in sources:
        target = tmp_path / f"{source.stem}.o"
        run("gcc", *flags, "-c", source, "-o", target)
        rows = run("nm", "-P", target).splitlines()
        needs[source.name] = {row.split()[0] for row in rows if row.split()[1] == "U"}
        owner |= {row.split()[0]: source.name for row in rows if row.split()[1] in "TRD"}
    graph = {name: {owner[symbol] for symbol in wanted if symbol in owner} for name, wanted in needs.items()}
    assert sum(map(len, graph.values())) > 15
    assert cycles(graph) == []


def test_a_model_has_one_size_in_every_build(tmp_path: Path) -> None:
    code = tmp_path / "size.c"
    code.write_text('#include "metabit.h"\nint size_is[sizeof(mb_model) == 4 * sizeof(void *) + 8 ? 1 : -1];\n')
    for macros in ((), ("-DMB_WIDE",), ("-DMB_WITHOUT_LEARN", "-DMB_WITHOUT_GRADED"), ("-DMB_PROFILE",)):
        run("gcc", *macros, f"-I{ROOT / 'include'}", "-fsyntax-only", code)
