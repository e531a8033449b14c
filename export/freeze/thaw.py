"""Frozen -> checkpoint: the way home from a device to training (docs/formats.md, "The way home").

The checkpoint keeps the image beside its floats (`Checkpoint.device`), and export takes from there what training does not have
(`returned.py`). The floats are chosen so that the network in PyTorch gives the integers of the device:

==================  ==============================================================================================
hidden weight       the middle of its level, (h + ½)Δ. Δ is `WIDTH`, one step of the default rate, as a move on the device
                    is one level; `STILL` for layers of 1 bit. No image says which Δ training had.
m                   of each layer, so that m Δ is what its table of probabilities was made with; 0 without a rule
normalisation       "static" where all thresholds are 0, windows √K and scores plain sums, as that training makes them. Else
                    "batch" with the gain and bias of a network at its start, 1 and 0: the mean is θ - ½, where no accumulator
                    lies, and the deviation is the straight-through window, or √K without one. A unit that is always on or
                    always off has the gain 0 and the bias ±1.
negated units       stay as they are: no gain of a hidden unit is negative, so export negates none a second time
scores              the gain of a class has the sign of its factor, and its deviation the size that makes the float score the
                    integer one times temperature / 65536: the softmax of training is that of the device
==================  ==============================================================================================

The true mean and deviation of an accumulator are not in an image. In training mode the normalisation takes those of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.files.image import write_image
from metabit.export.freeze.thaw_gates import thaw_gates
from metabit.export.frozen import ConvLayer, DenseLayer, Encode, Frozen, GradedLayer, Layer, OutputLayer, Rule
from metabit.train.checkpoint import Checkpoint
from metabit.train.checkpoint import Rule as Training
from metabit.train.errors import TrainError
from metabit.train.gates_checkpoint import GatesCheckpoint
from metabit.train.network.spec import NORM_EPS, Conv, Spec

WIDTH, STILL = 0.005, 0.05
"""Level width of layers of 2 bits and more, and of layers of 1 bit."""
Tensors = dict[str, NDArray[Any]]


def thaw(frozen: Frozen, provenance: Mapping[str, Any] | None = None) -> Checkpoint | GatesCheckpoint:
    """The checkpoint of a network, from which training goes on. `freeze`, `freeze_graded` or `freeze_gates` of it, without
    options, gives the network back, bit for bit. It does not need torch.

    provenance: JSON-ready, added to the names that the network has.

    Raises ExportError for a network that training has no counterpart of; the message names the reason.
    """
    first = frozen.layers[0]
    if first.kind == "triples":
        raise ExportError(
            "this network has units from nothing below a head: no training made them and none could go on with them, so the image "
            "is all there is; train a network on your data by metabit train, or let this one learn on by metabit run --learn"
        )
    names = (
        {} if frozen.notes is None else {"class_names": frozen.notes.classes, "feature_names": frozen.notes.features}
    )
    about = {**(provenance or {}), **{name: list(found) for name, found in names.items() if found}}
    if first.kind == "gates":
        return thaw_gates(frozen, about)
    spec = spec_of(frozen)
    tensors: Tensors = {} if spec.thresholds is None else {"encode.thresholds": spec.thresholds}
    m = []
    for i, layer in enumerate(frozen.layers):
        if i < spec.trained:
            tensors[f"layers.{i}.hidden"] = middle(layer.hidden, width(layer))
            m.append(metaplasticity(layer))
        else:
            tensors[f"layers.{i}.code"] = layer.weights
        if spec.normalised(i):
            parts = _scores(layer, frozen.temperature) if isinstance(layer, OutputLayer) else _threshold(layer)
            tensors |= {f"layers.{i}.norm.{name}": part.astype(np.float32) for name, part in parts.items()}
    return Checkpoint(spec, tensors, Training.of(spec, m), [], about, write_image(frozen))


def width(layer: Layer) -> float:
    """The level width of a layer after its return."""
    return WIDTH if layer.bits > 1 else STILL


def middle(levels: NDArray[np.int8], delta: float) -> NDArray[np.float32]:
    """Hidden weights float32 in the middle of their levels."""
    return ((levels.astype(np.float64) + 0.5) * delta).astype(np.float32)


def metaplasticity(layer: Layer) -> float:
    """m of training, so that 1 - tanh²(m Δ (r + ½)) is near the table of steps toward zero; 0 for a layer that does not learn."""
    if not isinstance(layer.rule, Rule):
        return 0.0
    share = layer.rule.weaken.astype(np.float64) / 65536
    told = (share > 0) & (layer.rule.weaken < 65535)
    if not told.any():
        return 0.0
    found = np.arctanh(np.sqrt(1 - share[told])) / (np.flatnonzero(told) + 0.5)
    return float(np.median(found)) / width(layer)


def spec_of(frozen: Frozen) -> Spec:
    """The shape of a network of sign units or graded units. Raises ExportError if no spec has its layers."""
    first, last, convs = frozen.layers[0], frozen.layers[-1], [a for a in frozen.layers if isinstance(a, ConvLayer)]
    encode, image = frozen.encode, None
    assert isinstance(last, OutputLayer) and not (encode is not None and not isinstance(encode, Encode))
    if convs:
        g = convs[0].geometry
        planes = 1 if encode is None else encode.planes
        image = (g.height, g.width, g.channels // planes)
        if planes > 1 and encode is not None and encode.channels != image[2]:
            raise _no_counterpart(f"its thermometer code has the channels {encode.channels} and its image {image[2]}")
    more: dict[str, Any] = {}
    if isinstance(first, GradedLayer):
        plain = last.bits == 1 and _plain(last) and not first.theta.any()
        if encode is None or not plain or encode.planes != first.planes:
            raise _no_counterpart(
                "graded units are trained on a thermometer code, without thresholds, below plain sums"
            )
        more = {"units": "graded", "ramp": (first.low, first.high), "unsure": 2.0 ** (first.bits - 2) * WIDTH}
    elif any(isinstance(layer, GradedLayer) for layer in frozen.layers):
        raise _no_counterpart("graded units are trained alone, not above other layers")
    code = isinstance(first, GradedLayer) or _is_code(frozen)
    static = code or _plain(last)
    for layer in frozen.layers[:-1]:
        window = layer.ste_window if isinstance(layer, DenseLayer) else 0
        if isinstance(layer, ConvLayer | DenseLayer):
            static &= not layer.theta.any() and window in (0, round(layer.inputs**0.5))
    try:
        spec = Spec(
            frozen.features, tuple(a.units for a in frozen.layers[len(convs) : -1]), frozen.classes,
            None if encode is None else encode.thresholds, "static" if static else "batch", "code" if code else "learned",
            input="uint8" if first.takes == "bytes" else "bits", image=image,
            conv=tuple(Conv(a.units, a.geometry.kernel, a.geometry.stride, "same" if a.geometry.same else "valid", a.geometry.pool)
                       for a in convs), **more,
        )  # fmt: skip
    except TrainError as wrong:
        raise _no_counterpart(str(wrong)) from None
    shapes = tuple(layer.hidden.shape for layer in frozen.layers)
    if spec.shapes != shapes:
        raise _no_counterpart(f"its layers are {shapes}, and training would make {spec.shapes}")
    return spec


def _no_counterpart(why: str) -> ExportError:
    return ExportError(
        f"training has no network like this one ({why}): keep the image, or import one that metabit export wrote"
    )


def _plain(last: OutputLayer) -> bool:
    """True where a score is the sum itself."""
    return bool((last.mul == 1).all() and not last.add.any())


def _is_code(frozen: Frozen) -> bool:
    """True for a fixed output code: plain sums of 1 bit, in which each unit counts for one half of the classes."""
    last = frozen.layers[-1]
    assert isinstance(last, OutputLayer)
    if last.bits > 1 or len(frozen.layers) == 1 or not _plain(last):
        return False
    positive = (last.hidden >= 0).sum(0)
    return bool(((positive == last.units // 2) | (positive == (last.units + 1) // 2)).all())


def _threshold(layer: Layer) -> Tensors:
    """The normalisation of a hidden layer, each (N,)."""
    assert isinstance(layer, ConvLayer | DenseLayer)
    window = layer.ste_window if isinstance(layer, DenseLayer) else 0
    scale = 255 if layer.takes == "bytes" else 1
    most, theta = layer.inputs * scale, layer.theta.astype(np.float64)
    on, off = theta <= -most, theta > most
    return {
        "weight": np.where(on | off, 0.0, 1.0),
        "bias": np.where(on, 1.0, np.where(off, -1.0, 0.0)),
        "mean": np.where(on | off, 0.0, (theta - 0.5) / scale),
        "var": np.full(layer.units, (window**2 or layer.inputs) - NORM_EPS),
    }


def _scores(layer: OutputLayer, temperature: int) -> Tensors:
    """The normalisation of the output, each (C,)."""
    gain, shift = (a.astype(np.float64) * temperature / 65536 for a in (layer.mul, layer.add))
    with np.errstate(divide="ignore", invalid="ignore"):
        var = np.where(gain == 0, layer.inputs, np.maximum(0.0, gain**-2.0 - NORM_EPS))
        mean = np.where(gain == 0, 0.0, -shift / gain)
    deviation = np.sqrt(var.astype(np.float32).astype(np.float64) + NORM_EPS)
    return {"weight": gain * deviation, "bias": np.where(gain == 0, shift, 0.0), "mean": mean, "var": var}
