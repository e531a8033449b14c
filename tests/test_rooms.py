"""The rules of docs/architecture.md: who may import whom, what is forbidden where, and how large a file may grow."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "data": set(),
    "train": {"data"},
    "nn": {"data", "train"},
    "export": {"data", "train"},
    "runtime": set(),
    "firmware_sim": {"export", "runtime"},
    "experiments": {"data", "train", "export", "runtime", "firmware_sim"},
    "cli": {"data", "train", "export", "runtime", "firmware_sim", "experiments"},
}
LIMITS = {".py": 300, ".c": 350, ".h": 350, ".inc": 350}
RUNTIME_LIMIT, FIELD_LIMIT, HEADER_LIMIT = 6251, 2650, 350

FILES = sorted(path for room in MAY_IMPORT for path in (ROOT / room).rglob("*.py"))
C_FILES = sorted(
    path for room in MAY_IMPORT for path in (ROOT / room).rglob("*") if path.suffix in (".c", ".h", ".inc")
)
CORE_HEADERS = ("metabit.h", "metabit_float.h")
RUNTIME_C = [path for path in C_FILES if path.parent == ROOT / "runtime" / "src" or path.name in CORE_HEADERS]
FIELD_C = [path for path in C_FILES if path.parent.name in ("field", "include") and path.name not in CORE_HEADERS]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(path: Path) -> Iterator[str]:
    """Dotted names of everything a file imports, also in functions, by statement or by import_module("...")."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("import_module", "__import__", "require") and isinstance(node.args[0].value, str):
                yield node.args[0].value


def room_imported(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if parts[0] == "metabit" and len(parts) > 1 else None


def module(path: Path) -> str:
    return ".".join(["metabit", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


def top_imports(path: Path, modules: set[str]) -> Iterator[str]:
    """Modules of this project that are imported when a file is: not in a function, not for type checking only."""
    for node in parsed(path).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from ({found if found in modules else node.module for found in whole} & modules)


def test_the_rooms_are_these() -> None:
    assert all((ROOT / room).is_dir() for room in MAY_IMPORT)
    assert len(FILES) > 30 and len(RUNTIME_C) >= 7


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_room_imports_only_rooms_before_it(path: Path) -> None:
    allowed = MAY_IMPORT[room_of(path)] | {room_of(path)}
    wrong = [dotted for dotted in imports(path) if (room_imported(dotted) or room_of(path)) not in allowed]
    assert not wrong, f"{name(path)} imports {wrong}: {room_of(path)} may import {sorted(allowed)}"


def test_no_import_goes_round_in_a_circle() -> None:
    """Neither among modules by the imports at their top, nor among rooms by any import."""
    modules = {module(path): path for path in FILES}
    at_the_top = {
        one: {found for found in top_imports(path, set(modules)) if found != one} for one, path in modules.items()
    }
    graphlib.TopologicalSorter(at_the_top).prepare()
    rooms = {
        room: {room_imported(d) for path in FILES if room_of(path) == room for d in imports(path)}
        for room in MAY_IMPORT
    }
    graphlib.TopologicalSorter({room: found - {room, None} for room, found in rooms.items()}).prepare()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_room_is_imported_as_a_top_level_module(path: Path) -> None:
    assert [dotted for dotted in imports(path) if dotted.partition(".")[0] in MAY_IMPORT] == []


@pytest.mark.parametrize("path", FILES, ids=name)
def test_torch_stays_in_train_and_freeze(path: Path) -> None:
    if room_of(path) != "train" and not name(path).startswith("export/freeze/") and room_of(path) != "experiments":
        assert [dotted for dotted in imports(path) if dotted.partition(".")[0] == "torch"] == []


def test_nn_has_names_and_no_code() -> None:
    """Public names of layers that train has: docstring, imports and the list of names."""
    files = [path for path in FILES if room_of(path) == "nn"]
    assert [name(path) for path in files] == ["nn/__init__.py"]
    docstring, *rest = parsed(files[0]).body
    assert isinstance(docstring, ast.Expr) and len(rest) > 3
    assert all(isinstance(node, ast.ImportFrom) for node in rest[:-1]) and isinstance(rest[-1], ast.Assign)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_is_unpickled(path: Path) -> None:
    picklers = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    assert [dotted for dotted in imports(path) if dotted.partition(".")[0] in picklers] == []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) not in ("torch.load", "torch.save"), f"{name(path)}:{node.lineno}"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert ast.unparse(node.value) == "False", f"{name(path)}: allow_pickle"


def test_the_core_install_needs_numpy_and_the_command_line_only() -> None:
    """`import metabit.ROOM` loads these packages and no others. The test follows the imports from each __init__."""
    light = {"numpy", "metabit", "rich", "typer"}
    seen, todo = set(), [ROOT / room / "__init__.py" for room in ("data", "train", "export", "runtime")]
    while todo:
        path = todo.pop()
        seen.add(path)
        for node in parsed(path).body:
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            for dotted in [alias.name for alias in node.names] if isinstance(node, ast.Import) else [str(node.module)]:
                package, *inner = dotted.split(".")
                assert package in light or package in sys.stdlib_module_names, f"{name(path)} needs {package}"
                module = ROOT.joinpath(*inner).with_suffix(".py") if package == "metabit" and inner else path
                todo += [module] if module.is_file() and module not in seen else []
    assert len(seen) > 10


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_has_a_docstring_and_names_its_verbs(room: str) -> None:
    path = ROOT / room / "__init__.py"
    if not path.is_file():
        pytest.skip("not built yet")
    tree = parsed(path)
    assert ast.get_docstring(tree)
    exported = [ast.unparse(t) for node in tree.body if isinstance(node, ast.Assign) for t in node.targets]
    assert room in ("cli", "experiments") or "__all__" in exported


@pytest.mark.parametrize("path", RUNTIME_C, ids=name)
def test_the_c_runtime_includes_only_itself_and_three_headers(path: Path) -> None:
    own = {file.name for file in RUNTIME_C}
    included = set(re.findall(r"^\s*#\s*include\s+[<\"]([^>\"]+)[>\"]", path.read_text(), flags=re.MULTILINE))
    assert included <= own | {"stddef.h", "stdint.h", "string.h", "metabit_config.h"}  # the last one is the user's


@pytest.mark.parametrize("path", FIELD_C, ids=name)
def test_what_lies_around_the_core_includes_public_headers_only(path: Path) -> None:
    public = {file.name for file in C_FILES if file.parent.name in ("include", "field")}
    included = set(re.findall(r"^\s*#\s*include\s+[<\"]([^>\"]+)[>\"]", path.read_text(), flags=re.MULTILINE))
    assert included <= public | {"stddef.h", "stdint.h", "string.h"}


@pytest.mark.parametrize("path", FILES + C_FILES, ids=name)
def test_a_file_can_be_read_in_one_sitting(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= LIMITS[path.suffix], f"{name(path)} has {lines} lines, at most {LIMITS[path.suffix]}: split it"


def test_the_whole_c_runtime_is_small() -> None:
    assert sum(len(path.read_text().splitlines()) for path in RUNTIME_C) < RUNTIME_LIMIT
    assert sum(len(path.read_text().splitlines()) for path in FIELD_C) < FIELD_LIMIT
    assert len((ROOT / "runtime" / "include" / "metabit.h").read_text().splitlines()) < HEADER_LIMIT


def test_the_list_of_slow_tests_names_tests_that_exist() -> None:
    """A renamed test would otherwise become a fast one without anybody's notice."""
    tests = ROOT / "tests"
    tree = ast.parse((tests / "conftest.py").read_text())
    (slow,) = (
        node.value for node in tree.body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "SLOW"
    )
    assert slow is not None
    for file, functions in ast.literal_eval(slow).items():
        text = (tests / file).read_text()
        assert all(f"def {function}(" in text for function in functions), file
