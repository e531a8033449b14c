"""The interpreter of Larq Compute Engine, without TensorFlow."""

from __future__ import annotations

import sys
import types
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from metabit.export.errors import MissingExtra

PACKAGE = "larq_compute_engine"


def lce_interpreter(data: bytes, *, indirect: bool = True) -> Any:
    """The interpreter of a file, on one thread: `predict` takes a list of input arrays and returns a list of outputs.

    `import larq_compute_engine` imports its converter, which needs TensorFlow, and running a file needs neither. The package is
    therefore entered beside its __init__, unless it was imported before.

    indirect: the kernel without a copy of each window. On x86-64 the default kernel takes two and a half times as long.

    Raises MissingExtra where larq-compute-engine is absent, has no wheel, or cannot read the arrays of this numpy.
    """
    spec = find_spec(PACKAGE) if PACKAGE not in sys.modules else None
    if PACKAGE not in sys.modules:
        if spec is None or spec.submodule_search_locations is None:
            raise MissingExtra("larq-compute-engine", "lce", "it has wheels for Python 3.10 to 3.12 on x86-64")
        package = types.ModuleType(PACKAGE)
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules[PACKAGE] = package
    if int(np.__version__.split(".")[0]) > 1:
        raise MissingExtra()
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    return Interpreter(data, num_threads=1, use_indirect_bgemm=indirect).interpreter
