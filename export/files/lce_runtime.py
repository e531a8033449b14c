"""The interpreter of Larq Compute Engine, without TensorFlow."""

from __future__ import annotations

import platform
import sys
import types
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from metabit.export.errors import MissingExtra

PACKAGE = "larq_compute_engine"
NO_WHEEL = (
    "larq-compute-engine, which has wheels for Python 3.10 to 3.12 on x86-64 and macOS, and this is Python {} on {}"
)
OLD_NUMPY = "larq-compute-engine, which reads arrays of numpy 1, and this is {}"
LEFT_OUT = "or leave out the format lce"


def lce_interpreter(data: bytes) -> Any:
    """The interpreter of a file, on one thread: `predict` takes a list of input arrays and returns a list of outputs.

    Raises MissingExtra where larq-compute-engine is absent, has no wheel, or cannot read the arrays of this numpy.
    """
    threads, reference, indirect, xnnpack = 1, False, True, False  # indirect: the kernel without a copy of each window
    return _interpreter_class()(data, threads, reference, indirect, xnnpack)


@cache
def _interpreter_class() -> Any:
    """Larq's class. Its package's __init__ imports the converter, which needs TensorFlow, and running a file does not: while the
    class is imported, an empty package stands in for it, unless the true one was imported before."""
    stand_in = None if PACKAGE in sys.modules else types.ModuleType(PACKAGE)
    if stand_in is not None:
        stand_in.__path__ = _folders()
    if int(np.__version__.partition(".")[0]) > 1:
        raise MissingExtra(OLD_NUMPY.format(np.__version__), f"pip install 'numpy<2', {LEFT_OUT}")
    if stand_in is not None:
        sys.modules[PACKAGE] = stand_in
    try:
        from larq_compute_engine.tflite.python.interpreter_wrapper_lite import LiteInterpreter
    finally:
        if stand_in is not None:
            del sys.modules[PACKAGE]
    return LiteInterpreter


def _folders() -> list[str]:
    """Where the package is."""
    spec = find_spec(PACKAGE)
    if spec is not None and spec.submodule_search_locations is not None:
        return list(spec.submodule_search_locations)
    machine, python = platform.machine(), platform.python_version()
    if sys.version_info >= (3, 13) or not (machine.lower() in ("x86_64", "amd64") or sys.platform == "darwin"):
        raise MissingExtra(NO_WHEEL.format(python, machine), f"export the image there, {LEFT_OUT}")
    raise MissingExtra("larq-compute-engine", "pip install 'metabit[lce]'")
