"""Plain words (docs/glossary.md): how sentences begin, and metaphors, in comments, docstrings, pages and help texts."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = (
    "data",
    "train",
    "nn",
    "export",
    "runtime",
    "firmware_sim",
    "experiments",
    "cli",
    "tests",
    "benchmarks",
    "examples",
    "docs",
)
KINDS = {".py", ".c", ".h", ".inc", ".S", ".md", ".toml"}
FILES = sorted(
    path for path in (*ROOT.glob("*.md"), *(p for folder in FOLDERS for p in (ROOT / folder).rglob("*")))
    if path.suffix in KINDS and "generated" not in path.parts and path.name != Path(__file__).name
)  # fmt: skip

OPENERS = re.compile(r"(?:^|(?<=[.!?:;] )|(?<=[.!?]\) ))(?:Of|Those|The same|What)\b(?! is\b[^.]*\?)")
METAPHORS = re.compile(
    r"\b(?:(?:old|new|both|each|other|another|every) worlds?|worlds|the (?:lab|world|road)|in the field|front door|doors?|roads?"
    r"|riddles?|asks|hand(?:s|ed|ing)? (?:it |them )?over|handover)\b",
    re.IGNORECASE,
)
MARKED = re.compile(r"`+[^`]*`+|\[\[?[^\]]*\]\([^)]*\)|\"[^\"\n]{1,60}\"|\w+://\S+|[\w./-]+\.(?:py|md|c|h|toml)\b")
"""Code, links, quotations and file names: they keep their words."""


def paragraphs(text: str) -> Iterator[str]:
    """Each paragraph or list item on one line. Indented and quoted code is left out."""
    for part in re.split(r"\n\s*\n|\n(?=\s*(?:[-*] |\d+\. |@?\w[\w, ]*: ))", text):
        yield " ".join(part.split())


def python_prose(source: str) -> Iterator[str]:
    """Comments, one for each block; docstrings, strings that stand alone, and help texts."""
    block: list[str] = []
    last = -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith(("#!", "# fmt", "# type", "# noqa")):
            if block and (token.start[0] != last + 1 or token.line.strip() != token.string):
                yield " ".join(block)
                block = []
            block.append(token.string.lstrip("#").strip())
            last = token.start[0]
    yield " ".join(block)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from paragraphs(node.value.value)
        if isinstance(node, ast.keyword) and node.arg in ("help", "description", "epilog"):
            if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                yield node.value.value


def c_prose(source: str) -> Iterator[str]:
    for found in re.finditer(r"/\*(.*?)\*/|//[^\n]*", source, re.DOTALL):
        text = found[1] if found[1] is not None else found[0].strip("/ ")
        yield from paragraphs(re.sub(r"\n\s*\*", "\n", text))


def markdown_prose(source: str) -> Iterator[str]:
    """Paragraphs and list items. Code, tables and headings are left out."""
    text = re.sub(r"```.*?```|<!--.*?-->", "", source, flags=re.DOTALL)
    lines = ["" if re.match(r"\s*[|#]|    ", line) else line for line in text.splitlines()]
    yield from (re.sub(r"^(?:[-*]|\d+\.) ", "", one) for one in paragraphs("\n".join(lines)))


def toml_prose(source: str) -> Iterator[str]:
    lines = [line.strip().lstrip("# ") if line.strip().startswith("#") else "" for line in source.splitlines()]
    yield from paragraphs("\n".join(lines))


PROSE = {".py": python_prose, ".md": markdown_prose, ".toml": toml_prose}


def wrong(path: Path) -> list[str]:
    found = []
    for text in PROSE.get(path.suffix, c_prose)(path.read_text(encoding="utf-8")):
        bare = MARKED.sub("_", text).replace("**", "").strip()
        for pattern in (OPENERS, METAPHORS):
            found += [
                f"{hit[0]}: {bare[max(0, hit.start() - 30) : hit.start() + 60]}" for hit in pattern.finditer(bare)
            ]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_words_are_plain(path: Path) -> None:
    assert not (found := wrong(path)), "\n".join(found)


@pytest.mark.parametrize(
    ("kind", "text", "count"),
    [
        (".py", '"""Of the units."""\n# What is left.\nx = 1  # fine, of course\n', 2),
        (".py", '"""A line. Those that vote\nmove. The old world."""\n', 2),
        (".py", 'f(help="What to do.")\n# a comment whose next line\n# Of course begins so\n', 1),
        (".c", "/* The same as above.\n * What follows is code. */ int f; // In the field it learns.\n", 3),
        (".c", '#include "what.h"\n/* The field `of the lab`. Whatever holds. */\n', 0),
        (".md", "**What comes along.** A part. **Of the two** one.\n\n- **The same.** 2**3\n", 3),
        (".md", "# What holds\n\n| Of | What |\n\nA [What](x.md) link, `Of` code.\n\n- Of the two.\n", 1),
        (".toml", "# The same limits.\nname = 'The same'\n", 1),
    ],
)
def test_the_check_sees_what_it_should(tmp_path: Path, kind: str, text: str, count: int) -> None:
    (tmp_path / f"file{kind}").write_text(text)
    assert len(wrong(tmp_path / f"file{kind}")) == count
