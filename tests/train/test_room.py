"""The room as a whole: light to import, and honest about what is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metabit import train
from metabit.train.errors import extra


def run_without(packages: str, code: str) -> str:
    """Run code in a fresh interpreter in which the packages are not there; its output."""
    block = f"import sys\nfor name in {packages!r}.split():\n    sys.modules[name] = None\n"
    done = subprocess.run([sys.executable, "-c", block + code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_imports_without_any_extra() -> None:
    code = "from metabit.train import checkpoint, Spec\nprint(Spec(4, (8,), 2).shapes)"
    assert run_without("torch safetensors sklearn", code) == "((8, 4), (2, 8))"


@pytest.mark.parametrize(
    ("package", "use"),
    [
        ("torch", "train.fit"),
        ("torch", "train.Network"),
        ("torch", "__import__('metabit.train.loop')"),
        ("safetensors", "train.load_checkpoint('x')"),
    ],
)
def test_a_missing_extra_is_one_sentence(package: str, use: str) -> None:
    code = f"from metabit import train\ntry:\n    {use}\nexcept train.MissingExtraError as error:\n    print(error)"
    assert run_without(package, code) == f"metabit.train needs {package}: pip install 'metabit[train]'"


def test_a_broken_dependency_keeps_its_traceback() -> None:
    with pytest.raises(ModuleNotFoundError), extra("torch"):
        raise ModuleNotFoundError("No module named 'torch_internals'", name="torch_internals")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = (train.__doc__ or "").partition("Example::")[2]
    code = "\n".join(line[4:] for line in example.splitlines() if line.startswith("    "))
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    assert namespace["history"].epochs[-1].test_accuracy > 0.9 and namespace["ran"].accuracy > 0.85


def test_every_public_name_resolves() -> None:
    for name in train.__all__:
        assert getattr(train, name) is not None
        assert name in dir(train)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = train.nonsense


def test_removed_names_say_what_replaces_them() -> None:
    for name in ("Grid", "MetaplasticSGD", "ddp", "tensorboard"):
        with pytest.raises(ImportError, match=f"metabit.train.{name} was removed: "):
            exec(f"from metabit.train import {name}")
