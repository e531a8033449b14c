"""Scores of the device beside those of torch, up to the rounding that the export documents."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.files.image import write_image
from metabit.export.freeze.batchnorm import SCORE_STEPS
from metabit.export.frozen import Frozen, OutputLayer
from metabit.runtime import Model


def predict_as_torch(network: Any, frozen: Frozen, x: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The device's classes, after a comparison with torch. An output without a batch norm has nothing to round and must not differ.

    With a batch norm, mul and add of each class are rounded once to 1/1024, so the score of a class with sum a differs by at most
    (|a| + 1) / 2048. The class may differ only where torch's best score lies within these errors of another one. All samples with
    the same hidden activations have the same scores, so samples that near a tie come in groups. Their number is therefore bounded
    among different scores, and not among samples: one badly trained network gives few activations, and all of them alike.
    """
    import torch

    with torch.no_grad():
        want = network(torch.from_numpy(x)).numpy().astype(np.float64)
    scores, last = Model(write_image(frozen)).scores(x), frozen.layers[-1]
    assert isinstance(last, OutputLayer)
    got, torchs, each = scores.argmax(1), want.argmax(1), np.arange(len(x))
    if (last.mul == 1).all() and not last.add.any():
        np.testing.assert_array_equal(got, torchs)
        return got
    sums = np.where(last.mul == 0, 0, (scores - last.add) / np.where(last.mul == 0, 1, last.mul))
    error = (np.abs(sums) + 1) / (2 * SCORE_STEPS) + 1e-5  # and what float32 rounds
    assert (np.abs(scores / SCORE_STEPS - want) <= error).all()
    near = want[each, torchs][:, None] - want <= error + error[each, torchs][:, None]
    assert near[each, got].all()  # where only one class is near the best, the device chooses it
    tied = near.sum(1) > 1
    kinds, close = (len(np.unique(rows, axis=0)) for rows in (scores, scores[tied]))
    assert close <= max(1, kinds / 10), f"{close} of {kinds} kinds of samples are nearly undecided"
    return got
