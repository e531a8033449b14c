"""Floats end here: a checkpoint becomes integers, and the integers become files.

    freeze.py        checkpoint -> Frozen        signs, levels, thresholds, tables
    fresh.py         nothing -> Frozen           a network that learns on the device from the first sample
    retune.py        Frozen -> Frozen            other learning settings, nothing else
    handover.py      checkpoint -> Frozen        of graded units, which learn by votes
    frozen.py        Frozen                      the only thing a writer receives
    bits.py          packing                     the only shifts in Python
    image.py         Frozen <-> model.mbit       what a microcontroller runs (runtime/FORMAT.md)
    onnx_file.py     Frozen <-> model.onnx       the same network for ONNX Runtime
    tflite_file.py   Frozen <-> model.tflite     the same network for stock TFLite
    vectors.py       Frozen -> vectors.npz       what every engine must reproduce
    bundle.py        all of them, read back and compared before anything is called done

In four lines::

    from metabit import export, train

    frozen = export.freeze(train.load_checkpoint("checkpoint.safetensors"), export.Options(bits=5))
    export.export_all(frozen, "out")
"""

from __future__ import annotations

from typing import Any

from metabit.export.bundle import FORMATS, Written, export_all
from metabit.export.errors import ExportError, MissingExtra
from metabit.export.files.image import read_image, write_image
from metabit.export.freeze.fresh import FreshOptions, fresh
from metabit.export.freeze.graded import FIELD, hand_over
from metabit.export.freeze.retune import retune, space
from metabit.export.freeze.visits import Options, freeze
from metabit.export.frozen import Counters, Encode, Frozen, Graded, Layer, Rule, Votes

__all__ = [
    "FIELD",
    "FORMATS",
    "Counters",
    "Encode",
    "ExportError",
    "FreshOptions",
    "Frozen",
    "Graded",
    "Layer",
    "MissingExtra",
    "Options",
    "Rule",
    "Votes",
    "Written",
    "export_all",
    "freeze",
    "fresh",
    "hand_over",
    "read_image",
    "retune",
    "space",
    "write_image",
]


def __getattr__(name: str) -> Any:
    if name in ("HEAD", "fresh_head"):
        raise AttributeError(f"metabit.export.{name} is gone: use FreshOptions with fresh, on the data itself")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
