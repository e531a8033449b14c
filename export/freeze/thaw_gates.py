"""Frozen network of gates -> checkpoint of the default network (`thaw.py`).

======================  ==========================================================================================
hidden weight           ±½ of the range of initial weights: an image has the sign only
mean, deviation         of a sum over the training part, which a head's scale tells. Below levels they are unknown: then the gain
                        is ±1, the shift 0, and mean and deviation are what the integers make of that
gain, shift             so that the integers mul, add and shift of every gate come back
output, after levels    the middle of what rounds to its level
output, after a head    what the head knows, as levels: the weights of a discriminant analysis of its class means and the
                        covariance of the gates. It is where training goes on from; the device computes more, by the head, which
                        the image beside the floats keeps
kept samples            none: an image has no sums of the training part. Training makes new ones
======================  ==========================================================================================
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.encoder import Encoder
from metabit.export.files.image import write_image
from metabit.export.frozen import FREE, LOWEST, Cuts, Frozen, GatesLayer, HeadLayer, LevelsLayer
from metabit.export.oracle.gates import DEVIATION, LEVELS, OFFSET_INPUTS
from metabit.export.oracle.head import UNIT_VARIANCE, triangle
from metabit.train.gates_checkpoint import NORM_EPS, RANGE, GatesCheckpoint
from metabit.train.network.gate_integers import SLOPE

HIDDEN = 0.025
BITS = 5
"""Bits of an output level after a head, which has none."""
_MEAN = 256 * DEVIATION  # one deviation in the means of a head
_REST = 2.0**23  # float32 holds whole numbers up to here, and a half beside
Doubles = NDArray[np.float64]


def thaw_gates(frozen: Frozen, provenance: dict[str, Any]) -> GatesCheckpoint:
    """The checkpoint of a network of gates; `metabit.export.freeze.thaw.thaw` has the rest."""
    first, last = frozen.layers
    assert isinstance(first, GatesLayer) and isinstance(last, HeadLayer | LevelsLayer)
    bits, output = (last.bits, last.hidden) if isinstance(last, LevelsLayer) else (BITS, head_levels(last))
    weight = (output * (RANGE / (2 ** (bits - 1) - 1))).astype(np.float32)
    scale = last.scale if isinstance(last, HeadLayer) else None
    tensors = {
        "hidden": np.where(first.hidden >= 0, HIDDEN, -HIDDEN).astype(np.float32),
        **_norm(first, *(_statistics(first) if scale is None else _told(first, scale.z_mul, scale.z_add, scale.z_shift))),
        "output.weight": weight[:, :-1], "output.offset": weight[:, -1],
        "kept.sums": np.zeros((0, first.units), np.int16), "kept.labels": np.zeros(0, np.uint16),
    }  # fmt: skip
    encoder = encoder_of(frozen)
    named = frozen.notes.classes if frozen.notes is not None else ()
    classes = named + tuple(str(c) for c in range(len(named), frozen.classes))
    return GatesCheckpoint(
        encoder, bits, tensors, classes, encoder.names, provenance=provenance, device=write_image(frozen)
    )


def encoder_of(frozen: Frozen) -> Encoder:
    """The encoder of a network's inputs. Packed bits are features of 0 and 1."""
    names = frozen.notes.features if frozen.notes is not None else ()
    cuts = frozen.encode
    if not isinstance(cuts, Cuts):
        bits = frozen.input_bits
        none, one = np.zeros(bits, np.float32), np.ones(bits, np.float32)
        return Encoder("uint8", none, one, np.ones((1, bits), np.int32), names)
    raw = np.full(cuts.features, LOWEST[cuts.kind], np.float32), np.ones(cuts.features, np.float32)
    low, steps = raw if cuts.scale is None else (cuts.scale[0], cuts.scale[1])
    return Encoder(cuts.kind, low, steps, cuts.thresholds, names)


def head_levels(head: HeadLayer) -> NDArray[np.int8]:
    """Output levels int8 (C, N + 1) of `BITS` bits, offset last, for what a head knows of the gates alone."""
    units, scale = head.values, head.scale
    assert scale is not None
    rows, columns = triangle(head.inputs)
    square = np.zeros((head.inputs, head.inputs))
    square[rows, columns] = square[columns, rows] = head.covariance / UNIT_VARIANCE
    square[np.diag_indices(head.inputs)] += head.settings.ridge / UNIT_VARIANCE
    counts = head.counts.astype(np.float64)
    owners = head.owners if head.rows.per_class > 1 else np.arange(head.classes)
    share = np.where((owners != FREE)[None] & (owners[None] == np.arange(head.classes)[:, None]), counts, 0.0)
    known = share.sum(1) > 0
    means = share @ head.means[:, :units] / np.maximum(1, share.sum(1))[:, None] / _MEAN
    w = np.linalg.lstsq(square[:units, :units], means.T, rcond=None)[0].T
    offset = -(w * means).sum(1) / 2 + w @ scale.gate_add / DEVIATION**2
    w = w * scale.gate_mul / DEVIATION**2
    found = np.concatenate([w, offset[:, None] / (OFFSET_INPUTS * LEVELS)], axis=1)
    found -= found[known].mean(0) if known.any() else 0  # the same for all classes changes nothing
    found[~known] = 0
    largest = 2 ** (BITS - 1) - 1
    levels: NDArray[np.int8] = np.rint(found / (np.abs(found).max() or 1) * largest).astype(np.int8)
    return levels


def _statistics(gates: GatesLayer) -> tuple[Doubles, Doubles]:
    """Mean and deviation (N,) of sums that nothing is known of."""
    mul = gates.mul.astype(np.float64)
    safe = np.where(mul == 0, 1, mul)
    return np.where(mul == 0, 0.0, -gates.add / safe), SLOPE * 2.0**gates.shift / np.abs(safe)


def _told(gates: GatesLayer, z_mul: NDArray[Any], z_add: NDArray[Any], z_shift: int) -> tuple[Doubles, Doubles]:
    """Mean and deviation (N,) of the training part, from the scale of a head; as `_statistics` where it says nothing."""
    mean, deviation = _statistics(gates)
    silent = z_mul == 0
    safe = np.where(silent, 1, z_mul).astype(np.float64)
    mean = np.where(silent, mean, (2.0 ** (z_shift - 1) - z_add) / safe)
    return mean, np.where(silent, deviation, DEVIATION * 2.0**z_shift / np.abs(safe))


def _norm(gates: GatesLayer, mean: Doubles, deviation: Doubles) -> dict[str, NDArray[np.float32]]:
    """The normalisation, each float32 (N,), whose integers are those of the gates.

    The mean moves toward the sum at which z is 0 where float32 could not hold the shift of z exactly enough.
    """
    mul, add, one = gates.mul.astype(np.float64), gates.add.astype(np.float64), SLOPE * 2.0**gates.shift
    safe = np.where(mul == 0, 1, mul)
    centre, room = -add / safe, _REST / np.abs(safe)
    mean = np.where(mul == 0, mean, np.clip(mean, centre - room, centre + room)).astype(np.float32)
    var = np.maximum(0, deviation**2 - NORM_EPS).astype(np.float32)
    weight = (mul * np.sqrt(var.astype(np.float64) + NORM_EPS) / one).astype(np.float32)
    over = np.abs(weight.astype(np.float64)) * one > np.abs(mul) * np.sqrt(var.astype(np.float64) + NORM_EPS)
    weight = np.where(over, np.nextafter(weight, np.float32(0)), weight)  # the largest mul decides the shift
    bias = ((add + mul * mean.astype(np.float64)) / one).astype(np.float32)
    return {"norm.weight": weight, "norm.bias": bias, "norm.mean": mean, "norm.var": var}
