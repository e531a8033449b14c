"""Floats end here: a checkpoint becomes integers, and the integers become files.

    frozen.py        Frozen, the network as integers: every writer receives it, every reader returns it
    validate.py      checks that its layers fit together and that the format can hold them
    freeze/          the makers of Frozen: from a checkpoint, from nothing, from another Frozen; and thaw, the way back
    oracle/          prediction and learning in NumPy, which every engine must equal
    bits.py          packing of bits, the only shifts that pack them in Python
    guard.py         the samples on which a device tests itself while it learns
    files/           Frozen <-> model.mbit (runtime/FORMAT.md), and the files of ONNX, QONNX, TFLite, TFLite Micro and LCE
    foreign/         networks of other tools -> Frozen
    learning/        the learning step as a graph for other engines, and its state as arrays
    summary.py       what each layer costs; difference.py, what changed between two networks; model_card.py, MODEL_CARD.md
    vectors.py       Frozen -> vectors.npz, the numbers that every engine must reproduce
    child_process.py a new Python process that runs a module of metabit
    bundle.py        all files of one network, read back and compared before they are written

In four lines::

    from metabit import export, train

    frozen = export.freeze(train.load_checkpoint("checkpoint.safetensors"), export.VisitOptions(bits=5))
    export.export_all(frozen, "out")

The package can be called: ``export(module, example, "model.mbit")`` is `freeze_module`, for your own PyTorch module.
"""

from __future__ import annotations

import sys
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any

from metabit.export.bundle import FORMATS, Written, check_bundle, export_all
from metabit.export.difference import Difference, LayerDifference, difference
from metabit.export.errors import ExportError, MissingExtra
from metabit.export.files.any_file import Read, read_file
from metabit.export.files.image import read_image, write_image
from metabit.export.freeze.fresh import fresh, fresh_votes
from metabit.export.freeze.gates import GateOptions, freeze_gates
from metabit.export.freeze.gates_source import GatesArrays, GatesSource
from metabit.export.freeze.home import frozen_of
from metabit.export.freeze.retune import learner_of, retune, tunable_settings
from metabit.export.freeze.thaw import thaw
from metabit.export.freeze.triples import sample_of_ranges
from metabit.export.freeze.visits import VisitOptions, freeze
from metabit.export.freeze.votes import VOTES_AFTER_TRAINING, VoteOptions, freeze_graded
from metabit.export.frozen import (
    ConvGeometry,
    ConvLayer,
    Counters,
    Cuts,
    DenseLayer,
    Encode,
    Frozen,
    GatesLayer,
    GradedLayer,
    HeadLayer,
    HeadRows,
    HeadScale,
    HeadSettings,
    Layer,
    LevelsLayer,
    LevelsRule,
    Notes,
    OutputLayer,
    Rule,
    TriplesLayer,
    Votes,
)
from metabit.export.guard import GuardOptions, guard_data
from metabit.export.model_card import model_card
from metabit.export.oracle import Oracle
from metabit.export.summary import Cost, LayerCost, cost

if TYPE_CHECKING:
    from metabit.export.freeze.sequential import freeze_module

__all__ = [
    "FORMATS", "VOTES_AFTER_TRAINING", "ConvGeometry", "ConvLayer", "Cost", "Counters", "Cuts", "DenseLayer", "Difference",
    "Encode", "ExportError", "Frozen", "GateOptions", "GatesArrays", "GatesLayer", "GatesSource", "GradedLayer", "GuardOptions",
    "HeadLayer", "HeadRows", "HeadScale", "HeadSettings", "Layer", "LayerCost", "LayerDifference", "LevelsLayer", "LevelsRule",
    "MissingExtra", "Notes", "Oracle", "OutputLayer", "Read", "Rule", "TriplesLayer", "VisitOptions", "VoteOptions", "Votes",
    "Written", "check_bundle", "cost", "difference", "export_all", "freeze", "freeze_gates", "freeze_graded",
    "freeze_module", "fresh", "fresh_votes", "frozen_of", "guard_data", "learner_of", "model_card", "read_file", "read_image",
    "retune", "sample_of_ranges", "thaw", "tunable_settings", "write_image",
]  # fmt: skip

_RENAMED = {
    "FIELD": ("VOTES_AFTER_TRAINING", ""),
    "FreshOptions": (
        "VoteOptions",
        "; its asks, gain, draws and margin are vote_rate, chance_per_vote, passes and skip_below",
    ),
    "Options": ("VisitOptions", "; its visits, margin and window are visit_rate, skip_below and ste_window"),
    "hand_over": ("freeze_graded", ""),
    "space": ("tunable_settings", ""),
}
"""Names of 0.1, for one release: the present name, and what else changed."""
_GONE = {
    "Graded": "a graded layer is one GradedLayer, with low, high and planes",
    "HEAD": "heads on the features of a trained network were removed: use VoteOptions with fresh_votes, on the data itself",
    "interchangeable": "ONNX and TFLite hold every network",
    "fresh_head": "heads on the features of a trained network were removed: use fresh, on the data itself",
}


class _Callable(ModuleType):
    def __call__(self, *args: Any, **settings: Any) -> Frozen:
        """As `freeze_module`."""
        frozen: Frozen = self.freeze_module(*args, **settings)
        return frozen


sys.modules[__name__].__class__ = _Callable


def __getattr__(name: str) -> Any:
    if name == "freeze_module":  # it needs torch
        from metabit.export.freeze.sequential import freeze_module

        globals()[name] = freeze_module
        return freeze_module
    if name in _GONE:
        raise AttributeError(f"metabit.export.{name} is gone: {_GONE[name]}")
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    present, more = _RENAMED[name]
    warnings.warn(f"metabit.export.{name} is metabit.export.{present} now{more}", DeprecationWarning, stacklevel=2)
    return globals()[present]
