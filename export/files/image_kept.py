"""The samples that a graded layer keeps until their votes are counted <-> words: runtime/FORMAT.md, "Kept samples"."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabit.export import bits
from metabit.export.errors import ExportError
from metabit.export.frozen import GradedLayer, Kept
from metabit.export.validate import need


def kept_words(layer: GradedLayer) -> NDArray[np.uint32]:
    """The words of the state. Raises ExportError for a layer that does not learn."""
    if layer.rule is None:
        raise ExportError("a graded layer that does not learn keeps no samples")
    batch = layer.rule.batch
    kept = layer.kept or Kept(0, np.zeros((batch, layer.values), np.bool_), np.zeros((batch, layer.units), np.int8))
    number = np.abs(kept.votes)
    told = np.stack([kept.votes < 0, number & 1, number >> 1], 2).astype(np.bool_)  # (batch, N, 3)
    units = bits.pack_columns(told.transpose(1, 0, 2).reshape(layer.units, 3 * batch), 32)
    drawn = units.reshape(-1, batch, 3).transpose(1, 0, 2)
    inputs = bits.pack_columns(kept.bits.T, 32).T
    return np.asarray(np.concatenate([[kept.slot], inputs.ravel(), drawn.ravel()]), np.uint32)


def word_count(values: int, units: int, batch: int) -> int:
    """Words of the samples that a layer of so many input bits and units keeps."""
    return 1 + batch * (-(-values // 32) + 3 * -(-units // 32))


def read_kept(words: NDArray[np.uint32], values: int, units: int, batch: int) -> Kept | None:
    """Inverse of `kept_words`; None where no sample is kept. Raises ExportError for what no device writes."""
    if not words.any():
        return None
    split, slot = 1 + batch * -(-values // 32), int(words[0])
    need(slot < batch, f"the next sample has slot {slot} of {batch}: export the image again")
    inputs = words[1:split].reshape(batch, -1)
    drawn = words[split:].reshape(batch, -1, 3)
    on = bits.unpack_columns(np.ascontiguousarray(inputs.T), values).T
    columns = drawn.transpose(1, 0, 2).reshape(-1, 3 * batch)
    told = bits.unpack_columns(np.ascontiguousarray(columns), units).reshape(units, batch, 3).transpose(1, 0, 2)
    number = told[:, :, 1] + 2 * told[:, :, 2].astype(np.int8)
    kept = Kept(slot, np.ascontiguousarray(on), np.where(told[:, :, 0], -number, number).astype(np.int8))
    need(np.array_equal(bits.pack_columns(kept.bits.T, 32).T, inputs) and not (told[:, :, 0] & (number == 0)).any() and
         np.array_equal(bits.pack_columns(told.transpose(1, 0, 2).reshape(units, -1), 32), columns),
         "a kept sample has bits behind its inputs or units: export the image again")  # fmt: skip
    return kept
